"""Writes the numpy fixtures of src/data/npy.rs into this folder: python tests/data/arrays.py"""

from pathlib import Path

import numpy as np

here = Path(__file__).parent
a = np.arange(24).reshape(2, 3, 4)
for name, dtype in [("c_f4", "<f4"), ("c_f8", "<f8"), ("big_endian_f8", ">f8"), ("u1", "u1"), ("i2", "<i2"), ("u4", "<u4"), ("i8", "<i8")]:
    np.save(here / f"{name}.npy", a.astype(dtype))
for name, dtype in [("fortran_f4", "<f4"), ("fortran_f8", "<f8")]:
    np.save(here / f"{name}.npy", np.asfortranarray(a.astype(dtype)))
np.save(here / "y_i8.npy", np.array([3, 1]))
np.save(here / "y_negative.npy", np.array([3, -1]))
np.save(here / "y_f4.npy", np.array([[0.5, -1], [1.5, 2]], dtype="<f4"))
np.save(here / "text.npy", np.array([["a"], ["b"]]))
np.savez_compressed(
    here / "parts.npz", x=a.astype("<u2"), y=np.array([0, 2], dtype="<i4"),
    x_test=np.asfortranarray(a[:1].astype("<f8")), y_test=np.array([4], dtype="u1"),
)

"""What numpy rounds single precision to in half precision, for tests/mixed.rs.

    pip install numpy
    python tests/goldens/half.py

Pairs of bits: of a number in single precision, and of the nearest number in half precision (IEEE 754, ties to even).
"""

import json
from pathlib import Path

import numpy as np

SEED = 11


def main():
    rng = np.random.default_rng(SEED)
    halves = np.concatenate([rng.integers(0, 0x7C00, 150), [0, 1, 2, 3, 0x3FE, 0x3FF, 0x400, 0x401, 0x7BFE, 0x7BFF]])
    low = halves.astype(np.uint16).view(np.float16).astype(np.float64)
    high = (halves + 1).astype(np.uint16).view(np.float16).astype(np.float64)
    high[~np.isfinite(high)] = 65536.0
    middle = ((low + high) / 2).astype(np.float32)
    beside = [np.nextafter(middle, np.float32(s), dtype=np.float32) for s in (-np.inf, np.inf)]
    special = [0.0, 1e-30, 1e-40, 65503.0, 65504.0, 65519.0, 65519.996, 65520.0, 65536.0, 1e5, 3e38, np.inf, np.nan]
    spread = (rng.normal(size=200) * np.exp2(rng.uniform(-28, 17, 200))).astype(np.float32)
    single = np.concatenate([low.astype(np.float32), middle, *beside, np.array(special, np.float32), spread])
    single = np.concatenate([single, -single])
    with np.errstate(over="ignore"):
        half = single.astype(np.float16)
    pairs = [[int(s), int(h)] for s, h in zip(single.view(np.uint32), half.view(np.uint16))]
    path = Path(__file__).with_name("half.json")
    path.write_text(json.dumps({"numpy": np.__version__, "seed": SEED, "pairs": pairs}, separators=(",", ":")) + "\n")
    print(f"{len(pairs)} pairs, seed {SEED}")


main()

"""Checks that a run folder opens in pandas, polars and PyTorch as it is.

    pip install pandas polars safetensors torch
    python tests/interop.py runs/<folder>
"""

import json
import math
import sys
from pathlib import Path

import pandas as pd
import polars as pl
from safetensors import safe_open
from safetensors.torch import load_file


def is_missing(x):
    return x is None or (isinstance(x, float) and math.isnan(x))


def same(a, b):
    """Equal numbers or lists of numbers; null, None and NaN are one. pandas' fast parser may miss the last bit."""
    if hasattr(a, "__len__") or hasattr(b, "__len__"):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    if is_missing(a) or is_missing(b):
        return is_missing(a) and is_missing(b)
    return math.isclose(a, b, rel_tol=1e-12)


def check_rows(path, columns, suffixes):
    """Both libraries read the rows of `path`, with the types and the values that json reads."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows, f"{path} has no rows"
    a, b = pd.read_json(path, lines=True), pl.read_ndjson(path)
    assert len(a) == len(b) == len(rows)
    # polars keeps no order of columns here.
    assert list(a.columns) == list(rows[0]) and set(b.columns) == set(a.columns)
    for column in columns:
        for suffix in suffixes:
            name = column["name"] + suffix
            kind = pl.List(pl.Float64) if column["labels"] else pl.Float64
            assert b.schema[name] == kind, f"{name} is {b.schema[name]} to polars"
            for row, x, y in zip(rows, a[name], b[name].to_list()):
                assert same(row[name], x) and same(row[name], y), (name, row[name], x, y)
                assert not column["labels"] or len(x) == len(column["labels"]), name
    for name in ("step", "examples"):
        assert pd.api.types.is_integer_dtype(a[name]) and b.schema[name] == pl.Int64, name
    return len(rows)


def check_weights(path):
    """PyTorch loads the tensors, with the shapes of the header and finite values."""
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        assert file.metadata()["format"] == "pt"
        assert {name: file.get_slice(name).get_shape() for name in file.keys()} == {
            name: list(tensor.shape) for name, tensor in tensors.items()
        }
    return {name: (tuple(tensor.shape), str(tensor.dtype)) for name, tensor in tensors.items()}


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    columns = json.loads((folder / "steps.schema.json").read_text())["columns"]
    print(check_rows(folder / "steps.jsonl", columns, ("", "_min", "_max")), "rows of steps.jsonl")
    if (folder / "flight.jsonl").exists():
        print(check_rows(folder / "flight.jsonl", columns, ("",)), "rows of flight.jsonl")
    if (folder / "model.safetensors").exists():
        print("model.safetensors:", check_weights(folder / "model.safetensors"))
    print("pandas, polars and PyTorch agree with json")


if __name__ == "__main__":
    main()

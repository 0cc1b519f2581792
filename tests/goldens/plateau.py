"""Rates of torch.optim.lr_scheduler.ReduceLROnPlateau from a base rate of 1, for tests/descent/plateau.rs.

Run `python tests/goldens/plateau.py` to write plateau.json beside it: for each case its settings, losses, and the rate after each.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

SEED = 7
CASES = {
    "defaults": {},
    "eager": {"factor": 0.5, "patience": 0, "threshold": 0.0},
    "cooling": {"factor": 0.5, "patience": 2, "threshold": 0.01, "cooldown": 3},
    "bounded": {"factor": 0.3, "patience": 1, "threshold": 0.05, "min_lr": 0.02},
    "demanding": {"factor": 0.7, "patience": 3, "threshold": 0.2, "cooldown": 1, "min_lr": 0.1},
}


def losses(random):
    """A fall that slows down, with noise and a rise at the end."""
    t = np.arange(80.0)
    fall = 0.3 + 2.0 * np.exp(-t / 12.0) + 0.02 * np.maximum(t - 60.0, 0.0)
    return np.maximum(fall + 0.1 * random.standard_normal(t.size), 0.01)


def rates(settings, values):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))], lr=1.0)
    scheduler = ReduceLROnPlateau(optimizer, mode="min", threshold_mode="rel", eps=0.0, **settings)
    out = []
    for value in values:
        scheduler.step(value)
        out.append(optimizer.param_groups[0]["lr"])
    return out


def main():
    random = np.random.default_rng(SEED)
    lines = []
    for name, settings in CASES.items():
        values = losses(random).tolist()
        case = {"settings": settings, "losses": values, "rates": rates(settings, values)}
        lines.append(f'  "{name}": {json.dumps(case)}')
    Path(__file__).with_suffix(".json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"seed {SEED}, torch {torch.__version__}")


main()

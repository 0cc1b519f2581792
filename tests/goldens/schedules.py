"""Learning rates of torch.optim.lr_scheduler over 40 steps from a base rate of 1, for tests/schedules.rs.

Run `python tests/goldens/schedules.py` to write schedules.json beside it.
"""

import json
from pathlib import Path

import torch
from torch.optim import lr_scheduler as s

CASES = {
    "step": lambda o: s.StepLR(o, step_size=7, gamma=0.3),
    "exponential": lambda o: s.ExponentialLR(o, gamma=0.95),
    "cosine": lambda o: s.CosineAnnealingLR(o, T_max=40, eta_min=0.1),
    "warmup": lambda o: s.LinearLR(o, start_factor=0.1, total_iters=12),
    "warmup_cosine": lambda o: s.ChainedScheduler(
        [s.LinearLR(o, start_factor=0.1, total_iters=12), s.CosineAnnealingLR(o, T_max=40)]
    ),
    "warmup_step_exponential": lambda o: s.ChainedScheduler(
        [s.LinearLR(o, start_factor=0.25, total_iters=5), s.StepLR(o, 10, 0.5), s.ExponentialLR(o, 0.99)]
    ),
}


def rates(make):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    out = []
    for _ in range(40):
        out.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return out


def main():
    lines = [f'  "{name}": {json.dumps(rates(make))}' for name, make in CASES.items()]
    Path(__file__).with_suffix(".json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


main()

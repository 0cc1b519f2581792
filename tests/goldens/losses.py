"""Losses of torch.nn.functional in f64, for tests/losses.rs: mean and sum over the batch, and their gradients.

Run `python tests/goldens/losses.py` to write losses.json beside it.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
Z = torch.tensor([[0.3, -1.2, 2.0], [0.0, 0.0, 0.0], [-3.5, 4.25, 0.5], [35.0, -35.0, 1.0]])
T = torch.tensor([[0.5, -1.0, 0.25], [1.0, 0.0, 0.75], [0.0, 4.0, 1.0], [30.0, -35.5, 0.0]])
LABELS = torch.tensor([2, 0, 1, 0])
BINARY = torch.tensor([1, 0, 1, 0])
HOT = F.one_hot(LABELS, 3).double()

CASES = {
    "cross_entropy": (Z, lambda z, r: F.cross_entropy(z, LABELS, reduction=r)),
    "cross_entropy_smooth": (Z, lambda z, r: F.cross_entropy(z, LABELS, reduction=r, label_smoothing=0.1)),
    "bce_labels": (Z, lambda z, r: F.binary_cross_entropy_with_logits(z, HOT, reduction=r)),
    "bce_values": (Z, lambda z, r: F.binary_cross_entropy_with_logits(z, T.clamp(0, 1), reduction=r)),
    "bce_single": (Z[:, :1], lambda z, r: F.binary_cross_entropy_with_logits(z[:, 0], BINARY.double(), reduction=r)),
    "mse_values": (Z, lambda z, r: F.mse_loss(z, T, reduction=r)),
    "mse_labels": (Z, lambda z, r: F.mse_loss(z, HOT, reduction=r)),
    "huber_values": (Z, lambda z, r: F.huber_loss(z, T, reduction=r, delta=0.4)),
}


def case(z, loss):
    out = {}
    for reduction in ["mean", "sum"]:
        z = z.detach().clone().requires_grad_()
        value = loss(z, reduction)
        value.backward()
        out[reduction] = {"loss": value.item(), "gradient": z.grad.flatten().tolist()}
    return out


def main():
    data = {"z": Z, "t": T, "labels": LABELS, "binary": BINARY}
    out = {name: value.flatten().tolist() for name, value in data.items()}
    out |= {name: case(z, loss) for name, (z, loss) in CASES.items()}
    lines = [f'  "{name}": {json.dumps(value)}' for name, value in out.items()]
    Path(__file__).with_suffix(".json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


main()

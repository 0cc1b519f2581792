"""Loss, logits and gradients of small networks on digits, from PyTorch in f64, for tests/inspect.rs.

    pip install torch numpy safetensors
    python tests/goldens/inspections.py

Weights are drawn in f64, with a fixed seed, and are in the file under `<case>/weights/…`. Rows 3 to 9 of the training part
of data/digits are taken. Norms of single examples' gradients come from a backward pass for each example.
"""

import gzip
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from torch import nn

torch.set_default_dtype(torch.float64)
DIGITS = Path(__file__).parents[2] / "data" / "digits"
FIRST, END = 3, 10
HIDDEN = 6


def idx(name, offset):
    raw = np.frombuffer(gzip.decompress((DIGITS / name).read_bytes()), dtype=np.uint8)
    return torch.from_numpy(raw[offset:].copy())


X = idx("train-images-idx3-ubyte.gz", 16).reshape(-1, 64)[FIRST:END].double() / 16
Y = idx("train-labels-idx1-ubyte.gz", 8)[FIRST:END].long()
CASES = {
    "relu": ([nn.ReLU()], 0.0),
    "tanh": ([nn.Tanh()], 0.0),
    "gelu": ([nn.GELU()], 0.0),
    "layer_norm": ([nn.LayerNorm(HIDDEN), nn.ReLU()], 0.0),
    "smoothing": ([nn.Tanh()], 0.1),
}


def draw(model, generator):
    for name, p in model.named_parameters():
        fan = p.shape[1] if p.dim() == 2 else p.shape[0]
        start = 1.0 if p.dim() == 1 and name == "1.weight" else 0.0
        p.data = start + torch.randn(p.shape, generator=generator) * fan**-0.5


def case(name, middle, smoothing, generator, out):
    model = nn.Sequential(nn.Linear(64, HIDDEN), *middle, nn.Linear(HIDDEN, 10))
    draw(model, generator)
    taps = {}

    def keep(index):
        def hook(_, __, z):
            z.retain_grad()
            taps[index] = z

        return hook

    for index, layer in enumerate(model):
        if list(layer.parameters()):
            layer.register_forward_hook(keep(index))
    params = dict(model.named_parameters())
    norms = []
    for x, y in zip(X, Y):
        model.zero_grad()
        F.cross_entropy(model(x[None]), y[None], label_smoothing=smoothing).backward()
        norms.append(torch.sqrt(sum((p.grad**2).sum() for p in params.values())))
    model.zero_grad()
    logits = model(X)
    losses = F.cross_entropy(logits, Y, reduction="none", label_smoothing=smoothing)
    losses.mean().backward()
    found = {"loss": losses.mean(), "losses": losses, "logits": logits, "example_grad_norm": torch.stack(norms)}
    found |= {key: p.grad for key, p in params.items()}
    found |= {f"{index}.z_grad": z.grad for index, z in taps.items()}
    out |= {f"{name}/found/{key}": value.detach().numpy() for key, value in found.items()}
    out |= {f"{name}/weights/{key}": p.detach().numpy() for key, p in params.items()}


def main():
    out, generator = {}, torch.Generator().manual_seed(20240229)
    for name, (middle, smoothing) in CASES.items():
        case(name, middle, smoothing, generator, out)
    save_file(out, Path(__file__).with_suffix(".safetensors"))


main()

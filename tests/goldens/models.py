"""Outputs and gradients of torch.nn.Sequential in f64, for tests/models.rs.

Element k of the inputs is cos(k), element k of all parameters, counted through, 0.4·sin(k + 1). The loss is the mean
cross-entropy. Run `python tests/goldens/models.py` to write models.json beside it.
"""

import json
from pathlib import Path

import torch
from torch import nn

torch.set_default_dtype(torch.float64)
LABELS = torch.tensor([2, 0, 1])

MODELS = {
    "bounded": [nn.Flatten(), nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 4), nn.Sigmoid(), nn.Linear(4, 3), nn.Softmax(1)],
    "rectified": [nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.LeakyReLU(0.1), nn.Linear(5, 4), nn.ELU(0.7),
                  nn.Linear(4, 3)],
    "smooth": [nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 5), nn.GELU(approximate="tanh"), nn.Linear(5, 4), nn.SiLU(),
               nn.Identity(), nn.Linear(4, 5, bias=False), nn.Softplus(), nn.Linear(5, 3)],
    "normalized": [nn.Linear(4, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 5), nn.LayerNorm(5, eps=1e-3,
                   elementwise_affine=False), nn.Linear(5, 3)],
}


def case(layers):
    model = nn.Sequential(*layers)
    count = 1
    with torch.no_grad():
        for param in model.parameters():
            param.copy_(0.4 * torch.sin(torch.arange(count, count + param.numel()).double()).reshape(param.shape))
            count += param.numel()
    output = model(torch.cos(torch.arange(12).double()).reshape(3, 4))
    nn.functional.cross_entropy(output, LABELS).backward()
    gradients = {name: param.grad.flatten().tolist() for name, param in model.named_parameters()}
    return {"output": output.flatten().tolist(), "gradients": gradients}


def main():
    lines = [f'  "{name}": {json.dumps(case(layers))}' for name, layers in MODELS.items()]
    Path(__file__).with_suffix(".json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


main()

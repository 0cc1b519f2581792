"""Trajectories of torch.optim in f64, for tests/optimizers.rs.

Three tensors repeat one pattern of 31 numbers, as do their gradients, so that one pattern tells all of them; the third
spans two chunks. Run `python tests/goldens/optimizers.py` to write optimizers.safetensors beside it.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

PATTERN, STEPS, KEPT = 31, 20, [1, 2, 20]
LENGTHS = [21, 7, 1031]
torch.set_default_dtype(torch.float64)

CASES = {
    "sgd": (torch.optim.SGD, {"lr": 0.05}, {}),
    "sgd_decay": (torch.optim.SGD, {"lr": 0.05, "weight_decay": 0.1}, {}),
    "momentum": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}, {}),
    "momentum_dampening": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.02}, {}),
    "nesterov": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}, {}),
    "adagrad": (torch.optim.Adagrad, {"lr": 0.1}, {}),
    "adagrad_decay": (
        torch.optim.Adagrad,
        {"lr": 0.1, "lr_decay": 0.05, "initial_accumulator_value": 0.3, "weight_decay": 0.02},
        {},
    ),
    "rmsprop": (torch.optim.RMSprop, {"lr": 0.01, "weight_decay": 0.02}, {}),
    "rmsprop_centered": (torch.optim.RMSprop, {"lr": 0.01, "alpha": 0.9, "centered": True}, {}),
    "rmsprop_momentum": (
        torch.optim.RMSprop,
        {"lr": 0.01, "alpha": 0.9, "momentum": 0.8, "centered": True, "weight_decay": 0.02},
        {},
    ),
    "adam": (torch.optim.Adam, {"lr": 0.01}, {}),
    "adam_decay": (torch.optim.Adam, {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}, {}),
    "adamw": (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}, {}),
    "clip_norm": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}, {"norm": 2.0}),
    "clip_norm_adam": (torch.optim.Adam, {"lr": 0.01}, {"norm": 2.0}),
    "clip_value": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}, {"value": 0.5}),
    "clip_both": (torch.optim.SGD, {"lr": 0.05, "weight_decay": 0.1}, {"norm": 2.0, "value": 0.5}),
}


def tensors(pattern):
    """The pattern over all tensors, one behind the other."""
    whole = np.resize(pattern, sum(LENGTHS))
    return [torch.from_numpy(part.copy()) for part in np.split(whole, np.cumsum(LENGTHS)[:-1])]


def trajectory(make, options, clip, start, gradients):
    params = [torch.nn.Parameter(part) for part in tensors(start)]
    optimizer = make(params, **options)
    kept = []
    for step, gradient in enumerate(gradients):
        # The rate varies, as under a schedule.
        optimizer.param_groups[0]["lr"] = options["lr"] * (1 - 0.03 * step)
        for param, grad in zip(params, tensors(gradient)):
            param.grad = grad
        if "value" in clip:
            torch.nn.utils.clip_grad_value_(params, clip["value"])
        if "norm" in clip:
            torch.nn.utils.clip_grad_norm_(params, clip["norm"])
        optimizer.step()
        if step + 1 in KEPT:
            whole = np.concatenate([param.detach().numpy() for param in params])
            assert np.array_equal(whole, np.resize(whole[:PATTERN], len(whole)))
            kept.append(whole[:PATTERN])
    return np.stack(kept)


def main():
    rng = np.random.default_rng(0)
    start = rng.normal(size=PATTERN)
    # Sizes fall from step to step, so that clipping by norm acts on the first steps alone; one element is always 0.
    gradients = rng.normal(size=(STEPS, PATTERN)) * np.geomspace(1, 0.01, STEPS)[:, None]
    gradients[:, 3] = 0
    out = {"start": start, "gradients": gradients}
    for name, (make, options, clip) in CASES.items():
        out[name] = trajectory(make, options, clip, start, gradients)
    save_file(out, Path(__file__).with_suffix(".safetensors"))


main()

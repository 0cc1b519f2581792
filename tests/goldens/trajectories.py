"""Whole trainings by PyTorch, for tests/trajectory.rs: 20 steps of small networks on the digits, each optimizer.

For each case: initial parameters, the loss of each step and the final parameters in f64, and how far PyTorch's own f32
lands from them. Run `python tests/goldens/trajectories.py` to write trajectories.safetensors beside it.
"""

import gzip
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

HERE = Path(__file__).parent
DIGITS = HERE.parent.parent / "data" / "digits"
BATCH, STEPS = 32, 20
SEED = 20240229

OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {"lr": 0.2}),
    "momentum": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}),
    "nesterov": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    "adagrad": (torch.optim.Adagrad, {"lr": 0.05}),
    "rmsprop": (torch.optim.RMSprop, {"lr": 0.005}),
    "adam": (torch.optim.Adam, {"lr": 0.01}),
    "adamw": (torch.optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
}


def network(name):
    activations = {
        "relu": [torch.nn.ReLU()],
        "tanh": [torch.nn.Tanh()],
        "norm": [torch.nn.LayerNorm(16), torch.nn.GELU()],
    }
    return torch.nn.Sequential(torch.nn.Linear(64, 16), *activations[name], torch.nn.Linear(16, 10))


def read(name, header):
    return np.frombuffer(gzip.decompress((DIGITS / name).read_bytes())[header:], np.uint8)


def train(name, start, rule, dtype, x, labels):
    model = network(name).to(dtype)
    model.load_state_dict({key: value.to(dtype) for key, value in start.items()})
    optimizer = rule[0](model.parameters(), **rule[1])
    losses = []
    for step in range(STEPS):
        rows = slice(step * BATCH, (step + 1) * BATCH)
        loss = torch.nn.functional.cross_entropy(model(x[rows].to(dtype)), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses), {key: value.detach().double().numpy() for key, value in model.state_dict().items()}


def main():
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    x = torch.from_numpy(read("train-images-idx3-ubyte.gz", 16).reshape(-1, 64) / 16.0)
    labels = torch.from_numpy(read("train-labels-idx1-ubyte.gz", 8).astype(np.int64))
    out = {}
    for name in ["relu", "tanh", "norm"]:
        # Numbers that f32 holds exactly, so that both precisions start at the same point.
        start = network(name).state_dict()
        out |= {f"{name}/start/{key}": value.double().numpy() for key, value in start.items()}
        for rule in OPTIMIZERS:
            case = f"{name}/{rule}"
            losses, params = train(name, start, OPTIMIZERS[rule], torch.float64, x, labels)
            losses32, params32 = train(name, start, OPTIMIZERS[rule], torch.float32, x, labels)
            flat = lambda tensors: np.concatenate([tensors[key].ravel() for key in start])
            distances = [np.linalg.norm(losses32 - losses), np.linalg.norm(flat(params32) - flat(params))]
            out[f"{case}/losses"] = losses
            out[f"{case}/params"] = flat(params)
            out[f"{case}/f32"] = np.array(distances)
            print(f"{case}: {losses[0]:.4f} to {losses[-1]:.4f}, f32 off by {distances[0]:.1e} and {distances[1]:.1e}")
    save_file(out, HERE / "trajectories.safetensors")


if __name__ == "__main__":
    main()

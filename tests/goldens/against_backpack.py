"""Compares probes.safetensors with PyTorch, BackPACK and Cockpit, which form single examples' gradients by other ways.

    pip install torch backpack-for-pytorch numpy safetensors
    pip install --no-deps cockpit-for-pytorch; pip install json-tricks matplotlib pandas seaborn tqdm "setuptools<80"
    python tests/goldens/against_backpack.py [FILE]

Nothing is written: it prints the largest relative difference of each quantity over all activations and steps, and fails where one is
above 1e-8. The step sizes, batches and their order are those of probes.py; weights are read from the file. Where Cockpit defines a
quantity otherwise (the root of a test, a divisor B for B - 1), BackPACK's sums are taken and its formula is corrected for that.
Cockpit's parabola weighs each end by its own variances, probes.py both by those of the second: that difference is printed alone.
"""

import gzip
import sys
from pathlib import Path

import numpy as np
import torch
from backpack import backpack, extend
from backpack.extensions import BatchGrad, BatchL2Grad, SumGradSquared, Variance
from safetensors.numpy import load_file
from torch import nn

FILE = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("probes.safetensors")
DIGITS = Path(__file__).parents[2] / "data" / "digits"
ROWS, BATCH, STEPS, LR, BOUND = 22, 8, 7, 0.4, 1e-8
ACTIVATIONS = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "silu": nn.SiLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
}
torch.set_default_dtype(torch.float64)


def idx(name, offset):
    return np.frombuffer(gzip.decompress((DIGITS / name).read_bytes()), dtype=np.uint8)[offset:]


X = torch.tensor(idx("train-images-idx3-ubyte.gz", 16).reshape(-1, 64)[:ROWS] / 16)
Y = torch.tensor(idx("train-labels-idx1-ubyte.gz", 8)[:ROWS].astype(np.int64))


def model_of(name, goldens):
    layers = []
    for layer in [0, 2, 4]:
        w, b = (torch.tensor(goldens[f"{name}/weights/{layer}.{kind}"]) for kind in ["weight", "bias"])
        linear = nn.Linear(w.shape[1], w.shape[0])
        linear.load_state_dict({"weight": w, "bias": b})
        layers += [linear, ACTIVATIONS[name]()] if layer < 4 else [linear]
    return extend(nn.Sequential(*layers))


def flat(tensors, keep=0):
    return torch.cat([t.reshape(*t.shape[:keep], -1) for t in tensors], dim=-1)


def measure(model, x, y, history):
    lossfunc = extend(nn.CrossEntropyLoss())
    out = model(x)
    loss = lossfunc(out, y)
    model.zero_grad()
    with backpack(BatchGrad(), BatchL2Grad(), SumGradSquared(), Variance()):
        loss.backward()
    params = list(model.parameters())
    b, layers = len(x), [params[i : i + 2] for i in range(0, len(params), 2)]
    mean = flat([p.grad for p in params])
    # BackPACK's sums are of gradients of l_i/B; its variance is that of those with divisor B.
    squares = b**2 * sum(p.batch_l2.sum() for p in params)
    square, each = mean @ mean, b * flat([p.grad_batch for p in params], 1)
    along = each @ mean
    spread = lambda layer: b**2 * flat([p.variance for p in layer]) * b / (b - 1)
    sums = lambda layer: b**2 * flat([p.sum_grad_squared for p in layer])
    ratio = lambda layer, epsilon: flat([p.grad for p in layer]) ** 2 / (spread(layer) + epsilon)
    trace = (squares - b * square) / (b - 1)
    traces = [(sums(l).sum() - b * (flat([p.grad for p in l]) ** 2).sum()) / (b - 1) for l in layers]
    evidence = [ratio(l, 1e-5 * spread(l).mean()) for l in layers]
    varies = [spread(l) > 1e-12 * sums(l) / b for l in layers]
    now = {"grads": [flat([p.grad for p in l]).clone() for l in layers], "params": [flat([p.data for p in l]).clone() for l in layers]}
    now |= {"losses": nn.functional.cross_entropy(out, y, reduction="none").detach(), "each": each}
    found = {
        "loss": loss.item(),
        "grad_norm": square.sqrt(),
        "noise_trace": trace,
        "noise_signal": square - trace * (1 / b - 1 / ROWS),
        "layer_noise_trace": traces,
        "norm_test": trace / (b * square),
        "inner_product_test": along.var() / (b * square**2),
        "orthogonality_test": (squares - (along**2).sum() / square) / ((b - 1) * b * square),
        "cabs": LR * trace / loss.item(),
        "early_stopping": 1 - b * torch.cat(evidence).mean(),
        "layer_early_stopping": [1 - b * e.mean() for e in evidence],
        "layer_snr": [(ratio(l, 0)[own] - 1 / b).mean() for l, own in zip(layers, varies)],
    }
    start = (history or [now])[0]
    found["layer_distance"] = [(a - b).norm() for a, b in zip(now["params"], start["params"])]
    if history:
        last = history[-1]
        cosine = lambda a, b: nn.functional.cosine_similarity(a, b, dim=0, eps=0)
        steps = [a - b for a, b in zip(now["params"], last["params"])]
        found["layer_gradient_cosine"] = [cosine(a, b) for a, b in zip(now["grads"], last["grads"])]
        found["layer_update_cosine"] = [cosine(a, b) for a, b in zip(now["grads"], steps)]
        found["gradient_cosine"] = cosine(mean, torch.cat(last["grads"]))
        found["update_cosine"] = cosine(mean, torch.cat(steps))
        found["alpha"], found["alpha (each end's own variances)"] = parabolas(last, now, torch.cat(steps))
    history.append(now)
    return {key: np.array([float(v) for v in np.atleast_1d(value)]) if not isinstance(value, list) else np.array([float(v) for v in value]) for key, value in found.items()}


def parabolas(last, now, step):
    """Cockpit's fit, with the variances of the second end for both, and with each end's own."""
    from cockpit.quantities.alpha import _fit_quadratic, _get_alpha

    t = step.norm().item()
    slopes = [end["each"] @ step / t for end in [last, now]]
    values = [[end["losses"].mean().item() for end in [last, now]], [s.mean().item() for s in slopes]]
    own = [[end["losses"].var().item() / len(end["losses"]) for end in [last, now]], [s.var().item() / len(s) for s in slopes]]
    second = [[pair[1]] * 2 for pair in own]
    fits = [_fit_quadratic(t, *values, *variances) for variances in [second, own]]
    # One that does not begin downhill is no step towards a minimum.
    return [np.nan if fit[1] >= 0 else _get_alpha(fit, t) for fit in fits]


def main():
    goldens, worst, count = load_file(FILE), {}, {}
    for name in ACTIVATIONS:
        model, history = model_of(name, goldens), []
        for step in range(STEPS):
            first = step % 3 * BATCH
            rows = slice(first, min(first + BATCH, ROWS))
            for key, value in measure(model, X[rows], Y[rows], history).items():
                golden = goldens[f"{name}/{step}/{key.split(' ')[0]}"]
                assert golden.shape == value.shape, (name, step, key, golden.shape, value.shape)
                assert np.array_equal(np.isnan(golden), np.isnan(value)) or " " in key, (name, step, key, golden, value)
                size = np.nanmax(np.abs(golden)) if np.isfinite(golden).any() else 1.0
                off = np.nanmax(np.abs(golden - value), initial=0.0) / max(size, 1e-3)
                count[key] = count.get(key, 0) + len(golden)
                worst[key] = max(worst.get(key, (0.0, "")), (off, f"{name}, step {step}"))
            with torch.no_grad():
                for p in model.parameters():
                    p -= LR * p.grad
    for key, (off, where) in worst.items():
        print(f"{key:38} {count[key]:5} numbers, off by {off:.1e} ({where})")
    assert all(off < BOUND for key, (off, _) in worst.items() if " " not in key)


main()

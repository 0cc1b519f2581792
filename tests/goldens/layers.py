"""The noise of a network with layers that are not dense, on digits, from numpy in f64, for tests/layer_noise.rs.

    pip install numpy safetensors
    python tests/goldens/layers.py

Every example's gradient is formed on its own, by a backward pass that is written out by hand and checked against differences. The
first 22 rows of the training part of data/digits make batches of 8, 8 and 6, in their order, for five steps of plain gradient
descent. `<case>/<step>/<quantity>` is what a step says, in cases `alike` and `weighted`, whose classes have weights. Where the noise of
some layers is told from micro-batches of 3, 3 and what is left, of sums of examples' gradients, the case is `<case>.normed` (layers
of normalization alone) or `<case>.every`. `<case>/weights/<tensor>` are the weights before the first step.
"""

from pathlib import Path

import numpy as np
from instruments import X_ALL, Y_ALL, snr
from probes import EPSILON, alpha, losses
from safetensors.numpy import save_file

ROWS, BATCH, MICRO, STEPS, LR, EPS = 22, 8, 3, 5, 0.4, 1e-5
# Position in the network: a linear layer as (inputs, outputs), a normalization as a width; tanh is layer 2.
LAYERS = {0: (64, 6), 1: 6, 3: (6, 5), 4: 5, 5: (5, 10)}
NORMED = [1, 4]
CLASS_WEIGHTS = {"alike": np.ones(10), "weighted": np.array([0.5, 1, 2, 1, 0.25, 3, 1, 1, 0, 1.5])}


def normalize(x):
    return (x - x.mean()) / np.sqrt(x.var() + EPS), np.sqrt(x.var() + EPS)


def forward(params, x):
    """Output of one example, and what each layer is applied to."""
    inputs, h = {}, x
    for layer in range(6):
        inputs[layer] = h
        if layer == 2:
            h = np.tanh(h)
        elif layer in NORMED:
            w, b = params[layer]
            h = w * normalize(h)[0] + b
        else:
            w, b = params[layer]
            h = w @ h + b
    return h, inputs


def loss(params, x, y):
    return losses(forward(params, x)[0][None], np.array([y]))[0]


def gradient(params, x, y):
    """The gradient of one example's loss: of each layer its weight and bias."""
    h, inputs = forward(params, x)
    p = np.exp(h - h.max())
    delta = p / p.sum() - np.eye(10)[y]
    out = {}
    for layer in reversed(range(6)):
        x = inputs[layer]
        if layer == 2:
            delta = delta * (1 - np.tanh(x) ** 2)
        elif layer in NORMED:
            normal, spread = normalize(x)
            out[layer] = delta * normal, delta
            d = delta * params[layer][0]
            delta = (d - d.mean() - normal * (d * normal).mean()) / spread
        else:
            out[layer] = np.outer(delta, x), delta
            delta = params[layer][0].T @ delta
    return out


def check(params, rng):
    found = gradient(params, X_ALL[0], Y_ALL[0])
    for layer in LAYERS:
        for which in range(2):
            direction = rng.standard_normal(params[layer][which].shape)
            ends = []
            for step in [1e-6, -1e-6]:
                moved = {k: list(v) for k, v in params.items()}
                moved[layer][which] = moved[layer][which] + step * direction
                ends.append(loss(moved, X_ALL[0], Y_ALL[0]))
            difference, exact = (ends[0] - ends[1]) / 2e-6, (found[layer][which] * direction).sum()
            assert abs(difference - exact) < 1e-7 * max(1, abs(exact)), (layer, which, difference, exact)


def by_examples(u):
    return u.var(axis=0, ddof=1).sum()


def by_micros(u):
    """Between micro-batches: the spread of their means, each as often as it has examples."""
    parts = [u[i : i + MICRO] for i in range(0, len(u), MICRO)]
    return sum(len(part) * ((part.mean(axis=0) - u.mean(axis=0)) ** 2).sum() for part in parts) / (len(parts) - 1)


def stopping(parts):
    b, terms = len(parts[0]), []
    for u in parts:
        variance = u.var(axis=0, ddof=1)
        terms.append(u.mean(axis=0) ** 2 / (variance + EPSILON * variance.mean()))
    return 1 - b * np.concatenate(terms).mean()


def measure(us, value, resolved, noises):
    """What one step says; `us` are the parts uᵢ of examples in the mean gradient, of each layer."""
    whole = np.concatenate([us[layer] for layer in LAYERS], axis=1)
    b, mean = len(whole), whole.mean(axis=0)
    square, products = mean @ mean, whole @ mean
    now = []
    for layer in LAYERS:
        u = us[layer]
        trace = by_examples(u) if layer in resolved else by_micros(u)
        now.append((trace, (u.mean(axis=0) ** 2).sum() - trace * (1 / b - 1 / ROWS)))
    now = np.array(now)
    now = np.concatenate([now, now.sum(axis=0)[None]])
    noises.append(now)
    smooth = np.mean(noises, axis=0)
    scales = [s / g if g > 0 else 1e12 for s, g in smooth]
    out = {"loss": value, "grad_norm": np.sqrt(square)}
    out |= {"noise_trace": now[-1][0], "noise_signal": now[-1][1], "noise_scale": scales[-1]}
    out |= {"layer_noise_trace": now[:-1, 0], "layer_noise_signal": now[:-1, 1], "layer_noise_scale": scales[:-1]}
    out["norm_test"] = now[-1][0] / (b * square)
    out["cabs"] = LR * now[-1][0] / value
    if len(resolved) == len(LAYERS):
        out["inner_product_test"] = products.var(ddof=1) / (b * square**2)
        out["orthogonality_test"] = ((whole**2).sum() - (products**2).sum() / square) / ((b - 1) * b * square)
    parts = [us[layer] for layer in LAYERS if layer in resolved]
    if parts:
        out["early_stopping"] = stopping(parts)
        out["layer_early_stopping"] = [stopping([u]) for u in parts]
        out["layer_snr"] = [snr(u)[u.std(axis=0) > 0].mean() for u in parts]
        sums = [(u**2).sum(axis=0) / b for u in parts]
        told = [(u.mean(axis=0) ** 2 < (1 - 2.0**-14) * own) & (own > 2.0**-100) for u, own in zip(parts, sums)]
        out["layer_snr_single"] = [snr(u)[own].mean() for u, own in zip(parts, told)]
    return out


def case(name, rng, out):
    params = {}
    for layer, size in LAYERS.items():
        if layer in NORMED:
            params[layer] = [1 + 0.5 * rng.standard_normal(size), 0.5 * rng.standard_normal(size)]
        else:
            i, o = size
            params[layer] = [rng.standard_normal((o, i)) * (2 / i) ** 0.5, 0.3 * rng.standard_normal(o)]
        out[f"{name}/weights/{layer}.weight"], out[f"{name}/weights/{layer}.bias"] = (x.copy() for x in params[layer])
    check(params, rng)
    kinds = {"": list(LAYERS), ".normed": [layer for layer in LAYERS if layer not in NORMED], ".every": []}
    noises = {kind: [] for kind in kinds}
    last = None
    for step in range(STEPS):
        first = step % 3 * BATCH
        rows = range(first, min(first + BATCH, ROWS))
        w = CLASS_WEIGHTS[name][Y_ALL[rows]]
        w = w / w.sum()
        found = [gradient(params, X_ALL[i], Y_ALL[i]) for i in rows]
        own = np.array([loss(params, X_ALL[i], Y_ALL[i]) for i in rows])
        flat = lambda g, layer: np.concatenate([part.ravel() for part in g[layer]])
        us = {layer: np.stack([len(w) * wi * flat(g, layer) for wi, g in zip(w, found)]) for layer in LAYERS}
        for kind, resolved in kinds.items():
            numbers = measure(us, w @ own, resolved, noises[kind])
            out |= {f"{name}{kind}/{step}/{key}": value for key, value in numbers.items()}
        # Losses and slopes along the last update: alpha rests on gradients of all parameters.
        whole = np.concatenate([us[layer] for layer in LAYERS], axis=1)
        now = {"examples": whole, "losses": len(w) * w * own, "mean": whole.mean(axis=0)}
        if last is not None:
            out[f"{name}/{step}/alpha"] = alpha(last, now, -LR * last["mean"])
        last = now
        for layer in LAYERS:
            mean, size = us[layer].mean(axis=0), params[layer][0].size
            params[layer][0] = params[layer][0] - LR * mean[:size].reshape(params[layer][0].shape)
            params[layer][1] = params[layer][1] - LR * mean[size:]


def main():
    out, rng = {}, np.random.default_rng(20250110)
    for name in CLASS_WEIGHTS:
        case(name, rng, out)
    out = {key: np.atleast_1d(np.ascontiguousarray(value, dtype=np.float64)) for key, value in out.items()}
    save_file(out, Path(__file__).with_suffix(".safetensors"))


if __name__ == "__main__":
    main()

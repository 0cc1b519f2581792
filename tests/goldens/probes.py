"""What probes measure in a few steps of small networks on digits, with each activation, from numpy in f64, for tests/probes.rs.

    pip install numpy safetensors
    python tests/goldens/probes.py

Every example's gradient is formed on its own, by the backward pass of instruments.py; what is said of a step is computed from all of
them. The first 22 rows of the training part of data/digits make batches of 8, 8 and 6, in their order, for seven steps of plain
gradient descent. An epoch has three steps, which is the window of dead units. The names of what is written are those of the
quantities, `<activation>/<step>/<quantity>`, and `<activation>/weights/<tensor>` are the weights before the first step; `wide` is `relu` with wider
layers.
"""

from pathlib import Path

import numpy as np
from instruments import ACTIVATIONS, X_ALL, Y_ALL, gradients, snr
from safetensors.numpy import save_file

ROWS, BATCH, STEPS, LR = 22, 8, 7, 0.4
WIDTHS, WIDE = [64, 6, 5, 10], [64, 24, 40, 10]
EPSILON, SLOPE_MIN, BINS = 1e-5, 0.05, 32
RECTIFIED = {"relu", "elu", "gelu", "gelu_tanh", "silu"}
BOUNDED = {"sigmoid": 0.25, "tanh": 1.0}


def forward(weights, biases, f, x):
    """Pre-activations of all layers and the activations behind them; rows are examples."""
    zs, activations, h = [], [], x
    for layer, (w, b) in enumerate(zip(weights, biases)):
        z = h @ w.T + b
        h = np.stack([f(row) for row in z]) if layer + 1 < len(weights) else z
        zs.append(z)
        activations.append(h)
    return zs, activations


def losses(logits, y):
    top = logits.max(axis=1)
    return top + np.log(np.exp(logits - top[:, None]).sum(axis=1)) - logits[np.arange(len(y)), y]


def histogram(x):
    x = np.abs(x).ravel()
    bins = np.zeros(len(x), dtype=int)
    some = x > 0
    bins[some] = np.clip((np.floor(np.log2(x[some])) + 50) // 2, 1, 30).astype(int)
    return np.bincount(bins, minlength=BINS) / len(x)


def noise(g):
    """S and |G|² of per-example gradients [rows, parameters]."""
    b, square = len(g), (g.mean(axis=0) ** 2).sum()
    trace = g.var(axis=0, ddof=1).sum()
    return trace, square - trace * (1 / b - 1 / ROWS)


def stopping(parts):
    b, terms = len(parts[0]), []
    for g in parts:
        variance = g.var(axis=0, ddof=1)
        terms.append(g.mean(axis=0) ** 2 / (variance + EPSILON * variance.mean()))
    return 1 - b * np.concatenate(terms).mean()


def alpha(before, now, update):
    """The parabola by weighted least squares, as a linear system; both ends have the variances of the second one."""
    g, values = now["examples"], now["losses"]
    b, along = len(g), g @ update
    weights = np.sqrt([1 / (values.var(ddof=1) / b)] * 2 + [1 / (along.var(ddof=1) / b)] * 2)
    rows = np.array([[1, 0, 0], [1, 1, 1], [0, 1, 0], [0, 1, 2.0]])
    seen = np.array([before["losses"].mean(), values.mean(), before["mean"] @ update, now["mean"] @ update])
    _, slope, curve = np.linalg.lstsq(rows * weights[:, None], seen * weights, rcond=None)[0]
    if slope >= 0:
        return np.nan
    return -1.0 if curve <= 0 else -2 * curve / slope - 1


def cosine(a, b):
    return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


def measure(name, weights, biases, x, y, history):
    """What one step says, before its update."""
    f, derivative = ACTIVATIONS[name]
    zs, activations = forward(weights, biases, f, x)
    found = [gradients(weights, biases, f, derivative, *example)[0] for example in zip(x, y)]
    layers = [
        np.stack([np.concatenate([g[layer][0].ravel(), g[layer][1]]) for g in found]) for layer in range(len(weights))
    ]
    whole = np.concatenate(layers, axis=1)
    now = {"examples": whole, "losses": losses(zs[-1], y), "mean": whole.mean(axis=0)}
    now["params"] = [np.concatenate([w.ravel(), b]) for w, b in zip(weights, biases)]
    now["gradients"] = [g.mean(axis=0) for g in layers]
    b, mean = len(x), now["mean"]
    square, products = mean @ mean, whole @ mean
    out = {"loss": now["losses"].mean(), "grad_norm": np.sqrt(square)}
    hidden = range(len(weights) - 1)
    if name in RECTIFIED:
        alive = [np.stack([(h["zs"][layer] > 0).any(axis=0) for h in history[-3:]]) for layer in hidden if history]
        enough = len(history) >= 3
        out["dead_units"] = [(~alive[layer].any(axis=0)).mean() if enough else 0.0 for layer in hidden]
    if name in BOUNDED:
        slopes = [np.stack([derivative(row) for row in zs[layer]]) for layer in hidden]
        out["saturated"] = [(s < SLOPE_MIN * BOUNDED[name]).mean() for s in slopes]
    now["zs"] = zs
    now["noise"] = [noise(g) for g in [*layers, whole]]
    smooth = np.mean([h["noise"] for h in [*history, now]], axis=0)
    trace, signal = now["noise"][-1]
    out |= {"noise_trace": trace, "noise_signal": signal}
    out["noise_scale"] = smooth[-1][0] / smooth[-1][1] if smooth[-1][1] > 0 else 1e12
    out["layer_noise_trace"], out["layer_noise_signal"] = np.array(now["noise"][:-1]).T
    out["layer_noise_scale"] = [s / g if g > 0 else 1e12 for s, g in smooth[:-1]]
    out["norm_test"] = trace / (b * square)
    out["inner_product_test"] = products.var(ddof=1) / (b * square**2)
    out["orthogonality_test"] = ((whole**2).sum() - (products**2).sum() / square) / ((b - 1) * b * square)
    out["cabs"] = LR * trace / out["loss"]
    out["early_stopping"] = stopping(layers)
    out["layer_early_stopping"] = [stopping([g]) for g in layers]
    out["layer_snr"] = [snr(g)[g.std(axis=0) > 0].mean() for g in layers]
    # In single precision a variance counts only where it is well above the rounding of what it is a difference of.
    sums = [(g**2).sum(axis=0) / b for g in layers]
    told = [(g.mean(axis=0) ** 2 < (1 - 2.0**-14) * own) & (own > 2.0**-100) for g, own in zip(layers, sums)]
    out["layer_snr_single"] = [snr(g)[own].mean() for g, own in zip(layers, told)]
    out["gradient_histogram"] = np.concatenate([histogram(g) for g in now["gradients"]])
    out["weight_histogram"] = np.concatenate([histogram(p) for p in now["params"]])
    out["activation_histogram"] = np.concatenate([histogram(a) for a in activations])
    start = (history or [now])[0]["params"]
    moved = [now["params"][layer] - start[layer] for layer in range(len(weights))]
    out["layer_distance"] = [np.linalg.norm(d) for d in moved]
    out["distance"] = np.linalg.norm(np.concatenate(moved))
    if history:
        last = history[-1]
        updates = [a - b for a, b in zip(now["params"], last["params"])]
        pairs = list(zip(now["gradients"], last["gradients"], updates))
        out["layer_gradient_cosine"] = [cosine(g, before) for g, before, _ in pairs]
        out["layer_update_cosine"] = [cosine(g, update) for g, _, update in pairs]
        update = np.concatenate(updates)
        out["gradient_cosine"] = cosine(mean, last["mean"])
        out["update_cosine"] = cosine(mean, update)
        out["alpha"] = alpha(last, now, update)
    history.append(now)
    return out


def case(name, rng, out, activation, widths=WIDTHS):
    # Biases well below 0 leave some units dead, weights well above 1 some activations flat.
    weights = [rng.standard_normal((o, i)) * (3 / i) ** 0.5 for i, o in zip(widths, widths[1:])]
    biases = [rng.standard_normal(o) - 0.7 for o in widths[1:]]
    for layer, (w, b) in enumerate(zip(weights, biases)):
        out[f"{name}/weights/{2 * layer}.weight"], out[f"{name}/weights/{2 * layer}.bias"] = w.copy(), b.copy()
    history = []
    for step in range(STEPS):
        first = step % 3 * BATCH
        rows = slice(first, min(first + BATCH, ROWS))
        found = measure(activation, weights, biases, X_ALL[rows], Y_ALL[rows], history)
        out |= {f"{name}/{step}/{key}": value for key, value in found.items()}
        for layer, g in enumerate(history[-1]["gradients"]):
            size = weights[layer].size
            weights[layer] = weights[layer] - LR * g[:size].reshape(weights[layer].shape)
            biases[layer] = biases[layer] - LR * g[size:]


def main():
    out, rng = {}, np.random.default_rng(20240917)
    for name in ACTIVATIONS:
        case(name, rng, out, name)
    # Layers with more weights than a batch has products of examples with each other.
    case("wide", rng, out, "relu", WIDE)
    out = {key: np.atleast_1d(np.ascontiguousarray(value, dtype=np.float64)) for key, value in out.items()}
    save_file(out, Path(__file__).with_suffix(".safetensors"))


ACTIVATIONS["identity"] = (lambda x: x, np.ones_like)

if __name__ == "__main__":
    main()

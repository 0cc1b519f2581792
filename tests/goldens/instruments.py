"""Single examples' gradients of small networks on digits, with each activation, from numpy in f64, for tests/instruments.rs.

    pip install numpy safetensors
    python tests/goldens/instruments.py

The backward pass is written out by hand, for one example at a time. Weights are drawn in f64, with a fixed seed, and are in the
file under `<case>/weights/...`. Rows 3 to 42 of the training part of data/digits are taken, of its 1437 rows; the quantities are
those of src/run/inspect/noise.rs, computed from all 40 gradients at once.
"""

import gzip
from math import erf, pi
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

DIGITS = Path(__file__).parents[2] / "data" / "digits"
FIRST, END = 3, 43
WIDTHS = [64, 5, 4, 10]
EPSILON = 1e-5


def idx(name, offset):
    return np.frombuffer(gzip.decompress((DIGITS / name).read_bytes()), dtype=np.uint8)[offset:]


X_ALL = idx("train-images-idx3-ubyte.gz", 16).reshape(-1, 64).astype(np.float64) / 16
Y_ALL = idx("train-labels-idx1-ubyte.gz", 8).astype(np.int64)
X, Y, POPULATION = X_ALL[FIRST:END], Y_ALL[FIRST:END], len(X_ALL)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def normal(x):
    return 0.5 * (1 + np.array([erf(v / 2**0.5) for v in x]))


def tanh_gelu(x):
    return np.tanh((2 / pi) ** 0.5 * (x + 0.044715 * x**3))


# Each activation and its derivative.
ACTIVATIONS = {
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0),
    "leaky_relu": (lambda x: np.where(x > 0, x, 0.01 * x), lambda x: np.where(x > 0, 1.0, 0.01)),
    "elu": (lambda x: np.where(x > 0, x, np.expm1(x)), lambda x: np.where(x > 0, 1.0, np.exp(x))),
    "gelu": (lambda x: x * normal(x), lambda x: normal(x) + x * np.exp(-x * x / 2) / (2 * pi) ** 0.5),
    "gelu_tanh": (
        lambda x: 0.5 * x * (1 + tanh_gelu(x)),
        lambda x: 0.5 * (1 + tanh_gelu(x))
        + 0.5 * x * (1 - tanh_gelu(x) ** 2) * (2 / pi) ** 0.5 * (1 + 3 * 0.044715 * x**2),
    ),
    "silu": (lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * (1 - sigmoid(x)))),
    "sigmoid": (sigmoid, lambda x: sigmoid(x) * (1 - sigmoid(x))),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "softplus": (lambda x: np.log1p(np.exp(x)), sigmoid),
}


def gradients(weights, biases, f, derivative, x, y):
    """The gradient of one example's loss: each layer's [weight, bias], and that of the input."""
    inputs, zs, h = [], [], x
    for layer, (w, b) in enumerate(zip(weights, biases)):
        inputs.append(h)
        zs.append(w @ h + b)
        h = f(zs[-1]) if layer + 1 < len(weights) else zs[-1]
    p = np.exp(h - h.max())
    p /= p.sum()
    delta = p - np.eye(len(p))[y]
    out = [None] * len(weights)
    for layer in reversed(range(len(weights))):
        out[layer] = (np.outer(delta, inputs[layer]), delta)
        delta = weights[layer].T @ delta
        if layer > 0:
            delta = delta * derivative(zs[layer - 1])
    return out, delta


def figures(parts):
    """What is said of a set of parameters; `parts` are [rows, parameters] of each layer, whose epsilons differ."""
    g = np.concatenate(parts, axis=1)
    b, mean = len(g), g.mean(axis=0)
    square, trace = (mean**2).sum(), g.var(axis=0, ddof=1).sum()
    signal = square - trace * (1 / b - 1 / POPULATION)
    products = g @ mean
    terms = []
    for part in parts:
        variance = part.var(axis=0, ddof=1)
        terms.append(part.mean(axis=0) ** 2 / (variance + EPSILON * variance.mean()))
    return {
        "grad_norm_squared": square,
        "sample_trace": trace,
        "trace": trace * (POPULATION - 1) / POPULATION,
        "signal": signal,
        "noise_scale": trace * (POPULATION - 1) / POPULATION / signal if signal > 0 else np.nan,
        "norm_test": trace / (b * square),
        "inner_product_test": products.var(ddof=1) / (b * square**2),
        "orthogonality_test": ((g**2).sum() - (products**2).sum() / square) / ((b - 1) * b * square),
        "early_stopping": 1 - b * np.concatenate(terms).mean(),
        "snr": snr(g)[g.std(axis=0) > 0].mean(),
    }


def snr(g):
    variance = g.var(axis=0, ddof=1)
    return g.mean(axis=0) ** 2 / np.where(g.std(axis=0) > 0, variance, np.inf) - 1 / len(g)


def cosines(g):
    means = np.stack([g[Y == c].mean(axis=0) for c in np.unique(Y)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return means @ means.T


def case(name, rng, out):
    f, derivative = ACTIVATIONS[name]
    weights = [rng.standard_normal((o, i)) * (1.5 / i) ** 0.5 for i, o in zip(WIDTHS, WIDTHS[1:])]
    biases = [rng.standard_normal(o) * 0.3 for o in WIDTHS[1:]]
    found = [gradients(weights, biases, f, derivative, x, y) for x, y in zip(X, Y)]
    layers = []
    for layer, (w, b) in enumerate(zip(weights, biases)):
        own = f"{name}/weights/{2 * layer}"
        out[f"{own}.weight"], out[f"{own}.bias"] = w, b
        w_grads = np.stack([g[layer][0] for g, _ in found])
        b_grads = np.stack([g[layer][1] for g, _ in found])
        for key, g in [("weight", w_grads), ("bias", b_grads)]:
            out[f"{name}/mean/{2 * layer}.{key}"] = g.mean(axis=0)
            out[f"{name}/variance/{2 * layer}.{key}"] = g.var(axis=0, ddof=1)
        layers.append(np.concatenate([w_grads.reshape(len(X), -1), b_grads], axis=1))
        out[f"{name}/cosines/{2 * layer}"] = cosines(layers[-1])
        out |= {f"{name}/figures/{2 * layer}/{key}": value for key, value in figures([layers[-1]]).items()}
    whole = np.concatenate(layers, axis=1)
    out[f"{name}/cosines/whole"] = cosines(whole)
    out[f"{name}/norms"] = np.linalg.norm(whole, axis=1)
    out[f"{name}/input"] = np.stack([x for _, x in found]).reshape(-1, 8, 8)
    out |= {f"{name}/figures/whole/{key}": value for key, value in figures(layers).items()}


def main():
    out, rng = {}, np.random.default_rng(20240301)
    for name in ACTIVATIONS:
        case(name, rng, out)
    out = {key: np.ascontiguousarray(value, dtype=np.float64) for key, value in out.items()}
    save_file(out, Path(__file__).with_suffix(".safetensors"))


if __name__ == "__main__":
    main()

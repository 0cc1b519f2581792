"""The noise scale of MNIST in numpy, for tests/mnist.rs: the gradient of every example is formed on its own.

Run `python tests/goldens/noise.py FOLDER` with the folder of the four IDX files to write noise.json beside it.

784-128-10, ReLU, weights and biases uniform in ±1/sqrt(fan-in), pixels/255, softmax cross-entropy, plain gradient descent with
rate 0.1 and batches of 128 drawn without replacement, 800 steps. Written is sum S / sum |G|^2 over the steps of each seed, with
|G|^2 corrected for the 60,000 examples that there are.
"""

import gzip
import json
import sys
from pathlib import Path

import numpy as np

STEPS, BATCH, RATE, SEEDS = 800, 128, 0.1, 20


def idx(path, offset):
    return np.frombuffer(gzip.open(path).read(), np.uint8, offset=offset)


def batches(rng, n):
    while True:
        order = rng.permutation(n)
        for start in range(0, n, BATCH):
            yield order[start : start + BATCH]


def run(x, labels, seed):
    rng = np.random.default_rng(seed)
    n = len(x)
    uniform = lambda fan_in, *shape: rng.uniform(-1, 1, shape).astype(np.float32) / np.float32(np.sqrt(fan_in))
    w1, b1, w2, b2 = uniform(784, 128, 784), uniform(784, 128), uniform(128, 10, 128), uniform(128, 10)
    trace = signal = 0.0
    draw = batches(rng, n)
    for _ in range(STEPS):
        rows = next(draw)
        b = len(rows)
        a0, t = x[rows], np.eye(10, dtype=np.float32)[labels[rows]]
        z1 = a0 @ w1.T + b1
        a1 = np.maximum(z1, 0)
        z2 = a1 @ w2.T + b2
        e = np.exp(z2 - z2.max(1, keepdims=True))
        d2 = e / e.sum(1, keepdims=True) - t
        d1 = (d2 @ w2) * (z1 > 0)
        each = [d1[:, :, None] * a0[:, None, :], d1, d2[:, :, None] * a1[:, None, :], d2]
        squares = sum(float((g.astype(np.float64) ** 2).sum()) for g in each[1:]) + float(np.einsum("ijk,ijk->", each[0], each[0]))
        mean = [g.mean(0) for g in each]
        norm = sum(float((g.astype(np.float64) ** 2).sum()) for g in mean)
        s = (squares - b * norm) / (b - 1)
        trace += s
        signal += norm - s * (1 / b - 1 / n)
        for parameter, g in zip([w1, b1, w2, b2], mean):
            parameter -= np.float32(RATE) * g
    return trace / signal


def main():
    folder = Path(sys.argv[1])
    x = idx(folder / "train-images-idx3-ubyte.gz", 16).reshape(-1, 784).astype(np.float32) / 255
    labels = idx(folder / "train-labels-idx1-ubyte.gz", 8)
    scales = [run(x, labels, seed) for seed in range(SEEDS)]
    text = json.dumps({"steps": STEPS, "batch": BATCH, "rate": RATE, "noise_scales": scales}, indent=2)
    Path(__file__).with_name("noise.json").write_text(text + "\n")
    print(text)


main()

"""Golden values of every op, from PyTorch in double precision: tests/goldens/ops.safetensors.

    pip install torch numpy safetensors
    python tests/goldens/ops.py

For each case of tests/common/cases (same names): the inputs, the output, a random upstream cotangent c, the gradients of
<output, c> with respect to the real inputs, random directions v, and the gradients of <gradients, v>: a Hessian-vector
product. Inputs are rounded to single precision, so that an executor in f32 starts from the same numbers.
"""

import itertools
import pathlib
import re

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

SEED = 20240229
RNG = np.random.default_rng(SEED)
TENSORS = {}


# Inputs: functions of nothing, so that each case draws its own.


def exact(x):
    return torch.tensor(np.asarray(x, dtype=np.float32).astype(np.float64))


def normal(*shape, scale=1.0):
    return lambda: exact(scale * RNG.standard_normal(shape))


def apart(*shape):
    """Normal, but at least 0.1 away from the kink at 0."""

    def draw():
        x = RNG.standard_normal(shape)
        return exact(np.sign(x) * (0.1 + np.abs(x)))

    return draw


def uniform(low, high, *shape):
    return lambda: exact(RNG.uniform(low, high, shape))


def extreme(*shape):
    """Up to 100 in magnitude, both ends included, and clear of 0."""

    def draw():
        x = RNG.uniform(1, 100, shape) * RNG.choice([-1.0, 1.0], shape)
        x.flat[0], x.flat[-1] = 100, -100
        return exact(x)

    return draw


def index(n, *shape):
    return lambda: torch.tensor(RNG.integers(0, n, shape))


def zeros(*shape):
    return lambda: torch.zeros(shape, dtype=torch.float64)


def binary(*shape):
    """Zeros and ones: sharp targets."""
    return lambda: exact(RNG.integers(0, 2, shape))


def special():
    values = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-30, -1e-30, 1e30, -1e30]
    return torch.tensor(values, dtype=torch.float32).double()


def store(name, tensor):
    array = tensor.numpy(force=True)
    kind = np.uint32 if array.dtype == np.int64 else np.float64
    TENSORS[name] = array.astype(kind, order="C")


def case(name, function, *inputs, order=2):
    """Runs one case and stores what it gives, with derivatives up to `order`."""
    assert f"{name}/out" not in TENSORS, name
    values = [draw() for draw in inputs]
    reals = [x.requires_grad_(order > 0) for x in values if x.is_floating_point()]
    out = function(*values)
    for i, x in enumerate(values):
        store(f"{name}/in{i}", x)
    store(f"{name}/out", out)
    if order == 0:
        return
    cotangent = normal(*out.shape)()
    store(f"{name}/cotangent", cotangent)
    grads = gradient((out * cotangent).sum(), reals)
    for i, grad in enumerate(grads):
        store(f"{name}/grad{i}", grad)
    if order == 1:
        return
    directions = [normal(*x.shape)() for x in reals]
    slope = sum((grad * v).sum() for grad, v in zip(grads, directions))
    for i, (v, second) in enumerate(zip(directions, gradient(slope, reals))):
        store(f"{name}/direction{i}", v)
        store(f"{name}/second{i}", second)


def gradient(y, reals):
    """dy/dx for each x, zeros where y does not depend on it."""
    if not y.requires_grad:
        return [torch.zeros_like(x) for x in reals]
    grads = torch.autograd.grad(y, reals, create_graph=True, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(grads, reals)]


def step(x):
    return (x > 0).double() if not torch.isnan(x).any() else torch.where(x > 0, 1.0, 0.0).double()


UNARY = {
    "identity": (lambda x: 1.0 * x, normal(5, 7)),
    "neg": (torch.neg, normal(5, 7)),
    "abs": (torch.abs, apart(5, 7)),
    "sign": (torch.sign, apart(5, 7)),
    "step": (step, apart(5, 7)),
    "exp": (torch.exp, normal(5, 7)),
    "expm1": (torch.expm1, normal(5, 7)),
    "log": (torch.log, uniform(0.05, 4, 5, 7)),
    "sqrt": (torch.sqrt, uniform(0.05, 4, 5, 7)),
    "erf": (torch.erf, normal(5, 7)),
    "tanh": (torch.tanh, normal(5, 7)),
    "sigmoid": (torch.sigmoid, normal(5, 7)),
    "softplus": (lambda x: F.softplus(x, threshold=1000), normal(5, 7)),
    "relu": (F.relu, apart(5, 7)),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.01), apart(5, 7)),
    "elu": (lambda x: F.elu(x, 1.5), apart(5, 7)),
    "gelu": (F.gelu, normal(5, 7)),
    "gelu_tanh": (lambda x: F.gelu(x, approximate="tanh"), normal(5, 7)),
    "silu": (F.silu, normal(5, 7)),
}

BINARY = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "max": torch.maximum,
    "min": torch.minimum,
    "gate": lambda x, y: torch.where(x > 0, y, torch.zeros_like(y)),
}

BROADCASTS = {
    "same": ((5, 7), (5, 7)),
    "row": ((5, 7), (7,)),
    "column": ((5, 7), (5, 1)),
    "outer": ((5, 1), (1, 7)),
    "scalar": ((5, 7), ()),
    "left": ((3,), (2, 4, 3)),
    "deep": ((2, 3, 4, 5), (3, 1, 5)),
}


def elementwise():
    for name, (function, draw) in UNARY.items():
        case(f"{name}_5x7", function, draw)
        positive = name in ("log", "sqrt")
        case(f"{name}_extreme", function, uniform(1e-6, 100, 9) if positive else extreme(9))
        case(f"{name}_special", function, special, order=0)
    for name in ("relu", "leaky_relu", "elu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid", "softplus", "abs"):
        case(f"{name}_zero", UNARY[name][0], zeros(3), order=1)
    for name, function in BINARY.items():
        for variant, (x, y) in BROADCASTS.items():
            second = apart(*y) if name == "div" else normal(*y)
            case(f"{name}_{variant}", function, apart(*x), second)
    for exponent in (2.0, 3.0, -1.0, 0.5, -0.5, 1.5):
        case(f"pow_{exponent}", lambda x: torch.pow(x, exponent), uniform(0.2, 3, 5, 7))
    for exponent in (2.0, 3.0):
        case(f"pow_{exponent}_signed", lambda x: torch.pow(x, exponent), apart(5, 7))
    case("scale_5x7", lambda x: 2.5 * x, normal(5, 7))
    case("add_scalar_5x7", lambda x: x + 2.5, normal(5, 7))
    case("scalar_sub_5x7", lambda x: 2.5 - x, normal(5, 7))
    case("scalar_div_5x7", lambda x: 2.5 / x, apart(5, 7))
    for variant, shapes in {
        "same": ((5, 7), (5, 7), (5, 7)),
        "mixed": ((5, 1), (7,), ()),
        "deep": ((2, 1, 4), (2, 3, 1), (3, 4)),
    }.items():
        x, y, z = shapes
        case(f"select_{variant}", lambda x, y, z: torch.where(x > 0, y, z), apart(*x), normal(*y), normal(*z))
    case("square_twice", lambda x: (x * x) * (x * x), normal(5, 7))


def products():
    for kind in ("nn", "nt", "tn", "tt"):

        def product(a, b):
            a = a.mT if kind[0] == "t" else a
            b = b.mT if kind[1] == "t" else b
            return a @ b

        for batch, m, n, k in ((None, 3, 4, 5), (None, 1, 1, 1), (None, 1, 7, 3), (2, 3, 4, 5)):
            lead = () if batch is None else (batch,)
            a = (k, m) if kind[0] == "t" else (m, k)
            b = (n, k) if kind[1] == "t" else (k, n)
            shape = "x".join(str(x) for x in (*lead, m, n, k))
            case(f"matmul_{kind}_{shape}", product, normal(*lead, *a), normal(*lead, *b))


def sums():
    for first in range(4):
        for last in range(first + 1, 5):
            axes = tuple(range(first, last))
            case(f"sum_{first}_{last}", lambda x: x.sum(axes, keepdim=True), normal(3, 2, 4, 2))
    case("sum_axes_0_2", lambda x: x.sum((0, 2), keepdim=True), normal(3, 2, 4))
    case("sum_all", lambda x: x.sum(), normal(3, 5))
    case("mean_all", lambda x: x.mean(), normal(3, 5))
    case("mean_axes_1", lambda x: x.mean(1, keepdim=True), normal(3, 5))
    case("sum_to_3x1", lambda x: x.sum((0, 2)).reshape(3, 1), normal(2, 3, 4))
    case("sum_extreme", lambda x: x.sum(1, keepdim=True), extreme(4, 33))


def movement():
    case("reshape_2x6", lambda x: x.reshape(2, 6), normal(3, 4))
    case("reshape_12", lambda x: x.reshape(12), normal(3, 4))
    case("reshape_2x3x2x1", lambda x: x.reshape(2, 3, 2, 1), normal(3, 4))
    for rank, shape in ((2, (3, 5)), (3, (2, 3, 4)), (4, (2, 3, 4, 5))):
        orders = list(itertools.permutations(range(rank)))[1:]
        for order in orders if rank < 4 else [(0, 2, 1, 3), (3, 2, 1, 0), (1, 2, 3, 0)]:
            name = "".join(str(axis) for axis in order)
            case(f"transpose_{name}", lambda x: x.permute(order), normal(*shape))
    shape = (3, 4, 5)
    for axis in range(3):
        case(f"slice_{axis}", lambda x: x.narrow(axis, 1, 2), normal(*shape))
        pads = [0, 0] * 3
        pads[2 * (2 - axis)], pads[2 * (2 - axis) + 1] = 1, 2
        case(f"pad_{axis}", lambda x: F.pad(x, pads), normal(*shape))
        other = tuple(2 if a == axis else n for a, n in enumerate(shape))
        case(f"concat_{axis}", lambda x, y: torch.cat((x, y), axis), normal(*shape), normal(*other))
    case("concat_three", lambda *x: torch.cat(x, 1), normal(2, 1), normal(2, 3), normal(2, 2))


def rows():
    case("gather_rows_7of5", lambda x, i: x[i], normal(5, 3), index(5, 7))
    scatter = lambda x, i: torch.zeros(4, 3, dtype=torch.float64).index_add(0, i, x)
    case("scatter_add_rows_7to4", scatter, normal(7, 3), index(4, 7))
    case("one_hot_7of5", lambda i: F.one_hot(i, 5).double(), index(5, 7), order=0)
    softmax = lambda x: F.softmax(x, -1)
    case("softmax_5x7", softmax, normal(5, 7))
    case("softmax_3x1", softmax, normal(3, 1))
    case("softmax_2x3x4", softmax, normal(2, 3, 4))
    case("softmax_extreme", softmax, extreme(4, 9))
    case("softmax_special", softmax, lambda: special().repeat(2, 1).t().contiguous(), order=0)
    for smoothing in (0.0, 0.1):

        def loss(z, t):
            return F.cross_entropy(z, t, label_smoothing=smoothing, reduction="none")

        def loss_grad(z, t, dl):
            z = z if z.requires_grad else z.requires_grad_()
            return torch.autograd.grad(loss(z, t), z, dl, create_graph=True)[0]

        name = f"softmax_cross_entropy_{smoothing}"
        case(f"{name}_5x7", loss, normal(5, 7), index(7, 5))
        case(f"{name}_extreme", loss, extreme(4, 9), index(9, 4))
        name = f"softmax_cross_entropy_grad_{smoothing}"
        case(f"{name}_5x7", loss_grad, normal(5, 7), index(7, 5), normal(5))
        case(f"{name}_extreme", loss_grad, extreme(4, 9), index(9, 4), normal(4))
    norm = lambda x: F.layer_norm(x, x.shape[-1:], eps=1e-5)

    def norm_grad(x, dy):
        # Written out: differentiated a third time, PyTorch's layer_norm takes the mean and the deviation for constants.
        y = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        torch.testing.assert_close(y, norm(x), rtol=1e-12, atol=1e-12)
        return torch.autograd.grad(y, x, dy, create_graph=True)[0]

    for name, draw in {
        "5x7": normal(5, 7),
        "2x3x8": normal(2, 3, 8),
        "shifted": uniform(9, 11, 4, 9),
        "extreme": extreme(4, 9),
    }.items():
        case(f"layer_norm_{name}", norm, draw)
        case(f"layer_norm_grad_{name}", norm_grad, draw, normal(*draw().shape))


def losses():
    bce = lambda z, t: F.binary_cross_entropy_with_logits(z, t, reduction="none")
    case("bce_with_logits_5x7", bce, normal(5, 7, scale=3.0), uniform(0, 1, 5, 7))
    case("bce_with_logits_extreme", bce, extreme(9), binary(9))
    case("bce_with_logits_zero", bce, zeros(3), binary(3), order=1)
    case("squared_error_5x7", lambda x, t: F.mse_loss(x, t, reduction="none"), normal(5, 7), normal(5, 7))
    for delta in (0.5, 1.0):
        huber = lambda x, t: F.huber_loss(x, t, reduction="none", delta=delta)
        case(f"huber_{delta}_5x7", huber, normal(5, 7), normal(5, 7))
        case(f"huber_{delta}_extreme", huber, extreme(9), extreme(9))


def threefry(key, counter):
    """Threefry-2x32 with 20 rounds (Salmon et al. 2011), written from the paper."""
    mask = 0xFFFFFFFF
    words = [*key, key[0] ^ key[1] ^ 0x1BD11BDA]
    a, b = (counter[0] + key[0]) & mask, (counter[1] + key[1]) & mask
    for round_ in range(20):
        a = (a + b) & mask
        turn = (13, 15, 26, 6, 17, 29, 16, 24)[round_ % 8]
        b = ((b << turn | b >> 32 - turn) & mask) ^ a
        if round_ % 4 == 3:
            group = round_ // 4 + 1
            a = (a + words[group % 3]) & mask
            b = (b + words[(group + 1) % 3] + group) & mask
    return a, b


def random_bits():
    def dropout(p, step, first_row):
        def apply(x):
            flat = x.reshape(x.shape[0], -1)
            key = threefry((7, 11), (step, 0))
            mask = torch.zeros(flat.shape, dtype=torch.float64)
            for row, column in itertools.product(*map(range, flat.shape)):
                word = threefry(key, (first_row + row, column // 2))[column % 2]
                mask[row, column] = float(np.float32(word >> 8) / np.float32(2**24) >= np.float32(p))
            return (flat * mask / (1 - p)).reshape(x.shape)

        return apply

    case("dropout_0.3", dropout(0.3, 0, 0), normal(8, 5))
    case("dropout_0.5_later", dropout(0.5, 3, 5), normal(4, 3, 3))


def main():
    print(f"seed {SEED}")
    for group in (elementwise, products, sums, movement, rows, losses, random_bits):
        group()
    path = pathlib.Path(__file__).with_suffix(".safetensors")
    save_file(dict(sorted(TENSORS.items())), path)
    names = {re.sub("/.*", "", key) for key in TENSORS}
    print(f"{len(names)} cases, {len(TENSORS)} tensors, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()

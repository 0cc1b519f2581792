"""What the measuring ops must find, from numpy in f64, for tests/measures.rs.

    pip install numpy safetensors
    python tests/goldens/measures.py

Under `<case>/` stand the inputs in0, in1, … (exact in single precision), the outputs out0, …, and, where single precision decides
otherwise, out0_f32. Numbers that are not finite are left out of records, and not counted. A record is [max, squares, magnitudes, sum, zeros, non-finite, weight squares, step squares].
"""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

CHUNK = 1024
LENGTHS = np.array([CHUNK, 1021, 1, 0, 513], dtype=np.uint32)
rng = np.random.default_rng(5)
out = {}


def case(name, inputs, outputs, single=None):
    for i, x in enumerate(inputs):
        out[f"{name}/in{i}"] = np.ascontiguousarray(x, dtype=x.dtype if x.dtype == np.uint32 else np.float32)
    for i, x in enumerate(outputs):
        out[f"{name}/out{i}"] = np.ascontiguousarray(x, dtype=np.float64)
    if single is not None:
        out[f"{name}/out0_f32"] = single


def normal(*shape):
    return rng.normal(size=shape).astype(np.float32).astype(np.float64)


def single(x):
    return x.astype(np.float32).astype(np.float64)


def odd(x):
    flat = x.reshape(-1)
    for start, value in [(3, np.nan), (5, np.inf), (7, -np.inf), (11, 0.0), (12, -0.0)]:
        flat[start::97] = value
    return x


def exponent(x):
    """e with x in [2^e, 2^(e+1)); 0 for 0."""
    return int(np.frexp(x)[1]) - 1 if x > 0 else 0


def record(**fields):
    names = ["max", "squares", "magnitudes", "sum", "zeros", "non_finite", "weight_squares", "step_squares"]
    return np.array([float(fields.get(name, 0)) for name in names])


def chunks(*arenas):
    for c, length in enumerate(LENGTHS):
        yield [a[c * CHUNK : c * CHUNK + length] for a in arenas]


def unit_ages():
    for name, shape, rows, micro, shift in [
        ("first", (5, 3, 37), 4, 0, 1.5),
        ("later", (5, 3, 37), 4, 1, 1.5),
        ("wide", (70, 300), 70, 0, 2.5),
        ("none", (5, 3, 37), 0, 0, 1.5),
    ]:
        z = odd(single(normal(*shape) - shift))
        units = shape[-1]
        ages = rng.integers(0, 7, units).astype(np.float64)
        ages[4] = 2**20
        new = ages.copy()
        silent = 0
        if micro == 0:
            silent = sum(1 for age in ages if age >= 3)
            new = np.minimum(new + 1, 2**20)
        for u in range(units):
            if any(v > 0 for v in z[:rows, ..., u].reshape(-1)):
                new[u] = 0
        assert rows == 0 or 0 < (new == 0).sum() < units
        case(f"unit_ages_{name}", [z, ages], [new, record(zeros=silent)[None]])


def saturated():
    z = odd(normal(5, 1500))
    groups = [z[0:2], z[2:4], z[4:4]]
    count = lambda g: sum(1 for v in g.reshape(-1) if abs(v) > 0.75)
    case("saturated", [z], [np.stack([record(zeros=count(g)) for g in groups])])


def arena(scales):
    return single(np.concatenate([normal(CHUNK) * s for s in scales]))


def dot(a, d):
    keep = np.isfinite(a) & np.isfinite(d)
    top = max([0.0, *np.abs(a[keep]), *np.abs(d[keep])])
    scale = 2.0 ** -exponent(top)
    return record(max=top, squares=sum(x * scale * (y * scale) for x, y in zip(a[keep], d[keep])))


def pairs():
    a, b, c = arena([1, 1, 1e-25, 1, 1e15]), arena([1, 1e-3, 1e-25, 1, 1e18]), arena([1, 1, 1e-25, 1, 1e18])
    a[CHUNK : 2 * CHUNK] *= 2.0**-60
    a[:CHUNK] = -np.abs(a[:CHUNK]) * np.sign(b[:CHUNK])
    for name, (a, b, c) in {"": (a, b, c), "_odd": (odd(a.copy()), odd(np.roll(b, 2)), odd(np.roll(c, 5)))}.items():
        products = [np.stack([dot(x, y) for x, y in chunks(*pair)]) for pair in [(a, b), (a, c), (b, c), (c, c)]]
        case(f"direction{name}", [a, b, c, LENGTHS], products)
        with np.errstate(invalid="ignore"):
            d = b - c
        case(f"distance{name}", [b, c, LENGTHS], [np.stack([numbers(x, only=2) for (x,) in chunks(d)])])


def numbers(x, only=8):
    """The record of a vector, or its first fields alone."""
    finite = x[np.isfinite(x)]
    top = max([0.0, *np.abs(finite)])
    y = finite * 2.0 ** -exponent(top)
    found = record(max=top, squares=(y * y).sum(), sum=y.sum())
    found[only:] = 0
    return found


def histogram(x):
    counts = np.zeros(32)
    for v in np.abs(x.reshape(-1)):
        if not np.isfinite(v):
            counts[31] += 1
        elif v == 0:
            counts[0] += 1
        else:
            inside = [k for k in range(1, 31) if 2.0 ** (2 * k - 50) <= v < 2.0 ** (2 * k - 48)]
            counts[inside[0] if inside else (1 if v < 1 else 30)] += 1
    return counts


def histograms():
    sizes = lambda *shape: odd(single(normal(*shape) * 2.0 ** rng.integers(-70, 30, shape)))
    a = sizes(5 * CHUNK)
    a[20:24] = [2.0**-48, 2.0**-46, np.float32(2.0**-46 * (1 - 2**-24)), 2.0**-140]
    case("arena_histogram", [a, LENGTHS], [np.stack([histogram(x) for (x,) in chunks(a)])])
    x = sizes(5, 3, 500)
    case("row_histogram", [x], [np.stack([histogram(g) for g in [x[0:2], x[2:4], x[4:4]]])])
    counts = rng.integers(0, 1025, (40, 32)).astype(np.float64)
    segments = np.array([[0, 1], [1, 33], [33, 33], [33, 40]], dtype=np.uint32)
    table = rng.integers(0, 5000, (4, 32)).astype(np.float64)
    new = np.stack([counts[a:b].sum(0) for a, b in segments])
    case("fold_counts", [counts, segments, table], [new])
    case("fold_counts_first", [counts, segments, table], [new])
    case("fold_counts_later", [counts, segments, table], [table + new])


def variances():
    """Eight examples' gradients, formed one by one; some elements have the same in each, some none, some a tiny variance."""
    b = 8
    p = normal(b, 5 * CHUNK) * np.repeat([1, 1e-3, 1, 1, 10], CHUNK) / b
    p[:, 10:20] = 0
    p[:, 20:30] = 2.0 ** rng.integers(-3, 3, 10) / b
    g, q = single(p.sum(0)), single((p * p).sum(0))
    # 1 + 3·2⁻²³ of what no variance would be: rounding in single precision, and variance in double.
    g[30:33], q[30:33] = 1, (1 + 3 * 2.0**-23) / b
    q[41] = np.inf

    def variance(rounding):
        v = np.full(len(g), np.nan)
        for j in range(len(g)):
            spread = b * q[j] - g[j] ** 2
            if np.isfinite(spread) and spread > rounding * b * q[j]:
                v[j] = spread * b / (b - 1)
        return v

    # 512 units of the last place of B·q are rounding.
    found = {"f64": variance(512 * 2.0**-52), "f32": variance(512 * 2.0**-23)}
    # From the gradients themselves: what the formula is meant to be.
    true = np.var(b * p, axis=0, ddof=1)
    there = np.isfinite(found["f32"]) & (true > 0)
    there[30:42] = False
    assert there.sum() > 5000 and np.allclose(found["f32"][there], true[there], rtol=1e-2)

    def stats(g, v):
        has = np.isfinite(v)
        return record(weight_squares=(g[has] ** 2 / v[has]).sum(), step_squares=v[has].sum(), zeros=(~has).sum())

    rows = {r: np.stack([stats(x, y) for x, y in chunks(g, v)]) for r, v in found.items()}
    assert (rows["f32"][:, 4] != rows["f64"][:, 4]).any()
    odd_g = g.copy()
    odd_g[40] = np.nan
    v = {r: np.where(np.isnan(odd_g), np.nan, v) for r, v in found.items()}
    all_rows = {r: np.stack([stats(x, y) for x, y in chunks(odd_g, v)]) for r, v in v.items()}
    case("variance_stats", [odd_g, q, LENGTHS], [all_rows["f64"]], all_rows["f32"])
    owners = np.array([0, 0, 1, 1, 2], dtype=np.uint32)
    sizes = np.array([2045.0, 1.0, 513.0])
    tensors = np.stack([record(step_squares=single(rows["f32"][part, 7].sum())) for part in [[0, 1], [2, 3], [4]]])
    # Of a tensor without variance nothing is added to that of an element.
    tensors[1] = 0

    def stopping(g, v, owner):
        below = np.where(np.isfinite(v), v, 0) + 0.25 * (tensors[owner, 7] / sizes[owner])
        return record(weight_squares=(g[below > 0] ** 2 / below[below > 0]).sum())

    parts = zip(chunks(g, variance(0)), owners)
    case("stopping_stats", [g, q, LENGTHS, owners, sizes, tensors], [np.stack([stopping(x, y, o) for (x, y), o in parts])])


def vectors():
    for name, x in [("", normal(9000)), ("_odd", odd(normal(3, 1500) * 2.0**-80))]:
        flat = x.reshape(-1)
        groups = [flat[i : i + 4096] for i in range(0, len(flat), 4096)]
        case(f"vector_stats{name}", [x], [np.stack([numbers(g) for g in groups])])


def groups(*values):
    """The elements of values beside each other, 4096 to a record."""
    flat = [value.reshape(-1) for value in values]
    return [[v[i : i + 4096] for v in flat] for i in range(0, len(flat[0]), 4096)]


def noise():
    """Gradients of an elementwise layer, formed example by example and element by element; the gradient of 3 examples over √3."""
    x, z = normal(70, 61), single(normal(70, 61) / 70)
    for name, x, z in [("", x, z), ("_odd", odd(x.copy()), odd(np.roll(single(z * 2.0**-80), 5)))]:
        # What is not finite in numpy is what is not finite in single precision.
        with np.errstate(invalid="ignore"):
            of_scale = np.stack([example * signal for example, signal in zip(x, z)])
        pairs = groups(of_scale, z)
        case(f"elementwise{name}", [x, z], [np.stack([numbers(np.concatenate(pair), only=2) for pair in pairs])])
        case(f"elementwise_scale{name}", [x, z], [np.stack([numbers(pair[0], only=2) for pair in pairs])])
    for name, g in [("", normal(5000)), ("_odd", odd(single(normal(3, 1500) * 2.0**-80)))]:
        case(f"micro_stats{name}", [g], [np.stack([numbers(part / 3**0.5, only=2) for (part,) in groups(g)])])


unit_ages()
saturated()
x = normal(2, 3, 5)
case("copy", [x], [x])
pairs()
histograms()
variances()
vectors()
before, now = normal(2, 3, 5), normal(2, 3, 5)
case("moved", [before, now], [now - before])
noise()
save_file(out, Path(__file__).with_suffix(".safetensors"))

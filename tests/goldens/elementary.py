"""Coefficients of the polynomials in src/base/wide/elementary.rs.

Each is the polynomial of least largest weighted error on an interval, found by Lawson's method (1961): weighted
least squares on Chebyshev points, the weights multiplied by the errors again and again. The weights make the error
relative to the function that the polynomial is a part of. Prints the coefficients rounded to f32, constant term
first, and the largest error in units of 2^-24 (half a unit in the last place of 1) after rounding.

`python3 tests/goldens/elementary.py`; numpy 2.
"""

import math

import numpy as np

POINTS = 2000
ROUNDS = 400


def fit(name, f, weight, low, high, degree):
    """The polynomial of this degree that is nearest to f on [low, high]; errors are multiplied by `weight`."""
    angles = (np.arange(POINTS) + 0.5) * np.pi / POINTS
    x = (low + high) / 2 + (high - low) / 2 * np.cos(angles)
    y, w = np.vectorize(f)(x), np.vectorize(weight)(x)
    # Chebyshev polynomials, since powers of x are as good as dependent.
    basis = np.polynomial.chebyshev.chebvander((2 * x - low - high) / (high - low), degree)
    importance = np.ones(POINTS)
    best, coefficients = np.inf, None
    for _ in range(ROUNDS):
        root = np.sqrt(importance) * w
        found = np.linalg.lstsq(basis * root[:, None], y * root, rcond=None)[0]
        error = np.abs(basis @ found - y) * w
        if error.max() < best:
            best, coefficients = error.max(), found
        importance *= error / error.max()
        importance /= importance.sum()
    series = np.polynomial.Chebyshev(coefficients, domain=[low, high])
    powers = series.convert(kind=np.polynomial.Polynomial).coef.astype(np.float32)
    rounded = np.abs(np.polynomial.Polynomial(powers.astype(np.float64))(x) - y) * w
    print(f"{name}: [{low:.6g}, {high:.6g}], degree {degree}, {rounded.max() * 2**24:.3f} (unrounded {best * 2**24:.3f})")
    for c in powers:
        print(f"    {np.format_float_scientific(c, unique=True)}")


def series(x, term, start):
    """Sum of term(k) x^k from k = 0: functions with a hole at 0."""
    return math.fsum(term(k + start) * x**k for k in range(30))


HALF = math.log(2) / 2 * 1.001
# e^r = 1 + r + r² q(r).
fit("EXP", lambda r: series(r, lambda k: 1 / math.factorial(k), 2), lambda r: r * r / math.exp(r), -HALF, HALF, 4)
# The same part, its error relative to e^r - 1.
expm1 = lambda r: series(r, lambda k: 1 / math.factorial(k), 1)
fit("EXP_M1", lambda r: series(r, lambda k: 1 / math.factorial(k), 2), lambda r: abs(r) / expm1(r), -HALF, HALF, 4)
# ln(1 + e) = 2 artanh(s) = 2s + s³ q(s²), where s = e / (2 + e) is at most 1/3.
artanh = lambda q: math.fsum(2 * q**k / (2 * k + 3) for k in range(40))
fit("LN_1P", artanh, lambda q: q / (2 + q * artanh(q)), 0, 1 / 9, 3)
# tanh x = x + x³ q(x²) up to 5/8.
ratio = lambda q: math.tanh(math.sqrt(q)) / math.sqrt(q)
rest = lambda q: (ratio(q) - 1) / q if q > 1e-4 else -1 / 3 + 2 / 15 * q - 17 / 315 * q * q
fit("TANH", rest, lambda q: q / ratio(q), 0, 0.625**2, 4)
# erf x = x + x q(x²) up to 1.
ratio_of_erf = lambda q: math.erf(math.sqrt(q)) / math.sqrt(q) if q else 2 / math.sqrt(math.pi)
fit("ERF", lambda q: ratio_of_erf(q) - 1, lambda q: 1 / ratio_of_erf(q), 0, 1, 6)
# erf x = 1 - e^(x q(x)) from 1 to 4, where the exponential is below half a unit in the last place of 1.
fit("ERFC", lambda x: math.log(math.erfc(x)) / x, lambda x: x * math.erfc(x) / math.erf(x), 1, 4, 5)

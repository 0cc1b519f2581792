// Scalar functions, accurate to a few units in the last place where the built-in ones need not be: exp may err by
// 3 + 2|x| ulp, log by 2⁻²¹ near 1, tanh may overflow, and erf, expm1 and log1p do not exist. NaN passes
// through every function: comparisons with it are false. Drivers do reorder additions, and llvmpipe merges
// n·a + (n·b + x) into n·(a + b) + x; where a difference must be rounded first, a selection keeps it apart.

// A number by its bits: WGSL has no literal for infinities and NaN.
fn from_bits(bits: u32) -> f32 {
    return bitcast<f32>(bits);
}

// Decided by the exponent bits, since a compiler may assume that NaN does not exist.
fn is_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}

// 2ᵉ for −126 ≤ e ≤ 127.
fn exp2i(e: i32) -> f32 {
    return bitcast<f32>(u32(e + 127) << 23u);
}

// (eˣ − 1 − x) / x² for |x| ≤ ½ ln 2 (the polynomial of Cephes' expf).
fn exp_tail(x: f32) -> f32 {
    var p = fma(1.9875691500e-4, x, 1.3981999507e-3);
    p = fma(p, x, 8.3334519073e-3);
    p = fma(p, x, 4.1665795894e-2);
    p = fma(p, x, 1.6666665459e-1);
    return fma(p, x, 5.0000001201e-1);
}

// 2ⁿ·eˣ for |x| ≤ ½ ln 2 and |n| ≤ 252. The power of two is applied in two halves, so that results may be subnormal.
fn exp_scaled(x: f32, n: i32) -> f32 {
    let half = n / 2;
    return (fma(exp_tail(x), x * x, x) + 1.0) * exp2i(half) * exp2i(n - half);
}

// eˣ.
fn exp_fine(x: f32) -> f32 {
    // Beyond these bounds the result is infinite or 0 all the same.
    let low = select(x, -104.0, x < -104.0);
    let bounded = select(low, 89.0, low > 89.0);
    let n = round(bounded * 1.44269504);
    // ln 2 in two parts, the first short enough for an exact product.
    let coarse = select(fma(n, -0.693145752, bounded), bounded, n == 0.0);
    let rest = fma(n, -1.42860677e-6, coarse);
    // The integer comes from a number that is none for NaN.
    return exp_scaled(rest, i32(select(0.0, n, is_finite(x) || abs(x) > 1.0)));
}

// eˣ − 1.
fn exp_m1(x: f32) -> f32 {
    let near = fma(exp_tail(x), x * x, x);
    return select(exp_fine(x) - 1.0, near, abs(x) < 0.34657359);
}

// ln(1 + x) for √½ − 1 ≤ x ≤ √2 − 1 (the polynomial of Cephes' logf), with a term `more` that is small beside x.
fn log_near(x: f32, more: f32) -> f32 {
    var p = fma(7.0376836292e-2, x, -1.1514610310e-1);
    p = fma(p, x, 1.1676998740e-1);
    p = fma(p, x, -1.2420140846e-1);
    p = fma(p, x, 1.4249322787e-1);
    p = fma(p, x, -1.6668057665e-1);
    p = fma(p, x, 2.0000714765e-1);
    p = fma(p, x, -2.4999993993e-1);
    p = fma(p, x, 3.3333331174e-1);
    let square = x * x;
    return x + fma(-0.5, square, fma(p * x, square, more));
}

// A positive finite number as 2ᵉ·(1 + m) with √½ ≤ 1 + m < √2.
struct Parts {
    e: f32,
    m: f32,
}

fn parts(x: f32) -> Parts {
    let subnormal = x < 1.17549435e-38;
    let bits = bitcast<u32>(select(x, x * 8388608.0, subnormal));
    // Adding the gap between √½ and 1 to the bits carries numbers from √2 on into the next exponent.
    let shifted = bits + 0x3f800000u - 0x3f3504f3u;
    let m = bitcast<f32>((shifted & 0x007fffffu) + 0x3f3504f3u);
    return Parts(f32(shifted >> 23u) - select(127.0, 150.0, subnormal), select(m - 1.0, 0.0, m == 1.0));
}

// ln x.
fn log_fine(x: f32) -> f32 {
    if (!is_finite(x)) {
        return select(x, from_bits(0x7fc00000u), bitcast<u32>(x) == 0xff800000u);
    }
    if (x <= 0.0) {
        return select(from_bits(0xff800000u), from_bits(0x7fc00000u), x < 0.0);
    }
    let p = parts(x);
    return fma(p.e, 0.693359375, log_near(p.m, p.e * -2.12194440e-4));
}

// ln(1 + x) for x ≥ 0.
fn log_1p(x: f32) -> f32 {
    return select(log_fine(1.0 + x), log_near(x, 0.0), x < 0.41421356);
}

// tanh x, without overflow: the exponential sees −2|x|.
fn tanh_safe(x: f32) -> f32 {
    let e = exp_m1(-2.0 * abs(x));
    let size = -e / (2.0 + e);
    return select(size, -size, x < 0.0);
}

// 1 / (1 + e⁻ˣ), without overflow.
fn sigmoid(x: f32) -> f32 {
    let e = exp_fine(-abs(x));
    return select(1.0, e, x < 0.0) / (1.0 + e);
}

// max(x, 0).
fn relu(x: f32) -> f32 {
    return select(x, 0.0, x < 0.0);
}

// ln(1 + eˣ).
fn softplus(x: f32) -> f32 {
    return relu(x) + log_1p(exp_fine(-abs(x)));
}

// erf x: a polynomial near 0, 1 − e^polynomial beyond (minimax coefficients after N. Juffa).
fn erf(x: f32) -> f32 {
    let size = abs(x);
    if (size < 0.927734375) {
        let s = x * x;
        var p = fma(-5.96761703e-4, s, 4.99119423e-3);
        p = fma(p, s, -2.67681349e-2);
        p = fma(p, s, 1.12819925e-1);
        p = fma(p, s, -3.76125336e-1);
        p = fma(p, s, 1.28379166e-1);
        return fma(p, x, x);
    }
    // 1 − erf 4 is below half a unit in the last place of 1.
    let t = select(size, 4.0, size > 4.0);
    let s = t * t;
    var p = fma(fma(-1.72853470e-5, t, 3.83197126e-4), s, fma(-3.88396438e-3, t, 2.42546219e-2));
    p = fma(p, t, -1.06777877e-1);
    p = fma(p, t, -6.34846687e-1);
    p = fma(p, t, -1.28717512e-1);
    let tail = exp_fine(fma(p, t, -t));
    return select(1.0 - tail, tail - 1.0, x < 0.0);
}

// xⁿ for a whole |n| < 64, by squaring.
fn pow_whole(x: f32, n: f32) -> f32 {
    var result = 1.0;
    var square = x;
    var bits = u32(abs(n));
    for (var i = 0u; i < 6u; i++) {
        result = select(result, result * square, (bits & 1u) == 1u);
        square *= square;
        bits >>= 1u;
    }
    return select(result, 1.0 / result, n < 0.0);
}

// xʸ. WGSL's own has no value for a negative x; here whole y do, and others give NaN.
fn pow_signed(x: f32, y: f32) -> f32 {
    let whole = round(y) == y;
    if (whole && abs(y) < 64.0) {
        return pow_whole(x, y);
    }
    let size = abs(x);
    let odd = whole && abs(y) < 16777216.0 && (u32(min(abs(y), 16777216.0)) & 1u) == 1u;
    let p = parts(select(1.0, size, is_finite(x) && size > 0.0));
    // xʸ = 2^(y·e)·e^(y ln(1+m)): the exponent is split before the parts are added, so that a large y·e costs no digits.
    let turns = y * p.e;
    let lost = fma(y, p.e, -turns);
    let along = y * log_near(p.m, 0.0);
    let sum = fma(along, 1.44269504, turns);
    let bounded = select(select(sum, -252.0, sum < -252.0), 252.0, sum > 252.0);
    let n = round(bounded);
    let rest = fma((turns - n) + lost, 0.69314718, along);
    var power = exp_scaled(select(rest, 0.0, abs(rest) > 1.0), i32(n));
    let unbounded = (size > 1.0) == (y > 0.0);
    if (size == 0.0 || !is_finite(x)) {
        power = select(0.0, from_bits(0x7f800000u), unbounded);
    }
    power = select(power, -power, odd && x < 0.0);
    power = select(power, from_bits(0x7fc00000u), x < 0.0 && !whole && is_finite(x));
    let is_nan = (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
    return select(power, x, is_nan);
}

// The nearest number of half precision, ties to even, by whole numbers: the built-in conversion may round either way, and
// need not know infinity.
fn round_to_half(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    let size = bits & 0x7fffffffu;
    // Normal numbers lose 13 bits of their fraction.
    var rounded = (size + 0xfffu + ((size >> 13u) & 1u)) & 0xffffe000u;
    // Half a unit past the largest number, 65504, is infinite; NaN stays as it is.
    rounded = select(rounded, 0x7f800000u, size >= 0x477ff000u);
    rounded = select(rounded, size, size > 0x7f800000u);
    // Below 2⁻¹⁴ numbers are multiples of 2⁻²⁴: so many units.
    let fraction = (size & 0x7fffffu) | 0x800000u;
    let shift = clamp(126u - min(size >> 23u, 126u), 1u, 25u);
    let units = (fraction + (1u << (shift - 1u)) - 1u + ((fraction >> shift) & 1u)) >> shift;
    let small = bitcast<u32>(f32(units) * 5.9604644775390625e-8);
    rounded = select(rounded, small, size < 0x38800000u);
    return bitcast<f32>(rounded | (bits & 0x80000000u));
}

//! eˣ, eˣ − 1, ln x, ln(1 + x), tanh and erf in f32, a vector at a time, without branches. What a lane holds does not depend on the
//! other lanes. NaN stays NaN.
//!
//! Exponentials take x = n·ln 2 + r with a whole n and |r| ≤ ½ ln 2, ln 2 in two parts of which n times the first is exact (Cody &
//! Waite 1980), then a polynomial of r and 2ⁿ by its bits. The polynomials are of least error (Lawson 1961);
//! `tests/goldens/elementary.py` finds them. Errors are told, and tested, in `ops/pointwise/fast.rs`.

use super::{Lanes, Real, Wide};
use pulp::Simd;

/// 1.5·2²³: added and taken away again it rounds to a whole number, which it leaves in the low bits in between.
const ROUND: f32 = 12_582_912.0;

/// The exponent of 1 in the bits of an f32.
const BIAS: f32 = 127.0;

/// 355/512: with 10 bits, so that a product with |n| < 2¹⁴ is exact.
const LN_2_HIGH: f32 = 0.693_359_4;

/// ln 2 less that.
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// Below this eˣ rounds to 0: it is less than half the least f32, 2⁻¹⁴⁹.
const EXP_LOW: f32 = -104.0;

/// Above ln of the largest f32, 88.72…, but e to it can still be built from 2¹²⁸.
const EXP_HIGH: f32 = 89.0;

/// 2²³.
const SUBNORMAL_SCALE: f32 = 8_388_608.0;

/// The bits of 1 and of √½.
const ONE_BITS: u32 = 1.0f32.to_bits();
const ROOT_HALF_BITS: u32 = std::f32::consts::FRAC_1_SQRT_2.to_bits();

/// (eʳ − 1 − r)/r² by powers of r, for |r| ≤ ½ ln 2, its error relative to eʳ.
const EXP: [f32; 5] = [4.9999994e-1, 1.666652e-1, 4.1668393e-2, 8.368781e-3, 1.3814467e-3];

/// The same, its error relative to eʳ − 1.
const EXP_M1: [f32; 5] = [4.9999997e-1, 1.6666543e-1, 4.16672e-2, 8.36658e-3, 1.388251e-3];

/// (2 artanh s − 2s)/s³ by powers of s², for s ≤ 1/3.
const LN_1P: [f32; 4] = [6.666642e-1, 4.0021527e-1, 2.8001806e-1, 2.8011987e-1];

/// (tanh x − x)/x³ by powers of x², for |x| ≤ [`TANH_SMALL`].
const TANH: [f32; 5] = [-3.333328e-1, 1.3331442e-1, -5.3739715e-2, 2.0639086e-2, -5.7049864e-3];

/// To here the polynomial of tanh is good. Above, 2/(e²ˣ + 1) is less than ½ and its error little beside 1.
const TANH_SMALL: f32 = 0.625;

/// Here and above tanh rounds to 1.
const TANH_ONE: f32 = 10.0;

/// (erf x − x)/x by powers of x², for |x| ≤ 1.
const ERF: [f32; 7] =
    [1.2837917e-1, -3.7612626e-1, 1.12835854e-1, -2.6853813e-2, 5.1883277e-3, -8.0101937e-4, 7.8538615e-5];

/// ln(1 − erf x)/x by powers of x, for 1 ≤ x ≤ [`ERF_ONE`], its error times 1 − erf x.
const ERFC: [f32; 6] = [-1.1284801, -6.358315e-1, -1.05116114e-1, 2.2798445e-2, -3.1869407e-3, 2.1064248e-4];

/// Here and above erf rounds to 1.
const ERF_ONE: f32 = 4.0;

impl<S: Simd> Wide<S, f32> {
    /// eˣ; 0 below −104, infinity above 88.73. Results below the normal numbers are rounded, not flushed to 0.
    #[inline(always)]
    pub fn exp(self) -> Self {
        let (n, r) = self.at_least(EXP_LOW).at_most(EXP_HIGH).reduced();
        let (half, rest) = n.halves();
        r.exp_reduced() * half.exp2() * rest.exp2()
    }

    /// eˣ − 1, accurate near 0.
    #[inline(always)]
    pub fn exp_m1(self) -> Self {
        let (n, r) = self.at_least(EXP_LOW).at_most(EXP_HIGH).reduced();
        let small = (r * r).mul_add(r.polynomial(EXP_M1), r);
        // 2ⁿ(eʳ − 1) + 2ⁿ − 1 as (2ʰ(eʳ − 1) + 2ʰ − 2⁻ⁱ)·2ⁱ with h + i = n: 2ⁿ alone may be too large.
        let (half, rest) = n.halves();
        let scale = half.exp2();
        let all = small.mul_add(scale, scale - (-rest).exp2()) * rest.exp2();
        self.where_equal(self.like(0.0), self, all)
    }

    /// eˣ for x ≤ 0; 0 where that is below the normal numbers.
    #[inline(always)]
    pub(super) fn exp_down_f32(self) -> Self {
        let (low, zero) = (self.like(f32::LN_LEAST), self.like(0.0));
        // What becomes 0 is calculated as e⁰: at the bound itself the result would be just below the normal numbers.
        let bounded = self.where_at_most(low, zero, self);
        self.where_at_most(low, zero, bounded.exp_normal())
    }

    /// ln x; −infinity of 0, NaN below.
    ///
    /// x = m·2ᵉ with √½ ≤ m < √2 by its bits, and ln m = 2 artanh((m − 1)/(m + 1)).
    #[inline(always)]
    pub(super) fn ln_f32(self) -> Self {
        let simd = self.simd;
        let (zero, one) = (self.like(0.0), self.like(1.0));
        // Numbers below the normal ones have no exponent in their bits: 2²³ brings them there.
        let least = self.like(f32::MIN_POSITIVE);
        let x = least.where_at_most(self, self, self * self.like(SUBNORMAL_SCALE));
        let unit = least.where_at_most(self, zero, self.like((f32::MANTISSA_DIGITS - 1) as f32));
        let bits = simd.transmute_u32s_f32s(x.v);
        let bits = simd.add_u32s(bits, simd.splat_u32s(ONE_BITS - ROOT_HALF_BITS));
        // The exponent as the low bits of 2²³ + exponent.
        let exponent = simd.wrapping_dyn_shr_u32s(bits, simd.splat_u32s(f32::MANTISSA_DIGITS - 1));
        let exponent = simd.or_u32s(exponent, simd.splat_u32s(SUBNORMAL_SCALE.to_bits()));
        let exponent = Self { v: simd.transmute_f32s_u32s(exponent), ..self };
        let exponent = exponent - self.like(SUBNORMAL_SCALE + BIAS) - unit;
        let mantissa = simd.and_u32s(bits, simd.splat_u32s(0x7f_ffff));
        let mantissa = simd.add_u32s(mantissa, simd.splat_u32s(ROOT_HALF_BITS));
        let mantissa = Self { v: simd.transmute_f32s_u32s(mantissa), ..self };
        let s = (mantissa - one) / (mantissa + one);
        let square = s * s;
        let of_mantissa = (s * square).mul_add(square.polynomial(LN_1P), s + s);
        let low = exponent.mul_add(self.like(LN_2_LOW), of_mantissa);
        let found = exponent.mul_add(self.like(LN_2_HIGH), low);
        // Infinity and NaN as they are; below 0 there is none, and of 0 it is the limit.
        let found = self.where_at_most(self.like(f32::MAX), found, self);
        let found = zero.where_at_most(self, found, self * self.like(f32::NAN));
        self.where_equal(zero, self.like(f32::NEG_INFINITY), found)
    }

    /// ln(1 + x) for 0 ≤ x ≤ 1, accurate near 0: 2 artanh(x/(2 + x)).
    #[inline(always)]
    pub fn ln_1p_to_one(self) -> Self {
        let s = self / (self + self.like(2.0));
        let square = s * s;
        (s * square).mul_add(square.polynomial(LN_1P), s + s)
    }

    /// tanh x, odd bit for bit.
    #[inline(always)]
    pub fn tanh(self) -> Self {
        let x = self.abs();
        let square = x * x;
        let small = (x * square).mul_add(square.polynomial(TANH), x);
        let e = (x.at_most(TANH_ONE) * x.like(2.0)).exp_normal();
        let large = x.like(1.0) - x.like(2.0) / (e + x.like(1.0));
        x.where_at_most(x.like(TANH_SMALL), small, large).with_sign_of(self)
    }

    /// erf x, odd bit for bit.
    #[inline(always)]
    pub fn erf(self) -> Self {
        let x = self.abs();
        let small = x.mul_add((x * x).polynomial(ERF), x);
        let bound = x.at_most(ERF_ONE);
        let large = x.like(1.0) - (bound * bound.polynomial(ERFC)).exp_normal();
        x.where_at_most(x.like(1.0), small, large).with_sign_of(self)
    }

    /// eˣ where the result is a normal number.
    #[inline(always)]
    fn exp_normal(self) -> Self {
        let (n, r) = self.reduced();
        r.exp_reduced() * n.exp2()
    }

    /// The number in every lane.
    #[inline(always)]
    pub fn like(self, x: f32) -> Self {
        Self::splat(self.simd, x)
    }

    /// The larger of this and `low`; NaN stays.
    #[inline(always)]
    fn at_least(self, low: f32) -> Self {
        self.where_at_most(self.like(low), self.like(low), self)
    }

    /// The smaller of this and `high`; NaN stays.
    #[inline(always)]
    fn at_most(self, high: f32) -> Self {
        self.like(high).where_at_most(self, self.like(high), self)
    }

    /// (n, r) with x = n·ln 2 + r, n whole and |r| ≤ ½ ln 2.
    #[inline(always)]
    fn reduced(self) -> (Self, Self) {
        let n = self.mul_add(self.like(std::f32::consts::LOG2_E), self.like(ROUND)) - self.like(ROUND);
        let r = n.mul_add(self.like(-LN_2_HIGH), self);
        (n, n.mul_add(self.like(-LN_2_LOW), r))
    }

    /// A whole number as the sum of two, each about half: 2 to it may be too large or small for an f32, 2 to those is not.
    #[inline(always)]
    fn halves(self) -> (Self, Self) {
        let half = self.mul_add(self.like(0.5), self.like(ROUND)) - self.like(ROUND);
        (half, self - half)
    }

    /// eʳ for |r| ≤ ½ ln 2.
    #[inline(always)]
    fn exp_reduced(self) -> Self {
        self.like(1.0) + (self * self).mul_add(self.polynomial(EXP), self)
    }

    /// 2ⁿ for a whole n from −126 to 127: its exponent, put in place.
    #[inline(always)]
    fn exp2(self) -> Self {
        let simd = self.simd;
        let bits = simd.transmute_u32s_f32s((self + self.like(ROUND + BIAS)).v);
        let shifted = simd.wrapping_dyn_shl_u32s(bits, simd.splat_u32s(f32::MANTISSA_DIGITS - 1));
        Self { v: simd.transmute_f32s_u32s(shifted), ..self }
    }

    /// This number, which has no sign, with the sign of another.
    #[inline(always)]
    fn with_sign_of(self, other: Self) -> Self {
        let sign = self.simd.and_f32s(<f32 as Lanes>::splat(self.simd, -0.0), other.v);
        Self { v: self.simd.or_f32s(self.v, sign), ..self }
    }

    /// c₀ + c₁x + c₂x² + … by Horner's rule.
    #[inline(always)]
    fn polynomial<const N: usize>(self, coefficients: [f32; N]) -> Self {
        let mut sum = self.like(coefficients[N - 1]);
        for &c in coefficients[..N - 1].iter().rev() {
            sum = sum.mul_add(self, self.like(c));
        }
        sum
    }
}

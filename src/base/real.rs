//! The scalar types that kernels are written for: f32 to run, f64 to be the oracle.

use super::Lanes;
use std::fmt::{Debug, Display};
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

/// A real scalar, f32 or f64. Kernels are generic over it, so that one literal text serves both.
pub trait Real:
    Copy
    + Send
    + Sync
    + Default
    + PartialEq
    + PartialOrd
    + Debug
    + Display
    + bytemuck::Pod
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + Sum
    + Lanes
    + 'static
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// The largest finite number.
    const MAX: Self;
    /// What is above all numbers.
    const INFINITY: Self;
    /// The smallest normal number: below it machines calculate several times as slowly, or take 0 in its place.
    const LEAST: Self;
    /// 2²⁶ times that: 2⁻¹⁰⁰ = 8·10⁻³¹ in f32, 2⁻⁹⁹⁶ in f64.
    ///
    /// **Tiny numbers**, of at most this size, count as 0 where they come into being in training: exponentials in the derivative of the
    /// cross-entropy, so that a row learnt by heart has no signal, and gradients, means and velocities in an update. What comes of larger
    /// ones, times a rate or a share of 2⁻²⁶ at least, is a normal number. What is compared with larger numbers is 0 below
    /// [`Real::LEAST`] itself: second moments, squares in them, and exponentials in a softmax.
    ///
    /// What that changes in f32: a weight does not feel η·2⁻¹⁰⁰ where it is above 2⁻⁷⁵·η, nor Adam's η·2⁻¹⁰⁰/ε, with ε = 10⁻⁸,
    /// above 2⁻⁴⁸·η; √v + ε does not feel √(2⁻¹²⁶/(1 − β₂)), 3·10⁻¹⁸ for β₂ = 0.999, where ε is above 6·10⁻¹¹.
    /// Measurements take numbers as they are: gradients of 4e-20 are not tiny, and those of 1e-40 have a norm too. Shaders keep
    /// the same rule, whatever their device does with numbers below the normal ones.
    const TINY: Self;
    /// ln [`Real::LEAST`].
    const LN_LEAST: Self;
    /// Half the distance from 1 to the next number: the unit roundoff u of error bounds.
    const UNIT_ROUNDOFF: f64;
    /// `"f32"` or `"f64"`.
    const NAME: &'static str;

    /// The nearest scalar to `x`.
    fn of(x: f64) -> Self;
    /// The same number as f64 (exact).
    fn f64(self) -> f64;
    /// eˣ.
    fn exp(self) -> Self;
    /// ln x.
    fn ln(self) -> Self;
    /// ln(1 + x), accurate near 0.
    fn ln_1p(self) -> Self;
    /// eˣ − 1, accurate near 0.
    fn exp_m1(self) -> Self;
    /// √x.
    fn sqrt(self) -> Self;
    /// tanh x.
    fn tanh(self) -> Self;
    /// erf x.
    fn erf(self) -> Self;
    /// xʸ.
    fn powf(self, y: Self) -> Self;
    /// |x|.
    fn abs(self) -> Self;
    /// The larger; the other one if one is NaN.
    fn max(self, other: Self) -> Self;
    /// The smaller; the other one if one is NaN.
    fn min(self, other: Self) -> Self;
    /// self·a + b, rounded once.
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// Neither infinite nor NaN, decided by the exponent bits.
    fn is_finite(self) -> bool;
    /// The exponent e with |x| in [2ᵉ, 2ᵉ⁺¹), clamped to the normal numbers; 0 for zero and non-finite ones.
    fn exponent(self) -> i32;
    /// 2ᵉ for e in the range of normal numbers.
    fn exp2i(e: i32) -> Self;
    /// The slice seen as f32, if this type is f32: the door to fast kernels.
    fn as_f32(slice: &[Self]) -> Option<&[f32]>;
    /// The same, mutable.
    fn as_f32_mut(slice: &mut [Self]) -> Option<&mut [f32]>;
}

/// Whether an f32 is finite, by its exponent bits: the same test that the shaders make, where NaN need not exist.
pub fn is_finite_f32(x: f32) -> bool {
    x.to_bits() & 0x7f80_0000 != 0x7f80_0000
}

/// How many powers of two tiny numbers reach above the smallest normal one.
const TINY_BITS: i32 = 26;

macro_rules! real {
    ($t:ident, $bits:ident, $mantissa:expr, $bias:expr, $erf:path, $as_f32:expr, $as_f32_mut:expr) => {
        impl Real for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const MAX: Self = $t::MAX;
            const INFINITY: Self = $t::INFINITY;
            const LEAST: Self = $t::MIN_POSITIVE;
            const TINY: Self = $t::MIN_POSITIVE * (1u32 << TINY_BITS) as $t;
            const LN_LEAST: Self = -(($bias - 1) as $t) * std::$t::consts::LN_2;
            const UNIT_ROUNDOFF: f64 = $t::EPSILON as f64 / 2.0;
            const NAME: &'static str = stringify!($t);
            #[inline(always)]
            fn of(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn exp(self) -> Self {
                // Below this it rounds to 0, which the library takes several times as long to say: with an error.
                const LEAST: $t = -(($bias + $mantissa) as $t) * std::$t::consts::LN_2;
                if self < LEAST { 0.0 } else { $t::exp(self) }
            }
            #[inline(always)]
            fn ln(self) -> Self {
                $t::ln(self)
            }
            #[inline(always)]
            fn ln_1p(self) -> Self {
                $t::ln_1p(self)
            }
            #[inline(always)]
            fn exp_m1(self) -> Self {
                $t::exp_m1(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $t::sqrt(self)
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                $t::tanh(self)
            }
            #[inline(always)]
            fn erf(self) -> Self {
                $erf(self)
            }
            #[inline(always)]
            fn powf(self, y: Self) -> Self {
                $t::powf(self, y)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $t::abs(self)
            }
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                $t::max(self, other)
            }
            #[inline(always)]
            fn min(self, other: Self) -> Self {
                $t::min(self, other)
            }
            #[inline(always)]
            fn mul_add(self, a: Self, b: Self) -> Self {
                $t::mul_add(self, a, b)
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                const EXPONENT: $bits = (2 * $bias + 1) << $mantissa;
                self.to_bits() & EXPONENT != EXPONENT
            }
            #[inline(always)]
            fn exponent(self) -> i32 {
                let biased = ((self.to_bits() >> $mantissa) & (2 * $bias + 1)) as i32;
                if self == 0.0 || biased == 2 * $bias + 1 { 0 } else { biased.max(1) - $bias }
            }
            #[inline(always)]
            fn exp2i(e: i32) -> Self {
                $t::from_bits(((e.clamp(1 - $bias, $bias) + $bias) as $bits) << $mantissa)
            }
            #[inline(always)]
            fn as_f32(slice: &[Self]) -> Option<&[f32]> {
                $as_f32(slice)
            }
            #[inline(always)]
            fn as_f32_mut(slice: &mut [Self]) -> Option<&mut [f32]> {
                $as_f32_mut(slice)
            }
        }
    };
}

real!(f32, u32, 23, 127, libm::erff, Some, Some);
real!(f64, u64, 52, 1023, libm::erf, |_| None, |_| None);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_are_those_of_the_bits() {
        assert_eq!(Real::exponent(1.0f32), 0);
        assert_eq!(Real::exponent(-0.75f32), -1);
        assert_eq!(Real::exponent(3.0f64), 1);
        assert_eq!(Real::exponent(0.0f32), 0);
        assert_eq!(Real::exponent(f32::NAN), 0);
        assert_eq!(Real::exponent(1e-40f32), -126, "a subnormal counts as the smallest normal");
        assert_eq!(<f32 as Real>::exp2i(-3), 0.125);
        assert_eq!(<f64 as Real>::exp2i(10), 1024.0);
    }

    #[test]
    fn tiny_numbers_begin_at_a_power_of_two() {
        assert_eq!((f32::TINY, f64::TINY), (2f32.powi(-100), 2f64.powi(-996)));
        assert!((f32::LN_LEAST.exp() / f32::LEAST - 1.0).abs() < 1e-5);
        assert!((f64::LN_LEAST.exp() / f64::LEAST - 1.0).abs() < 1e-12);
    }

    #[test]
    fn finiteness_is_decided_by_bits() {
        assert!(is_finite_f32(f32::MAX) && !is_finite_f32(f32::NAN) && !is_finite_f32(f32::NEG_INFINITY));
        assert!(Real::is_finite(f64::MAX) && !Real::is_finite(f64::NAN) && !Real::is_finite(f64::INFINITY));
    }
}

//! Half precision, IEEE 754 binary16: 1 sign, 5 bits of exponent, 10 of fraction. Rounding in arithmetic of higher precision, so that a
//! CPU can play a device that stores halves, and the bits for a device that does.

use super::Real;

/// The largest finite number of half precision: (2 − 2⁻¹⁰)·2¹⁵.
pub const HALF_MAX: f64 = 65504.0;

/// The smallest normal number, 2⁻¹⁴; those below are multiples of 2⁻²⁴.
pub const HALF_NORMAL_MIN: f64 = 6.103_515_625e-5;

/// From here on a magnitude rounds to infinity: half a unit past the largest number.
const OVERFLOW: f64 = 65520.0;

/// The number of half precision nearest to `x`, ties to even; infinity from 65520 on; NaN stays NaN, and a zero keeps its sign.
#[inline(always)]
pub fn round_to_half<R: Real>(x: R) -> R {
    let size = x.abs();
    // The distance of neighbours there is 2⁻¹⁰ of the power of two below, and no less than that of subnormals. A number 1.5·2ᵖ times
    // as large, p the bits of R's fraction, has the same distance to its neighbours: adding it rounds, and takes nothing else away.
    let exponent = size.exponent().clamp(-14, 15);
    let magic = R::of(0.75 / R::UNIT_ROUNDOFF) * R::exp2i(exponent - 10);
    let near = (size + magic) - magic;
    let rounded = if size < R::of(OVERFLOW) { near } else { R::of(f64::INFINITY) };
    let signed = if x < R::ZERO { -rounded } else { rounded };
    // Zeros, and NaN, which is equal to nothing.
    if size > R::ZERO { signed } else { x }
}

/// The bits of the number of half precision nearest to `x`.
pub fn half_bits(x: f64) -> u16 {
    let sign = ((x.to_bits() >> 48) & 0x8000) as u16;
    let rounded = round_to_half(x).abs();
    if rounded.is_nan() {
        return sign | 0x7e00;
    }
    if rounded.is_infinite() {
        return sign | 0x7c00;
    }
    if rounded == 0.0 {
        return sign;
    }
    let exponent = Real::exponent(rounded).max(-14);
    // The fraction in units of the last place; with the hidden bit of a normal number it carries into the exponent.
    let units = (rounded * f64::exp2(f64::from(10 - exponent))) as u16;
    sign | ((exponent + 14) as u16 * 1024 + units)
}

/// The number that these bits are, exactly.
pub fn half_from_bits(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let size = match exponent {
        0 => fraction * f64::exp2(-24.0),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        _ => (1024.0 + fraction) * f64::exp2(f64::from(exponent - 25)),
    };
    if bits & 0x8000 == 0 { size } else { -size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_is_itself_and_what_lies_between_goes_to_the_nearest() {
        let numbers: Vec<f64> = (0..0x7c00).map(half_from_bits).collect();
        for (bits, pair) in numbers.windows(2).enumerate() {
            let (low, high) = (pair[0], pair[1]);
            let middle = f64::midpoint(low, high);
            let even = if bits % 2 == 0 { low } else { high };
            let rounded = [low, middle.next_down(), middle, middle.next_up()].map(round_to_half);
            assert_eq!(rounded, [low, low, even, high], "between {low:e} and {high:e}");
            assert_eq!(round_to_half(-middle), -even);
            let narrow = [low as f32, middle as f32, (middle as f32).next_up(), (middle as f32).next_down()];
            assert_eq!(narrow.map(|x| f64::from(round_to_half(x))), [low, even, high, low], "in single precision");
            assert_eq!((half_bits(low), half_bits(-low)), (bits as u16, bits as u16 | 0x8000));
        }
    }

    #[test]
    fn the_ends_of_the_range() {
        assert_eq!(
            [65504.0, 65519.0, 65520.0, 1e30, -65520.0].map(round_to_half::<f32>),
            [65504.0, 65504.0, f32::INFINITY, f32::INFINITY, f32::NEG_INFINITY]
        );
        assert!(round_to_half(f32::NAN).is_nan() && round_to_half(f32::INFINITY) == f32::INFINITY);
        let zeros = [0.0f32, -0.0, 1e-30, -1e-30, f32::from_bits(1)].map(|x| round_to_half(x).to_bits());
        assert_eq!(zeros, [0, 1 << 31, 0, 1 << 31, 0]);
        assert_eq!([65504.0, 65520.0, -0.0, 1e-30].map(half_bits), [0x7bff, 0x7c00, 0x8000, 0]);
        assert!(half_from_bits(half_bits(f64::NAN)).is_nan());
        assert_eq!(half_from_bits(0x7bff), HALF_MAX);
        assert_eq!(half_from_bits(0x0400), HALF_NORMAL_MIN);
    }
}

//! The record: what one reduction keeps of many numbers. Records of parts combine to the record of the whole.
//!
//! Sums of squares must survive vanishing: 20 sigmoid layers give gradients near 4e-20, whose squares are 0 in f32. So
//! sums are taken over numbers scaled by the power of two 2⁻ᵉ, e the exponent of the record's largest magnitude.

use crate::base::Real;

/// Elements of an arena that share a record. 1024 scalars are a multiple of every adapter's storage-offset alignment (256
/// bytes at most) and stay in a first-level cache.
pub const CHUNK: usize = 1024;

/// Numbers to a record.
pub const RECORD: usize = 8;

/// The largest finite magnitude.
pub const MAX: usize = 0;
/// Σ (x·2⁻ᵉ)² over the finite numbers.
pub const SQUARES: usize = 1;
/// Σ |x·2⁻ᵉ| over the finite numbers.
pub const MAGNITUDES: usize = 2;
/// Σ x·2⁻ᵉ over the finite numbers.
pub const SUM: usize = 3;
/// How many are 0.
pub const ZEROS: usize = 4;
/// How many are infinite or NaN.
pub const NON_FINITE: usize = 5;
/// Σ w² of the weights before the update.
pub const WEIGHT_SQUARES: usize = 6;
/// Σ (Δw·[`STEP_SCALE`])² of the update.
pub const STEP_SQUARES: usize = 7;

/// Updates are scaled by 2⁴⁰ before they are squared, so that steps down to 1e-31 count in f32.
pub const STEP_SCALE: f64 = (1u64 << 40) as f64;

/// 2⁻ᵉ for the exponent e of the largest magnitude.
#[inline(always)]
pub fn scale_of<R: Real>(max: R) -> R {
    R::exp2i(-max.exponent())
}

/// Adds `part` to `whole`.
#[inline(always)]
pub fn combine<R: Real>(whole: &mut [R], part: &[R]) {
    let max = if part[MAX] > whole[MAX] { part[MAX] } else { whole[MAX] };
    // Scales are powers of two, so these quotients are exact, or 0 where the smaller side does not count.
    let (scale, half) = (max.exponent(), |e: i32| R::exp2i(e));
    let own = half(whole[MAX].exponent() - scale);
    let other = half(part[MAX].exponent() - scale);
    let (own, other) =
        (if whole[MAX] == R::ZERO { R::ZERO } else { own }, if part[MAX] == R::ZERO { R::ZERO } else { other });
    whole[SQUARES] = whole[SQUARES] * own * own + part[SQUARES] * other * other;
    whole[MAGNITUDES] = whole[MAGNITUDES] * own + part[MAGNITUDES] * other;
    whole[SUM] = whole[SUM] * own + part[SUM] * other;
    whole[MAX] = max;
    for field in [ZEROS, NON_FINITE, WEIGHT_SQUARES, STEP_SQUARES] {
        whole[field] += part[field];
    }
}

/// Lanes of the loops below: independent chains that the compiler puts into vector registers.
const LANES: usize = 16;

/// Fills the first six fields with what `xs` holds, each element multiplied by `factor`.
#[inline(always)]
pub fn measure<R: Real>(xs: &[R], factor: R, record: &mut [R]) {
    let max = largest(xs, factor);
    let scale = scale_of(max) * factor;
    let (mut squares, mut magnitudes, mut sums) = ([R::ZERO; LANES], [R::ZERO; LANES], [R::ZERO; LANES]);
    let (mut zeros, mut non_finite) = ([R::ZERO; LANES], [R::ZERO; LANES]);
    let mut add = |lane: usize, x: R| {
        let finite = x.is_finite();
        let scaled = if finite { x * scale } else { R::ZERO };
        squares[lane] += scaled * scaled;
        magnitudes[lane] += scaled.abs();
        sums[lane] += scaled;
        zeros[lane] += if x == R::ZERO { R::ONE } else { R::ZERO };
        non_finite[lane] += if finite { R::ZERO } else { R::ONE };
    };
    let (blocks, tail) = xs.as_chunks::<LANES>();
    for block in blocks {
        (0..LANES).for_each(|lane| add(lane, block[lane]));
    }
    tail.iter().enumerate().for_each(|(lane, &x)| add(lane, x));
    record[MAX] = max;
    record[SQUARES] = fold(squares);
    record[MAGNITUDES] = fold(magnitudes);
    record[SUM] = fold(sums);
    record[ZEROS] = fold(zeros);
    record[NON_FINITE] = fold(non_finite);
}

/// The largest finite |x·factor|.
#[inline(always)]
pub fn largest<R: Real>(xs: &[R], factor: R) -> R {
    let mut lanes = [R::ZERO; LANES];
    let mut add = |lane: usize, x: R| {
        let size = if x.is_finite() { x.abs() } else { R::ZERO };
        lanes[lane] = if size > lanes[lane] { size } else { lanes[lane] };
    };
    let (blocks, tail) = xs.as_chunks::<LANES>();
    for block in blocks {
        (0..LANES).for_each(|lane| add(lane, block[lane]));
    }
    tail.iter().enumerate().for_each(|(lane, &x)| add(lane, x));
    lanes.into_iter().fold(R::ZERO, |max, x| if x > max { x } else { max }) * factor.abs()
}

/// The sum of the lanes, halved again and again: a fixed order.
#[inline(always)]
pub fn fold<R: Real, const N: usize>(mut lanes: [R; N]) -> R {
    let mut width = N;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(xs: &[f32]) -> [f32; RECORD] {
        let mut record = [0.0; RECORD];
        measure(xs, 1.0, &mut record);
        record
    }

    #[test]
    fn tiny_numbers_keep_their_norm() {
        let xs = [3e-20f32, 4e-20, 0.0];
        let r = record(&xs);
        let norm = f64::from(r[SQUARES]).sqrt() / f64::from(scale_of(r[MAX]));
        assert!((norm / 5e-20 - 1.0).abs() < 1e-6, "{norm}");
        assert_eq!((r[ZEROS], r[NON_FINITE]), (1.0, 0.0));
    }

    #[test]
    fn parts_combine_to_the_whole_across_scales() {
        let xs: Vec<f32> = (0..100).map(|i| (i as f32 - 50.0) * 10f32.powi(i / 10 - 5)).collect();
        let whole = record(&xs);
        let mut combined = [0.0; RECORD];
        for part in xs.chunks(7) {
            combine(&mut combined, &record(part));
        }
        for (a, b) in whole.iter().zip(combined) {
            assert!((a - b).abs() <= 1e-5 * a.abs(), "{whole:?} {combined:?}");
        }
    }

    #[test]
    fn non_finite_numbers_are_counted_and_left_out() {
        let r = record(&[1.0, f32::NAN, f32::INFINITY, -2.0]);
        assert_eq!((r[MAX], r[NON_FINITE]), (2.0, 2.0));
        assert_eq!(f64::from(r[SQUARES]).sqrt() / f64::from(scale_of(r[MAX])), 5f64.sqrt());
    }
}

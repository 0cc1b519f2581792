//! The record: what one reduction keeps of many numbers. Records of parts combine to the record of the whole.
//!
//! Sums of squares must survive vanishing: 20 sigmoid layers give gradients near 4e-20, whose squares are 0 in f32. So
//! sums are taken over numbers scaled by the power of two 2⁻ᵉ, e the exponent of the record's largest magnitude.

use crate::base::{Real, vectorized};

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
    let (whole, part) = (&mut whole[..RECORD], &part[..RECORD]);
    if whole[MAX] == R::ZERO {
        whole[..ZEROS].copy_from_slice(&part[..ZEROS]);
    } else if part[MAX] != R::ZERO {
        // Scales are powers of two, so these quotients are exact, or too small to count.
        let (own, other) = (whole[MAX].exponent(), part[MAX].exponent());
        let scale = own.max(other);
        let (own, other) = (R::exp2i(own - scale), R::exp2i(other - scale));
        whole[SQUARES] = whole[SQUARES] * own * own + part[SQUARES] * other * other;
        whole[MAGNITUDES] = whole[MAGNITUDES] * own + part[MAGNITUDES] * other;
        whole[SUM] = whole[SUM] * own + part[SUM] * other;
        whole[MAX] = if part[MAX] > whole[MAX] { part[MAX] } else { whole[MAX] };
    }
    for field in [ZEROS, NON_FINITE, WEIGHT_SQUARES, STEP_SQUARES] {
        whole[field] += part[field];
    }
}

/// Lanes of the loops below: independent chains that the compiler puts into vector registers.
const LANES: usize = 16;

/// Numbers whose largest magnitude has an exponent of at most this size are summed without a scale: squares of the large
/// ones stay finite in f32, and those that underflow are below the rounding of the sum.
const PLAIN_EXPONENT: i32 = 48;

/// What a pass over numbers finds, lane by lane.
struct Lanes<R> {
    max: [R; LANES],
    squares: [R; LANES],
    magnitudes: [R; LANES],
    sums: [R; LANES],
    zeros: [R; LANES],
}

impl<R: Real> Lanes<R> {
    #[inline(always)]
    fn add(&mut self, block: &[R; LANES]) {
        for (lane, &x) in block.iter().enumerate() {
            let size = x.abs();
            self.max[lane] = if size > self.max[lane] { size } else { self.max[lane] };
            self.squares[lane] += x * x;
            self.magnitudes[lane] += size;
            self.sums[lane] += x;
            self.zeros[lane] += if x == R::ZERO { R::ONE } else { R::ZERO };
        }
    }
}

/// The numbers of a last, incomplete block, and zeros behind them.
#[inline(always)]
fn padded<R: Real>(tail: &[R]) -> [R; LANES] {
    let mut block = [R::ZERO; LANES];
    for (to, &x) in block.iter_mut().zip(tail) {
        *to = x;
    }
    block
}

/// The zeros that [`padded`] adds.
#[inline(always)]
fn padding<R: Real>(tail: &[R]) -> R {
    R::of(((LANES - tail.len()) % LANES) as f64)
}

/// Fills the first six fields with what `xs` holds, each element multiplied by `factor`. One pass over ordinary numbers;
/// tiny, huge and non-finite ones take three.
#[inline(always)]
pub fn measure<R: Real>(xs: &[R], factor: R, record: &mut [R]) {
    let none = [R::ZERO; LANES];
    let mut lanes = Lanes { max: none, squares: none, magnitudes: none, sums: none, zeros: none };
    let (blocks, tail) = xs.as_chunks::<LANES>();
    for block in blocks {
        lanes.add(block);
    }
    if !tail.is_empty() {
        lanes.add(&padded(tail));
    }
    let max = lanes.max.into_iter().fold(R::ZERO, |max, x| if x > max { x } else { max });
    let squares = fold(lanes.squares);
    let zeros = fold(lanes.zeros) - padding(tail);
    let scaled_max = max * factor.abs();
    let plain = |x: R| x.exponent().abs() <= PLAIN_EXPONENT;
    let record = &mut record[..RECORD];
    // A number that is not finite makes the sum of squares so.
    if squares.is_finite() && plain(max) && plain(scaled_max) && (max != R::ZERO || squares == R::ZERO) {
        let scale = scale_of(scaled_max) * factor;
        record[MAX] = scaled_max;
        record[SQUARES] = squares * scale * scale;
        record[MAGNITUDES] = fold(lanes.magnitudes) * scale.abs();
        record[SUM] = fold(lanes.sums) * scale;
        record[ZEROS] = zeros;
        record[NON_FINITE] = R::ZERO;
    } else {
        measure_scaled(xs, factor, record);
        record[ZEROS] = zeros;
    }
}

/// As [`measure`], for any numbers: their scale is found first. Leaves out the zeros.
#[cold]
#[inline(never)]
fn measure_scaled<R: Real>(xs: &[R], factor: R, record: &mut [R]) {
    vectorized(
        #[inline(always)]
        || {
            let max = largest(xs, factor);
            let scale = scale_of(max) * factor;
            let none = [R::ZERO; LANES];
            let (mut squares, mut magnitudes, mut sums, mut non_finite) = (none, none, none, none);
            let mut add = |block: &[R; LANES]| {
                for lane in 0..LANES {
                    let finite = block[lane].is_finite();
                    let scaled = if finite { block[lane] * scale } else { R::ZERO };
                    squares[lane] += scaled * scaled;
                    magnitudes[lane] += scaled.abs();
                    sums[lane] += scaled;
                    non_finite[lane] += if finite { R::ZERO } else { R::ONE };
                }
            };
            let (blocks, tail) = xs.as_chunks::<LANES>();
            blocks.iter().for_each(&mut add);
            add(&padded(tail));
            record[MAX] = max;
            record[SQUARES] = fold(squares);
            record[MAGNITUDES] = fold(magnitudes);
            record[SUM] = fold(sums);
            record[NON_FINITE] = fold(non_finite);
        },
    );
}

/// The largest finite |x·factor|.
#[inline(always)]
pub fn largest<R: Real>(xs: &[R], factor: R) -> R {
    let mut lanes = [R::ZERO; LANES];
    let mut add = |block: &[R; LANES]| {
        for lane in 0..LANES {
            let size = if block[lane].is_finite() { block[lane].abs() } else { R::ZERO };
            lanes[lane] = if size > lanes[lane] { size } else { lanes[lane] };
        }
    };
    let (blocks, tail) = xs.as_chunks::<LANES>();
    blocks.iter().for_each(&mut add);
    add(&padded(tail));
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
    fn one_pass_finds_what_the_scaled_one_finds() {
        for (factor, size) in [(1.0f32, 1.0f32), (32.0, 1e-6), (-3.0, 1e9), (0.1, 1e-12)] {
            for len in [0, 1, 15, 16, 17, 40, 1000] {
                let xs: Vec<f32> = (0..len).map(|i| (i * 7919 % 1009 % 31) as f32 * size - 7.0 * size).collect();
                let (mut fast, mut scaled) = ([0.0f32; RECORD], [0.0f32; RECORD]);
                measure(&xs, factor, &mut fast);
                measure_scaled(&xs, factor, &mut scaled);
                assert_eq!(fast[MAX], scaled[MAX]);
                assert_eq!(fast[ZEROS], xs.iter().filter(|&&x| x == 0.0).count() as f32);
                for field in [SQUARES, MAGNITUDES, SUM, NON_FINITE] {
                    let room = 1e-5 * scaled[SQUARES.max(field.min(MAGNITUDES))].abs();
                    assert!((fast[field] - scaled[field]).abs() <= room, "{len} {factor}: {fast:?} {scaled:?}");
                }
            }
        }
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
        assert_eq!((r[MAX], r[NON_FINITE], r[ZEROS]), (2.0, 2.0, 0.0));
        assert_eq!(f64::from(r[SQUARES]).sqrt() / f64::from(scale_of(r[MAX])), 5f64.sqrt());
    }
}

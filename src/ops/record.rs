//! The record: what one reduction keeps of many numbers. Records of parts combine to the record of the whole.
//!
//! Sums of squares must survive vanishing: 20 sigmoid layers give gradients near 4e-20, whose squares are 0 in f32. So
//! sums are taken over numbers scaled by the power of two 2⁻ᵉ, e the exponent of the record's largest magnitude.

use crate::base::{Real, Wide, arch, vectorized};
use pulp::{Simd, WithSimd};

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
#[inline(never)]
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

/// So many records are combined by their common scale: for fewer, finding it first costs more than it saves.
const COMMON_FROM: usize = 16;

/// Adds the records that lie one after the other in `parts` to `whole`.
pub fn combine_all<R: Real>(whole: &mut [R], parts: &[R]) {
    if parts.len() < COMMON_FROM * RECORD {
        return parts.chunks_exact(RECORD).for_each(|part| combine(whole, part));
    }
    vectorized(
        #[inline(always)]
        || combine_by_common_scale(whole, parts),
    );
}

/// As [`combine`] part by part, but for sums that leave the normal numbers: since scales are powers of two, it does not matter
/// whether a sum is brought to a larger one before or after a part is added.
#[inline(always)]
fn combine_by_common_scale<R: Real>(whole: &mut [R], parts: &[R]) {
    let whole: &mut [R; RECORD] = (&mut whole[..RECORD]).try_into().expect("a record");
    let parts = parts.as_chunks::<RECORD>().0;
    let larger = |max: R, part: &[R; RECORD]| if part[MAX] > max { part[MAX] } else { max };
    let max = parts.iter().fold(whole[MAX], larger);
    let scale = max.exponent();
    let mut sums = [R::ZERO; RECORD];
    for part in std::iter::once(&*whole).chain(parts) {
        // What has no maximum has no scale: it counts where nothing has one.
        let own = if part[MAX] == max {
            R::ONE
        } else if part[MAX] == R::ZERO {
            R::ZERO
        } else {
            R::exp2i(part[MAX].exponent() - scale)
        };
        let factors = [R::ZERO, own * own, own, own, R::ONE, R::ONE, R::ONE, R::ONE];
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum += part[i] * factors[i];
        }
    }
    sums[MAX] = max;
    *whole = sums;
}

/// Numbers whose largest magnitude has an exponent of at most this size are summed without a scale: squares of the large
/// ones stay finite in f32, and those that underflow are below the rounding of the sum.
const PLAIN_EXPONENT: i32 = 48;

/// What a record is made of decides which of its fields somebody asks for: the others stay 0. Maximum, squares and the
/// count of non-finite numbers are always there, as every sum needs them.
pub trait Fields: Copy {
    /// Whether [`MAGNITUDES`] and [`ZEROS`] are filled.
    const MAGNITUDES: bool;
    /// Whether [`SUM`] is filled.
    const SUM: bool;
}

/// Gradients: sizes, and how many are 0.
#[derive(Clone, Copy, Debug)]
pub struct OfGradients;

/// What passes a layer: norm and mean.
#[derive(Clone, Copy, Debug)]
pub struct OfTaps;

/// Numbers of which the sum of squares is all that counts.
#[derive(Clone, Copy, Debug)]
pub struct OfNorms;

impl Fields for OfNorms {
    const MAGNITUDES: bool = false;
    const SUM: bool = false;
}

impl Fields for OfGradients {
    const MAGNITUDES: bool = true;
    const SUM: bool = false;
}

impl Fields for OfTaps {
    const MAGNITUDES: bool = false;
    const SUM: bool = true;
}

/// What a pass over numbers finds, lane by lane. Two of them in turn keep additions from waiting for each other.
#[derive(Clone, Copy)]
pub struct Sums<S: Simd, R: Real, F> {
    max: Wide<S, R>,
    squares: Wide<S, R>,
    magnitudes: Wide<S, R>,
    zeros: Wide<S, R>,
    sum: Wide<S, R>,
    fields: F,
}

impl<S: Simd, R: Real, F: Fields> Sums<S, R, F> {
    /// Of no numbers.
    #[inline(always)]
    pub fn none(simd: S, fields: F) -> Self {
        let none = Wide::zero(simd);
        Self { max: none, squares: none, magnitudes: none, zeros: none, sum: none, fields }
    }

    /// Takes in a vector of numbers.
    #[inline(always)]
    pub fn add(&mut self, simd: S, x: Wide<S, R>) {
        let size = x.abs();
        self.max = size.max(self.max);
        self.squares = x.mul_add(x, self.squares);
        if F::MAGNITUDES {
            self.magnitudes = self.magnitudes + size;
            self.zeros = x.where_equal(Wide::zero(simd), self.zeros + Wide::splat(simd, R::ONE), self.zeros);
        }
        if F::SUM {
            self.sum = self.sum + x;
        }
    }

    /// Both together.
    #[inline(always)]
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            max: self.max.max(other.max),
            squares: self.squares + other.squares,
            magnitudes: self.magnitudes + other.magnitudes,
            zeros: self.zeros + other.zeros,
            sum: self.sum + other.sum,
            fields: self.fields,
        }
    }

    /// Fills the first six fields of a record with what was taken in: `xs`, each multiplied by `factor`. The vector of a
    /// tail is filled up with zeros, which do not count. Numbers that are tiny, huge or not finite need two more passes.
    #[inline(always)]
    pub fn finish(&self, xs: &[R], factor: R, record: &mut [R]) {
        let (max, squares) = (self.max.max_lanes(), self.squares.sum_lanes());
        let scaled_max = max * factor.abs();
        let plain = |x: R| x.exponent().abs() <= PLAIN_EXPONENT;
        let record = &mut record[..RECORD];
        // A number that is not finite makes the sum of squares so.
        if squares.is_finite() && plain(max) && plain(scaled_max) && (max != R::ZERO || squares == R::ZERO) {
            let scale = scale_of(scaled_max) * factor;
            record[MAX] = scaled_max;
            record[SQUARES] = squares * scale * scale;
            record[MAGNITUDES] = if F::MAGNITUDES { self.magnitudes.sum_lanes() * scale.abs() } else { R::ZERO };
            record[SUM] = if F::SUM { self.sum.sum_lanes() * scale } else { R::ZERO };
            record[NON_FINITE] = R::ZERO;
        } else {
            measure_scaled::<R, F>(xs, factor, record);
        }
        let padding = xs.len().next_multiple_of(Wide::<S, R>::lanes()) - xs.len();
        record[ZEROS] = if F::MAGNITUDES { self.zeros.sum_lanes() - R::of(padding as f64) } else { R::ZERO };
    }
}

/// Fills the first six fields with what `xs` holds, each element multiplied by `factor`.
#[inline(always)]
pub fn measure<S: Simd, R: Real, F: Fields>(simd: S, fields: F, xs: &[R], factor: R, record: &mut [R]) {
    let lanes = Wide::<S, R>::lanes();
    let (mut even, mut odd) = (Sums::none(simd, fields), Sums::none(simd, fields));
    let pairs = xs.chunks_exact(2 * lanes);
    let rest = pairs.remainder();
    for pair in pairs {
        let (one, two) = pair.split_at(lanes);
        even.add(simd, Wide::load(simd, one));
        odd.add(simd, Wide::load(simd, two));
    }
    // By name, not by index: what is indexed lies in memory.
    let (one, two) = rest.split_at(lanes.min(rest.len()));
    if !one.is_empty() {
        even.add(simd, Wide::load(simd, one));
    }
    if !two.is_empty() {
        odd.add(simd, Wide::load(simd, two));
    }
    even.and(odd).finish(xs, factor, record);
}

/// As [`measure`], for any numbers: their scale is found first. Leaves out the zeros.
#[cold]
#[inline(never)]
fn measure_scaled<R: Real, F: Fields>(xs: &[R], factor: R, record: &mut [R]) {
    arch().dispatch(Scaled { xs, factor, record });
    if !F::MAGNITUDES {
        record[MAGNITUDES] = R::ZERO;
    }
    if !F::SUM {
        record[SUM] = R::ZERO;
    }
}

/// Fills all fields of a record but the zeros.
struct Scaled<'a, R> {
    xs: &'a [R],
    factor: R,
    record: &'a mut [R],
}

impl<R: Real> WithSimd for Scaled<'_, R> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let parts = || self.xs.chunks(Wide::<S, R>::lanes()).map(|part| Wide::load(simd, part));
        let [none, one, huge] = [R::ZERO, R::ONE, R::MAX].map(|x| Wide::splat(simd, x));
        // What is not finite, NaN too, is not at most the largest number.
        let finite = |x: Wide<S, R>, yes, no| x.abs().where_at_most(huge, yes, no);
        let max = parts().fold(none, |max, x| finite(x, x.abs(), none).max(max)).max_lanes() * self.factor.abs();
        let scale = Wide::splat(simd, scale_of(max) * self.factor);
        let (mut squares, mut magnitudes, mut sum, mut non_finite) = (none, none, none, none);
        for x in parts() {
            let scaled = finite(x, x * scale, none);
            squares = squares + scaled * scaled;
            magnitudes = magnitudes + scaled.abs();
            sum = sum + scaled;
            non_finite = non_finite + finite(x, none, one);
        }
        self.record[MAX] = max;
        self.record[SQUARES] = squares.sum_lanes();
        self.record[MAGNITUDES] = magnitudes.sum_lanes();
        self.record[SUM] = sum.sum_lanes();
        self.record[NON_FINITE] = non_finite.sum_lanes();
    }
}

/// [`measure`] on the instruction set at hand, for what is not in a vector kernel already.
pub fn measured<R: Real, F: Fields>(fields: F, xs: &[R], factor: R, record: &mut [R]) {
    arch().dispatch(Measured { fields, xs, factor, record });
}

struct Measured<'a, R, F> {
    fields: F,
    xs: &'a [R],
    factor: R,
    record: &'a mut [R],
}

impl<R: Real, F: Fields> WithSimd for Measured<'_, R, F> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        measure(simd, self.fields, self.xs, self.factor, self.record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All fields, for the tests.
    #[derive(Clone, Copy)]
    struct All;

    impl Fields for All {
        const MAGNITUDES: bool = true;
        const SUM: bool = true;
    }

    fn record(xs: &[f32]) -> [f32; RECORD] {
        let mut record = [0.0; RECORD];
        measured(All, xs, 1.0, &mut record);
        record
    }

    #[test]
    fn fields_that_nobody_asks_for_are_zero_and_the_others_the_same() {
        for size in [1.0, 1e-30] {
            let xs: Vec<f32> = (0..100).map(|i| (i % 13) as f32 * size).collect();
            let all = record(&xs);
            let mut own = [[f32::NAN; RECORD]; 2];
            own.iter_mut().for_each(|record| record[WEIGHT_SQUARES..].fill(0.0));
            measured(OfGradients, &xs, 1.0, &mut own[0]);
            measured(OfTaps, &xs, 1.0, &mut own[1]);
            let without = |fields: &[usize]| {
                let mut record = all;
                fields.iter().for_each(|&field| record[field] = 0.0);
                record
            };
            assert_eq!(own, [without(&[SUM]), without(&[MAGNITUDES, ZEROS])]);
        }
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
            for len in [0, 1, 15, 16, 17, 31, 33, 40, 1000] {
                let xs: Vec<f32> = (0..len).map(|i| (i * 7919 % 1009 % 31) as f32 * size - 7.0 * size).collect();
                let (mut fast, mut scaled) = ([0.0f32; RECORD], [0.0f32; RECORD]);
                measured(All, &xs, factor, &mut fast);
                measure_scaled::<_, All>(&xs, factor, &mut scaled);
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
    fn many_parts_combine_as_one_after_the_other() {
        // Sizes that are all alike, that differ, that leave the range of squares; some parts without any number.
        for spread in [0, 1, 7, 30] {
            let part = |i: usize| {
                let size = 10f32.powi(i as i32 * 31 % 11 * spread / 10 - spread / 2);
                let mut own = if i % 5 == 3 { [0.0; RECORD] } else { record(&[size, -2.0 * size, f32::NAN, 0.0]) };
                own[WEIGHT_SQUARES..].copy_from_slice(&[i as f32, 0.5]);
                own
            };
            let parts: Vec<f32> = (0..3 * COMMON_FROM).flat_map(part).collect();
            for first in [[0.0; RECORD], record(&[3.0, 1.0])] {
                let (mut one_by_one, mut together) = (first, first);
                parts.chunks(RECORD).for_each(|part| combine(&mut one_by_one, part));
                combine_all(&mut together, &parts);
                assert_eq!(one_by_one, together, "{spread}");
            }
        }
        let mut none = [0.0; RECORD];
        combine_all(&mut none, &[0.0; RECORD * COMMON_FROM]);
        assert_eq!(none, [0.0; RECORD]);
    }

    #[test]
    fn non_finite_numbers_are_counted_and_left_out() {
        let r = record(&[1.0, f32::NAN, f32::INFINITY, -2.0]);
        assert_eq!((r[MAX], r[NON_FINITE], r[ZEROS]), (2.0, 2.0, 0.0));
        assert_eq!(f64::from(r[SQUARES]).sqrt() / f64::from(scale_of(r[MAX])), 5f64.sqrt());
    }
}

//! Histograms over the exponents of numbers: linear bins do not show underflow, exponents do.

use super::expect_dtypes;
use super::gpu::Params;
use super::record::CHUNK;
use super::stats::{TapStats, chunks_of, chunkwise, rows_of_group};
use crate::base::{DType, Error, Real, Result, Shape, Type, vectorized};
use crate::graph::{Bind, Dispatch, GpuWork, Io, Op, Shader};
use crate::{answers, kernel};

/// How many bins: bin 0 counts zeros; bin k from 1 to 30 magnitudes in [2²ᵏ⁻⁵⁰, 2²ᵏ⁻⁴⁸), the first and the last also all that
/// is smaller or larger; bin 31 what is not finite.
pub const BINS: usize = 32;

/// Subtracted from the exponent of the low end of bin 1, which is −48, it gives 2.
pub(crate) const BIN_OFFSET: i32 = 50;

/// The bin of a number, without a branch.
#[inline(always)]
fn bin<R: Real>(x: R) -> u8 {
    let within = ((x.exponent() + BIN_OFFSET) >> 1).clamp(1, BINS as i32 - 2);
    let finite = if x == R::ZERO { 0 } else { within as u8 };
    if x.is_finite() { finite } else { BINS as u8 - 1 }
}

/// Numbers whose bins are told together, and bins that are compared together: what a vector of bytes holds at most.
const BLOCK: usize = 1024;
const BYTES: usize = 64;

/// Counts numbers.
fn count<R: Real>(xs: &[R], out: &mut [R]) {
    let mut counts = [0u32; BINS];
    for xs in xs.chunks(BLOCK) {
        vectorized(
            #[inline(always)]
            || count_block(xs, &mut counts),
        );
    }
    out.iter_mut().zip(counts).for_each(|(out, count)| *out = R::of(f64::from(count)));
}

/// The bins of at most [`BLOCK`] numbers as bytes; then, bin by bin between the least and the largest that there are, how many
/// bytes are equal to it: counting one number after the other would take a step for each.
#[inline(always)]
fn count_block<R: Real>(xs: &[R], counts: &mut [u32; BINS]) {
    let mut bins = [0u8; BLOCK];
    bins.iter_mut().zip(xs).for_each(|(own, &x)| *own = bin(x));
    let most = bins.iter().fold(0, |most, &own| most.max(own));
    // Zeros are apart from the rest: the bin before 0 is the last of all.
    let least = bins.iter().fold(u8::MAX, |least, &own| least.min(own.wrapping_sub(1)));
    let mut zeros = BLOCK as u32;
    for which in least.saturating_add(1)..=most {
        let mut lanes = [0u8; BYTES];
        for part in bins.as_chunks::<BYTES>().0 {
            lanes.iter_mut().zip(part).for_each(|(lane, &own)| *lane += u8::from(own == which));
        }
        let count = lanes.iter().map(|&lane| u32::from(lane)).sum::<u32>();
        counts[usize::from(which)] += count;
        zeros -= count;
    }
    // What is not there is a zero in `bins`.
    counts[0] += zeros - (BLOCK - xs.len()) as u32;
}

/// A workgroup to each of `groups` histograms.
fn dispatch(entry: &'static str, binds: Vec<Bind>, params: Params, groups: usize) -> GpuWork {
    let shader = Shader::plain("histogram", entry);
    GpuWork::one(Dispatch { shader, binds, params, workgroups: Dispatch::fold(groups) })
}

/// Histograms of the chunks of an arena. Inputs: a [chunks·1024], lengths `[chunks]`; output: counts [chunks, 32], overwritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArenaHistogram;

impl ArenaHistogram {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let (a, lengths) = (io.real(0), io.index(1));
        chunkwise(io, BINS, |chunk, out| count(&a[chunk * CHUNK..][..lengths[chunk] as usize], out));
    }
}

impl Op for ArenaHistogram {
    fn name(&self) -> &'static str {
        "arena_histogram"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real, DType::Index])?;
        Ok(vec![Type::real([chunks_of(&inputs[0], &inputs[1])?, BINS])])
    }

    answers!(not in place);
    answers!(not differentiable: "it is a measurement");
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, _: &[Type], outputs: &[Type]) -> GpuWork {
        let chunks = outputs[0].shape.dim(0);
        let binds = vec![Bind::In(0), Bind::In(1), Bind::Out(0)];
        dispatch("arena_histogram", binds, vec![("groups", chunks.into())], chunks)
    }
}

/// Histograms of groups of real rows. Input: x [n, …]; output: counts [groups, 32], overwritten, as many groups as a tap has
/// ([`TapStats::groups`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowHistogram;

impl RowHistogram {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let (x, shape, real) = (io.real(0), io.input_types[0].shape, io.step.rows as usize);
        let width = shape.example_len();
        io.threads.chunks(io.outputs[0], BINS, |group, out| {
            let rows = rows_of_group(&shape, group, real);
            count(&x[rows.start * width..rows.end * width], out);
        });
    }
}

impl Op for RowHistogram {
    fn name(&self) -> &'static str {
        "row_histogram"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real])?;
        let x = inputs[0].shape;
        if x.rank() == 0 || x.is_empty() {
            return Err(Error::input("row_histogram", format!("expected rows, found {x}")));
        }
        Ok(vec![Type::real([TapStats::groups(&x), BINS])])
    }

    answers!(not in place);
    answers!(not differentiable: "it is a measurement");
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], outputs: &[Type]) -> GpuWork {
        let (x, groups) = (&inputs[0].shape, outputs[0].shape.dim(0));
        let params = vec![
            ("groups", groups.into()),
            ("width", x.example_len().into()),
            ("each", rows_of_group(x, 0, usize::MAX).len().into()),
            ("end", x.dim(0).into()),
        ];
        dispatch("row_histogram", vec![Bind::In(0), Bind::Out(0)], params, groups)
    }
}

/// Histograms added up by segments. Inputs: counts [n, 32], segments [rows, 2] (the first histogram, one past the last), table
/// [rows, 32] in place; output: table. Counts are exact up to 2²⁴ in f32.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoldCounts {
    /// Whether the table is added to from the second micro-batch on, instead of overwritten.
    pub accumulate: bool,
}

impl FoldCounts {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let (counts, segments) = (io.real(0), io.index(1));
        let fresh = !self.accumulate || io.step.micro == 0;
        for (row, segment) in io.outputs[0].chunks_exact_mut(BINS).zip(segments.chunks_exact(2)) {
            if fresh {
                row.fill(R::ZERO);
            }
            let parts = counts[segment[0] as usize * BINS..segment[1] as usize * BINS].chunks_exact(BINS);
            vectorized(
                #[inline(always)]
                || parts.for_each(|part| row.iter_mut().zip(part).for_each(|(sum, &count)| *sum += count)),
            );
        }
    }
}

impl Op for FoldCounts {
    fn name(&self) -> &'static str {
        "fold_counts"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real, DType::Index, DType::Real])?;
        let rows = inputs[1].shape.dim(0);
        let fits = inputs[0].shape.last() == BINS
            && inputs[1].shape == Shape::from([rows, 2])
            && inputs[2].shape == Shape::from([rows, BINS]);
        if !fits {
            return Err(Error::input("fold_counts", format!("expected counts, segments, table, found {inputs:?}")));
        }
        Ok(vec![inputs[2]])
    }

    fn in_place(&self) -> &[(usize, usize)] {
        &[(0, 2)]
    }

    answers!(not differentiable: "it is a measurement");
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], _: &[Type]) -> GpuWork {
        let rows = inputs[1].shape.dim(0);
        let vars = vec![("accumulate", u8::from(self.accumulate).to_string())];
        GpuWork::one(Dispatch {
            shader: Shader { stem: "histogram", entry: "fold_counts", vars },
            binds: vec![Bind::In(0), Bind::In(1), Bind::Out(0)],
            params: vec![("groups", rows.into())],
            workgroups: Dispatch::fold(rows),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_pairs_of_exponents_with_open_ends() {
        for k in 1..=30 {
            let low = 2f32.powi(2 * k - 50);
            assert_eq!((bin(low), bin(-low * 3.99)), (k as u8, k as u8));
        }
        assert_eq!([0.0, -0.0, 1e-45, 1e-30, f32::MAX].map(bin), [0, 0, 1, 1, 30]);
        assert_eq!([f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(bin), [31, 31, 31]);
    }

    #[test]
    fn blocks_are_counted_whole_and_in_part() {
        for len in [0, 1, 103, BLOCK, BLOCK + 1, 3 * BLOCK + 64] {
            for start in [0, 1, 4] {
                let sizes = [0.0, 1.0, 2.0, 3.0, 4.0, f64::INFINITY, 1e-20, 1e20];
                let xs: Vec<f64> = (0..len).map(|i| sizes[i % (8 - start) + start]).collect();
                let (mut counts, mut expected) = ([0.0; BINS], [0.0; BINS]);
                count(&xs, &mut counts);
                xs.iter().for_each(|&x| expected[usize::from(bin(x))] += 1.0);
                assert_eq!(counts, expected, "{len} from {start}");
            }
        }
    }
}

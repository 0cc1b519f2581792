//! Histograms over the exponents of numbers: linear bins do not show underflow, exponents do.

use super::expect_dtypes;
use super::gpu::Params;
use super::record::CHUNK;
use super::stats::{TapStats, chunks_of, chunkwise, rows_of_group};
use crate::base::{DType, Error, Real, Result, Shape, Type};
use crate::graph::{Bind, Dispatch, GpuWork, Io, Op, Shader};
use crate::{answers, kernel};

/// How many bins: bin 0 counts zeros; bin k from 1 to 30 magnitudes in [2²ᵏ⁻⁵⁰, 2²ᵏ⁻⁴⁸), the first and the last also all that
/// is smaller or larger; bin 31 what is not finite.
pub const BINS: usize = 32;

/// Subtracted from the exponent of the low end of bin 1, which is −48, it gives 2.
pub(crate) const BIN_OFFSET: i32 = 50;

/// The bin of each exponent field of a double, 0 for that of zero.
static BINS_OF: [u8; 2048] = {
    let mut bins = [0; 2048];
    let mut field = 1;
    while field < 2048 {
        let bin = (field as i32 - 1023 + BIN_OFFSET) >> 1;
        let last = BINS as i32 - 2;
        bins[field] = if field == 2047 {
            BINS as u8 - 1
        } else if bin < 1 {
            1
        } else if bin > last {
            last as u8
        } else {
            bin as u8
        };
        field += 1;
    }
    bins
};

/// The bin of a number, without a branch: gradients that are 0 come in no order that could be foreseen.
#[inline(always)]
fn bin<R: Real>(x: R) -> usize {
    let bits = x.f64().to_bits() << 1;
    let field = (bits >> 53) as usize;
    // Doubles below the normal numbers have the field of zero.
    usize::from(BINS_OF[field]) | usize::from((field == 0) & (bits != 0))
}

/// Counts numbers. Neighbours are often of one bin: four tables in turn keep additions from waiting for each other.
fn count<R: Real>(xs: &[R], out: &mut [R]) {
    let mut counts = [[0u32; BINS]; 4];
    let whole = xs.chunks_exact(4);
    let rest = whole.remainder();
    for four in whole {
        counts.iter_mut().zip(four).for_each(|(counts, &x)| counts[bin(x)] += 1);
    }
    rest.iter().for_each(|&x| counts[0][bin(x)] += 1);
    for (i, out) in out.iter_mut().enumerate() {
        *out = R::of(counts.iter().map(|counts| f64::from(counts[i])).sum());
    }
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
            for part in counts[segment[0] as usize * BINS..segment[1] as usize * BINS].chunks_exact(BINS) {
                row.iter_mut().zip(part).for_each(|(sum, &count)| *sum += count);
            }
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
            assert_eq!((bin(low), bin(-low * 3.99)), (k as usize, k as usize));
        }
        assert_eq!([0.0, -0.0, 1e-45, 1e-30, f32::MAX].map(bin), [0, 0, 1, 1, 30]);
        assert_eq!([f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(bin), [31, 31, 31]);
        let xs: Vec<f64> = (0..103).map(|i| f64::from(i % 5)).collect();
        let mut counts = [0.0; BINS];
        count(&xs, &mut counts);
        assert_eq!((counts[0], counts[25], counts[26]), (21.0, 62.0, 20.0));
        assert_eq!(counts.iter().sum::<f64>(), 103.0);
    }
}

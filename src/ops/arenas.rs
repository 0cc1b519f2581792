//! What whole arenas say beside each other: products, distances, and a copy to look back at.

use super::expect_dtypes;
use super::gpu::{self, Params};
use super::record::{self, CHUNK, MAX, NON_FINITE, OfNorms, RECORD, SQUARES, scale_of};
use super::stats::{CHUNKS_PER_PART, chunks_of, chunkwise};
use crate::base::{DType, Error, Real, Result, Type, Wide, arch};
use crate::graph::{Bind, Dispatch, GpuWork, Io, Op, Shader};
use crate::{answers, kernel};
use pulp::{Simd, WithSimd};

/// The same numbers in another buffer. Input: a `[len]`; output `[len]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy;

impl Copy {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let from = io.real(0);
        let each = CHUNKS_PER_PART * CHUNK;
        io.threads.chunks(io.outputs[0], each, |part, to| to.copy_from_slice(&from[part * each..][..to.len()]));
    }
}

impl Op for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real])?;
        if inputs[0].shape.is_empty() {
            return Err(Error::input("copy", format!("expected elements, found {}", inputs[0].shape)));
        }
        Ok(vec![inputs[0]])
    }

    answers!(not in place);
    answers!(not differentiable: "it keeps what was for a measurement");
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, _: &[Type], outputs: &[Type]) -> GpuWork {
        let shader = Shader::plain("arenas", "copy");
        gpu::elementwise(shader, vec![Bind::In(0), Bind::Out(0)], vec![("len", outputs[0].shape.len().into())])
    }
}

/// Products of two arenas, chunk by chunk. Inputs: a and b, or, for products with a difference, a, b and c
/// [chunks·1024]; lengths `[chunks]`. Output: records [chunks, 8], overwritten: field `SQUARES` is Σ a·b or Σ a·(b − c) in units
/// of 2²ᵉ, e the exponent of field `MAX`, the largest finite magnitude of either factor. A pair with a factor that is not
/// finite is left out, and not counted: the update counts those, and a measurement halts nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DotStats {
    /// Whether the second factor is a difference.
    pub difference: bool,
}

impl DotStats {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let (a, b) = (io.real(0), io.real(1));
        let (c, lengths) = if self.difference { (io.real(2), io.index(3)) } else { (&[][..], io.index(2)) };
        chunkwise(io, RECORD, |chunk, record| {
            let of = chunk * CHUNK..chunk * CHUNK + lengths[chunk] as usize;
            let c = if self.difference { Some(&c[of.clone()]) } else { None };
            arch().dispatch(Dot { a: &a[of.clone()], b: &b[of], c, record });
        });
    }
}

struct Dot<'a, R> {
    a: &'a [R],
    b: &'a [R],
    c: Option<&'a [R]>,
    record: &'a mut [R],
}

/// Sums of products are taken without a scale where both factors are of ordinary size.
const PLAIN_EXPONENT: i32 = 40;

impl<R: Real> WithSimd for Dot<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let lanes = Wide::<S, R>::lanes();
        let (mut sum, mut max_a, mut max_d) = (Wide::zero(simd), Wide::zero(simd), Wide::zero(simd));
        let parts = self.a.chunks(lanes).zip(self.b.chunks(lanes)).enumerate();
        for (i, (a, b)) in parts {
            let (a, mut d) = (Wide::load(simd, a), Wide::load(simd, b));
            if let Some(c) = self.c {
                let end = c.len().min((i + 1) * lanes);
                d = d - Wide::load(simd, &c[i * lanes..end]);
            }
            max_a = a.abs().max(max_a);
            max_d = d.abs().max(max_d);
            sum = a.mul_add(d, sum);
        }
        let (sum, max_a, max_d) = (sum.sum_lanes(), max_a.max_lanes(), max_d.max_lanes());
        self.record.fill(R::ZERO);
        let is_plain = |max: R| max == R::ZERO || max.exponent().abs() <= PLAIN_EXPONENT;
        if sum.is_finite() && max_a.is_finite() && max_d.is_finite() && is_plain(max_a) && is_plain(max_d) {
            let max = max_a.max(max_d);
            self.record[MAX] = max;
            self.record[SQUARES] = sum * scale_of(max) * scale_of(max);
        } else {
            scaled(self.a, self.b, self.c, self.record);
        }
    }
}

/// The record of factors that are tiny, huge or not finite.
#[cold]
#[inline(never)]
fn scaled<R: Real>(a: &[R], b: &[R], c: Option<&[R]>, record: &mut [R]) {
    let pair = |i: usize| (a[i], c.map_or(b[i], |c| b[i] - c[i]));
    let is_finite = |&(a, d): &(R, R)| a.is_finite() && d.is_finite();
    let finite = || (0..a.len()).map(pair).filter(is_finite);
    let max = finite().fold(R::ZERO, |max, (a, d)| max.max(a.abs()).max(d.abs()));
    let scale = scale_of(max);
    record[MAX] = max;
    record[SQUARES] = finite().map(|(a, d)| (a * scale) * (d * scale)).sum();
}

fn dispatch(entry: &'static str, difference: bool, binds: Vec<Bind>, chunks: usize) -> GpuWork {
    let params: Params = vec![("chunks", chunks.into())];
    let vars = vec![("difference", u8::from(difference).to_string())];
    let shader = Shader { stem: "arenas", entry, vars };
    GpuWork::one(Dispatch { shader, binds, params, workgroups: Dispatch::fold(chunks) })
}

/// Checks that the inputs are arenas of one size and chunk lengths; gives the type of a record a chunk.
fn records_of(name: &'static str, inputs: &[Type], arenas: usize) -> Result<Vec<Type>> {
    let mut dtypes = vec![DType::Real; arenas];
    dtypes.push(DType::Index);
    expect_dtypes(inputs, &dtypes)?;
    let chunks = chunks_of(&inputs[0], &inputs[arenas])?;
    if inputs[..arenas].iter().any(|input| *input != inputs[0]) {
        return Err(Error::input(name, format!("arenas of one size were expected, found {inputs:?}")));
    }
    Ok(vec![Type::real([chunks, RECORD])])
}

impl Op for DotStats {
    fn name(&self) -> &'static str {
        "dot_stats"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        records_of("dot_stats", inputs, if self.difference { 3 } else { 2 })
    }

    answers!(not in place);
    answers!(not differentiable: "it is a measurement");
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], outputs: &[Type]) -> GpuWork {
        let binds = (0..inputs.len()).map(Bind::In).chain([Bind::Out(0)]).collect();
        dispatch("dot_stats", self.difference, binds, outputs[0].shape.dim(0))
    }
}

/// How far one arena is from another, chunk by chunk. Inputs: a, b [chunks·1024], lengths `[chunks]`; output: the records of
/// a − b [chunks, 8], overwritten, fields `MAX` and `SQUARES`. What is not finite is left out, as in [`DotStats`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistanceStats;

impl DistanceStats {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let (a, b, lengths) = (io.real(0), io.real(1), io.index(2));
        chunkwise(io, RECORD, |chunk, record| {
            let of = chunk * CHUNK..chunk * CHUNK + lengths[chunk] as usize;
            let mut difference = [R::ZERO; CHUNK];
            let difference = &mut difference[..of.len()];
            let pairs = a[of.clone()].iter().zip(&b[of]);
            difference.iter_mut().zip(pairs).for_each(|(d, (&a, &b))| *d = a - b);
            record.fill(R::ZERO);
            record::measured(OfNorms, difference, R::ONE, record);
            record[NON_FINITE] = R::ZERO;
        });
    }
}

impl Op for DistanceStats {
    fn name(&self) -> &'static str {
        "distance_stats"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        records_of("distance_stats", inputs, 2)
    }

    answers!(not in place);
    answers!(not differentiable: "it is a measurement");
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, _: &[Type], outputs: &[Type]) -> GpuWork {
        let binds = vec![Bind::In(0), Bind::In(1), Bind::In(2), Bind::Out(0)];
        dispatch("distance_stats", false, binds, outputs[0].shape.dim(0))
    }
}

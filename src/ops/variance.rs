//! The variance of single partial derivatives over the examples of a batch.
//!
//! With pᵢ = ∂(wᵢℓᵢ)/∂θ, wᵢ being the example's share of the loss, g = Σ pᵢ is the gradient and q = Σ pᵢ² goes with it. Of uᵢ = B·pᵢ, whose
//! mean g is, the sample variance is v = (B·q − g²)·B/(B − 1).

use super::expect_dtypes;
use super::gpu::{self, Params};
use super::record::{self, CHUNK, NON_FINITE, OfTaps, RECORD, STEP_SQUARES, WEIGHT_SQUARES, ZEROS};
use super::stats::{chunks_of, chunkwise};
use crate::base::{DType, Error, Real, Result, Shape, Type, Wide, arch};
use crate::graph::{Bind, Dispatch, GpuWork, Io, Op, Shader};
use crate::{answers, kernel};
use pulp::{Simd, WithSimd};

/// B·q − g² is no variance below this many times the rounding of B·q: what is left of it has lost all but a few digits.
const ROUNDINGS: f64 = 512.0;

/// What the variances of a batch take at its last micro-batch: numbers, or vectors with the number in every lane.
#[derive(Clone, Copy)]
struct Batch<X> {
    rows: X,
    /// B/(B − 1).
    correction: X,
    /// What part of B·q is rounding.
    room: X,
    /// The least B·q that counts.
    least: X,
}

/// 2⁻¹⁰⁰ in single precision: what is added up to it is far above the smallest normal number.
fn least<R: Real>() -> R {
    R::exp2i(27 - R::MAX.exponent())
}

impl<R: Real> Batch<R> {
    /// With so much room.
    fn of(io: &Io<'_, R>, room: f64) -> Self {
        let rows = f64::from(io.step.first_row + io.step.rows);
        let correction = R::of(rows / (rows - 1.0).max(1.0));
        Self { rows: R::of(rows), correction, room: R::of(room), least: least() }
    }

    #[inline(always)]
    fn wide<S: Simd>(&self, simd: S) -> Batch<Wide<S, R>> {
        let Self { rows, correction, room, least } = *self;
        let wide = |x| Wide::splat(simd, x);
        Batch { rows: wide(rows), correction: wide(correction), room: wide(room), least: wide(least) }
    }
}

impl<S: Simd, R: Real> Batch<Wide<S, R>> {
    /// v; 0 where it is not above `room` times B·q, that is so small that squares have lost digits, or it is not finite.
    #[inline(always)]
    fn variance(&self, simd: S, square: Wide<S, R>, q: Wide<S, R>) -> Wide<S, R> {
        let (none, huge) = (Wide::zero(simd), Wide::splat(simd, R::MAX));
        let whole = self.rows * q;
        let rest = whole - square;
        let v = rest * self.correction;
        // NaN is at most nothing.
        let finite = v.where_at_most(huge, v, none);
        let told = rest.where_at_most(whole * self.room, none, finite);
        whole.where_at_most(self.least, none, told)
    }
}

/// What part of B·q is rounding.
fn rounding<R: Real>() -> f64 {
    ROUNDINGS * 2.0 * R::UNIT_ROUNDOFF
}

/// A chunk of gradients and of sums of squares, and its record.
struct Chunk<'a, R> {
    batch: Batch<R>,
    g: &'a [R],
    q: &'a [R],
    record: &'a mut [R],
}

impl<'a, R: Real> Chunk<'a, R> {
    /// Chunk number `chunk` of two arenas.
    fn of(batch: Batch<R>, [g, q]: [&'a [R]; 2], chunk: usize, len: u32, record: &'a mut [R]) -> Self {
        let of = chunk * CHUNK..chunk * CHUNK + len as usize;
        Self { batch, g: &g[of.clone()], q: &q[of], record }
    }
}

/// Records of what the variances of the chunks of an arena are. Inputs: g, q [chunks·1024], lengths `[chunks]`; output [chunks, 8],
/// overwritten: field `WEIGHT_SQUARES` is Σ g²/v over elements that have a variance, `STEP_SQUARES` Σ v, `ZEROS` how many have none.
/// It runs at the last micro-batch of a step, whose rows end the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VarianceStats;

impl VarianceStats {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let (arenas, lengths, batch) = ([io.real(0), io.real(1)], io.index(2), Batch::of(io, rounding::<R>()));
        chunkwise(io, RECORD, |chunk, record| {
            arch().dispatch(Variances(Chunk::of(batch, arenas, chunk, lengths[chunk], record)));
        });
    }
}

/// The variances of a chunk.
struct Variances<'a, R>(Chunk<'a, R>);

impl<R: Real> WithSimd for Variances<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Chunk { batch, g, q, record } = self.0;
        let batch = batch.wide(simd);
        let (none, one) = (Wide::<S, R>::zero(simd), Wide::splat(simd, R::ONE));
        let (mut ratios, mut variances, mut without) = (none, none, none);
        let lanes = Wide::<S, R>::lanes();
        for (g, q) in g.chunks(lanes).zip(q.chunks(lanes)) {
            let g = Wide::load(simd, g);
            let square = g * g;
            let v = batch.variance(simd, square, Wide::load(simd, q));
            ratios = ratios + v.where_at_most(none, none, square / v);
            variances = variances + v;
            without = without + v.where_at_most(none, one, none);
        }
        // The vector of a tail is filled up with zeros.
        let padding = g.len().next_multiple_of(lanes) - g.len();
        record.fill(R::ZERO);
        record[WEIGHT_SQUARES] = ratios.sum_lanes();
        record[STEP_SQUARES] = variances.sum_lanes();
        record[ZEROS] = without.sum_lanes() - R::of(padding as f64);
    }
}

impl Op for VarianceStats {
    fn name(&self) -> &'static str {
        "variance_stats"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real, DType::Real, DType::Index])?;
        let chunks = chunks_of(&inputs[0], &inputs[2])?;
        if inputs[1] != inputs[0] {
            return Err(Error::input("variance_stats", format!("{} and {} differ", inputs[0].shape, inputs[1].shape)));
        }
        Ok(vec![Type::real([chunks, RECORD])])
    }

    answers!(not in place);
    answers!(not differentiable: "it is a measurement");
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, _: &[Type], outputs: &[Type]) -> GpuWork {
        let chunks = outputs[0].shape.dim(0);
        let params = vec![
            ("chunks", chunks.into()),
            ("room", rounding::<f32>().into()),
            ("least", f64::from(least::<f32>()).into()),
        ];
        dispatch("variance_stats", 3, params, chunks)
    }
}

/// A workgroup to each record, from all of so many inputs.
fn dispatch(entry: &'static str, inputs: usize, params: Params, records: usize) -> GpuWork {
    let shader = Shader { stem: "variance", entry, vars: vec![gpu::in_memory()] };
    let binds = (0..inputs).map(Bind::In).chain([Bind::Out(0)]).collect();
    gpu::recording(GpuWork::one(Dispatch { shader, binds, params, workgroups: Dispatch::fold(records) }), 0)
}

/// Records of ratios whose denominators are damped. Inputs: g, q [chunks·1024], lengths `[chunks]`, owners `[chunks]` (the tensor of
/// each chunk), sizes `[tensors]` (its elements), rows [tensors, 8] (the folded records of [`VarianceStats`]); output [chunks, 8],
/// overwritten: field `WEIGHT_SQUARES` is Σ g²/(v + ε), ε being a share of the tensor's mean v. Where v + ε is 0 or g is not finite nothing is added.
#[derive(Clone, Debug, PartialEq)]
pub struct StoppingStats {
    /// ε over the mean variance of the tensor.
    pub relative: f64,
}

impl StoppingStats {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let (arenas, lengths, batch) = ([io.real(0), io.real(1)], io.index(2), Batch::of(io, 0.0));
        let (owners, sizes, rows) = (io.index(3), io.real(4), io.real(5));
        let relative = R::of(self.relative);
        chunkwise(io, RECORD, |chunk, record| {
            let owner = owners[chunk] as usize;
            let epsilon = relative * rows[owner * RECORD + STEP_SQUARES] / sizes[owner];
            let chunk = Chunk::of(batch, arenas, chunk, lengths[chunk], record);
            arch().dispatch(Damped { chunk, epsilon });
        });
    }
}

/// The ratios of a chunk to variances with `epsilon` added.
struct Damped<'a, R> {
    chunk: Chunk<'a, R>,
    epsilon: R,
}

impl<R: Real> WithSimd for Damped<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Chunk { batch, g, q, record } = self.chunk;
        let (batch, epsilon) = (batch.wide(simd), Wide::splat(simd, self.epsilon));
        let (none, huge) = (Wide::<S, R>::zero(simd), Wide::splat(simd, R::MAX));
        let mut ratios = none;
        let lanes = Wide::<S, R>::lanes();
        for (g, q) in g.chunks(lanes).zip(q.chunks(lanes)) {
            let g = Wide::load(simd, g);
            let square = g * g;
            let v = batch.variance(simd, square, Wide::load(simd, q)) + epsilon;
            let ratio = v.where_at_most(none, none, square / v);
            ratios = ratios + square.where_at_most(huge, ratio, none);
        }
        record.fill(R::ZERO);
        record[WEIGHT_SQUARES] = ratios.sum_lanes();
    }
}

impl Op for StoppingStats {
    fn name(&self) -> &'static str {
        "stopping_stats"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        let [real, index] = [DType::Real, DType::Index];
        expect_dtypes(inputs, &[real, real, index, index, real, real])?;
        let chunks = chunks_of(&inputs[0], &inputs[2])?;
        let tensors = inputs[4].shape.len();
        let fits = inputs[1] == inputs[0]
            && inputs[3] == inputs[2]
            && inputs[4].shape == Shape::from([tensors])
            && inputs[5].shape == Shape::from([tensors, RECORD]);
        if !fits {
            let message = format!("expected arenas, lengths, owners, sizes and rows, found {inputs:?}");
            return Err(Error::input("stopping_stats", message));
        }
        Ok(vec![Type::real([chunks, RECORD])])
    }

    answers!(not in place);
    answers!(not differentiable: "it is a measurement");
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, _: &[Type], outputs: &[Type]) -> GpuWork {
        let chunks = outputs[0].shape.dim(0);
        let params = vec![
            ("chunks", chunks.into()),
            ("least", f64::from(least::<f32>()).into()),
            ("relative", self.relative.into()),
        ];
        dispatch("stopping_stats", 6, params, chunks)
    }
}

/// Elements that share a record of a vector.
const VECTOR: usize = 4 * CHUNK;

/// Records of the elements of a vector. Input: x of any shape; output [⌈len/4096⌉, 8], overwritten: fields `MAX`, `SQUARES` and `SUM`.
/// What is not finite is left out, and not counted: a measurement halts nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VectorStats;

impl VectorStats {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let x = io.real(0);
        io.threads.chunks(io.outputs[0], RECORD, |group, record| {
            record.fill(R::ZERO);
            record::measured(OfTaps, &x[group * VECTOR..x.len().min((group + 1) * VECTOR)], R::ONE, record);
            record[NON_FINITE] = R::ZERO;
        });
    }
}

impl Op for VectorStats {
    fn name(&self) -> &'static str {
        "vector_stats"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real])?;
        if inputs[0].shape.is_empty() {
            return Err(Error::input("vector_stats", format!("expected elements, found {}", inputs[0].shape)));
        }
        Ok(vec![Type::real([inputs[0].shape.len().div_ceil(VECTOR), RECORD])])
    }

    answers!(not in place);
    answers!(not differentiable: "it is a measurement");
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], outputs: &[Type]) -> GpuWork {
        let groups = outputs[0].shape.dim(0);
        let params = vec![("chunks", groups.into()), ("len", inputs[0].shape.len().into())];
        dispatch("vector_stats", 1, params, groups)
    }
}

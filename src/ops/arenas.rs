//! What whole arenas say beside each other: products and distances; and what is kept of a step to look back at.

use super::expect_dtypes;
use super::gpu;
use super::record::{CHUNK, MAX, RECORD, SQUARES, scale_of};
use super::stats::{CHUNKS_PER_PART, chunks_of, chunkwise};
use crate::base::{DType, Error, Real, Result, Type, Wide, arch, vectorized};
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

/// How far numbers have moved since they were copied. Inputs: the copy `[len]` in place, the numbers now `[len]`; output: now − copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved;

impl Moved {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let now = io.real(1);
        let each = CHUNKS_PER_PART * CHUNK;
        io.threads.chunks(io.outputs[0], each, |part, kept| {
            let now = &now[part * each..][..kept.len()];
            vectorized(
                #[inline(always)]
                || kept.iter_mut().zip(now).for_each(|(kept, &now)| *kept = now - *kept),
            );
        });
    }
}

impl Op for Moved {
    fn name(&self) -> &'static str {
        "moved"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real, DType::Real])?;
        if inputs[0] != inputs[1] {
            return Err(Error::input("moved", format!("{} and {} differ", inputs[0].shape, inputs[1].shape)));
        }
        Ok(vec![inputs[0]])
    }

    fn in_place(&self) -> &[(usize, usize)] {
        &[(0, 0)]
    }

    answers!(not differentiable: "it keeps what was for a measurement");
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, _: &[Type], outputs: &[Type]) -> GpuWork {
        let shader = Shader::plain("arenas", "moved");
        gpu::elementwise(shader, vec![Bind::In(1), Bind::Out(0)], vec![("len", outputs[0].shape.len().into())])
    }
}

/// Products of arenas, chunk by chunk, all in one pass. Inputs: gradient g, last gradient h, last update u [chunks·1024]; lengths
/// `[chunks]`. Outputs: records [chunks, 8] of g·h, g·u, h·u, u·u, overwritten: field `SQUARES` is Σ a·b in units of 2²ᵉ, e the
/// exponent of field `MAX`, the largest finite magnitude of either factor. A pair with a factor that is not finite is left
/// out, and not counted: the update counts those, and a measurement halts nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectionStats;

impl DirectionStats {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let (arenas, lengths) = ([io.real(0), io.real(1), io.real(2)], io.index(3));
        let [gh, gu, hu, uu] = &mut *io.outputs else { unreachable!("four outputs") };
        let records = [&mut **gh, &mut **gu, &mut **hu, &mut **uu];
        io.threads.zip_parts(records, [CHUNKS_PER_PART * RECORD; 4], |part, records| {
            let [gh, gu, hu, uu] = records.map(|records| records.chunks_exact_mut(RECORD));
            for (i, (((gh, gu), hu), uu)) in gh.zip(gu).zip(hu).zip(uu).enumerate() {
                let chunk = part * CHUNKS_PER_PART + i;
                let of = chunk * CHUNK..chunk * CHUNK + lengths[chunk] as usize;
                let [g, h, u] = arenas.map(|arena| &arena[of.clone()]);
                arch().dispatch(Directions { of: [g, h, u], records: [gh, gu, hu, uu] });
            }
        });
    }
}

/// A chunk of three arenas, and the records of their products.
struct Directions<'a, R> {
    of: [&'a [R]; 3],
    records: [&'a mut [R]; 4],
}

impl<R: Real> WithSimd for Directions<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let none = Wide::<S, R>::zero(simd);
        let ([mut gh, mut gu, mut hu, mut uu], [mut top_g, mut top_h, mut top_u]) = ([none; 4], [none; 3]);
        let [all_g, all_h, all_u] = self.of;
        let lanes = Wide::<S, R>::lanes();
        for ((g, h), u) in all_g.chunks(lanes).zip(all_h.chunks(lanes)).zip(all_u.chunks(lanes)) {
            let (g, h, u) = (Wide::load(simd, g), Wide::load(simd, h), Wide::load(simd, u));
            (gh, gu, hu, uu) = (g.mul_add(h, gh), g.mul_add(u, gu), h.mul_add(u, hu), u.mul_add(u, uu));
            (top_g, top_h, top_u) = (g.abs().max(top_g), h.abs().max(top_h), u.abs().max(top_u));
        }
        let [top_g, top_h, top_u] = [top_g.max_lanes(), top_h.max_lanes(), top_u.max_lanes()];
        let [to_gh, to_gu, to_hu, to_uu] = self.records;
        set(gh.sum_lanes(), [top_g, top_h], all_g.len(), |i| (all_g[i], all_h[i]), to_gh);
        set(gu.sum_lanes(), [top_g, top_u], all_g.len(), |i| (all_g[i], all_u[i]), to_gu);
        set(hu.sum_lanes(), [top_h, top_u], all_g.len(), |i| (all_h[i], all_u[i]), to_hu);
        set(uu.sum_lanes(), [top_u; 2], all_g.len(), |i| (all_u[i], all_u[i]), to_uu);
    }
}

/// Sums of products are taken without a scale where both factors are of ordinary size.
const PLAIN_EXPONENT: i32 = 40;

/// Makes a record that of a sum of products, of `len` pairs with these largest factors.
#[inline(always)]
fn set<R: Real>(sum: R, tops: [R; 2], len: usize, pair: impl Fn(usize) -> (R, R), record: &mut [R]) {
    let is_plain = |top: R| top.is_finite() && (top == R::ZERO || top.exponent().abs() <= PLAIN_EXPONENT);
    record.fill(R::ZERO);
    if sum.is_finite() && tops.iter().all(|&top| is_plain(top)) {
        let max = tops[0].max(tops[1]);
        record[MAX] = max;
        record[SQUARES] = sum * scale_of(max) * scale_of(max);
    } else {
        scaled(len, pair, record);
    }
}

/// The record of factors that are tiny, huge or not finite.
#[cold]
#[inline(never)]
fn scaled<R: Real>(len: usize, pair: impl Fn(usize) -> (R, R), record: &mut [R]) {
    let is_finite = |&(a, b): &(R, R)| a.is_finite() && b.is_finite();
    let finite = || (0..len).map(&pair).filter(is_finite);
    let max = finite().fold(R::ZERO, |max, (a, b)| max.max(a.abs()).max(b.abs()));
    let scale = scale_of(max);
    record[MAX] = max;
    record[SQUARES] = finite().map(|(a, b)| (a * scale) * (b * scale)).sum();
}

/// A workgroup to each chunk.
fn dispatch(entry: &'static str, binds: Vec<Bind>, chunks: usize) -> GpuWork {
    let shader = Shader { stem: "arenas", entry, vars: vec![gpu::in_memory()] };
    let params = vec![("chunks", chunks.into())];
    gpu::recording(GpuWork::one(Dispatch { shader, binds, params, workgroups: Dispatch::fold(chunks) }), 0)
}

/// Checks that the inputs are arenas of one size and chunk lengths; gives the type of a record a chunk.
fn records_of(name: &'static str, inputs: &[Type], arenas: usize) -> Result<Type> {
    let mut dtypes = vec![DType::Real; arenas];
    dtypes.push(DType::Index);
    expect_dtypes(inputs, &dtypes)?;
    let chunks = chunks_of(&inputs[0], &inputs[arenas])?;
    if inputs[..arenas].iter().any(|input| *input != inputs[0]) {
        return Err(Error::input(name, format!("arenas of one size were expected, found {inputs:?}")));
    }
    Ok(Type::real([chunks, RECORD]))
}

impl Op for DirectionStats {
    fn name(&self) -> &'static str {
        "direction_stats"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        Ok(vec![records_of("direction_stats", inputs, 3)?; 4])
    }

    answers!(not in place);
    answers!(not differentiable: "it is a measurement");
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, _: &[Type], outputs: &[Type]) -> GpuWork {
        // Eight buffers, as many as every adapter can bind.
        let binds = (0..4).map(Bind::In).chain((0..4).map(Bind::Out)).collect();
        dispatch("direction_stats", binds, outputs[0].shape.dim(0))
    }
}

/// How far one arena is from another, chunk by chunk. Inputs: a, b [chunks·1024], lengths `[chunks]`; output: the records of
/// a − b [chunks, 8], overwritten, fields `MAX` and `SQUARES`. What is not finite is left out, as in [`DirectionStats`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistanceStats;

impl DistanceStats {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let (a, b, lengths) = (io.real(0), io.real(1), io.index(2));
        chunkwise(io, RECORD, |chunk, record| {
            let of = chunk * CHUNK..chunk * CHUNK + lengths[chunk] as usize;
            arch().dispatch(Distance { a: &a[of.clone()], b: &b[of], record });
        });
    }
}

struct Distance<'a, R> {
    a: &'a [R],
    b: &'a [R],
    record: &'a mut [R],
}

impl<R: Real> WithSimd for Distance<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { a, b, record } = self;
        let (mut squares, mut top) = (Wide::<S, R>::zero(simd), Wide::zero(simd));
        let lanes = Wide::<S, R>::lanes();
        for (a, b) in a.chunks(lanes).zip(b.chunks(lanes)) {
            let d = Wide::load(simd, a) - Wide::load(simd, b);
            (squares, top) = (d.mul_add(d, squares), d.abs().max(top));
        }
        let top = top.max_lanes();
        let pair = |i: usize| (a[i] - b[i], a[i] - b[i]);
        set(squares.sum_lanes(), [top; 2], a.len(), pair, record);
    }
}

impl Op for DistanceStats {
    fn name(&self) -> &'static str {
        "distance_stats"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        Ok(vec![records_of("distance_stats", inputs, 2)?])
    }

    answers!(not in place);
    answers!(not differentiable: "it is a measurement");
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, _: &[Type], outputs: &[Type]) -> GpuWork {
        let binds = (0..3).map(Bind::In).chain([Bind::Out(0)]).collect();
        dispatch("distance_stats", binds, outputs[0].shape.dim(0))
    }
}

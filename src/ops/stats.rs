//! Statistics on the device: records of value rows and of gradient chunks, folded per tensor and layer into one small
//! table, with the clip factor and the halt flag computed there too. See [`super::record`] for what a record holds.

use super::expect_dtypes;
use super::gpu::{self, Params};
use super::record::{
    self, CHUNK, MAX, NON_FINITE, OfGradients, OfTaps, RECORD, SQUARES, SUM, WEIGHT_SQUARES, scale_of,
};
use crate::base::{DType, Error, Real, Result, Shape, Type, arch};
use crate::graph::{Bind, Dispatch, GpuWork, Io, Op, Shader};
use crate::{answers, kernel};
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// The control block: clip factor, halt flag (sticky), global gradient norm; then what loss scaling keeps, all 0 where there is none.
pub const CONTROL: usize = 8;
/// The position of the clip factor.
pub const CLIP: usize = 0;
/// The position of the halt flag: not 0 once a non-finite value was seen.
pub const HALT: usize = 1;
/// The position of the global gradient norm, where clipping needed it.
pub const NORM: usize = 2;
/// The position of what is made of overflow: 0 halts, [`SCALED`] and [`SKIPPING`] let it pass unless it is that of the loss.
pub const SCALING: usize = 3;
/// The position of how many steps in a row did not overflow, since the scale was set.
pub const GOOD_STEPS: usize = 4;
/// The position of how many steps were skipped.
pub const SKIPPED: usize = 5;
/// The positions of the bias corrections of an optimizer that has counted no skipped step; they count once there is one.
pub const CORRECTION1: usize = 6;
/// See [`CORRECTION1`].
pub const CORRECTION2: usize = 7;
/// With loss scaling, a step that is taken.
pub const SCALED: f64 = 1.0;
/// With loss scaling, a step that overflowed: nothing moves.
pub const SKIPPING: f64 = 2.0;

/// Records of what passes some layers, one for each group of rows; overwritten. Inputs: for each layer its activations a
/// [n, …] and ∂L/∂z [n, …]; then weights `[n]`. Output: the records of these values one after the other [groups, 8].
///
/// Of a, the real rows count. Of ∂L/∂z, row i is divided by the example's share wᵢ of the loss, which gives the
/// backpropagated signal of each example's own loss; rows with wᵢ = 0 (padding, classes of weight 0) are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapStats;

impl TapStats {
    /// The most layers of one op: with weights and records, as many buffers as every adapter can bind.
    pub const LAYERS_MAX: usize = 3;

    /// How many records a value of this shape gives: one to about 4096 elements.
    pub fn groups(shape: &Shape) -> usize {
        Rows::of(shape).groups()
    }

    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let values = io.inputs.len() - 1;
        let mut taps = Taps { values: [(&[], Rows::default()); VALUES_MAX], weights: io.real(values) };
        for (i, value) in taps.values.iter_mut().enumerate().take(values) {
            let rows = Rows::of(&io.input_types[i].shape);
            let real = if i % 2 == 0 { rows.end.min(io.step.rows as usize) } else { rows.end };
            *value = (io.real(i), Rows { real, ..rows });
        }
        io.threads.chunks(io.outputs[0], GROUPS_PER_PART * RECORD, |part, out| {
            arch().dispatch(Groups { taps: &taps, first: part * GROUPS_PER_PART, out });
        });
    }
}

const VALUES_MAX: usize = 2 * TapStats::LAYERS_MAX;

/// How the rows of a tapped value are grouped.
#[derive(Clone, Copy, Default)]
struct Rows {
    /// Elements of a row.
    width: usize,
    /// Rows of a group.
    each: usize,
    /// How many rows there are.
    end: usize,
    /// How many of them count.
    real: usize,
}

impl Rows {
    fn of(shape: &Shape) -> Self {
        let width = shape.example_len();
        let end = shape.dim(0);
        Self { width, each: (4096 / width).max(1), end, real: end }
    }

    fn groups(&self) -> usize {
        self.end.div_ceil(self.each)
    }

    /// The rows of group `i` that count.
    #[inline(always)]
    fn group(&self, i: usize) -> Range<usize> {
        (i * self.each).min(self.real)..((i + 1) * self.each).min(self.real)
    }

    #[inline(always)]
    fn elements<'a, R>(&self, x: &'a [R], rows: Range<usize>) -> &'a [R] {
        &x[rows.start * self.width..rows.end * self.width]
    }
}

/// The rows of a tapped value of this shape that record `group` is of, the first `real` rows being there.
pub(crate) fn rows_of_group(shape: &Shape, group: usize, real: usize) -> Range<usize> {
    let rows = Rows::of(shape);
    Rows { real: rows.end.min(real), ..rows }.group(group)
}

/// What the taps of some layers read: activations and ∂L/∂z by turns.
struct Taps<'a, R> {
    values: [(&'a [R], Rows); VALUES_MAX],
    weights: &'a [R],
}

/// Some groups, and a record for each.
struct Groups<'a, R> {
    taps: &'a Taps<'a, R>,
    first: usize,
    out: &'a mut [R],
}

impl<R: Real> WithSimd for Groups<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut value = 0;
        let mut group = self.first;
        for out in self.out.chunks_exact_mut(RECORD) {
            while group >= self.taps.values[value].1.groups() {
                group -= self.taps.values[value].1.groups();
                value += 1;
            }
            let (x, rows) = self.taps.values[value];
            let range = rows.group(group);
            let is_signal = value % 2 == 1;
            // Both kinds through one copy of the loop: in a small step, code that is not in cache costs more than a sum.
            match if is_signal { self.taps.common_share(range.clone()) } else { Some(R::ONE) } {
                Some(share) => {
                    out[WEIGHT_SQUARES..].fill(R::ZERO);
                    record::measure(simd, OfTaps, rows.elements(x, range), R::ONE / share, out);
                }
                None => self.taps.by_shares(x, rows, range, out),
            }
            if is_signal {
                out[SUM] = R::ZERO;
            }
            group += 1;
        }
    }
}

impl<R: Real> Taps<'_, R> {
    /// The share of these examples, if all have the same and one at all: so it is most often.
    #[inline(always)]
    fn common_share(&self, range: Range<usize>) -> Option<R> {
        let first = self.weights[range.start];
        let same = self.weights[range].iter().fold(first != R::ZERO, |same, &w| same & (w == first));
        same.then_some(first)
    }

    /// The signal of rows of different shares: neighbours of one share are measured in one go.
    #[cold]
    #[inline(never)]
    fn by_shares(&self, x: &[R], rows: Rows, range: Range<usize>, out: &mut [R]) {
        out.fill(R::ZERO);
        let mut from = range.start;
        while from < range.end {
            let share = self.weights[from];
            let same = self.weights[from..range.end].iter().take_while(|&&w| w == share).count();
            // A share that is NaN is equal to nothing, itself neither.
            let to = from + same.max(1);
            if share != R::ZERO {
                let mut run = [R::ZERO; RECORD];
                record::measured(OfTaps, rows.elements(x, from..to), R::ONE / share, &mut run);
                record::combine(out, &run);
            }
            from = to;
        }
    }
}

/// A dispatch of a workgroup to each of `records` records.
fn dispatch(
    entry: &'static str,
    vars: Vec<(&'static str, String)>,
    binds: Vec<Bind>,
    params: Params,
    records: usize,
) -> GpuWork {
    let vars = vars.into_iter().chain([gpu::in_memory()]).collect();
    let shader = Shader { stem: "stats", entry, vars };
    gpu::recording(GpuWork::one(Dispatch { shader, binds, params, workgroups: Dispatch::fold(records) }), 0)
}

/// Records that one thread takes at a time: about 64 Ki elements.
const GROUPS_PER_PART: usize = 16;

impl Op for TapStats {
    fn name(&self) -> &'static str {
        "tap_stats"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &vec![DType::Real; inputs.len()])?;
        let (weights, values) = inputs.split_last().expect("every op has inputs");
        let rows =
            |x: &Type| x.shape.rank() > 0 && !x.shape.is_empty() && weights.shape == Shape::from([x.shape.dim(0)]);
        let layers = values.len() / 2;
        if values.len() % 2 != 0 || !(1..=Self::LAYERS_MAX).contains(&layers) || !values.iter().all(rows) {
            let found: Vec<String> = inputs.iter().map(|ty| ty.shape.to_string()).collect();
            let most = Self::LAYERS_MAX;
            let message =
                format!("expected rows twice for 1 to {most} layers and a weight a row, found {}", found.join(", "));
            return Err(Error::input("tap_stats", message));
        }
        Ok(vec![Type::real([values.iter().map(|x| Self::groups(&x.shape)).sum(), RECORD])])
    }

    answers!(not in place);
    answers!(not differentiable: "it is a measurement");
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], outputs: &[Type]) -> GpuWork {
        const NAMES: [[&str; 3]; VALUES_MAX] = [
            ["width0", "each0", "end0"],
            ["width1", "each1", "end1"],
            ["width2", "each2", "end2"],
            ["width3", "each3", "end3"],
            ["width4", "each4", "end4"],
            ["width5", "each5", "end5"],
        ];
        let values = inputs.len() - 1;
        let mut params = vec![("rows", inputs[values].shape.dim(0).into())];
        let mut end = 0;
        for (input, [width, each, behind]) in inputs.iter().zip(NAMES).take(values) {
            let rows = Rows::of(&input.shape);
            end += rows.groups();
            params.extend([(width, rows.width.into()), (each, rows.each.into()), (behind, end.into())]);
        }
        let binds = (0..inputs.len()).map(Bind::In).chain([Bind::Out(0)]).collect();
        let vars = vec![("values", values.to_string())];
        dispatch("tap_stats", vars, binds, params, outputs[0].shape.dim(0))
    }
}

/// Records of the chunks of a gradient arena; overwritten. Inputs: gradients [chunks·1024], lengths `[chunks]` (how many
/// elements of each chunk are a tensor's); output [chunks, 8]. Made where the norm is needed before the update.
#[derive(Clone, Debug, PartialEq)]
pub struct ChunkStats {
    /// Elements are clamped to ± this before they are measured.
    pub clip_value: Option<f64>,
}

impl ChunkStats {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let (gradients, lengths) = (io.real(0), io.index(1));
        let clip = self.clip_value.map(R::of);
        chunkwise(io, RECORD, |chunk, out| {
            let mut xs = &gradients[chunk * CHUNK..][..lengths[chunk] as usize];
            let mut clipped = [R::ZERO; CHUNK];
            if let Some(limit) = clip {
                clipped.iter_mut().zip(xs).for_each(|(c, &x)| *c = clamp(x, limit));
                xs = &clipped[..xs.len()];
            }
            out.fill(R::ZERO);
            record::measured(OfGradients, xs, R::ONE, out);
        });
    }
}

/// Chunks that one thread takes at a time.
pub(crate) const CHUNKS_PER_PART: usize = 16;

/// Calls `f` with the number of each chunk of an arena and its own `width` numbers of the first output.
pub(crate) fn chunkwise<R: Real>(io: &mut Io<'_, R>, width: usize, f: impl Fn(usize, &mut [R]) + Sync) {
    io.threads.chunks(io.outputs[0], CHUNKS_PER_PART * width, |part, out| {
        for (i, own) in out.chunks_exact_mut(width).enumerate() {
            f(part * CHUNKS_PER_PART + i, own);
        }
    });
}

/// x limited to ± `limit`; NaN stays NaN.
#[inline(always)]
pub(crate) fn clamp<R: Real>(x: R, limit: R) -> R {
    if x > limit {
        limit
    } else if x < -limit {
        -limit
    } else {
        x
    }
}

/// Checks an arena and its table of chunk lengths, and returns how many chunks there are.
pub(crate) fn chunks_of(arena: &Type, lengths: &Type) -> Result<usize> {
    let chunks = arena.shape.len() / CHUNK;
    if arena.shape != Shape::from([chunks * CHUNK]) || lengths.shape != Shape::from([chunks]) {
        let message = format!("expected whole chunks of {CHUNK} and a length for each, found {arena} and {lengths}");
        return Err(Error::input("arena", message));
    }
    Ok(chunks)
}

impl Op for ChunkStats {
    fn name(&self) -> &'static str {
        "chunk_stats"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real, DType::Index])?;
        Ok(vec![Type::real([chunks_of(&inputs[0], &inputs[1])?, RECORD])])
    }

    answers!(not in place);
    answers!(not differentiable: "it is a measurement");
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], _: &[Type]) -> GpuWork {
        let chunks = inputs[1].shape.dim(0);
        let params = vec![("limit", self.clip_value.unwrap_or(f64::from(f32::MAX)).into()), ("chunks", chunks.into())];
        let vars = vec![("clip", u8::from(self.clip_value.is_some()).to_string())];
        dispatch("chunk_stats", vars, vec![Bind::In(0), Bind::In(1), Bind::Out(0)], params, chunks)
    }
}

/// The clip factor from the records of all chunks: `min(1, c / (‖g‖ + 1e-6))`, as `torch.nn.utils.clip_grad_norm_`; and
/// the halt flag, which a non-finite gradient sets for good, unless the loss is scaled. Inputs: records [n, 8], control `[8]` in place; output control.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipFactor {
    /// The largest norm c that passes unchanged; `None` computes norm and flag alone.
    pub max_norm: Option<f64>,
}

impl ClipFactor {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let mut total = [R::ZERO; RECORD];
        for part in io.real(0).chunks(RECORD) {
            record::combine(&mut total, part);
        }
        let norm = total[SQUARES].sqrt() / scale_of(total[MAX]);
        let control = io.out(0);
        control[NORM] = norm;
        if total[NON_FINITE] != R::ZERO && control[SCALING] == R::ZERO {
            control[HALT] = R::ONE;
        }
        control[CLIP] = match self.max_norm {
            Some(limit) => {
                let factor = R::of(limit) / (norm + R::of(1e-6));
                if factor < R::ONE { factor } else { R::ONE }
            }
            None => R::ONE,
        };
    }
}

impl Op for ClipFactor {
    fn name(&self) -> &'static str {
        "clip_factor"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real, DType::Real])?;
        if inputs[0].shape.last() != RECORD || inputs[1].shape != Shape::from([CONTROL]) {
            return Err(Error::input("clip_factor", format!("expected records and control, found {inputs:?}")));
        }
        Ok(vec![inputs[1]])
    }

    fn in_place(&self) -> &[(usize, usize)] {
        &[(0, 1)]
    }

    answers!(not differentiable: "it is a measurement");
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], _: &[Type]) -> GpuWork {
        let records = inputs[0].shape.len() / RECORD;
        let params = vec![("records", records.into()), ("max_norm", self.max_norm.unwrap_or(0.0).into())];
        let vars = vec![("clip", u8::from(self.max_norm.is_some()).to_string())];
        dispatch("clip_factor", vars, vec![Bind::In(0), Bind::Out(0)], params, 1)
    }
}

/// Records folded by segments into the rows of a table. Inputs: records [n, 8], segments [rows, 2] (first record, one past
/// the last), table [rows, 8] in place, control `[8]` in place, and, if `loss`, the loss [] of this micro-batch, which is
/// added to field `SUM` of the last row (field `NON_FINITE` counts losses that are not finite). Outputs: table, control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    /// Whether the table is added to from the second micro-batch on, instead of overwritten.
    pub accumulate: bool,
    /// Whether the loss goes into the last row.
    pub loss: bool,
}

impl Fold {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let (records, segments) = (io.real(0), io.index(1));
        let fresh = !self.accumulate || io.step.micro == 0;
        let loss = self.loss.then(|| io.real(4)[0]);
        let [table, control] = io.outputs else { unreachable!("a table and control") };
        for (row, segment) in table.chunks_exact_mut(RECORD).zip(segments.chunks_exact(2)) {
            let mut parts = &records[segment[0] as usize * RECORD..segment[1] as usize * RECORD];
            if fresh {
                match parts.split_at_checked(RECORD) {
                    Some((first, rest)) => {
                        row.copy_from_slice(first);
                        parts = rest;
                    }
                    None => row.fill(R::ZERO),
                }
            }
            record::combine_all(row, parts);
        }
        if let Some(loss) = loss {
            let last = table.len() - RECORD;
            // The last row's scale is 1: it holds no maximum.
            table[last + SUM] += loss;
            table[last + NON_FINITE] += if loss.is_finite() { R::ZERO } else { R::ONE };
        }
        // With loss scaling overflow is common, but for that of the loss itself.
        let counts =
            if control[SCALING] == R::ZERO { 0 } else { table.len() - if loss.is_some() { RECORD } else { 0 } };
        if table[counts..].chunks(RECORD).any(|row| row[NON_FINITE] != R::ZERO) {
            control[HALT] = R::ONE;
        }
    }
}

impl Op for Fold {
    fn name(&self) -> &'static str {
        "fold"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        let dtypes = [DType::Real, DType::Index, DType::Real, DType::Real, DType::Real];
        expect_dtypes(inputs, &dtypes[..if self.loss { 5 } else { 4 }])?;
        let rows = inputs[1].shape.dim(0);
        let fits = inputs[0].shape.last() == RECORD
            && inputs[1].shape == Shape::from([rows, 2])
            && inputs[2].shape == Shape::from([rows, RECORD])
            && inputs[3].shape == Shape::from([CONTROL])
            && inputs.get(4).is_none_or(|loss| loss.shape.len() == 1);
        if !fits {
            return Err(Error::input("fold", format!("expected records, segments, table, control, found {inputs:?}")));
        }
        Ok(vec![inputs[2], inputs[3]])
    }

    fn in_place(&self) -> &[(usize, usize)] {
        &[(0, 2), (1, 3)]
    }

    answers!(not differentiable: "it is a measurement");
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], _: &[Type]) -> GpuWork {
        let rows = inputs[1].shape.dim(0);
        let flags =
            vec![("accumulate", u8::from(self.accumulate).to_string()), ("loss", u8::from(self.loss).to_string())];
        let loss = self.loss.then_some(Bind::In(4));
        let binds = [Bind::In(0), Bind::In(1)].into_iter().chain(loss).chain([Bind::Out(0), Bind::Out(1)]).collect();
        dispatch("fold", flags, binds, vec![("rows", rows.into())], rows)
    }
}

//! Statistics on the device: records of value rows and of gradient chunks, folded per tensor and layer into one small
//! table, with the clip factor and the halt flag computed there too. See [`super::record`] for what a record holds.

use super::expect_dtypes;
use super::gpu::Params;
use super::record::{self, CHUNK, MAX, NON_FINITE, RECORD, SQUARES, scale_of};
use crate::base::{DType, Error, Real, Result, Shape, Type};
use crate::graph::{Bind, Dispatch, GpuWork, Io, Op, Shader};
use crate::{answers, kernel};

/// The control block: clip factor, halt flag (sticky), global gradient norm, unused.
pub const CONTROL: usize = 4;
/// The position of the clip factor.
pub const CLIP: usize = 0;
/// The position of the halt flag: not 0 once a non-finite value was seen.
pub const HALT: usize = 1;
/// The position of the global gradient norm, where clipping needed it.
pub const NORM: usize = 2;

/// What a tap measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tap {
    /// Activations, over the real rows.
    Forward,
    /// The backpropagated signal of each example's own loss: row i of ∂L/∂z divided by the example's share wᵢ of the loss;
    /// rows with wᵢ = 0 (padding, classes of weight 0) are left out.
    Signal,
}

/// Records of the rows of a value, one for each group of rows; overwritten. Inputs: x [n, …], weights [n]; output
/// [groups, 8].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapStats {
    /// What is measured.
    pub tap: Tap,
}

impl TapStats {
    /// How many rows of this width share a record: about 4096 elements.
    pub fn rows_per_group(width: usize) -> usize {
        (4096 / width.max(1)).max(1)
    }

    /// How many records a value of this shape gives.
    pub fn groups(shape: &Shape) -> usize {
        let rows = shape.dim(0);
        rows.div_ceil(Self::rows_per_group(shape.len() / rows.max(1)))
    }

    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let (x, weights) = (io.real(0), io.real(1));
        let shape = io.input_types[0].shape;
        let width = (shape.len() / shape.dim(0)).max(1);
        let rows = Self::rows_per_group(width);
        let real = io.step.rows as usize;
        let tap = self.tap;
        pulp::Arch::new().dispatch(|| {
            for (group, out) in io.outputs[0].chunks_mut(RECORD).enumerate() {
                out.fill(R::ZERO);
                for row in group * rows..((group + 1) * rows).min(shape.dim(0)) {
                    let factor = match tap {
                        Tap::Forward if row < real => R::ONE,
                        Tap::Signal if weights[row] != R::ZERO => R::ONE / weights[row],
                        _ => continue,
                    };
                    let mut own = [R::ZERO; RECORD];
                    record::measure(&x[row * width..][..width], factor, &mut own);
                    record::combine(out, &own);
                }
            }
        });
    }
}

/// A dispatch of a workgroup to each of `records` records.
fn dispatch(
    entry: &'static str,
    vars: Vec<(&'static str, String)>,
    binds: Vec<Bind>,
    params: Params,
    records: usize,
) -> Dispatch {
    Dispatch { shader: Shader { stem: "stats", entry, vars }, binds, params, workgroups: Dispatch::fold(records) }
}

impl Op for TapStats {
    fn name(&self) -> &'static str {
        "tap_stats"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real, DType::Real])?;
        let (x, weights) = (inputs[0].shape, inputs[1].shape);
        if x.rank() == 0 || x.is_empty() || weights != Shape::from([x.dim(0)]) {
            return Err(Error::input(
                "tap_stats",
                format!("expected rows and a weight for each, found {x} and {weights}"),
            ));
        }
        Ok(vec![Type::real([Self::groups(&x), RECORD])])
    }

    answers!(not in place);
    answers!(not differentiable: "it is a measurement");
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], outputs: &[Type]) -> GpuWork {
        let shape = inputs[0].shape;
        let width = shape.len() / shape.dim(0);
        let (entry, binds) = match self.tap {
            Tap::Forward => ("tap_forward", vec![Bind::In(0), Bind::Out(0)]),
            Tap::Signal => ("tap_signal", vec![Bind::In(0), Bind::In(1), Bind::Out(0)]),
        };
        let params =
            vec![("rows", shape.dim(0).into()), ("width", width.into()), ("group", Self::rows_per_group(width).into())];
        GpuWork::one(dispatch(entry, vec![], binds, params, outputs[0].shape.dim(0)))
    }
}

/// Records of the chunks of a gradient arena; overwritten. Inputs: gradients [chunks·1024], lengths [chunks] (how many
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
        let arch = pulp::Arch::new();
        let each = CHUNKS_PER_PART * RECORD;
        io.threads.chunks(io.outputs[0], each, |part, out| {
            arch.dispatch(|| {
                for (i, out) in out.chunks_mut(RECORD).enumerate() {
                    let chunk = part * CHUNKS_PER_PART + i;
                    let xs = &gradients[chunk * CHUNK..][..lengths[chunk] as usize];
                    out.fill(R::ZERO);
                    match clip {
                        None => record::measure(xs, R::ONE, out),
                        Some(limit) => {
                            let mut clipped = [R::ZERO; CHUNK];
                            clipped.iter_mut().zip(xs).for_each(|(c, &x)| *c = clamp(x, limit));
                            record::measure(&clipped[..xs.len()], R::ONE, out);
                        }
                    }
                }
            });
        });
    }
}

/// Chunks that one thread takes at a time.
pub(crate) const CHUNKS_PER_PART: usize = 16;

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
        GpuWork::one(dispatch("chunk_stats", vars, vec![Bind::In(0), Bind::In(1), Bind::Out(0)], params, chunks))
    }
}

/// The clip factor from the records of all chunks: `min(1, c / (‖g‖ + 1e-6))`, as `torch.nn.utils.clip_grad_norm_`; and
/// the halt flag, which a non-finite gradient sets for good. Inputs: records [n, 8], control [4] in place; output control.
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
        if total[NON_FINITE] != R::ZERO {
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
        GpuWork::one(dispatch("clip_factor", vars, vec![Bind::In(0), Bind::Out(0)], params, 1))
    }
}

/// Records folded by segments into the rows of a table. Inputs: records [n, 8], segments [rows, 2] (first record, one past
/// the last), table [rows, 8] in place, control [4] in place, and, if `loss`, the loss [] of this micro-batch, which is
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
        for (row, segment) in table.chunks_mut(RECORD).zip(segments.chunks(2)) {
            if fresh {
                row.fill(R::ZERO);
            }
            for part in records[segment[0] as usize * RECORD..segment[1] as usize * RECORD].chunks(RECORD) {
                record::combine(row, part);
            }
        }
        if let Some(loss) = loss {
            let last = table.len() - RECORD;
            // The last row's scale is 1: it holds no maximum.
            table[last + record::SUM] += loss;
            table[last + NON_FINITE] += if loss.is_finite() { R::ZERO } else { R::ONE };
        }
        if table.chunks(RECORD).any(|row| row[NON_FINITE] != R::ZERO) {
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
        let params = vec![("rows", rows.into())];
        let binds = vec![Bind::In(0), Bind::In(1), Bind::Out(0)];
        let fold = dispatch("fold_rows", flags.clone(), binds, params.clone(), rows);
        let mut binds = vec![Bind::Out(0), Bind::Out(1)];
        if self.loss {
            binds.insert(0, Bind::In(4));
        }
        // The flag and the loss wait for all rows, so they are a dispatch of their own.
        let end = dispatch("fold_end", flags, binds, params, 1);
        GpuWork { scratch: Vec::new(), dispatches: vec![fold, end] }
    }
}

//! Losses of each example, `[n]`: weights and the mean over the batch come after. Softmax and cross-entropy are one op,
//! since ln softmax is stable where its parts are not; the other losses are elementwise programs.

use super::softmax::{RowExps, rows_per_part};
use super::{expect_dtypes, gpu};
use crate::base::{DType, Error, Real, Result, Shape, Type, Wide, arch};
use crate::graph::{Bind, Derivative, GpuWork, Graph, Io, NodeView, Op, Scalar, ValueId};
use crate::{answers, kernel};
use pulp::{Simd, WithSimd};

/// `ℓᵢ = −Σ_c q_ic ln softmax(zᵢ)_c` with q = (1 − ε)·one-hot + ε/classes (Szegedy et al. 2016), overwritten.
/// Inputs: logits [n, c], targets `[n]` of indices below c; output `[n]`.
#[derive(Clone, Debug, PartialEq)]
pub struct SoftmaxCrossEntropy {
    /// Label smoothing ε in [0, 1].
    pub smoothing: f64,
}

/// Its derivative: `dzᵢ = dℓᵢ (softmax(zᵢ) − qᵢ)`, overwritten; tiny exponentials ([`Real::TINY`]) give no signal.
/// Inputs: logits [n, c], targets `[n]`, dℓ `[n]`; output [n, c].
#[derive(Clone, Debug, PartialEq)]
pub struct SoftmaxCrossEntropyGrad {
    /// Label smoothing ε in [0, 1].
    pub smoothing: f64,
}

fn logits_and_targets(inputs: &[Type]) -> Result<(usize, usize)> {
    let (logits, targets) = (inputs[0].shape, inputs[1].shape);
    if logits.rank() != 2 || targets != Shape::from([logits.dim(0)]) || logits.dim(1) == 0 {
        let message = format!("expected logits [n, classes] and targets [n], found {logits} and {targets}");
        return Err(Error::input("softmax_cross_entropy", message));
    }
    Ok((logits.dim(0), logits.dim(1)))
}

/// The smoothed target distribution q [n, c].
fn target_distribution(g: &mut Graph, targets: ValueId, classes: usize, smoothing: f64) -> Result<ValueId> {
    let hot = g.one_hot(targets, classes)?;
    let sharp = g.scale(hot, 1.0 - smoothing)?;
    g.add_scalar(sharp, smoothing / classes as f64)
}

/// The weights of the target and of every class as parameters of the shader.
fn smoothed(smoothing: f64, logits: &Shape) -> [(&'static str, Scalar); 2] {
    [("sharp", (1.0 - smoothing).into()), ("base", (smoothing / logits.dim(1) as f64).into())]
}

impl Op for SoftmaxCrossEntropy {
    fn name(&self) -> &'static str {
        "softmax_cross_entropy"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real, DType::Index])?;
        let (n, _) = logits_and_targets(inputs)?;
        Ok(vec![Type::real([n])])
    }

    fn derivative(&self, g: &mut Graph, node: NodeView<'_>, grads: &[Option<ValueId>]) -> Result<Derivative> {
        let Some(dy) = grads[0] else { return Ok(Derivative::Inputs(vec![None, None])) };
        let shape = Shape::from([g.shape(node.inputs[0]).dim(0)]);
        let dy = g.expand(dy, shape)?;
        let grad = SoftmaxCrossEntropyGrad { smoothing: self.smoothing };
        Ok(Derivative::Inputs(vec![Some(g.apply(grad, &[node.inputs[0], node.inputs[1], dy])?), None]))
    }

    fn composition(&self, g: &mut Graph, inputs: &[ValueId]) -> Option<Result<ValueId>> {
        Some((|| {
            let shape = g.shape(inputs[0]);
            let q = target_distribution(g, inputs[1], shape.dim(1), self.smoothing)?;
            let p = g.softmax(inputs[0])?;
            let log = g.log(p)?;
            let terms = g.mul(q, log)?;
            let sum = g.sum_axes(terms, &[1])?;
            let sum = g.reshape(sum, [shape.dim(0)])?;
            g.neg(sum)
        })())
    }

    answers!(not in place);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], _: &[Type]) -> GpuWork {
        let binds = [Bind::In(0), Bind::In(1), Bind::Out(0)];
        gpu::by_rows("loss", "cross_entropy", &binds, &inputs[0].shape, &smoothed(self.smoothing, &inputs[0].shape))
    }
}

impl SoftmaxCrossEntropy {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let classes = io.input_types[0].shape.dim(1);
        let (logits, targets, each) = (io.real(0), io.index(1), rows_per_part(classes));
        let (smooth, sharp) = (R::of(self.smoothing / classes as f64), R::of(1.0 - self.smoothing));
        io.threads.chunks(io.outputs[0], each, |part, out| {
            let (first, rows) = (part * each, out.len());
            let logits = &logits[first * classes..][..rows * classes];
            arch().dispatch(Losses { logits, targets: &targets[first..][..rows], smooth, sharp, out });
        });
    }
}

/// Rows whose logarithms are taken together.
const TOGETHER: usize = 64;

/// Losses of some rows: ln Σ exp(z − max z) + Σ q (max z − z).
struct Losses<'a, R> {
    logits: &'a [R],
    targets: &'a [u32],
    /// q of every class, and what the target has more.
    smooth: R,
    sharp: R,
    out: &'a mut [R],
}

impl<R: Real> WithSimd for Losses<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { logits, targets, smooth, sharp, out } = self;
        let classes = logits.len() / targets.len();
        let (exps, lanes) = (RowExps::new(simd, classes), Wide::<S, R>::lanes());
        let rows = logits.chunks(TOGETHER * classes).zip(targets.chunks(TOGETHER));
        for ((logits, targets), out) in rows.zip(out.chunks_mut(TOGETHER)) {
            let mut distances = [R::ZERO; TOGETHER];
            let distances = &mut distances[..out.len()];
            let rows = logits.chunks_exact(classes).zip(targets);
            for ((z, &target), (distance, out)) in rows.zip(distances.iter_mut().zip(&mut *out)) {
                let (max, sum) = exps.sum(z);
                *distance = sharp * (max - z[target as usize]);
                if smooth != R::ZERO {
                    *distance += smooth * z.iter().fold(R::ZERO, |total, &z| total + (max - z));
                }
                *out = sum;
            }
            for (out, distances) in out.chunks_mut(lanes).zip(distances.chunks(lanes)) {
                (Wide::load(simd, out).ln() + Wide::load(simd, distances)).store(out);
            }
        }
    }
}

impl Op for SoftmaxCrossEntropyGrad {
    fn name(&self) -> &'static str {
        "softmax_cross_entropy_grad"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real, DType::Index, DType::Real])?;
        let (n, _) = logits_and_targets(inputs)?;
        if inputs[2].shape != Shape::from([n]) {
            return Err(Error::input(self.name(), format!("expected dℓ [{n}], found {}", inputs[2].shape)));
        }
        Ok(vec![inputs[0]])
    }

    fn derivative(&self, _: &mut Graph, _: NodeView<'_>, _: &[Option<ValueId>]) -> Result<Derivative> {
        Ok(Derivative::OfComposition)
    }

    fn composition(&self, g: &mut Graph, inputs: &[ValueId]) -> Option<Result<ValueId>> {
        Some((|| {
            let shape = g.shape(inputs[0]);
            let q = target_distribution(g, inputs[1], shape.dim(1), self.smoothing)?;
            let p = g.softmax(inputs[0])?;
            let difference = g.sub(p, q)?;
            let dl = g.reshape(inputs[2], [shape.dim(0), 1])?;
            g.mul(difference, dl)
        })())
    }

    answers!(not in place);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], _: &[Type]) -> GpuWork {
        let binds = [Bind::In(0), Bind::In(1), Bind::In(2), Bind::Out(0)];
        let params = smoothed(self.smoothing, &inputs[0].shape);
        gpu::by_rows("loss", "cross_entropy_grad", &binds, &inputs[0].shape, &params)
    }
}

impl SoftmaxCrossEntropyGrad {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let classes = io.input_types[0].shape.dim(1);
        let (logits, targets, dl, each) = (io.real(0), io.index(1), io.real(2), rows_per_part(classes));
        let (smooth, sharp) = (R::of(self.smoothing / classes as f64), R::of(1.0 - self.smoothing));
        io.threads.chunks(io.outputs[0], each * classes, |part, out| {
            let (first, rows) = (part * each, out.len() / classes);
            let logits = &logits[first * classes..][..rows * classes];
            let (targets, dl) = (&targets[first..][..rows], &dl[first..][..rows]);
            arch().dispatch(Gradients { logits, targets, dl, smooth, sharp, out });
        });
    }
}

/// Gradients of some rows.
struct Gradients<'a, R> {
    logits: &'a [R],
    targets: &'a [u32],
    dl: &'a [R],
    /// q of every class, and what the target has more.
    smooth: R,
    sharp: R,
    out: &'a mut [R],
}

impl<R: Real> WithSimd for Gradients<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let classes = self.logits.len() / self.targets.len();
        let splat = |x| Wide::splat(simd, x);
        let (hot, cold, tiny) = (splat(self.sharp + self.smooth), splat(self.smooth), splat(R::TINY));
        let (exps, columns) = (RowExps::new(simd, classes), Wide::indices(simd));
        let rows = self.logits.chunks_exact(classes).zip(self.targets).zip(self.dl);
        for (((z, &target), &dl), out) in rows.zip(self.out.chunks_exact_mut(classes)) {
            let found = exps.of(z, out);
            let (factor, dl) = (splat(R::ONE / found.sum), splat(dl));
            exps.map(
                &found,
                out,
                #[inline(always)]
                |exps, from| {
                    // Exact in every precision: no logits have 2²⁴ columns.
                    let target = splat(R::of(f64::from(target) - from as f64));
                    dl * (exps.zero_below(tiny) * factor - columns.where_equal(target, hot, cold))
                },
            );
        }
    }
}

/// Losses of each example.
impl Graph {
    /// Softmax cross-entropy of logits `[n, c]` and class indices `[n]`: `[n]`. See [`SoftmaxCrossEntropy`].
    pub fn softmax_cross_entropy(&mut self, logits: ValueId, targets: ValueId, smoothing: f64) -> Result<ValueId> {
        self.apply(SoftmaxCrossEntropy { smoothing }, &[logits, targets])
    }

    /// Binary cross-entropy of logits z and targets t in [0, 1], elementwise: t·ln(1 + e⁻ᶻ) + (1 − t)·ln(1 + eᶻ).
    pub fn bce_with_logits(&mut self, z: ValueId, t: ValueId) -> Result<ValueId> {
        // Nothing cancels: a label that is met with confidence keeps its small loss and its small gradient, where
        // ln(1 + eᶻ) − z·t would give 0 for both.
        let minus = self.neg(z)?;
        let (miss, alarm) = (self.softplus(minus)?, self.softplus(z)?);
        let rest = self.scalar_sub(1.0, t)?;
        let (miss, alarm) = (self.mul(t, miss)?, self.mul(rest, alarm)?);
        self.add(miss, alarm)
    }

    /// (x − t)², elementwise.
    pub fn squared_error(&mut self, x: ValueId, t: ValueId) -> Result<ValueId> {
        let error = self.sub(x, t)?;
        self.mul(error, error)
    }

    /// Huber's loss, elementwise: ½e² where |e| < δ, else δ(|e| − ½δ) (Huber 1964).
    pub fn huber(&mut self, x: ValueId, t: ValueId, delta: f64) -> Result<ValueId> {
        let error = self.sub(x, t)?;
        let (low, high) = (self.constant(-delta), self.constant(delta));
        let near = self.minimum(error, high)?;
        let near = self.maximum(near, low)?;
        // near·(e − ½near) is ½e² inside and δ(|e| − ½δ) outside, without the kink of |e| at 0.
        let half = self.scale(near, 0.5)?;
        let rest = self.sub(error, half)?;
        self.mul(near, rest)
    }
}

//! Layer normalization over the last axis (Ba, Kiros, Hinton 2016): `y = (x − mean x) / √(var x + ε)`, overwritten, with
//! the biased variance. Scale and shift are elementwise ops behind it.

use super::reduce::row_sum;
use super::{expect_dtypes, gpu};
use crate::base::{DType, Error, Real, Result, Type};
use crate::graph::{Bind, Derivative, GpuWork, Graph, Io, NodeView, Op, ValueId};
use crate::{answers, kernel};

/// Layer normalization over the last axis.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNorm {
    /// What is added to the variance.
    pub epsilon: f64,
}

/// Its derivative: `dx = (dy − mean dy − y·mean(dy·y)) / √(var x + ε)`, overwritten. Inputs: x, dy; output as x.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNormGrad {
    /// What is added to the variance.
    pub epsilon: f64,
}

/// The mean of a row and 1/√(variance + ε).
#[inline(always)]
fn moments<R: Real>(x: &[R], centred: &mut [R], epsilon: R) -> (R, R) {
    let n = R::of(x.len() as f64);
    let mean = row_sum(x) / n;
    for (c, &x) in centred.iter_mut().zip(x) {
        *c = (x - mean) * (x - mean);
    }
    (mean, R::ONE / (row_sum(centred) / n + epsilon).sqrt())
}

/// y and 1/√(variance + ε) as a graph.
fn normalized(g: &mut Graph, x: ValueId, epsilon: f64) -> Result<(ValueId, ValueId)> {
    let axis = [g.shape(x).rank() - 1];
    let mean = g.mean_axes(x, &axis)?;
    let centred = g.sub(x, mean)?;
    let square = g.mul(centred, centred)?;
    let variance = g.mean_axes(square, &axis)?;
    let shifted = g.add_scalar(variance, epsilon)?;
    let inverse = g.pow(shifted, -0.5)?;
    Ok((g.mul(centred, inverse)?, inverse))
}

impl Op for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real])?;
        if inputs[0].shape.rank() == 0 || inputs[0].shape.last() == 0 {
            return Err(Error::input("layer_norm", format!("{} has no last axis to normalize", inputs[0].shape)));
        }
        Ok(vec![inputs[0]])
    }

    fn derivative(&self, g: &mut Graph, node: NodeView<'_>, grads: &[Option<ValueId>]) -> Result<Derivative> {
        let Some(dy) = grads[0] else { return Ok(Derivative::Inputs(vec![None])) };
        let dy = g.expand(dy, g.shape(node.inputs[0]))?;
        let grad = LayerNormGrad { epsilon: self.epsilon };
        Ok(Derivative::Inputs(vec![Some(g.apply(grad, &[node.inputs[0], dy])?)]))
    }

    fn composition(&self, g: &mut Graph, inputs: &[ValueId]) -> Option<Result<ValueId>> {
        Some(normalized(g, inputs[0], self.epsilon).map(|(y, _)| y))
    }

    answers!(not in place);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], _: &[Type]) -> GpuWork {
        let params = [("epsilon", self.epsilon.into())];
        gpu::by_rows("norm", "layer_norm", &[Bind::In(0), Bind::Out(0)], &inputs[0].shape, &params)
    }
}

impl LayerNorm {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let width = io.input_types[0].shape.last();
        let x = io.real(0);
        for (x, out) in x.chunks(width).zip(io.out(0).chunks_mut(width)) {
            let (mean, inverse) = moments(x, out, R::of(self.epsilon));
            for (o, &x) in out.iter_mut().zip(x) {
                *o = (x - mean) * inverse;
            }
        }
    }
}

impl Op for LayerNormGrad {
    fn name(&self) -> &'static str {
        "layer_norm_grad"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real, DType::Real])?;
        if inputs[0] != inputs[1] {
            return Err(Error::input(self.name(), format!("x is {} and dy {}", inputs[0].shape, inputs[1].shape)));
        }
        Ok(vec![inputs[0]])
    }

    fn derivative(&self, _: &mut Graph, _: NodeView<'_>, _: &[Option<ValueId>]) -> Result<Derivative> {
        Ok(Derivative::OfComposition)
    }

    fn composition(&self, g: &mut Graph, inputs: &[ValueId]) -> Option<Result<ValueId>> {
        Some((|| {
            let axis = [g.shape(inputs[0]).rank() - 1];
            let (y, inverse) = normalized(g, inputs[0], self.epsilon)?;
            let mean = g.mean_axes(inputs[1], &axis)?;
            let weighted = g.mul(inputs[1], y)?;
            let share = g.mean_axes(weighted, &axis)?;
            let along = g.mul(y, share)?;
            let centred = g.sub(inputs[1], mean)?;
            let rest = g.sub(centred, along)?;
            g.mul(rest, inverse)
        })())
    }

    answers!(not in place);

    fn scratch(&self, inputs: &[Type], _: usize) -> usize {
        inputs[0].shape.last()
    }

    kernel!(run);

    fn gpu(&self, inputs: &[Type], _: &[Type]) -> GpuWork {
        let params = [("epsilon", self.epsilon.into())];
        gpu::by_rows("norm", "layer_norm_grad", &[Bind::In(0), Bind::In(1), Bind::Out(0)], &inputs[0].shape, &params)
    }
}

impl LayerNormGrad {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let width = io.input_types[0].shape.last();
        let n = R::of(width as f64);
        let (x, dy) = (io.real(0), io.real(1));
        let y = &mut io.scratch[..width];
        for ((x, dy), out) in x.chunks(width).zip(dy.chunks(width)).zip(io.outputs[0].chunks_mut(width)) {
            let (mean, inverse) = moments(x, out, R::of(self.epsilon));
            for ((y, &x), (o, &dy)) in y.iter_mut().zip(x).zip(out.iter_mut().zip(dy)) {
                *y = (x - mean) * inverse;
                *o = dy * *y;
            }
            let share = row_sum(out) / n;
            let mean = row_sum(dy) / n;
            for ((o, &y), &dy) in out.iter_mut().zip(y.iter()).zip(dy) {
                *o = (dy - mean - y * share) * inverse;
            }
        }
    }
}

impl Graph {
    /// Layer normalization over the last axis, without scale and shift.
    pub fn layer_norm(&mut self, x: ValueId, epsilon: f64) -> Result<ValueId> {
        self.apply(LayerNorm { epsilon }, &[x])
    }
}

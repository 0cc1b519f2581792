//! Softmax over the last axis: `y = exp(x − max x) / Σ exp(x − max x)`, overwritten.

use super::reduce::row_sum;
use super::{expect_dtypes, gpu};
use crate::base::{DType, Error, Real, Result, Type};
use crate::graph::{Bind, Derivative, GpuWork, Graph, Io, NodeView, Op, ValueId};
use crate::{answers, kernel};

/// Softmax over the last axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Softmax;

/// Fills `out` with exp(x − max x) and returns (max x, the sum of `out`).
#[inline(always)]
pub(crate) fn exp_shifted<R: Real>(x: &[R], out: &mut [R]) -> (R, R) {
    let max = x.iter().fold(x[0], |max, &x| if x > max { x } else { max });
    for (o, &x) in out.iter_mut().zip(x) {
        *o = (x - max).exp();
    }
    (max, row_sum(out))
}

impl Op for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real])?;
        if inputs[0].shape.rank() == 0 || inputs[0].shape.last() == 0 {
            return Err(Error::input("softmax", format!("{} has no last axis to normalize", inputs[0].shape)));
        }
        Ok(vec![inputs[0]])
    }

    fn derivative(&self, g: &mut Graph, node: NodeView<'_>, grads: &[Option<ValueId>]) -> Result<Derivative> {
        let Some(dy) = grads[0] else { return Ok(Derivative::Inputs(vec![None])) };
        let y = node.outputs[0];
        let weighted = g.mul(dy, y)?;
        let mean = g.sum_axes(weighted, &[g.shape(y).rank() - 1])?;
        let centred = g.sub(dy, mean)?;
        Ok(Derivative::Inputs(vec![Some(g.mul(y, centred)?)]))
    }

    fn composition(&self, g: &mut Graph, inputs: &[ValueId]) -> Option<Result<ValueId>> {
        Some((|| {
            let exp = g.exp(inputs[0])?;
            let sum = g.sum_axes(exp, &[g.shape(exp).rank() - 1])?;
            g.div(exp, sum)
        })())
    }

    answers!(not in place);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], _: &[Type]) -> GpuWork {
        gpu::by_rows("softmax", "softmax", &[Bind::In(0), Bind::Out(0)], &inputs[0].shape, &[])
    }
}

impl Softmax {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let width = io.input_types[0].shape.last();
        let x = io.real(0);
        for (x, out) in x.chunks(width).zip(io.out(0).chunks_mut(width)) {
            let (_, sum) = exp_shifted(x, out);
            out.iter_mut().for_each(|o| *o = *o / sum);
        }
    }
}

impl Graph {
    /// Softmax over the last axis.
    pub fn softmax(&mut self, x: ValueId) -> Result<ValueId> {
        self.apply(Softmax, &[x])
    }
}

//! Dropout (Srivastava et al. 2014), inverted: `y = x·mask/(1 − p)`, overwritten. The mask is not stored: the derivative
//! draws it again. Random bits are keyed by (seed and layer, step, the example's position in the logical batch, element),
//! the same integers on every executor and for every micro-batch size.

use super::{expect_dtypes, gpu};
use crate::base::{DType, Error, Real, Result, Type, threefry2x32, unit_f32};
use crate::graph::{Bind, Derivative, GpuWork, Graph, Io, NodeView, Op, Shader, ValueId};
use crate::{answers, kernel};

/// Dropout of single elements; the first axis is the batch. It is linear in x, so its derivative is the same op on dy.
#[derive(Clone, Debug, PartialEq)]
pub struct Dropout {
    /// The probability p in [0, 1) with which an element becomes 0.
    pub p: f64,
    /// The key of the layer's random stream.
    pub key: [u32; 2],
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real])?;
        if inputs[0].shape.rank() == 0 || !(0.0..1.0).contains(&self.p) {
            return Err(Error::input(
                "dropout",
                format!("p = {} on {}: expected 0 ≤ p < 1 and rows", self.p, inputs[0].shape),
            ));
        }
        Ok(vec![inputs[0]])
    }

    fn derivative(&self, g: &mut Graph, node: NodeView<'_>, grads: &[Option<ValueId>]) -> Result<Derivative> {
        let Some(dy) = grads[0] else { return Ok(Derivative::Inputs(vec![None])) };
        let dy = g.expand(dy, g.shape(node.inputs[0]))?;
        Ok(Derivative::Inputs(vec![Some(g.apply(self.clone(), &[dy])?)]))
    }

    answers!(not in place);
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], _: &[Type]) -> GpuWork {
        let shape = inputs[0].shape;
        if shape.is_empty() {
            return GpuWork::default();
        }
        let (rows, width) = (shape.dim(0), shape.len() / shape.dim(0));
        let params = vec![
            ("rows", rows.into()),
            ("width", width.into()),
            ("key0", self.key[0].into()),
            ("key1", self.key[1].into()),
            ("p", self.p.into()),
            ("keep", (1.0 / (1.0 - self.p)).into()),
        ];
        gpu::threads(
            Shader::plain("dropout", "dropout"),
            vec![Bind::In(0), Bind::Out(0)],
            params,
            rows * width.div_ceil(2),
        )
    }
}

impl Dropout {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let shape = io.input_types[0].shape;
        let width = (shape.len() / shape.dim(0).max(1)).max(1);
        let key = threefry2x32(self.key, [io.step.step, 0]);
        let (p, keep) = (self.p as f32, R::ONE / R::of(1.0 - self.p));
        let first = io.step.first_row;
        let x = io.real(0);
        for (row, (x, out)) in x.chunks(width).zip(io.out(0).chunks_mut(width)).enumerate() {
            let position = first.wrapping_add(row as u32);
            // One draw serves two neighbouring elements.
            for (pair, (x, out)) in x.chunks(2).zip(out.chunks_mut(2)).enumerate() {
                let words = threefry2x32(key, [position, pair as u32]);
                for ((o, &x), word) in out.iter_mut().zip(x).zip(words) {
                    *o = if unit_f32(word) >= p { x * keep } else { R::ZERO };
                }
            }
        }
    }
}

impl Graph {
    /// Dropout with probability `p`, its random bits drawn from the stream with this key.
    pub fn dropout(&mut self, x: ValueId, p: f64, key: [u32; 2]) -> Result<ValueId> {
        if p == 0.0 { Ok(x) } else { self.apply(Dropout { p, key }, &[x]) }
    }
}

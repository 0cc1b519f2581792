//! Rows picked by index, and the two transposes of that: rows added up by index, and one-hot rows.

use super::{expect_dtypes, gpu};
use crate::base::{DType, Error, Real, Result, Shape, Type};
use crate::graph::{Bind, Derivative, GpuWork, Graph, Io, NodeView, Op, Scalar, Shader, ValueId};
use crate::{answers, kernel};

/// `y[i, :] = x[index[i], :]`, overwritten. Inputs: x [n, d], index `[m]`; output [m, d].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatherRows;

/// `y[r, :] = Σ x[i, :]` over the i with `index[i] = r`, in the order of i; overwritten. Inputs: x [m, d], index `[m]`;
/// output [rows, d].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScatterAddRows {
    /// How many rows the output has.
    pub rows: usize,
}

/// `y[i, c] = 1` where `index[i] = c`, else 0; overwritten. Input: index `[n]`; output [n, classes].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneHot {
    /// How many classes.
    pub classes: usize,
}

fn rows_and_index(inputs: &[Type]) -> Result<(Shape, usize)> {
    expect_dtypes(inputs, &[DType::Real, DType::Index])?;
    let (x, index) = (inputs[0].shape, inputs[1].shape);
    if x.rank() != 2 || index.rank() != 1 {
        return Err(Error::input("rows", format!("expected a matrix and a vector of indices, found {x} and {index}")));
    }
    Ok((x, index.dim(0)))
}

/// A thread for each element of an output of rows.
fn by_element(entry: &'static str, binds: &[Bind], out: &Shape, more: Option<(&'static str, Scalar)>) -> GpuWork {
    let mut params = vec![("len", out.len().into()), ("width", out.dim(1).into())];
    params.extend(more);
    gpu::elementwise(Shader::plain("gather", entry), binds.to_vec(), params)
}

impl Op for GatherRows {
    fn name(&self) -> &'static str {
        "gather_rows"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        let (x, m) = rows_and_index(inputs)?;
        Ok(vec![Type::real([m, x.dim(1)])])
    }

    fn derivative(&self, g: &mut Graph, node: NodeView<'_>, grads: &[Option<ValueId>]) -> Result<Derivative> {
        let Some(dy) = grads[0] else { return Ok(Derivative::Inputs(vec![None, None])) };
        let rows = g.shape(node.inputs[0]).dim(0);
        Ok(Derivative::Inputs(vec![Some(g.apply(ScatterAddRows { rows }, &[dy, node.inputs[1]])?), None]))
    }

    answers!(not in place);
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], outputs: &[Type]) -> GpuWork {
        let rows = ("rows", inputs[0].shape.dim(0).into());
        by_element("gather_rows", &[Bind::In(0), Bind::In(1), Bind::Out(0)], &outputs[0].shape, Some(rows))
    }
}

impl GatherRows {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let width = io.output_types[0].shape.dim(1);
        let (x, index) = (io.real(0), io.index(1));
        for (out, &row) in io.out(0).chunks_mut(width.max(1)).zip(index) {
            out.copy_from_slice(&x[row as usize * width..][..width]);
        }
    }
}

impl Op for ScatterAddRows {
    fn name(&self) -> &'static str {
        "scatter_add_rows"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        let (x, m) = rows_and_index(inputs)?;
        if x.dim(0) != m {
            return Err(Error::input("scatter_add_rows", format!("{m} indices for {} rows", x.dim(0))));
        }
        Ok(vec![Type::real([self.rows, x.dim(1)])])
    }

    fn derivative(&self, g: &mut Graph, node: NodeView<'_>, grads: &[Option<ValueId>]) -> Result<Derivative> {
        let Some(dy) = grads[0] else { return Ok(Derivative::Inputs(vec![None, None])) };
        Ok(Derivative::Inputs(vec![Some(g.gather_rows(dy, node.inputs[1])?), None]))
    }

    answers!(not in place);
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], outputs: &[Type]) -> GpuWork {
        let count = ("count", inputs[1].shape.dim(0).into());
        by_element("scatter_add_rows", &[Bind::In(0), Bind::In(1), Bind::Out(0)], &outputs[0].shape, Some(count))
    }
}

impl ScatterAddRows {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let width = io.output_types[0].shape.dim(1).max(1);
        let (x, index) = (io.real(0), io.index(1));
        let out = io.out(0);
        out.fill(R::ZERO);
        for (x, &row) in x.chunks(width).zip(index) {
            for (o, &x) in out[row as usize * width..][..width].iter_mut().zip(x) {
                *o += x;
            }
        }
    }
}

impl Op for OneHot {
    fn name(&self) -> &'static str {
        "one_hot"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Index])?;
        if inputs[0].shape.rank() != 1 {
            return Err(Error::input("one_hot", format!("expected a vector of indices, found {}", inputs[0].shape)));
        }
        Ok(vec![Type::real([inputs[0].shape.dim(0), self.classes])])
    }

    fn derivative(&self, _: &mut Graph, _: NodeView<'_>, _: &[Option<ValueId>]) -> Result<Derivative> {
        Ok(Derivative::Inputs(vec![None]))
    }

    answers!(not in place);
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, _: &[Type], outputs: &[Type]) -> GpuWork {
        by_element("one_hot", &[Bind::In(0), Bind::Out(0)], &outputs[0].shape, None)
    }
}

impl OneHot {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let index = io.index(0);
        for (out, &class) in io.out(0).chunks_mut(self.classes.max(1)).zip(index) {
            out.fill(R::ZERO);
            out[class as usize] = R::ONE;
        }
    }
}

/// Rows by index.
impl Graph {
    /// The rows of `x` [n, d] that `index` `[m]` names: [m, d].
    pub fn gather_rows(&mut self, x: ValueId, index: ValueId) -> Result<ValueId> {
        self.apply(GatherRows, &[x, index])
    }

    /// One-hot rows [n, classes] of `index` `[n]`.
    pub fn one_hot(&mut self, index: ValueId, classes: usize) -> Result<ValueId> {
        self.apply(OneHot { classes }, &[index])
    }
}

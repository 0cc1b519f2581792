//! Ops that move elements: reshape, transpose, slice, pad, concatenation. Every output is overwritten.

use super::{around, expect_dtypes, gpu};
use crate::base::{DType, Error, Real, Result, Shape, Type};
use crate::graph::{Bind, Derivative, GpuWork, Graph, Io, NodeView, Op, Shader, ValueId};
use crate::{answers, kernel};

/// The same elements under another shape. A plan makes it a view, without a copy, where it can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reshape {
    /// The new shape.
    pub to: Shape,
}

/// Axes in another order: axis i of the output is axis `order[i]` of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transpose {
    /// Which input axis each output axis is.
    pub order: Vec<usize>,
}

/// The elements `start..start + len` along an axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Along which axis.
    pub axis: usize,
    /// From where.
    pub start: usize,
    /// How many.
    pub len: usize,
}

/// Zeros before and after along an axis: the transpose of [`Slice`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pad {
    /// Along which axis.
    pub axis: usize,
    /// How many zeros before.
    pub before: usize,
    /// How many zeros after.
    pub after: usize,
}

/// Two values, one behind the other along an axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concat {
    /// Along which axis.
    pub axis: usize,
}

/// The copy `out[c] = x[start + Σ c·stride]` over the axes of `shape`, which has as many elements as the output.
fn strided(shape: &Shape, start: usize, strides: &[usize; Shape::MAX_RANK], outputs: &[Type]) -> GpuWork {
    let axes = gpu::Axes::merged(shape, &[*strides]);
    let mut params = vec![("len", outputs[0].shape.len().into()), ("start", start.into())];
    axes.push_dims(&mut params);
    axes.push_strides(0, 0, &mut params);
    let shader = Shader { stem: "layout", entry: "strided", vars: vec![("rank", axes.rank().to_string())] };
    gpu::elementwise(shader, vec![Bind::In(0), Bind::Out(0)], params)
}

impl Op for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        // Of half precision it is a view, or none: there is no kernel that copies it.
        expect_dtypes(
            inputs,
            &[if inputs.first().is_some_and(|ty| ty.dtype == DType::Half) { DType::Half } else { DType::Real }],
        )?;
        let from = inputs[0].shape;
        if from.len() != self.to.len() {
            return Err(Error::input(
                "reshape",
                format!("{from} has {} elements, {} has {}", from.len(), self.to, self.to.len()),
            ));
        }
        Ok(vec![Type { dtype: inputs[0].dtype, shape: self.to }])
    }

    fn derivative(&self, g: &mut Graph, node: NodeView<'_>, grads: &[Option<ValueId>]) -> Result<Derivative> {
        let Some(dy) = grads[0] else { return Ok(Derivative::Inputs(vec![None])) };
        let dx = match g.constant_of(dy) {
            Some(_) => dy,
            None => g.reshape(dy, g.shape(node.inputs[0]))?,
        };
        Ok(Derivative::Inputs(vec![Some(dx)]))
    }

    answers!(not in place);
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], outputs: &[Type]) -> GpuWork {
        strided(&inputs[0].shape, 0, &inputs[0].shape.strides(), outputs)
    }
}

impl Reshape {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let x = io.real(0);
        io.out(0).copy_from_slice(x);
    }
}

impl Op for Transpose {
    fn name(&self) -> &'static str {
        "transpose"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real])?;
        let from = inputs[0].shape;
        let mut sorted = self.order.clone();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..from.rank()) {
            return Err(Error::input(
                "transpose",
                format!("{:?} is no order of the {} axes of {from}", self.order, from.rank()),
            ));
        }
        let dims: Vec<usize> = self.order.iter().map(|&axis| from.dim(axis)).collect();
        Ok(vec![Type::real(Shape::new(&dims))])
    }

    fn derivative(&self, g: &mut Graph, _: NodeView<'_>, grads: &[Option<ValueId>]) -> Result<Derivative> {
        let Some(dy) = grads[0] else { return Ok(Derivative::Inputs(vec![None])) };
        let mut inverse = vec![0; self.order.len()];
        for (to, &from) in self.order.iter().enumerate() {
            inverse[from] = to;
        }
        Ok(Derivative::Inputs(vec![Some(g.transpose(dy, &inverse)?)]))
    }

    answers!(not in place);
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], outputs: &[Type]) -> GpuWork {
        let strides = inputs[0].shape.strides();
        let mut permuted = [0; Shape::MAX_RANK];
        for (to, &from) in permuted.iter_mut().zip(&self.order) {
            *to = strides[from];
        }
        strided(&outputs[0].shape, 0, &permuted, outputs)
    }
}

impl Transpose {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let (from, to) = (io.input_types[0].shape, io.output_types[0].shape);
        let strides = from.strides();
        let x = io.real(0);
        for (i, out) in io.out(0).iter_mut().enumerate() {
            let (mut rest, mut at) = (i, 0);
            for axis in (0..to.rank()).rev() {
                at += rest % to.dim(axis) * strides[self.order[axis]];
                rest /= to.dim(axis);
            }
            *out = x[at];
        }
    }
}

impl Op for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real])?;
        let from = inputs[0].shape;
        if self.axis >= from.rank() || self.start + self.len > from.dim(self.axis) {
            let message = format!("{}..{} along axis {} of {from}", self.start, self.start + self.len, self.axis);
            return Err(Error::input("slice", message));
        }
        Ok(vec![Type::real(from.with_dim(self.axis, self.len))])
    }

    fn derivative(&self, g: &mut Graph, node: NodeView<'_>, grads: &[Option<ValueId>]) -> Result<Derivative> {
        let Some(dy) = grads[0] else { return Ok(Derivative::Inputs(vec![None])) };
        let whole = g.shape(node.inputs[0]).dim(self.axis);
        let pad = Pad { axis: self.axis, before: self.start, after: whole - self.start - self.len };
        Ok(Derivative::Inputs(vec![Some(g.apply(pad, &[dy])?)]))
    }

    answers!(not in place);
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], outputs: &[Type]) -> GpuWork {
        let strides = inputs[0].shape.strides();
        strided(&outputs[0].shape, self.start * strides[self.axis], &strides, outputs)
    }
}

impl Slice {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let (_, extent, inner) = around(&io.input_types[0].shape, self.axis);
        let x = io.real(0);
        if self.len * inner == 0 {
            return;
        }
        for (o, out) in io.out(0).chunks_mut(self.len * inner).enumerate() {
            out.copy_from_slice(&x[(o * extent + self.start) * inner..][..self.len * inner]);
        }
    }
}

impl Op for Pad {
    fn name(&self) -> &'static str {
        "pad"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real])?;
        let from = inputs[0].shape;
        if self.axis >= from.rank() {
            return Err(Error::input("pad", format!("axis {} of {from}", self.axis)));
        }
        Ok(vec![Type::real(from.with_dim(self.axis, self.before + from.dim(self.axis) + self.after))])
    }

    fn derivative(&self, g: &mut Graph, node: NodeView<'_>, grads: &[Option<ValueId>]) -> Result<Derivative> {
        let Some(dy) = grads[0] else { return Ok(Derivative::Inputs(vec![None])) };
        let len = g.shape(node.inputs[0]).dim(self.axis);
        Ok(Derivative::Inputs(vec![Some(g.slice(dy, self.axis, self.before, len)?)]))
    }

    answers!(not in place);
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], outputs: &[Type]) -> GpuWork {
        let (_, extent, inner) = around(&outputs[0].shape, self.axis);
        let params = vec![
            ("len", outputs[0].shape.len().into()),
            ("wide", (extent * inner).into()),
            ("own", (inputs[0].shape.dim(self.axis) * inner).into()),
            ("before", (self.before * inner).into()),
        ];
        gpu::elementwise(Shader::plain("layout", "pad"), vec![Bind::In(0), Bind::Out(0)], params)
    }
}

impl Pad {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let (_, extent, inner) = around(&io.output_types[0].shape, self.axis);
        let own = io.input_types[0].shape.dim(self.axis) * inner;
        let x = io.real(0);
        if extent * inner == 0 {
            return;
        }
        for (o, out) in io.out(0).chunks_mut(extent * inner).enumerate() {
            let (before, rest) = out.split_at_mut(self.before * inner);
            let (middle, after) = rest.split_at_mut(own);
            before.fill(R::ZERO);
            middle.copy_from_slice(&x[o * own..][..own]);
            after.fill(R::ZERO);
        }
    }
}

impl Op for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real, DType::Real])?;
        let (a, b) = (inputs[0].shape, inputs[1].shape);
        let fits = a.rank() == b.rank() && self.axis < a.rank() && a.with_dim(self.axis, 1) == b.with_dim(self.axis, 1);
        if !fits {
            return Err(Error::input("concat", format!("{a} and {b} differ outside axis {}", self.axis)));
        }
        Ok(vec![Type::real(a.with_dim(self.axis, a.dim(self.axis) + b.dim(self.axis)))])
    }

    fn derivative(&self, g: &mut Graph, node: NodeView<'_>, grads: &[Option<ValueId>]) -> Result<Derivative> {
        let Some(dy) = grads[0] else { return Ok(Derivative::Inputs(vec![None, None])) };
        let (a, b) = (g.shape(node.inputs[0]).dim(self.axis), g.shape(node.inputs[1]).dim(self.axis));
        let da = g.slice(dy, self.axis, 0, a)?;
        let db = g.slice(dy, self.axis, a, b)?;
        Ok(Derivative::Inputs(vec![Some(da), Some(db)]))
    }

    answers!(not in place);
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], outputs: &[Type]) -> GpuWork {
        let (_, _, inner) = around(&outputs[0].shape, self.axis);
        let params = vec![
            ("len", outputs[0].shape.len().into()),
            ("first", (inputs[0].shape.dim(self.axis) * inner).into()),
            ("second", (inputs[1].shape.dim(self.axis) * inner).into()),
        ];
        gpu::elementwise(Shader::plain("layout", "concat"), vec![Bind::In(0), Bind::In(1), Bind::Out(0)], params)
    }
}

impl Concat {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let (_, extent, inner) = around(&io.output_types[0].shape, self.axis);
        let (a, b) = (io.real(0), io.real(1));
        let own = io.input_types[0].shape.dim(self.axis) * inner;
        let other = extent * inner - own;
        if extent * inner == 0 {
            return;
        }
        for (o, out) in io.out(0).chunks_mut(extent * inner).enumerate() {
            let (first, second) = out.split_at_mut(own);
            first.copy_from_slice(&a[o * own..][..own]);
            second.copy_from_slice(&b[o * other..][..other]);
        }
    }
}

/// Ops that move elements. Every method fails if the axes or shapes do not fit.
impl Graph {
    /// The same elements under another shape.
    pub fn reshape(&mut self, x: ValueId, to: impl Into<Shape>) -> Result<ValueId> {
        let to = to.into();
        if self.shape(x) == to { Ok(x) } else { self.apply(Reshape { to }, &[x]) }
    }

    /// Axes in another order: axis i of the result is axis `order[i]` of `x`.
    pub fn transpose(&mut self, x: ValueId, order: &[usize]) -> Result<ValueId> {
        if order.iter().copied().eq(0..self.shape(x).rank()) {
            return Ok(x);
        }
        self.apply(Transpose { order: order.to_vec() }, &[x])
    }

    /// The elements `start..start + len` along an axis.
    pub fn slice(&mut self, x: ValueId, axis: usize, start: usize, len: usize) -> Result<ValueId> {
        if start == 0 && axis < self.shape(x).rank() && len == self.shape(x).dim(axis) {
            return Ok(x);
        }
        self.apply(Slice { axis, start, len }, &[x])
    }

    /// Values one behind the other along an axis.
    ///
    /// # Errors
    /// If there are none, or they differ outside that axis.
    pub fn concat(&mut self, values: &[ValueId], axis: usize) -> Result<ValueId> {
        let place = self.place("concat");
        let (&first, rest) = values.split_first().ok_or_else(|| Error::input(place, "nothing to concatenate"))?;
        rest.iter().try_fold(first, |whole, &next| self.apply(Concat { axis }, &[whole, next]))
    }
}

//! Matrix products: `C = op(A)·op(B)`, overwritten, with an elementwise epilogue while a tile of C is at hand.

pub mod cpu;
mod gpu;

use super::pointwise::cpu::{self as pointwise_cpu, Layout};
use super::pointwise::{Code, MAX_INPUTS};
use crate::base::{DType, Error, Real, Result, Shape, Type, broadcast};
use crate::graph::{Derivative, GpuWork, Graph, Io, NodeView, Op, ValueId};
use crate::{answers, kernel};
use cpu::Mat;

/// A matrix product, batched over the first axis if both inputs have three.
///
/// Inputs: A [m, k] ([k, m] if `transpose_a`), B [k, n] ([n, k] if `transpose_b`), then the epilogue's further inputs,
/// which broadcast to the product. Output: [m, n]. Any of them may be of half precision; sums are in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatMul {
    /// Whether A is read transposed.
    pub transpose_a: bool,
    /// Whether B is read transposed.
    pub transpose_b: bool,
    /// What becomes of each element of the product: input 0 of the program is the element. Made by fusion.
    pub epilogue: Option<Code>,
}

/// The extents of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extents {
    /// How many products.
    pub batch: usize,
    /// Rows of C.
    pub m: usize,
    /// Columns of C.
    pub n: usize,
    /// Terms of each sum.
    pub k: usize,
}

/// How the GPU kernels cut their work, by name, as text: what their timings depend on.
pub fn kernels() -> String {
    format!("{:?}", gpu::KERNELS)
}

impl MatMul {
    /// The extents of the product of these inputs.
    ///
    /// # Errors
    /// If the inputs are no matrices, or do not fit.
    pub fn extents(&self, a: Shape, b: Shape) -> Result<Extents> {
        let error = || {
            let flag = |transposed| if transposed { "ᵀ" } else { "" };
            let message = format!("{a}{} · {b}{} do not fit", flag(self.transpose_a), flag(self.transpose_b));
            Error::input("matmul", message)
        };
        let rank = a.rank();
        if rank != b.rank() || !(2..=3).contains(&rank) || (rank == 3 && a.dim(0) != b.dim(0)) {
            return Err(error());
        }
        let sides = |shape: Shape, transposed| {
            let (rows, columns) = (shape.dim(rank - 2), shape.dim(rank - 1));
            if transposed { (columns, rows) } else { (rows, columns) }
        };
        let ((m, k), (k_b, n)) = (sides(a, self.transpose_a), sides(b, self.transpose_b));
        if k != k_b {
            return Err(error());
        }
        Ok(Extents { batch: if rank == 3 { a.dim(0) } else { 1 }, m, n, k })
    }

    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let e = self.extents(io.input_types[0].shape, io.input_types[1].shape).expect("types were checked");
        let shape = io.output_types[0].shape;
        let mut inputs: [(&[R], Layout); MAX_INPUTS] = [(&[], Layout::Own); MAX_INPUTS];
        for (slot, i) in inputs[1..].iter_mut().zip(2..io.inputs.len()) {
            *slot = (io.real(i), Layout::of(&io.input_types[i].shape, &shape));
        }
        let inputs = &inputs[..io.inputs.len() - 1];
        let view = |data, (rows, columns), transposed: bool| {
            if transposed { Mat::rows(data, rows).t() } else { Mat::rows(data, columns) }
        };
        for z in 0..e.batch {
            let a = view(&io.real(0)[z * e.m * e.k..][..e.m * e.k], (e.m, e.k), self.transpose_a);
            let b = view(&io.real(1)[z * e.k * e.n..][..e.k * e.n], (e.k, e.n), self.transpose_b);
            let first = z * e.m;
            let epilogue = self.epilogue.as_ref().map(|code| {
                move |rows: std::ops::Range<usize>, c: &mut [R]| {
                    pointwise_cpu::epilogue(code, &shape, inputs, (first + rows.start) * e.n, c);
                }
            });
            let c = &mut io.outputs[0][z * e.m * e.n..][..e.m * e.n];
            cpu::matmul(e.m, e.n, e.k, a, b, c, io.scratch, io.threads, epilogue.as_ref());
        }
    }
}

impl Op for MatMul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        let extra = self.epilogue.as_ref().map_or(0, |code| code.inputs() - 1);
        if inputs.len() != 2 + extra || inputs.len() > MAX_INPUTS || inputs.iter().any(|ty| !ty.dtype.is_real()) {
            return Err(Error::input(
                "matmul",
                format!("expected {} inputs of real numbers, found {inputs:?}", 2 + extra),
            ));
        }
        let e = self.extents(inputs[0].shape, inputs[1].shape)?;
        let shape = match inputs[0].shape.rank() {
            2 => Shape::from([e.m, e.n]),
            _ => Shape::from([e.batch, e.m, e.n]),
        };
        for ty in &inputs[2..] {
            if broadcast(ty.shape, shape)? != shape {
                return Err(Error::input(
                    "matmul",
                    format!("the epilogue's {} does not broadcast to {shape}", ty.shape),
                ));
            }
        }
        let dtype = self.epilogue.as_ref().map_or(DType::Real, Code::dtype);
        Ok(vec![Type { dtype, shape }])
    }

    fn derivative(&self, g: &mut Graph, node: NodeView<'_>, grads: &[Option<ValueId>]) -> Result<Derivative> {
        if self.epilogue.is_some() {
            return Ok(Derivative::Undefined("it is fused: differentiate before fusion"));
        }
        let Some(dc) = grads[0] else { return Ok(Derivative::Inputs(vec![None, None])) };
        let (a, b) = (node.inputs[0], node.inputs[1]);
        let dc = g.expand(dc, g.shape(node.outputs[0]))?;
        let (ta, tb) = (self.transpose_a, self.transpose_b);
        // With C = op(A)·op(B): d op(A) = dC·op(B)ᵀ and d op(B) = op(A)ᵀ·dC; the outer transpositions swap the factors.
        let da = if ta { g.matmul_t(b, dc, tb, true)? } else { g.matmul_t(dc, b, false, !tb)? };
        let db = if tb { g.matmul_t(dc, a, true, ta)? } else { g.matmul_t(a, dc, !ta, false)? };
        Ok(Derivative::Inputs(vec![Some(da), Some(db)]))
    }

    answers!(not in place);
    answers!(primitive);

    fn scratch(&self, inputs: &[Type], _: usize) -> usize {
        // The executor's precision is not known here; lines of f32 hold the most scalars.
        self.extents(inputs[0].shape, inputs[1].shape)
            .map_or(0, |e| cpu::scratch_len::<f32>(e.m, e.n, e.k).max(cpu::scratch_len::<f64>(e.m, e.n, e.k)))
    }

    kernel!(run);

    fn gpu(&self, inputs: &[Type], outputs: &[Type]) -> GpuWork {
        let e = self.extents(inputs[0].shape, inputs[1].shape).expect("types were checked");
        gpu::work(self, e, inputs, &outputs[0])
    }
}

impl Graph {
    /// A·B, batched over the first axis if both have three.
    pub fn matmul(&mut self, a: ValueId, b: ValueId) -> Result<ValueId> {
        self.matmul_t(a, b, false, false)
    }

    /// op(A)·op(B), where each op is the transposition of the last two axes or nothing.
    pub fn matmul_t(&mut self, a: ValueId, b: ValueId, transpose_a: bool, transpose_b: bool) -> Result<ValueId> {
        self.apply(MatMul { transpose_a, transpose_b, epilogue: None }, &[a, b])
    }
}

//! What the noise of the gradient is told from in layers that are not dense; for those see [`super::examples`].
//!
//! Where z = w∘x + b, element by element, and an example is a row, ∂ℓᵢ/∂w = δᵢ∘xᵢ and ∂ℓᵢ/∂b = δᵢ, so that Σ‖gᵢ‖² is
//! Σ δ²(x² + 1) over all elements. Of any other parameters there is the gradient g of each micro-batch of n examples, whose
//! ‖g‖²/n is as large in the mean as that of a single example, but for the part of the gradient without noise in it.

use super::expect_dtypes;
use super::gpu;
use super::record::{self, CHUNK, NON_FINITE, OfNorms, RECORD};
use crate::base::{DType, Error, Real, Result, Shape, Type, vectorized};
use crate::graph::{Bind, Dispatch, GpuWork, Io, Op, Shader};
use crate::{answers, kernel};

/// Elements that share a record.
const EACH: usize = 4 * CHUNK;

/// How many records a value of this shape gives.
fn groups(shape: &Shape) -> usize {
    shape.len().div_ceil(EACH)
}

/// Records of the gradients ∂(wᵢℓᵢ)/∂(w, b) of an elementwise layer, wᵢ being the example's share of the loss: of the elements of ∂L/∂z∘x
/// and, with a bias, of those of ∂L/∂z. Inputs: x, what w is applied to, and ∂L/∂z, both [n, …]; output [⌈len/4096⌉, 8],
/// overwritten: fields `MAX` and `SQUARES`. What is not finite is left out, and not counted: a measurement halts nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElementwiseStats {
    /// Whether the layer has a bias.
    pub bias: bool,
}

impl ElementwiseStats {
    /// How many records a batch of this shape gives.
    pub fn groups(shape: &Shape) -> usize {
        groups(shape)
    }

    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let (x, z) = (io.real(0), io.real(1));
        io.threads.chunks(io.outputs[0], RECORD, |group, out| {
            out.fill(R::ZERO);
            let range = group * EACH..x.len().min((group + 1) * EACH);
            for (x, z) in x[range.clone()].chunks(CHUNK).zip(z[range].chunks(CHUNK)) {
                let mut products = [R::ZERO; CHUNK];
                let products = &mut products[..x.len()];
                vectorized(
                    #[inline(always)]
                    || products.iter_mut().zip(x).zip(z).for_each(|((product, &x), &z)| *product = x * z),
                );
                add(products, R::ONE, out);
                if self.bias {
                    add(z, R::ONE, out);
                }
            }
        });
    }
}

/// Adds the record of numbers, each times a factor, to `out`.
fn add<R: Real>(xs: &[R], factor: R, out: &mut [R]) {
    let mut own = [R::ZERO; RECORD];
    record::measured(OfNorms, xs, factor, &mut own);
    own[NON_FINITE] = R::ZERO;
    record::combine(out, &own);
}

impl Op for ElementwiseStats {
    fn name(&self) -> &'static str {
        "elementwise_stats"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real, DType::Real])?;
        let [x, z] = [inputs[0].shape, inputs[1].shape];
        if x != z || x.is_empty() {
            return Err(Error::input("elementwise_stats", format!("expected elements twice, found {x} and {z}")));
        }
        Ok(vec![Type::real([groups(&x), RECORD])])
    }

    answers!(not in place);
    answers!(not differentiable: "it is a measurement");
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], _: &[Type]) -> GpuWork {
        let vars = vec![("bias", u8::from(self.bias).to_string())];
        dispatch("elementwise_stats", vars, vec![Bind::In(0), Bind::In(1), Bind::Out(0)], &inputs[0].shape)
    }
}

/// Records of the gradient g of a micro-batch of n examples, divided by √n. Input: g of any shape; output [⌈len/4096⌉, 8],
/// overwritten: fields `MAX` and `SQUARES`. What is not finite is left out, and not counted: a measurement halts nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MicroStats;

impl MicroStats {
    /// How many records a gradient of this shape gives.
    pub fn groups(shape: &Shape) -> usize {
        groups(shape)
    }

    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let g = io.real(0);
        let share = R::ONE / R::of(f64::from(io.step.rows.max(1))).sqrt();
        io.threads.chunks(io.outputs[0], RECORD, |group, out| {
            out.fill(R::ZERO);
            add(&g[group * EACH..g.len().min((group + 1) * EACH)], share, out);
        });
    }
}

impl Op for MicroStats {
    fn name(&self) -> &'static str {
        "micro_stats"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real])?;
        if inputs[0].shape.is_empty() {
            return Err(Error::input("micro_stats", format!("expected elements, found {}", inputs[0].shape)));
        }
        Ok(vec![Type::real([groups(&inputs[0].shape), RECORD])])
    }

    answers!(not in place);
    answers!(not differentiable: "it is a measurement");
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], _: &[Type]) -> GpuWork {
        dispatch("micro_stats", Vec::new(), vec![Bind::In(0), Bind::Out(0)], &inputs[0].shape)
    }
}

/// A workgroup to each record of a value of this shape.
fn dispatch(entry: &'static str, vars: Vec<(&'static str, String)>, binds: Vec<Bind>, shape: &Shape) -> GpuWork {
    let groups = groups(shape);
    let vars = vars.into_iter().chain([gpu::in_memory()]).collect();
    let work = GpuWork::one(Dispatch {
        shader: Shader { stem: "noise", entry, vars },
        binds,
        params: vec![("groups", groups.into()), ("len", shape.len().into())],
        workgroups: Dispatch::fold(groups),
    });
    gpu::recording(work, 0)
}

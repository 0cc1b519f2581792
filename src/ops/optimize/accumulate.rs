//! The sum of micro-batch gradients.

use crate::base::{DType, Error, Real, Result, Type};
use crate::graph::{Bind, GpuWork, Io, Op, Shader};
use crate::ops::{expect_dtypes, gpu};
use crate::{answers, kernel};

/// Elements that one thread takes at a time.
const PART: usize = 16 * 1024;

/// `sum = g` for the first micro-batch of a logical batch, `sum += g` for the others. Inputs: sum [len] in place,
/// g [len]; output sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accumulate;

impl Accumulate {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let gradients = io.real(1);
        let first = io.step.micro == 0;
        io.threads.chunks(io.outputs[0], PART, |part, sums| {
            let gradients = &gradients[part * PART..][..sums.len()];
            if first {
                sums.copy_from_slice(gradients);
            } else {
                pulp::Arch::new().dispatch(|| sums.iter_mut().zip(gradients).for_each(|(sum, &g)| *sum += g));
            }
        });
    }
}

impl Op for Accumulate {
    fn name(&self) -> &'static str {
        "accumulate"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real, DType::Real])?;
        if inputs[0] != inputs[1] {
            return Err(Error::input("accumulate", format!("{} and {} differ", inputs[0].shape, inputs[1].shape)));
        }
        Ok(vec![inputs[0]])
    }

    fn in_place(&self) -> &[(usize, usize)] {
        &[(0, 0)]
    }

    answers!(not differentiable: "it is the end of a step");
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, _: &[Type], outputs: &[Type]) -> GpuWork {
        let shader = Shader::plain("optimize", "accumulate");
        gpu::elementwise(shader, vec![Bind::In(1), Bind::Out(0)], vec![("len", outputs[0].shape.len().into())])
    }
}

//! Optimizer updates over whole arenas, in place, with PyTorch's semantics; and the sum of micro-batch gradients.
//!
//! The update can measure in the same pass: gradient records, Σw² and Σ(Δw)². Non-finite gradient elements leave their
//! weight and state as they are; once the halt flag is up, nothing moves, nor in a step that loss scaling skips. What was skipped does not
//! count as an update.

mod accumulate;
mod cpu;
mod gpu;
mod rule;

pub use accumulate::Accumulate;
pub use rule::Rule;

use super::expect_dtypes;
use super::record::RECORD;
use super::stats::{CONTROL, chunks_of};
use crate::base::{DType, Error, Result, Shape, Type};
use crate::graph::{GpuWork, Op};
use crate::{answers, kernel};

/// One update of one arena part. Inputs: parameters `[len]` in place, gradients `[len]`, control `[8]`, lengths `[chunks]`, then
/// the rule's states `[len]` in place. Outputs: parameters, states, and, if it measures, records [chunks, 8].
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// What an update does to an element.
    pub rule: Rule,
    /// λ of L2 decay, added to the gradient as λ·w; for AdamW the decoupled decay.
    pub weight_decay: f64,
    /// Gradient elements are clamped to ± this first.
    pub clip_value: Option<f64>,
    /// Whether gradients are multiplied by the clip factor of the control block.
    pub clip_norm: bool,
    /// Whether records are written.
    pub measure: bool,
}

/// Output 0 is input 0; the states follow.
const IN_PLACE: [(usize, usize); 4] = [(0, 0), (1, 4), (2, 5), (3, 6)];

impl Op for Update {
    fn name(&self) -> &'static str {
        "update"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        let states = self.rule.states();
        let mut dtypes = vec![DType::Real, DType::Real, DType::Real, DType::Index];
        dtypes.resize(4 + states, DType::Real);
        expect_dtypes(inputs, &dtypes)?;
        let chunks = chunks_of(&inputs[0], &inputs[3])?;
        let same = inputs[1] == inputs[0] && inputs[4..].iter().all(|state| *state == inputs[0]);
        if !same || inputs[2].shape != Shape::from([CONTROL]) {
            return Err(Error::input(
                "update",
                format!("arenas of one size and control were expected, found {inputs:?}"),
            ));
        }
        let mut outputs = vec![inputs[0]; 1 + states];
        if self.measure {
            outputs.push(Type::real([chunks, RECORD]));
        }
        Ok(outputs)
    }

    fn in_place(&self) -> &[(usize, usize)] {
        &IN_PLACE[..1 + self.rule.states()]
    }

    answers!(not differentiable: "it is the end of a step");
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], _: &[Type]) -> GpuWork {
        gpu::work(self, inputs)
    }
}

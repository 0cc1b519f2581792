//! Dynamic loss scaling on the device: the scale of a step follows from the overflow of all steps before it, and no reading is waited
//! for.
//!
//! The gradient of the loss is multiplied by the scale before it enters half precision, so that small signals are not rounded to 0,
//! and the gradients of the parameters are divided by it again. Where one of them is not finite the step is skipped and the scale
//! halved; after so many good steps in a row it is doubled (Micikevicius et al. 2018; `torch.amp.GradScaler`).

use super::expect_dtypes;
use super::record::{NON_FINITE, RECORD};
use super::stats::{CONTROL, CORRECTION1, CORRECTION2, GOOD_STEPS, HALT, SCALED, SCALING, SKIPPED, SKIPPING};
use crate::base::{DType, Error, Real, Result, Shape, Type};
use crate::graph::{Bind, GpuWork, Io, Op, Shader};
use crate::{answers, kernel};

/// The least and the largest scale: with either, the gradient of a loss is far from the ends of single precision.
pub const SCALE_MIN: f64 = 1.0 / 16_777_216.0;
/// See [`SCALE_MIN`].
pub const SCALE_MAX: f64 = 16_777_216.0;

/// The place of the scale of the step in the row that [`AdjustScale`] writes.
pub const ROW_SCALE: usize = 0;
/// Of how many steps were skipped so far, this one included.
pub const ROW_SKIPPED: usize = 1;
/// Of whether the run halts: 1 where a smaller scale would not help.
pub const ROW_HALTS: usize = 2;
/// Of whether the step was skipped.
pub const ROW_SKIPS: usize = 3;

/// Decides about the step at hand and sets the scale of the next one. Inputs: records [n, 8] of the whole gradient, unscaled; then in
/// place control `[8]`, scale `[]`, its inverse `[]`, a row of the table [1, 8]. Outputs: those four.
#[derive(Clone, Debug, PartialEq)]
pub struct AdjustScale {
    /// Good steps in a row after which the scale doubles; none keeps it as it is.
    pub growth_interval: Option<u32>,
    /// β₁ and β₂ of an optimizer that corrects its bias, which counts no skipped step; 0 for others.
    pub betas: [f64; 2],
}

impl AdjustScale {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let overflows = io.real(0).chunks(RECORD).any(|record| record[NON_FINITE] != R::ZERO);
        let t = f64::from(io.step.t);
        let [control, scale, unscale, row] = io.outputs else { unreachable!("control, scale, inverse, row") };
        row.fill(R::ZERO);
        row[ROW_SCALE] = scale[0];
        let at_end = self.growth_interval.is_some() && scale[0].f64() <= SCALE_MIN;
        control[SCALING] = R::of(if overflows { SKIPPING } else { SCALED });
        control[GOOD_STEPS] = if overflows { R::ZERO } else { control[GOOD_STEPS] + R::ONE };
        control[SKIPPED] += if overflows { R::ONE } else { R::ZERO };
        if overflows && at_end {
            control[HALT] = R::ONE;
            row[ROW_HALTS] = R::ONE;
        }
        let updates = t - control[SKIPPED].f64();
        for (place, beta) in [CORRECTION1, CORRECTION2].into_iter().zip(self.betas) {
            control[place] = R::of(if beta == 0.0 { 1.0 } else { 1.0 - beta.powf(updates) });
        }
        row[ROW_SKIPPED] = control[SKIPPED];
        row[ROW_SKIPS] = if overflows { R::ONE } else { R::ZERO };
        if let Some(interval) = self.growth_interval {
            if overflows {
                scale[0] = R::of((scale[0].f64() / 2.0).max(SCALE_MIN));
            } else if control[GOOD_STEPS].f64() >= f64::from(interval) {
                scale[0] = R::of((scale[0].f64() * 2.0).min(SCALE_MAX));
                control[GOOD_STEPS] = R::ZERO;
            }
            unscale[0] = R::ONE / scale[0];
        }
    }
}

impl Op for AdjustScale {
    fn name(&self) -> &'static str {
        "adjust_scale"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real; 5])?;
        let shapes = [Shape::from([CONTROL]), Shape::SCALAR, Shape::SCALAR, Shape::from([1, RECORD])];
        if inputs[0].shape.last() != RECORD || inputs[1..].iter().zip(shapes).any(|(ty, shape)| ty.shape != shape) {
            let message = format!("expected records, control, scale, its inverse and a row, found {inputs:?}");
            return Err(Error::input("adjust_scale", message));
        }
        Ok(inputs[1..].to_vec())
    }

    fn in_place(&self) -> &[(usize, usize)] {
        &[(0, 1), (1, 2), (2, 3), (3, 4)]
    }

    answers!(not differentiable: "it is the end of a step");
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], _: &[Type]) -> GpuWork {
        let ln = |beta: f64| if beta == 0.0 { 0.0 } else { beta.ln() };
        let params = vec![
            ("records", (inputs[0].shape.len() / RECORD).into()),
            ("interval", self.growth_interval.unwrap_or(0).into()),
            ("ln_beta1", ln(self.betas[0]).into()),
            ("ln_beta2", ln(self.betas[1]).into()),
        ];
        let binds = [Bind::In(0)].into_iter().chain((0..4).map(Bind::Out)).collect();
        super::gpu::threads(Shader::plain("scaling", "adjust_scale"), binds, params, 1)
    }
}

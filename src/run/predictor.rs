//! A trained model on a device, without what training needs.

use super::device::Device;
use super::evaluate::Evaluation;
use super::evaluator::{EvaluationRequest, Evaluator, Outputs, ROWS_MAX, evaluation_plan};
use super::objective::{Objective, loss_spec};
use super::saved::SavedModel;
use super::tensors::{arena_of, write_params};
use crate::base::{Error, Result, Threads};
use crate::data::{Dataset, RowSource, TargetKind, Targets};
use crate::exec::Executor;
use crate::nn::LossSpec;
use ndarray::Array2;
use std::sync::Arc;

/// A model that predicts.
pub struct Predictor {
    executor: Box<dyn Executor + Send>,
    threads: Option<Arc<Threads>>,
    evaluator: Evaluator,
    loss: LossSpec,
    features: usize,
    targets: TargetKind,
    top_k: usize,
}

/// What a model says of some inputs.
#[derive(Clone, Debug, PartialEq)]
pub enum Prediction {
    /// Of a classifier.
    Classes {
        /// The class of each row; `None` where the outputs are not numbers.
        classes: Vec<Option<usize>>,
        /// How many classes there are.
        count: usize,
        /// The probability of each class, row by row; `None` for a loss whose outputs are no probabilities.
        probabilities: Option<Vec<f64>>,
    },
    /// Of a regression.
    Values {
        /// Numbers to a row.
        width: usize,
        /// Row by row.
        values: Vec<f64>,
    },
}

impl Predictor {
    /// Puts a model on a device.
    ///
    /// # Errors
    /// If settings and data do not fit together, or the plan does not fit the device.
    pub fn new(saved: &SavedModel, device: Device) -> Result<Self> {
        let Device { mut executor, threads, .. } = device;
        let (config, targets) = (&saved.config, saved.preprocessing.targets);
        let model = saved.describe()?;
        let loss = loss_spec(config, targets, model.output)?;
        let rows = ROWS_MAX;
        let arena = arena_of(&model, executor.info().binding_len_max)?;
        let objective = Objective::Standard(loss);
        let request =
            EvaluationRequest { model: &model, objective: &objective, reduction: config.loss.reduction, targets, rows };
        let plan = evaluation_plan(&request, &arena)?;
        let evaluator = Evaluator::load(executor.as_mut(), &plan, rows, model.output)?;
        write_params(executor.as_mut(), &arena, &saved.params)?;
        let (features, top_k) = (model.input, config.validate.top_k);
        Ok(Self { executor, threads, evaluator, loss, features, targets, top_k })
    }

    /// The executor.
    pub fn executor(&self) -> &(dyn Executor + Send) {
        self.executor.as_ref()
    }

    /// The outputs and losses of all rows of a source.
    ///
    /// # Errors
    /// If the source has other features or targets than the model, or the device fails.
    pub fn outputs(&mut self, source: &dyn RowSource) -> Result<Outputs> {
        if (source.features(), source.target_kind()) != (self.features, self.targets) {
            let message = format!(
                "{} features and targets {:?}; the model takes {} and predicts {:?}",
                source.features(),
                source.target_kind(),
                self.features,
                self.targets
            );
            return Err(Error::input("examples", message));
        }
        let rows: Vec<u32> = (0..source.rows() as u32).collect();
        let Self { executor, evaluator, threads, .. } = self;
        match threads {
            Some(threads) => threads.install(|| evaluator.evaluate(executor.as_mut(), source, &rows)),
            None => evaluator.evaluate(executor.as_mut(), source, &rows),
        }
    }

    /// Judges the model on examples.
    ///
    /// # Errors
    /// As [`Predictor::outputs`].
    pub fn evaluate(&mut self, data: &Dataset) -> Result<Evaluation> {
        Ok(Evaluation::of(&self.outputs(data)?, data, self.top_k))
    }

    /// Predicts from prepared inputs [rows, features]; see [`crate::data::Preprocessing::read_inputs`].
    ///
    /// # Errors
    /// If there is no row, the inputs have other features than the model, or the device fails.
    pub fn predict(&mut self, x: Array2<f32>) -> Result<Prediction> {
        let rows = x.nrows();
        // The plan computes losses too: targets stand in that nobody looks at.
        let stand_in = match self.targets {
            TargetKind::Classes(classes) => Targets::Classes { labels: vec![0; rows], classes },
            TargetKind::Values(width) => Targets::Values { values: vec![0.0; rows * width], width },
        };
        let outputs = self.outputs(&Dataset::new("inputs", x, stand_in)?)?;
        let TargetKind::Classes(count) = self.targets else {
            return Ok(Prediction::Values { width: outputs.width, values: outputs.values });
        };
        let classes = outputs.values.chunks_exact(outputs.width).map(decide).collect();
        let row = |row: &[f64]| probabilities(self.loss, row);
        let probabilities = outputs.values.chunks_exact(outputs.width).map(row).collect::<Option<Vec<_>>>();
        Ok(Prediction::Classes { classes, count, probabilities: probabilities.map(|rows| rows.concat()) })
    }
}

/// The class that outputs decide for, as the scores of a classifier count it.
pub(super) fn decide(row: &[f64]) -> Option<usize> {
    if row.iter().any(|x| x.is_nan()) {
        return None;
    }
    match row {
        [x] => Some(usize::from(*x > 0.0)),
        _ => Some((1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })),
    }
}

/// The probability of each class, where the loss makes the outputs logits: their softmax for the cross-entropy, the
/// sigmoid of each for the binary cross-entropy.
fn probabilities(loss: LossSpec, row: &[f64]) -> Option<Vec<f64>> {
    let sigmoid = |x: f64| if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) };
    match (loss, row) {
        (LossSpec::CrossEntropy { .. }, _) => {
            let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let powers: Vec<f64> = row.iter().map(|x| (x - top).exp()).collect();
            let sum: f64 = powers.iter().sum();
            Some(powers.into_iter().map(|power| power / sum).collect())
        }
        (LossSpec::Bce, [x]) => Some(vec![sigmoid(-x), sigmoid(*x)]),
        (LossSpec::Bce, _) => Some(row.iter().map(|&x| sigmoid(x)).collect()),
        (LossSpec::Mse | LossSpec::Huber { .. } | LossSpec::Wells(_), _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_become_probabilities() {
        let softmax = probabilities(LossSpec::CrossEntropy { smoothing: 0.1 }, &[1000.0, 1000.0, 0.0]).unwrap();
        assert_eq!(softmax, [0.5, 0.5, 0.0]);
        let single = probabilities(LossSpec::Bce, &[3f64.ln()]).unwrap();
        assert!((single[0] - 0.25).abs() < 1e-15 && (single[1] - 0.75).abs() < 1e-15);
        assert_eq!(probabilities(LossSpec::Bce, &[-800.0, 0.0]).unwrap(), [0.0, 0.5]);
        assert_eq!(probabilities(LossSpec::Mse, &[1.0]), None);
    }

    #[test]
    fn the_first_of_equal_outputs_wins_and_nan_decides_nothing() {
        assert_eq!(decide(&[1.0, 2.0, 2.0]), Some(1));
        assert_eq!((decide(&[0.5]), decide(&[-0.5]), decide(&[0.0, f64::NAN])), (Some(1), Some(0), None));
    }
}

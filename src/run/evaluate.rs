//! How good a model is on a data set: loss and metrics.

use super::evaluator::Outputs;
use super::metrics::{Classification, ClassificationScore, Regression, RegressionScore};
use super::summary::PartSummary;
use super::trainer::Trainer;
use crate::base::Result;
use crate::config::Config;
use crate::data::{Dataset, RowSource, Targets};

/// Loss and metrics on a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The mean of the examples' losses, without weights.
    pub loss: f64,
    /// The metrics.
    pub score: Score,
}

/// The metrics of a task.
#[derive(Clone, Debug, PartialEq)]
pub enum Score {
    /// Of a classifier.
    Classes(ClassificationScore),
    /// Of a regression.
    Values(RegressionScore),
}

impl Evaluation {
    /// The accuracy, of a classifier.
    pub fn accuracy(&self) -> Option<f64> {
        match &self.score {
            Score::Classes(score) => Some(score.accuracy),
            Score::Values(_) => None,
        }
    }

    /// What a summary says of it.
    pub fn summary(&self) -> PartSummary {
        let mut summary = PartSummary { loss: Some(self.loss), ..PartSummary::default() };
        match &self.score {
            Score::Classes(score) => {
                summary.accuracy = Some(score.accuracy);
                summary.top_k = score.top_k.iter().copied().collect();
                summary.examples = Some(score.examples);
            }
            Score::Values(score) => {
                summary.r2 = score.overall.r2;
                summary.mae = Some(score.overall.mae);
                summary.rmse = Some(score.overall.rmse);
                summary.examples = Some(score.examples);
            }
        }
        summary
    }
}

impl Evaluation {
    /// What outputs say about a model, given the examples that they are of; `top_k` as in the settings.
    pub fn of(outputs: &Outputs, data: &Dataset, top_k: usize) -> Self {
        let loss = outputs.losses.iter().sum::<f64>() / data.rows().max(1) as f64;
        let score = match data.targets() {
            Targets::Classes { labels, .. } => {
                let mut metrics = Classification::new(outputs.width, &[top_k]);
                metrics.add(&outputs.values, labels);
                Score::Classes(metrics.score())
            }
            Targets::Values { values, .. } => {
                let mut metrics = Regression::new(outputs.width);
                metrics.add(&outputs.values, values);
                Score::Values(metrics.score())
            }
        };
        Self { loss, score }
    }
}

/// Evaluates a trainer's model, as it is, on a data set.
///
/// # Errors
/// If the device fails.
pub fn evaluate_part(trainer: &mut Trainer, data: &Dataset, config: &Config) -> Result<Evaluation> {
    Ok(Evaluation::of(&trainer.evaluate(data)?, data, config.validate.top_k))
}

/// The same on the validation part, which verdicts and schedule of the trainer take note of.
///
/// # Errors
/// If the device fails.
pub fn validate(trainer: &mut Trainer, data: &Dataset, config: &Config) -> Result<Evaluation> {
    let outputs = trainer.evaluate(data)?;
    trainer.note_validation(&outputs.losses);
    Ok(Evaluation::of(&outputs, data, config.validate.top_k))
}

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
                summary.macro_f1 = Some(score.macro_f1);
                summary.weighted_f1 = Some(score.weighted_f1);
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

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    /// F1 of each class from the cells of the confusion matrix, 2·tp / (2·tp + fp + fn), averaged over classes and by their size.
    fn f1_of(confusion: &[[u32; 3]; 3]) -> [f64; 2] {
        let [mut plain, mut weighted, mut examples] = [0.0; 3];
        for class in 0..3 {
            let right = f64::from(confusion[class][class]);
            let size: f64 = confusion[class].iter().map(|&n| f64::from(n)).sum();
            let predicted: f64 = confusion.iter().map(|row| f64::from(row[class])).sum();
            let f1 = 2.0 * right / (2.0 * right + (predicted - right) + (size - right));
            (plain, weighted, examples) = (plain + f1, weighted + size * f1, examples + size);
        }
        [plain / 3.0, weighted / examples]
    }

    #[test]
    fn a_summary_has_both_means_of_f1() {
        // Targets down, predictions across; classes of unlike size, so the two means differ.
        let confusion = [[7, 2, 1], [1, 3, 0], [0, 1, 1]];
        let cells = (0..9).flat_map(|cell| vec![(cell / 3, cell % 3); confusion[cell / 3][cell % 3] as usize]);
        let (labels, predictions): (Vec<usize>, Vec<usize>) = cells.unzip();
        let rows = labels.len();
        let logits = predictions.iter().flat_map(|&at| (0..3).map(move |class| if class == at { 1.0 } else { 0.0 }));
        let outputs = Outputs { width: 3, values: logits.collect(), losses: vec![0.5; rows] };
        let labels = labels.into_iter().map(|label| label as u32).collect();
        let targets = Targets::Classes { labels, classes: 3 };
        let data = Dataset::new("by hand", Array2::zeros((rows, 1)), targets).unwrap();
        let summary = Evaluation::of(&outputs, &data, 2).summary();
        let [plain, weighted] = f1_of(&confusion);
        let is_near = |found: Option<f64>, expected: f64| found.is_some_and(|found| (found - expected).abs() < 1e-12);
        assert!((plain - weighted).abs() > 0.01 && rows == 16, "{plain} and {weighted}");
        assert!(is_near(summary.macro_f1, plain), "{:?}, expected {plain}", summary.macro_f1);
        assert!(is_near(summary.weighted_f1, weighted), "{:?}, expected {weighted}", summary.weighted_f1);
        assert!(is_near(summary.accuracy, 11.0 / 16.0), "{:?}", summary.accuracy);
    }
}

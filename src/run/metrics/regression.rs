//! Scores of a regression.

use crate::base::Real;
use serde::{Deserialize, Serialize};

/// Sums errors batch by batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Regression {
    outputs: Vec<Sums>,
}

/// An output's sums. Those of the targets are kept about their running mean (Welford 1962), since the difference of two
/// large sums of squares would lose every digit of targets far from zero.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sums {
    examples: u64,
    absolute: f64,
    squared: f64,
    mean: f64,
    about_mean: f64,
}

/// The scores of one output, or the overall ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OutputScore {
    /// 1 − Σ(y − ŷ)² / Σ(y − ȳ)²; none where all targets are equal.
    pub r2: Option<f64>,
    /// Mean absolute error.
    pub mae: f64,
    /// Root of the mean squared error.
    pub rmse: f64,
}

/// The scores of a regression. Errors are 0 if there was no example.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegressionScore {
    /// How many examples.
    pub examples: u64,
    /// Over all outputs: the mean of those R² that exist; MAE and RMSE over all errors alike.
    pub overall: OutputScore,
    /// Each output.
    pub outputs: Vec<OutputScore>,
}

impl Regression {
    /// For models with this many outputs.
    ///
    /// # Panics
    /// With no output.
    pub fn new(outputs: usize) -> Self {
        assert!(outputs > 0, "a regression has an output");
        Self { outputs: vec![Sums::default(); outputs] }
    }

    /// Adds a batch: outputs and targets row-major, as many of each.
    ///
    /// # Panics
    /// If they are not as many, or end within a row.
    pub fn add<A: Real, B: Real>(&mut self, outputs: &[A], targets: &[B]) {
        let width = self.outputs.len();
        assert!(outputs.len() == targets.len() && outputs.len().is_multiple_of(width), "rows of {width} outputs");
        for (outputs, targets) in outputs.chunks_exact(width).zip(targets.chunks_exact(width)) {
            for ((sums, output), target) in self.outputs.iter_mut().zip(outputs).zip(targets) {
                sums.add(output.f64(), target.f64());
            }
        }
    }

    /// The scores so far.
    pub fn score(&self) -> RegressionScore {
        let outputs: Vec<OutputScore> = self.outputs.iter().map(Sums::score).collect();
        let r2: Vec<f64> = outputs.iter().filter_map(|output| output.r2).collect();
        let examples = self.outputs[0].examples;
        let errors = (examples * outputs.len() as u64).max(1) as f64;
        let overall = OutputScore {
            r2: (!r2.is_empty()).then(|| r2.iter().sum::<f64>() / r2.len() as f64),
            mae: self.outputs.iter().map(|sums| sums.absolute).sum::<f64>() / errors,
            rmse: (self.outputs.iter().map(|sums| sums.squared).sum::<f64>() / errors).sqrt(),
        };
        RegressionScore { examples, overall, outputs }
    }
}

impl Sums {
    fn add(&mut self, output: f64, target: f64) {
        self.examples += 1;
        self.absolute += (target - output).abs();
        self.squared += (target - output) * (target - output);
        let off = target - self.mean;
        self.mean += off / self.examples as f64;
        self.about_mean += off * (target - self.mean);
    }

    fn score(&self) -> OutputScore {
        let n = self.examples.max(1) as f64;
        OutputScore {
            r2: (self.about_mean > 0.0).then(|| 1.0 - self.squared / self.about_mean),
            mae: self.absolute / n,
            rmse: (self.squared / n).sqrt(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9 * b.abs().max(1.0), "{a} and {b}");
    }

    #[test]
    fn scores_are_those_of_the_formulas() {
        let targets = [0.5f64, 1.0, -1.0, 1.0, 7.0, -6.0];
        let outputs = [0.0f32, 2.0, -1.0, 2.0, 8.0, -5.0];
        let mut whole = Regression::new(2);
        whole.add(&outputs, &targets);
        let score = whole.score();
        close(score.outputs[0].r2.unwrap(), 1.0 - 1.25 / (217.0 / 6.0));
        close(score.outputs[1].r2.unwrap(), 1.0 - 3.0 / (98.0 / 3.0));
        close(score.overall.r2.unwrap(), 1.0 - (7.5 / 217.0 + 9.0 / 98.0) / 2.0);
        close(score.outputs[0].mae, 0.5);
        close(score.outputs[1].rmse, 1.0);
        close(score.overall.mae, 0.75);
        close(score.overall.rmse, (4.25f64 / 6.0).sqrt());
        assert_eq!(score.examples, 3);

        let mut parts = Regression::new(2);
        parts.add(&outputs[..2], &targets[..2]);
        parts.add(&outputs[2..], &targets[2..]);
        assert_eq!(parts, whole, "batches do not matter");
    }

    #[test]
    fn targets_far_from_zero_keep_their_variance() {
        let mut far = Regression::new(1);
        let targets: Vec<f64> = (0..1000).map(|i| 1e9 + f64::from(i % 2)).collect();
        far.add(&vec![1e9 + 0.5; 1000], &targets);
        assert!(far.score().overall.r2.unwrap().abs() < 1e-6);
    }

    #[test]
    fn equal_targets_have_no_r2() {
        let mut equal = Regression::new(1);
        assert_eq!(equal.score().overall, OutputScore::default());
        equal.add(&[1.0f32, 3.0], &[2.0f32, 2.0]);
        assert_eq!(equal.score().overall, OutputScore { r2: None, mae: 1.0, rmse: 1.0 });
        let mut broken = Regression::new(1);
        broken.add(&[f32::NAN, 3.0], &[2.0f32, 4.0]);
        assert!(broken.score().overall.mae.is_nan());
    }
}

//! A short run, and how good it was.

use crate::base::Result;
use crate::config::Config;
use crate::data::Dataset;
use crate::run::{Score, Setup, Trainer, evaluate_part, load, open_device, validate};
use crate::verdict::{Evidence, Verdict};
use serde::Serialize;

/// A short run: what it showed.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Facts and readings.
    pub evidence: Evidence,
    /// What they say.
    pub verdicts: Vec<Verdict>,
    /// How good the model was at the end.
    pub outcome: Outcome,
}

/// How good a model was at the end of a short run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Outcome {
    /// Steps that were made.
    pub steps: u64,
    /// The training loss over the last 50 steps.
    pub loss: f64,
    /// Accuracy of a classifier, R² of a regression, both 1 at best; none where a value was not finite.
    pub score: Option<f64>,
    /// What the score is: `accuracy` or `R²`.
    pub measure: &'static str,
    /// Of which part of the data: `validation`, `test` or `training`.
    pub part: &'static str,
}

/// Validations in a trial: enough for three that get worse.
const VALIDATIONS: u64 = 10;

/// Trains for so many steps, or until a value is not finite; validates on the way where there is a validation part; scores
/// the model at the end on the validation part, else the test part, else the training part.
///
/// # Errors
/// If config, data or device do not fit, or the device fails.
pub fn trial(config: &Config, steps: u64) -> Result<Trial> {
    let splits = load(config)?;
    let (part, judged): (_, Dataset) = match (&splits.validation, &splits.test) {
        (Some(data), _) => ("validation", data.clone()),
        (None, Some(data)) => ("test", data.clone()),
        (None, None) => ("training", splits.train.clone()),
    };
    let device = open_device(config)?;
    let setup = Setup { splits, executor: device.executor, threads: device.threads, objective: None };
    let mut trainer = Trainer::new(config, setup)?;
    trainer.within(|trainer| {
        let is_finite = run(trainer, config, steps, (part == "validation").then_some(&judged))?;
        let evidence = trainer.evidence();
        let mut outcome =
            Outcome { steps: trainer.next_step(), loss: evidence.readings.loss, part, ..Outcome::default() };
        (outcome.measure, outcome.score) = score(trainer, &judged, config, is_finite)?;
        Ok(Trial { verdicts: trainer.verdicts(), evidence, outcome })
    })
}

/// Whether all values were finite.
fn run(trainer: &mut Trainer, config: &Config, steps: u64, validation: Option<&Dataset>) -> Result<bool> {
    let every = steps.div_ceil(VALIDATIONS).max(1);
    for step in 1..=steps {
        if trainer.step()?.non_finite.is_some() {
            return Ok(false);
        }
        if let Some(data) = validation.filter(|_| step % every == 0) {
            validate(trainer, data, config)?;
        }
    }
    Ok(true)
}

fn score(
    trainer: &mut Trainer,
    data: &Dataset,
    config: &Config,
    is_finite: bool,
) -> Result<(&'static str, Option<f64>)> {
    let evaluation = evaluate_part(trainer, data, config)?;
    let (measure, score) = match evaluation.score {
        Score::Classes(score) => ("accuracy", Some(score.accuracy)),
        Score::Values(score) => ("R²", score.overall.r2),
    };
    Ok((measure, score.filter(|score| is_finite && score.is_finite())))
}

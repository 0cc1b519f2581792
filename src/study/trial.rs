//! A short run, and how good it was.

use super::units::{UnitShares, sample, unit_shares};
use crate::base::Result;
use crate::config::Config;
use crate::data::Dataset;
use crate::run::{Evaluation, HostTensor, Score, Setup, Step, Trainer, evaluate_part, load, open_device, validate};
use crate::verdict::{Evidence, Verdict, judge};
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

/// A trial between two steps, for who looks on: after the first step, at each validation, and where a value is not finite.
pub(super) struct Look<'a> {
    /// The last step.
    pub step: &'a Step,
    /// The mean training loss of the steps since the last look.
    pub loss: f64,
    /// How good the model is on the validation part, where there is one and it was looked at.
    pub evaluation: Option<&'a Evaluation>,
    /// The parameters, after the step.
    pub params: &'a [HostTensor],
    /// What the units behind each layer do.
    pub units: &'a [UnitShares],
}

/// Who looks on.
pub(super) type Watch<'a> = dyn FnMut(&Look<'_>) + Send + 'a;

/// Trains for so many steps, or until a value is not finite; validates on the way where there is a validation part; scores
/// the model at the end on the validation part, else the test part, else the training part. With `validate.patience` it ends
/// when that many of its validations brought no better loss, and what is scored are the weights of the best.
///
/// # Errors
/// If config, data or device do not fit, or the device fails.
pub fn trial(config: &Config, steps: u64) -> Result<Trial> {
    watched(config, steps, None)
}

/// The same, with somebody who looks on.
pub(super) fn watched(config: &Config, steps: u64, watch: Option<&mut Watch<'_>>) -> Result<Trial> {
    let splits = load(config)?;
    let (part, judged): (_, Dataset) = match (&splits.validation, &splits.test) {
        (Some(data), _) => ("validation", data.clone()),
        (None, Some(data)) => ("test", data.clone()),
        (None, None) => ("training", splits.train.clone()),
    };
    let rows = sample(&splits.train);
    let device = open_device(config)?;
    let setup = Setup { splits, executor: device.executor, threads: device.threads, objective: None };
    let mut trainer = Trainer::new(config, setup)?;
    let validation = (part == "validation").then_some(&judged);
    trainer.within(|trainer| {
        let mut course = Course { config, validation, rows: &rows, best: None, since_best: 0, losses: (0.0, 0), watch };
        let is_finite = course.run(trainer, steps)?;
        let mut evidence = trainer.evidence();
        if is_finite {
            put_units(&mut evidence, &unit_shares(&config.model.layers, &trainer.params()?, &rows));
        }
        if let Some((_, params)) = course.best.as_ref().filter(|_| config.validate.patience.is_some()) {
            trainer.set_params(params)?;
        }
        let mut outcome =
            Outcome { steps: trainer.next_step(), loss: evidence.readings.loss, part, ..Outcome::default() };
        (outcome.measure, outcome.score) = score(trainer, &judged, config, is_finite)?;
        Ok(Trial { verdicts: judge(&evidence, &config.verdicts.silence), evidence, outcome })
    })
}

/// What units do becomes evidence where training has not measured it: dead units before a window of steps is over, and
/// whatever the probes leave out.
fn put_units(evidence: &mut Evidence, units: &[UnitShares]) {
    for (layer, units) in evidence.readings.layers.iter_mut().zip(units) {
        layer.dead_share = layer.dead_share.or(units.dead);
        layer.saturated_share = layer.saturated_share.or(units.saturated);
    }
}

/// A trial on its way.
struct Course<'a, 'w> {
    config: &'a Config,
    validation: Option<&'a Dataset>,
    rows: &'a [Vec<f64>],
    /// The lowest loss of a validation, and the parameters then where they are needed.
    best: Option<(f64, Vec<HostTensor>)>,
    since_best: u64,
    /// The sum of the losses since the last look, and their count.
    losses: (f64, u64),
    watch: Option<&'a mut Watch<'w>>,
}

impl Course<'_, '_> {
    /// Whether all values were finite.
    fn run(&mut self, trainer: &mut Trainer, steps: u64) -> Result<bool> {
        let every = steps.div_ceil(VALIDATIONS).max(1);
        for step in 1..=steps {
            let measured = trainer.step()?;
            let is_finite = measured.non_finite.is_none();
            self.losses = (self.losses.0 + measured.values.loss(), self.losses.1 + 1);
            let is_due = step % every == 0 || !is_finite;
            let kept = (self.watch.is_some() && (is_due || step == 1)).then(|| measured.clone());
            let evaluation = match self.validation.filter(|_| is_due && is_finite) {
                Some(data) => Some(validate(trainer, data, self.config)?),
                None => None,
            };
            if let Some(evaluation) = &evaluation {
                self.note(trainer, evaluation.loss)?;
            }
            if let Some(step) = kept {
                self.look(trainer, &step, evaluation.as_ref())?;
            }
            if !is_finite {
                return Ok(false);
            }
            if self.config.validate.patience.is_some_and(|patience| self.since_best >= patience) {
                break;
            }
        }
        Ok(true)
    }

    fn note(&mut self, trainer: &mut Trainer, loss: f64) -> Result<()> {
        self.since_best += 1;
        if self.best.as_ref().is_none_or(|(best, _)| loss < *best) {
            let params = if self.config.validate.patience.is_some() { trainer.params()? } else { Vec::new() };
            (self.best, self.since_best) = (Some((loss, params)), 0);
        }
        Ok(())
    }

    fn look(&mut self, trainer: &mut Trainer, step: &Step, evaluation: Option<&Evaluation>) -> Result<()> {
        let (sum, count) = std::mem::take(&mut self.losses);
        let Some(watch) = self.watch.as_deref_mut() else { return Ok(()) };
        let params = trainer.params()?;
        let units = unit_shares(&self.config.model.layers, &params, self.rows);
        let loss = sum / count as f64;
        watch(&Look { step, loss, evaluation, params: &params, units: &units });
        Ok(())
    }
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

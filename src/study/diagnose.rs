//! What is wrong with a config: a static look at the model, a look at its initial signals, a short run, verdicts, and the
//! remedies tried.

use super::attempt::{Attempt, attempts, changed};
use super::trial::{Outcome, Trial, Watch, trial, watched};
use crate::base::Result;
use crate::config::Config;
use crate::verdict::{Evidence, Grade, RULES, Readings, Verdict, expected, judge};
use serde::Serialize;

/// What a caller decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiagnoseOptions {
    /// Steps of the short run, and of each tried remedy.
    pub steps: u64,
    /// Whether remedies are tried.
    pub tries: bool,
}

impl Default for DiagnoseOptions {
    /// Six windows of the averages, and no remedies.
    fn default() -> Self {
        Self { steps: 300, tries: false }
    }
}

/// Batches that the look at initialization averages over.
const LOOK_STEPS: u64 = 8;

/// A layer before anything is learned, measured on real batches and as theory has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerLook {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Numbers in and out for an example.
    pub size: [usize; 2],
    /// The activation behind it.
    pub activation: &'static str,
    /// RMS of the activations behind it.
    pub activation_rms: f64,
    /// The same in theory.
    pub activation_rms_expected: f64,
    /// ‖δ_l‖/‖δ_L‖: how much of the last layer's signal arrives.
    pub arriving: f64,
    /// ‖δ_l‖/‖δ_{l+1}‖.
    pub factor: f64,
    /// The same in theory; see [`crate::verdict::expected`].
    pub factor_expected: f64,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diagnosis {
    /// The name of the config.
    pub name: String,
    /// The layers before anything is learned.
    pub layers: Vec<LayerLook>,
    /// The loss of the first step.
    pub loss_start: f64,
    /// How good the short run was.
    pub outcome: Outcome,
    /// Verdicts, the gravest first.
    pub verdicts: Vec<Verdict>,
    /// The tried remedies.
    pub attempts: Vec<Attempt>,
    /// Which of them did best, if one did better than no remedy.
    pub best: Option<usize>,
}

impl Diagnosis {
    /// Whether a fault was found.
    pub fn has_fault(&self) -> bool {
        self.verdicts.iter().any(|verdict| verdict.grade == Grade::Fault)
    }

    /// The config with the best remedy; none if no remedy did better.
    ///
    /// # Errors
    /// If it is not the config that was diagnosed.
    pub fn mended(&self, config: &Config) -> Result<Option<Config>> {
        self.best.map(|best| changed(config, &self.attempts[best].changes)).transpose()
    }
}

/// Looks for what is wrong with a config.
///
/// # Errors
/// If config, data or device do not fit, or the device fails.
pub fn diagnose(config: &Config, options: &DiagnoseOptions) -> Result<Diagnosis> {
    diagnose_watched(config, options, None).map(|(diagnosis, _)| diagnosis)
}

/// The same, with somebody who looks on at the short run, and with the evidence of that run.
pub(super) fn diagnose_watched(
    config: &Config,
    options: &DiagnoseOptions,
    watch: Option<&mut Watch<'_>>,
) -> Result<(Diagnosis, Evidence)> {
    let mut still = config.clone();
    still.set("train.lr=0")?;
    let look = trial(&still, LOOK_STEPS)?;
    let run = watched(config, options.steps, watch)?;
    let verdicts = verdicts(config, &look, &run);
    let attempts = if options.tries { attempts(config, &verdicts, options.steps) } else { Vec::new() };
    let best = best(&run.outcome, &attempts);
    let diagnosis = Diagnosis {
        name: config.name.clone(),
        layers: layers(&look.evidence),
        loss_start: run.evidence.readings.loss_start,
        outcome: run.outcome,
        verdicts,
        attempts,
        best,
    };
    Ok((diagnosis, run.evidence))
}

/// The verdicts of the run, and those of the initial signals that it does not speak of or explain. What the initial signals
/// show is advice if the run got over it.
fn verdicts(config: &Config, look: &Trial, run: &Trial) -> Vec<Verdict> {
    let readings = Readings { loss: run.evidence.readings.loss, ..look.evidence.readings.clone() };
    let initial = Evidence { facts: run.evidence.facts.clone(), readings };
    // What is there before anything is learned is explained neither by the rate nor by what arose later.
    let is_later = |verdict: &Verdict| match verdict.id {
        "lr_too_high" | "lr_too_low" => true,
        "non_finite" => look.evidence.readings.non_finite.is_none(),
        _ => verdict.since.is_some_and(|since| since > LOOK_STEPS),
    };
    let explained = |id: &str| {
        let by = |verdict: &Verdict| {
            RULES.iter().any(|rule| rule.id == verdict.id && rule.silences.contains(&id)) && !is_later(verdict)
        };
        run.verdicts.iter().any(|verdict| verdict.id == id || by(verdict))
    };
    let mut verdicts = judge(&initial, &config.verdicts.silence);
    let from_start: Vec<&str> = verdicts.iter().map(|verdict| verdict.id).collect();
    verdicts.retain(|verdict| verdict.grade < Grade::Information && !explained(verdict.id));
    let said: Vec<&str> = verdicts.iter().map(|verdict| verdict.id).collect();
    let of_run = run.verdicts.iter().filter(|verdict| {
        let by = |id: &&&str| RULES.iter().any(|rule| rule.id == **id && rule.silences.contains(&verdict.id));
        let is_explained = said.iter().any(|id| by(&id)) || is_consequence(verdict, &from_start, run);
        !is_explained && (said.is_empty() || verdict.id != "healthy")
    });
    verdicts.extend(of_run.cloned());
    let place = |verdict: &Verdict| RULES.iter().position(|rule| rule.id == verdict.id);
    verdicts.sort_by_key(|verdict| (verdict.grade, place(verdict)));
    verdicts
}

/// Whether units came to do nothing only in training, and under a signal that was lost or exploded from the start.
fn is_consequence(verdict: &Verdict, initial: &[&str], run: &Trial) -> bool {
    let is_early = |other: &Verdict| {
        matches!(other.id, "vanishing" | "exploding") && other.since.is_some_and(|since| since <= LOOK_STEPS)
    };
    let of_units = matches!(verdict.id, "dead_units" | "saturated_units");
    of_units && !initial.contains(&verdict.id) && run.verdicts.iter().any(is_early)
}

fn layers(look: &Evidence) -> Vec<LayerLook> {
    let theory = expected(&look.facts);
    let layers = look.facts.layers.iter().zip(&look.readings.layers).zip(theory).enumerate();
    let layers = layers.map(|(l, ((facts, reading), theory))| LayerLook {
        name: facts.name.clone(),
        kind: facts.kind.clone(),
        size: [facts.inputs, facts.outputs],
        activation: facts.activation.word(),
        activation_rms: reading.activation,
        activation_rms_expected: theory.activation_rms,
        arriving: look.readings.arriving(l),
        factor: look.readings.factor(l),
        factor_expected: theory.factor,
    });
    layers.collect()
}

/// The attempt with the highest score, if that is above the score without; of equal ones the one with fewest changes.
fn best(untreated: &Outcome, attempts: &[Attempt]) -> Option<usize> {
    let key = |attempt: &Attempt| (attempt.score(), -(attempt.changes.len() as f64));
    let order = |a: &usize, b: &usize| {
        let (a, b) = (key(&attempts[*a]), key(&attempts[*b]));
        a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
    };
    let best = (0..attempts.len()).max_by(order)?;
    (attempts[best].score() > untreated.score.unwrap_or(f64::NEG_INFINITY)).then_some(best)
}

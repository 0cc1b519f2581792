//! A case, run: what verdicts say of it, what other tools would say, and what its remedies do.

use super::case::Case;
use super::tools::{Kind as Alarm, TOOLS, ToolReading, ToolRun, WeightReading};
use crate::base::Result;
use crate::config::Config;
use crate::run::{HostTensor, load};
use crate::study::diagnose::{DiagnoseOptions, Diagnosis, diagnose_watched};
use crate::study::trial::Look;
use crate::verdict::{Evidence, Facts, Grade, Verdict};
use serde::Serialize;
use std::path::Path;

/// What was said of a case.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Accuracy or R²; 0 where it was less, or not finite.
    pub score: f64,
    /// The training loss at the end, over the least of its start and chance.
    pub loss_share: f64,
    /// The verdicts above information, the gravest first, those of initial signals with them.
    pub verdicts: Vec<Verdict>,
    /// Whether it was called converged.
    pub is_converged: bool,
    /// What each of the other tools calls it.
    pub tools: [Vec<Alarm>; 3],
    /// What the evidence says of the run, for who chooses thresholds.
    pub evidence: Evidence,
}

/// What came of the remedies of a case.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Repair {
    /// The best remedy; none if there was none.
    pub what: Option<String>,
    /// The score with it.
    pub score: f64,
    /// How many remedies were tried.
    pub tried: usize,
    /// Keys that were changed and that no remedy names: there must be none.
    pub unnamed: Vec<String>,
}

/// Runs a case.
pub(super) fn measure(case: &Case, folder: &Path) -> Result<Measured> {
    let config = case.config_in(folder)?;
    let mut tools = ToolRun { inputs: inputs(&config)?, readings: Vec::new() };
    let options = DiagnoseOptions { steps: case.steps, tries: false };
    let mut watch = |look: &Look<'_>| tools.readings.push(reading(look));
    let (diagnosis, evidence) = diagnose_watched(&config, &options, Some(&mut watch))?;
    let is_converged = diagnosis.verdicts.iter().any(|verdict| verdict.id == "converged");
    let readings = &evidence.readings;
    let base = evidence.facts.chance.map_or(readings.loss_start, |chance| chance.min(readings.loss_start));
    Ok(Measured {
        score: score(&diagnosis),
        loss_share: readings.loss / base,
        verdicts: diagnosis.verdicts.into_iter().filter(|verdict| verdict.grade < Grade::Information).collect(),
        is_converged,
        tools: TOOLS.map(|tool| tool.alarms(&tools)),
        evidence,
    })
}

/// Tries the remedies of a case.
pub(super) fn repair(case: &Case, folder: &Path) -> Result<Repair> {
    let config = case.config_in(folder)?;
    let options = DiagnoseOptions { steps: case.steps, tries: true };
    let (diagnosis, _) = diagnose_watched(&config, &options, None)?;
    let untreated = score(&diagnosis);
    let Some(best) = diagnosis.best else {
        return Ok(Repair { what: None, score: untreated, tried: diagnosis.attempts.len(), unnamed: Vec::new() });
    };
    let attempt = &diagnosis.attempts[best];
    let named: Vec<&str> = attempt.changes.iter().map(|change| change.key.as_str()).collect();
    let mended = diagnosis.mended(&config)?.unwrap_or_else(|| config.clone());
    Ok(Repair {
        what: Some(attempt.what.clone()),
        score: attempt.outcome.as_ref().and_then(|outcome| outcome.score).unwrap_or(0.0).max(0.0),
        tried: diagnosis.attempts.len(),
        unnamed: unnamed(&config, &mended, &named),
    })
}

/// The keys that differ and are not named.
fn unnamed(before: &Config, after: &Config, named: &[&str]) -> Vec<String> {
    // Another optimizer, or loss, brings its own settings along, at their defaults.
    let follows = |key: &str| {
        let choices = [("train.optimizer", "train."), ("loss.kind", "loss.label_smoothing")];
        choices.iter().any(|(choice, own)| named.contains(choice) && key.starts_with(own))
    };
    let is_named = |key: &str| named.contains(&key) || follows(key);
    let differences = after.differences(before).into_iter().map(|difference| difference.key);
    let mut found: Vec<String> = differences.filter(|key| !key.starts_with("model.layers") && !is_named(key)).collect();
    let (a, b) = (&before.model.layers, &after.model.layers);
    let is_free = |i: usize| named.iter().any(|name| name.starts_with(&format!("model.layers[{i}]")));
    if !named.contains(&"model.layers") {
        let places = 0..a.len().max(b.len());
        let changed = places.filter(|&i| a.get(i) != b.get(i) && !is_free(i));
        found.extend(changed.map(|i| format!("model.layers[{i}]")));
    }
    found
}

fn score(diagnosis: &Diagnosis) -> f64 {
    diagnosis.outcome.score.unwrap_or(0.0).max(0.0)
}

fn inputs(config: &Config) -> Result<[f64; 2]> {
    let splits = load(config)?;
    let values = || splits.train.values().iter().map(|&x| f64::from(x));
    Ok([values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max)])
}

/// What the rules of other tools look at.
fn reading(look: &Look<'_>) -> ToolReading {
    let values = &look.step.values;
    let lr = values.scalar("lr");
    let of = |id: &str, tensor: usize| values.get(id)[tensor];
    let weights = look.params.iter().enumerate().filter(|(_, tensor)| tensor.shape.rank() == 2);
    let weights = weights.map(|(i, tensor)| WeightReading {
        mean: of("tensor_grad_mean", i),
        norm: of("tensor_grad_norm", i),
        zeros: of("tensor_grad_zeros", i),
        variance: variance(tensor),
        update_ratio: of("tensor_update_ratio", i),
        rate_ratio: lr * of("tensor_grad_norm", i) / of("tensor_weight_norm", i),
    });
    ToolReading {
        weights: weights.collect(),
        units: look.units.to_vec(),
        is_non_finite: look.step.non_finite.is_some(),
        loss: look.loss,
        validation: look.evaluation.map(|evaluation| evaluation.loss),
        accuracy: look.evaluation.and_then(|evaluation| evaluation.accuracy()),
    }
}

fn variance(tensor: &HostTensor) -> f64 {
    let n = tensor.values.len().max(1) as f64;
    let mean = tensor.values.iter().sum::<f64>() / n;
    tensor.values.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / n
}

/// The place of the layer that a verdict names, of those with parameters.
pub(super) fn layer_of(verdict: &Verdict, facts: &Facts) -> Option<usize> {
    let name = verdict.layer.as_ref()?;
    facts.layers.iter().position(|layer| layer.name == *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_remedy_names_is_seen() {
        let before = Config::builtin_digits();
        let after = |changes: &[&str]| {
            let mut config = before.clone();
            config.set_all(changes).unwrap();
            config
        };
        let changes = ["train.lr=0.1", "model.layers[2].out=7", "model.gain=2.0"];
        let all = ["train.lr", "model.layers[2].out", "model.gain"];
        assert!(unnamed(&before, &after(&changes), &all).is_empty());
        assert_eq!(unnamed(&before, &after(&changes), &all[..2]), ["model.gain"]);
        assert_eq!(unnamed(&before, &after(&changes), &[all[0], all[2]]), ["model.layers[2]"]);
        assert_eq!(unnamed(&before, &after(&changes), &["train.lr", "model.layers", "model.gain"]).len(), 0);
        let other = after(&["train.optimizer=sgd", "train.lr=0.5"]);
        assert!(unnamed(&before, &other, &["train.optimizer"]).is_empty());
        assert!(!unnamed(&before, &other, &["model.gain"]).is_empty());
    }
}

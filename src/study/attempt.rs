//! Remedies, tried: the same run from the same seed with nothing changed but what the remedy names.

use super::trial::{Outcome, trial};
use crate::base::Result;
use crate::config::Config;
use crate::verdict::{Change, Grade, Remedy, Verdict};
use serde::Serialize;

/// A tried remedy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attempt {
    /// The ids of the verdicts whose remedies these are.
    pub of: Vec<&'static str>,
    /// What it does.
    pub what: String,
    /// What was changed.
    pub changes: Vec<Change>,
    /// How good the model was then; none if the changed config cannot be run.
    pub outcome: Option<Outcome>,
    /// Why it cannot.
    pub error: Option<String>,
    /// Faults that were found then.
    pub faults: Vec<&'static str>,
}

impl Attempt {
    /// The score, lower than any where there is none.
    pub(super) fn score(&self) -> f64 {
        self.outcome.as_ref().and_then(|outcome| outcome.score).unwrap_or(f64::NEG_INFINITY)
    }
}

/// Tries each remedy of the verdicts by itself, and the first remedies of all of them together.
pub(super) fn attempts(config: &Config, verdicts: &[Verdict], steps: u64) -> Vec<Attempt> {
    let mut tried: Vec<Attempt> = Vec::new();
    for verdict in verdicts {
        for remedy in &verdict.remedies {
            match tried.iter_mut().find(|attempt| attempt.changes == remedy.changes) {
                Some(attempt) => attempt.of.push(verdict.id),
                None => tried.push(attempt(config, vec![verdict.id], remedy, steps)),
            }
        }
    }
    let firsts: Vec<(&'static str, &Remedy)> =
        verdicts.iter().filter_map(|verdict| Some((verdict.id, verdict.remedies.first()?))).collect();
    if firsts.len() > 1 {
        let (of, remedy) = together(&firsts);
        if !tried.iter().any(|attempt| attempt.changes == remedy.changes) {
            tried.push(attempt(config, of, &remedy, steps));
        }
    }
    tried
}

/// All remedies at once, the graver verdict's first. One that changes what another has changed already is left out.
fn together(remedies: &[(&'static str, &Remedy)]) -> (Vec<&'static str>, Remedy) {
    let mut all = Remedy { what: "the first remedies together".into(), changes: Vec::new() };
    let mut of = Vec::new();
    for (id, remedy) in remedies {
        let clashes = |change: &Change| {
            all.changes.iter().any(|other| {
                let (a, b) = (change.key.as_str(), other.key.as_str());
                change != other && (a.starts_with(b) || b.starts_with(a))
            })
        };
        if remedy.changes.iter().any(clashes) {
            continue;
        }
        of.push(*id);
        let fresh: Vec<Change> =
            remedy.changes.iter().filter(|change| !all.changes.contains(change)).cloned().collect();
        all.changes.extend(fresh);
    }
    (of, all)
}

/// The config with the changes of a remedy.
///
/// # Errors
/// If they do not fit it.
pub(super) fn changed(config: &Config, changes: &[Change]) -> Result<Config> {
    let mut config = config.clone();
    config.set_all(changes.iter().map(Change::assignment))?;
    Ok(config)
}

fn attempt(config: &Config, of: Vec<&'static str>, remedy: &Remedy, steps: u64) -> Attempt {
    let result = changed(config, &remedy.changes).and_then(|config| trial(&config, steps));
    let faults = result.iter().flat_map(|trial| &trial.verdicts).filter(|verdict| verdict.grade == Grade::Fault);
    Attempt {
        of,
        what: remedy.what.clone(),
        changes: remedy.changes.clone(),
        faults: faults.map(|verdict| verdict.id).collect(),
        error: result.as_ref().err().map(ToString::to_string),
        outcome: result.ok().map(|trial| trial.outcome),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedies_that_change_the_same_key_are_not_joined() {
        let set = |key: &str, value: &str| Remedy::set("x", key, value);
        let (rate, other, init, relu, layers) = (
            set("train.lr", "0.1"),
            set("train.lr", "0.2"),
            set("model.init", "\"he_normal\""),
            set("model.layers[1]", "\"relu\""),
            set("model.layers", "[]"),
        );
        let (of, all) =
            together(&[("a", &rate), ("b", &other), ("c", &init), ("d", &relu), ("e", &layers), ("f", &rate)]);
        assert_eq!(of, ["a", "c", "d", "f"]);
        let keys: Vec<&str> = all.changes.iter().map(|change| change.key.as_str()).collect();
        assert_eq!(keys, ["train.lr", "model.init", "model.layers[1]"]);
    }
}

//! `summary.json`: what a run came to, for people, scripts and studies of many runs.

use super::folder::{RunFolder, json_text};
use super::profile::Profile;
use crate::base::{Error, Result};
use crate::probe::{Against, NoiseReader, quotient};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// The name of the file.
pub const SUMMARY_FILE: &str = "summary.json";

/// How good the model is on a part of the data. What does not apply is left out; a loss that is not finite is null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PartSummary {
    /// Mean loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// How much of the part is classified right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// For each k: how often the right class is among the k first.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub top_k: BTreeMap<usize, f64>,
    /// F1 averaged over classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub macro_f1: Option<f64>,
    /// F1 averaged over classes by their size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weighted_f1: Option<f64>,
    /// The share of the targets' variance that is explained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r2: Option<f64>,
    /// Mean absolute error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mae: Option<f64>,
    /// Root of the mean squared error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rmse: Option<f64>,
    /// How many examples the part has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub examples: Option<u64>,
    /// Anything else: the confusion matrix, scores per class or output.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// The best state of a run, by the quantity that it was told to watch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BestSummary {
    /// What was watched: `validation.loss`.
    pub metric: String,
    /// Its best value.
    pub value: Option<f64>,
    /// The step after which it was reached.
    pub step: u64,
    /// The epochs done by then.
    pub epoch: f64,
    /// Whether its weights are those that were kept: those in the run folder, and those that the scores are of.
    #[serde(default)]
    pub kept: bool,
}

/// The noise of the gradient in all layers whose noise is measured, over the later half of the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NoiseSummary {
    /// How many steps these are.
    pub steps: u64,
    /// The mean of S, the trace of the covariance of the examples' gradients.
    pub trace: f64,
    /// The mean of |G|², the square of the gradient's norm without noise.
    pub signal: f64,
    /// 𝓑 = S/|G|², in examples; null where noise hides the gradient.
    pub scale: Option<f64>,
    /// The ends of its 95 % interval, between which batches are worth their steps and examples; the upper one is null where
    /// the gradient cannot be told from noise.
    pub batches: [Option<f64>; 2],
    /// Examples of a batch at the end.
    pub batch: usize,
    /// How that compares: `below`, `about` or `above`.
    pub batch_is: String,
}

impl NoiseSummary {
    /// What a run of batches of `batch` says of its noise; none if there are too few steps, or no noise was measured.
    pub fn of(noise: &NoiseReader, batch: usize) -> Option<Self> {
        let (pairs, steps) = noise.series().later_half();
        let interval = quotient(pairs)?;
        let mean = |f: fn(&(f64, f64)) -> f64| pairs.iter().map(f).sum::<f64>() / pairs.len() as f64;
        let finite = |x: f64| x.is_finite().then_some(x);
        Some(Self {
            steps,
            trace: mean(|pair| pair.0),
            signal: mean(|pair| pair.1),
            scale: finite(interval.value),
            batches: [interval.low, interval.high].map(finite),
            batch,
            batch_is: Against::of(batch as f64, interval.low, interval.high).word().into(),
        })
    }
}

/// How the loss of a run in mixed precision was scaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScalingSummary {
    /// The scale of the last step.
    pub loss_scale: f64,
    /// Steps that were skipped because the scaled gradient overflowed; they are among the steps of the run.
    pub skipped: u64,
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// The name of the run.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The final model on what it was trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<PartSummary>,
    /// The final model on the validation part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<PartSummary>,
    /// The final model on the test part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<PartSummary>,
    /// The best state on the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best: Option<BestSummary>,
    /// Optimizer steps.
    pub steps: u64,
    /// Epochs.
    pub epochs: f64,
    /// How many examples a second were trained on, without the time to start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub examples_per_second: Option<f64>,
    /// How long the run took.
    pub seconds: f64,
    /// What was found about the gradients, with evidence and remedies.
    pub verdicts: Vec<Value>,
    /// The noise of the gradient, where it is measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<NoiseSummary>,
    /// How the loss was scaled, in mixed precision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling: Option<ScalingSummary>,
    /// Where the time of a step went, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<Profile>,
    /// Where it ran.
    pub device: String,
    /// The seed of all its random numbers.
    pub seed: u64,
    /// Why it ended: `epochs`, `max_steps`, `max_time`, `patience`, `non_finite`, the id of a verdict, what an observer said, or
    /// `failure`: then `error` says what happened, and all else is what was known by then.
    pub stopped_by: String,
    /// Anything else.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Summary {
    /// Writes `summary.json`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, folder: &RunFolder) -> Result<()> {
        folder.write_atomic(SUMMARY_FILE, &json_text(SUMMARY_FILE, self)?)
    }

    /// Reads a `summary.json`.
    ///
    /// # Errors
    /// The file cannot be read or is no summary.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).map_err(|e| Error::input(path.display(), format!("could not be read: {e}")))?;
        serde_json::from_slice(&text).map_err(|e| Error::input(path.display(), format!("no summary of a run: {e}")))
    }

    /// The value at a path of keys with points between: `test.accuracy`, `test.top_k.5`.
    pub fn get(&self, path: &str) -> Option<Value> {
        let summary = serde_json::to_value(self).ok()?;
        path.split('.').try_fold(&summary, |value, key| value.get(key)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Scatter;

    fn summary() -> Summary {
        let test =
            PartSummary { accuracy: Some(0.975), top_k: [(5, 1.0)].into(), loss: Some(0.1), ..Default::default() };
        let train = PartSummary { loss: Some(0.05), ..Default::default() };
        Summary {
            test: Some(test),
            train: Some(train),
            steps: 900,
            epochs: 20.0,
            seconds: 1.5,
            verdicts: vec![serde_json::json!({"kind": "healthy"})],
            device: "cpu".into(),
            seed: 7,
            stopped_by: "epochs".into(),
            more: [("record_waits".to_string(), 0.into())].into_iter().collect(),
            ..Default::default()
        }
    }

    #[test]
    fn keys_nest_and_what_is_not_there_is_left_out() {
        let base = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(Some(base.path()), Path::new("unused"), "x").unwrap();
        summary().write(&folder).unwrap();
        let path = folder.file(SUMMARY_FILE);
        let json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!((&json["test"]["accuracy"], &json["test"]["top_k"]["5"]), (&0.975.into(), &1.0.into()));
        assert_eq!(json["train"], serde_json::json!({"loss": 0.05}));
        assert!(
            ["validation", "best", "name", "examples_per_second"].iter().all(|key| json.get(key).is_none()),
            "{json}"
        );
        assert_eq!(Summary::read(&path).unwrap(), summary());
    }

    #[test]
    fn values_are_found_by_path() {
        let get = |path| summary().get(path);
        assert_eq!((get("test.accuracy"), get("test.top_k.5")), (Some(0.975.into()), Some(1.0.into())));
        assert_eq!((get("steps"), get("record_waits")), (Some(900.into()), Some(0.into())));
        assert_eq!((get("test.r2"), get("validation.loss"), get("steps.x")), (None, None, None));
    }

    #[test]
    fn noise_is_that_of_the_later_half_with_its_interval() {
        let mut noise = NoiseReader::new(1, f64::INFINITY);
        // Two examples u = 1 and u = 1 + d: S is d²/2, and |G|² is 1 + d + d²/4 − S/2 = 1 + d.
        let mut push = |d: f64| {
            let squares = (1.0 + (1.0 + d) * (1.0 + d)) / 4.0;
            let layer = Scatter { squares, groups: 2, gradient: (1.0 + d / 2.0).powi(2) };
            noise.push(std::iter::once(layer), 2, 1.0);
        };
        (0..50).for_each(|_| push(40.0));
        assert_eq!(NoiseSummary::of(&NoiseReader::new(1, 1.0), 2), None);
        let later: Vec<f64> = (0..50).map(|i| [9.0, 10.0, 12.0][i % 3]).collect();
        later.iter().for_each(|&d| push(d));
        let mean = |f: fn(f64) -> f64| later.iter().map(|&d| f(d)).sum::<f64>() / 50.0;
        let [trace, signal] = [mean(|d| d * d / 2.0), mean(|d| 1.0 + d)];
        let found = NoiseSummary::of(&noise, 4).unwrap();
        assert_eq!((found.steps, found.batch_is.as_str()), (50, "about"));
        assert!((found.trace - trace).abs() < 1e-9 && (found.signal - signal).abs() < 1e-9, "{found:?}");
        let [low, high] = found.batches.map(Option::unwrap);
        let scale = found.scale.unwrap();
        assert!((scale - trace / signal).abs() < 1e-9 && low < scale && scale < high, "{found:?}");
        let word = |batch| NoiseSummary::of(&noise, batch).unwrap().batch_is;
        assert_eq!((word(1), word(100)), ("below".to_owned(), "above".to_owned()));
    }

    #[test]
    fn a_loss_that_is_not_finite_can_be_read_back() {
        let base = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(Some(base.path()), Path::new("unused"), "x").unwrap();
        let train = PartSummary { loss: Some(f64::NAN), ..Default::default() };
        Summary { train: Some(train), ..summary() }.write(&folder).unwrap();
        assert_eq!(Summary::read(&folder.file(SUMMARY_FILE)).unwrap().train.unwrap().loss, None);
        std::fs::write(folder.file(SUMMARY_FILE), "[]").unwrap();
        assert!(Summary::read(&folder.file(SUMMARY_FILE)).unwrap_err().to_string().contains("no summary"));
    }
}

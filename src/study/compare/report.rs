//! What came of a comparison.

use super::Options;
use super::basins::Journey;
use super::convex::Convex;
use super::spread::{Spread, wilson};
use super::variants::{Budget, Planned};
use crate::base::{Error, Result};
use crate::config::{Config, LossKind};
use crate::nn::Wells;
use crate::run::schema::SCHEMA_FILE;
use crate::run::steps::read_steps;
use crate::run::summary::Summary;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The name of the file.
pub const FILE: &str = "compare.json";

/// A place on the way of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Place {
    /// Steps done.
    pub step: u64,
    /// Examples seen.
    pub examples: u64,
    /// Seconds of training, without looking and validating.
    pub seconds: f64,
    /// The loss of the training examples.
    pub loss: f64,
}

/// Where a run had reached the target.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Reach {
    /// Steps done.
    pub steps: u64,
    /// Examples seen.
    pub examples: u64,
    /// Seconds of training.
    pub seconds: f64,
}

/// The noise of the gradient, averaged over the last quarter of the record's rows, if the record has it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Noise {
    /// The trace of the covariance of the examples' gradients.
    pub trace: f64,
    /// The squared norm of the true gradient.
    pub signal: Option<f64>,
    /// The noise scale: the trace over the squared norm, in examples.
    pub scale: Option<f64>,
}

/// One run of a variant. What the quantities are, the module says.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// The run folder, within that of the comparison.
    pub folder: String,
    /// Why it ended.
    pub stopped_by: String,
    /// Steps done.
    pub steps: u64,
    /// Examples seen.
    pub examples: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// The loss at the end.
    pub loss: Option<f64>,
    /// The lowest loss at any place.
    pub loss_lowest: Option<f64>,
    /// The accuracy.
    pub accuracy: Option<f64>,
    /// When the target was reached.
    pub to_target: Option<Reach>,
    /// The noise of the gradient.
    pub noise: Option<Noise>,
    /// The mean cosine between two successive updates.
    pub cosine: Option<f64>,
    /// The distance from start to end over the length of the path.
    pub straightness: Option<f64>,
    /// The share of steps after which the loss was higher.
    pub rises: Option<f64>,
    /// The step after which a value was not finite any more.
    pub non_finite_step: Option<u64>,
    /// How many layers had each verdict at the end.
    pub verdicts: BTreeMap<String, usize>,
    /// Distance and rate, where the optimum is known.
    pub convex: Option<Convex>,
    /// Where it began and ended on a surface with valleys.
    pub basins: Option<Journey>,
    /// The places.
    pub places: Vec<Place>,
    /// Steps and ‖w − w*‖₂, where the optimum is known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub distances: Vec<(u64, f64)>,
    /// The points on the way over the plane.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<[f64; 2]>,
}

/// In how many runs something happened.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Share {
    /// Runs in which it did.
    pub hits: usize,
    /// The share, with Wilson's interval at 95 %.
    pub share: f64,
    /// The interval.
    pub interval: [f64; 2],
}

/// How the runs of a variant fared on a surface with valleys.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BasinCount {
    /// Runs that ended somewhere.
    pub runs: usize,
    /// Those that ended in another valley than they began in.
    pub left: Share,
    /// Those that ended in the deepest valley.
    pub deepest: Share,
}

/// A variant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Variant {
    /// What differs, for people.
    pub name: String,
    /// The keys that differ, with their values.
    pub settings: BTreeMap<String, String>,
    /// Median and range over the seeds, by the names of the fields of [`Run`].
    pub over_seeds: BTreeMap<&'static str, Spread>,
    /// How many runs were ended by a value that was not finite.
    pub non_finite_runs: usize,
    /// Of a surface with valleys.
    pub basins: Option<BasinCount>,
    /// A run for each seed.
    pub runs: Vec<Run>,
}

/// All of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// What the runs are called.
    pub name: String,
    /// The folder.
    #[serde(skip)]
    pub folder: PathBuf,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// Which loss was to be reached, and whether it was asked for.
    pub target: Option<f64>,
    /// Whether the target was asked for.
    pub target_given: bool,
    /// The tilt of the surface, if it is one with valleys.
    pub surface_tilt: Option<f64>,
    /// The variants, in the order in which they were run.
    pub variants: Vec<Variant>,
}

impl Run {
    pub(super) fn of(
        config: &Config,
        summary: &Summary,
        folder: String,
        places: Vec<Place>,
        last_accuracy: Option<f64>,
    ) -> Self {
        let finite = |x: f64| Some(x).filter(|x| x.is_finite());
        let parts = [&summary.test, &summary.validation];
        let kept = parts.into_iter().flatten().find_map(|part| part.accuracy);
        let mut verdicts = BTreeMap::new();
        for word in summary.verdicts.iter().filter_map(|verdict| verdict.get("id")?.as_str()) {
            *verdicts.entry(word.to_owned()).or_insert(0) += 1;
        }
        Self {
            seed: config.train.seed,
            folder,
            stopped_by: summary.stopped_by.clone(),
            steps: summary.steps,
            examples: places.last().map_or(0, |place| place.examples),
            seconds: places.last().map_or(0.0, |place| place.seconds),
            loss: places.last().and_then(|place| finite(place.loss)).filter(|_| summary.stopped_by != "non_finite"),
            loss_lowest: places.iter().filter_map(|place| finite(place.loss)).reduce(f64::min),
            accuracy: kept.or(last_accuracy).filter(|_| summary.stopped_by != "non_finite"),
            verdicts,
            places,
            ..Self::default()
        }
    }

    fn reach(&self, target: f64) -> Option<Reach> {
        let place = self.places.iter().find(|place| place.loss <= target)?;
        Some(Reach { steps: place.step, examples: place.examples, seconds: place.seconds })
    }

    /// What median and range are taken of.
    fn numbers(&self) -> [(&'static str, Option<f64>); 16] {
        let convex = |of: fn(&Convex) -> Option<f64>| self.convex.as_ref().and_then(of);
        [
            ("loss", self.loss),
            ("loss_lowest", self.loss_lowest),
            ("accuracy", self.accuracy),
            ("steps", Some(self.steps as f64)),
            ("examples", Some(self.examples as f64)),
            ("seconds", Some(self.seconds)),
            ("to_target", self.to_target.map(|reach| reach.seconds)),
            ("cosine", self.cosine),
            ("straightness", self.straightness),
            ("rises", self.rises),
            ("noise_trace", self.noise.map(|noise| noise.trace)),
            ("distance", convex(|c| Some(c.distance))),
            ("rate", convex(|c| c.rate)),
            ("rate_theory", convex(|c| c.rate_theory)),
            ("plateau", convex(|c| c.plateau)),
            ("plateau_theory", convex(|c| c.plateau_theory)),
        ]
    }
}

impl Variant {
    fn finish(&mut self) {
        let count = self.runs.first().map_or(0, |run| run.numbers().len());
        for i in 0..count {
            let name = self.runs[0].numbers()[i].0;
            if let Some(spread) = Spread::of(self.runs.iter().filter_map(|run| run.numbers()[i].1)) {
                self.over_seeds.insert(name, spread);
            }
        }
        self.non_finite_runs = self.runs.iter().filter(|run| run.non_finite_step.is_some()).count();
        let journeys: Vec<Journey> = self.runs.iter().filter_map(|run| run.basins).collect();
        if let runs @ 1.. = journeys.len() {
            let share = |hits: usize| Share { hits, share: hits as f64 / runs as f64, interval: wilson(hits, runs) };
            let count = |of: fn(&Journey) -> bool| share(journeys.iter().filter(|journey| of(journey)).count());
            self.basins = Some(BasinCount { runs, left: count(|j| j.left), deepest: count(|j| j.deepest) });
        }
    }
}

impl Comparison {
    pub(super) fn new(config: &Config, options: &Options, plans: &[Planned]) -> Self {
        let variant = |plan: &Planned| Variant {
            name: plan.name.clone(),
            settings: plan.settings.iter().cloned().collect(),
            over_seeds: BTreeMap::new(),
            non_finite_runs: 0,
            basins: None,
            runs: Vec::new(),
        };
        let Budget { target, .. } = options.budget;
        Self {
            name: config.name.clone(),
            folder: PathBuf::new(),
            seeds: (0..options.seeds).map(|offset| config.train.seed.wrapping_add(offset)).collect(),
            target,
            target_given: target.is_some(),
            surface_tilt: match config.loss.kind {
                LossKind::Wells { tilt } => Some(tilt),
                _ => None,
            },
            variants: plans.iter().map(variant).collect(),
        }
    }

    /// The surface, if the runs went over one with valleys.
    pub fn surface(&self) -> Option<Wells> {
        let is_surface = self.variants.iter().flat_map(|variant| &variant.runs).any(|run| !run.path.is_empty());
        self.surface_tilt.filter(|_| is_surface).map(|tilt| Wells { tilt })
    }

    /// Whether the optimum is known.
    pub fn is_convex(&self) -> bool {
        self.variants.iter().flat_map(|variant| &variant.runs).any(|run| run.convex.is_some())
    }

    pub(super) fn finish(&mut self) {
        // From the bottom of a valley to the bottom of a valley there is no loss that says how far a run has come.
        if self.target.is_none() && self.surface().is_none() {
            let runs = self.variants.iter().flat_map(|variant| &variant.runs);
            let lowest = runs.filter(|run| run.non_finite_step.is_none()).filter_map(|run| run.loss_lowest);
            self.target = lowest.reduce(f64::max);
        }
        for variant in &mut self.variants {
            for run in &mut variant.runs {
                run.to_target = self.target.and_then(|target| run.reach(target));
            }
            variant.finish();
        }
    }

    /// The text of `compare.json`.
    ///
    /// # Errors
    /// Never for numbers that are finite or null.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_vec(self).map_err(|error| Error::failure(FILE, error))?;
        text.push(b'\n');
        Ok(text)
    }

    /// The text of `compare.csv`: a line for each run.
    ///
    /// # Errors
    /// If a line cannot be written, which memory alone can cause.
    pub fn to_csv(&self) -> Result<Vec<u8>> {
        let mut out = csv::Writer::from_writer(Vec::new());
        let failed = |error: csv::Error| Error::failure("compare.csv", error);
        let head = ["variant", "seed", "folder", "stopped_by"].map(str::to_owned);
        let names = Run::default().numbers().map(|(name, _)| name.to_owned());
        let tail = ["steps_to_target", "examples_to_target", "left", "deepest", "verdicts"].map(str::to_owned);
        out.write_record(head.iter().chain(&names).chain(&tail)).map_err(failed)?;
        for variant in &self.variants {
            for run in &variant.runs {
                let text = |x: Option<f64>| x.map_or(String::new(), |x| x.to_string());
                let whole = |x: Option<u64>| x.map_or(String::new(), |x| x.to_string());
                let head = [variant.name.clone(), run.seed.to_string(), run.folder.clone(), run.stopped_by.clone()];
                let verdicts: Vec<String> = run.verdicts.iter().map(|(word, n)| format!("{n} {word}")).collect();
                let tail = [
                    whole(run.to_target.map(|reach| reach.steps)),
                    whole(run.to_target.map(|reach| reach.examples)),
                    run.basins.map_or(String::new(), |journey| journey.left.to_string()),
                    run.basins.map_or(String::new(), |journey| journey.deepest.to_string()),
                    verdicts.join(", "),
                ];
                let numbers = run.numbers().map(|(_, x)| text(x));
                out.write_record(head.iter().chain(&numbers).chain(&tail)).map_err(failed)?;
            }
        }
        out.into_inner().map_err(|error| Error::failure("compare.csv", error))
    }
}

/// The noise that the record of a run has, if it does.
pub(super) fn noise(folder: &Path) -> Result<Option<Noise>> {
    let schema = std::fs::read_to_string(folder.join(SCHEMA_FILE)).unwrap_or_default();
    if !schema.contains("\"noise_trace\"") {
        return Ok(None);
    }
    let steps = read_steps(&folder.join("steps.jsonl"))?;
    let late = |name: &str| {
        // Of several layers it is the sum: traces and squared norms of parts add up.
        let column = steps.column(name)?;
        let rows = (steps.len() - steps.len() / 4).saturating_sub(1)..steps.len();
        let values: Vec<f64> = rows.map(|row| column.row(row).iter().sum::<f64>()).filter(|x| x.is_finite()).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let Some(trace) = late("noise_trace") else { return Ok(None) };
    let signal = late("noise_signal");
    Ok(Some(Noise { trace, signal, scale: signal.filter(|&signal| signal > 0.0).map(|signal| trace / signal) }))
}

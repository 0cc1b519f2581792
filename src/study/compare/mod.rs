//! Kinds of descent, side by side: variants of one run from one seed and one initialization, under one budget.
//!
//! Each variant is trained by [`crate::run::train`] and has a run folder as any run has. While it trains, it is looked at
//! after so many steps: after each of the first ones, then each time that the step number has grown by 15 %, so that the
//! places do not depend on how long the run will be. At each place, and one and two steps after it, the weights are read
//! back; the clock of the comparison stands still meanwhile, and while the run validates.
//!
//! | quantity | definition |
//! |---|---|
//! | loss | mean loss of the training examples with the weights as they are, without dropout; of 2,048 evenly spaced ones where there are more |
//! | accuracy | of the weights that the run kept: on the test part, else the validation part; else of the last ones on the training examples |
//! | time to target | seconds of training up to the first place where the loss is at most the target; steps and examples likewise. Where no target is given it is the highest of the variants' lowest losses, so that each of them comes there; on a surface with valleys there is none then |
//! | cosine | mean cosine of the angle between two successive updates, over the places |
//! | straightness | ‖w_end − w_start‖ over the sum of all ‖Δw‖: 1 for a straight path |
//! | rises | share of the steps at the places after which the loss, as defined above, was higher than before |
//! | non-finite | the step after which a value was not finite any more, which ends a run |
//!
//! Weights are read back in the precision of the run: where an update is below 1e-6 of its weight in f32, cosines are those of
//! rounding. On least squares with a known optimum [`convex`] adds distance and rate; on the loss `wells` [`basins`]
//! adds which valley a run began and ended in.

pub mod basins;
pub mod convex;
mod report;
mod spread;
mod variants;
mod watch;

pub use report::{BasinCount, Comparison, FILE, Noise, Place, Reach, Run, Share, Variant};
pub use spread::{Spread, wilson};
pub use variants::{Budget, Example, Vary};

use crate::base::{Error, Result};
use crate::config::Config;
use crate::run::folder::RunFolder;
use crate::run::summary::{SUMMARY_FILE, Summary};
use crate::run::{self, Silent, TrainOptions};
use std::path::PathBuf;
use variants::Planned;
use watch::{Watch, Watched};

/// What is compared, beside the settings.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Which settings differ; batch sizes if none is given: all examples, one, and three sizes between.
    pub vary: Vec<Vary>,
    /// How many seeds, counted from `train.seed`; at least 1.
    pub seeds: u64,
    /// When a variant ends.
    pub budget: Budget,
    /// The folder; `<record.dir>/<time>-compare-<name>` if not given.
    pub out: Option<PathBuf>,
    /// The command line, for the records.
    pub command: Vec<String>,
}

/// What a caller sees while a comparison goes on.
pub trait Progress: Send {
    /// Before a run begins: its place among all runs from 0, how many there are, and what it is.
    fn begin(&mut self, index: usize, count: usize, name: &str, steps: u64);
    /// After each step; it is on the hot path.
    fn step(&mut self, steps_done: u64);
    /// After a run.
    fn end(&mut self, name: &str, run: &Run);
}

impl Progress for Silent {
    fn begin(&mut self, _: usize, _: usize, _: &str, _: u64) {}
    fn step(&mut self, _: u64) {}
    fn end(&mut self, _: &str, _: &Run) {}
}

/// Runs all variants and writes the folder: a run folder for each, `compare.json` and `compare.csv`.
///
/// # Errors
/// If a variant's settings, its data or the device do not fit: the error names the key; nothing was written then. If a
/// device fails or the folder cannot be written. A run that ends because a value is not finite is no error.
pub fn compare(config: &Config, options: &Options, progress: &mut dyn Progress) -> Result<Comparison> {
    config.check()?;
    if options.seeds == 0 {
        return Err(Error::input("--seeds", "0 seeds are no comparison").help("give 1 or more"));
    }
    options.budget.check()?;
    let plans = variants::plan(config, options)?;
    let name = format!("compare-{}", config.name);
    let folder = RunFolder::create(options.out.as_deref(), &config.record.dir, &name)?;
    folder.write_atomic("config.toml", config.to_toml().as_bytes())?;
    folder.write_environment([("command".to_owned(), options.command.clone().into())])?;
    let mut comparison = Comparison::new(config, options, &plans);
    let count = plans.len() * options.seeds as usize;
    for (variant, plan) in plans.iter().enumerate() {
        for seed in 0..options.seeds {
            let index = variant * options.seeds as usize + seed as usize;
            let run = one(plan, seed, options, &folder, index, count, progress)?;
            progress.end(&plan.name, &run);
            comparison.variants[variant].runs.push(run);
        }
    }
    comparison.finish();
    folder.write_atomic(FILE, &comparison.to_json()?)?;
    folder.write_atomic("compare.csv", &comparison.to_csv()?)?;
    comparison.folder = folder.path().to_owned();
    Ok(comparison)
}

/// One run of a variant.
fn one(
    plan: &Planned,
    seed: u64,
    options: &Options,
    folder: &RunFolder,
    index: usize,
    count: usize,
    progress: &mut dyn Progress,
) -> Result<Run> {
    let config = plan.with_seed(seed);
    let splits = run::load(&config)?;
    let steps = config.train.max_steps.unwrap_or(u64::MAX);
    progress.begin(index, count, &plan.name, steps);
    let place =
        if options.seeds == 1 { plan.folder.clone() } else { format!("{}/seed-{}", plan.folder, config.train.seed) };
    let mut watch = Watch::new(&config, &splits, &options.budget, steps, progress)?;
    let out = folder.path().join(&place);
    let train = TrainOptions { out: Some(out.clone()), command: options.command.clone(), ..TrainOptions::default() };
    let (summary, failed) = match run::train(&config, &train, &mut watch) {
        Ok(end) => (end.summary, false),
        Err(error) => {
            // A run that diverged has left its summary; any other failure is one of the comparison.
            let path = out.join(SUMMARY_FILE);
            let summary = if path.exists() { Summary::read(&path)? } else { return Err(error) };
            if summary.stopped_by != "non_finite" {
                return Err(error);
            }
            (summary, true)
        }
    };
    let Watched { places, last_accuracy, cosine, straightness, rises, distances, path, convex, wells } = watch.finish();
    let mut run = Run::of(&config, &summary, place, places, last_accuracy);
    (run.cosine, run.straightness, run.rises) = (cosine, straightness, rises);
    run.noise = report::noise(&out)?;
    run.non_finite_step = failed.then_some(summary.steps);
    run.convex = convex.map(|ground| ground.judge(&config, &distances));
    run.distances = distances;
    run.basins = wells.and_then(|wells| basins::Journey::of(wells, &path));
    run.path = path;
    Ok(run)
}

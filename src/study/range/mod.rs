//! The learning-rate range test: which rates lower the loss, and which is the largest that stays stable.
//!
//! A run whose rate rises geometrically from step to step shows where the loss begins to fall, where it falls fastest and where it
//! rises again (Smith 2017, "Cyclical Learning Rates for Training Neural Networks"). Losses of several seeds are averaged step by step,
//! and then over windows of neighbouring steps.
//!
//! **Noise.** Half the mean square of the jumps between neighbouring steps, within a window and around the mean jump, is the variance
//! of a step's loss without its trend (von Neumann 1941); the standard error of the mean over n steps follows from it. A fall
//! counts only where two neighbouring windows differ by more than [`SIGNIFICANT_FALL`] standard errors of their difference: the
//! steepest of many is looked for, so that noise alone has many chances to be taken for one.
//!
//! **Stable.** The rising run passes each rate in a single step, so that what grows slowly shows only at larger rates. The largest
//! stable rate is therefore sought among the same rates by bisection: each is held from the start, and is stable if all losses are
//! finite and the last quarter of them lies below the start by more than [`SIGNIFICANT`] standard errors, for every seed. On a
//! quadratic with the full batch it is 2/λ_max, to the next rate of the grid.

mod curve;
mod stable;

pub use curve::Point;
pub use stable::{Stable, Trial};

use crate::base::{Error, Result};
use crate::config::{Batch, Config, Piece, Schedule, Span};
use crate::run::{self, Setup, Trainer};
use serde::Serialize;

/// So many standard errors the end of a held run must lie below its start to count.
pub const SIGNIFICANT: f64 = 2.0;

/// The same for the steepest fall of a curve: noise alone, of any number of steps, has one in fewer than one of twenty curves, as a
/// test shows.
pub const SIGNIFICANT_FALL: f64 = 4.0;

/// How many times its lowest mean the loss is where the run ends: it has diverged.
const DIVERGED: f64 = 4.0;

/// What a caller decides.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeOptions {
    /// The first rate.
    pub from: f64,
    /// The last rate.
    pub to: f64,
    /// Steps from the first to the last, and steps for which a rate is held.
    pub steps: usize,
    /// How many seeds, from that of the config on.
    pub seeds: u64,
}

impl Default for RangeOptions {
    fn default() -> Self {
        Self { from: 1e-6, to: 10.0, steps: 200, seeds: 1 }
    }
}

/// Steps at least: windows of a few steps.
const STEPS_MIN: usize = 50;

impl RangeOptions {
    fn check(&self) -> Result<()> {
        if !(self.from > 0.0 && self.from.is_finite()) {
            return Err(Error::input("--from", format!("{} is no rate: expected a number > 0", self.from)));
        }
        if !(self.to > self.from && self.to.is_finite()) {
            let message = format!("{} is not above the first rate of {}", self.to, self.from);
            return Err(Error::input("--to", message).help("give a larger one, or a smaller --from"));
        }
        if self.steps < STEPS_MIN {
            let message = format!("{} steps are too few to tell a fall from noise, {STEPS_MIN} are needed", self.steps);
            return Err(Error::input("--steps", message));
        }
        if self.seeds == 0 {
            return Err(Error::input("--seeds", "0 seeds are no test").help("give 1 or more"));
        }
        Ok(())
    }

    /// The factor from one rate to the next.
    fn ratio(&self) -> f64 {
        (self.to / self.from).powf(1.0 / (self.steps - 1) as f64)
    }

    /// The rate of a step, from 0.
    fn rate(&self, step: usize) -> f64 {
        self.from * self.ratio().powf(step as f64)
    }

    /// Steps of a window: a tenth of all, eight at least.
    fn window(&self) -> usize {
        (self.steps / 10).max(8)
    }
}

/// What a range test found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RangeStudy {
    /// The run's name.
    pub name: String,
    /// The device.
    pub device: String,
    /// The optimizer.
    pub optimizer: &'static str,
    /// Examples of a batch.
    pub batch: usize,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// The factor from one rate to the next.
    pub ratio: f64,
    /// Steps of a window.
    pub window: usize,
    /// The steps that all seeds have, one by one.
    pub points: Vec<Point>,
    /// Whether the loss had diverged before the last rate.
    pub diverged: bool,
    /// The mean loss of the first window, where rates are smallest.
    pub start: f64,
    /// Its standard error.
    pub start_error: f64,
    /// Where the loss falls fastest, by the logarithm of the rate; none if no fall stands out of the noise.
    pub steepest: Option<Fall>,
    /// The rate where the mean of a window is lowest: from there on the rising run gets worse. None if no fall was seen.
    pub lowest: Option<f64>,
    /// The largest rate that is stable; none if none is, or if no fall was seen.
    pub stable: Option<Stable>,
    /// The rates that were held.
    pub trials: Vec<Trial>,
}

/// A fall of the loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Fall {
    /// The rate in its middle.
    pub rate: f64,
    /// The loss before it and after it, each the mean of a window.
    pub losses: [f64; 2],
    /// The standard error of their difference.
    pub error: f64,
}

/// Measures which learning rates a config can take. The rate, schedule and length of the config are left out. `progress` is called with
/// the steps done and about how many there are.
///
/// # Errors
/// If the options make no sense, config, data or device do not fit, or the device fails. A loss that is not finite is none.
pub fn range(config: &Config, options: &RangeOptions, progress: &mut dyn FnMut(u64, u64)) -> Result<RangeStudy> {
    options.check()?;
    if config.train.batch == Batch::Adaptive {
        return Err(Error::input("train.batch", "rates are tested with batches of one size, not with adaptive ones")
            .help("set it to a number, such as --set train.batch=32"));
    }
    let seeds: Vec<u64> = (0..options.seeds).map(|i| config.train.seed.wrapping_add(i)).collect();
    // A search among so many rates holds about as many as their number has binary digits.
    let about = options.seeds * options.steps as u64 * u64::from(usize::BITS - options.steps.leading_zeros() + 1);
    let mut done = 0;
    let mut tick = || {
        done += 1;
        progress(done, about.max(done));
    };
    let rising = Schedule { pieces: vec![Piece::Exponential { factor: options.ratio(), every: Span::Steps(1) }] };
    let mut runs = Vec::new();
    let (mut device, mut batch) = (String::new(), 0);
    for &seed in &seeds {
        let run = losses(config, seed, options.from, &rising, options.steps, Some(options.window()), &mut tick)?;
        (device, batch) = (run.device, run.batch);
        runs.push(run.losses);
    }
    let curve = curve::Curve::of(options, &runs);
    let constant = Schedule { pieces: vec![Piece::Constant] };
    let mut hold = |seed: u64, rate: f64| {
        losses(config, seed, rate, &constant, options.steps, None, &mut tick).map(|run| run.losses)
    };
    let (stable, trials) = stable::search(options, &curve, &seeds, &mut hold)?;
    Ok(RangeStudy {
        name: config.name.clone(),
        device,
        optimizer: config.train.optimizer.word(),
        batch,
        seeds,
        ratio: options.ratio(),
        window: options.window(),
        diverged: curve.points.len() < options.steps,
        start: curve.start,
        start_error: curve.start_error,
        steepest: curve.steepest(),
        lowest: curve.steepest().and_then(|_| curve.lowest()),
        points: curve.points,
        stable,
        trials,
    })
}

/// A run without a folder.
struct Run {
    losses: Vec<f64>,
    device: String,
    batch: usize,
}

/// The losses of a run of so many steps at most; it ends with the first that is not finite or, if a window is given, where their mean
/// over it has grown to [`DIVERGED`] times its lowest.
fn losses(
    config: &Config,
    seed: u64,
    lr: f64,
    schedule: &Schedule,
    steps: usize,
    window: Option<usize>,
    tick: &mut dyn FnMut(),
) -> Result<Run> {
    let mut config = config.clone();
    config.set(&format!("train.lr={lr:?}"))?;
    config.train.schedule.clone_from(schedule);
    config.train.seed = seed;
    let splits = run::load(&config)?;
    let device = run::open_device(&config)?;
    let setup = Setup { splits, executor: device.executor, threads: device.threads, objective: None };
    let mut trainer = Trainer::new(&config, setup)?;
    let mut losses = Vec::with_capacity(steps);
    // The ticks come from elsewhere than the threads that compute.
    let mut made = 0;
    let mut lowest = f64::INFINITY;
    trainer.within(|trainer| -> Result<()> {
        while losses.len() < steps {
            let step = trainer.step()?;
            made += 1;
            let loss = step.values.loss();
            if step.non_finite.is_some() || !loss.is_finite() {
                break;
            }
            losses.push(loss);
            let Some(window) = window.filter(|&window| losses.len() >= window) else { continue };
            let mean = losses[losses.len() - window..].iter().sum::<f64>() / window as f64;
            lowest = lowest.min(mean);
            if mean > DIVERGED * lowest.max(0.0) && lowest > 0.0 {
                break;
            }
        }
        Ok(())
    })?;
    (0..made).for_each(|_| tick());
    Ok(Run { losses, device: trainer.executor().info().name.clone(), batch: trainer.batch_rows() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_rise_geometrically_from_the_first_to_the_last() {
        let options = RangeOptions { from: 1e-4, to: 1.0, steps: 41, seeds: 1 };
        assert!((options.ratio() - 10f64.powf(0.1)).abs() < 1e-12);
        assert!((options.rate(10) - 1e-3).abs() < 1e-12 && (options.rate(40) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn options_that_make_no_sense_are_refused() {
        let of = RangeOptions::default;
        for (options, part) in [
            (RangeOptions { from: 0.0, ..of() }, "--from: 0 is no rate"),
            (RangeOptions { from: f64::NAN, ..of() }, "--from: NaN is no rate"),
            (RangeOptions { to: 1e-7, ..of() }, "--to: 0.0000001 is not above the first rate of 0.000001"),
            (RangeOptions { to: f64::INFINITY, ..of() }, "--to: inf is not above"),
            (RangeOptions { steps: 49, ..of() }, "--steps: 49 steps are too few"),
            (RangeOptions { seeds: 0, ..of() }, "--seeds: 0 seeds are no test"),
        ] {
            let error = options.check().unwrap_err();
            assert!(error.to_string().contains(part) && error.exit_code() == 2, "{error}");
        }
        assert!(of().check().is_ok());
    }
}

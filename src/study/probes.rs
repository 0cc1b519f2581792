//! What each probe costs on this device: whole training steps with it and without, in turn.

use super::timing::{median, time};
use crate::base::Result;
use crate::config::Config;
use crate::probe::{PROBES, Probe, ProbeId, QUANTITIES, find};
use crate::run::schema::Column;
use crate::run::{self, Setup, Trainer};
use serde::Serialize;
use std::time::{Duration, Instant};

/// How long two ways are compared.
const EACH: Duration = Duration::from_millis(600);

/// How often they take turns at least.
const ROUNDS_MIN: usize = 5;

/// How long steps are timed together.
const TOGETHER: Duration = Duration::from_millis(4);

/// Steps after which the preset `full` repeats itself: times are taken of multiples.
const PERIOD: u64 = 10;

/// What measuring costs a config.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProbeCosts {
    /// The device.
    pub device: String,
    /// Seconds of a step that measures nothing.
    pub step_seconds: f64,
    /// Each probe in every step, in the order of [`PROBES`] without the first: what it adds to a step, over the step that
    /// measures nothing. None where this run cannot have it.
    pub probes: Vec<Option<f64>>,
    /// The same for the presets `default` and `full`.
    pub presets: [f64; 2],
}

/// Measures the costs. `progress` is told how many of how many comparisons are done.
///
/// # Errors
/// If the config does not fit, or the device fails.
pub fn costs(config: &Config, progress: &mut dyn FnMut(u64, u64)) -> Result<ProbeCosts> {
    let total = PROBES.len() as u64 + 1;
    let mut done = 0;
    let mut next = || {
        done += 1;
        progress(done, total);
    };
    let off = with(config, &["probes.preset=off"])?;
    let bare = with(config, &["probes.preset=default", "probes.units=0", "probes.noise=0", "probes.underflow=0"])?;
    let [off_trainer, bare_trainer] = [trainer(&off)?, trainer(&bare)?];
    let device = off_trainer.executor().info().name.clone();
    let (step_seconds, statistics) = compare(off_trainer, bare_trainer)?;
    next();
    let mut probes = vec![Some(statistics - 1.0)];
    for probe in &PROBES[ProbeId::Units as usize..] {
        let every = trainer(&with(&bare, &[&format!("probes.{}=1", probe.name)])?)?;
        let cost = if is_measured(&every, probe) { Some(compare(trainer(&bare)?, every)?.1 - 1.0) } else { None };
        probes.push(cost.map(|cost| cost * statistics));
        next();
    }
    let mut presets = [0.0; 2];
    for (preset, name) in presets.iter_mut().zip(["default", "full"]) {
        let measured = trainer(&with(config, &[&format!("probes.preset={name}")])?)?;
        *preset = compare(trainer(&off)?, measured)?.1 - 1.0;
        next();
    }
    Ok(ProbeCosts { device, step_seconds, probes, presets })
}

/// The config with these settings, the cadences of all probes left to the preset where it is one of them.
fn with(config: &Config, settings: &[&str]) -> Result<Config> {
    let mut config = config.clone();
    if settings[0].starts_with("probes.preset") {
        let keys = PROBES[ProbeId::Units as usize..].iter();
        config.set_all(keys.map(|probe| format!("probes.{}=preset", probe.name)))?;
    }
    config.set_all(settings.iter().map(|&setting| setting.to_owned()))?;
    Ok(config)
}

fn trainer(config: &Config) -> Result<Trainer> {
    let device = run::open_device(config)?;
    let splits = run::load(config)?;
    Trainer::new(config, Setup { splits, executor: device.executor, threads: device.threads, objective: None })
}

/// Whether this run can have a probe that every step asks for.
fn is_measured(trainer: &Trainer, probe: &Probe) -> bool {
    let of = |column: &Column| find(&column.name).is_some_and(|at| QUANTITIES[at].probe == probe.id);
    trainer.schema(0).columns.iter().any(of)
}

/// Median seconds of a step of the first, and the median of the second's ratio to it, round by round.
fn compare(first: Trainer, second: Trainer) -> Result<(f64, f64)> {
    let mut trainers = [first, second];
    let mut steps = PERIOD;
    // As many steps as fill the time, once everything is warm.
    while time(&mut trainers[0], steps)? < TOGETHER.as_secs_f64() && steps < 1 << 20 {
        steps *= 2;
    }
    time(&mut trainers[1], steps)?;
    let mut seconds = [Vec::new(), Vec::new()];
    let (start, mut round) = (Instant::now(), 0);
    while start.elapsed() < EACH || round < ROUNDS_MIN {
        round += 1;
        for turn in 0..2 {
            // Each is first as often as second.
            let which = (turn + round) % 2;
            let now = time(&mut trainers[which], steps)?;
            seconds[which].push(now);
        }
    }
    // The two of a round meet the same load, which their ratio does not show.
    let ratios = seconds[1].iter().zip(&seconds[0]).map(|(second, first)| second / first).collect();
    let [first, _] = seconds;
    Ok((median(first) / steps as f64, median(ratios)))
}

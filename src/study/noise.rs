//! How noisy the gradient is over a training run, and the batch size that this advises.

use super::advice::{Advice, LrRule, advice};
use crate::base::{Cadence, Error, Result};
use crate::config::{Batch, Config, Optimizer};
use crate::probe::{PROBES, ProbeId, Quotient, quotient};
use crate::run::{self, Setup, Trainer};
use serde::Serialize;

/// Steps that a stretch of a run has at least.
const STRETCH_MIN: usize = 50;

/// What a study of the noise found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NoiseStudy {
    /// The run's name.
    pub name: String,
    /// The device.
    pub device: String,
    /// Examples of a batch in the run.
    pub batch: usize,
    /// Steps of the run.
    pub steps: usize,
    /// Stretches of the run, each as long as all before it.
    pub stretches: Vec<Stretch>,
    /// Over the whole run: 𝓑 = ΣS/Σ|G|².
    pub noise_scale: Quotient,
    /// The layers whose noise is measured, over the whole run.
    pub layers: Vec<LayerNoise>,
    /// What ½, 1, 2 and 4 times the noise scale cost; none where noise hides the gradient.
    pub advice: Vec<Advice>,
    /// How the learning rates of the advice were found.
    pub lr_rule: LrRule,
    /// About how many rows a micro-batch can have on this device, where its memory is known.
    pub micro_batch_max: Option<u64>,
}

/// A stretch of a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Stretch {
    /// Its first step, from 1.
    pub first: usize,
    /// Its last step.
    pub last: usize,
    /// The mean loss.
    pub loss: f64,
    /// 𝓑.
    pub noise_scale: Quotient,
}

/// The noise in one layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerNoise {
    /// Its name.
    pub name: String,
    /// 𝓑 of the layer alone.
    pub noise_scale: Quotient,
}

/// Trains as the config says, without a run folder, and measures the noise of every step. `progress` is called with the steps
/// done and all steps.
///
/// # Errors
/// If the config does not fit its data or the device, if noise is not measured (batches of one example, statistics off), if there are too few steps to say anything, or if a value that is not finite ends the run.
pub fn study(config: &Config, progress: &mut dyn FnMut(u64, u64)) -> Result<NoiseStudy> {
    let splits = run::load(config)?;
    let rows = splits.train.len();
    let device = run::open_device(config)?;
    let setup = Setup { splits, executor: device.executor, threads: device.threads, objective: None };
    let mut trainer = Trainer::new(config, setup)?;
    let batch = trainer.batch_rows();
    check(config, &trainer, batch)?;
    if batch >= rows {
        return Err(Error::input("train.batch", "the full batch has no noise: all examples are in it")
            .help("take a smaller batch, such as --set train.batch=64"));
    }
    let total = trainer.steps_total(config);
    if total < 2 * STRETCH_MIN as u64 {
        let message = format!("{total} steps are too few to tell noise from gradient, {} are needed", 2 * STRETCH_MIN);
        return Err(Error::input("train.epochs", message).help("train for more epochs, or with a smaller batch"));
    }
    let readings = read(&mut trainer, total, progress)?;
    Ok(summarize(config, &trainer, batch, &readings))
}

fn check(config: &Config, trainer: &Trainer, batch: usize) -> Result<()> {
    if config.train.batch == Batch::Adaptive {
        return Err(Error::input("train.batch", "the noise is measured in batches of one size, not in adaptive ones")
            .help("set it to a number, such as --set train.batch=32"));
    }
    if run::cadence(&config.probes, config.train.precision, &PROBES[ProbeId::Noise as usize]) != Cadence::Every(1) {
        let error = Error::input("probes.noise", "the noise is not measured in every step");
        return Err(error.help("set probes.noise = 1"));
    }
    if batch < 2 {
        return Err(Error::input("train.batch", "one example says nothing of noise")
            .help("take a batch of two or more, such as --set train.batch=32"));
    }
    if trainer.noise().last().is_empty() {
        return Err(Error::input("model.layers", "no layer tells its noise in batches of one micro-batch")
            .help("make train.micro_batch half of the batch, or less"));
    }
    Ok(())
}

/// Loss, and S and |G|² of each layer and of all together, step by step.
struct Readings {
    losses: Vec<f64>,
    noise: Vec<Vec<(f64, f64)>>,
}

fn read(trainer: &mut Trainer, total: u64, progress: &mut dyn FnMut(u64, u64)) -> Result<Readings> {
    let mut readings = Readings { losses: Vec::new(), noise: vec![Vec::new(); trainer.noise().last().len()] };
    for step in 0..total {
        let now = trainer.step()?;
        if now.non_finite.is_some() {
            return Err(Error::failure(format!("step {}", step + 1), "a value is not finite")
                .help("steepest train says where it was first"));
        }
        readings.losses.push(now.values.loss());
        for (series, noise) in readings.noise.iter_mut().zip(trainer.noise().last()) {
            series.push((noise.trace, noise.signal));
        }
        progress(step + 1, total);
    }
    Ok(readings)
}

fn summarize(config: &Config, trainer: &Trainer, batch: usize, readings: &Readings) -> NoiseStudy {
    let steps = readings.losses.len();
    let (whole, layers) = readings.noise.split_last().expect("noise is measured");
    let of = |pairs: &[(f64, f64)]| quotient(pairs).expect("a stretch has enough steps");
    let mut stretches = Vec::new();
    let mut last = steps;
    while last >= STRETCH_MIN {
        let first = if last >= 2 * STRETCH_MIN { last / 2 } else { 0 };
        let losses = &readings.losses[first..last];
        stretches.push(Stretch {
            first: first + 1,
            last,
            loss: losses.iter().sum::<f64>() / losses.len() as f64,
            noise_scale: of(&whole[first..last]),
        });
        last = first;
    }
    stretches.reverse();
    let noise_scale = of(whole);
    let names = trainer.layers().iter().filter(|layer| layer.has_noise).map(|layer| layer.name.clone());
    let lr_rule = match config.train.optimizer {
        Optimizer::Sgd { .. } | Optimizer::Momentum { .. } | Optimizer::Nesterov { .. } => LrRule::Saturating,
        _ => LrRule::SquareRoot,
    };
    let lr = config.train.optimizer.lr();
    NoiseStudy {
        name: config.name.clone(),
        device: trainer.executor().info().name.clone(),
        batch,
        steps,
        stretches,
        layers: names.zip(layers).map(|(name, series)| LayerNoise { name, noise_scale: of(series) }).collect(),
        advice: match noise_scale.value.is_finite() && noise_scale.value > 0.0 {
            true => advice(noise_scale.value, batch as f64, lr, lr_rule).to_vec(),
            false => Vec::new(),
        },
        noise_scale,
        lr_rule,
        micro_batch_max: trainer.micro_batch_max(),
    }
}

//! Batches that follow the noise of the gradient: how many micro-batches the next ones have.
//!
//! The size is set at steps that follow from the step number alone, from readings of all steps before and of none after, so that
//! runs repeat, however late readings come and on however many threads. S and |G|² are smoothed over steps of all sizes, since
//! neither depends on the batch.

use crate::base::{Error, Result};
use crate::config::{self, AdaptiveRate, Config, Criterion, Optimizer};
use crate::data::Batching;
use crate::probe::{Agenda, Noise, NoiseReader, ProbeId};

/// How the batch follows the noise.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Adaptive {
    criterion: Criterion,
    /// Examples of a micro-batch.
    micro: usize,
    /// Micro-batches of a batch: at least, and at most.
    min: usize,
    max: usize,
    every: u64,
    /// The power of the batch that the learning rate grows with.
    lr_power: f64,
    /// Examples that batches are drawn from; infinite where no two draws of one are alike.
    population: f64,
    epoch_rows: usize,
}

impl Adaptive {
    /// What the config says, if it says so. `batching` has the first batch, and `population` is as for
    /// [`Noise::of_batch`].
    ///
    /// # Errors
    /// If no batch lies between the bounds.
    pub fn new(config: &Config, batching: &Batching, population: f64) -> Result<Option<Self>> {
        if config.train.batch != config::Batch::Adaptive {
            return Ok(None);
        }
        let settings = &config.train.adaptive;
        let Batching { examples, micro, batch, drop_last, .. } = *batching;
        let epoch_rows = if drop_last { examples / micro * micro } else { examples };
        // The last micro-batch of an epoch may be short.
        let all = epoch_rows.div_ceil(micro);
        let (min, max) =
            (batch / micro, settings.max.map_or(all, |max| if max < examples { max / micro } else { all }));
        if max < min {
            let message = format!(
                "there is no batch of whole micro-batches of {micro} from {} to {}",
                settings.min.unwrap_or(micro),
                settings.max.unwrap_or(examples).min(examples)
            );
            return Err(Error::input("train.adaptive.max", message).help("raise it, or lower train.micro_batch"));
        }
        let lr_power = match (settings.rate, &config.train.optimizer) {
            (AdaptiveRate::Keep, _) => 0.0,
            (AdaptiveRate::Scale, Optimizer::Sgd { .. } | Optimizer::Momentum { .. } | Optimizer::Nesterov { .. }) => {
                1.0
            }
            (AdaptiveRate::Scale, _) => 0.5,
        };
        let criterion = settings.criterion.clone();
        Ok(Some(Self { criterion, micro, min, max, every: settings.every, lr_power, population, epoch_rows }))
    }

    /// Checks that the noise is measured in every step.
    ///
    /// # Errors
    /// If it is not.
    pub fn check(agenda: &Agenda, noise: &NoiseReader) -> Result<()> {
        if agenda.group(ProbeId::Noise) == Some(0) && !noise.is_empty() {
            return Ok(());
        }
        let message = "\"adaptive\" follows the noise of the gradient, which is not measured in every step";
        Err(Error::input("train.batch", message).help("set probes.noise = 1"))
    }

    /// Whether the size is set before this step, from 0.
    pub fn is_due(&self, step: u64) -> bool {
        step > 0 && step.is_multiple_of(self.every)
    }

    /// Examples of the batches to come, where those so far have `rows`. No allocation.
    pub fn next(&self, rows: usize, noise: &NoiseReader) -> usize {
        let Some(&whole) = noise.smoothed().last().filter(|_| noise.is_settled()) else { return rows };
        let wanted = match self.criterion {
            Criterion::NoiseScale => noise_scale(whole),
            Criterion::NormTest { threshold } => norm_test(whole, rows as f64, threshold, self.population),
        };
        let now = rows / self.micro;
        // What is infinite becomes the largest number.
        let wanted = (wanted / self.micro as f64).round() as usize;
        wanted.clamp(now.div_ceil(2), 2 * now).clamp(self.min, self.max) * self.micro
    }

    /// What the learning rate of batches of `rows` is multiplied by.
    pub fn lr_factor(&self, rows: usize) -> f64 {
        (rows as f64 / (self.min * self.micro) as f64).powf(self.lr_power)
    }

    /// Examples of an epoch.
    pub fn epoch_rows(&self) -> usize {
        self.epoch_rows
    }

    /// Examples of a batch: at least, and at most.
    pub fn bounds(&self) -> [usize; 2] {
        [self.min, self.max].map(|micros| micros * self.micro)
    }
}

/// S/|G|²; infinite where noise hides the gradient.
fn noise_scale(noise: Noise) -> f64 {
    if noise.signal > 0.0 { noise.trace.max(0.0) / noise.signal } else { f64::INFINITY }
}

/// The batch that passes the norm test S(1/B − 1/N) ≤ τ‖ḡ‖², if one of `rows` does not; else `rows`. For ‖ḡ‖² its mean at this
/// batch is taken, |G|² + S(1/B − 1/N), and as in Byrd et al. 2012, 3.12, it is taken to stay.
fn norm_test(noise: Noise, rows: f64, threshold: f64, population: f64) -> f64 {
    let variance = noise.trace * (1.0 / rows - 1.0 / population);
    let square = noise.signal + variance;
    if variance <= threshold * square {
        rows
    } else if square > 0.0 {
        noise.trace / (threshold * square + noise.trace / population)
    } else {
        f64::INFINITY
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Reduction;
    use crate::probe::Scatter;

    const BATCHING: Batching = Batching {
        examples: 1000,
        batch: 16,
        micro: 16,
        shuffle: true,
        drop_last: false,
        reduction: Reduction::Mean,
        seed: 0,
    };

    fn adaptive(changes: &[&str]) -> Adaptive {
        let mut config = Config::builtin_digits();
        config.set("train.batch=adaptive").unwrap();
        config.set_all(changes).unwrap();
        Adaptive::new(&config, &BATCHING, f64::INFINITY).unwrap().unwrap()
    }

    /// A reader that has seen this S and |G|² for so many steps.
    fn reader(trace: f64, signal: f64, steps: usize) -> NoiseReader {
        let mut reader = NoiseReader::new(1, f64::INFINITY);
        let rows = 4.0;
        let mean = signal + trace / rows;
        let squares = trace * (rows - 1.0) + rows * mean;
        let layer = Scatter { squares: squares / (rows * rows), groups: 4, gradient: mean };
        (0..steps).for_each(|_| reader.push(std::iter::once(layer), 4, 1.0));
        reader
    }

    #[test]
    fn the_batch_goes_to_the_noise_scale_by_factors_of_two_at_most() {
        let adaptive = adaptive(&["train.adaptive.max=500"]);
        assert_eq!(adaptive.bounds(), [16, 496]);
        let walk = |from: usize, scale: f64| {
            let noise = reader(scale, 1.0, 100);
            let mut sizes = vec![from];
            (0..6).for_each(|_| sizes.push(adaptive.next(*sizes.last().unwrap(), &noise)));
            sizes
        };
        assert_eq!(walk(16, 100.0), [16, 32, 64, 96, 96, 96, 96]);
        assert_eq!(walk(320, 100.0), [320, 160, 96, 96, 96, 96, 96]);
        assert_eq!(walk(16, 1e9), [16, 32, 64, 128, 256, 496, 496]);
        assert_eq!(walk(64, 0.1), [64, 32, 16, 16, 16, 16, 16]);
        assert_eq!(adaptive.next(16, &reader(100.0, 1.0, 99)), 16, "99 steps say nothing yet");
        assert_eq!(adaptive.next(32, &reader(100.0, -0.1, 100)), 64, "noise hides the gradient");
        assert!(adaptive.is_due(32) && adaptive.is_due(64) && !adaptive.is_due(0) && !adaptive.is_due(33));
    }

    #[test]
    fn the_norm_test_grows_until_it_holds_and_never_shrinks() {
        for (threshold, at_least) in [("0.5", 100.0), ("0.2", 400.0), ("0.8", 25.0)] {
            let threshold = format!("train.adaptive.threshold={threshold}");
            let adaptive = adaptive(&["train.adaptive.criterion=norm_test", &threshold]);
            let noise = reader(100.0, 1.0, 100);
            let mut rows = 16;
            (0..30).for_each(|_| rows = adaptive.next(rows, &noise));
            // B = 𝓑(1 − τ)/τ, in whole micro-batches.
            assert!((rows as f64 - at_least).abs() <= 16.0, "{rows} for {at_least}");
            assert_eq!(adaptive.next(800, &noise), 800);
        }
        // Of 1000 examples in all, all of them have no noise.
        assert_eq!(norm_test(Noise { trace: 1e9, signal: 1.0 }, 1000.0, 0.1, 1000.0), 1000.0);
        let more = norm_test(Noise { trace: 1e9, signal: 1.0 }, 500.0, 0.1, 1000.0);
        assert!(more > 900.0 && more < 1000.0, "{more}");
        assert_eq!(norm_test(Noise { trace: 1.0, signal: -1.0 }, 2.0, 0.5, f64::INFINITY), f64::INFINITY);
    }

    #[test]
    fn rates_are_kept_or_follow_the_rule_of_the_optimizer() {
        for (changes, factor) in [
            (&["train.optimizer=sgd"][..], 1.0),
            (&["train.optimizer=sgd", "train.adaptive.rate=scale"], 4.0),
            (&["train.optimizer=nesterov", "train.adaptive.rate=scale"], 4.0),
            (&["train.optimizer=adamw", "train.adaptive.rate=scale"], 2.0),
        ] {
            let adaptive = adaptive(changes);
            assert_eq!((adaptive.lr_factor(16), adaptive.lr_factor(64)), (1.0, factor), "{changes:?}");
        }
    }

    #[test]
    fn bounds_are_whole_micro_batches_of_the_examples_there_are() {
        assert_eq!(adaptive(&[]).bounds(), [16, 1008], "the last one of an epoch is short");
        assert_eq!(adaptive(&["train.adaptive.max=5000"]).bounds(), [16, 1008]);
        let mut config = Config::builtin_digits();
        assert_eq!(Adaptive::new(&config, &BATCHING, 1.0).unwrap(), None);
        config.set_all(["train.batch=adaptive", "train.adaptive.max=15"]).unwrap();
        let error = Adaptive::new(&config, &BATCHING, 1.0).unwrap_err().to_string();
        assert!(error.contains("no batch of whole micro-batches of 16 from 16 to 15"), "{error}");
    }
}

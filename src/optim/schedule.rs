//! What the learning rate is multiplied by: a product of factors, each a function of the step alone, or of the examples alone.

use crate::base::{Error, Result};
use crate::config::{self, Piece, Span};
use std::f64::consts::PI;

/// A schedule with every length in steps. The learning rate of step s, from 0, is the base rate times [`Self::factor`]: the
/// closed forms of PyTorch's `StepLR`, `ExponentialLR`, `CosineAnnealingLR` (Loshchilov & Hutter 2017) and `LinearLR`,
/// advanced once a step. Where steps take different numbers of examples, lengths in epochs are counted in examples
/// ([`Schedule::by_examples`]).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schedule {
    factors: Vec<(Clock, Factor)>,
}

/// What a factor is a function of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Clock {
    Steps,
    Examples,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Factor {
    Step { every: u64, factor: f64 },
    Exponential { every: f64, factor: f64 },
    Cosine { length: u64, min: f64 },
    Warmup { length: u64, from: f64 },
}

impl Schedule {
    /// Counts the lengths of the pieces in steps. `steps` is how many steps the training has, if that is known: a cosine
    /// without a length ends with it.
    ///
    /// # Errors
    /// If a piece needs a length and has none, or one of 0 steps.
    pub fn new(schedule: &config::Schedule, steps_per_epoch: u64, steps: Option<u64>) -> Result<Self> {
        let epochs = |epochs: u64| (Clock::Steps, epochs.saturating_mul(steps_per_epoch));
        Self::resolve(schedule, epochs, steps.map(|steps| (Clock::Steps, steps)))
    }

    /// The same for batches that change their size: an epoch is `epoch_rows` examples, and a cosine without a length ends with
    /// `epochs`, however many steps that takes. Lengths in steps count steps.
    ///
    /// # Errors
    /// As [`Schedule::new`].
    pub fn by_examples(schedule: &config::Schedule, epoch_rows: u64, epochs: u64) -> Result<Self> {
        let examples = |epochs: u64| (Clock::Examples, epochs.saturating_mul(epoch_rows));
        Self::resolve(schedule, examples, Some(examples(epochs)))
    }

    fn resolve(
        schedule: &config::Schedule,
        of_epochs: impl Fn(u64) -> (Clock, u64),
        whole: Option<(Clock, u64)>,
    ) -> Result<Self> {
        let mut factors = Vec::new();
        for (i, piece) in schedule.pieces.iter().enumerate() {
            let place = format!("train.schedule[{i}] ({})", piece.word());
            let span = piece.span().map(|span| match span {
                Span::Steps(steps) => (Clock::Steps, steps),
                Span::Epochs(epochs) => of_epochs(epochs),
            });
            let known = |length: Option<(Clock, u64)>| match length {
                Some((clock, length)) if length > 0 => Ok((clock, length)),
                _ => Err(Error::input(&place, "its length in steps is not known").help("give `steps` or `epochs`")),
            };
            let (clock, length) = match piece {
                // What a plateau multiplies follows from losses: [`super::Plateau`].
                Piece::Constant | Piece::Plateau { .. } => continue,
                Piece::Cosine { .. } => known(span.or(whole))?,
                _ => known(span)?,
            };
            let factor = match *piece {
                Piece::Constant | Piece::Plateau { .. } => continue,
                Piece::Step { factor, .. } => Factor::Step { every: length, factor },
                Piece::Exponential { factor, .. } => Factor::Exponential { every: length as f64, factor },
                Piece::Cosine { min, .. } => Factor::Cosine { length, min },
                Piece::Warmup { from, .. } => Factor::Warmup { length, from },
            };
            factors.push((clock, factor));
        }
        Ok(Self { factors })
    }

    /// What the base rate is multiplied by at a step, from 0, where all lengths are in steps.
    pub fn factor(&self, step: u64) -> f64 {
        self.factor_at(step, step)
    }

    /// The same at a step before which the run went through so many examples, those that epochs left out not counted.
    pub fn factor_at(&self, step: u64, examples: u64) -> f64 {
        let at = |&(clock, factor): &(Clock, Factor)| match clock {
            Clock::Steps => factor.at(step),
            Clock::Examples => factor.at(examples),
        };
        self.factors.iter().map(at).product()
    }
}

impl Factor {
    fn at(self, step: u64) -> f64 {
        match self {
            Self::Step { every, factor } => factor.powf((step / every) as f64),
            Self::Exponential { every, factor } => factor.powf(step as f64 / every),
            Self::Cosine { length, min } => {
                let part = step.min(length) as f64 / length as f64;
                min + (1.0 - min) * (1.0 + (PI * part).cos()) / 2.0
            }
            Self::Warmup { length, from } => from + (1.0 - from) * (step.min(length) as f64 / length as f64),
        }
    }
}

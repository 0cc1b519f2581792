//! What the learning rate is multiplied by: a product of factors, each a function of the step alone.

use crate::base::{Error, Result};
use crate::config::{self, Piece, Span};
use std::f64::consts::PI;

/// A schedule with every length in steps. The learning rate of step s, from 0, is the base rate times [`Self::factor`]: the
/// closed forms of PyTorch's `StepLR`, `ExponentialLR`, `CosineAnnealingLR` (Loshchilov & Hutter 2017) and `LinearLR`,
/// advanced once a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schedule {
    factors: Vec<Factor>,
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
        let mut factors = Vec::new();
        for (i, piece) in schedule.pieces.iter().enumerate() {
            let place = format!("train.schedule[{i}] ({})", piece.word());
            let span = piece.span().map(|span| match span {
                Span::Steps(steps) => steps,
                Span::Epochs(epochs) => epochs.saturating_mul(steps_per_epoch),
            });
            let length = |length: Option<u64>| match length {
                Some(length) if length > 0 => Ok(length),
                _ => Err(Error::input(&place, "its length in steps is not known").help("give `steps` or `epochs`")),
            };
            factors.push(match *piece {
                Piece::Constant => continue,
                Piece::Step { factor, .. } => Factor::Step { every: length(span)?, factor },
                Piece::Exponential { factor, .. } => Factor::Exponential { every: length(span)? as f64, factor },
                Piece::Cosine { min, .. } => Factor::Cosine { length: length(span.or(steps))?, min },
                Piece::Warmup { from, .. } => Factor::Warmup { length: length(span)?, from },
            });
        }
        Ok(Self { factors })
    }

    /// What the base rate is multiplied by at a step, from 0.
    pub fn factor(&self, step: u64) -> f64 {
        self.factors.iter().map(|factor| factor.at(step)).product()
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

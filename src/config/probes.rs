//! `[probes]`: what is measured of the gradients, and when.

use super::group::{choice, default, section};
use super::setting::{Detail, Range, Setting, wrong_type};
use crate::base::{Cadence, Error, Result};
use toml::Value;

section! {
    /// What is measured of the gradients, and when; `steepest probes` lists what there is. Steps count from 1.
    pub struct Probes {
        /// What is measured where nothing else is said.
        preset: Preset = default(Preset::Default);
        /// Units that never give anything, and saturated activations.
        units: Timing = default(Timing::Preset);
        /// Noise of the gradient, from the norms of per-example gradients; with batches of two examples or more.
        noise: Timing = default(Timing::Preset);
        /// Variance of single partial derivatives: signal-to-noise ratios, tests of the batch size, early stopping.
        variance: Timing = default(Timing::Preset);
        /// Angles between successive gradients and updates, and where on the parabola of the loss a step ends.
        direction: Timing = default(Timing::Preset);
        /// Histograms over the exponents of gradients, weights and activations.
        histograms: Timing = default(Timing::Preset);
        /// Distance of the weights from where they began.
        distance: Timing = default(Timing::Preset);
        /// How much of the signal half precision loses; where `train.precision` is `"mixed"`.
        underflow: Timing = default(Timing::Preset);
    }
}

choice! {
    /// A set of probes.
    pub enum Preset {
        /// The statistics of every step, units, and noise, in every step.
        Default = "default",
        /// Everything: what is cheap in every step, the rest in every tenth.
        Full = "full",
        /// Nothing but the loss.
        Off = "off",
    }
}

/// Timing a probe is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Timing {
    /// As the preset says.
    Preset,
    /// At these steps.
    At(Cadence),
}

impl Setting for Timing {
    const RANGE: Range = Range::NON_NEGATIVE;
    fn type_name() -> String {
        "\"preset\" | every so many steps | list of steps | \"geometric\"".into()
    }
    fn parse(value: &Value, place: &str) -> Result<Self> {
        match value {
            Value::String(word) if word == "preset" => Ok(Self::Preset),
            Value::String(word) if word == "geometric" => Ok(Self::At(Cadence::Geometric)),
            Value::Integer(0) => Ok(Self::At(Cadence::Never)),
            Value::Integer(_) => u64::parse(value, place).map(|n| Self::At(Cadence::Every(n))),
            Value::Array(_) => {
                let mut steps: Vec<u64> = Vec::parse(value, place)?;
                steps.sort_unstable();
                steps.dedup();
                match steps.first() {
                    None => Err(Error::input(place, "the list has no step").help("0 turns the probe off")),
                    Some(0) => Err(Error::input(place, "there is no step 0: steps count from 1")),
                    Some(_) => Ok(Self::At(Cadence::At(steps))),
                }
            }
            _ => Err(wrong_type(place, Self::type_name(), value)),
        }
    }
    fn to_toml(&self, detail: Detail) -> Option<Value> {
        match self {
            Self::Preset => Some(Value::String("preset".into())),
            Self::At(Cadence::Never) => Some(Value::Integer(0)),
            Self::At(Cadence::Every(n)) => n.to_toml(detail),
            Self::At(Cadence::At(steps)) => steps.to_toml(detail),
            Self::At(Cadence::Geometric) => Some(Value::String("geometric".into())),
        }
    }
}

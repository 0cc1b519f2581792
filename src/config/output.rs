//! `[validate]`, `[verdicts]`, `[record]` and `[device]`: what is watched, what is kept, and where it runs.

use super::group::{default, section};
use super::setting::{Detail, Range, Setting, wrong_type};
use super::units::Bytes;
use crate::base::{Error, Result};
use std::path::PathBuf;
use toml::Value;

section! {
    /// How the model is judged on the validation part.
    pub struct Validate {
        /// When: `"epoch"` for the end of each epoch, a number of steps, 0 for never.
        every: Rhythm = default(Rhythm::Epoch);
        /// After how many validations without a better loss training ends; never if not set.
        patience: Option<u64> = default(None).within(Range::AT_LEAST_1);
        /// Whether the parameters with the lowest validation loss are kept.
        keep_best: bool = default(true);
        /// A prediction also counts as right among so many best ones.
        top_k: usize = default(5).within(Range::AT_LEAST_1);
    }
}

section! {
    /// What is said of a run, and what ends it. Verdicts go by their ids: `vanishing`, `exploding`, `non_finite`, …
    pub struct Verdicts {
        /// Verdicts that are not given.
        silence: Vec<String> = default(Vec::new());
        /// Verdicts that end training; `"nan"` stands for `"non_finite"`. They are asked for every 32 steps.
        stop_on: Vec<String> = default(Vec::new());
    }
}

section! {
    /// What is written down.
    pub struct Record {
        /// The folder in which each run gets one of its own.
        dir: PathBuf = default("runs".into());
        /// Of how many steps one is written; `"auto"` writes every step of a short run and thins out a long one.
        every: Auto<u64> = default(Auto::Auto).within(Range::AT_LEAST_1);
        /// How many of the last steps are kept in full, to be written if something goes wrong.
        flight: usize = default(1000);
        /// When the state is written from which a killed run goes on: `"epoch"` for the end of each epoch, a number of
        /// steps, 0 for never; `"auto"` writes every 16384 steps, more often where steps are large, and at the end.
        checkpoint: Auto<Rhythm> = default(Auto::Auto);
    }
}

section! {
    /// Where it runs.
    pub struct Device {
        /// `"auto"`, `"cpu"`, or the number or part of the name of a GPU.
        device: String = default("auto".into());
        /// Threads of the CPU; all of them if not set.
        threads: Option<usize> = default(None).within(Range::THREADS);
        /// Device memory that may be used: bytes, or a text such as `"8GB"` or `"512MiB"`; what the driver tells if not set.
        memory_limit: Option<Bytes> = default(None);
        /// Whether kernels that `steepest tune` found the fastest here are left out. They add in another order than those of the table, so
        /// that results differ in rounding; with this, a run does not depend on what was timed.
        deterministic: bool = default(false);
    }
}

/// When something comes again and again in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rhythm {
    /// At the end of each epoch, however many steps it has.
    Epoch,
    /// After every so many steps.
    Steps(u64),
    /// Never.
    Never,
}

impl Setting for Rhythm {
    const RANGE: Range = Range::NON_NEGATIVE;
    fn type_name() -> String {
        "\"epoch\" | integer".into()
    }
    fn parse(value: &Value, place: &str) -> Result<Self> {
        match value {
            Value::String(word) if word == "epoch" => Ok(Self::Epoch),
            Value::Integer(0) => Ok(Self::Never),
            Value::Integer(_) => u64::parse(value, place).map(Self::Steps),
            _ => Err(wrong_type(place, Self::type_name(), value)),
        }
    }
    fn to_toml(&self, detail: Detail) -> Option<Value> {
        match self {
            Self::Epoch => Some(Value::String("epoch".into())),
            Self::Steps(steps) => steps.to_toml(detail),
            Self::Never => Some(Value::Integer(0)),
        }
    }
}

/// What is chosen by whoever knows more, if it is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auto<T> {
    /// It is chosen.
    Auto,
    /// It is this.
    Set(T),
}

impl<T: Setting> Setting for Auto<T> {
    const RANGE: Range = T::RANGE;
    fn type_name() -> String {
        format!("\"auto\" | {}", T::type_name())
    }
    fn parse(value: &Value, place: &str) -> Result<Self> {
        match value {
            Value::String(word) if word == "auto" => Ok(Self::Auto),
            // What is wrong with a number, the type itself says best.
            Value::Integer(_) => T::parse(value, place).map(Self::Set),
            _ => T::parse(value, place).map(Self::Set).map_err(|_| wrong_type(place, Self::type_name(), value)),
        }
    }
    fn to_toml(&self, detail: Detail) -> Option<Value> {
        match self {
            Self::Auto => Some(Value::String("auto".into())),
            Self::Set(set) => set.to_toml(detail),
        }
    }
    fn numbers(&self) -> Vec<f64> {
        match self {
            Self::Auto => Vec::new(),
            Self::Set(set) => set.numbers(),
        }
    }
}

impl Device {
    /// Checks what no range can say.
    pub(super) fn check(&self) -> Result<()> {
        if self.device.trim().is_empty() {
            return Err(Error::input("device.device", "expected the name of a device, found an empty string"));
        }
        Ok(())
    }
}

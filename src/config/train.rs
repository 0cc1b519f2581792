//! `[loss]` and `[train]`: what is minimized, and how.

use super::group::{Flat, choice, default, entries, kinds, required, section};
use super::optimizer::Optimizer;
use super::setting::{Detail, Range, Setting, wrong_type};
use super::units::Span;
use crate::base::{Error, Result};
use std::time::Duration;
use toml::Value;

section! {
    /// What is minimized.
    pub struct Loss {
        /// The loss of one example.
        kind: LossKind = Flat;
        /// How the losses of a batch become one number.
        reduction: Reduction = default(Reduction::Mean);
    }
}

kinds! {
    /// The loss of one example.
    pub enum LossKind by "kind", default Some("auto") => {
        /// The cross-entropy for classes, the squared error for values.
        Auto = "auto" {
            /// What share of each label is spread over all classes, where the loss is the cross-entropy.
            label_smoothing: f64 = default(0.0).within(Range::BELOW_1);
        },
        /// The cross-entropy of the softmax of the outputs.
        CrossEntropy = "cross_entropy" {
            /// What share of each label is spread over all classes.
            label_smoothing: f64 = default(0.0).within(Range::BELOW_1);
        },
        /// The binary cross-entropy of the sigmoid of the outputs.
        Bce = "bce",
        /// The squared error.
        Mse = "mse",
        /// Squared for errors up to `delta`, linear beyond.
        Huber = "huber" {
            /// Where the loss becomes linear.
            delta: f64 = default(1.0).within(Range::POSITIVE);
        },
        /// A double well of each output y, (y² − 1)²/4 + tilt·y, plus y times the target: a surface with local minima, for the
        /// source `"plane"`.
        Wells = "wells" {
            /// By how much the well near −1 is the deeper one; there is only one well from 2/√27 on.
            tilt: f64 = default(0.15).within(Range::BELOW_1);
        },
    }
}

choice! {
    /// How the losses of a batch become one number.
    pub enum Reduction {
        /// Their mean.
        Mean = "mean",
        /// Their sum.
        Sum = "sum",
    }
}

section! {
    /// How the loss is minimized, and when that ends.
    pub struct Train {
        /// Passes over the training part.
        epochs: u64 = default(20).within(Range::AT_LEAST_1);
        /// Steps after which training ends, if it has not before.
        max_steps: Option<u64> = default(None).within(Range::AT_LEAST_1);
        /// Time after which training ends, if it has not before: seconds, or a text such as `"90s"`, `"10m"`, `"1h30m"`.
        max_time: Option<Duration> = default(None).within(Range::POSITIVE);
        /// Examples a step, or `"full"` for all of them.
        batch: Batch = default(Batch::Size(32)).within(Range::AT_LEAST_1);
        /// Examples computed at once; the gradient of a batch is summed over several such parts, exactly. As large as
        /// memory allows if not set.
        micro_batch: Option<usize> = default(None).within(Range::AT_LEAST_1);
        /// The rule by which a gradient becomes a step.
        optimizer: Optimizer = Flat;
        /// What the learning rate is multiplied by as training goes on: `"constant"`, a table, or a list of tables whose
        /// factors multiply.
        schedule: Schedule = default(Schedule { pieces: vec![Piece::Constant] });
        /// A gradient of larger norm is scaled down to this norm.
        clip_norm: Option<f64> = default(None).within(Range::POSITIVE);
        /// Each element of the gradient is confined to plus or minus this.
        clip_value: Option<f64> = default(None).within(Range::POSITIVE);
        /// What all random numbers follow from. TOML has no integers above 2⁶³ − 1: larger ones, up to 2⁶⁴ − 1, are written in
        /// quotes.
        seed: u64 = default(0);
        /// The precision of all numbers; `"f64"` runs on the CPU only.
        precision: Precision = default(Precision::F32);
        /// Whether each epoch sees the examples in a new order.
        shuffle: bool = default(true);
        /// Whether a last batch with fewer examples is left out.
        drop_last: bool = default(false);
    }
}

choice! {
    /// The precision of all numbers.
    pub enum Precision {
        /// 32 bits.
        F32 = "f32",
        /// 64 bits, on the CPU only.
        F64 = "f64",
    }
}

/// Examples a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// All of them.
    Full,
    /// So many.
    Size(usize),
}

impl Setting for Batch {
    fn type_name() -> String {
        "\"full\" | integer".into()
    }
    fn parse(value: &Value, place: &str) -> Result<Self> {
        match value {
            Value::String(word) if word == "full" => Ok(Self::Full),
            Value::Integer(_) => usize::parse(value, place).map(Self::Size),
            _ => Err(wrong_type(place, Self::type_name(), value)),
        }
    }
    fn to_toml(&self, detail: Detail) -> Option<Value> {
        match self {
            Self::Full => Some(Value::String("full".into())),
            Self::Size(size) => size.to_toml(detail),
        }
    }
    fn numbers(&self) -> Vec<f64> {
        match self {
            Self::Full => Vec::new(),
            Self::Size(size) => vec![*size as f64],
        }
    }
}

/// What the learning rate is multiplied by as training goes on: the product of all pieces.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// The factors.
    pub pieces: Vec<Piece>,
}

kinds! {
    /// One factor of the learning rate.
    pub enum Piece by "kind", default None => {
        /// One.
        Constant = "constant",
        /// Multiplied by `factor` after every stretch of training.
        Step = "step" {
            /// The stretch: steps, or a text such as `"2 epochs"`.
            every: Span = required();
            /// What the rate is multiplied by.
            factor: f64 = default(0.1).within(Range::POSITIVE);
        },
        /// Multiplied by `factor` continually, once every stretch of training.
        Exponential = "exponential" {
            /// What the rate is multiplied by in one stretch.
            factor: f64 = required().within(Range::POSITIVE);
            /// The stretch: steps, or a text such as `"2 epochs"`.
            every: Span = default(Span::Epochs(1));
        },
        /// From 1 down to `min` along half a cosine, then constant. It ends with the training if no length is given.
        Cosine = "cosine" {
            /// Its length in steps.
            steps: Option<u64> = default(None).within(Range::AT_LEAST_1);
            /// Its length in epochs.
            epochs: Option<u64> = default(None).within(Range::AT_LEAST_1);
            /// The factor at the end.
            min: f64 = default(0.0).within(Range::UNIT);
        },
        /// From `from` up to 1 along a line, then constant.
        Warmup = "warmup" {
            /// Its length in steps.
            steps: Option<u64> = default(None).within(Range::AT_LEAST_1);
            /// Its length in epochs.
            epochs: Option<u64> = default(None).within(Range::AT_LEAST_1);
            /// The factor at the start.
            from: f64 = default(0.0).within(Range::UNIT);
        },
    }
}

entries!(Piece, "schedule");

impl Piece {
    /// The stretch of training that it speaks of, if it names one.
    pub fn span(&self) -> Option<Span> {
        match self {
            Self::Constant => None,
            Self::Step { every, .. } | Self::Exponential { every, .. } => Some(*every),
            Self::Cosine { steps, epochs, .. } | Self::Warmup { steps, epochs, .. } => {
                steps.map(Span::Steps).or(epochs.map(Span::Epochs))
            }
        }
    }
}

impl Setting for Schedule {
    fn type_name() -> String {
        "schedule | list of schedule".into()
    }
    fn parse(value: &Value, place: &str) -> Result<Self> {
        let pieces = match value {
            Value::Array(_) => Vec::parse(value, place)?,
            _ => vec![Piece::parse(value, place)?],
        };
        Ok(Self { pieces })
    }
    fn to_toml(&self, detail: Detail) -> Option<Value> {
        match self.pieces.as_slice() {
            [piece] => piece.to_toml(detail),
            pieces => pieces.to_vec().to_toml(detail),
        }
    }
    fn keys(keys: &mut super::keys::Keys) {
        Piece::keys(keys);
    }
}

impl Train {
    /// Checks what concerns several keys.
    pub(super) fn check(&self) -> Result<()> {
        if let (Some(micro), Batch::Size(size)) = (self.micro_batch, self.batch)
            && micro > size
        {
            let message = format!("{micro} examples are more than the batch of {size} has");
            return Err(Error::input("train.micro_batch", message).help("raise `train.batch`, or lower this"));
        }
        for (i, piece) in self.schedule.pieces.iter().enumerate() {
            let place = if self.schedule.pieces.len() == 1 {
                "train.schedule".to_owned()
            } else {
                format!("train.schedule[{i}]")
            };
            let (Piece::Cosine { steps, epochs, .. } | Piece::Warmup { steps, epochs, .. }) = piece else { continue };
            if steps.is_some() && epochs.is_some() {
                return Err(Error::input(place, "`steps` and `epochs` are both given").help("leave one of them out"));
            }
            if matches!(piece, Piece::Warmup { .. }) && piece.span().is_none() {
                return Err(Error::input(place, "a warmup needs a length").help("give `steps` or `epochs`"));
            }
        }
        Ok(())
    }
}

//! `[loss]` and `[train]`: what is minimized, and how.

use super::group::{Flat, Section, choice, default, entries, kinds, required, section};
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
        /// Examples a step, or `"full"` for all of them, or `"adaptive"` for a number that follows the noise of the gradient as
        /// `train.adaptive` says.
        batch: Batch = default(Batch::Size(32)).within(Range::AT_LEAST_1);
        /// Examples computed at once; the gradient of a batch is summed over several such parts, exactly. As large as
        /// memory allows if not set; 32, if the batch is adaptive.
        micro_batch: Option<usize> = default(None).within(Range::AT_LEAST_1);
        /// How the batch follows the noise of the gradient, where `train.batch` is `"adaptive"`. A batch is so many micro-batches;
        /// their number at most doubles or halves at a time, at fixed steps and by nothing but the readings before them, so that
        /// runs repeat. It needs `probes.noise` in every step. Lengths in epochs, of schedules too, are
        /// counted in examples then, and `train.drop_last` leaves out a short micro-batch.
        adaptive: Adaptive = Section;
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
        /// The precision of all numbers; `"f64"` runs on the CPU only, `"mixed"` on GPUs that have `shader-f16`; the CPU plays it.
        precision: Precision = default(Precision::F32);
        /// What the gradient of the loss is multiplied by before it enters half precision, where `train.precision` is `"mixed"`: a power of
        /// two, or `"dynamic"`. Whatever is recorded, clipped or added to weights is divided by it again. A step whose gradient is not
        /// finite is skipped; the dynamic scale then halves.
        loss_scale: LossScale = default(LossScale::Dynamic);
        /// The dynamic scale of the first step, a power of two.
        loss_scale_start: PowerOfTwo = default(PowerOfTwo(65536.0)).within(Range::POSITIVE);
        /// Steps without overflow in a row after which the dynamic scale doubles.
        loss_scale_growth: u64 = default(2000).within(Range::AT_LEAST_1);
        /// Whether each epoch sees the examples in a new order.
        shuffle: bool = default(true);
        /// Whether a last batch with fewer examples is left out.
        drop_last: bool = default(false);
    }
}

section! {
    /// How the batch follows the noise of the gradient.
    pub struct Adaptive {
        /// What is asked of a batch.
        criterion: Criterion = Flat;
        /// The smallest batch, and the first one; rounded up to whole micro-batches. One micro-batch if not set.
        min: Option<usize> = default(None).within(Range::AT_LEAST_2);
        /// The largest batch, rounded down to whole micro-batches. All examples if not set, or if there are fewer.
        max: Option<usize> = default(None).within(Range::AT_LEAST_2);
        /// Every so many steps the size is set, once the noise of 100 steps is known.
        every: u64 = default(32).within(Range::AT_LEAST_1);
        /// What becomes of the learning rate as the batch grows.
        rate: AdaptiveRate = default(AdaptiveRate::Keep);
    }
}

kinds! {
    /// What is asked of a batch.
    pub enum Criterion by "criterion", default Some("noise_scale") => {
        /// It is as large as the noise scale S/|G|², larger or smaller (McCandlish et al. 2018). Where noise hides the gradient
        /// it grows.
        NoiseScale = "noise_scale",
        /// The norm test: S(1/B − 1/N) is at most `threshold` times ‖ḡ‖², else it grows to where that holds; it never gets smaller
        /// (Byrd et al. 2012, 3.12).
        NormTest = "norm_test" {
            /// The largest share of noise in the square of the gradient's norm. Noise alone has 1; at 0.5 noise and gradient are
            /// equal, which is the noise scale.
            threshold: f64 = default(0.5).within(Range::INSIDE_UNIT);
        },
    }
}

choice! {
    /// What becomes of the learning rate as the batch grows.
    pub enum AdaptiveRate {
        /// Nothing: a larger batch takes noise away, as a smaller rate would (Smith et al. 2018).
        Keep = "keep",
        /// It grows with the batch over the smallest one: in proportion for `sgd`, `momentum` and `nesterov` (Goyal et al. 2017),
        /// with the square root for all others (Malladi et al. 2022).
        Scale = "scale",
    }
}

choice! {
    /// The precision of all numbers.
    pub enum Precision {
        /// 32 bits.
        F32 = "f32",
        /// 64 bits, on the CPU only.
        F64 = "f64",
        /// Factors of matrix products, and so activations and signals, in 16 bits; sums, weights, their gradients, the state of the optimizer,
        /// and evaluation in 32 (Micikevicius et al. 2018).
        Mixed = "mixed",
    }
}

/// What the gradient of the loss is multiplied by in mixed precision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LossScale {
    /// What overflow leaves room for: halved where a gradient is not finite, doubled after so many steps without.
    Dynamic,
    /// A power of two that stays.
    Fixed(f64),
}

impl LossScale {
    /// The exponents of scales: with either, gradients are far from the ends of single precision.
    const EXPONENTS: std::ops::RangeInclusive<f64> = -24.0..=24.0;

    /// Checks that a scale is a power of two between 2⁻²⁴ and 2²⁴: multiplying by it then rounds nothing.
    pub(super) fn check(scale: f64, place: &str) -> Result<()> {
        let exponent = scale.log2();
        if exponent.fract() == 0.0 && Self::EXPONENTS.contains(&exponent) {
            return Ok(());
        }
        let error = Error::input(place, format!("expected a power of two between 2^-24 and 2^24, found {scale}"));
        let near = exponent.round().clamp(*Self::EXPONENTS.start(), *Self::EXPONENTS.end());
        Err(if near.is_finite() { error.help(format!("use {}", near.exp2())) } else { error })
    }
}

/// A scale that rounds nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PowerOfTwo(pub f64);

impl Setting for PowerOfTwo {
    fn type_name() -> String {
        "power of two".into()
    }
    fn parse(value: &Value, place: &str) -> Result<Self> {
        let scale = f64::parse(value, place).map_err(|_| wrong_type(place, Self::type_name(), value))?;
        LossScale::check(scale, place).map(|()| Self(scale))
    }
    fn to_toml(&self, detail: Detail) -> Option<Value> {
        self.0.to_toml(detail)
    }
    fn numbers(&self) -> Vec<f64> {
        vec![self.0]
    }
}

impl Setting for LossScale {
    fn type_name() -> String {
        "\"dynamic\" | number".into()
    }
    fn parse(value: &Value, place: &str) -> Result<Self> {
        match value {
            Value::String(word) if word == "dynamic" => Ok(Self::Dynamic),
            Value::Integer(_) | Value::Float(_) => {
                let scale = f64::parse(value, place)?;
                Self::check(scale, place).map(|()| Self::Fixed(scale))
            }
            _ => Err(wrong_type(place, Self::type_name(), value)),
        }
    }
    fn to_toml(&self, detail: Detail) -> Option<Value> {
        match self {
            Self::Dynamic => Some(Value::String("dynamic".into())),
            Self::Fixed(scale) => scale.to_toml(detail),
        }
    }
    fn numbers(&self) -> Vec<f64> {
        match self {
            Self::Dynamic => Vec::new(),
            Self::Fixed(scale) => vec![*scale],
        }
    }
}

/// Examples a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// All of them.
    Full,
    /// So many.
    Size(usize),
    /// As many as the noise of the gradient asks for.
    Adaptive,
}

impl Setting for Batch {
    fn type_name() -> String {
        "\"full\" | \"adaptive\" | integer".into()
    }
    fn parse(value: &Value, place: &str) -> Result<Self> {
        match value {
            Value::String(word) if word == "full" => Ok(Self::Full),
            Value::String(word) if word == "adaptive" => Ok(Self::Adaptive),
            Value::Integer(_) => usize::parse(value, place).map(Self::Size),
            _ => Err(wrong_type(place, Self::type_name(), value)),
        }
    }
    fn to_toml(&self, detail: Detail) -> Option<Value> {
        match self {
            Self::Full => Some(Value::String("full".into())),
            Self::Adaptive => Some(Value::String("adaptive".into())),
            Self::Size(size) => size.to_toml(detail),
        }
    }
    fn numbers(&self) -> Vec<f64> {
        match self {
            Self::Full | Self::Adaptive => Vec::new(),
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
        /// Multiplied by `factor` when the loss has stopped to fall, by the rule of PyTorch's `ReduceLROnPlateau`; an improvement
        /// counts only where it stands out of the noise of the loss. One such table at most.
        Plateau = "plateau" {
            /// What the rate is multiplied by.
            factor: f64 = default(0.1).within(Range::INSIDE_UNIT);
            /// So many losses in a row may be no improvement; the rate falls with the next.
            patience: u64 = default(10);
            /// By which share of the best loss a loss must be below it.
            threshold: f64 = default(1e-4).within(Range::BELOW_1);
            /// How many losses are not counted after the rate fell.
            cooldown: u64 = default(0);
            /// The least that the rate is multiplied by: `min_lr` over `lr`.
            min: f64 = default(0.0).within(Range::UNIT);
            /// Which loss is watched.
            of: PlateauOf = default(PlateauOf::Validation);
            /// Steps over which the training loss is averaged; those of an epoch if not set.
            steps: Option<u64> = default(None).within(Range::AT_LEAST_1);
            /// By how many standard errors of the difference a loss must be below the best one; 0 is PyTorch's rule. Of validation
            /// losses the errors are those of the mean difference over the examples; of training losses they follow from
            /// the jumps between neighbouring steps.
            noise: f64 = default(2.0).within(Range::NON_NEGATIVE);
        },
    }
}

choice! {
    /// Which loss a plateau is one of.
    pub enum PlateauOf {
        /// Each validation's.
        Validation = "validation",
        /// The mean training loss of a stretch of steps.
        Train = "train",
    }
}

entries!(Piece, "schedule");

impl Piece {
    /// The stretch of training that it speaks of, if it names one.
    pub fn span(&self) -> Option<Span> {
        match self {
            Self::Constant | Self::Plateau { .. } => None,
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
    /// Examples of a micro-batch where the batch is adaptive and `micro_batch` is not set: the smallest step in its size.
    pub const MICRO_ROWS_ADAPTIVE: usize = 32;

    /// Checks what concerns several keys.
    pub(super) fn check(&self) -> Result<()> {
        if let (Some(micro), Batch::Size(size)) = (self.micro_batch, self.batch)
            && micro > size
        {
            let message = format!("{micro} examples are more than the batch of {size} has");
            return Err(Error::input("train.micro_batch", message).help("raise `train.batch`, or lower this"));
        }
        if let (Some(min), Some(max)) = (self.adaptive.min, self.adaptive.max)
            && min > max
        {
            let message = format!("{max} is less than train.adaptive.min = {min}");
            return Err(Error::input("train.adaptive.max", message).help("raise it, or lower train.adaptive.min"));
        }
        for (i, piece) in self.schedule.pieces.iter().enumerate() {
            let place = if self.schedule.pieces.len() == 1 {
                "train.schedule".to_owned()
            } else {
                format!("train.schedule[{i}]")
            };
            let is_plateau = |piece: &Piece| matches!(piece, Piece::Plateau { .. });
            if is_plateau(piece) && self.schedule.pieces[..i].iter().any(is_plateau) {
                return Err(Error::input(place, "there is a plateau already").help("leave one of them out"));
            }
            if matches!(piece, Piece::Plateau { of: PlateauOf::Validation, steps: Some(_), .. }) {
                let message = "`steps` is for the training loss, and the validation loss is watched";
                return Err(Error::input(place, message).help("set of = \"train\", or leave it out"));
            }
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

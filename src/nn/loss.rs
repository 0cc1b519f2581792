//! What is minimized: the losses of single examples, and their weighted sum.

use super::wells::Wells;
use crate::base::{Error, Result, Shape};
use crate::config::{LossKind, Reduction};
use crate::graph::{Graph, ValueId};

/// What the targets of a data set are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetSpec {
    /// A label for each example, below this number of classes.
    Classes(usize),
    /// This many real numbers for each example.
    Values(usize),
}

/// The targets of a batch in a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetValues {
    /// Class labels `[n]`.
    Index(ValueId),
    /// Real numbers [n, width].
    Real(ValueId),
}

/// The loss of an example, with nothing left open. Outputs are [n, c]; for all but the cross-entropy, labels stand for
/// their one-hot rows, or, with a single output, for the numbers 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LossSpec {
    /// The cross-entropy of the softmax of the outputs.
    CrossEntropy {
        /// What share of each label is spread over all classes (Szegedy et al. 2016).
        smoothing: f64,
    },
    /// The binary cross-entropy of the sigmoid of each output, for targets in [0, 1].
    Bce,
    /// The squared error of each output.
    Mse,
    /// Huber's loss of each output: squared for errors up to `delta`, linear beyond (Huber 1964).
    Huber {
        /// Where the loss becomes linear.
        delta: f64,
    },
    /// A double well of each output, and the output times its target.
    Wells(Wells),
}

impl LossSpec {
    /// The loss that the settings mean for these targets and a model of this many outputs.
    ///
    /// # Errors
    /// If targets, outputs and loss do not fit together: the error says what would.
    pub fn resolve(kind: &LossKind, targets: TargetSpec, outputs: usize) -> Result<Self> {
        let spec = match (kind, targets) {
            (LossKind::Auto { label_smoothing }, TargetSpec::Classes(_)) => {
                Self::CrossEntropy { smoothing: *label_smoothing }
            }
            (LossKind::Auto { .. }, TargetSpec::Values(_)) => Self::Mse,
            (LossKind::CrossEntropy { label_smoothing }, _) => Self::CrossEntropy { smoothing: *label_smoothing },
            (LossKind::Bce, _) => Self::Bce,
            (LossKind::Mse, _) => Self::Mse,
            (LossKind::Huber { delta }, _) => Self::Huber { delta: *delta },
            (LossKind::Wells { tilt }, _) => Self::Wells(Wells { tilt: *tilt }),
        };
        spec.check(targets, outputs)?;
        Ok(spec)
    }

    /// The word that names it in a config.
    pub fn word(&self) -> &'static str {
        match self {
            Self::CrossEntropy { .. } => "cross_entropy",
            Self::Bce => "bce",
            Self::Mse => "mse",
            Self::Huber { .. } => "huber",
            Self::Wells(_) => "wells",
        }
    }

    /// Whether outputs are scores of which the largest tells the class.
    pub fn is_cross_entropy(&self) -> bool {
        matches!(self, Self::CrossEntropy { .. })
    }

    fn check(&self, targets: TargetSpec, outputs: usize) -> Result<()> {
        let place = "loss.kind";
        match *self {
            Self::CrossEntropy { smoothing } if !(0.0..1.0).contains(&smoothing) => {
                let message = format!("{smoothing} is out of range: expected a number ≥ 0 and < 1");
                return Err(Error::input("loss.label_smoothing", message));
            }
            Self::Huber { delta } if !(delta.is_finite() && delta > 0.0) => {
                return Err(Error::input("loss.delta", format!("{delta} is out of range: expected a number > 0")));
            }
            Self::Wells(wells) => wells.check()?,
            _ => {}
        }
        match targets {
            TargetSpec::Values(width) if self.is_cross_entropy() => {
                let message =
                    format!("the cross-entropy needs class labels, the targets are {width} numbers an example");
                Err(Error::input(place, message).help("use \"mse\" or \"huber\", or set `data.task` to classification"))
            }
            TargetSpec::Classes(2) if outputs == 1 && !self.is_cross_entropy() => Ok(()),
            TargetSpec::Classes(2) if outputs == 1 => {
                let error = Error::input(place, "the cross-entropy needs an output for each of the 2 classes, found 1");
                Err(error.help("let the last linear layer have out = 2, or use loss.kind = \"bce\""))
            }
            TargetSpec::Classes(width) | TargetSpec::Values(width) if width != outputs => {
                let unit = match targets {
                    TargetSpec::Classes(1) => "class",
                    TargetSpec::Classes(_) => "classes",
                    TargetSpec::Values(1) => "target number an example",
                    TargetSpec::Values(_) => "target numbers an example",
                };
                let error = Error::input("model.layers", format!("the model has {outputs} outputs for {width} {unit}"));
                Err(error.help(format!("let the last linear layer have out = {width}")))
            }
            _ => Ok(()),
        }
    }

    /// The loss of each example, `[n]`, of outputs [n, c]. Elementwise losses are averaged over the outputs where the batch
    /// is averaged, so that the whole is PyTorch's mean over all elements, and summed where it is summed.
    ///
    /// # Errors
    /// If targets and outputs have not as many rows, or the targets are of the wrong kind or width.
    pub fn per_example(
        &self,
        g: &mut Graph,
        output: ValueId,
        targets: TargetValues,
        reduction: Reduction,
    ) -> Result<ValueId> {
        let shape = g.shape(output);
        if shape.rank() != 2 || shape.is_empty() {
            return Err(Error::input("loss", format!("outputs are [rows, outputs], found {shape}")));
        }
        if let Self::CrossEntropy { smoothing } = *self {
            return match targets {
                TargetValues::Index(labels) => g.softmax_cross_entropy(output, labels, smoothing),
                TargetValues::Real(_) => Err(Error::input("loss", "the cross-entropy needs class labels")),
            };
        }
        let targets = numbers(g, targets, shape)?;
        let losses = match *self {
            Self::Bce => g.bce_with_logits(output, targets)?,
            Self::Huber { delta } => g.huber(output, targets, delta)?,
            Self::Wells(wells) => wells.per_output(g, output, targets)?,
            Self::Mse | Self::CrossEntropy { .. } => g.squared_error(output, targets)?,
        };
        let rows = match reduction {
            // A surface over the plane is the sum of both directions, however examples are joined.
            _ if matches!(self, Self::Wells(_)) => g.sum_axes(losses, &[1])?,
            Reduction::Mean => g.mean_axes(losses, &[1])?,
            Reduction::Sum => g.sum_axes(losses, &[1])?,
        };
        g.reshape(rows, [shape.dim(0)])
    }
}

/// Targets as numbers of the outputs' shape [n, c].
fn numbers(g: &mut Graph, targets: TargetValues, shape: Shape) -> Result<ValueId> {
    let (rows, outputs) = (shape.dim(0), shape.dim(1));
    let (value, expected) = match targets {
        TargetValues::Index(labels) => (labels, Shape::from([rows])),
        TargetValues::Real(values) => (values, shape),
    };
    // Without this, [n] against [n, 1] would broadcast to [n, n].
    if g.shape(value) != expected {
        let message =
            format!("targets of shape {expected} were expected for outputs {shape}, found {}", g.shape(value));
        return Err(Error::input("loss", message));
    }
    match targets {
        TargetValues::Real(values) => Ok(values),
        TargetValues::Index(labels) if outputs == 1 => {
            // Of two classes, the second column of the one-hot rows is the label itself.
            let hot = g.one_hot(labels, 2)?;
            g.slice(hot, 1, 1, 1)
        }
        TargetValues::Index(labels) => g.one_hot(labels, outputs),
    }
}

/// The loss of a batch, a scalar: Σ wᵢ ℓᵢ for losses `[n]` and weights `[n]`. Whatever the batch's sum is divided by is in the
/// weights already, and rows that are padding have weight 0.
pub fn total(g: &mut Graph, per_example: ValueId, weights: ValueId) -> Result<ValueId> {
    let weighted = g.mul(per_example, weights)?;
    g.sum(weighted)
}

//! What a run minimizes, as graph nodes.

use crate::base::{Error, Result, Shape};
use crate::config::{Config, Reduction};
use crate::data::TargetKind;
use crate::graph::{Graph, ValueId};
use crate::nn::{LossSpec, TargetSpec, TargetValues};

/// A loss of the user's: from the model's output [n, …] and the targets to the loss of each example `[n]`.
pub type CustomLoss = dyn Fn(&mut Graph, ValueId, &TargetValues) -> Result<ValueId> + Send + Sync;

/// The loss that a run minimizes.
pub enum Objective {
    /// One of the built-in losses.
    Standard(LossSpec),
    /// The user's.
    Custom(Box<CustomLoss>),
}

impl Objective {
    /// The loss that a config means for these targets and a model of this many outputs.
    ///
    /// # Errors
    /// If they do not fit together: the error says what would.
    pub fn of(config: &Config, targets: TargetKind, outputs: usize) -> Result<Self> {
        loss_spec(config, targets, outputs).map(Self::Standard)
    }

    /// The loss of each example, `[n]`.
    pub(super) fn per_example(
        &self,
        g: &mut Graph,
        output: ValueId,
        targets: &TargetValues,
        reduction: Reduction,
    ) -> Result<ValueId> {
        g.set_scope("loss");
        let loss = match self {
            Self::Standard(spec) => spec.per_example(g, output, *targets, reduction)?,
            Self::Custom(build) => build(g, output, targets)?,
        };
        let rows = g.shape(output).dim(0);
        if g.shape(loss) != Shape::from([rows]) {
            let message =
                format!("a loss gives one number for each example, [{rows}]; this one gives {}", g.shape(loss));
            return Err(Error::input("loss", message).help("sum or average over the outputs, not over the examples"));
        }
        Ok(loss)
    }
}

/// The built-in loss that a config means.
pub(super) fn loss_spec(config: &Config, targets: TargetKind, outputs: usize) -> Result<LossSpec> {
    let targets = match targets {
        TargetKind::Classes(classes) => TargetSpec::Classes(classes),
        TargetKind::Values(width) => TargetSpec::Values(width),
    };
    LossSpec::resolve(&config.loss.kind, targets, outputs)
}

//! What part of a training step a node belongs to.

use serde::{Deserialize, Serialize};

/// A part of a training step. Nodes bear it through differentiation, fusion and compilation, so that what a step of a plan
/// takes can be told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// From the batch to the loss.
    #[default]
    Forward,
    /// From the loss to the gradients, and their sum over micro-batches.
    Backward,
    /// What is measured, apart from what the update measures in passing.
    Statistics,
    /// Clipping and optimizer.
    Update,
}

impl Phase {
    /// All of them, in the order of a step.
    pub const ALL: [Self; 4] = [Self::Forward, Self::Backward, Self::Statistics, Self::Update];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Backward => "backward",
            Self::Statistics => "statistics",
            Self::Update => "update",
        }
    }
}

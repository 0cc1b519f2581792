//! What of a step is not finite, and whether that counts.

use super::reading::Reader;
use crate::ops::record::{NON_FINITE, RECORD};
use crate::ops::scaling::{ROW_HALTS, ROW_SKIPS};

/// Where the first non-finite value of a step was: in the order in which a step computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonFinite {
    /// The activations behind this layer (by its place among the tapped layers).
    Activation(usize),
    /// The loss, while all activations were finite.
    Loss,
    /// The backpropagated signal at this layer: the deepest one that is affected.
    Signal(usize),
    /// The gradient of this tensor.
    Gradient(usize),
}

impl Reader {
    /// Whether loss scaling skipped the step.
    pub fn is_skipped(&self, table: &[f64]) -> bool {
        self.scaling_row.is_some_and(|row| table[row * RECORD + ROW_SKIPS] != 0.0)
    }

    /// Where the first non-finite value of a step was, if there was one. With loss scaling that is overflow, and counts where it is that of
    /// the loss, or where a smaller scale would not help.
    pub fn non_finite(&self, table: &[f64]) -> Option<NonFinite> {
        let bad = |i: usize| table[i * RECORD + NON_FINITE] != 0.0;
        if self.scaling_row.is_some_and(|row| !bad(self.loss_row) && table[row * RECORD + ROW_HALTS] == 0.0) {
            return None;
        }
        let layers = if self.tensors.is_empty() { 0 } else { self.activations.len() };
        if let Some(layer) = (0..layers).find(|&layer| bad(layer)) {
            return Some(NonFinite::Activation(layer));
        }
        if bad(self.loss_row) {
            return Some(NonFinite::Loss);
        }
        if let Some(layer) = (0..layers).rev().find(|&layer| bad(layers + layer)) {
            return Some(NonFinite::Signal(layer));
        }
        (0..self.tensors.len()).find(|&t| bad(self.params_row + t)).map(NonFinite::Gradient)
    }
}

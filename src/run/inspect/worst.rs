//! Examples by the norm of the gradient of their own loss: mislabelled data tend to come first.

use super::super::predictor::decide;
use super::{Inspection, Inspector};
use crate::base::{Error, Result};
use crate::data::Targets;
use std::ops::Range;

/// An example and what the model makes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct RankedExample {
    /// Its row in the part, from 0.
    pub row: usize,
    /// The norm of the gradient of its own loss, over all parameters.
    pub grad_norm: f64,
    /// Its own loss.
    pub loss: f64,
    /// What was to be said and what was said.
    pub answer: Answer,
}

/// A target and the model's answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A class.
    Class {
        /// The label that the data have.
        label: usize,
        /// The class that the outputs decide for; `None` where they are not numbers.
        prediction: Option<usize>,
    },
    /// Numbers.
    Values {
        /// The targets.
        targets: Vec<f64>,
        /// The model's outputs.
        outputs: Vec<f64>,
    },
}

/// The `count` examples of an inspection of `rows` whose own gradients are largest, the largest first and the earlier row
/// before the later; a norm that is not a number comes before all others.
///
/// # Errors
/// If the inspection is not one of these rows.
pub fn worst(
    inspector: &Inspector,
    inspection: &Inspection,
    rows: Range<usize>,
    count: usize,
) -> Result<Vec<RankedExample>> {
    let norms = &inspection.example_grad_norm;
    if norms.len() != rows.len() || rows.end > inspector.data().len() {
        let message = format!("{} rows were inspected, not {}..{}", norms.len(), rows.start, rows.end);
        return Err(Error::input("worst", message));
    }
    let mut order: Vec<usize> = (0..rows.len()).collect();
    let key = |i: usize| if norms[i].is_nan() { f64::INFINITY } else { norms[i] };
    order.sort_by(|&a, &b| key(b).total_cmp(&key(a)));
    let width = inspection.logits.shape.last();
    let example = |i: usize| {
        let row = rows.start + i;
        let outputs = &inspection.logits.values[i * width..][..width];
        let answer = match inspector.data().targets() {
            Targets::Classes { labels, .. } => {
                Answer::Class { label: labels[row] as usize, prediction: decide(outputs) }
            }
            Targets::Values { values, width } => Answer::Values {
                targets: values[row * width..][..*width].iter().map(|&x| f64::from(x)).collect(),
                outputs: outputs.to_vec(),
            },
        };
        RankedExample { row, grad_norm: norms[i], loss: inspection.losses[i], answer }
    };
    Ok(order.into_iter().take(count).map(example).collect())
}

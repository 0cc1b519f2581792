//! The table of rules, and what they share.

mod course;
mod half;
mod rate;
mod setup;
mod signal;
#[cfg(test)]
mod tests;
mod units;

pub(super) use half::LOST_ABOVE;
pub(super) use signal::{EXPLODING_ABOVE, VANISHING_BELOW};

use super::{Evidence, Number, Rule, Threshold};

/// Every rule, in order of gravity.
pub const RULES: &[Rule] = &[
    course::NON_FINITE,
    setup::SYMMETRIC_INIT,
    setup::SOFTMAX_TWICE,
    signal::VANISHING,
    signal::EXPLODING,
    units::UNUSED_LAYER,
    units::DEAD_UNITS,
    units::SATURATED_UNITS,
    setup::UNSCALED_TARGETS,
    setup::UNNORMALIZED_INPUTS,
    setup::MISSING_NONLINEARITY,
    setup::REGRESSION_ON_CLASSES,
    signal::POOR_GAIN,
    rate::LR_TOO_HIGH,
    rate::LR_TOO_LOW,
    rate::UNDERFLOW,
    half::HALF_UNDERFLOW,
    course::OVERFITTING,
    course::PLATEAU,
    rate::UPDATE_RATIO,
    units::BATCH_TOO_SMALL,
    units::BATCH_TOO_LARGE,
    course::CONVERGED,
    course::HEALTHY,
];

const LEARNING_BELOW: Threshold = Threshold {
    name: "loss / min(start, chance)",
    value: 0.5,
    why: "Adam brings vanishing nets to 0.6 of chance and leaves them there for long; a net that gets below half learns, if \
          slowly",
};

/// The loss that a run has to beat: that of its start, or that of the best constant prediction where it is less.
fn baseline(evidence: &Evidence) -> f64 {
    let start = evidence.readings.loss_start;
    evidence.facts.chance.map_or(start, |chance| chance.min(start))
}

/// Whether the loss is below half of what it was and of what chance gives.
fn learns(evidence: &Evidence) -> bool {
    let (loss, base) = (evidence.readings.loss, baseline(evidence));
    evidence.readings.steps > 0 && base > 0.0 && loss < LEARNING_BELOW.value * base
}

/// From ½ at the threshold towards 1: half of the doubt is gone where the value is twice as far.
fn confidence(value: f64, threshold: f64) -> f64 {
    let distance = (value / threshold).ln().abs();
    if distance.is_nan() { 1.0 } else { 1.0 - 0.5 * (-distance).exp() }
}

fn number(name: &'static str, value: f64) -> Number {
    Number { name, value }
}

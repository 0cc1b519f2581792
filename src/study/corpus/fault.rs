//! The faults, and what of a verdict is right about each.
//!
//! A verdict is right if its id is the fault's own and the layer it names is the one where the fault is, give or take one.
//! Where one fault has two faces, which of them shows depending on how far it went, the second counts if the verdict traces
//! it back to the first: a rate that is too high may end in values that are not finite, and the verdict must say that the
//! rate did it.

use super::tools::Kind;
use crate::verdict::{Facts, Grade, Verdict};
use serde::Serialize;

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// All initial weights too small: the signal is lost along depth.
    VanishingGain,
    /// Sigmoids in a deep network.
    VanishingSigmoid,
    /// The initial weights of two neighbouring layers are next to nothing.
    VanishingLayers,
    /// All initial weights too large: the signal grows along depth.
    ExplodingGain,
    /// Initial weights of a shallow network too large or too small.
    PoorGain,
    /// The initial weights of the last layer too large.
    PoorHead,
    /// The biases of one ReLU layer far below 0.
    DeadUnits,
    /// One layer's weights so large that what is behind it saturates.
    SaturatedLayer,
    /// All weights so large.
    SaturatedAll,
    /// All weights equal.
    SymmetricInit,
    /// A learning rate that is too high.
    LrTooHigh,
    /// A learning rate that is too low.
    LrTooLow,
    /// Updates smaller than the rounding of the weights.
    Underflow,
    /// Batches whose gradient is mostly noise.
    NoisyBatch,
    /// Features of another size.
    InputScale,
    /// Features far from 0.
    InputShift,
    /// Features of very different sizes.
    InputSpread,
    /// Target values of another size.
    TargetScale,
    /// Target values far from 0.
    TargetShift,
    /// A last activation that cannot give the targets.
    OneSidedHead,
    /// A softmax or sigmoid before a loss that has its own.
    SoftmaxTwice,
    /// Classes fitted as numbers.
    WrongLoss,
    /// No activation between layers.
    NoActivations,
    /// A layer of zeros that no signal passes, so that what is before it is frozen.
    FrozenLayers,
    /// Numbers beyond the range.
    NonFinite,
}

/// Which verdict names a fault: its id, and how its cause has to begin.
pub type Right = (&'static str, &'static str);

/// A fault's row in the table.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// The fault.
    pub fault: Fault,
    /// Its name.
    pub name: &'static str,
    /// The verdicts that are right about it.
    pub right: &'static [Right],
    /// What other tools may call it; generously.
    pub kinds: &'static [Kind],
}

const fn spec(fault: Fault, name: &'static str, right: &'static [Right], kinds: &'static [Kind]) -> Spec {
    Spec { fault, name, right, kinds }
}

const VANISHING: &[Right] = &[("vanishing", "")];
const GAIN: &[Right] = &[
    ("poor_gain", ""),
    ("exploding", "initialization gain"),
    ("vanishing", "initialization gain"),
    ("non_finite", "initialization"),
];
const SATURATED: &[Right] = &[("saturated_units", "")];
const INPUTS: &[Right] = &[("unnormalized_inputs", "")];
const TARGETS: &[Right] = &[("unscaled_targets", "")];

/// Every fault.
pub const FAULTS: [Spec; 25] = [
    spec(Fault::VanishingGain, "vanishing, small gain", VANISHING, &[Kind::Vanishing, Kind::Initialization]),
    spec(Fault::VanishingSigmoid, "vanishing, sigmoids", VANISHING, &[Kind::Vanishing, Kind::Initialization]),
    spec(Fault::VanishingLayers, "vanishing, two layers", VANISHING, &[Kind::Vanishing, Kind::Initialization]),
    spec(
        Fault::ExplodingGain,
        "exploding, large gain",
        &[("exploding", ""), ("non_finite", "initialization")],
        &[Kind::Exploding, Kind::Initialization],
    ),
    spec(Fault::PoorGain, "poor gain", GAIN, &[Kind::Initialization, Kind::Exploding, Kind::Vanishing]),
    spec(Fault::PoorHead, "poor gain, last layer", GAIN, &[Kind::Initialization, Kind::Exploding]),
    spec(Fault::DeadUnits, "dead units", &[("dead_units", "")], &[Kind::DeadUnits]),
    spec(Fault::SaturatedLayer, "saturated, one layer", SATURATED, &[Kind::Initialization, Kind::Vanishing]),
    spec(Fault::SaturatedAll, "saturated, all layers", SATURATED, &[Kind::Initialization, Kind::Vanishing]),
    spec(Fault::SymmetricInit, "symmetric init", &[("symmetric_init", "")], &[Kind::Initialization]),
    spec(
        Fault::LrTooHigh,
        "rate too high",
        &[("lr_too_high", ""), ("non_finite", "learning rate")],
        &[Kind::Updates, Kind::Exploding, Kind::Oscillation, Kind::DeadUnits],
    ),
    spec(Fault::LrTooLow, "rate too low", &[("lr_too_low", "")], &[Kind::Updates, Kind::Vanishing]),
    spec(Fault::Underflow, "underflow", &[("underflow", "")], &[Kind::Updates, Kind::Vanishing]),
    // The spread that noise leaves goes with rate / batch, so that either mends it.
    spec(
        Fault::NoisyBatch,
        "noisy batch",
        &[("batch_too_small", ""), ("lr_too_high", ""), ("non_finite", "learning rate")],
        &[Kind::Oscillation, Kind::Updates, Kind::Exploding],
    ),
    spec(Fault::InputScale, "inputs, scale", INPUTS, &[Kind::Inputs]),
    spec(Fault::InputShift, "inputs, offset", INPUTS, &[Kind::Inputs]),
    spec(Fault::InputSpread, "inputs, spread", INPUTS, &[Kind::Inputs]),
    spec(Fault::TargetScale, "targets, scale", TARGETS, &[Kind::Exploding, Kind::Updates]),
    spec(Fault::TargetShift, "targets, offset", TARGETS, &[Kind::Exploding, Kind::Updates]),
    spec(Fault::OneSidedHead, "one-sided head", TARGETS, &[Kind::DeadUnits]),
    spec(Fault::SoftmaxTwice, "softmax twice", &[("softmax_twice", "")], &[Kind::Vanishing]),
    spec(Fault::WrongLoss, "wrong loss", &[("regression_on_classes", "")], &[]),
    spec(Fault::NoActivations, "no activations", &[("missing_nonlinearity", "")], &[]),
    spec(Fault::FrozenLayers, "frozen layers", &[("unused_layer", "")], &[Kind::DeadUnits, Kind::Vanishing]),
    spec(Fault::NonFinite, "not finite", &[("non_finite", "")], &[Kind::Exploding]),
];

impl Fault {
    /// Its row.
    pub fn spec(self) -> &'static Spec {
        FAULTS.iter().find(|spec| spec.fault == self).expect("a test holds that each fault has a row")
    }

    /// Whether a verdict is right about the fault, which is in a layer if `layer` says so, layers with parameters counted from
    /// 0. Its grade must be above information.
    pub fn is_named_by(self, verdict: &Verdict, layer: Option<usize>, facts: &Facts) -> bool {
        let is_right = |(id, cause): &Right| *id == verdict.id && verdict.cause.starts_with(cause);
        let place = |name: &String| facts.layers.iter().position(|layer| layer.name == *name);
        let is_there = |truth: usize| verdict.layer.as_ref().and_then(place).is_some_and(|at| at.abs_diff(truth) <= 1);
        verdict.grade < Grade::Information && self.spec().right.iter().any(is_right) && layer.is_none_or(is_there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{LayerFacts, RULES};

    fn facts() -> Facts {
        let layer = |i: usize| LayerFacts { name: (2 * i).to_string(), ..LayerFacts::default() };
        Facts { layers: (0..5).map(layer).collect(), ..Facts::default() }
    }

    fn verdict(id: &'static str, grade: Grade, layer: Option<&str>, cause: &str) -> Verdict {
        Verdict {
            id,
            grade,
            layer: layer.map(str::to_owned),
            layers: layer.into_iter().map(str::to_owned).collect(),
            since: None,
            confidence: 1.0,
            because: String::new(),
            cause: cause.into(),
            evidence: Vec::new(),
            remedies: Vec::new(),
        }
    }

    #[test]
    fn every_fault_has_a_row_and_verdicts_that_exist() {
        for spec in FAULTS {
            assert_eq!(spec.fault.spec().name, spec.name);
            assert!(spec.right.iter().all(|(id, _)| RULES.iter().any(|rule| rule.id == *id)), "{}", spec.name);
        }
    }

    #[test]
    fn the_right_verdict_has_id_layer_and_cause() {
        let right = |fault: Fault, verdict: &Verdict, layer| fault.is_named_by(verdict, layer, &facts());
        let at = |layer| verdict("vanishing", Grade::Fault, Some(layer), "depth");
        let found: Vec<bool> =
            ["0", "2", "4", "6"].map(|name| right(Fault::VanishingLayers, &at(name), Some(2))).to_vec();
        assert_eq!(found, [false, true, true, true]);
        assert!(!right(Fault::VanishingLayers, &verdict("vanishing", Grade::Fault, None, ""), Some(2)));
        assert!(right(Fault::LrTooLow, &verdict("lr_too_low", Grade::Advice, None, ""), None));
        assert!(!right(Fault::LrTooLow, &verdict("lr_too_low", Grade::Information, None, ""), None));
        let rate = |cause| right(Fault::LrTooHigh, &verdict("non_finite", Grade::Fault, None, cause), None);
        assert!(rate("learning rate: 3 is too much") && !rate("initialization: signals grow"));
    }
}

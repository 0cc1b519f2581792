//! Readings to verdicts: what is wrong, where, why, on which numbers that rests, and what would mend it. No I/O, no device.
//!
//! A [`Rule`] looks at [`Evidence`], a plain struct of facts and smoothed readings. Rules are scale-free: they compare layers
//! with each other along depth, a layer with its own past, a step with the weights that it moves; a gradient that is small
//! everywhere is no fault, it is what convergence looks like. What depends on how training goes is a fault only where
//! training suffers: where the loss has fallen below half of its start and of chance it is advice.
//!
//! | id | grade | when |
//! |---|---|---|
//! | `non_finite` | fault | a value is not finite; the first one, and what was growing before |
//! | `symmetric_init` | fault | a hidden layer and the next start with all weights equal, so that units cannot differ |
//! | `softmax_twice` | fault | the loss has a softmax or sigmoid built in, and the model ends with another |
//! | `vanishing` | fault | less than 2e-3 of the last layer's signal arrives at a layer |
//! | `exploding` | fault | more than 500 times the last layer's signal arrives at a layer |
//! | `unused_layer` | fault | a layer's whole gradient is exactly 0 in most steps |
//! | `dead_units` | fault | more than half of a layer's units give nothing for any example |
//! | `saturated_units` | fault | more than half of a layer's activations have next to no slope |
//! | `unscaled_targets` | fault | target values are far from size 1, or out of the last activation's reach |
//! | `unnormalized_inputs` | fault | features are far from size 1, far from mean 0, or of very different sizes |
//! | `missing_nonlinearity` | fault | a linear layer follows a linear layer |
//! | `regression_on_classes` | fault | classes are fitted as numbers |
//! | `poor_gain` | fault | initial weights multiply signals by more than 3 or less than 0.1 a layer, by more than 12 in one, or the first loss is far above chance |
//! | `lr_too_high` | fault | steps are large beside the weights, and the loss is unstable or does not fall |
//! | `lr_too_low` | fault | no layer can have moved by a twentieth of its weights, and the loss has not fallen below half |
//! | `underflow` | fault | updates are smaller than the rounding of the weights |
//! | `half_underflow` | fault | half precision takes more than a twentieth of a layer's signal to 0 |
//! | `overfitting` | advice | the validation loss rises while the training loss falls |
//! | `plateau` | advice | the loss stands still, far above what would be converged |
//! | `update_ratio` | advice | a layer's steps are a hundred times larger or a thousand times smaller than usual |
//! | `batch_too_small` | advice | the noise scale is far above the batch |
//! | `batch_too_large` | advice | the batch is far above the noise scale |
//! | `converged` | information | the loss is below 5 % of its start or of chance, and the signal below its own start |
//! | `healthy` | information | nothing to mend was found |

mod evidence;
mod history;
mod judge;
mod remedy;
mod rules;
mod theory;

pub use evidence::{
    Activation, DataFacts, Evidence, Facts, LayerFacts, LayerReading, LossFact, Number, Origin, Readings, ScaleFact,
    ValidationReading,
};
pub use history::{History, Measured};
pub use judge::{LayerVerdict, by_layer, judge};
pub use remedy::{Change, Remedy};
pub use rules::RULES;
pub use theory::{Expected, expected};

use serde::Serialize;

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Training fails or suffers.
    Fault,
    /// It could go better.
    Advice,
    /// A state to be in.
    Information,
}

impl Grade {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Advice => "advice",
            Self::Information => "information",
        }
    }
}

/// A number that a rule compares with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// What is compared with it.
    pub name: &'static str,
    /// The number.
    pub value: f64,
    /// Where it comes from.
    pub why: &'static str,
}

/// What evidence a rule looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Model and settings.
    Model,
    /// Statistics of the data.
    Data,
    /// The loss of the steps.
    Loss,
    /// The backpropagated signal of each layer.
    Signal,
    /// The activations of each layer.
    Activations,
    /// Gradients of each layer.
    Gradients,
    /// How far each layer moves.
    Updates,
    /// Validations.
    Validation,
    /// The noise scale.
    Noise,
    /// Shares of dead or saturated units.
    Units,
}

/// A rule, as data.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its name, in configs too.
    pub id: &'static str,
    /// How grave it is where training suffers.
    pub grade: Grade,
    /// What it looks at.
    pub needs: &'static [Need],
    /// When it holds.
    pub condition: &'static str,
    /// What it compares with.
    pub thresholds: &'static [&'static Threshold],
    /// Rules that say nothing where this one holds, since it explains what they see.
    pub silences: &'static [&'static str],
    /// The condition.
    find: fn(&Evidence) -> Option<Found>,
}

/// What a rule has found.
#[derive(Clone, Debug, Default, PartialEq)]
struct Found {
    /// The layers that it is about, the worst first.
    layers: Vec<usize>,
    /// The first step of it.
    since: Option<u64>,
    /// From ½, at the threshold, to 1.
    confidence: f64,
    /// What was seen.
    because: String,
    /// What it comes from.
    cause: String,
    /// The numbers.
    numbers: Vec<Number>,
    /// What can be done, the first thing to try first.
    remedies: Vec<Remedy>,
    /// Whether training goes well all the same: a fault is advice then.
    is_eased: bool,
}

/// A verdict: a finding with its evidence and its remedies.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The rule's name.
    pub id: &'static str,
    /// How grave it is.
    pub grade: Grade,
    /// The layer that shows it most, if it is about layers.
    pub layer: Option<String>,
    /// All layers that show it, the worst first.
    pub layers: Vec<String>,
    /// The first step of it, from 1; none if it is about the settings.
    pub since: Option<u64>,
    /// How sure it is, from ½ at the threshold to 1.
    pub confidence: f64,
    /// What was seen, in a sentence for people.
    pub because: String,
    /// What it comes from.
    pub cause: String,
    /// The numbers that it rests on.
    pub evidence: Vec<Number>,
    /// What can be done, the first thing to try first.
    pub remedies: Vec<Remedy>,
}

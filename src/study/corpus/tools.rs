//! The published rules of other tools, on the same runs.
//!
//! They are those that the tools' papers and documentation give, with their thresholds, on what is measured here anyway. Rules
//! look at ten evenly spaced steps and at the first one; a tool's alarm is a rule that held at any of them, as the tools
//! themselves end or warn at the first. Two things are to their favour: gradients are those of weights alone, biases left
//! out; and a rule counts for a fault whatever layer it would point to.
//!
//! | tool | source |
//! |---|---|
//! | SageMaker Debugger | Rauschmayr et al. 2021 (MLSys); built-in rules of the documentation, defaults |
//! | AutoTrainer | Zhang et al. 2021 (ICSE) |
//! | DeepDiagnosis | Wardat et al. 2022 (ICSE) |

use crate::study::UnitShares;
use serde::Serialize;

/// What a rule calls what it has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Gradients vanish.
    Vanishing,
    /// Gradients explode, or are not finite.
    Exploding,
    /// Units that give nothing.
    DeadUnits,
    /// Poor initial weights.
    Initialization,
    /// Updates too large or too small.
    Updates,
    /// Accuracy that swings.
    Oscillation,
    /// The validation loss is above the training loss.
    Overfitting,
    /// Features out of range.
    Inputs,
}

/// What the rules look at, of one layer in one step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WeightReading {
    /// Mean |g| of the weight.
    pub mean: f64,
    /// ‖g‖ of the weight.
    pub norm: f64,
    /// The share of elements of g that are 0.
    pub zeros: f64,
    /// Variance of the weight.
    pub variance: f64,
    /// ‖Δw‖/‖w‖ of the weight.
    pub update_ratio: f64,
    /// η‖g‖/‖w‖ of the weight.
    pub rate_ratio: f64,
}

/// What the rules look at in one step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolReading {
    /// Each linear layer, first layer first.
    pub weights: Vec<WeightReading>,
    /// What the units behind each layer do.
    pub units: Vec<UnitShares>,
    /// Whether some value was not finite.
    pub is_non_finite: bool,
    /// The mean training loss since the reading before.
    pub loss: f64,
    /// The validation loss, where it was taken.
    pub validation: Option<f64>,
    /// The validation accuracy, where it was taken.
    pub accuracy: Option<f64>,
}

/// What the rules look at in a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolRun {
    /// The steps, in order.
    pub readings: Vec<ToolReading>,
    /// The smallest and the largest feature of the training part.
    pub inputs: [f64; 2],
}

/// A rule: what it calls what it finds, and when it holds.
pub type ToolRule = (Kind, fn(&ToolRun) -> bool);

/// A tool.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// Its name.
    pub name: &'static str,
    /// Its rules.
    pub rules: &'static [ToolRule],
}

/// The tools.
pub const TOOLS: [Tool; 3] = [
    Tool {
        name: "SageMaker",
        rules: &[
            (Kind::Vanishing, |run| any_weight(run, |w| w.mean < 1e-7)),
            (Kind::Exploding, is_non_finite),
            (Kind::DeadUnits, |run| any_layer(run, |units| units.quiet.is_some_and(|share| share > 0.5))),
            (Kind::Updates, |run| any_weight(run, |w| w.update_ratio > 10.0 || w.update_ratio < 1e-8)),
            (Kind::Initialization, variances_differ),
            (Kind::Overfitting, |run| {
                run.readings.iter().any(|step| step.validation.is_some_and(|loss| (loss - step.loss) / step.loss > 0.1))
            }),
        ],
    },
    Tool {
        name: "AutoTrainer",
        rules: &[
            (Kind::Vanishing, |run| any_ends(run, |first, last| first.norm / last.norm < 1e-3 && first.norm < 1e-4)),
            (Kind::Exploding, |run| is_non_finite(run) || any_ends(run, |first, last| first.norm / last.norm > 70.0)),
            (Kind::DeadUnits, |run| any_weight(run, |w| w.zeros >= 0.7)),
            (Kind::Oscillation, swings),
        ],
    },
    Tool {
        name: "DeepDiagnosis",
        rules: &[
            (Kind::Vanishing, |run| any_weight(run, |w| w.mean < 1e-7)),
            (Kind::Exploding, is_non_finite),
            (Kind::Initialization, |run| any_weight(run, |w| !(1e-5..=10.0).contains(&w.variance))),
            (Kind::DeadUnits, |run| any_layer(run, |units| units.quiet.is_some() && units.zeros >= 0.7)),
            (Kind::Updates, |run| any_weight(run, |w| !(1e-5..=1e-1).contains(&w.rate_ratio))),
            (Kind::Inputs, |run| run.inputs[0] < -1.0 || run.inputs[1] > 1.0),
        ],
    },
];

impl Tool {
    /// What it says of a run.
    pub fn alarms(&self, run: &ToolRun) -> Vec<Kind> {
        self.rules.iter().filter(|(_, holds)| holds(run)).map(|(kind, _)| *kind).collect()
    }
}

/// Steps with a value that is not finite are left to the rule on those.
fn finite(run: &ToolRun) -> impl Iterator<Item = &ToolReading> {
    run.readings.iter().filter(|step| !step.is_non_finite)
}

fn any_weight(run: &ToolRun, holds: impl Fn(&WeightReading) -> bool) -> bool {
    finite(run).any(|step| step.weights.iter().any(&holds))
}

fn any_layer(run: &ToolRun, holds: impl Fn(&UnitShares) -> bool) -> bool {
    finite(run).any(|step| step.units.iter().any(&holds))
}

fn any_ends(run: &ToolRun, holds: impl Fn(&WeightReading, &WeightReading) -> bool) -> bool {
    finite(run).any(|step| match step.weights.as_slice() {
        [first, .., last] => holds(first, last),
        _ => false,
    })
}

fn is_non_finite(run: &ToolRun) -> bool {
    run.readings.iter().any(|step| step.is_non_finite)
}

/// The largest variance of a layer's weight is more than ten times the smallest, in the first step.
fn variances_differ(run: &ToolRun) -> bool {
    let variances = || finite(run).take(1).flat_map(|step| step.weights.iter().map(|w| w.variance));
    let (low, high) = (variances().fold(f64::INFINITY, f64::min), variances().fold(0.0, f64::max));
    high > 10.0 * low
}

/// In at least a fifth of the looks the accuracy is 0.03 below that of the look before.
fn swings(run: &ToolRun) -> bool {
    let accuracies: Vec<f64> = run.readings.iter().filter_map(|step| step.accuracy).collect();
    let falls = accuracies.windows(2).filter(|pair| pair[0] - pair[1] >= 0.03).count();
    !accuracies.is_empty() && falls * 5 >= accuracies.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy() -> ToolRun {
        let weight =
            WeightReading { mean: 1e-3, norm: 0.1, zeros: 0.0, variance: 0.03, update_ratio: 1e-3, rate_ratio: 1e-3 };
        let units = UnitShares { dead: Some(0.0), quiet: Some(0.0), saturated: None, zeros: 0.5 };
        let reading = ToolReading {
            weights: vec![weight; 3],
            units: vec![units; 3],
            is_non_finite: false,
            loss: 1.0,
            validation: Some(1.05),
            accuracy: Some(0.9),
        };
        ToolRun { readings: vec![reading; 10], inputs: [0.0, 1.0] }
    }

    fn alarms(change: impl Fn(&mut ToolRun)) -> [Vec<Kind>; 3] {
        let mut run = healthy();
        change(&mut run);
        TOOLS.map(|tool| tool.alarms(&run))
    }

    #[test]
    fn nothing_is_said_of_readings_in_the_middle() {
        assert_eq!(alarms(|_| ()), [vec![], vec![], vec![]]);
    }

    #[test]
    fn each_rule_holds_beyond_its_published_threshold() {
        use Kind::{DeadUnits, Exploding, Initialization, Inputs, Oscillation, Overfitting, Updates, Vanishing};
        assert_eq!(alarms(|r| r.readings[3].weights[1].mean = 9e-8), [vec![Vanishing], vec![], vec![Vanishing]]);
        assert_eq!(alarms(|r| r.readings[3].weights[1].mean = 2e-7), [vec![], vec![], vec![]]);
        let ends = |first: f64, last: f64| {
            alarms(|r| (r.readings[2].weights[0].norm, r.readings[2].weights[2].norm) = (first, last))
        };
        assert_eq!(ends(9e-5, 0.1), [vec![], vec![Vanishing], vec![]]);
        assert_eq!((ends(2e-4, 0.3), ends(9e-5, 0.08)), (ends(0.1, 0.1), ends(0.1, 0.1)), "both have to hold");
        assert_eq!(ends(7.1, 0.1), [vec![], vec![Exploding], vec![]]);
        assert_eq!(alarms(|r| r.readings[9].is_non_finite = true), [vec![Exploding], vec![Exploding], vec![Exploding]]);
        assert_eq!(alarms(|r| r.readings[0].units[1].quiet = Some(0.6)), [vec![DeadUnits], vec![], vec![]]);
        assert_eq!(alarms(|r| r.readings[0].units[1].zeros = 0.7), [vec![], vec![], vec![DeadUnits]]);
        assert_eq!(alarms(|r| r.readings[0].weights[1].zeros = 0.7), [vec![], vec![DeadUnits], vec![]]);
        assert_eq!(alarms(|r| r.readings[5].weights[1].update_ratio = 11.0), [vec![Updates], vec![], vec![]]);
        assert_eq!(alarms(|r| r.readings[5].weights[1].rate_ratio = 0.2), [vec![], vec![], vec![Updates]]);
        assert_eq!(alarms(|r| r.readings[0].weights[1].variance = 0.31), [vec![Initialization], vec![], vec![]]);
        assert_eq!(alarms(|r| r.readings[4].weights[1].variance = 11.0), [vec![], vec![], vec![Initialization]]);
        assert_eq!(alarms(|r| r.readings[4].validation = Some(1.2)), [vec![Overfitting], vec![], vec![]]);
        assert_eq!(alarms(|r| r.inputs[1] = 1.5), [vec![], vec![], vec![Inputs]]);
        let swing = |falls: usize| alarms(|r| (0..falls).for_each(|i| r.readings[2 * i].accuracy = Some(0.95)));
        assert_eq!((swing(1), swing(2)), (alarms(|_| ()), [vec![], vec![Oscillation], vec![]]));
    }
}

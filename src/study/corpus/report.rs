//! The table of the corpus: recall and false alarms, with intervals, and a row for each run.

#[cfg(test)]
mod tests;

use super::architecture::{Architecture, Set};
use super::case::{Case, Kind};
use super::fault::{FAULTS, Fault, Spec};
use super::measure::{Measured, Repair, layer_of};
use super::tools::{Kind as Alarm, TOOLS};
use crate::study::compare::wilson;
use crate::verdict::{Evidence, Grade, LayerReading};
use serde::Serialize;

/// A case is faulty if it stays below this part of its control's score, and repaired if it gets there.
pub const SCORE_SHARE: f64 = 0.9;

/// A control has to reach this score to be one; architectures whose control does not are left out whole.
pub const CONTROL_SCORE: f64 = 0.8;

/// How many of how many, with Wilson's interval at 95 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rate {
    /// So many.
    pub hits: usize,
    /// Of so many.
    pub of: usize,
    /// Their share; none of none.
    pub share: Option<f64>,
    /// Its interval.
    pub interval: Option<[f64; 2]>,
}

impl Rate {
    /// So many of so many.
    pub fn new(hits: usize, of: usize) -> Self {
        let share = (of > 0).then(|| hits as f64 / of as f64);
        Self { hits, of, share, interval: (of > 0).then(|| wilson(hits, of)) }
    }

    fn count<T>(of: &[&T], holds: impl Fn(&T) -> bool) -> Self {
        Self::new(of.iter().filter(|one| holds(one)).count(), of.len())
    }
}

/// A verdict of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Said {
    /// Its id.
    pub id: &'static str,
    /// Its grade.
    pub grade: Grade,
    /// The layer that it names, of those with parameters.
    pub layer: Option<usize>,
    /// The beginning of its cause.
    pub cause: String,
}

/// What a run counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A control, or a variant of it.
    Healthy,
    /// A healthy run that has converged.
    Converged,
    /// A fault that made the score fall.
    Faulty,
    /// A fault that did not, and is not counted.
    Harmless,
    /// A control, or a variant, that did not learn, and what hangs on it; not counted.
    Unfit,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(flatten)]
    pub kind: Kind,
    /// The network.
    pub architecture: Architecture,
    /// What it counts as.
    pub class: Class,
    /// Its score.
    pub score: f64,
    /// The score of its control.
    pub control_score: f64,
    /// Its loss over the least of its start and chance.
    pub loss_share: f64,
    /// Whether a verdict is right about the fault.
    pub is_found: bool,
    /// Whether one of those has the grade of a fault.
    pub is_found_as_fault: bool,
    /// The verdicts above information.
    pub verdicts: Vec<Said>,
    /// What the other tools call it.
    pub tools: [Vec<Alarm>; 3],
    /// What the verdicts rest on.
    pub numbers: Numbers,
    /// What its remedies did, if they were tried.
    pub repair: Option<Repair>,
}

/// What verdicts rest on, in a few numbers, for who chooses thresholds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Numbers {
    /// Steps with finite values.
    pub steps: u64,
    /// The least and the most of the last layer's signal that arrives at a layer.
    pub arriving: [f64; 2],
    /// The same in the first step.
    pub arriving_start: [f64; 2],
    /// The fastest layer's mean ‖Δw‖/‖w‖.
    pub update_ratio: f64,
    /// The largest ‖Δw‖/‖w‖ of one step.
    pub update_peak: f64,
    /// The largest loss over the loss at the start or chance, whichever is more.
    pub loss_rise: f64,
    /// The first loss over chance.
    pub loss_excess: f64,
    /// The noise scale over the batch.
    pub noise: f64,
    /// The largest share of dead units in a layer.
    pub dead: f64,
    /// The largest share of saturated activations in a layer.
    pub saturated: f64,
}

impl Numbers {
    fn of(evidence: &Evidence) -> Self {
        let (facts, readings) = (&evidence.facts, &evidence.readings);
        let ends = |values: Vec<f64>| {
            let low = values.iter().copied().fold(f64::INFINITY, f64::min);
            [low, values.iter().copied().fold(f64::NEG_INFINITY, f64::max)]
        };
        let layers = 0..readings.layers.len();
        let most = |value: &dyn Fn(&LayerReading) -> f64| readings.layers.iter().map(value).fold(0.0, f64::max);
        Self {
            steps: readings.steps,
            arriving: ends(layers.clone().map(|l| readings.arriving(l)).collect()),
            arriving_start: ends(layers.map(|l| readings.arriving_start(l)).collect()),
            update_ratio: most(&|layer| layer.update_ratio),
            update_peak: most(&|layer| layer.update_peak),
            loss_rise: readings.loss_high / readings.loss_start.max(facts.chance.unwrap_or(0.0)),
            loss_excess: facts.chance.map_or(0.0, |chance| readings.loss_start / chance),
            noise: readings.noise_scale.unwrap_or(0.0) / facts.batch.max(1) as f64,
            dead: most(&|layer| layer.dead_share.unwrap_or(0.0)),
            saturated: most(&|layer| layer.saturated_share.unwrap_or(0.0)),
        }
    }
}

/// What a tool made of the runs with one fault.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ToolRates {
    /// Runs that it calls what they are, or something near it.
    pub right: Rate,
    /// Runs that it has any alarm for.
    pub any: Rate,
}

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaultLine {
    /// The fault; all of them in the last line.
    pub name: &'static str,
    /// Runs with it, the harmless ones too.
    pub injected: usize,
    /// Runs that it made worse, and how many of them were found.
    pub found: Rate,
    /// How many of them with the grade of a fault.
    pub found_as_fault: Rate,
    /// The other tools.
    pub tools: [ToolRates; 3],
    /// How many were repaired, of those tried.
    pub repaired: Rate,
}

/// False alarms.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ControlLine {
    /// Which runs.
    pub name: &'static str,
    /// Runs with a verdict of the grade of a fault.
    pub alarms: Rate,
    /// Runs with advice, which is no alarm.
    pub advice: Rate,
    /// Runs that the other tools have any alarm for.
    pub tools: [Rate; 3],
    /// The same without rules that are about something else than training that fails: overfitting, and the range of features.
    pub tools_narrow: [Rate; 3],
}

/// The whole table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The set.
    pub set: Set,
    /// What cases follow from.
    pub seed: u64,
    /// How many architectures were drawn.
    pub architectures: usize,
    /// How many of them have a control that learns.
    pub fit: usize,
    /// Runs, those not counted too.
    pub runs: usize,
    /// A line for each fault, and one for all.
    pub faults: Vec<FaultLine>,
    /// Recall by severity.
    pub severities: Vec<Rate>,
    /// Healthy runs, converged ones, both.
    pub controls: Vec<ControlLine>,
    /// The other tools' names.
    pub tools: [&'static str; 3],
    /// Every run.
    pub rows: Vec<Row>,
}

/// What a run counts as, given its control.
fn class(case: &Case, own: &Measured, control: &Measured) -> Class {
    if control.score < CONTROL_SCORE {
        return Class::Unfit;
    }
    match case.kind {
        Kind::Faulty { .. } if own.score < SCORE_SHARE * control.score => Class::Faulty,
        Kind::Faulty { .. } => Class::Harmless,
        Kind::Short => Class::Healthy,
        _ if own.score < CONTROL_SCORE => Class::Unfit,
        // By the loss alone, not by a verdict: 5 % of chance is a probability of 0.9 for the right one of ten classes.
        _ if own.loss_share < 0.05 => Class::Converged,
        _ => Class::Healthy,
    }
}

pub(super) fn row(case: &Case, own: &Measured, control: &Measured) -> Row {
    let facts = &own.evidence.facts;
    let right: Vec<Grade> = match case.kind {
        Kind::Faulty { fault, layer, .. } => own
            .verdicts
            .iter()
            .filter(|verdict| fault.is_named_by(verdict, layer, facts))
            .map(|verdict| verdict.grade)
            .collect(),
        _ => Vec::new(),
    };
    let said = own.verdicts.iter().map(|verdict| Said {
        id: verdict.id,
        grade: verdict.grade,
        layer: layer_of(verdict, facts),
        cause: verdict.cause.split(':').next().unwrap_or_default().to_owned(),
    });
    Row {
        name: case.name(),
        kind: case.kind.clone(),
        architecture: case.architecture,
        class: class(case, own, control),
        score: own.score,
        control_score: control.score,
        loss_share: own.loss_share,
        is_found: !right.is_empty(),
        is_found_as_fault: right.contains(&Grade::Fault),
        verdicts: said.collect(),
        tools: own.tools.clone(),
        numbers: Numbers::of(&own.evidence),
        repair: None,
    }
}

impl Row {
    /// The fault, if it is one that counts.
    pub fn fault(&self) -> Option<Fault> {
        match self.kind {
            Kind::Faulty { fault, .. } if self.class == Class::Faulty => Some(fault),
            _ => None,
        }
    }

    /// Whether its remedies brought it to where a healthy run is.
    pub fn is_repaired(&self) -> bool {
        self.repair.as_ref().is_some_and(|repair| repair.score >= SCORE_SHARE * self.control_score)
    }

    fn has_fault(&self) -> bool {
        self.verdicts.iter().any(|said| said.grade == Grade::Fault)
    }
}

fn line(name: &'static str, injected: usize, rows: &[&Row]) -> FaultLine {
    let right = |row: &Row, tool: usize| {
        let kinds = row.fault().map_or(&[][..], |fault| fault.spec().kinds);
        row.tools[tool].iter().any(|kind| kinds.contains(kind))
    };
    let tried: Vec<&Row> = rows.iter().copied().filter(|row| row.repair.is_some()).collect();
    FaultLine {
        name,
        injected,
        found: Rate::count(rows, |row| row.is_found),
        found_as_fault: Rate::count(rows, |row| row.is_found_as_fault),
        tools: std::array::from_fn(|tool| ToolRates {
            right: Rate::count(rows, |row| right(row, tool)),
            any: Rate::count(rows, |row| !row.tools[tool].is_empty()),
        }),
        repaired: Rate::count(&tried, Row::is_repaired),
    }
}

fn control_line(name: &'static str, rows: &[&Row]) -> ControlLine {
    let narrow = |kind: &Alarm| !matches!(kind, Alarm::Overfitting | Alarm::Inputs);
    ControlLine {
        name,
        alarms: Rate::count(rows, Row::has_fault),
        advice: Rate::count(rows, |row| !row.has_fault() && !row.verdicts.is_empty()),
        tools: std::array::from_fn(|tool| Rate::count(rows, |row| !row.tools[tool].is_empty())),
        tools_narrow: std::array::from_fn(|tool| Rate::count(rows, |row| row.tools[tool].iter().any(narrow))),
    }
}

impl Report {
    pub(super) fn new(set: Set, seed: u64, rows: Vec<Row>) -> Self {
        let of = |class: Class| -> Vec<&Row> { rows.iter().filter(|row| row.class == class).collect() };
        let (faulty, healthy, converged) = (of(Class::Faulty), of(Class::Healthy), of(Class::Converged));
        let injected = |of: &Spec| {
            let is_it = |row: &&Row| matches!(row.kind, Kind::Faulty { fault, .. } if fault == of.fault);
            rows.iter().filter(is_it).filter(|row| row.class != Class::Unfit).count()
        };
        let mut faults: Vec<FaultLine> = FAULTS
            .iter()
            .map(|spec| {
                let own: Vec<&Row> = faulty.iter().copied().filter(|row| row.fault() == Some(spec.fault)).collect();
                line(spec.name, injected(spec), &own)
            })
            .collect();
        faults.push(line("all", faults.iter().map(|line| line.injected).sum(), &faulty));
        let severity = |at: usize| {
            let is_it = |row: &&Row| matches!(row.kind, Kind::Faulty { severity, .. } if severity == at);
            let own: Vec<&Row> = faulty.iter().copied().filter(is_it).collect();
            Rate::count(&own, |row| row.is_found)
        };
        let both: Vec<&Row> = healthy.iter().chain(&converged).copied().collect();
        let controls = || rows.iter().filter(|row| row.kind == Kind::Control);
        Self {
            set,
            seed,
            architectures: controls().count(),
            fit: controls().filter(|row| row.class != Class::Unfit).count(),
            runs: rows.len(),
            severities: (0..super::SEVERITIES).map(severity).collect(),
            controls: vec![
                control_line("healthy", &healthy),
                control_line("converged", &converged),
                control_line("both", &both),
            ],
            tools: TOOLS.map(|tool| tool.name),
            faults,
            rows,
        }
    }

    /// The line of all faults.
    pub fn all(&self) -> &FaultLine {
        self.faults.last().expect("the line of all is always there")
    }
}

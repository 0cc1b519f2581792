//! The table of rows made by hand, counted by hand.

use super::*;
use crate::verdict::{Facts, LayerFacts, Verdict};

const RELU: Architecture = Architecture { hidden: 4, width: 32, activation: "relu", data: "digits", optimizer: "sgd" };

fn case(kind: Kind) -> Case {
    let config = RELU.config(1).unwrap();
    Case { kind, architecture: RELU, control: 0, config, steps: 400, altered: None }
}

fn faulty(fault: Fault, severity: usize, layer: Option<usize>) -> Kind {
    Kind::Faulty { fault, severity, layer }
}

/// A verdict on a layer of five, or on none.
fn verdict(id: &'static str, grade: Grade, layer: Option<usize>) -> Verdict {
    Verdict {
        id,
        grade,
        layer: layer.map(|layer| layer.to_string()),
        layers: Vec::new(),
        since: None,
        confidence: 1.0,
        because: String::new(),
        cause: String::new(),
        evidence: Vec::new(),
        remedies: Vec::new(),
    }
}

/// A run with this score and share of its loss that is left.
fn measured(score: f64, loss_share: f64, verdicts: Vec<Verdict>, tools: [&[Alarm]; 3]) -> Measured {
    let layer = |i: usize| LayerFacts { name: i.to_string(), ..LayerFacts::default() };
    let facts = Facts { layers: (0..5).map(layer).collect(), ..Facts::default() };
    let evidence = Evidence { facts, ..Evidence::default() };
    Measured { score, loss_share, verdicts, is_converged: false, tools: tools.map(<[_]>::to_vec), evidence }
}

fn repaired(row: Row, score: f64) -> Row {
    Row { repair: Some(Repair { what: None, score, tried: 1, unnamed: Vec::new() }), ..row }
}

/// Runs without a fault. The control reaches 0.95, that of a second architecture 0.7, which is too little, and that of a third 0.85.
fn controls() -> Vec<Row> {
    let alarm = || verdict("dead_units", Grade::Fault, None);
    let advice = || verdict("lr_too_low", Grade::Advice, None);
    let plain = |score: f64| measured(score, 0.3, Vec::new(), [&[], &[], &[]]);
    let variant = || case(Kind::Healthy { variant: "decay" });
    let control = plain(0.95);
    let of = |case: Case, own: Measured| row(&case, &own, &control);
    let alone = |own: Measured| row(&case(Kind::Control), &own, &own);
    vec![
        // Healthy: the first has nothing, the second an alarm, the third advice, the fourth is short, the last is the third control.
        alone(plain(0.95)),
        of(variant(), measured(0.9, 0.3, vec![alarm()], [&[Alarm::Overfitting], &[], &[]])),
        of(variant(), measured(0.9, 0.3, vec![advice()], [&[], &[Alarm::Oscillation], &[]])),
        of(case(Kind::Short), plain(0.3)),
        alone(plain(0.85)),
        // Converged: the first has an alarm beside its advice, the second an alarm of its own, the third advice.
        of(case(Kind::Long), measured(0.96, 0.01, vec![alarm(), advice()], [&[], &[], &[Alarm::Inputs]])),
        of(case(Kind::Long), measured(0.96, 0.04, vec![alarm()], [&[], &[], &[Alarm::Updates]])),
        of(case(Kind::Long), measured(0.96, 0.01, vec![advice()], [&[], &[], &[]])),
        // Unfit, and counted nowhere: a variant that does not learn, and the second control.
        of(variant(), measured(0.5, 0.3, vec![alarm()], [&[Alarm::Updates], &[Alarm::Updates], &[Alarm::Updates]])),
        alone(measured(0.7, 0.3, vec![alarm()], [&[Alarm::Updates], &[], &[]])),
    ]
}

/// Runs with a fault. Those of the first control are faulty below 0.9 · 0.95 = 0.855, those of the third below 0.9 · 0.85 = 0.765.
fn faults() -> Vec<Row> {
    let control = |score: f64| measured(score, 0.3, Vec::new(), [&[], &[], &[]]);
    let of = |kind: Kind, own: Measured| row(&case(kind), &own, &control(0.95));
    let rate = |severity: usize| faulty(Fault::LrTooHigh, severity, None);
    let high = |grade: Grade| vec![verdict("lr_too_high", grade, None)];
    let (exploding, dead): (&[Alarm], &[Alarm]) = (&[Alarm::Exploding], &[Alarm::DeadUnits]);
    let found = measured(0.83, 1.0, high(Grade::Fault), [&[Alarm::Vanishing], exploding, &[]]);
    let advised = measured(0.5, 1.0, high(Grade::Advice), [&[Alarm::Vanishing, Alarm::Updates], &[], &[Alarm::Inputs]]);
    let missed = measured(0.1, 1.0, vec![verdict("vanishing", Grade::Fault, None)], [&[], &[], &[]]);
    let harmless = measured(0.9, 1.0, high(Grade::Fault), [exploding, exploding, exploding]);
    let loss = vec![verdict("regression_on_classes", Grade::Advice, None)];
    let too_far = vec![verdict("dead_units", Grade::Fault, Some(0))];
    let beside = vec![verdict("dead_units", Grade::Fault, Some(3))];
    vec![
        // The rate: found as a fault and repaired; found as advice and not repaired (0.8 is below 0.855); called something else; harmless.
        repaired(of(rate(0), found), 0.9),
        repaired(of(rate(1), advised), 0.8),
        of(rate(2), missed),
        of(rate(2), harmless.clone()),
        // The loss: found as advice, repaired; no tool has a name for it.
        repaired(of(faulty(Fault::WrongLoss, 0, None), measured(0.2, 1.0, loss, [exploding; 3])), 0.95),
        // Dead units in layer 2: named in layer 0, which is too far off, and in layer 3, which is beside it.
        of(faulty(Fault::DeadUnits, 1, Some(2)), measured(0.2, 1.0, too_far, [&[], &[], dead])),
        of(faulty(Fault::DeadUnits, 0, Some(2)), measured(0.2, 1.0, beside, [&[], &[], &[]])),
        // Of the third control: 0.78 is below 0.8, and not below 0.765.
        row(&case(faulty(Fault::LrTooLow, 1, None)), &control(0.78), &control(0.85)),
        // Of the second control, which does not count, so none of its faults is injected.
        row(&case(rate(0)), &Measured { score: 0.0, ..harmless }, &control(0.7)),
    ]
}

fn table() -> Report {
    Report::new(Set::Tuned, 1, controls().into_iter().chain(faults()).collect())
}

#[test]
fn classes_follow_from_scores_and_losses() {
    use Class::{Converged, Faulty, Harmless, Healthy, Unfit};
    let classes = |rows: Vec<Row>| rows.into_iter().map(|row| row.class).collect::<Vec<_>>();
    let (healthy, converged, unfit) = ([Healthy; 5], [Converged; 3], [Unfit; 2]);
    assert_eq!(classes(controls()), [&healthy[..], &converged, &unfit].concat());
    let expected = [Faulty, Faulty, Faulty, Harmless, Faulty, Faulty, Faulty, Harmless, Unfit];
    assert_eq!(classes(faults()), expected);
}

/// Rates of (hits, of).
fn rates<const N: usize>(counts: [(usize, usize); N]) -> [Rate; N] {
    counts.map(|(hits, of)| Rate::new(hits, of))
}

#[test]
fn recall_is_counted_by_fault_and_by_severity() {
    let report = table();
    // (name, injected, found, found as a fault, right and any of each tool, repaired of those tried)
    let counted = [
        ("rate too high", 4, (2, 3), (1, 3), [(1, 2), (1, 1), (0, 1)], (1, 2)),
        ("wrong loss", 1, (1, 1), (0, 1), [(0, 1), (0, 1), (0, 1)], (1, 1)),
        ("dead units", 2, (1, 2), (1, 2), [(0, 0), (0, 0), (1, 1)], (0, 0)),
        ("rate too low", 1, (0, 0), (0, 0), [(0, 0); 3], (0, 0)),
        ("all", 8, (4, 6), (2, 6), [(1, 3), (1, 2), (1, 3)], (2, 3)),
    ];
    for (name, injected, found, found_as_fault, tools, mended) in counted {
        let line = report.faults.iter().find(|line| line.name == name).unwrap();
        let [found, found_as_fault, mended] = rates([found, found_as_fault, mended]);
        let tool = |(right, any)| ToolRates { right: Rate::new(right, found.of), any: Rate::new(any, found.of) };
        let tools = tools.map(tool);
        let expected = FaultLine { name: line.name, injected, found, found_as_fault, tools, repaired: mended };
        assert_eq!(*line, expected);
    }
    // 4 + 1 + 2 + 1 are all; no other fault was injected.
    assert_eq!((report.faults.len(), report.all().injected), (FAULTS.len() + 1, 8));
    // Mild: the first rate, the loss, dead units beside. Strong: the second rate, and not dead units too far off. Extreme: the third rate.
    assert_eq!(report.severities, rates([(3, 3), (1, 2), (0, 1)]));
}

#[test]
fn alarms_are_counted_on_healthy_and_converged_runs() {
    let report = table();
    // Three controls, of which that of the second architecture does not count; 10 runs without a fault, 9 with one.
    assert_eq!((report.architectures, report.fit, report.runs), (3, 2, 19));
    // (name, alarms, advice, any alarm of each tool, those without overfitting and inputs), of so many.
    let counted = [
        ("healthy", 1, 1, [1, 1, 0], [0, 1, 0], 5),
        ("converged", 2, 1, [0, 0, 2], [0, 0, 1], 3),
        ("both", 3, 2, [1, 1, 2], [0, 1, 1], 8),
    ];
    let expected = counted.map(|(name, alarms, advice, any, narrow, of)| ControlLine {
        name,
        alarms: Rate::new(alarms, of),
        advice: Rate::new(advice, of),
        tools: any.map(|hits| Rate::new(hits, of)),
        tools_narrow: narrow.map(|hits| Rate::new(hits, of)),
    });
    assert_eq!(report.controls, expected);
}

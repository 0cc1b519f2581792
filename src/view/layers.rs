//! The table of layers, and a sentence for each fault.

use super::number::significant;
use super::style::{Paint, Style};
use super::table::{Align, Cell, Table};
use crate::run::LayerRow;
use crate::verdict::{Grade, Verdict};
use std::fmt::Write as _;

/// The table: a row for each layer with parameters, the first layer on top.
pub fn table(rows: &[LayerRow], style: Style) -> String {
    let mut table = Table::new([
        ("layer", Align::Left),
        ("kind", Align::Left),
        ("grad norm", Align::Right),
        ("signal", Align::Right),
        ("factor", Align::Right),
        ("update ratio", Align::Right),
        ("verdict", Align::Left),
    ]);
    for row in rows {
        let numbers = [row.grad_norm, row.signal, row.factor, row.update_ratio];
        let words = [row.name.clone().into(), row.kind.clone().into()];
        let verdict = Cell::painted(row.verdict.word, paint(row.verdict.grade, row.verdict.word));
        table.row(words.into_iter().chain(numbers.map(|x| significant(x).into())).chain([verdict]));
    }
    table.render(style)
}

/// Faults stand out, then advice; `converged` is not the same as well.
pub(super) fn paint(grade: Grade, word: &str) -> Paint {
    match grade {
        Grade::Fault => Paint::Red,
        Grade::Advice => Paint::Yellow,
        Grade::Information if word == "converged" => Paint::Yellow,
        Grade::Information => Paint::Green,
    }
}

/// A sentence for each fault and each advice: which layers have it, and what was seen in the worst. Nothing where all is well.
pub fn findings(verdicts: &[Verdict], layers: usize, style: Style) -> String {
    let mut text = String::new();
    for verdict in verdicts.iter().filter(|verdict| verdict.grade < Grade::Information) {
        let word = style.paint(verdict.id, paint(verdict.grade, verdict.id));
        let place = match (&verdict.layer, verdict.layers.len()) {
            (None, _) => String::new(),
            (Some(layer), 1) => format!(" in layer {layer}"),
            (Some(layer), n) => format!(" in {n} of {layers} layers, worst in layer {layer}"),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {word}{place}: {}.", verdict.because);
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::verdict::LayerVerdict;

    pub(in crate::view) fn row(name: &str, word: &'static str, arriving: f64) -> LayerRow {
        let grade = if word == "healthy" { Grade::Information } else { Grade::Fault };
        let verdict = LayerVerdict { word, grade, factor: 0.04, arriving };
        let kind = "linear".into();
        LayerRow { name: name.into(), kind, grad_norm: 1e-5, signal: 0.5, factor: 0.04, update_ratio: 1e-3, verdict }
    }

    pub(in crate::view) fn verdict(id: &'static str, grade: Grade, layers: &[&str]) -> Verdict {
        Verdict {
            id,
            grade,
            layer: layers.first().map(|&name| name.to_owned()),
            layers: layers.iter().map(|&name| name.to_owned()).collect(),
            since: Some(1),
            confidence: 1.0,
            because: "little of the signal arrives here".into(),
            cause: "depth".into(),
            evidence: Vec::new(),
            remedies: Vec::new(),
        }
    }

    #[test]
    fn a_finding_is_one_sentence_with_its_worst_layer() {
        let of = |id, grade, layers: &[&str]| findings(&[verdict(id, grade, layers)], 3, Style::PLAIN);
        assert_eq!(
            of("vanishing", Grade::Fault, &["0", "2"]),
            "  vanishing in 2 of 3 layers, worst in layer 0: little of the signal arrives here.\n"
        );
        assert!(of("vanishing", Grade::Advice, &["2"]).starts_with("  vanishing in layer 2: "));
        assert!(of("plateau", Grade::Advice, &[]).starts_with("  plateau: "));
        assert_eq!(of("healthy", Grade::Information, &[]), "");
    }

    #[test]
    fn every_layer_has_a_row() {
        let rows = [row("0", "vanishing", 1e-6), row("10", "healthy", 1.0)];
        let text = table(&rows, Style::PLAIN);
        assert_eq!(text.lines().count(), 3);
        assert!(text.ends_with("  10     linear    1.00e-5   0.500  0.0400       0.00100  healthy\n"), "{text}");
    }
}

//! The table of layers, and a sentence for each fault.

use super::number::significant;
use super::style::{Paint, Style};
use super::table::{Align, Cell, Table};
use crate::run::LayerRow;
use crate::verdict::Finding;
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
        let verdict = Cell::painted(row.verdict.finding.word(), paint(row.verdict.finding));
        table.row(words.into_iter().chain(numbers.map(|x| significant(x).into())).chain([verdict]));
    }
    table.render(style)
}

fn paint(finding: Finding) -> Paint {
    match finding {
        Finding::Vanishing | Finding::Exploding => Paint::Red,
        Finding::Converged => Paint::Yellow,
        Finding::Healthy => Paint::Green,
    }
}

/// A sentence for each kind of fault: how many layers have it, and the evidence of the worst. Nothing where all is well.
pub fn faults(rows: &[LayerRow], style: Style) -> String {
    let mut text = String::new();
    let mut said: Vec<Finding> = Vec::new();
    for row in rows.iter().filter(|row| row.verdict.finding.is_fault()) {
        let finding = row.verdict.finding;
        if said.contains(&finding) {
            continue;
        }
        said.push(finding);
        let same: Vec<&LayerRow> = rows.iter().filter(|row| row.verdict.finding == finding).collect();
        // The worst is the one whose share of the last layer's signal is farthest from 1.
        let distance = |row: &&LayerRow| row.verdict.arriving.ln().abs();
        let worst = same.iter().copied().max_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(row);
        let word = style.paint(finding.word(), Paint::Red);
        let where_ = match same.len() {
            1 => format!("layer {} ({})", worst.name, worst.kind),
            n => format!("{n} of {} layers, worst in layer {} ({})", rows.len(), worst.name, worst.kind),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {word} signal in {where_}: {}.", worst.verdict.because);
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::verdict::Verdict;

    pub(in crate::view) fn row(name: &str, finding: Finding, arriving: f64) -> LayerRow {
        let because = format!("only {arriving:.1e} of the last layer's signal arrives here");
        let verdict = Verdict { layer: name.into(), finding, factor: 0.04, arriving, because };
        let kind = "linear".into();
        LayerRow { name: name.into(), kind, grad_norm: 1e-5, signal: 0.5, factor: 0.04, update_ratio: 1e-3, verdict }
    }

    #[test]
    fn a_fault_is_one_sentence_with_its_worst_layer() {
        let rows =
            [row("0", Finding::Vanishing, 1e-6), row("2", Finding::Vanishing, 1e-4), row("4", Finding::Healthy, 1.0)];
        let expected = "  vanishing signal in 2 of 3 layers, worst in layer 0 (linear): \
                        only 1.0e-6 of the last layer's signal arrives here.\n";
        assert_eq!(faults(&rows, Style::PLAIN), expected);
        assert_eq!(faults(&rows[2..], Style::PLAIN), "");
        assert!(faults(&rows[1..], Style::PLAIN).starts_with("  vanishing signal in layer 2 (linear): "));
    }

    #[test]
    fn every_layer_has_a_row() {
        let rows = [row("0", Finding::Vanishing, 1e-6), row("10", Finding::Healthy, 1.0)];
        let text = table(&rows, Style::PLAIN);
        assert_eq!(text.lines().count(), 3);
        assert!(text.ends_with("  10     linear    1.00e-5   0.500  0.0400       0.00100  healthy\n"), "{text}");
    }
}

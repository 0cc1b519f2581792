//! A diagnosis as text.

use super::layers::paint;
use super::number::{count, percent, significant};
use super::style::{Paint, Style};
use super::table::{Align, Cell, Table};
use crate::study::{Attempt, Diagnosis, Outcome};
use crate::verdict::Verdict;
use std::fmt::Write as _;

/// Everything about a diagnosis.
pub fn text(found: &Diagnosis, style: Style) -> String {
    let bold = |word: &str| style.paint(word, Paint::Bold);
    let dim = |text: &str| style.paint(text, Paint::Dim);
    let mut text = String::new();
    if !found.layers.is_empty() {
        // Writing to a string cannot fail, here and below.
        let _ = write!(text, "{}\n{}\n", bold("signals before anything is learned"), layers(found, style));
    }
    let outcome = &found.outcome;
    let _ = writeln!(
        text,
        "{}{}: loss {} to {}, {}\n",
        bold("short run"),
        dim(&format!(" of {} steps", count(outcome.steps))),
        significant(found.loss_start),
        significant(outcome.loss),
        score(outcome)
    );
    let _ = writeln!(text, "{}", bold("verdicts"));
    for verdict in &found.verdicts {
        text.push_str(&one(verdict, style));
    }
    if !found.attempts.is_empty() {
        let _ = write!(text, "\n{}\n{}", bold("remedies, tried from the same seed"), attempts(found, style));
    }
    text
}

fn layers(found: &Diagnosis, style: Style) -> String {
    let headings = ["layer", "size", "activation"].map(|name| (name, Align::Left));
    let numbers = ["forward", "expected", "arriving", "factor", "expected"].map(|name| (name, Align::Right));
    let mut table = Table::new(headings.into_iter().chain(numbers));
    for layer in &found.layers {
        let size = format!("{} → {}", layer.size[0], layer.size[1]);
        let words = [layer.name.clone(), size, layer.activation.to_owned()];
        let numbers =
            [layer.activation_rms, layer.activation_rms_expected, layer.arriving, layer.factor, layer.factor_expected];
        table.row(words.into_iter().chain(numbers.map(significant)).map(Cell::from));
    }
    table.render(style)
}

fn one(verdict: &Verdict, style: Style) -> String {
    let id = style.paint(verdict.id, paint(verdict.grade, verdict.id));
    let mut text = format!("  {id} ({})", verdict.grade.word());
    if let Some(layer) = &verdict.layer {
        let _ = write!(text, " in layer {layer}");
        if verdict.layers.len() > 1 {
            let _ = write!(text, " and {} more", verdict.layers.len() - 1);
        }
    }
    if let Some(since) = verdict.since {
        let _ = write!(text, " since step {}", count(since));
    }
    let _ = writeln!(text, ": {}", verdict.because);
    let _ = writeln!(text, "    {} {}", style.paint("cause", Paint::Dim), verdict.cause);
    let numbers: Vec<String> =
        verdict.evidence.iter().map(|number| format!("{} {}", number.name, significant(number.value))).collect();
    if !numbers.is_empty() {
        let confidence = format!("confidence {}", significant(verdict.confidence));
        let _ = writeln!(text, "    {} {}, {confidence}", style.paint("evidence", Paint::Dim), numbers.join(", "));
    }
    for remedy in &verdict.remedies {
        let _ = writeln!(text, "    {} {}", style.paint("remedy", Paint::Dim), remedy.what);
    }
    text
}

fn attempts(found: &Diagnosis, style: Style) -> String {
    let headings = [("", Align::Left), ("loss", Align::Right), ("score", Align::Right), ("faults", Align::Left)];
    let mut table = Table::new(headings);
    let before = &found.outcome;
    table.row(["as it is".into(), significant(before.loss).into(), score(before).into(), "".into()]);
    for (i, attempt) in found.attempts.iter().enumerate() {
        let is_best = found.best == Some(i);
        let cell = |text: String| Cell::painted(text, if is_best { Paint::Bold } else { Paint::Plain });
        let loss = attempt.outcome.as_ref().map_or(String::new(), |outcome| significant(outcome.loss));
        let result = attempt.outcome.as_ref().map_or("cannot be run".to_owned(), score);
        table.row([attempt.what.clone(), loss, result, attempt.faults.join(", ")].map(cell));
    }
    let mut text = table.render(style);
    match found.best {
        None => text.push_str("\n  none did better\n"),
        Some(best) => {
            let _ = write!(text, "\n  best: {}\n{}", found.attempts[best].what, changes(&found.attempts[best]));
        }
    }
    text
}

fn changes(attempt: &Attempt) -> String {
    let lines = attempt.changes.iter().map(|change| format!("    {} = {}\n", change.key, change.value));
    lines.collect()
}

/// `accuracy 97.50 % (validation)`.
fn score(outcome: &Outcome) -> String {
    let score = match outcome.score {
        None => "not finite".to_owned(),
        Some(score) if outcome.measure == "accuracy" => percent(score),
        Some(score) => significant(score),
    };
    format!("{} {score} ({})", outcome.measure, outcome.part)
}

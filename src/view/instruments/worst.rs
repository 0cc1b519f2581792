//! Examples by the norm of their own gradient.

use super::super::number::{class_name, significant};
use super::super::style::{Paint, Style};
use super::super::table::{Align, Cell, Table};
use super::heading;
use crate::run::{Answer, RankedExample};
use serde_json::{Value, json};

/// A line for each example. Classes without a name have their number.
pub fn text(found: &[RankedExample], names: Option<&[String]>, style: Style) -> String {
    let classes = matches!(found, [RankedExample { answer: Answer::Class { .. }, .. }, ..]);
    let target = if classes { "label" } else { "target" };
    let mut table = Table::new([
        ("row", Align::Right),
        ("‖gradient‖", Align::Right),
        ("loss", Align::Right),
        (target, Align::Left),
        ("prediction", Align::Left),
    ]);
    for example in found {
        let (target, prediction) = match &example.answer {
            Answer::Class { label, prediction } => {
                let paint = if *prediction == Some(*label) { Paint::Green } else { Paint::Red };
                let name = prediction.map_or("undecided".into(), |class| class_name(class, names));
                (class_name(*label, names), Cell::painted(name, paint))
            }
            Answer::Values { targets, outputs } => (numbers(targets), numbers(outputs).into()),
        };
        let [norm, loss] = [example.grad_norm, example.loss].map(|x| Cell::from(significant(x)));
        table.row([example.row.to_string().into(), norm, loss, target.into(), prediction]);
    }
    heading("examples with the largest gradients of their own", style) + &table.render(style)
}

/// At most four numbers: a line is read, JSON has them all.
fn numbers(values: &[f64]) -> String {
    let shown: Vec<String> = values.iter().take(4).map(|&x| significant(x)).collect();
    shown.join(" ") + if values.len() > 4 { " …" } else { "" }
}

/// All of it.
pub fn json(found: &[RankedExample]) -> Value {
    let example = |example: &RankedExample| {
        let (target, prediction) = match &example.answer {
            Answer::Class { label, prediction } => (json!(label), json!(prediction)),
            Answer::Values { targets, outputs } => (json!(targets), json!(outputs)),
        };
        json!({
            "row": example.row, "grad_norm": example.grad_norm, "loss": example.loss, "target": target,
            "prediction": prediction,
        })
    };
    found.iter().map(example).collect()
}

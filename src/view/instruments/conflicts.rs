//! Cosines between the mean gradients of classes.

use super::super::number::{class_name, count, significant};
use super::super::style::{Paint, Style};
use super::super::table::{Align, Cell, Table};
use super::heading;
use crate::run::Conflicts;
use serde_json::{Value, json};

/// Matrices of more classes than this are wider than a screen.
const CLASSES_MAX: usize = 16;

/// Pairs that are shown.
const PAIRS_MAX: usize = 10;

/// The most conflicting pairs, and the matrices as a whole and layer by layer. Classes without a name have their number.
pub fn text(found: &Conflicts, names: Option<&[String]>, style: Style) -> String {
    let names: Vec<String> = found.classes.iter().map(|&class| class_name(class, names)).collect();
    let name =
        |class: usize| found.classes.binary_search(&class).map_or_else(|_| class.to_string(), |i| names[i].clone());
    let mut pairs = Table::new([("class", Align::Left), ("class", Align::Left), ("cosine", Align::Right)]);
    for pair in found.pairs.iter().take(PAIRS_MAX) {
        pairs.row([name(pair.a).into(), name(pair.b).into(), cosine(Some(pair.cosine))]);
    }
    let mut text = heading("classes whose gradients conflict most", style) + &pairs.render(style);
    let mut sizes = Table::new([("class", Align::Left), ("rows", Align::Right), ("‖gradient‖", Align::Right)]);
    for ((name, &rows), &norm) in names.iter().zip(&found.counts).zip(&found.grad_norms) {
        sizes.row([name.clone().into(), count(rows as u64).into(), significant(norm).into()]);
    }
    text += &heading("mean gradients of the classes", style);
    text += &sizes.render(style);
    if names.len() > CLASSES_MAX {
        return text
            + &format!("  The matrices of {} classes are too wide for a screen: --json has them.\n", names.len());
    }
    let layers = found.layers.iter().map(|layer| (format!("layer {} {}", layer.name, layer.kind), &layer.cosines));
    for (title, matrix) in std::iter::once(("all parameters".to_owned(), &found.whole)).chain(layers) {
        let columns = names.iter().map(|name| (name.clone(), Align::Right));
        let mut table = Table::new(std::iter::once((String::new(), Align::Left)).chain(columns));
        for (name, row) in names.iter().zip(matrix) {
            table.row(std::iter::once(name.clone().into()).chain(row.iter().map(|&x| cosine(x))));
        }
        text += &heading(&format!("cosines, {title}"), style);
        text += &table.render(style);
    }
    text
}

/// Two decimals; conflict is red.
fn cosine(x: Option<f64>) -> Cell {
    match x {
        None => Cell::painted("–", Paint::Dim),
        Some(x) if x < 0.0 => Cell::painted(format!("{x:.2}"), Paint::Red),
        Some(x) => format!("{x:.2}").into(),
    }
}

/// All of it; a cosine that is undefined is null.
pub fn json(found: &Conflicts) -> Value {
    let pairs = found.pairs.iter().map(|pair| json!({ "a": pair.a, "b": pair.b, "cosine": pair.cosine }));
    let layers = found.layers.iter().map(|l| json!({ "name": l.name, "kind": l.kind, "cosines": l.cosines }));
    json!({
        "classes": found.classes,
        "counts": found.counts,
        "grad_norms": found.grad_norms,
        "cosines": found.whole,
        "layers": layers.collect::<Vec<_>>(),
        "pairs": pairs.collect::<Vec<_>>(),
    })
}

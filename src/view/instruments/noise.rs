//! The noise of a gradient.

use super::super::number::{count, significant};
use super::super::style::Style;
use super::super::table::{Align, Cell, Table};
use super::{heading, maybe};
use crate::run::{EARLY_STOPPING_EPSILON, Noise, NoiseFigures};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// A line for each layer, and one for all.
pub fn text(found: &Noise, style: Style) -> String {
    let numbers = ["‖ḡ‖²", "tr Σ", "‖G‖²", "noise scale", "norm test", "inner prod.", "orthogonal.", "early stop"];
    let numbers = numbers.map(|heading| (heading, Align::Right));
    let mut table = Table::new([("layer", Align::Left), ("kind", Align::Left)].into_iter().chain(numbers));
    let layers = found.layers.iter().map(|layer| (layer.name.as_str(), layer.kind.as_str(), &layer.figures));
    for (name, kind, figures) in layers.chain([("all", "", &found.whole)]) {
        let [square, trace, signal] =
            [figures.grad_norm_squared, figures.trace, figures.signal].map(|x| Cell::from(significant(x)));
        let ratios = [
            figures.noise_scale,
            figures.norm_test,
            figures.inner_product_test,
            figures.orthogonality_test,
            figures.early_stopping,
        ];
        table.row([name.into(), kind.into(), square, trace, signal].into_iter().chain(ratios.map(maybe)));
    }
    let title = format!("noise of {} of {} rows", count(found.rows as u64), count(found.population as u64));
    let mut text = heading(&title, style) + &table.render(style);
    if found.whole.noise_scale.is_none() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  the rows are too few to tell the gradient from its noise: no noise scale");
    }
    text
}

fn figures(f: &NoiseFigures) -> Value {
    json!({
        "grad_norm_squared": f.grad_norm_squared, "sample_trace": f.sample_trace, "trace": f.trace, "signal": f.signal,
        "noise_scale": f.noise_scale, "norm_test": f.norm_test, "inner_product_test": f.inner_product_test,
        "orthogonality_test": f.orthogonality_test, "early_stopping": f.early_stopping,
    })
}

/// All of it; a ratio that is undefined is null.
pub fn json(found: &Noise) -> Value {
    let layers = found.layers.iter().map(|layer| {
        let mut entry = json!({ "name": layer.name, "kind": layer.kind });
        if let (Value::Object(entry), Value::Object(figures)) = (&mut entry, figures(&layer.figures)) {
            entry.extend(figures);
        }
        entry
    });
    json!({
        "rows": found.rows,
        "population": found.population,
        "early_stopping_epsilon": EARLY_STOPPING_EPSILON,
        "whole": figures(&found.whole),
        "layers": layers.collect::<Vec<_>>(),
    })
}

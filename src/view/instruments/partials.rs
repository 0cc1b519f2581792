//! Single partial derivatives.

use super::super::number::{count, significant};
use super::super::style::Style;
use super::super::table::{Align, Cell, Table};
use super::{heading, maybe};
use crate::run::{BOUND, Partial, Partials};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// A table for each order, and the mean signal-to-noise ratio of each layer.
pub fn text(found: &Partials, style: Style) -> String {
    let mut text = String::new();
    for (title, list) in [
        ("largest partial derivatives", &found.largest),
        ("clearest partial derivatives, by SNR", &found.clearest),
        ("noisiest partial derivatives, by SNR", &found.noisiest),
        ("partial derivatives that differences agree with least", &found.disagreeing),
    ] {
        text += &heading(title, style);
        text += &table(list).render(style);
    }
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "  {} of {} parameters were compared with differences; errors up to {BOUND:e} are within the bound",
        count(found.compared as u64),
        count(found.parameters as u64)
    );
    text += &heading("mean SNR", style);
    let mut layers = Table::new([
        ("layer", Align::Left),
        ("kind", Align::Left),
        ("parameters", Align::Right),
        ("without noise", Align::Right),
        ("SNR", Align::Right),
    ]);
    for layer in &found.layers {
        let counts = [layer.parameters, layer.still].map(|n| Cell::from(count(n as u64)));
        let [all, still] = counts;
        layers.row([layer.name.clone().into(), layer.kind.clone().into(), all, still, maybe(layer.snr)]);
    }
    let still = found.layers.iter().map(|layer| layer.still).sum::<usize>();
    let counts = [found.parameters, still].map(|n| Cell::from(count(n as u64)));
    let [all, still] = counts;
    layers.row(["all".into(), "".into(), all, still, maybe(found.snr)]);
    text + &layers.render(style)
}

fn table(list: &[Partial]) -> Table {
    let numbers = ["value", "gradient", "σ", "SNR", "difference", "error"].map(|heading| (heading, Align::Right));
    let mut table = Table::new([("parameter", Align::Left)].into_iter().chain(numbers));
    for partial in list {
        let [value, gradient, deviation, difference, error] =
            [partial.value, partial.gradient, partial.deviation, partial.difference, partial.error]
                .map(|x| Cell::from(significant(x)));
        table.row([partial.place().into(), value, gradient, deviation, maybe(partial.snr), difference, error]);
    }
    table
}

/// All of it; a ratio that is undefined is null.
pub fn json(found: &Partials) -> Value {
    let list = |list: &[Partial]| -> Vec<Value> {
        let partial = |p: &Partial| {
            json!({
                "name": p.name, "index": p.index, "value": p.value, "gradient": p.gradient, "deviation": p.deviation,
                "snr": p.snr, "difference": p.difference, "error": p.error,
            })
        };
        list.iter().map(partial).collect()
    };
    let layers = found.layers.iter().map(|layer| {
        json!({
            "name": layer.name, "kind": layer.kind, "parameters": layer.parameters, "still": layer.still,
            "snr": layer.snr,
        })
    });
    json!({
        "largest": list(&found.largest),
        "clearest": list(&found.clearest),
        "noisiest": list(&found.noisiest),
        "disagreeing": list(&found.disagreeing),
        "compared": found.compared,
        "parameters": found.parameters,
        "layers": layers.collect::<Vec<_>>(),
        "snr": found.snr,
    })
}

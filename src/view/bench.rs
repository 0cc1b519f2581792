//! The report of a device: a table for each thing that was measured, and beside it another report.

use super::number::{count, significant, time};
use super::style::{Paint, Style};
use super::table::{Align, Cell, Table};
use crate::study::bench::{self, Environment, Group, Report};
use std::fmt::Write as _;

/// A quantity of a cell in a column.
type Pick = fn(&bench::Cell) -> Option<String>;

/// A table: its group, its heading, what its rows are, its columns.
type Section = (Group, &'static str, &'static str, &'static [(&'static str, Pick)]);

fn rate(x: f64) -> String {
    if x >= 1000.0 { count(x.round() as u64) } else { significant(x) }
}

const TIME: (&str, Pick) = ("time", |cell| cell.seconds.map(time));

const SECTIONS: [Section; 5] = [
    (Group::Products, "matrix products in f32", "product", &[("GFLOP/s", |cell| cell.gflops.map(rate)), TIME]),
    (Group::Memory, "memory", "pass", &[("GB/s", |cell| cell.gbytes_per_second.map(rate)), TIME]),
    (
        Group::Steps,
        "training steps, with the default statistics",
        "network",
        &[
            ("a step", |cell| cell.seconds.map(time)),
            ("steps/s", |cell| cell.steps_per_second.map(rate)),
            ("examples/s", |cell| cell.examples_per_second.map(rate)),
            ("GFLOP/s", |cell| cell.gflops.map(rate)),
        ],
    ),
    (
        Group::Statistics,
        "what statistics cost",
        "network and preset",
        &[("a step", |cell| cell.seconds.map(time)), ("to off", |cell| cell.ratio.map(|ratio| format!("{ratio:.3}")))],
    ),
    (Group::Latency, "latency", "what", &[TIME]),
];

/// The whole report; with another one, how many times as fast each cell is.
pub fn text(report: &Report, other: Option<(&str, &Report)>, style: Style) -> String {
    let mut text = format!("{}\n{}", style.paint("bench", Paint::Bold), header(report, other).render(style));
    let ratios = other.map(|(_, other)| report.against(other));
    for section in &SECTIONS {
        let heading = style.paint(section.1, Paint::Bold);
        // Writing to a string cannot fail, here and below.
        let _ = write!(text, "\n{heading}\n{}", table(report, section, ratios.as_deref()).render(style));
    }
    let skipped: Vec<&bench::Cell> = report.cells.iter().filter(|cell| cell.skipped.is_some()).collect();
    let measured = report.cells.len() - skipped.len();
    let _ = write!(text, "\n  {measured} measured, {} skipped, in {}\n", skipped.len(), time(report.seconds));
    if let (Some((name, other)), Some(ratios)) = (other, &ratios) {
        let common = ratios.iter().flatten().count();
        let _ = writeln!(
            text,
            "  The last column: how many times as fast as in {name} ({}); {common} cells are in both.",
            other.environment.device
        );
        if report.quick != other.quick {
            text.push_str("  One of the two was measured with --quick: its figures scatter more.\n");
        }
    }
    text
}

fn device(environment: &Environment) -> String {
    let threads = environment.threads.map(|n| format!("{n} threads"));
    let facts = [threads.unwrap_or_else(|| environment.kind.clone()), environment.backend.clone()];
    let facts = facts.iter().map(String::as_str).filter(|fact| *fact != environment.device);
    let facts: Vec<&str> = facts.chain([environment.driver.as_str(), environment.precision.as_str()]).collect();
    format!("{} ({})", environment.device, facts.join(", "))
}

fn header(report: &Report, other: Option<(&str, &Report)>) -> Table {
    let mut table = Table::new([("", Align::Left), ("", Align::Left)]);
    let environment = &report.environment;
    let mut row = |name: &str, text: String| table.row([Cell::painted(name, Paint::Dim), text.into()]);
    row("device", device(environment));
    let cpu = environment.cpu.clone().unwrap_or_else(|| "unknown CPU".into());
    let cores = environment.cores.map_or(String::new(), |n| format!(", {n} cores"));
    row("machine", format!("{cpu}{cores}, {} {}", environment.os, environment.arch));
    row("version", format!("steepest {}{}", environment.steepest, if report.quick { ", --quick" } else { "" }));
    if let Some((name, other)) = other {
        row("against", format!("{name}: {}", device(&other.environment)));
    }
    table
}

fn table(report: &Report, (group, _, rows, columns): &Section, ratios: Option<&[Option<f64>]>) -> Table {
    let headings = columns.iter().map(|(name, _)| (*name, Align::Right));
    let against = ratios.map(|_| ("against", Align::Right));
    let mut table =
        Table::new([(*rows, Align::Left)].into_iter().chain(headings).chain(against).chain([("", Align::Left)]));
    let best = best(report, *group);
    for (i, cell) in report.cells.iter().enumerate().filter(|(_, cell)| cell.group == *group) {
        let paint = if Some(i) == best { Paint::Bold } else { Paint::Plain };
        let value = |(_, pick): &(&str, Pick)| pick(cell).map_or(Cell::from("–"), |text| Cell::painted(text, paint));
        let mut cells = vec![Cell::from(cell.name.as_str())];
        cells.extend(columns.iter().map(value));
        let ratio = |ratios: &[Option<f64>]| ratios[i].map_or("–".into(), |ratio| format!("{}×", significant(ratio)));
        cells.extend(ratios.map(|ratios| Cell::from(ratio(ratios))));
        cells.push(Cell::painted(
            cell.skipped.as_ref().map_or(String::new(), |why| format!("skipped: {why}")),
            Paint::Dim,
        ));
        table.row(cells);
    }
    table
}

/// The fastest product: what a device is known by.
fn best(report: &Report, group: Group) -> Option<usize> {
    let products = report.cells.iter().enumerate().filter(|(_, cell)| cell.group == group && group == Group::Products);
    let speeds = products.filter_map(|(i, cell)| Some((i, cell.gflops?)));
    speeds.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(i, _)| i)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a file has it: what is not there was not measured.
    fn report(seconds: [f64; 2]) -> Report {
        let [product, step] = seconds;
        let text = serde_json::json!({
            "format": bench::FORMAT,
            "environment": {
                "steepest": "1.0", "started_utc": "x", "device": "cpu", "kind": "cpu", "backend": "cpu",
                "driver": "AVX", "precision": "f32", "threads": 2, "os": "linux", "arch": "x86_64",
                "cpu": "A CPU", "cores": 2,
            },
            "quick": false,
            "cells": [
                { "group": "products", "name": "8×8×8", "seconds": product, "gflops": 2.0 },
                { "group": "products", "name": "9×9×9", "skipped": "too slow" },
                { "group": "steps", "name": "net", "seconds": step, "steps_per_second": 1234.5, "gflops": 3.0 },
                { "group": "statistics", "name": "net: full", "seconds": step, "ratio": 1.25 },
            ],
            "skipped": 1,
            "seconds": 2.5,
        });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn cells_stand_in_their_tables_and_skips_say_why() {
        let text = text(&report([1e-3, 2e-6]), None, Style::PLAIN);
        for part in [
            "  device   cpu (2 threads, AVX, f32)\n",
            "  machine  A CPU, 2 cores, linux x86_64\n",
            "  8×8×8       2.00  1.00 ms\n",
            "  9×9×9          –        –  skipped: too slow\n",
            "  net      2.00 µs    1,235           –     3.00\n",
            "  net: full           2.00 µs   1.250\n",
            "  3 measured, 1 skipped, in 2.50 s\n",
        ] {
            assert!(text.contains(part), "no `{part}` in\n{text}");
        }
        assert!(!text.contains("against"), "{text}");
    }

    #[test]
    fn another_report_gives_a_column_of_ratios() {
        let (here, there) = (report([1e-3, 2e-6]), report([2e-3, 1e-6]));
        let text = text(&here, Some(("there.json", &there)), Style::PLAIN);
        for part in [
            "  against  there.json: cpu (2 threads, AVX, f32)\n",
            "  8×8×8       2.00  1.00 ms    2.00×\n",
            "  9×9×9          –        –        –  skipped: too slow\n",
            "0.500×\n",
            "as fast as in there.json (cpu); 3 cells are in both.\n",
        ] {
            assert!(text.contains(part), "no `{part}` in\n{text}");
        }
    }
}

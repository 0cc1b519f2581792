//! `steepest bench` on the CPU: every cell is there, and its figures follow from its time and what its name says.

mod place;

use place::Place;
use serde_json::Value;
use std::fs;

/// Cells of a table with what was measured, and how many there are.
fn cells<'a>(report: &'a Value, group: &str) -> (Vec<&'a Value>, usize) {
    let all: Vec<&Value> = report["cells"].as_array().unwrap().iter().filter(|cell| cell["group"] == group).collect();
    let count = all.len();
    (all.into_iter().filter(|cell| cell["seconds"].is_number()).collect(), count)
}

/// The whole numbers in a text, in order.
fn numbers(text: &str) -> Vec<f64> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

fn name(cell: &Value) -> &str {
    cell["name"].as_str().unwrap()
}

/// A figure a second, times the seconds.
fn in_all(cell: &Value, key: &str) -> f64 {
    cell[key].as_f64().unwrap() * cell["seconds"].as_f64().unwrap()
}

fn is_near(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-9 * expected
}

/// Operations of the products of a step: 2·batch for each weight forward, for its gradient, and for that of the inputs of all layers but
/// the first. A name is `784-512-512-10, batch 128, momentum`.
fn step_flops(widths: &[f64], batch: f64) -> f64 {
    let products: Vec<f64> = widths.windows(2).map(|pair| pair[0] * pair[1]).collect();
    2.0 * batch * (2.0 * products.iter().sum::<f64>() + products[1..].iter().sum::<f64>())
}

#[test]
fn figures_follow_from_times_and_names() {
    let place = Place::new();
    let shown = place.succeeds("bench --device cpu --quick --out here.json");
    let report: Value = serde_json::from_slice(&fs::read(place.path().join("here.json")).unwrap()).unwrap();
    let (products, all) = cells(&report, "products");
    assert!(all == 5 && !products.is_empty(), "{shown}");
    for cell in products {
        let n = numbers(name(cell));
        assert!(is_near(in_all(cell, "gflops") * 1e9, 2.0 * n[0] * n[1] * n[2]), "{cell}");
    }
    let (memory, all) = cells(&report, "memory");
    assert_eq!((memory.len(), all), (2, 2), "{shown}");
    for (cell, (what, arrays)) in memory.into_iter().zip([("copy, ", 2.0), ("triad, ", 3.0)]) {
        let bytes = arrays * numbers(name(cell))[0] * f64::from(1 << 20);
        assert!(name(cell).starts_with(what) && is_near(in_all(cell, "gbytes_per_second") * 1e9, bytes), "{cell}");
    }
    let (steps, all) = cells(&report, "steps");
    assert!(all == 4 && !steps.is_empty(), "{shown}");
    for cell in steps {
        let mut widths = numbers(name(cell));
        let batch = widths.pop().unwrap();
        assert!(is_near(in_all(cell, "steps_per_second"), 1.0), "{cell}");
        assert!(is_near(in_all(cell, "examples_per_second"), batch), "{cell}");
        assert!(is_near(in_all(cell, "gflops") * 1e9, step_flops(&widths, batch)), "{cell}");
    }
    let (statistics, all) = cells(&report, "statistics");
    assert_eq!(all, 8, "{shown}");
    assert!(statistics.iter().filter(|cell| name(cell).ends_with(": off")).all(|cell| cell["ratio"] == 1.0), "{shown}");
    let (latency, all) = cells(&report, "latency");
    assert_eq!((latency.len(), all), (3, 3), "{shown}");

    let cells = report["cells"].as_array().unwrap();
    let skipped = cells.iter().filter(|cell| cell["skipped"].is_string()).count();
    assert!(cells.iter().all(|cell| cell["skipped"].is_string() != cell["seconds"].is_number()), "{shown}");
    assert_eq!((&report["skipped"], &report["quick"]), (&skipped.into(), &true.into()));
    let measured = cells.len() - skipped;
    assert!(shown.contains(&format!("  {measured} measured, {skipped} skipped, in ")), "{shown}");
    for cell in cells {
        assert!(shown.contains(&format!("\n  {}  ", name(cell))), "no {} in\n{shown}", name(cell));
    }

    let shown = place.succeeds("bench --device cpu --quick --json --against here.json");
    let other: Value = serde_json::from_str(&shown).unwrap();
    let ratios = other["against"]["times_as_fast"].as_array().unwrap();
    assert_eq!((ratios.len(), &other["against"]["file"]), (cells.len(), &"here.json".into()));
    for ((here, there), ratio) in other["cells"].as_array().unwrap().iter().zip(cells).zip(ratios) {
        let expected = there["seconds"].as_f64().zip(here["seconds"].as_f64()).map(|(there, here)| there / here);
        assert_eq!(ratio.as_f64(), expected, "{here} against {there}");
    }
}

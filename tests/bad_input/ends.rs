//! How runs end, and what they leave: files that are there already, weights of another model, reports.

use super::place::{NET, Place, files};
use std::fs;

#[test]
fn a_loss_that_is_not_finite_ends_the_run_and_keeps_the_record() {
    let place = Place::with_net(("epochs = 2", "epochs = 20\noptimizer = \"sgd\"\nlr = 1e30"));
    place.fails("train net.toml --out out", 1, &["step ", "layer ", "not finite", "flight.jsonl"]);
    let left = files(&place.path().join("out"));
    for file in ["config.toml", "environment.json", "steps.jsonl", "steps.schema.json", "flight.jsonl", "summary.json"]
    {
        assert!(left.iter().any(|found| found == file), "no {file} in {left:?}");
    }
    assert!(!left.iter().any(|file| file.ends_with(".safetensors")), "weights that are not finite: {left:?}");
    let summary: serde_json::Value =
        serde_json::from_slice(&fs::read(place.path().join("out/summary.json")).unwrap()).unwrap();
    assert_eq!(summary["stopped_by"], "non_finite");
}

#[test]
fn weights_of_another_model_are_refused() {
    let place = Place::with_net(("epochs = 2", "epochs = 1"));
    place.succeeds("train net.toml --out out");
    place.write("other.toml", NET.replace("out = 8", "out = 9"));
    let weights = "--weights out/model.safetensors";
    place.fails(&format!("eval other.toml {weights}"), 2, &["out/model.safetensors", "0.weight", "[9, 2]", "[8, 2]"]);
    place.fails("eval net.toml --weights net.toml", 2, &["net.toml", "safetensors"]);
    place.fails("eval nowhere", 2, &["nowhere"]);
    let scores: serde_json::Value = serde_json::from_str(&place.succeeds("eval out --json")).unwrap();
    assert!(scores.to_string().contains("accuracy"), "{scores}");
}

#[test]
fn a_run_never_overwrites_files() {
    let place = Place::with_net(("epochs = 2", "epochs = 1"));
    place.write("out/thesis.txt", "precious");
    place.fails("train net.toml --out out", 2, &["out", "not empty"]);
    place.fails("train net.toml --out net.toml", 2, &["net.toml", "is a file"]);
    place.fails("train net.toml --out net.toml/run", 2, &["net.toml/run", "could not be made"]);
}

#[test]
fn reports_that_are_none_are_refused_before_anything_is_measured() {
    let place = Place::new();
    place.write("text.json", "no report");
    place.write("other.json", "{\"format\": \"steepest-bench-0\"}");
    place.write("summary.json", "{\"steps\": 3}");
    place.write("broken.json", "{\"format\": \"steepest-bench-1\", \"cells\": 3}");
    for (file, expected) in [
        ("nowhere.json", "nowhere.json: the report cannot be read"),
        ("text.json", "text.json: expected a report in JSON"),
        ("other.json", "other.json: expected the format steepest-bench-1, found steepest-bench-0"),
        ("summary.json", "summary.json: expected a report with \"format\": \"steepest-bench-1\", found none"),
        ("broken.json", "broken.json: expected a whole report of the format steepest-bench-1"),
    ] {
        place.fails(
            &format!("bench --device cpu --quick --against {file}"),
            2,
            &[expected, "steepest bench --out FILE"],
        );
    }
    place.fails("bench --quick --device cpu --out text.json", 2, &["text.json: there is a file already"]);
    place.fails("bench --quick --device nonesuch", 2, &["device: "]);
    place.fails("bench --quicker", 2, &["unexpected argument '--quicker'"]);
}

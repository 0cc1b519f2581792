//! `steepest compare` from outside: what it prints and leaves, that it repeats, and how it refuses.

mod place;

use place::{Place, text};
use serde_json::Value;
use std::fs;

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|error| panic!("{error}\n{}", text(bytes)))
}

/// A comparison as it is when times are left out, which alone may differ.
fn without_times(mut value: Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.retain(|key, _| !["seconds", "to_target"].contains(&key.as_str()));
                map.values_mut().for_each(strip);
            }
            Value::Array(list) => list.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut value);
    value
}

fn numbers<'a>(comparison: &'a Value, key: &'a str) -> impl Iterator<Item = f64> + 'a {
    let runs = comparison["variants"].as_array().unwrap().iter().map(|variant| &variant["runs"][0]);
    runs.map(move |run| run.pointer(key).and_then(Value::as_f64).unwrap_or(f64::NAN))
}

#[test]
fn the_folder_keeps_every_variant_and_what_was_found() {
    let place = Place::with_net(("epochs = 2", "epochs = 3"));
    let shown = place.succeeds("compare net.toml --vary train.batch=full,1,7 --vary train.optimizer=sgd,adam --out c");
    for part in ["net: 6 variants", "batch full, optimizer sgd", "to target", "cosine", "straight", "rises", "loss.png"]
    {
        assert!(shown.contains(part), "no `{part}` in\n{shown}");
    }
    assert!(shown.contains("noise"), "no noise in\n{shown}");
    let comparison = json(&fs::read(place.path().join("c/compare.json")).unwrap());
    assert_eq!(comparison["variants"].as_array().unwrap().len(), 6);
    // 48 training examples, three times over.
    assert!(numbers(&comparison, "/examples").eq([144.0; 6]));
    assert!(numbers(&comparison, "/steps").eq([3.0, 3.0, 144.0, 144.0, 21.0, 21.0]));
    let first = |key: &str| -> Vec<f64> { numbers(&comparison, key).collect() };
    assert!(first("/places/0/loss").windows(2).all(|pair| pair[0] == pair[1]), "all begin with the same weights");
    assert!(first("/cosine").iter().all(|cosine| (-1.0..=1.0).contains(cosine)));
    assert!(first("/straightness").iter().all(|share| (0.0..=1.0 + 1e-6).contains(share)));
    let noises = first("/noise/trace");
    assert!(
        noises.iter().enumerate().all(|(i, noise)| noise.is_nan() == (i == 2 || i == 3)),
        "one example: {noises:?}"
    );
    let csv = fs::read_to_string(place.path().join("c/compare.csv")).unwrap();
    assert_eq!(csv.lines().count(), 7);
    for (name, start) in [("loss.svg", b"<svg".as_slice()), ("loss.png", b"\x89PNG")] {
        assert!(fs::read(place.path().join("c").join(name)).unwrap().starts_with(start), "{name}");
    }
    let scores = place.succeeds("eval c/batch-7-optimizer-adam --json");
    assert!(json(scores.as_bytes()).is_object(), "a variant is a run as any");
}

#[test]
fn a_comparison_repeats_and_json_is_alone_on_standard_output() {
    let place = Place::with_net(("epochs = 2", "epochs = 2"));
    let line = "compare net.toml --vary train.batch=full,1 --seeds 3 --json --out";
    let first = place.run(&format!("{line} a"));
    let again = place.run(&format!("{line} b"));
    let other = place.run(&format!("{line} c --seed 7"));
    assert!(text(&first.stderr).contains("[6/6] batch 1, seed 2: loss "), "{}", text(&first.stderr));
    let [first, again, other] = [first, again, other].map(|output| without_times(json(&output.stdout)));
    assert_eq!(first, again);
    assert_ne!(first, other);
    let spread = &first["variants"][1]["over_seeds"]["loss"];
    assert!(spread["min"].as_f64() < spread["median"].as_f64() && spread["median"].as_f64() < spread["max"].as_f64());
    assert!(place.path().join("a/batch-1/seed-2/summary.json").exists());
}

#[test]
fn budgets_end_runs() {
    let place = Place::with_net(("epochs = 2", "epochs = 200"));
    let run = |more: &str| {
        let line = format!("compare net.toml --vary train.batch=full,4 --json --quiet {more}");
        json(&place.run(&line).stdout)
    };
    assert!(numbers(&run("--steps 5"), "/steps").eq([5.0, 5.0]));
    assert!(numbers(&run("--examples 100"), "/steps").eq([3.0, 25.0]));
    let reached = run("--target 0.8");
    for (run, loss) in numbers(&reached, "/loss").enumerate() {
        let why = &reached["variants"][run]["runs"][0]["stopped_by"];
        assert!(loss <= 0.8 && why == "target", "{loss} {why}");
    }
    let timed = run("--time 50ms");
    assert!(numbers(&timed, "/seconds").all(|seconds| (0.05..1.0).contains(&seconds)), "{timed}");
    assert_eq!(timed["variants"][0]["runs"][0]["stopped_by"], "budget");
}

#[test]
fn a_variant_that_diverges_is_a_result_and_no_error() {
    let place = Place::with_net(("epochs = 2", "epochs = 40\noptimizer = \"sgd\""));
    let shown = place.succeeds("compare net.toml --vary train.lr=0.01,1e9 --out c");
    assert!(shown.contains("not finite"), "{shown}");
    let comparison = json(&fs::read(place.path().join("c/compare.json")).unwrap());
    let step = &comparison["variants"][1]["runs"][0]["non_finite_step"];
    assert!(step.as_u64().is_some_and(|step| step < 40) && comparison["variants"][0]["runs"][0]["loss"].is_f64());
}

#[test]
fn full_batches_on_a_quadratic_have_the_rate_of_theory() {
    let place = Place::new();
    let line = "compare --example convex --set data.examples=800 --vary train.batch=full,8 --steps 4000 --device cpu";
    let shown = place.succeeds(&format!("{line} --out c"));
    assert!(shown.contains("distance to the known optimum"), "{shown}");
    let comparison = json(&fs::read(place.path().join("c/compare.json")).unwrap());
    let [full, batch] = [0, 1].map(|i| comparison["variants"][i]["runs"][0]["convex"].clone());
    let number = |value: &Value, key: &str| value[key].as_f64().unwrap();
    // By hand: the curvatures are 1 to 1/10, the rate is 0.05.
    assert!(
        (number(&full, "rate_theory") - 0.995).abs() < 1e-6 && (number(&full, "rate") - 0.995).abs() < 1e-4,
        "{full}"
    );
    assert!((number(&full, "rate_best") - 9.0 / 11.0).abs() < 1e-6);
    // Epochs of 100 steps are short against 1/(ηλ) = 200, so that noise is taken away.
    let plateau = number(&batch, "plateau") / number(&batch, "plateau_theory");
    assert!((0.3..1.1).contains(&plateau), "{batch}");
    assert!(place.path().join("c/distance.png").exists());
}

#[test]
fn small_batches_leave_a_bad_valley_and_full_ones_stay() {
    let place = Place::new();
    let shown = place.succeeds("compare --example surface --vary train.batch=full,1 --seeds 5 --device cpu --out c");
    let comparison = json(&fs::read(place.path().join("c/compare.json")).unwrap());
    let left: Vec<u64> =
        (0..2).map(|i| comparison["variants"][i]["basins"]["left"]["hits"].as_u64().unwrap()).collect();
    assert!(left[0] == 0 && left[1] >= 4, "{shown}");
    assert!(shown.contains("0 of 5  0–43 %"), "Wilson's interval for none of five is 0 to 0.4345\n{shown}");
    // The bottom of the shallow valley is where y³ − y + 0.15 = 0.
    let end = &comparison["variants"][0]["runs"][0]["path"].as_array().unwrap().last().unwrap()[0];
    assert!((end.as_f64().unwrap() - 0.914_324).abs() < 1e-4, "{end}");
    assert!(fs::read_to_string(place.path().join("c/paths.svg")).unwrap().contains("batch 1: "));
}

#[test]
fn errors_name_the_flag_and_leave_nothing_behind() {
    let place = Place::with_net(("epochs = 2", "epochs = 1"));
    for (line, expected) in [
        ("--vary train.batchh=1", ["--vary: train.batchh: there is no key", "did you mean `batch`?"]),
        ("--vary train.batch", ["--vary: train.batch", "found no `=`"]),
        ("--vary train.batch=0", ["--vary: train.batch: 0 is out of range", ""]),
        ("--vary train.batch=99", ["variant batch 99: train.batch", "48 training examples"]),
        ("--vary train.seed=1,2", ["--vary", "use --seeds"]),
        ("--seeds 0", ["--seeds: 0 seeds", ""]),
        ("--steps 0", ["--steps: 0 is out of range", ""]),
        ("--time soon", ["--time: ", "expected seconds"]),
        ("--target NaN", ["--target", "NaN"]),
    ] {
        place.fails(&format!("compare net.toml {line}"), 2, &expected);
    }
    place.fails("compare nowhere.toml", 2, &["nowhere.toml"]);
}

#[test]
fn batches_that_grow_end_with_their_budget_too() {
    let place = Place::with_net(("epochs = 2", "epochs = 3\nmicro_batch = 4"));
    place.succeeds("compare net.toml --vary train.batch=8,adaptive --out whole");
    let comparison = json(&fs::read(place.path().join("whole/compare.json")).unwrap());
    assert!(numbers(&comparison, "/examples").eq([144.0; 2]));
    assert!(numbers(&comparison, "/steps").eq([18.0, 36.0]));
    place.succeeds("compare net.toml --vary train.batch=8,adaptive --examples 60 --out part");
    let comparison = json(&fs::read(place.path().join("part/compare.json")).unwrap());
    assert!(numbers(&comparison, "/examples").eq([64.0, 96.0]), "whole batches, and whole epochs");
    place.succeeds("compare net.toml --vary train.batch=8,adaptive --steps 100 --out steps");
    let comparison = json(&fs::read(place.path().join("steps/compare.json")).unwrap());
    assert!(numbers(&comparison, "/steps").eq([100.0; 2]));
}

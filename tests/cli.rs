//! The program from outside: what it prints, what it leaves on the disk, and with which code it ends.

mod place;

use place::{Place, text};
use serde_json::Value;
use std::fs;
use steepest::probe::{PROBES, ProbeId};

#[test]
fn help_is_there_for_every_command_and_usage_errors_are_2() {
    let place = Place::new();
    for command in [
        "", "train", "noise", "range", "tune", "compare", "diagnose", "eval", "predict", "inspect", "plan", "devices",
        "config", "keys", "probes", "corpus", "bench",
    ] {
        let help = place.succeeds(&format!("{command} --help"));
        assert!(
            help.contains("Usage: steepest") && help.contains("steepest train") || help.contains("Examples:"),
            "{help}"
        );
    }
    place.fails("trian", 2, &["unrecognized subcommand 'trian'", "'train'"]);
    place.fails("train --sede 1", 2, &["unexpected argument '--sede'", "--seed"]);
    place.fails("train --epochs many", 2, &["--epochs"]);
    place.fails("inspect net.toml --weights w --rows 5 --out g", 2, &["expected two numbers such as 0..32"]);
    place.fails("train nowhere.toml", 2, &["nowhere.toml: the config cannot be read"]);
}

#[test]
fn keys_and_configs_are_shown() {
    let place = Place::new();
    assert!(place.succeeds("keys").contains("| `epochs` | integer ≥ 1 | `20` |"));
    let config = place.succeeds("config --set train.lr=0.5");
    assert!(config.contains("lr = 0.5"), "{config}");
    place.write("again.toml", &config);
    assert_eq!(place.succeeds("config again.toml"), config, "a config that is shown can be used");
}

#[test]
fn a_run_is_shown_and_can_be_compared() {
    let place = Place::with_net(("epochs = 2", "epochs = 7"));
    let first = place.succeeds("train net.toml --out a");
    let second = place.succeeds("train net.toml --out b");
    let lines = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.starts_with("  step ")).map(str::to_owned).collect()
    };
    assert_eq!(lines(&first), lines(&second), "the clock has no part in them");
    assert_eq!(lines(&first).len(), 8, "{first}");
    for part in [
        "cpu (",
        "layers in the last step, 35\n",
        "update ratio",
        "scores of the best weights (step ",
        "accuracy",
        "model.safetensors",
    ] {
        assert!(first.contains(part), "no `{part}` in\n{first}");
    }
    assert!(!first.contains('\x1b'), "no colour where there is no terminal");
}

#[test]
fn json_is_alone_on_standard_output() {
    let place = Place::with_net(("epochs = 2", "epochs = 1"));
    let output = place.run("train net.toml --out out --json");
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let written: serde_json::Value =
        serde_json::from_slice(&fs::read(place.path().join("out/summary.json")).unwrap()).unwrap();
    assert_eq!(summary, written);
    assert!(text(&output.stderr).contains("step "), "progress is on standard error");
    let output = place.run("train net.toml --out quiet --json --quiet");
    assert!(output.stderr.is_empty() && !output.stdout.is_empty());
}

#[test]
fn a_plan_is_printed_with_its_memory() {
    let plan = Place::with_net(("epochs = 2", "epochs = 1")).succeeds("plan net.toml");
    for part in ["graph", "plan gradients: ", "plan update: ", "shared", "private", "at the peak", "param 0.weight"] {
        assert!(plan.contains(part), "no `{part}` in\n{plan}");
    }
}

#[test]
fn noise_is_shown_while_training_and_kept_in_the_summary() {
    let place = Place::with_net(("epochs = 2", "epochs = 60"));
    let shown = place.succeeds("train net.toml --out out");
    let lines: Vec<&str> = shown.lines().filter(|line| line.starts_with("  step ")).collect();
    assert!(!lines[1].contains("noise "), "too few steps: {}", lines[1]);
    for line in &lines[lines.len() / 2..] {
        let words: Vec<&str> =
            line.split("noise ").nth(1).unwrap_or_else(|| panic!("{line}")).split_whitespace().collect();
        assert!(words[1] == "batch" && ["below", "about", "above"].contains(&words[2]), "{line}");
    }
    let summary: serde_json::Value =
        serde_json::from_slice(&fs::read(place.path().join("out/summary.json")).unwrap()).unwrap();
    let noise = &summary["noise"];
    let number = |key: &str| noise[key].as_f64().unwrap_or_else(|| panic!("no {key} in {noise}"));
    assert!((number("scale") / (number("trace") / number("signal")) - 1.0).abs() < 1e-12);
    let [low, high] = [0, 1].map(|end| noise["batches"][end].as_f64());
    assert!(low.unwrap() <= number("scale") && high.is_none_or(|high| high >= number("scale")), "{noise}");
    assert_eq!((number("batch"), number("steps") >= 128.0), (10.0, true), "{noise}");
    // The same from the rows of the record, one a step: S and |G|² of the last steps.
    let steps = steepest::run::steps::read_steps(&place.path().join("out/steps.jsonl")).unwrap();
    assert_eq!(steps.len(), 300, "a row a step");
    // 300 steps are 37 blocks of 8, and 4 that are in none.
    let whole = |name: &str| {
        let values = &steps.column(name).unwrap().values[..296];
        let half = &values[values.len() - number("steps") as usize..];
        half.iter().sum::<f64>() / half.len() as f64
    };
    for (key, column) in [("trace", "noise_trace"), ("signal", "noise_signal")] {
        assert!((number(key) / whole(column) - 1.0).abs() < 1e-4, "{key}: {} {}", number(key), whole(column));
    }
    assert!(shown.contains("\n  noise  scale "), "{shown}");
    let without = place.run("train net.toml --out without --json --set probes.noise=0");
    let summary: serde_json::Value = serde_json::from_slice(&without.stdout).unwrap();
    assert!(summary.get("noise").is_none(), "{summary}");
    assert!(!text(&without.stderr).contains("noise "), "nothing is said of what is not measured");
}

/// 48 examples in batches of 40: an epoch ends with 8, and its line is of the batch that was asked for.
#[test]
fn noise_is_held_against_a_whole_batch() {
    let place = Place::with_net(("epochs = 2\nbatch = 10", "epochs = 200\nbatch = 40"));
    let shown = place.succeeds("train net.toml --out out");
    let lines: Vec<&str> =
        shown.lines().filter(|line| line.contains("noise ") && line.starts_with("  step ")).collect();
    assert!(lines.len() > 10, "{shown}");
    for line in lines {
        let (scale, rest) = line.split_once("noise ").unwrap().1.split_once(", batch ").unwrap();
        let scale: f64 = if scale == "∞" { f64::INFINITY } else { scale.parse().unwrap() };
        let word = steepest::probe::Against::of(40.0, scale, scale).word();
        assert!(rest.starts_with(word), "{line}: {word}");
    }
}

/// What it costs is measured on the spot, so that only the shape of the answer is known: every probe of the table, a cost for
/// each that this run can have, and none for the loss, and for what half precision loses where there is none.
#[test]
fn probes_are_listed_with_what_they_cost() {
    let place = Place::new();
    let list = place.succeeds("probes --device cpu --json --set train.batch=8 --set train.lr=0.01");
    let list: Value = serde_json::from_str(&list).unwrap();
    let probes = list["probes"].as_array().unwrap();
    assert_eq!(probes.len(), PROBES.len());
    assert!(list["step_seconds"].as_f64().unwrap() > 0.0);
    for (probe, known) in probes.iter().zip(&PROBES) {
        assert_eq!(probe["name"], known.name);
        assert!(!probe["quantities"].as_array().unwrap().is_empty(), "{}", known.name);
        let has_cost = !matches!(known.id, ProbeId::Loss | ProbeId::Underflow);
        assert_eq!(probe["cost"].as_f64().is_some_and(|cost| cost > -1.0), has_cost, "{probe}");
    }
    assert!(["default", "full"].iter().all(|preset| list["presets"][preset].is_f64()));
    let text = place.succeeds("probes --device cpu --no-cost --set probes.preset=full --set probes.units=0");
    assert!(
        text.contains("units       never") && text.contains("every 10 steps") && text.contains("layer_snr"),
        "{text}"
    );
}

#[test]
fn a_device_is_measured_and_held_against_a_report() {
    let place = Place::new();
    let report: Value =
        serde_json::from_str(&place.succeeds("bench --device cpu --quick --json --out a.json")).unwrap();
    let written: Value = serde_json::from_slice(&fs::read(place.path().join("a.json")).unwrap()).unwrap();
    assert_eq!(report, written);
    let environment = &report["environment"];
    assert_eq!((&environment["device"], &environment["precision"]), (&"cpu".into(), &"f32".into()));
    assert!(environment["cores"].as_u64().unwrap() >= 1 && environment["os"].is_string(), "{environment}");
    let cells = report["cells"].as_array().unwrap();
    let skipped = cells.iter().filter(|cell| cell["skipped"].is_string()).count();
    assert_eq!(report["skipped"].as_u64(), Some(skipped as u64));
    for cell in cells {
        let (time, why) = (cell["seconds"].as_f64(), cell["skipped"].as_str());
        assert!(time.is_some_and(|time| time > 0.0) != why.is_some_and(|why| why.len() > 5), "{cell}");
    }
    let of = |group: &str| -> Vec<&Value> { cells.iter().filter(|cell| cell["group"] == group).collect() };
    assert_eq!(["products", "memory", "steps", "statistics", "latency"].map(|it| of(it).len()), [5, 2, 4, 8, 3]);
    // Rates follow from times.
    let product = of("products")[0];
    let flops = 2.0 * 512f64.powi(3);
    assert!(
        (product["gflops"].as_f64().unwrap() * product["seconds"].as_f64().unwrap() / flops * 1e9 - 1.0).abs() < 1e-9
    );
    let step = of("steps")[0];
    assert!((step["examples_per_second"].as_f64().unwrap() * step["seconds"].as_f64().unwrap() - 32.0).abs() < 1e-9);
    assert_eq!(of("statistics")[0]["ratio"], 1.0, "a step is held against itself");

    let shown = place.succeeds("bench --device cpu --quick --against a.json --out b.json");
    let again: Value = serde_json::from_slice(&fs::read(place.path().join("b.json")).unwrap()).unwrap();
    for part in ["matrix products in f32", "GFLOP/s", "GB/s", "steps/s", "to off", "left out by --quick", "against"] {
        assert!(shown.contains(part), "no `{part}` in\n{shown}");
    }
    let ratios: Vec<f64> = shown.split_whitespace().filter_map(|word| word.strip_suffix('×')?.parse().ok()).collect();
    // What takes too long is left out, and that may be another cell the second time.
    let in_both = cells.iter().zip(again["cells"].as_array().unwrap());
    let in_both = in_both.filter(|(a, b)| a["seconds"].is_number() && b["seconds"].is_number()).count();
    assert!(ratios.len() == in_both && in_both > 5 && ratios.iter().all(|ratio| *ratio > 0.0), "{shown}");
}

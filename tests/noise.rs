//! `steepest noise` through the program.

use serde_json::Value;
use std::process::{Command, Output};

fn noise(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_steepest")).arg("noise").args(["--device", "cpu"]).args(args).output().unwrap()
}

fn json(args: &[&str]) -> Value {
    let output = noise(&[args, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_noise_of_digits_grows_as_they_are_learned() {
    let study = json(&["--max-steps", "600"]);
    let scale = |value: &Value| value["noise_scale"]["value"].as_f64().unwrap();
    let stretches = study["stretches"].as_array().unwrap();
    assert_eq!(stretches.last().unwrap()["last"], 600);
    assert!(scale(&stretches[0]) < scale(stretches.last().unwrap()), "{stretches:?}");
    let whole = &study["noise_scale"];
    let [low, value, high] = ["low", "value", "high"].map(|end| whole[end].as_f64().unwrap());
    assert!(10.0 < low && low < value && value < high && high < 1000.0, "{whole}");
    assert_eq!(study["layers"].as_array().unwrap().len(), 3);
    let advice = study["advice"].as_array().unwrap();
    assert_eq!(advice.len(), 4);
    assert_eq!(advice[1]["batch"].as_f64().unwrap(), value.round());
    assert_eq!(study, json(&["--max-steps", "600"]), "a seed repeats a study");
}

#[test]
fn people_get_tables() {
    let output = noise(&["--max-steps", "200", "--set", "train.optimizer=sgd"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for part in
        ["noise scale over the run", "by layer", "what a batch size costs", "McCandlish et al. 2018", "Batches of"]
    {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
}

#[test]
fn what_says_nothing_of_noise_is_refused() {
    for (args, parts) in [
        (&["--set", "train.batch=1"][..], &["train.batch: one example says nothing of noise", "batch=32"][..]),
        (&["--set", "train.batch=full"], &["train.batch: the full batch has no noise"]),
        (
            &["--set", "train.batch=adaptive"],
            &["train.batch: the noise is measured in batches of one size", "batch=32"],
        ),
        (&["--set", "probes.noise=10"], &["probes.noise: the noise is not measured in every step"]),
        (&["--set", "probes.preset=off"], &["probes.noise: the noise is not measured in every step"]),
        (&["--max-steps", "99"], &["train.epochs: 99 steps are too few", "100 are needed"]),
    ] {
        let output = noise(args);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        assert!(parts.iter().all(|part| error.contains(part)), "{args:?}: {error}");
    }
}

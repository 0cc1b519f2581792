//! What cannot go on: one clear error, exit code 2, and nothing in the folder is changed.

use super::place::{Place, refusal};
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};
use steepest::run::checkpoint::CHECKPOINT_FILE;
use steepest::run::weights::{NamedTensor, Tensors, read_tensors_and_facts, write_tensors};

/// A short run that could go on, in `out`.
fn finished(changes: &str) -> Place {
    let place = Place::new(&format!("train.epochs=2 record.every=1 {changes}"));
    place.succeeds("train net.toml --quiet --out out");
    place
}

const LATER: &str = "train --resume out --epochs 3";

#[test]
fn folders_that_hold_no_run_are_refused() {
    let place = finished("");
    place.fails("train --resume nowhere", &["nowhere: there is no such folder"]);
    place.fails("train --resume net.toml", &["net.toml: is a file, not the folder of a run"]);
    fs::create_dir(place.path().join("empty")).unwrap();
    place.fails("train --resume empty", &["empty: is not the folder of a run"]);
    place.fails("train net.toml --resume out", &["cannot be used with", "--resume"]);
    place.fails("train --resume out --out other", &["cannot be used with", "--resume"]);
}

#[test]
fn checkpoints_that_are_missing_or_broken_are_refused() {
    let place = finished("record.checkpoint=0");
    assert!(!place.path().join("out").join(CHECKPOINT_FILE).exists());
    place.fails(LATER, &["out/checkpoint.safetensors: the run has no checkpoint", "record.checkpoint"]);
    let place = finished("");
    let path = place.path().join("out").join(CHECKPOINT_FILE);
    let whole = fs::read(&path).unwrap();
    for len in [0, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..len]).unwrap();
        place.fails(LATER, &["checkpoint.safetensors: is no safetensors file, or one that was cut off", "train again"]);
    }
    fs::copy(place.path().join("out/model.safetensors"), &path).unwrap();
    place.fails(LATER, &["checkpoint.safetensors: is no checkpoint of a run", "train again"]);
    fs::write(&path, &whole).unwrap();
    place.succeeds(LATER);
}

#[test]
fn checkpoints_of_another_run_are_refused() {
    let place = finished("");
    let path = place.path().join("out").join(CHECKPOINT_FILE);
    let whole = fs::read(&path).unwrap();
    place.succeeds("train net.toml --quiet --out other --set model.layers[0].out=9");
    fs::copy(place.path().join("other").join(CHECKPOINT_FILE), &path).unwrap();
    place.fails(LATER, &["model.layers: it is", "out = 64", "out = 9"]);
    // The settings are right and the tensors wrong.
    fs::write(&path, &whole).unwrap();
    let (tensors, facts) = read_tensors_and_facts(&path).unwrap();
    let facts: Vec<(&str, String)> = facts.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    let rename = |from: &str, to: &str| -> Tensors {
        let name = |name: &str| if name == from { to.to_owned() } else { name.to_owned() };
        tensors.iter().map(|tensor| NamedTensor { name: name(&tensor.name), ..tensor.clone() }).collect()
    };
    for (from, to, expected) in [
        ("exp_avg/0.bias", "exp_avg/0.biases", "missing: 0.bias [64]; unexpected: 0.biases [64]"),
        ("params/5.bias", "unknown/5.bias", "params: the weights do not fit the model: missing: 5.bias"),
        ("best/5.bias", "best/6.bias", "best: the weights do not fit the model: missing: 5.bias"),
        ("host/row", "host/rows", "it lacks host/row"),
        ("host/control", "params", "a tensor is called params"),
    ] {
        write_tensors(&path, &rename(from, to), &facts).unwrap();
        place.fails(LATER, &["checkpoint", expected]);
    }
    let mut more = rename("", "");
    more.push(NamedTensor { name: "momentum/0.bias".into(), ..more[0].clone() });
    write_tensors(&path, &more, &facts).unwrap();
    place.fails(LATER, &["checkpoint: momentum: the optimizer keeps no such state"]);
}

#[test]
fn settings_that_change_the_run_are_refused_by_name() {
    let place = finished("");
    for (change, key) in [
        ("--seed 5", "train.seed: it is 5 now and was 0"),
        ("--set train.lr=0.5", "train.lr: it is 0.5 now and was 0.001"),
        ("--precision f64", "train.precision: it is \"f64\" now"),
        ("--set train.optimizer=sgd", "train.optimizer: "),
        ("--set train.clip_norm=1", "train.clip_norm: it is 1.0 now and was not set"),
        ("--set record.every=2", "record.every: it is 2 now and was 1"),
        ("--set data.split=0.3", "data.split: it is 0.3 now"),
    ] {
        place.fails(&format!("{LATER} {change}"), &[key, "what may change: train.epochs"]);
    }
    let config = place.path().join("out/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("batch = 48", "batch = 40")).unwrap();
    place.fails(LATER, &["train.batch: it is 40 now and was 48"]);
    fs::write(&config, text).unwrap();
    place.succeeds(&format!("{LATER} --set data.resident=false --set device.threads=1 --set record.flight=5"));

    let place = finished("train.schedule=cosine");
    place.fails(LATER, &["train.schedule: the schedule ends with the training"]);
    let place = finished("train.schedule=[{kind=\"cosine\",steps=9}]");
    place.succeeds(LATER);
}

#[test]
fn data_and_records_that_have_changed_are_refused() {
    let rows: String = (0..60).map(|i| format!("{i},{},c{}\n", i * i % 17, i % 3)).collect();
    let place = Place::new("");
    let data = place.path().join("data.csv");
    let write = |rows: &str| fs::write(&data, format!("a,b,class\n{rows}")).unwrap();
    write(&rows);
    let source = "--set data.source=csv --set data.path=data.csv --set train.batch=20 --epochs 2 --set record.every=1";
    place.succeeds(&format!("train net.toml --quiet --out out {source}"));
    write(&rows.replace("\n3,9,", "\n3,10,"));
    place.fails(LATER, &["data: the data is no longer what the run was trained on"]);
    write(&format!("{rows}1,2,c0\n1,2,c0\n"));
    place.fails(LATER, &["data: the data is no longer"]);
    write(&rows);
    let record = place.path().join("out/steps.jsonl");
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.lines().skip(1).fold(String::new(), |text, line| text + line + "\n")).unwrap();
    place.fails(LATER, &["steps.jsonl: up to step", "restore the file"]);
    fs::remove_file(&record).unwrap();
    place.fails(LATER, &["steps.jsonl: could not be opened"]);
    fs::write(&record, text).unwrap();
    place.succeeds(LATER);
}

#[test]
fn a_run_that_came_to_a_value_that_is_not_finite_is_refused() {
    let place = Place::new("train.optimizer=sgd train.lr=0.01 record.checkpoint=5");
    let config = fs::read_to_string(place.path().join("net.toml")).unwrap();
    let schedule = "schedule = { kind = \"exponential\", factor = 1e3, every = 1 }";
    fs::write(place.path().join("net.toml"), config.replace("schedule = \"constant\"", schedule)).unwrap();
    let output = place.command("train net.toml --quiet --out out").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(place.path().join("out").join(CHECKPOINT_FILE).exists());
    place.fails(LATER, &["a value was not finite", "lower train.lr"]);
}

/// The lock is one of Unix.
#[cfg(unix)]
#[test]
fn a_run_that_is_still_going_on_is_left_alone() {
    let place = Place::new("train.epochs=1000000");
    let line = "train net.toml --quiet --out out";
    let mut program = place.command(line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let from = Instant::now();
    while !place.path().join("out").join(CHECKPOINT_FILE).exists() && from.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = place.command("train --resume out --max-time 2s").output().unwrap();
    let is_alive = program.try_wait().unwrap().is_none();
    program.kill().unwrap();
    program.wait().unwrap();
    assert!(is_alive, "it goes on");
    refusal(&output, "train --resume out", &["steps.jsonl: the run is still going on", "wait for it"]);
    // What it had begun to write is cleared away.
    let unfinished = place.path().join("out/checkpoint.safetensors.part-1");
    fs::write(&unfinished, "x").unwrap();
    let (_, facts) = read_tensors_and_facts(&place.path().join("out").join(CHECKPOINT_FILE)).unwrap();
    let run: serde_json::Value = serde_json::from_str(&facts["run"]).unwrap();
    place.succeeds(&format!("train --resume out --quiet --max-steps {}", run["cursor"]["step"].as_u64().unwrap() + 5));
    assert!(!unfinished.exists());
}

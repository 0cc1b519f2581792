//! What fails on the way is a failure: it leaves what is known, and nothing half-written under a final name.

use super::place::{Place, error_of, files};
use std::fs;

/// A limit on the size of files stands for a disk that is full: writing fails in the midst of the record.
#[test]
fn a_record_that_cannot_be_written_ends_the_run_with_a_summary() {
    let place = Place::with_net(("epochs = 2", "epochs = 80"));
    let line = "train net.toml --out out --set record.checkpoint=0 --set record.flight=0";
    let plain = place.command(line);
    let mut limited = std::process::Command::new("sh");
    // Without the trap a signal would end the program.
    limited.current_dir(place.path()).args(["-c", "trap '' XFSZ && ulimit -f 32 && exec \"$@\"", "sh"]);
    limited.arg(plain.get_program()).args(plain.get_args());
    let error = error_of(&limited.output().unwrap(), line, 1, &["out/steps.jsonl: could not be written: ", "help: "]);
    let left = files(&place.path().join("out"));
    assert!(!left.iter().any(|file| file.contains(".part-") || file.ends_with(".safetensors")), "{left:?}");
    let summary: serde_json::Value =
        serde_json::from_slice(&fs::read(place.path().join("out/summary.json")).unwrap()).unwrap();
    assert_eq!(summary["stopped_by"], "failure");
    assert_eq!(format!("error: {}\n", summary["error"].as_str().unwrap()), error);
    assert!(summary["steps"].as_u64().unwrap() > 0, "{summary}");
    place.fails("eval out", 2, &["out/model.safetensors"]);
    place.fails("train --resume out", 2, &["out/checkpoint.safetensors: the run has no checkpoint"]);
}

#[test]
fn an_output_that_takes_nothing_is_a_failure() {
    let place = Place::new();
    let mut command = place.command("keys");
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = command.stdout(full).output().unwrap();
    error_of(&output, "keys > /dev/full", 1, &["standard output: could not be written"]);
}

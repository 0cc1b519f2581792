//! Kernels timed on a device, kept, and taken by runs there.

mod place;

use place::Place;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// One layer: few products, so that a software adapter is soon through.
const LAYERS: (&str, &str) = (
    r#"layers = [{ kind = "linear", out = 8 }, "relu", { kind = "linear", out = 3 }]"#,
    r#"layers = [{ kind = "linear", out = 3 }]"#,
);

/// The number of an adapter; without one the test that asks is skipped, which is a failure where STEEPEST_REQUIRE_GPU is 1.
fn adapter(place: &Place, test: &str) -> Option<u64> {
    let devices: Value = serde_json::from_str(&place.succeeds("devices --json")).unwrap();
    let adapters = devices["adapters"].as_array().unwrap();
    let found = adapters.iter().find(|adapter| adapter["compute"] == true).map(|it| it["index"].as_u64().unwrap());
    if found.is_none() {
        assert!(std::env::var("STEEPEST_REQUIRE_GPU").map_or(true, |value| value != "1"), "{test}: a GPU is required");
        println!("SKIPPED {test}: no adapter");
    }
    found
}

/// Runs the program with a cache in the place.
fn run(place: &Place, line: &str) -> String {
    let output = place.command(line).env("STEEPEST_CACHE_DIR", place.path().join("cache")).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What a run's folder says of its device.
fn environment(place: &Place, folder: &str) -> Value {
    serde_json::from_slice(&fs::read(place.path().join(folder).join("environment.json")).unwrap()).unwrap()
}

#[test]
fn kernels_are_timed_kept_and_taken() {
    let place = Place::with_net(LAYERS);
    let Some(adapter) = adapter(&place, "kernels_are_timed_kept_and_taken") else { return };
    let train = |out: &str, more: &str| {
        run(&place, &format!("train net.toml --device {adapter} --out {out} {more}"));
        environment(&place, out)
    };
    assert_eq!(train("before", "")["device"]["kernels"], "table");

    let found: Value = run(&place, &format!("tune net.toml --device {adapter} --rounds 1 --json")).parse().unwrap();
    let products = found["products"].as_array().unwrap();
    assert!(products.len() >= 2, "{found}");
    for product in products {
        assert!(product["candidates"].as_u64().unwrap() >= 9, "{product}");
        assert_eq!(product["refused"], Value::Array(Vec::new()), "{product}");
        let chosen = &product["chosen"];
        assert!(*chosen == product["table"]["kernel"] || *chosen == product["best"]["kernel"], "{product}");
    }
    let file = PathBuf::from(found["file"].as_str().unwrap());
    let kept: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(kept["choices"].as_object().unwrap().len(), products.len());

    assert_eq!(train("after", "")["device"]["kernels"], "tuned");
    assert_eq!(train("without", "--set device.deterministic=true")["device"]["kernels"], "table");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 10]).unwrap();
    let broken = train("broken", "");
    assert_eq!(broken["device"]["kernels"], "table");
    assert!(broken["device_reason"].as_str().unwrap().contains("is ignored"), "{broken}");
}

#[test]
fn on_the_cpu_there_is_nothing_to_tune() {
    let place = Place::with_net(LAYERS);
    let text = run(&place, "tune net.toml");
    assert!(text.contains("nothing to tune: the CPU has one kernel"), "{text}");
    assert!(!place.path().join("cache").exists());
    place.fails("tune net.toml --rounds 0", 2, &["--rounds: 0 rounds measure nothing"]);
}

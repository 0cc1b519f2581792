//! `steepest inspect` against PyTorch (goldens/inspections.py), and its check of gradients.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use steepest::config::Config;
use steepest::run::weights::{NamedTensor, TensorData, read_tensors, write_tensors};
use steepest::run::{Inspector, Part, check};

const ROWS: std::ops::Range<usize> = 3..10;

/// Name, what is between the linear layers, the smoothing of labels.
const CASES: [(&str, &str, f64); 5] = [
    ("relu", "\"relu\"", 0.0),
    ("tanh", "\"tanh\"", 0.0),
    ("gelu", "\"gelu\"", 0.0),
    ("layer_norm", "\"layer_norm\", \"relu\"", 0.0),
    ("smoothing", "\"tanh\"", 0.1),
];

fn goldens() -> Vec<NamedTensor> {
    read_tensors(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/inspections.safetensors")).unwrap()
}

/// The tensors of a case under `what`, without that prefix.
fn tensors(goldens: &[NamedTensor], case: &str, what: &str) -> Vec<NamedTensor> {
    let prefix = format!("{case}/{what}/");
    let own = goldens.iter().filter_map(|tensor| {
        let name = tensor.name.strip_prefix(&prefix)?.to_owned();
        Some(NamedTensor { name, ..tensor.clone() })
    });
    own.collect()
}

fn toml(layers: &str, smoothing: f64) -> String {
    format!(
        "[data]\nsource = \"digits\"\n[model]\nlayers = [{{ kind = \"linear\", out = 6 }}, {layers}, \
         {{ kind = \"linear\", out = 10 }}]\n[loss]\nlabel_smoothing = {smoothing}\n"
    )
}

/// The config and the weights of a case, in files.
fn files(folder: &Path, case: &str, layers: &str, smoothing: f64) -> (PathBuf, PathBuf) {
    let (config, weights) = (folder.join("net.toml"), folder.join("weights.safetensors"));
    std::fs::write(&config, toml(layers, smoothing)).unwrap();
    write_tensors(&weights, &tensors(&goldens(), case, "weights"), &[]).unwrap();
    (config, weights)
}

fn steepest(config: &Path, weights: &Path, out: &Path, more: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steepest"));
    command.arg("inspect").arg(config).arg("--weights").arg(weights).arg("--out").arg(out).args(more);
    command.output().unwrap()
}

#[test]
fn everything_is_what_pytorch_finds() {
    let goldens = goldens();
    for (case, layers, smoothing) in CASES {
        let folder = tempfile::tempdir().unwrap();
        let (config, weights) = files(folder.path(), case, layers, smoothing);
        let config = Config::from_file(config).unwrap();
        let inspection = steepest::run::inspect(&config, &weights, ROWS, Part::Train).unwrap();
        let out = folder.path().join("g.safetensors");
        inspection.write(&out).unwrap();
        let found: HashMap<String, NamedTensor> =
            read_tensors(&out).unwrap().into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
        let expected = tensors(&goldens, case, "found");
        assert_eq!(found.len(), expected.len(), "{case}: {:?}", found.keys());
        for golden in &expected {
            let own = &found[&golden.name];
            assert_eq!(own.shape, golden.shape, "{case}: {}", golden.name);
            assert!(matches!(own.data, TensorData::F64(_)));
            for (i, (a, b)) in own.data.to_f64().iter().zip(golden.data.to_f64()).enumerate() {
                assert!((a - b).abs() <= 1e-10 * b.abs().max(1.0), "{case}: {}[{i}]: {a} and {b}", golden.name);
            }
        }
    }
}

#[test]
fn the_check_passes_right_gradients_and_finds_a_wrong_one() {
    for (case, layers, smoothing) in CASES {
        let folder = tempfile::tempdir().unwrap();
        let (config, weights) = files(folder.path(), case, layers, smoothing);
        let config = Config::from_file(config).unwrap();
        let mut inspector = Inspector::new(&config, &weights, Part::Train, None).unwrap();
        let inspection = inspector.inspect(ROWS).unwrap();
        let report = check(&mut inspector, &inspection, ROWS, 8).unwrap();
        assert!(report.passes(), "{case}: {:?}", report.worst());
        for tensor in &inspection.gradients {
            assert!(report.entries.iter().any(|entry| entry.name == tensor.name), "{case}: {}", tensor.name);
        }
        // One derivative of each tensor is off by a thousandth of what is usual in its tensor.
        for tensor in 0..inspection.gradients.len() {
            let mut corrupted = inspection.clone();
            let gradient = &mut corrupted.gradients[tensor];
            let usual = (gradient.values.iter().map(|g| g * g).sum::<f64>() / gradient.values.len() as f64).sqrt();
            gradient.values.iter_mut().for_each(|g| *g += 1e-3 * usual.max(g.abs()));
            let name = gradient.name.clone();
            let report = check(&mut inspector, &corrupted, ROWS, 3).unwrap();
            let worst = report.worst().unwrap();
            assert!(!report.passes() && worst.name == name && worst.error > 5e-4, "{case}: {name}: {worst:?}");
        }
        assert_eq!(inspector.inspect(ROWS).unwrap(), inspection, "a check leaves the weights as they are");
    }
}

#[test]
fn the_command_writes_a_file_and_a_summary() {
    let folder = tempfile::tempdir().unwrap();
    let (config, weights) = files(folder.path(), "relu", "\"relu\"", 0.0);
    let out = folder.path().join("g.safetensors");
    let done = steepest(&config, &weights, &out, &["--rows", "3..10", "--check", "4"]);
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{text}{}", String::from_utf8_lossy(&done.stderr));
    assert!(
        text.contains("7 rows of the train part") && text.contains("2.z_grad") && text.contains("worst: "),
        "{text}"
    );
    let done = steepest(&config, &weights, &out, &["--rows", "0..2", "--part", "test", "--check", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&json["part"], &json["check"]["passes"]), (&"test".into(), &true.into()));
    assert_eq!(json["example_grad_norm"].as_array().unwrap().len(), 2);
    assert_eq!(read_tensors(&out).unwrap().len(), 4 + 4 + 2);
}

#[test]
fn what_does_not_fit_is_an_error_of_the_input() {
    let folder = tempfile::tempdir().unwrap();
    let (config, weights) = files(folder.path(), "relu", "\"relu\"", 0.0);
    let out = folder.path().join("g.safetensors");
    for (more, expected) in [
        (&["--rows", "1430..1438"][..], "which has 1437 rows"),
        (&["--rows", "0..2", "--part", "validation"], "no validation part"),
        (&["--rows", "0..2", "--set", "model.layers[0].out=7"], "0.weight expected [7, 64], found [6, 64]"),
        (&["--rows", "0..2", "--device", "cpu", "--check"], "differences need double precision"),
    ] {
        let done = steepest(&config, &weights, &out, more);
        let text = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.code() == Some(2) && text.contains(expected), "{more:?}: {text}");
    }
}

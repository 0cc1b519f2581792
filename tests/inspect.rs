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

#[test]
fn every_instrument_is_shown_and_comes_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let (config, weights) = files(folder.path(), "relu", "\"relu\"", 0.0);
    let out = folder.path().join("g.safetensors");
    let picture = folder.path().join("digits.png");
    let path = picture.to_str().unwrap();
    let all =
        ["--rows", "3..33", "--partials", "3", "--noise", "--worst", "4", "--conflicts", "--input-gradient", path];
    let done = steepest(&config, &weights, &out, &all);
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{text}{}", String::from_utf8_lossy(&done.stderr));
    for expected in [
        "largest partial derivatives",
        "noisiest partial derivatives",
        "460 of 460 parameters were compared",
        "mean SNR",
        "noise of 30 of 1,437 rows",
        "examples with the largest gradients",
        "classes whose gradients conflict most",
        "cosines, layer 2 linear",
        "digits.png",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(std::fs::read(&picture).unwrap().starts_with(b"\x89PNG"));
    let gradients = folder.path().join("inputs");
    let mut all = [&all[..], &["--json"]].concat();
    all[9] = gradients.to_str().unwrap();
    let done = steepest(&config, &weights, &out, &all);
    let json: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    let len = |value: &serde_json::Value| value.as_array().unwrap().len();
    assert_eq!((len(&json["partials"]["largest"]), len(&json["partials"]["layers"])), (3, 2));
    assert_eq!((len(&json["worst"]), json["noise"]["rows"].as_u64()), (4, Some(30)));
    // There is no 8 among these rows.
    assert_eq!((len(&json["conflicts"]["cosines"]), len(&json["input_gradient"])), (9, 31));
    assert!(gradients.join("row-32.png").is_file() && gradients.join("input_gradient.npy").is_file());
}

#[test]
fn what_an_instrument_cannot_do_is_an_error_of_the_input() {
    let folder = tempfile::tempdir().unwrap();
    let (config, weights) = files(folder.path(), "relu", "\"relu\"", 0.0);
    let out = folder.path().join("g.safetensors");
    for (more, expected) in [
        (&["--rows", "1430..1438", "--noise"][..], "which has 1437 rows"),
        (&["--rows", "3..4", "--partials"], "a single row has no variance"),
        (&["--rows", "3..4", "--conflicts"], "all chosen rows are of class"),
        (&["--rows", "3..5", "--worst", "0"], "expected a number ≥ 1"),
        (&["--rows", "3..5", "--device", "cpu", "--partials"], "differences need double precision"),
        (&["--rows", "3..5", "--input-gradient", "x.jpg"], "ends in .png or .npy"),
    ] {
        let done = steepest(&config, &weights, &out, more);
        let text = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.code() == Some(2) && text.contains(expected), "{more:?}: {text}");
        assert!(!out.exists(), "{more:?}: nothing is written");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_steepest"));
    let done = command.arg("inspect").arg(&config).output().unwrap();
    let text = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.code() == Some(2) && text.contains("has no weights"), "{text}");
}

#[test]
fn data_that_are_no_pictures_have_arrays_and_values_have_no_classes() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("net.toml");
    let text = "[data]\nsource = \"linear\"\nexamples = 20\nfeatures = 3\n[model]\nlayers = [{ kind = \"linear\", out = 1 }]\n";
    std::fs::write(&config, text).unwrap();
    let weights = folder.path().join("weights.safetensors");
    let tensor = |name: &str, shape: Vec<usize>, values: &[f64]| NamedTensor {
        name: name.into(),
        shape,
        data: TensorData::F64(values.to_vec()),
    };
    let tensors = [tensor("0.weight", vec![1, 3], &[0.5, -1.0, 2.0]), tensor("0.bias", vec![1], &[0.1])];
    write_tensors(&weights, &tensors, &[]).unwrap();
    let out = folder.path().join("g.safetensors");
    for (more, expected) in [
        (&["--conflicts"][..], "they need a classification"),
        (&["--input-gradient", "x.png"], "examples of shape [3] are no pictures"),
    ] {
        let done = steepest(&config, &weights, &out, more);
        let text = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.code() == Some(2) && text.contains(expected), "{more:?}: {text}");
    }
    let array = folder.path().join("x.npy");
    let done = steepest(&config, &weights, &out, &["--input-gradient", array.to_str().unwrap(), "--worst", "2"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    // ∂(wᵀx + b − t)²/∂x is a multiple of w.
    let bytes = std::fs::read(&array).unwrap();
    let values: Vec<f64> = npyz::NpyFile::new(&bytes[..]).unwrap().into_vec().unwrap();
    assert_eq!(values.len(), 60);
    for row in values.chunks(3) {
        assert!((row[1] / row[0] + 2.0).abs() < 1e-12 && (row[2] / row[0] - 4.0).abs() < 1e-12, "{row:?}");
    }
}

//! The program from outside: what it prints, what it leaves on the disk, and with which code it ends. Whatever is wrong
//! with its input, there is one clear error on standard error, and nothing half-written.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

/// A folder of its own for each test, in which the program runs.
struct Place {
    folder: TempDir,
}

/// Small enough for a test, and it trains.
const NET: &str = r#"
[data]
source = "blobs"
examples = 60
split = 0.2

[model]
layers = [{ kind = "linear", out = 8 }, "relu", { kind = "linear", out = 3 }]

[train]
epochs = 2
batch = 10

[device]
device = "cpu"
"#;

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A folder with `net.toml`, where `change` has replaced text of [`NET`].
    fn with_net(change: (&str, &str)) -> Self {
        assert!(NET.contains(change.0), "{}", change.0);
        let place = Self::new();
        place.write("net.toml", NET.replace(change.0, change.1));
        place
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Runs the program; words are separated by spaces.
    fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_steepest"));
        command.current_dir(self.path()).args(line.split_whitespace()).env_remove("NO_COLOR");
        // Mesa's Vulkan layer for choosing a device looks for a display, and complains on standard error if there is none.
        command.env("NODEVICE_SELECT", "1");
        command
    }

    /// Runs the program, which must succeed, and gives its standard output.
    fn succeeds(&self, line: &str) -> String {
        let output = self.run(line);
        assert_eq!(output.status.code(), Some(0), "{line}\n{}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs the program, which must end with this code and one error that contains all of `expected`; wrong input must
    /// have left no trace. Gives the error.
    fn fails(&self, line: &str, code: i32, expected: &[&str]) -> String {
        let before = files(self.path());
        let error = error_of(&self.run(line), line, code, expected);
        let after = files(self.path());
        assert!(!after.iter().any(|file| file.contains(".part-")), "{line}: {after:?}");
        if code == 2 {
            assert_eq!(before, after, "{line} left something behind");
        }
        error
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn error_of(output: &Output, line: &str, code: i32, expected: &[&str]) -> String {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{line}\n{error}");
    assert_eq!(error.matches("error:").count(), 1, "{line}\n{error}");
    assert!(error.starts_with("error: ") && !error.contains("panicked"), "{line}\n{error}");
    for part in expected {
        assert!(error.contains(part), "{line}: no `{part}` in\n{error}");
    }
    error
}

/// All files and folders below, by their relative paths.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(here) = open.pop() {
        for entry in fs::read_dir(here).unwrap().map(Result::unwrap) {
            found.push(entry.path().strip_prefix(folder).unwrap().display().to_string());
            if entry.path().is_dir() {
                open.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn help_is_there_for_every_command_and_usage_errors_are_2() {
    let place = Place::new();
    for command in ["", "train", "eval", "predict", "inspect", "plan", "devices", "config", "keys"] {
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
fn misspelt_keys_and_wrong_types_are_named() {
    let place = Place::with_net(("epochs = 2", "epocs = 2"));
    place.fails(
        "train net.toml --out out",
        2,
        &["net.toml: train.epocs: there is no key `epocs`", "did you mean `epochs`?"],
    );
    let place = Place::with_net(("epochs = 2", "epochs = \"many\""));
    place.fails(
        "train net.toml --out out",
        2,
        &["net.toml: train.epochs: expected an integer, found the string \"many\""],
    );
    let place = Place::with_net(("[train]", "[trian]"));
    place.fails("train net.toml --out out", 2, &["did you mean `train`?"]);
    let place = Place::with_net(("\"relu\"", "\"rellu\""));
    place.fails("train net.toml --out out", 2, &["model.layers[1]", "`relu`"]);
    let place = Place::with_net(("epochs = 2", "epochs = "));
    place.fails("train net.toml --out out", 2, &["net.toml:11", "no valid TOML"]);
    let place = Place::new();
    place.fails(
        "train --set train.lrr=1 --out out",
        2,
        &["--set: train.lrr: there is no key `lrr`", "did you mean `lr`?"],
    );
    place.fails("train --set train.lr=-1 --out out", 2, &["--set: train.lr: -1 is out of range"]);
}

#[test]
fn a_model_that_does_not_fit_its_data_is_refused() {
    let place = Place::with_net(("out = 3", "out = 7"));
    place.fails("train net.toml --out out", 2, &["7", "3"]);
    let place = Place::with_net(("batch = 10", "batch = 1000"));
    place.fails(
        "train net.toml --out out",
        2,
        &["train.batch: a batch of 1000 is larger than the 48 training examples"],
    );
}

#[test]
fn data_files_that_are_wrong_are_named() {
    let csv = |text: &str| {
        let place = Place::with_net(("source = \"blobs\"\nexamples = 60", "source = \"csv\"\npath = \"data.csv\""));
        place.write("data.csv", text);
        place
    };
    let rows: String = (0..40).map(|i| format!("{i},{},c{}\n", i * 2, i % 3)).collect();
    let good = format!("a,b,class\n{rows}");
    assert!(csv(&good).succeeds("train net.toml --out out").contains("training"));
    let line = "train net.toml --out out";
    let place = csv(&good);
    fs::remove_file(place.path().join("data.csv")).unwrap();
    place.fails(line, 2, &["data.csv"]);
    csv("a,b,class\n").fails(line, 2, &["data.csv", "no rows"]);
    csv("").fails(line, 2, &["data.csv"]);
    csv(&good.replace("\n3,6,", "\n3,NaN,")).fails(line, 2, &["data.csv", "row 4 (line 5), column `b`"]);
    csv(&good.replace("\n3,6,", "\n3,")).fails(line, 2, &["data.csv: line 5 has 2 cells, the header has 3"]);
}

/// An IDX file of bytes.
fn idx(extents: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, extents.len() as u8];
    file.extend(extents.iter().flat_map(|extent| extent.to_be_bytes()));
    file.extend(bytes);
    file
}

#[test]
fn idx_files_that_are_wrong_are_named() {
    let (images, labels) = (idx(&[40, 2, 2], &[7; 160]), idx(&[40], &[0, 1, 2, 0].repeat(10)));
    let place = |images: &[u8], labels: &[u8], test_labels: &[u8]| {
        let place = Place::with_net(("source = \"blobs\"\nexamples = 60", "source = \"idx\"\npath = \"set\""));
        place.write("set/train-images-idx3-ubyte", images);
        place.write("set/train-labels-idx1-ubyte", labels);
        place.write("set/t10k-images-idx3-ubyte", idx(&[2, 2, 2], &[7; 8]));
        place.write("set/t10k-labels-idx1-ubyte", test_labels);
        place
    };
    let (line, good) = ("train net.toml --out out", idx(&[2], &[0, 1]));
    place(&images, &labels, &good).succeeds(line);
    place(&images[..100], &labels, &good).fails(line, 2, &["train-images-idx3-ubyte", "bytes, found 100"]);
    place(b"\x7fELF, not images", &labels, &good).fails(line, 2, &["train-images-idx3-ubyte", "magic number"]);
    place(&images, &idx(&[39], &[1; 39]), &good).fails(line, 2, &["40 images, but 39 labels"]);
    place(&images, &labels, &idx(&[2], &[0, 9])).fails(line, 2, &["3 outputs for 10 classes"]);
    let empty = place(&idx(&[0, 2, 2], &[]), &idx(&[0], &[]), &good);
    empty.fails(line, 2, &["0 rows"]);
    let missing = Place::with_net(("source = \"blobs\"\nexamples = 60", "source = \"idx\"\npath = \"set\""));
    missing.fails(line, 2, &["set", "train-images"]);
}

#[test]
fn devices_that_are_not_there_are_refused() {
    let place = Place::with_net(("\n[device]\ndevice = \"cpu\"\n", ""));
    place.fails("train net.toml --out out --device nosuchdevice", 2, &["`nosuchdevice`", "cpu"]);
    place.fails("train net.toml --out out --device 99", 2, &["99", "cpu"]);
    // A backend of another system: no adapter is found.
    let elsewhere = if cfg!(target_os = "macos") { "dx12" } else { "metal" };
    for device in ["gpu", "0"] {
        let line = format!("train net.toml --out out --device {device}");
        let output = place.command(&line).env("WGPU_BACKEND", elsewhere).output().unwrap();
        error_of(&output, &line, 2, &["no adapter was found", "--device cpu"]);
    }
    let output = place.command("train net.toml --out out").env("WGPU_BACKEND", elsewhere).output().unwrap();
    assert!(text(&output.stdout).contains("there is no GPU"), "auto falls back to the CPU and says why");
    assert!(place.succeeds("devices").contains("--device auto takes"));
    let list: serde_json::Value = serde_json::from_str(&place.succeeds("devices --json")).unwrap();
    assert!(list["adapters"].is_array() && list["auto"]["reason"].is_string(), "{list}");
}

#[test]
fn a_plan_that_does_not_fit_is_refused_with_the_number() {
    let place = Place::with_net(("device = \"cpu\"", "device = \"cpu\"\nmemory_limit = 2000"));
    let error = place.fails("train net.toml --out out", 2, &["2000"]);
    assert!(error.contains("help: "), "{error}");
}

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
    for part in ["cpu (", "layers\n", "update ratio", "scores\n", "accuracy", "model.safetensors"] {
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

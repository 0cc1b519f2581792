//! A folder in which the program runs, is killed, and runs again.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use steepest::config::Config;
use steepest::run::checkpoint::CHECKPOINT_FILE;
use steepest::run::weights::{Tensors, read_tensors};
use tempfile::TempDir;

/// Trains for long enough to be killed on the way, with a short last batch, masks, and a row of the record for several steps.
const NET: &str = r#"
[data]
source = "blobs"
examples = 500
split = 0.2

[model]
layers = [{ kind = "linear", out = 64 }, "relu", { kind = "dropout", p = 0.1 }, { kind = "linear", out = 32 }, "tanh",
  { kind = "linear", out = 3 }]

[train]
epochs = 600
batch = 48

[record]
every = 7
checkpoint = 110
"#;

/// A folder of its own for each test.
pub struct Place {
    folder: TempDir,
}

impl Place {
    /// A folder with `net.toml`, with these settings changed.
    pub fn new(changes: &str) -> Self {
        let mut config = Config::from_toml_str(NET, "net.toml").unwrap();
        config.set("device.device=cpu").unwrap();
        config.set_all(changes.split_whitespace()).unwrap_or_else(|e| panic!("{e}"));
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("net.toml"), config.to_toml()).unwrap();
        Self { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A file as JSON.
    pub fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path().join(name)).unwrap()).unwrap()
    }

    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_steepest"));
        command.current_dir(self.path()).args(line.split_whitespace()).env_remove("NO_COLOR");
        // Mesa's Vulkan layer for choosing a device looks for a display, and complains on standard error if there is none.
        command.env("NODEVICE_SELECT", "1");
        command
    }

    /// Runs the program, which must succeed, and gives its standard output.
    pub fn succeeds(&self, line: &str) -> String {
        let output = self.command(line).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{line}\n{}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs the program, which must refuse its input with one error that contains all of `expected`, and change no file.
    pub fn fails(&self, line: &str, expected: &[&str]) {
        let before = snapshot(self.path());
        let output = self.command(line).output().unwrap();
        refusal(&output, line, expected);
        assert!(snapshot(self.path()) == before, "{line} changed a file");
    }

    /// Runs the program and kills it in the middle, as soon as there is a checkpoint in `run` that was not there before.
    pub fn killed(&self, line: &str, run: &str) {
        let checkpoint = self.path().join(run).join(CHECKPOINT_FILE);
        let before = fs::read(&checkpoint).ok();
        let mut program = self.command(line).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let from = Instant::now();
        while fs::read(&checkpoint).ok() == before {
            assert!(from.elapsed() < Duration::from_secs(60), "{line}: no checkpoint");
            assert!(program.try_wait().unwrap().is_none(), "{line}: it ended\n{}", errors(&mut program));
            std::thread::sleep(Duration::from_millis(1));
        }
        // On Unix this is SIGKILL.
        program.kill().unwrap();
        let status = program.wait().unwrap();
        assert!(!status.success(), "{line}: it was over already");
        assert!(!self.path().join(run).join("summary.json").exists(), "{line}: it was over already");
    }
}

fn errors(program: &mut std::process::Child) -> String {
    use std::io::Read;
    let mut errors = String::new();
    program.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    errors
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Checks that a program refused its input.
pub fn refusal(output: &Output, line: &str, expected: &[&str]) {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{line}\n{error}");
    assert!(error.starts_with("error: ") && error.matches("error:").count() == 1, "{line}\n{error}");
    for part in expected {
        assert!(error.contains(part), "{line}: no `{part}` in\n{error}");
    }
}

/// All files below, with what they hold.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(here) = open.pop() {
        for path in fs::read_dir(here).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }
    found
}

/// What is left of a run, without what depends on the clock.
pub struct Files {
    pub steps: String,
    pub weights: Vec<u8>,
    pub summary: Value,
}

pub fn files_of(run: &Path) -> Files {
    let read = |name: &str| fs::read(run.join(name)).unwrap();
    let mut summary: Value = serde_json::from_slice(&read("summary.json")).unwrap();
    for key in ["seconds", "examples_per_second", "record_waits", "loader_waits"] {
        summary.as_object_mut().unwrap().remove(key).unwrap_or_else(|| panic!("no {key} in {}", run.display()));
    }
    let mut records: Vec<String> =
        fs::read_dir(run).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    records.retain(|name| name.starts_with("steps.") && name.ends_with(".jsonl"));
    records.sort();
    let steps = records.iter().map(|name| text(&read(name))).collect();
    Files { steps, weights: read("model.safetensors"), summary }
}

/// The tensors of a run's checkpoint; texts compare NaN too.
pub fn tensors_of(run: &Path) -> String {
    let tensors: Tensors = read_tensors(&run.join(CHECKPOINT_FILE)).unwrap();
    format!("{tensors:?}")
}

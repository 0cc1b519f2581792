//! The program from outside, for tests: a folder to run it in, and what it may leave there.

// Each test binary uses its own part of this.
#![allow(dead_code)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

/// A folder of its own for each test, in which the program runs.
pub struct Place {
    folder: TempDir,
}

/// Small enough for a test, and it trains.
pub const NET: &str = r#"
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
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A folder with `net.toml`, where `change` has replaced text of [`NET`].
    pub fn with_net(change: (&str, &str)) -> Self {
        assert!(NET.contains(change.0), "{}", change.0);
        let place = Self::new();
        place.write("net.toml", NET.replace(change.0, change.1));
        place
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Runs the program; words are separated by spaces.
    pub fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_steepest"));
        command.current_dir(self.path()).args(line.split_whitespace()).env_remove("NO_COLOR");
        // Mesa's Vulkan layer for choosing a device looks for a display, and complains on standard error if there is none.
        command.env("NODEVICE_SELECT", "1");
        // Whatever was tuned on this machine has no part in tests.
        command.env("STEEPEST_CACHE_DIR", "off");
        command
    }

    /// The program under a limit of address space, in megabytes.
    pub fn limited(&self, line: &str, megabytes: u64) -> Command {
        let plain = self.command(line);
        let mut command = Command::new("sh");
        command.current_dir(self.path()).env("NODEVICE_SELECT", "1").args(["-c", "ulimit -v $0 && exec \"$@\""]);
        command.arg((megabytes * 1000).to_string()).arg(plain.get_program()).args(plain.get_args());
        command
    }

    /// Runs the program, which must succeed, and gives its standard output.
    pub fn succeeds(&self, line: &str) -> String {
        let output = self.run(line);
        assert_eq!(output.status.code(), Some(0), "{line}\n{}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Runs the program, which must end with this code and one error that contains all of `expected`; wrong input must
    /// have left no trace. Gives the error.
    pub fn fails(&self, line: &str, code: i32, expected: &[&str]) -> String {
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

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub fn error_of(output: &Output, line: &str, code: i32, expected: &[&str]) -> String {
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
pub fn files(folder: &Path) -> Vec<String> {
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

//! Reading `steps.jsonl` and `flight.jsonl` back, also those of a run that was killed.

use crate::base::{Error, Result};
use serde::Deserialize;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// The rows of a step record, a column at a time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Steps {
    /// The last step of each row.
    pub step: Vec<u64>,
    /// How many steps each row stands for (1 in `flight.jsonl`).
    pub steps: Vec<u64>,
    /// Epochs done after each row.
    pub epoch: Vec<f64>,
    /// Examples seen after each row.
    pub examples: Vec<u64>,
    /// Steps of each row that had a non-finite value (0 in `flight.jsonl`, whose nulls say it).
    pub non_finite_steps: Vec<u64>,
    /// Why each row was written; only `flight.jsonl` has it.
    pub reason: Vec<String>,
    /// The quantities in the order of the file.
    pub columns: Vec<StepColumn>,
    /// What was ignored: an incomplete last line, as a killed run leaves it.
    pub incomplete: Option<String>,
}

/// A quantity: as many values in each row as the first row had.
#[derive(Clone, Debug, PartialEq)]
pub struct StepColumn {
    /// Its key: `signal`, `signal_min`.
    pub name: String,
    /// Values in a row; 1 for a number.
    pub width: usize,
    /// The values, row after row; NaN for null.
    pub values: Vec<f64>,
}

impl StepColumn {
    /// The values of a row.
    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.width..(row + 1) * self.width]
    }
}

impl Steps {
    /// How many rows.
    pub fn len(&self) -> usize {
        self.step.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.step.is_empty()
    }

    /// The column with this key.
    pub fn column(&self, name: &str) -> Option<&StepColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    fn push(&mut self, line: Line) -> Result<(), String> {
        if self.step.is_empty() {
            for (name, value) in &line.quantities {
                let width = value.as_array().map_or(1, Vec::len);
                self.columns.push(StepColumn { name: name.clone(), width, values: Vec::new() });
            }
        }
        if line.quantities.len() != self.columns.len() {
            return Err(format!("{} columns, the first row has {}", line.quantities.len(), self.columns.len()));
        }
        for (column, (name, value)) in self.columns.iter_mut().zip(&line.quantities) {
            let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            if *name != column.name || values.len() != column.width {
                return Err(format!(
                    "`{name}` with {} values, where the first row has `{}` with {}",
                    values.len(),
                    column.name,
                    column.width
                ));
            }
            for value in values {
                match (value.as_f64(), value.is_null()) {
                    (Some(x), _) => column.values.push(x),
                    (None, true) => column.values.push(f64::NAN),
                    (None, false) => return Err(format!("`{name}` has {value}, which is no number")),
                }
            }
        }
        self.step.push(line.step);
        self.steps.push(line.steps);
        self.epoch.push(line.epoch.unwrap_or(f64::NAN));
        self.examples.push(line.examples);
        self.non_finite_steps.push(line.non_finite_steps);
        self.reason.extend(line.reason);
        Ok(())
    }
}

#[derive(Deserialize)]
struct Line {
    step: u64,
    #[serde(default = "one")]
    steps: u64,
    epoch: Option<f64>,
    examples: u64,
    #[serde(default)]
    non_finite_steps: u64,
    reason: Option<String>,
    #[serde(flatten)]
    quantities: serde_json::Map<String, Value>,
}

fn one() -> u64 {
    1
}

/// Reads `steps.jsonl` or `flight.jsonl`. A last line without its newline is what a killed run leaves: it is ignored, and
/// [`Steps::incomplete`] says so.
///
/// # Errors
/// The file cannot be read, or a complete line is no row like the first.
pub fn read_steps(path: &Path) -> Result<Steps> {
    let mut steps = Steps::default();
    let rest = for_each_line(path, |number, text| {
        let line = serde_json::from_slice(text).map_err(|e| e.to_string());
        line.and_then(|line| steps.push(line)).map(|()| true).map_err(|message| {
            Error::input(format!("{}: line {number}", path.display()), format!("no row of a step record: {message}"))
        })
    })?;
    if rest.incomplete_bytes > 0 {
        steps.incomplete = Some(format!(
            "{}: the last line is incomplete ({} bytes) and was ignored: the run was killed while it wrote",
            path.display(),
            rest.incomplete_bytes
        ));
    }
    Ok(steps)
}

/// The rows of a file up to a step: what is left when it is cut there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Prefix {
    /// How many rows.
    pub rows: u64,
    /// How many bytes.
    pub bytes: u64,
}

impl Prefix {
    /// The rows of steps up to `last_step`. A file that does not exist has none.
    ///
    /// # Errors
    /// The file cannot be read, or a complete line is no row.
    pub fn find(path: &Path, last_step: u64) -> Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            step: u64,
        }
        let mut prefix = Self::default();
        if !path.exists() {
            return Ok(prefix);
        }
        for_each_line(path, |number, text| {
            let head: Head = serde_json::from_slice(text).map_err(|e| {
                Error::input(format!("{}: line {number}", path.display()), format!("no row of a step record: {e}"))
            })?;
            if head.step > last_step {
                return Ok(false);
            }
            prefix.rows += 1;
            prefix.bytes += text.len() as u64 + 1;
            Ok(true)
        })?;
        Ok(prefix)
    }

    /// Cuts the file so that nothing else is left, for a run to append to it. A file that does not exist is left so.
    ///
    /// # Errors
    /// The file cannot be cut.
    pub fn cut(self, path: &Path) -> Result<()> {
        if !path.exists() {
            return Ok(());
        }
        let file = File::options().write(true).open(path).map_err(|e| unreadable(path, &e))?;
        file.set_len(self.bytes).map_err(|e| Error::failure(path.display(), format!("could not be cut: {e}")))
    }
}

struct Rest {
    incomplete_bytes: usize,
}

/// Calls `each(line number, line without newline)` for each complete line until it gives false.
fn for_each_line(path: &Path, mut each: impl FnMut(usize, &[u8]) -> Result<bool>) -> Result<Rest> {
    let mut file = BufReader::new(File::open(path).map_err(|e| unreadable(path, &e))?);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        file.read_until(b'\n', &mut line).map_err(|e| unreadable(path, &e))?;
        match line.strip_suffix(b"\n") {
            None => break,
            Some(text) => {
                if !each(number, text)? {
                    line.clear();
                    break;
                }
            }
        }
    }
    Ok(Rest { incomplete_bytes: line.len() })
}

fn unreadable(path: &Path, e: &std::io::Error) -> Error {
    Error::input(path.display(), format!("could not be read: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str = "{\"step\":1,\"steps\":1,\"epoch\":0.5,\"examples\":8,\"non_finite_steps\":0,\"loss\":1.5,\"signal\":[1.0,null]}\n\
                        {\"step\":3,\"steps\":2,\"epoch\":1.5,\"examples\":24,\"non_finite_steps\":1,\"loss\":null,\"signal\":[2.0,3.0]}\n";

    fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("steps.jsonl");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn columns_are_read_and_a_torn_last_line_is_ignored_aloud() {
        let (_folder, path) = file(ROWS);
        let whole = read_steps(&path).unwrap();
        assert_eq!(
            (whole.len(), &whole.step[..], &whole.steps[..], &whole.incomplete),
            (2, &[1, 3][..], &[1, 2][..], &None)
        );
        assert_eq!(whole.column("signal").unwrap().row(1), [2.0, 3.0]);
        assert!(whole.column("signal").unwrap().row(0)[1].is_nan() && whole.column("loss").unwrap().values[1].is_nan());
        for cut in 1..ROWS.lines().next().unwrap().len() {
            let (_folder, path) = file(&ROWS[..ROWS.len() - cut]);
            let torn = read_steps(&path).unwrap();
            assert_eq!(torn.step, [1]);
            assert!(torn.incomplete.unwrap().contains("incomplete"), "{cut}");
        }
        let (_folder, path) = file("");
        assert!(read_steps(&path).unwrap().is_empty());
    }

    #[test]
    fn a_broken_line_is_an_error_with_its_number() {
        for (broken, message) in [
            ("{\"step\":5\n", "EOF"),
            ("{\"step\":5,\"epoch\":1,\"examples\":1,\"loss\":1.0}\n", "1 columns"),
            ("{\"step\":5,\"epoch\":1,\"examples\":1,\"loss\":1.0,\"signal\":[1.0]}\n", "1 values"),
            ("{\"step\":5,\"epoch\":1,\"examples\":1,\"loss\":\"x\",\"signal\":[1.0,2.0]}\n", "no number"),
        ] {
            let (_folder, path) = file(&format!("{ROWS}{broken}"));
            let error = read_steps(&path).unwrap_err().to_string();
            assert!(error.contains("line 3") && error.contains(message), "{error}");
        }
    }

    #[test]
    fn a_file_is_cut_after_a_step() {
        for (last_step, rows) in [(0, 0), (1, 1), (2, 1), (3, 2), (9, 2)] {
            let (_folder, path) = file(&format!("{ROWS}{{\"step\":"));
            let prefix = Prefix::find(&path, last_step).unwrap();
            assert_eq!(prefix.rows, rows);
            prefix.cut(&path).unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(text.lines().count() as u64, rows);
            assert!(ROWS.starts_with(&text));
        }
        let nowhere = Path::new("/nowhere/steps.jsonl");
        let prefix = Prefix::find(nowhere, 1).unwrap();
        assert_eq!(prefix, Prefix::default());
        prefix.cut(nowhere).unwrap();
    }
}

//! What a benchmark of a device says: a list of cells that another report can be held against.

use crate::base::{Error, Result};
use crate::study::timing::median;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What the first key of every report says. Another number at its end means that cells are measured in another way.
pub const FORMAT: &str = "steepest-bench-1";

/// A table of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// Products of square matrices in f32.
    Products,
    /// Passes over memory.
    Memory,
    /// Training steps of fixed networks.
    Steps,
    /// The same with more and less that is measured.
    Statistics,
    /// Work that is as little as there can be.
    Latency,
}

/// One measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Its table.
    pub group: Group,
    /// What it is, unique in its table.
    pub name: String,
    /// Seconds of one go: the median of rounds, of products and memory the least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Floating-point operations in 10⁹ a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gflops: Option<f64>,
    /// Bytes read and written in 10⁹ a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gbytes_per_second: Option<f64>,
    /// Steps a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps_per_second: Option<f64>,
    /// Examples a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examples_per_second: Option<f64>,
    /// The median of the rounds' ratios of its time to that of a step that measures nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// Why it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

impl Cell {
    /// A cell that is yet to be filled.
    pub(super) fn new(group: Group, name: impl Into<String>) -> Self {
        Self {
            group,
            name: name.into(),
            seconds: None,
            gflops: None,
            gbytes_per_second: None,
            steps_per_second: None,
            examples_per_second: None,
            ratio: None,
            skipped: None,
        }
    }

    /// The cell with the time of one go, and the speed of that many operations and bytes.
    pub(super) fn took(mut self, seconds: f64, flops: Option<f64>, bytes: Option<f64>) -> Self {
        self.seconds = Some(seconds);
        self.gflops = flops.map(|flops| flops / seconds / 1e9);
        self.gbytes_per_second = bytes.map(|bytes| bytes / seconds / 1e9);
        self
    }

    /// The cell with the median time of a step in some rounds, and that of its ratio to the steps without statistics of the same rounds.
    pub(super) fn beside(self, seconds: &[f64], off: &[f64]) -> Self {
        let ratios = seconds.iter().zip(off).map(|(own, off)| own / off).collect();
        Self { ratio: Some(median(ratios)), ..self.took(median(seconds.to_vec()), None, None) }
    }

    /// The cell, not measured.
    pub(super) fn skip(mut self, why: impl Into<String>) -> Self {
        self.skipped = Some(why.into());
        self
    }
}

/// Where it was measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// The version of this program.
    pub steepest: String,
    /// When, in UTC.
    pub started_utc: String,
    /// `cpu`, or the adapter's name.
    pub device: String,
    /// `discrete`, `integrated`, `virtual`, `software`, `cpu`.
    pub kind: String,
    /// `vulkan`, `metal`, `dx12`, `gl`, `cpu`.
    pub backend: String,
    /// The driver and its version; of a CPU the instruction sets in use.
    pub driver: String,
    /// The scalar type.
    pub precision: String,
    /// Threads of a CPU executor.
    pub threads: Option<usize>,
    /// The system.
    pub os: String,
    /// The architecture.
    pub arch: String,
    /// The CPU of the machine, where the system tells.
    pub cpu: Option<String>,
    /// Cores that the system gives this program.
    pub cores: Option<usize>,
}

/// What a device can do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: String,
    /// Where.
    pub environment: Environment,
    /// Whether it was measured in a hurry.
    pub quick: bool,
    /// The measurements, table by table.
    pub cells: Vec<Cell>,
    /// How many of them were skipped.
    pub skipped: usize,
    /// How long all of it took.
    pub seconds: f64,
}

impl Report {
    /// A report from its file.
    ///
    /// # Errors
    /// The file cannot be read, is no report, or one of another format.
    pub fn read(path: &Path) -> Result<Self> {
        let wrong = |message: String| {
            Err(Error::input(path.display(), message)
                .help("give a file that `steepest bench --out FILE` or `--json` wrote with this version"))
        };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return wrong(format!("the report cannot be read: {error}")),
        };
        let value: serde_json::Value = match serde_json::from_str(&text) {
            Ok(value) => value,
            Err(error) => return wrong(format!("expected a report in JSON: {error}")),
        };
        match value.get("format").and_then(|format| format.as_str()) {
            Some(FORMAT) => {}
            Some(other) => return wrong(format!("expected the format {FORMAT}, found {other}")),
            None => return wrong(format!("expected a report with \"format\": \"{FORMAT}\", found none")),
        }
        match serde_json::from_value::<Self>(value) {
            Ok(report) if report.cells.iter().all(|cell| cell.seconds.is_none_or(|s| s.is_finite() && s > 0.0)) => {
                Ok(report)
            }
            Ok(_) => wrong("expected times above 0".into()),
            Err(error) => wrong(format!("expected a whole report of the format {FORMAT}: {error}")),
        }
    }

    /// The cell of this table and name.
    pub fn find(&self, group: Group, name: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.group == group && cell.name == name)
    }

    /// How many times as fast as in the other report each cell is; none where one of them has it not.
    pub fn against(&self, other: &Self) -> Vec<Option<f64>> {
        let ratio = |cell: &Cell| Some(other.find(cell.group, &cell.name)?.seconds? / cell.seconds?);
        self.cells.iter().map(ratio).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(cells: Vec<Cell>) -> Report {
        let environment = Environment::default();
        Report { format: FORMAT.into(), environment, quick: true, skipped: 0, seconds: 1.0, cells }
    }

    #[test]
    fn speeds_follow_from_times() {
        let cell = Cell::new(Group::Products, "8").took(0.5, Some(2e9), Some(4e9));
        assert_eq!((cell.gflops, cell.gbytes_per_second, cell.seconds), (Some(4.0), Some(8.0), Some(0.5)));
    }

    /// Load that comes and goes meets both in a round, so that ratios are told from rounds, not from medians.
    #[test]
    fn ratios_are_those_of_rounds() {
        let cell = Cell::new(Group::Statistics, "full").beside(&[3.0, 8.0, 30.0], &[2.0, 4.0, 20.0]);
        assert_eq!((cell.seconds, cell.ratio, cell.gflops), (Some(8.0), Some(1.5), None));
    }

    #[test]
    fn cells_are_compared_with_those_of_their_table_and_name() {
        let cell = |group, name: &str, seconds| Cell::new(group, name).took(seconds, None, None);
        let here = report(vec![
            cell(Group::Steps, "small", 2.0),
            cell(Group::Statistics, "small", 3.0),
            Cell::new(Group::Steps, "large").skip("slow"),
            cell(Group::Latency, "x", 1.0),
        ]);
        let there = report(vec![
            cell(Group::Statistics, "small", 6.0),
            cell(Group::Steps, "small", 1.0),
            cell(Group::Steps, "large", 1.0),
        ]);
        assert_eq!(here.against(&there), [Some(0.5), Some(2.0), None, None]);
    }

    #[test]
    fn a_report_is_read_as_it_was_written_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bench.json");
        let written = report(vec![Cell::new(Group::Memory, "copy").took(0.1, None, Some(1e9))]);
        let text = serde_json::to_string(&written).unwrap();
        std::fs::write(&path, &text).unwrap();
        assert_eq!(Report::read(&path).unwrap(), written);
        for (from, to, expected) in [
            (text.as_str(), "[1,", "expected a report in JSON"),
            (&text, "{}", "found none"),
            ("bench-1", "bench-9", "found steepest-bench-9"),
            ("\"cells\"", "\"sells\"", "missing field `cells`"),
            ("0.1", "-0.1", "expected times above 0"),
        ] {
            std::fs::write(&path, text.replace(from, to)).unwrap();
            let error = Report::read(&path).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(expected), "{error}");
            assert!(error.to_string().contains("bench.json"), "{error}");
        }
    }
}

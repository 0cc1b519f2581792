//! All settings of a run, each defined once: its type, default, range and documentation.
//!
//! What the rest of the crate gets are plain typed structs. Reading, writing, overrides, errors that name the nearest valid
//! word, and the reference of all keys are derived from the definitions. This room imports only the ground floor.

mod data;
mod difference;
mod edit;
mod group;
mod keys;
mod model;
mod nearest;
mod optimizer;
mod output;
mod probes;
mod setting;
#[cfg(test)]
mod tests;
mod train;
mod units;

pub use data::{ClassWeights, Data, Names, Resident, Source, Standardize, Task};
pub use difference::Difference;
pub use keys::{Key, When, keys, reference};
pub use model::{Approximate, Init, Layer, LinearInit, Model};
pub use nearest::nearest;
pub use optimizer::Optimizer;
pub use output::{Auto, Device, Record, Rhythm, Validate, Verdicts};
pub use probes::{Preset, Probes, Timing};
pub use setting::Range;
pub use train::{
    Adaptive, AdaptiveRate, Batch, Criterion, Loss, LossKind, LossScale, Piece, PlateauOf, PowerOfTwo, Precision,
    Reduction, Schedule, Train,
};
pub use units::{Bytes, Span};

use crate::base::{Error, Result};
use group::{Group, Section, default, read, section};
use setting::{Detail, inline};
use std::path::Path;
use toml::{Table, Value};

section! {
    /// All settings of a run.
    pub struct Config {
        /// What the run is called; the name of the config file if not set.
        name: String = default(String::new());
        /// Where the examples come from and how they are prepared.
        data: Data = Section;
        /// The layers, in the order in which they are applied, and how their parameters start.
        model: Model = Section;
        /// What is minimized.
        loss: Loss = Section;
        /// How the loss is minimized, and when that ends.
        train: Train = Section;
        /// How the model is judged on the validation part.
        validate: Validate = Section;
        /// What is said of a run, and what ends it.
        verdicts: Verdicts = Section;
        /// What is written down.
        record: Record = Section;
        /// What is measured of the gradients, and when; `steepest probes` lists what there is. Steps count from 1.
        probes: Probes = Section;
        /// Where it runs.
        device: Device = Section;
    }
}

/// The example that needs no file.
const DIGITS: &str = r#"
name = "digits"

[data]
source = "digits"
split = 0.1

[model]
layers = [{ kind = "linear", out = 128 }, "relu", { kind = "linear", out = 64 }, "relu", { kind = "linear", out = 10 }]

[train]
epochs = 30
batch = 32
optimizer = "adam"
lr = 0.003
"#;

impl Config {
    /// Reads a config from TOML. Errors name the file, and the run is called after it unless the text names it.
    pub fn from_toml_str(text: &str, file_name: &str) -> Result<Self> {
        let table = text.parse::<Table>().map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            Error::input(format!("{file_name}:{line}"), error.message().trim()).help("this is no valid TOML")
        })?;
        let stem = Path::new(file_name).file_stem().map_or("run".into(), |stem| stem.to_string_lossy());
        Self::from_table(table, &stem).map_err(|error| error.within(file_name))
    }

    /// Reads a config from a file. Relative paths to data start from its folder, and become absolute, so that a copy of the
    /// config elsewhere means the same.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let place = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::input(&place, format!("the config cannot be read: {error}"))
                .help("give a TOML file; `steepest config > net.toml` writes one to start from")
        })?;
        let mut config = Self::from_toml_str(&text, &place)?;
        let absolute = std::path::absolute(path)
            .map_err(|error| Error::failure(&place, format!("its folder cannot be told: {error}")))?;
        if let Some(folder) = absolute.parent() {
            config.rebase(folder);
        }
        Ok(config)
    }

    /// Makes relative paths to data start from this folder.
    pub fn rebase(&mut self, folder: &Path) {
        self.data.rebase(folder);
    }

    /// The example that needs no file: handwritten digits, three linear layers, Adam.
    pub fn builtin_digits() -> Self {
        Self::from_toml_str(DIGITS, "digits.toml").expect("the built-in config is valid, as a test shows")
    }

    /// The whole config as TOML, defaults too: read again, it gives an equal one.
    pub fn to_toml(&self) -> String {
        write(&self.to_table(Detail::Full))
    }

    /// Only what differs from the defaults, as TOML: read again, it gives an equal config.
    pub fn to_toml_changed(&self) -> String {
        write(&self.to_table(Detail::Changed))
    }

    /// Whether everything is in range and fits together, for a config that was changed in code.
    pub fn check(&self) -> Result<()> {
        Self::from_table(self.to_table(Detail::Full), &self.name).map(|_| ())
    }

    fn to_table(&self, detail: Detail) -> Table {
        let mut table = Table::new();
        self.put(&mut table, detail);
        table
    }

    fn from_table(table: Table, default_name: &str) -> Result<Self> {
        let mut config: Self = read(Value::Table(table), "")?;
        if config.name.is_empty() {
            config.name = default_name.to_owned();
        }
        // The run's folder bears the name.
        if config.name.trim().is_empty() || matches!(config.name.as_str(), "." | "..") {
            return Err(Error::input("name", format!("\"{}\" cannot name a folder", config.name)));
        }
        if let Some(bad) = config.name.chars().find(|c| c.is_control() || r#"/\:*?"<>|"#.contains(*c)) {
            return Err(Error::input("name", format!("{bad:?} cannot be part of the name of a folder")));
        }
        config.data.check()?;
        config.model.check()?;
        config.train.check()?;
        config.device.check()?;
        Ok(config)
    }
}

/// As [`Config::to_toml`] has it, in any format.
impl serde::Serialize for Config {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_table(Detail::Full).serialize(serializer)
    }
}

/// TOML with a header for each section, and values in one line, but for long lists.
fn write(table: &Table) -> String {
    let (sections, plain): (Vec<_>, Vec<_>) = table.iter().partition(|(_, value)| value.is_table());
    let mut text: String = plain.into_iter().map(|(key, value)| line(key, value)).collect();
    for (name, section) in sections {
        text.push_str(&format!("\n[{name}]\n"));
        text.extend(section.as_table().into_iter().flatten().map(|(key, value)| line(key, value)));
    }
    text
}

/// A key and its value; a long list has a line for each entry.
fn line(key: &str, value: &Value) -> String {
    const LENGTH_MAX: usize = 100;
    let flat = format!("{key} = {}\n", inline(value));
    match value {
        Value::Array(entries) if flat.chars().count() > LENGTH_MAX => {
            let entries: String = entries.iter().map(|entry| format!("    {},\n", inline(entry))).collect();
            format!("{key} = [\n{entries}]\n")
        }
        _ => flat,
    }
}

//! Data sets with a fault, as files: numpy arrays of what a healthy config loads, scaled or shifted.

use crate::base::{Error, Result};
use crate::config::Config;
use crate::data::{Dataset, Targets};
use crate::run::load;
use npyz::{AutoSerialize, WriterBuilder};
use std::path::{Path, PathBuf};

/// What is done to a data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Alteration {
    /// All features times this.
    Scale(f64),
    /// This added to all features.
    Shift(f64),
    /// Every eighth feature, from the second on, times this.
    Spread(f64),
    /// Targets that are values, times this.
    Targets(f64),
    /// This added to targets that are values.
    ShiftTargets(f64),
}

impl Alteration {
    fn feature(self, column: usize, x: f64) -> f32 {
        let altered = match self {
            Self::Scale(by) => by * x,
            Self::Shift(by) => x + by,
            Self::Spread(by) if column % 8 == 1 => by * x,
            Self::Spread(_) | Self::Targets(_) | Self::ShiftTargets(_) => x,
        };
        // What is read has to be finite; it need not stay so.
        altered.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
    }

    fn target(self, t: f64) -> f64 {
        match self {
            Self::Targets(by) => by * t,
            Self::ShiftTargets(by) => t + by,
            _ => t,
        }
    }
}

/// Writes the data of a healthy config, altered, into `folder`, and names it in the config. The order of the rows is kept, so
/// the parts are those of the healthy config.
///
/// # Errors
/// If the data cannot be loaded or the files not be written.
pub(super) fn alter(config: &mut Config, alteration: Alteration, folder: &Path) -> Result<()> {
    let mut whole = config.clone();
    whole.set_all(["data.split=0", "data.test_split=0"])?;
    let splits = load(&whole)?;
    std::fs::create_dir_all(folder).map_err(|error| Error::failure(folder.display(), error))?;
    let train = folder.join("x.npy");
    write(&splits.train, alteration, &train)?;
    let task = match splits.train.targets() {
        Targets::Classes { .. } => "classification",
        Targets::Values { .. } => "regression",
    };
    let quoted = |path: &Path| toml::Value::String(path.display().to_string()).to_string();
    let mut changes =
        vec!["data.source=npy".to_owned(), format!("data.path={}", quoted(&train)), format!("data.task={task}")];
    if let Some(test) = &splits.test {
        let path = folder.join("test_x.npy");
        write(test, alteration, &path)?;
        changes.push(format!("data.test_path={}", quoted(&path)));
    }
    config.set_all(changes)
}

fn write(data: &Dataset, alteration: Alteration, path: &Path) -> Result<()> {
    let columns = data.features() as u64;
    let rows = data.len() as u64;
    let x = data.x().indexed_iter().map(|((_, column), &x)| alteration.feature(column, f64::from(x)));
    array(path, &[rows, columns], x)?;
    let beside: PathBuf = path.with_file_name(
        path.file_name().map_or("y.npy".into(), |name| name.to_string_lossy().replace("x.npy", "y.npy")),
    );
    match data.targets() {
        Targets::Classes { labels, .. } => array(&beside, &[rows], labels.iter().map(|&label| i64::from(label))),
        Targets::Values { values, width } => {
            let values = values.iter().map(|&t| alteration.target(f64::from(t)) as f32);
            array(&beside, &[rows, *width as u64], values)
        }
    }
}

fn array<T: AutoSerialize>(path: &Path, shape: &[u64], values: impl Iterator<Item = T>) -> Result<()> {
    let mut bytes = Vec::new();
    let write = || -> std::io::Result<()> {
        let mut writer = npyz::WriteOptions::new().default_dtype().shape(shape).writer(&mut bytes).begin_nd()?;
        writer.extend(values)?;
        writer.finish()?;
        std::fs::write(path, &bytes)
    };
    write().map_err(|error| Error::failure(path.display(), error))
}

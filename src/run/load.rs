//! From settings to data: the source that a config names, loaded, split and scaled.

use crate::base::{Error, Result};
use crate::config::{self, Config};
use crate::data::{
    Blobs, Circles, CsvSource, IdxSource, Linear, NpyPair, NpySource, NpzSource, Prepare, Quadratic, Scaling, Source,
    Spirals, Splits, Task, Teacher,
};
use std::path::Path;

/// Loads the data of a config.
///
/// # Errors
/// If a file is missing or malformed, or the parts do not fit: the error names the file, row and column.
pub fn load(config: &Config) -> Result<Splits> {
    let data = &config.data;
    let seed = config.train.seed;
    let splits = source(&data.source)?.load(seed)?;
    let scaling = match data.standardize {
        config::Standardize::None => Scaling::None,
        config::Standardize::Center => Scaling::Center,
        config::Standardize::Standardize => Scaling::Standardize,
    };
    let test = if splits.test.is_some() { 0.0 } else { data.test_split };
    splits.prepare(&Prepare { validation: data.split, test, scaling }, seed)
}

/// A quarter of the training examples again, to test: what synthetic sources draw.
fn test_examples(examples: usize) -> usize {
    examples.div_ceil(4)
}

fn source(source: &config::Source) -> Result<Source> {
    use config::Source as S;
    Ok(match source {
        S::Digits => Source::Digits,
        S::Idx { path } => Source::Idx(IdxSource::folder(path)),
        S::Csv { path, test_path, target, ignore, task } => {
            let target = match target {
                Some(target) => target.clone(),
                None => last_column(path)?,
            };
            Source::Csv(CsvSource {
                test: test_path.clone(),
                task: task_of(*task),
                ignore: ignore.clone(),
                ..CsvSource::new(path, target)
            })
        }
        S::Npy { path, test_path, target, task } => npy(path, test_path.as_deref(), target.as_deref(), task_of(*task)),
        S::Spirals { examples, noise } => Source::Spirals(Spirals {
            examples: *examples,
            test: test_examples(*examples),
            noise: *noise,
            ..Spirals::default()
        }),
        S::Circles { examples, noise } => Source::Circles(Circles {
            examples: *examples,
            test: test_examples(*examples),
            noise: *noise,
            ..Circles::default()
        }),
        S::Blobs { examples, features, classes, noise } => Source::Blobs(Blobs {
            examples: *examples,
            test: test_examples(*examples),
            classes: *classes,
            features: *features,
            spread: *noise,
            ..Blobs::default()
        }),
        S::Linear { examples, features, noise, condition } => Source::Linear(Linear {
            examples: *examples,
            test: test_examples(*examples),
            features: *features,
            noise: *noise,
            condition: condition.unwrap_or(1.0),
            ..Linear::default()
        }),
        S::Quadratic { examples, features, noise, condition, spectrum } => {
            let spectrum = spectrum.clone().unwrap_or_else(|| geometric(*features, condition.unwrap_or(1.0)));
            let repeats = examples.div_ceil(spectrum.len().max(1)).max(1);
            Source::Quadratic(Quadratic { spectrum, repeats, noise: *noise, ..Quadratic::default() })
        }
        S::Teacher { examples, features, classes, noise } => Source::Teacher(Teacher {
            examples: *examples,
            test: test_examples(*examples),
            features: *features,
            outputs: classes.unwrap_or(1),
            task: if classes.is_some() { Task::Classification } else { Task::Regression },
            noise: *noise,
            ..Teacher::default()
        }),
    })
}

fn task_of(task: config::Task) -> Option<Task> {
    match task {
        config::Task::Auto => None,
        config::Task::Classification => Some(Task::Classification),
        config::Task::Regression => Some(Task::Regression),
    }
}

/// Eigenvalues from 1 down to 1/condition, spaced geometrically.
fn geometric(n: usize, condition: f64) -> Vec<f64> {
    let last = (n.max(2) - 1) as f64;
    (0..n).map(|i| condition.powf(-(i as f64) / last)).collect()
}

/// An npz file, or `x.npy` with `y.npy` beside it.
fn npy(path: &Path, test: Option<&Path>, target: Option<&str>, task: Option<Task>) -> Source {
    if path.extension().is_some_and(|extension| extension == "npz") {
        let mut source = NpzSource { task, ..NpzSource::new(path) };
        if let Some(target) = target {
            source.y = target.to_owned();
        }
        return Source::Npz(source);
    }
    let pair = NpyPair::beside;
    Source::Npy(NpySource { train: pair(path), test: test.map(pair), task, divisor: 1.0 })
}

fn last_column(path: &Path) -> Result<String> {
    let place = path.display();
    let mut reader = csv::Reader::from_path(path).map_err(|error| Error::input(&place, error))?;
    let header = reader.headers().map_err(|error| Error::input(&place, error))?;
    header.iter().next_back().map(str::to_owned).ok_or_else(|| Error::input(&place, "the file has no header"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spectra_are_geometric() {
        assert_eq!(geometric(3, 100.0), [1.0, 0.1, 0.01]);
        assert_eq!(geometric(1, 5.0), [1.0]);
    }
}

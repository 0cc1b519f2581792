//! From settings to data: the source that a config names, loaded, split and scaled.

use crate::base::{Error, Result};
use crate::config::{self, Config, Piece, PlateauOf, Rhythm};
use crate::data::{
    Blobs, Circles, CsvSource, FolderSource, IdxSource, Linear, NpyPair, NpySource, NpzSource, Plane, Prepare,
    Quadratic, Scaling, Source, Spirals, Splits, Task, Teacher,
};
use std::path::Path;

/// Loads the data of a config. Where labels are numbers in a file, there are as many classes as the model has outputs, if it
/// has several: a label beyond them is an error.
///
/// # Errors
/// If a file is missing or malformed, or the parts do not fit: the error names the file, row and column.
pub fn load(config: &Config) -> Result<Splits> {
    let data = &config.data;
    let seed = config.train.seed;
    let classes = config.model.outputs().filter(|&outputs| outputs > 1);
    let splits = source(&data.source, classes)?.load_on(seed, config.device.threads.unwrap_or(0))?;
    let scaling = match data.standardize {
        config::Standardize::None => Scaling::None,
        config::Standardize::Center => Scaling::Center,
        config::Standardize::Standardize => Scaling::Standardize,
    };
    let test = if splits.test.is_some() { 0.0 } else { data.test_split };
    let splits = splits.prepare(&Prepare { validation: data.split, test, scaling }, seed)?;
    if config.validate.patience.is_some() && splits.validation.is_none() {
        let error = Error::input("validate.patience", "there is no validation part to have patience with");
        return Err(error.help("set data.split, or leave validate.patience out"));
    }
    check_plateau(config, splits.validation.is_some())?;
    Ok(splits)
}

/// A plateau of the validation loss needs validations.
fn check_plateau(config: &Config, has_validation: bool) -> Result<()> {
    let watches = |piece: &Piece| matches!(piece, Piece::Plateau { of: PlateauOf::Validation, .. });
    if !config.train.schedule.pieces.iter().any(watches) {
        return Ok(());
    }
    let why = match (has_validation, config.validate.every) {
        (false, _) => "there is no validation part whose loss a plateau could be one of",
        (true, Rhythm::Never) => "a plateau of the validation loss needs validations, and validate.every is 0",
        (true, _) => return Ok(()),
    };
    Err(Error::input("train.schedule", why)
        .help("set data.split and validate.every, or watch the training loss: of = \"train\""))
}

/// A quarter of the training examples again, to test: what synthetic sources draw.
fn test_examples(examples: usize) -> usize {
    examples.div_ceil(4)
}

fn source(source: &config::Source, classes: Option<usize>) -> Result<Source> {
    use config::Source as S;
    Ok(match source {
        S::Digits => Source::Digits,
        S::Idx { path } => Source::Idx(IdxSource { classes, ..IdxSource::folder(path) }),
        S::Folder { path, test_path } => Source::Folder(FolderSource { path: path.clone(), test: test_path.clone() }),
        S::Csv { path, test_path, target, ignore, categorical, delimiter, task } => Source::Csv(CsvSource {
            path: path.clone(),
            test: test_path.clone(),
            targets: target.0.clone(),
            task: task_of(*task),
            ignore: ignore.clone(),
            categorical: categorical.clone(),
            delimiter: *delimiter,
        }),
        S::Npy { path, test_path, target, task } => {
            npy(path, test_path.as_deref(), target.as_deref(), task_of(*task), classes)?
        }
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
        S::Plane { examples, noise } => Source::Plane(Plane { examples: *examples, noise: *noise }),
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
fn npy(
    path: &Path,
    test: Option<&Path>,
    target: Option<&str>,
    task: Option<Task>,
    classes: Option<usize>,
) -> Result<Source> {
    if path.extension().is_some_and(|extension| extension == "npz") {
        let mut source = NpzSource { test: test.map(Path::to_owned), task, classes, ..NpzSource::new(path) };
        if let Some(target) = target {
            source.y = target.to_owned();
        }
        return Ok(Source::Npz(source));
    }
    if let Some(target) = target {
        let message = format!("`{target}` names an array of an npz file, and {} is none", path.display());
        return Err(
            Error::input("data.target", message).help("leave it out: targets lie in a file beside the features")
        );
    }
    let pair = NpyPair::beside;
    Ok(Source::Npy(NpySource { train: pair(path), test: test.map(pair), task, classes, divisor: 1.0 }))
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

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

#[cfg(test)]
mod tests {
    use super::super::{Architecture, Fault, Kind, SEVERITIES, Set, cases};
    use super::*;

    /// A part's features and targets that are values, as f64.
    fn numbers(data: &Dataset) -> [Vec<f64>; 2] {
        let Targets::Values { values, .. } = data.targets() else { panic!("targets are values") };
        [data.values(), values].map(|values| values.iter().map(|&x| f64::from(x)).collect())
    }

    /// What a data set's features and targets become by an alteration, in the training part and the validation part.
    fn before_and_after(alteration: Alteration) -> Vec<[[Vec<f64>; 2]; 2]> {
        let one = Architecture { hidden: 1, width: 24, activation: "relu", data: "linear", optimizer: "sgd" };
        let folder = tempfile::tempdir().unwrap();
        let config = one.config(3).unwrap();
        let mut altered = config.clone();
        alter(&mut altered, alteration, folder.path()).unwrap();
        let [before, after] = [&config, &altered].map(|config| load(config).unwrap());
        let parts =
            [(&before.train, &after.train), (before.validation.as_ref().unwrap(), after.validation.as_ref().unwrap())];
        parts.map(|(before, after)| [numbers(before), numbers(after)]).to_vec()
    }

    /// Holds that features x in a column of eight become `feature(column, x)` and targets t `target(t)`, within the rounding to f32.
    fn expect(alteration: Alteration, feature: impl Fn(usize, f64) -> f64, target: impl Fn(f64) -> f64) {
        let is_near = |found: f64, expected: f64| (found - expected).abs() <= 1e-6 * expected.abs();
        for [[x, t], [x_after, t_after]] in before_and_after(alteration) {
            assert!(x.len() == x_after.len() && t.len() == t_after.len() && x.len() == 8 * t.len() && !t.is_empty());
            for (i, (&x, &found)) in x.iter().zip(&x_after).enumerate() {
                assert!(is_near(found, feature(i % 8, x)), "{alteration:?}, feature {i}: {x} became {found}");
            }
            for (i, (&t, &found)) in t.iter().zip(&t_after).enumerate() {
                assert!(is_near(found, target(t)), "{alteration:?}, target {i}: {t} became {found}");
            }
        }
    }

    #[test]
    fn features_or_targets_are_scaled_or_shifted_and_the_others_stay() {
        expect(Alteration::Scale(300.0), |_, x| 300.0 * x, |t| t);
        expect(Alteration::Shift(30.0), |_, x| x + 30.0, |t| t);
        expect(Alteration::Spread(100.0), |column, x| if column == 1 { 100.0 * x } else { x }, |t| t);
        expect(Alteration::Targets(1e-3), |_, x| x, |t| 1e-3 * t);
        expect(Alteration::ShiftTargets(300.0), |_, x| x, |t| t + 300.0);
    }

    /// Each fault of the data is done to what its name says.
    #[test]
    fn faults_of_the_data_are_alterations_of_their_kind() {
        let mut seen = [0; 5];
        for case in cases(Set::Scored, 48, 1).unwrap() {
            let Kind::Faulty { fault, .. } = case.kind else { continue };
            let alteration = case.altered.as_ref().map(|(alteration, _)| *alteration);
            let (place, by) = match (fault, alteration) {
                (Fault::InputScale, Some(Alteration::Scale(by))) => (0, by),
                (Fault::InputShift, Some(Alteration::Shift(by))) => (1, by),
                (Fault::InputSpread, Some(Alteration::Spread(by))) => (2, by),
                (Fault::TargetScale, Some(Alteration::Targets(by))) => (3, by),
                (Fault::TargetShift, Some(Alteration::ShiftTargets(by))) => (4, by),
                (Fault::InputScale | Fault::InputShift | Fault::InputSpread, None) => {
                    panic!("{}: no data", case.name())
                }
                (Fault::TargetScale | Fault::TargetShift, None) => panic!("{}: no data", case.name()),
                (_, None) => continue,
                other => panic!("{}: {other:?}", case.name()),
            };
            assert!(by >= 30.0 || by <= 1e-3, "{}: by {by}", case.name());
            seen[place] += 1;
        }
        assert!(seen.iter().all(|&count| count >= SEVERITIES), "{seen:?}");
    }
}

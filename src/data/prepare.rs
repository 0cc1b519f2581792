//! What happens to a data set before training: rows held out, features scaled.

use super::{RowSource, Splits};
use crate::base::{Error, Result, Stream, StreamId, permutation};
use serde::{Deserialize, Serialize};

/// What is done to each feature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scaling {
    /// Nothing.
    #[default]
    None,
    /// Its mean over the training part is taken away.
    Center,
    /// Centered, and divided by its standard deviation over the training part.
    Standardize,
}

/// How a data set is prepared.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Prepare {
    /// The fraction of the training part that is held out for validation, in [0, 1).
    pub validation: f64,
    /// The fraction of the training part that is held out for a test, in [0, 1); for sources with no test part of their own.
    pub test: f64,
    /// What is done to each feature. It is fitted on what is left of the training part.
    pub scaling: Scaling,
}

/// The divisions of `rows` into training, validation and test part: indices, each part in ascending order.
///
/// Of the permutation of the rows that `StreamId::Split` of `seed` gives, the first `round(rows · validation)` rows are
/// validation, the next `round(rows · test)` test, the others training (halves round away from zero). A fraction above 0
/// takes at least one row.
///
/// # Errors
/// A fraction outside [0, 1), or no row left to train on.
pub fn split_rows(rows: usize, validation: f64, test: f64, seed: u64) -> Result<[Vec<u32>; 3]> {
    for (key, fraction) in [("validation", validation), ("test", test)] {
        if !(0.0..1.0).contains(&fraction) {
            return Err(Error::input(key, format!("the fraction {fraction} is not in [0, 1)")));
        }
    }
    let count = |fraction: f64| if fraction > 0.0 { ((rows as f64 * fraction).round() as usize).max(1) } else { 0 };
    let (validation, test) = (count(validation), count(test));
    if validation + test >= rows {
        let message =
            format!("holding out {validation} to validate and {test} to test of {rows} rows leaves none to train on");
        return Err(Error::input("data.split", message).help("make data.split or data.test_split smaller"));
    }
    let mut order = permutation(rows, &mut Stream::new(seed, StreamId::Split));
    let mut train = order.split_off(validation + test);
    let mut test = order.split_off(validation);
    // Ascending, so that each part reads like the source with rows left out; the order of training is another matter.
    [&mut train, &mut order, &mut test].into_iter().for_each(|part| part.sort_unstable());
    Ok([train, order, test])
}

impl Splits {
    /// Holds rows out and scales features. A known optimum is computed anew from what is left of the training part.
    ///
    /// # Errors
    /// Fractions that do not fit (see [`split_rows`]), a test fraction for a source that has a test part, a validation
    /// fraction for one that has a validation part; least squares that are no longer unique.
    pub fn prepare(mut self, how: &Prepare, seed: u64) -> Result<Self> {
        for (key, fraction, part) in [("validation", how.validation, &self.validation), ("test", how.test, &self.test)]
        {
            if fraction > 0.0 && part.is_some() {
                return Err(Error::input(
                    key,
                    format!("the data has a {key} part of its own, so none can be held out"),
                )
                .help(format!("leave `{key}` out")));
            }
        }
        if how.validation > 0.0 || how.test > 0.0 {
            let [train, validation, test] = split_rows(self.train.len(), how.validation, how.test, seed)?;
            if !validation.is_empty() {
                self.validation = Some(self.train.subset(&validation)?);
            }
            if !test.is_empty() {
                self.test = Some(self.train.subset(&test)?);
            }
            self.train = self.train.subset(&train)?;
        }
        if how.scaling != Scaling::None {
            let standardizer = Standardizer::fit(how.scaling, &self.train)?;
            self.train = self.train.map_rows(|row| standardizer.apply(row))?;
            for part in [&mut self.validation, &mut self.test] {
                *part = part.take().map(|data| data.map_rows(|row| standardizer.apply(row))).transpose()?;
            }
            self.preprocessing.standardizer = Some(standardizer);
        }
        if let Some(optimum) = &self.optimum {
            self.optimum = Some(super::Optimum::of(&self.train, optimum.bias.is_some())?);
        }
        Ok(self)
    }
}

/// Mean and standard deviation of each feature, as they were in the training part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standardizer {
    /// What is taken away from each feature.
    mean: Vec<f64>,
    /// What each feature is divided by afterwards.
    std: Vec<f64>,
}

impl Standardizer {
    /// Fits to all rows of `source`: mean, and with [`Scaling::Standardize`] the population standard deviation (divided by
    /// the number of rows), in f64. A feature that is the same in every row keeps a divisor of 1, as all do otherwise.
    ///
    /// # Errors
    /// A row cannot be had.
    pub fn fit(scaling: Scaling, source: &dyn RowSource) -> Result<Self> {
        let (rows, features) = (source.rows() as f64, source.features());
        let (mut mean, mut std) = (vec![0.0; features], vec![1.0; features]);
        if scaling == Scaling::None {
            return Ok(Self { mean, std });
        }
        // A sum of equal numbers divided by their count can miss them by a rounding, so constants are found by comparison.
        let (mut low, mut high) = (vec![f32::INFINITY; features], vec![f32::NEG_INFINITY; features]);
        for_each_row(source, |row| {
            for (feature, &x) in row.iter().enumerate() {
                mean[feature] += f64::from(x);
                low[feature] = low[feature].min(x);
                high[feature] = high[feature].max(x);
            }
        })?;
        for feature in 0..features {
            let constant = low[feature] == high[feature];
            mean[feature] = if constant { f64::from(low[feature]) } else { mean[feature] / rows };
        }
        if scaling == Scaling::Standardize {
            let mut variance = vec![0.0; features];
            for_each_row(source, |row| {
                for (feature, &x) in row.iter().enumerate() {
                    variance[feature] += (f64::from(x) - mean[feature]).powi(2);
                }
            })?;
            for feature in (0..features).filter(|&feature| low[feature] < high[feature]) {
                std[feature] = (variance[feature] / rows).sqrt();
            }
        }
        Ok(Self { mean, std })
    }

    /// How many features it was fitted to.
    pub fn features(&self) -> usize {
        self.mean.len()
    }

    /// What is taken away from each feature.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// What each feature is divided by.
    pub fn std(&self) -> &[f64] {
        &self.std
    }

    /// Scales one row in place: (x − mean) / std in f64, rounded once.
    ///
    /// # Panics
    /// If the row has another number of features.
    pub fn apply(&self, row: &mut [f32]) {
        assert_eq!(row.len(), self.features(), "as many features as were fitted");
        for ((x, mean), std) in row.iter_mut().zip(&self.mean).zip(&self.std) {
            *x = ((f64::from(*x) - mean) / std) as f32;
        }
    }

    /// Whether it fits rows of this many features, and is sound: it may come from a file.
    pub(super) fn check(&self, place: &str, features: usize) -> Result<()> {
        if self.mean.len() != features || self.std.len() != features {
            let fitted = self.features();
            return Err(Error::input(place, format!("{features} features, the standardizer was fitted to {fitted}")));
        }
        if self.mean.iter().any(|v| !v.is_finite()) || self.std.iter().any(|v| !(v.is_finite() && *v > 0.0)) {
            return Err(Error::input(place, "the standardizer holds a mean or deviation that cannot be"));
        }
        Ok(())
    }
}

/// Calls `visit` with each row, in order, reading blocks of rows.
fn for_each_row(source: &dyn RowSource, mut visit: impl FnMut(&[f32])) -> Result<()> {
    const BLOCK: usize = 256;
    let (rows, features) = (source.rows(), source.features());
    let mut indices = Vec::with_capacity(BLOCK);
    let mut block = vec![0.0; BLOCK * features];
    for first in (0..rows).step_by(BLOCK) {
        indices.clear();
        indices.extend(first as u32..(first + BLOCK).min(rows) as u32);
        let block = &mut block[..indices.len() * features];
        source.fill_rows(&indices, block)?;
        block.chunks_exact(features).for_each(&mut visit);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Dataset, Targets};
    use super::*;
    use ndarray::Array2;

    fn data(rows: usize) -> Dataset {
        // Three features: the row, a constant that is no short binary fraction, and a square.
        let x = Array2::from_shape_fn((rows, 3), |(i, j)| [i as f32, 0.1, (i * i) as f32][j]);
        Dataset::new("d", x, Targets::Values { values: (0..rows).map(|v| v as f32).collect(), width: 1 }).unwrap()
    }

    #[test]
    fn a_split_is_exact_disjoint_complete_and_seeded() {
        let [train, validation, test] = split_rows(101, 0.2, 0.1, 5).unwrap();
        assert_eq!((train.len(), validation.len(), test.len()), (71, 20, 10));
        let mut all = [train.clone(), validation.clone(), test].concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..101));
        assert!(validation.is_sorted() && validation != (0..20).collect::<Vec<_>>());
        assert_eq!(split_rows(101, 0.2, 0.1, 5).unwrap()[1], validation);
        assert_ne!(split_rows(101, 0.2, 0.1, 6).unwrap()[1], validation);
        assert_eq!(split_rows(10, 0.25, 0.0, 1).unwrap().map(|part| part.len()), [7, 3, 0], "a half rounds up");
        assert_eq!(split_rows(10, 0.001, 0.0, 1).unwrap()[1].len(), 1);
        assert!(split_rows(10, 0.6, 0.5, 1).is_err() && split_rows(10, 1.0, 0.0, 1).is_err());
        assert!(split_rows(10, f64::NAN, 0.0, 1).is_err() && split_rows(1, 0.5, 0.0, 1).is_err());
    }

    #[test]
    fn scaling_is_fitted_on_the_training_part_only() {
        let how = Prepare { validation: 0.25, test: 0.0, scaling: Scaling::Standardize };
        let splits = Splits::new("d", data(400), None).unwrap().prepare(&how, 3).unwrap();
        let (train, validation) = (&splits.train, splits.validation.as_ref().unwrap());
        assert_eq!((train.len(), validation.len()), (300, 100));
        let moments = |data: &Dataset, j: usize| {
            let column = || data.x().column(j).into_iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
            let mean = column().iter().sum::<f64>() / data.len() as f64;
            (mean, (column().iter().map(|v| (v - mean).powi(2)).sum::<f64>() / data.len() as f64).sqrt())
        };
        for feature in [0, 2] {
            let (mean, std) = moments(train, feature);
            assert!(mean.abs() < 1e-6 && (std - 1.0).abs() < 1e-6, "feature {feature}: {mean} {std}");
            assert!(moments(validation, feature).0.abs() > 1e-4, "the validation part must not have been fitted");
        }
        assert!(train.x().column(1).iter().all(|&v| v == 0.0), "a constant feature becomes exactly 0");
        let standardizer = splits.preprocessing.standardizer.unwrap();
        assert_eq!(standardizer.std()[1], 1.0);
        // The targets still tell which row is which: the rows moved with them.
        let mut row = [validation.one_hot()[7], 0.1, validation.one_hot()[7].powi(2)];
        standardizer.apply(&mut row);
        assert_eq!(validation.row(7), row);
    }

    #[test]
    fn centering_leaves_the_scale_and_none_leaves_all() {
        let centered = Standardizer::fit(Scaling::Center, &data(5)).unwrap();
        assert!((centered.mean()[0] - 2.0).abs() < 1e-15 && centered.std() == [1.0; 3]);
        let none = Standardizer::fit(Scaling::None, &data(5)).unwrap();
        assert!(none.mean() == [0.0; 3] && none.std() == [1.0; 3]);
        let text = serde_json::to_string(&centered).unwrap();
        assert_eq!(serde_json::from_str::<Standardizer>(&text).unwrap(), centered);
    }

    #[test]
    fn a_part_that_is_there_cannot_be_held_out_again() {
        let how = Prepare { test: 0.1, ..Prepare::default() };
        let error = Splits::new("d", data(10), Some(data(5))).unwrap().prepare(&how, 1).unwrap_err().to_string();
        assert!(error.contains("has a test part of its own"));
    }
}

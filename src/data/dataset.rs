//! A data set in memory: rows of features, a target for each.

use crate::base::{Error, Result, is_finite_f32};
use ndarray::Array2;

/// What the targets of a data set are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Class labels.
    Classification,
    /// Real numbers.
    Regression,
}

/// What is to be predicted, a row for each example.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// A class for each example.
    Classes {
        /// The label of each row, below `classes`.
        labels: Vec<u32>,
        /// How many classes there are; one that never occurs counts as well.
        classes: usize,
    },
    /// Real numbers for each example.
    Values {
        /// `[rows, width]`, row-major.
        values: Vec<f32>,
        /// How many numbers a row has.
        width: usize,
    },
}

impl Targets {
    /// How many rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes { labels, .. } => labels.len(),
            Self::Values { values, width } => values.len() / (*width).max(1),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many outputs a model of these targets has: the number of classes, or of values in a row.
    pub fn width(&self) -> usize {
        match self {
            Self::Classes { classes, .. } => *classes,
            Self::Values { width, .. } => *width,
        }
    }

    /// Classification or regression.
    pub fn task(&self) -> Task {
        match self {
            Self::Classes { .. } => Task::Classification,
            Self::Values { .. } => Task::Regression,
        }
    }

    fn subset(&self, rows: &[u32]) -> Self {
        match self {
            Self::Classes { labels, classes } => {
                Self::Classes { labels: rows.iter().map(|&r| labels[r as usize]).collect(), classes: *classes }
            }
            Self::Values { values, width } => Self::Values {
                values: rows.iter().flat_map(|&r| &values[r as usize * width..][..*width]).copied().collect(),
                width: *width,
            },
        }
    }

    pub(super) fn check(&self, name: &str, rows: usize) -> Result<()> {
        match self {
            Self::Classes { labels, classes } => {
                if let Some(row) = labels.iter().position(|&label| label as usize >= *classes) {
                    let label = labels[row];
                    return Err(Error::input(
                        name,
                        format!("row {row} (from 0): label {label}, with {classes} classes"),
                    )
                    .help(format!("labels go from 0 to {}", classes.saturating_sub(1))));
                }
            }
            Self::Values { values, width } => {
                if *width == 0 || !values.len().is_multiple_of(*width) {
                    return Err(Error::input(name, format!("{} target values in rows of {width}", values.len())));
                }
                if let Some(at) = values.iter().position(|&v| !is_finite_f32(v)) {
                    return Err(Error::input(
                        name,
                        format!(
                            "row {}, target {} (both from 0): {} is not finite",
                            at / width,
                            at % width,
                            values[at]
                        ),
                    ));
                }
            }
        }
        if self.len() != rows {
            return Err(Error::input(name, format!("{rows} rows of features, but {} targets", self.len())));
        }
        Ok(())
    }
}

/// Examples in memory. What it holds was checked: at least one row, finite features and targets, labels in range.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    name: String,
    x: Array2<f32>,
    targets: Targets,
    sample_shape: Vec<usize>,
    feature_names: Option<Vec<String>>,
    class_names: Option<Vec<String>>,
}

impl Dataset {
    /// A data set of `x`, `[rows, features]`, and its targets; `name` is for errors and reports.
    ///
    /// # Errors
    /// No row or no feature; 2³² rows or more; a feature or target that is not finite; a label out of range; another
    /// number of targets than of rows.
    pub fn new(name: impl Into<String>, x: Array2<f32>, targets: Targets) -> Result<Self> {
        let name = name.into();
        let (rows, features) = x.dim();
        if rows == 0 || features == 0 {
            return Err(Error::input(
                name,
                format!("{rows} rows of {features} features: there is nothing to learn from"),
            ));
        }
        if u32::try_from(rows).is_err() {
            return Err(Error::input(name, format!("{rows} rows, at most {} are possible", u32::MAX)));
        }
        if let Some(((row, column), value)) = x.indexed_iter().find(|(_, v)| !is_finite_f32(**v)) {
            return Err(Error::input(name, format!("row {row}, column {column} (both from 0): {value} is not finite"))
                .help("mend the value or leave the row out: one such number makes every gradient non-finite"));
        }
        targets.check(&name, rows)?;
        let x = if x.is_standard_layout() { x } else { x.as_standard_layout().into_owned() };
        Ok(Self { name, x, targets, sample_shape: vec![features], feature_names: None, class_names: None })
    }

    /// The same with a shape of one example, such as `[8, 8]` for pictures.
    ///
    /// # Errors
    /// The shape has another number of elements than a row has features.
    pub fn with_sample_shape(mut self, shape: &[usize]) -> Result<Self> {
        if shape.iter().product::<usize>() != self.features() {
            let features = self.features();
            return Err(Error::input(
                self.name,
                format!("a row has {features} features, the shape {shape:?} does not"),
            ));
        }
        self.sample_shape = shape.to_vec();
        Ok(self)
    }

    /// The same with a name for each feature.
    ///
    /// # Errors
    /// Another number of names than of features.
    pub fn with_feature_names(mut self, names: Vec<String>) -> Result<Self> {
        if names.len() != self.features() {
            let features = self.features();
            return Err(Error::input(self.name, format!("{} names for {features} features", names.len())));
        }
        self.feature_names = Some(names);
        Ok(self)
    }

    /// The same with a name for each class.
    ///
    /// # Errors
    /// Another number of names than of classes, or targets that are not classes.
    pub fn with_class_names(mut self, names: Vec<String>) -> Result<Self> {
        match &self.targets {
            Targets::Classes { classes, .. } if *classes == names.len() => self.class_names = Some(names),
            Targets::Classes { classes, .. } => {
                return Err(Error::input(self.name, format!("{} names for {classes} classes", names.len())));
            }
            Targets::Values { .. } => return Err(Error::input(self.name, "class names for targets that are values")),
        }
        Ok(self)
    }

    /// Changes each row's features in place.
    ///
    /// # Errors
    /// A feature is not finite afterwards.
    pub(super) fn map_rows(mut self, mut change: impl FnMut(&mut [f32])) -> Result<Self> {
        let features = self.features();
        let values = self.x.as_slice_mut().expect("the constructor made the layout row-major");
        values.chunks_exact_mut(features).for_each(&mut change);
        if let Some(at) = values.iter().position(|&v| !is_finite_f32(v)) {
            let (row, column) = (at / features, at % features);
            return Err(Error::input(
                self.name,
                format!("row {row}, column {column} (both from 0): not finite when scaled"),
            ));
        }
        Ok(self)
    }

    /// What it is called in errors and reports.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many examples.
    #[expect(clippy::len_without_is_empty, reason = "a data set is never empty")]
    pub fn len(&self) -> usize {
        self.x.nrows()
    }

    /// How many features an example has.
    pub fn features(&self) -> usize {
        self.x.ncols()
    }

    /// The features, `[rows, features]`, row-major.
    pub fn x(&self) -> &Array2<f32> {
        &self.x
    }

    /// All features as one slice, row after row.
    pub fn values(&self) -> &[f32] {
        self.x.as_slice().expect("the constructor made the layout row-major")
    }

    /// The features of one example.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values()[row * self.features()..][..self.features()]
    }

    /// The targets.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// How many outputs a model of this data has: the number of classes, or of values in a row.
    pub fn target_width(&self) -> usize {
        self.targets.width()
    }

    /// The shape of one example; its product is [`Dataset::features`].
    pub fn sample_shape(&self) -> &[usize] {
        &self.sample_shape
    }

    /// The name of each feature, where the source has names.
    pub fn feature_names(&self) -> Option<&[String]> {
        self.feature_names.as_deref()
    }

    /// The name of each class, where the source has names.
    pub fn class_names(&self) -> Option<&[String]> {
        self.class_names.as_deref()
    }

    /// The rows with these indices, in this order; an index may occur more than once.
    ///
    /// # Errors
    /// No index, or one that is no row.
    pub fn subset(&self, rows: &[u32]) -> Result<Self> {
        if let Some(row) = rows.iter().find(|&&row| row as usize >= self.len()) {
            return Err(Error::input(&self.name, format!("row {row} of {}", self.len())));
        }
        let values = rows.iter().flat_map(|&row| self.row(row as usize)).copied().collect();
        let x = Array2::from_shape_vec((rows.len(), self.features()), values).expect("whole rows");
        let checked = Self::new(self.name.clone(), x, self.targets.subset(rows))?;
        Ok(Self {
            sample_shape: self.sample_shape.clone(),
            feature_names: self.feature_names.clone(),
            class_names: self.class_names.clone(),
            ..checked
        })
    }

    /// The targets as real numbers, `[rows, target_width]` row-major: labels as rows of zeros with a one, values as they are.
    pub fn one_hot(&self) -> Vec<f32> {
        match &self.targets {
            Targets::Classes { labels, classes } => {
                let mut hot = vec![0.0; labels.len() * classes];
                for (row, &label) in hot.chunks_exact_mut(*classes).zip(labels) {
                    row[label as usize] = 1.0;
                }
                hot
            }
            Targets::Values { values, .. } => values.clone(),
        }
    }

    /// How many examples each class has; empty for values.
    pub fn class_counts(&self) -> Vec<usize> {
        let Targets::Classes { labels, classes } = &self.targets else { return Vec::new() };
        let mut counts = vec![0; *classes];
        labels.iter().for_each(|&label| counts[label as usize] += 1);
        counts
    }

    /// Class weights that give every class the same say: rows / (classes that occur · rows of the class), 0 for a class
    /// that does not occur. Their mean over the rows is 1. Empty for values.
    pub fn balanced_class_weights(&self) -> Vec<f64> {
        let counts = self.class_counts();
        let present = counts.iter().filter(|&&count| count > 0).count() as f64;
        let weight = |count: usize| if count == 0 { 0.0 } else { self.len() as f64 / (present * count as f64) };
        counts.into_iter().map(weight).collect()
    }

    /// The weight of each row that follows from a weight for each class.
    ///
    /// # Errors
    /// Another number of weights than of classes, a weight that is negative or not finite, or targets that are values.
    pub fn row_weights(&self, class_weights: &[f64]) -> Result<Vec<f64>> {
        let Targets::Classes { labels, classes } = &self.targets else {
            return Err(Error::input("data.class_weights", "the targets are values, not classes"));
        };
        if class_weights.len() != *classes {
            let message = format!("{} weights for {classes} classes", class_weights.len());
            return Err(Error::input("data.class_weights", message));
        }
        if let Some(class) = class_weights.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
            let weight = class_weights[class];
            let message = format!("class {class} has weight {weight}, it must be finite and not negative");
            return Err(Error::input("data.class_weights", message));
        }
        Ok(labels.iter().map(|&label| class_weights[label as usize]).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn small() -> Dataset {
        let x = array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]];
        Dataset::new("small", x, Targets::Classes { labels: vec![0, 2, 2], classes: 3 }).unwrap()
    }

    #[test]
    fn a_subset_takes_rows_and_targets_in_the_order_asked_for() {
        let part = small().subset(&[2, 0, 2]).unwrap();
        assert_eq!(part.values(), [5.0, 6.0, 1.0, 2.0, 5.0, 6.0]);
        assert_eq!(part.targets(), &Targets::Classes { labels: vec![2, 0, 2], classes: 3 });
        assert!(small().subset(&[3]).unwrap_err().to_string().contains("row 3 of 3"));
        assert!(small().subset(&[]).is_err());
        let values = Targets::Values { values: vec![1.0, 2.0, 3.0, 4.0], width: 2 };
        let data = Dataset::new("v", array![[0.0], [1.0]], values).unwrap().subset(&[1]).unwrap();
        assert_eq!(data.targets(), &Targets::Values { values: vec![3.0, 4.0], width: 2 });
    }

    #[test]
    fn one_hot_counts_and_weights_follow_the_labels() {
        let data = small();
        assert_eq!(data.one_hot(), [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
        assert_eq!(data.class_counts(), [1, 0, 2]);
        assert_eq!(data.balanced_class_weights(), [1.5, 0.0, 0.75]);
        assert_eq!(data.row_weights(&data.balanced_class_weights()).unwrap(), [1.5, 0.75, 0.75]);
        assert!(data.row_weights(&[1.0, 1.0]).is_err() && data.row_weights(&[1.0, -1.0, 1.0]).is_err());
    }

    #[test]
    fn bad_data_is_refused_with_its_place() {
        let new = |x, targets| Dataset::new("d", x, targets).unwrap_err().to_string();
        let classes = |labels: &[u32]| Targets::Classes { labels: labels.to_vec(), classes: 2 };
        assert!(new(array![[0.0, 1.0], [2.0, f32::NAN]], classes(&[0, 1])).contains("row 1, column 1"));
        assert!(new(array![[0.0], [1.0]], classes(&[0, 2])).contains("row 1 (from 0): label 2, with 2 classes"));
        assert!(new(array![[0.0], [1.0]], classes(&[0])).contains("2 rows of features, but 1 targets"));
        assert!(new(Array2::zeros((0, 3)), classes(&[])).contains("0 rows"));
        let values = Targets::Values { values: vec![0.0, f32::INFINITY], width: 1 };
        assert!(new(array![[0.0], [1.0]], values).contains("row 1, target 0"));
        assert!(small().with_sample_shape(&[2, 2]).is_err() && small().with_class_names(vec![]).is_err());
    }
}

//! `[data]`: where the examples come from and how they are prepared.

use super::group::{Flat, choice, default, kinds, required, section};
use super::setting::{Detail, Range, Setting, wrong_type};
use crate::base::{Error, Result};
use std::path::{Path, PathBuf};
use toml::Value;

section! {
    /// Where the examples come from and how they are prepared.
    pub struct Data {
        /// The source of the examples.
        source: Source = Flat;
        /// The fraction of the training part that is set aside for validation.
        split: f64 = default(0.0).within(Range::BELOW_1);
        /// The fraction of the training part that is set aside for the test, for sources without a test part of their own.
        test_split: f64 = default(0.0).within(Range::BELOW_1);
        /// What is done to each feature, with statistics of the training part.
        standardize: Standardize = default(Standardize::None);
        /// The weight of each class in the loss: `"none"` for 1 each, `"balanced"` for the inverse of how often the class
        /// occurs, or a list with a weight for each class.
        class_weights: ClassWeights = default(ClassWeights::None).within(Range::NON_NEGATIVE);
        /// Whether all examples stay in device memory; `"auto"` keeps them there where they fit.
        resident: Resident = default(Resident::Auto);
    }
}

kinds! {
    /// The source of the examples.
    pub enum Source by "source", default Some("digits") => {
        /// Handwritten digits of 8 by 8 pixels in ten classes, built in.
        Digits = "digits",
        /// A folder with the four IDX files of MNIST and its kin, gzipped or not.
        Idx = "idx" {
            /// The folder. A relative path starts from the folder of the config file.
            path: PathBuf = required();
        },
        /// Pictures in PNG files, all of one size, in a folder for each class: `DIR/cat/1.png`, `DIR/dog/2.png`. Grey ones are
        /// examples of shape [height, width]; if one is in colour all are [3, height, width]. Numbers lie in [0, 1] whatever the
        /// bit depth; alpha is dropped.
        Folder = "folder" {
            /// The folder with the folders of classes. A relative path starts from the folder of the config file.
            path: PathBuf = required();
            /// A folder of the same form with the examples of the test part.
            test_path: Option<PathBuf> = default(None);
        },
        /// A CSV file with a header.
        Csv = "csv" {
            /// The file with the examples. A relative path starts from the folder of the config file.
            path: PathBuf = required();
            /// A file with the examples of the test part.
            test_path: Option<PathBuf> = default(None);
            /// The column to predict, or a list of columns of numbers; the last column if not set.
            target: Names = default(Names::default());
            /// Columns that are left out.
            ignore: Vec<String> = default(Vec::new());
            /// Columns that are categories although cells of them are numbers.
            categorical: Vec<String> = default(Vec::new());
            /// What separates cells.
            delimiter: char = default(',');
            /// Whether the target is a class or a value.
            task: Task = default(Task::Auto);
        },
        /// Numpy arrays: `x.npy` with its targets beside it in `y.npy` (`train_x.npy` in `train_y.npy`), or an npz file with
        /// arrays `x` and `y`, and perhaps `x_test` and `y_test`. Targets that are whole numbers are classes.
        Npy = "npy" {
            /// The file with the examples. A relative path starts from the folder of the config file.
            path: PathBuf = required();
            /// A file of the same form with the examples of the test part.
            test_path: Option<PathBuf> = default(None);
            /// The array of an npz file to predict; `y` if not set.
            target: Option<String> = default(None);
            /// Whether the target is a class or a value.
            task: Task = default(Task::Auto);
        },
        /// Two spirals in the plane, wound around each other: 2 classes.
        Spirals = "spirals" {
            /// How many examples.
            examples: usize = default(1000).within(Range::AT_LEAST_1);
            /// The standard deviation of the noise.
            noise: f64 = default(0.1).within(Range::NON_NEGATIVE);
        },
        /// Two circles in the plane, one inside the other: 2 classes.
        Circles = "circles" {
            /// How many examples.
            examples: usize = default(1000).within(Range::AT_LEAST_1);
            /// The standard deviation of the noise.
            noise: f64 = default(0.1).within(Range::NON_NEGATIVE);
        },
        /// A normal distribution around a random centre for each class.
        Blobs = "blobs" {
            /// How many examples.
            examples: usize = default(1000).within(Range::AT_LEAST_1);
            /// How many features.
            features: usize = default(2).within(Range::AT_LEAST_1);
            /// How many classes.
            classes: usize = default(3).within(Range::AT_LEAST_2);
            /// The standard deviation within a class.
            noise: f64 = default(1.0).within(Range::NON_NEGATIVE);
        },
        /// Linear regression: normal inputs of a chosen covariance, values of a random linear map.
        Linear = "linear" {
            /// How many examples.
            examples: usize = default(1000).within(Range::AT_LEAST_1);
            /// How many features.
            features: usize = default(10).within(Range::AT_LEAST_1);
            /// The standard deviation of the noise.
            noise: f64 = default(0.1).within(Range::NON_NEGATIVE);
            /// The largest eigenvalue of the inputs' covariance over the smallest, the rest spaced geometrically; 1 if not
            /// set.
            condition: Option<f64> = default(None).within(Range::AT_LEAST_1);
        },
        /// A quadratic loss whose Hessian has a chosen spectrum.
        Quadratic = "quadratic" {
            /// How many examples.
            examples: usize = default(1000).within(Range::AT_LEAST_1);
            /// How many features: the dimension of the quadratic.
            features: usize = default(10).within(Range::AT_LEAST_1);
            /// The standard deviation of the noise.
            noise: f64 = default(0.0).within(Range::NON_NEGATIVE);
            /// The largest eigenvalue of the Hessian over the smallest, the rest spaced geometrically; 1 if not
            /// set.
            condition: Option<f64> = default(None).within(Range::AT_LEAST_1);
            /// The eigenvalues of the Hessian themselves, one a feature; not together with `condition`.
            spectrum: Option<Vec<f64>> = default(None).within(Range::NON_NEGATIVE);
        },
        /// One input that is 1 always, and two normal targets whose mean is 0: a linear layer without bias is then a point of
        /// the plane, and the targets are what each example adds to the slope of a surface over it. See the loss `"wells"`.
        Plane = "plane" {
            /// How many examples.
            examples: usize = default(1024).within(Range::AT_LEAST_1);
            /// The standard deviation of each target.
            noise: f64 = default(2.0).within(Range::NON_NEGATIVE);
        },
        /// The outputs of a random network on normal inputs.
        Teacher = "teacher" {
            /// How many examples.
            examples: usize = default(1000).within(Range::AT_LEAST_1);
            /// How many features.
            features: usize = default(10).within(Range::AT_LEAST_1);
            /// How many classes; without it the target is a value.
            classes: Option<usize> = default(None).within(Range::AT_LEAST_2);
            /// The standard deviation of the noise on the outputs.
            noise: f64 = default(0.0).within(Range::NON_NEGATIVE);
        },
    }
}

choice! {
    /// Whether a target is a class or a value.
    pub enum Task {
        /// What the target looks like: text is classes, numbers that are not whole are values. Whole numbers are classes in an
        /// array; of a column in a table it has to be said.
        Auto = "auto",
        /// A class.
        Classification = "classification",
        /// A value.
        Regression = "regression",
    }
}

/// The names of columns; none, one or several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

impl Setting for Names {
    fn type_name() -> String {
        "string | list of string".into()
    }
    fn parse(value: &Value, place: &str) -> Result<Self> {
        match value {
            Value::Array(_) => Vec::parse(value, place).map(Self),
            Value::String(name) => Ok(Self(vec![name.clone()])),
            _ => Err(wrong_type(place, "a string or a list in brackets", value)),
        }
    }
    fn to_toml(&self, detail: Detail) -> Option<Value> {
        match self.0.as_slice() {
            [] => None,
            [name] => name.to_toml(detail),
            names => names.to_vec().to_toml(detail),
        }
    }
}

choice! {
    /// What is done to each feature.
    pub enum Standardize {
        /// Nothing.
        None = "none",
        /// The mean is subtracted, and the result divided by the standard deviation.
        Standardize = "standardize",
        /// The mean is subtracted.
        Center = "center",
    }
}

/// The weight of each class in the loss.
#[derive(Clone, Debug, PartialEq)]
pub enum ClassWeights {
    /// One each.
    None,
    /// The inverse of how often a class occurs.
    Balanced,
    /// These, by class.
    Given(Vec<f64>),
}

impl Setting for ClassWeights {
    fn type_name() -> String {
        "\"none\" | \"balanced\" | list of number".into()
    }
    fn parse(value: &Value, place: &str) -> Result<Self> {
        match value {
            Value::Array(_) => Vec::parse(value, place).map(Self::Given),
            Value::String(word) if word == "none" => Ok(Self::None),
            Value::String(word) if word == "balanced" => Ok(Self::Balanced),
            _ => Err(wrong_type(place, Self::type_name(), value)),
        }
    }
    fn to_toml(&self, detail: Detail) -> Option<Value> {
        match self {
            Self::None => Some(Value::String("none".into())),
            Self::Balanced => Some(Value::String("balanced".into())),
            Self::Given(weights) => weights.to_toml(detail),
        }
    }
    fn numbers(&self) -> Vec<f64> {
        match self {
            Self::Given(weights) => weights.clone(),
            Self::None | Self::Balanced => Vec::new(),
        }
    }
}

/// Whether all examples stay in device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resident {
    /// Where they fit.
    Auto,
    /// Always.
    Yes,
    /// Never: they are streamed.
    No,
}

impl Setting for Resident {
    fn type_name() -> String {
        "\"auto\" | true | false".into()
    }
    fn parse(value: &Value, place: &str) -> Result<Self> {
        match value {
            Value::Boolean(true) => Ok(Self::Yes),
            Value::Boolean(false) => Ok(Self::No),
            Value::String(word) if word == "auto" => Ok(Self::Auto),
            _ => Err(wrong_type(place, Self::type_name(), value)),
        }
    }
    fn to_toml(&self, _: Detail) -> Option<Value> {
        Some(match self {
            Self::Auto => Value::String("auto".into()),
            Self::Yes => Value::Boolean(true),
            Self::No => Value::Boolean(false),
        })
    }
}

impl Data {
    /// Makes relative paths start from `folder`.
    pub(super) fn rebase(&mut self, folder: &Path) {
        let (path, test_path) = match &mut self.source {
            Source::Idx { path } => (path, None),
            Source::Folder { path, test_path }
            | Source::Csv { path, test_path, .. }
            | Source::Npy { path, test_path, .. } => (path, test_path.as_mut()),
            _ => return,
        };
        for path in [Some(path), test_path].into_iter().flatten() {
            *path = folder.join(&*path);
        }
    }

    /// Checks what concerns several keys.
    pub(super) fn check(&self) -> Result<()> {
        if let ClassWeights::Given(weights) = &self.class_weights
            && weights.iter().all(|&weight| weight == 0.0)
        {
            return Err(Error::input("data.class_weights", "at least one weight must be above zero"));
        }
        let Source::Quadratic { features, condition, spectrum: Some(spectrum), .. } = &self.source else {
            return Ok(());
        };
        if condition.is_some() {
            let message = "`spectrum` and `condition` are both given";
            return Err(Error::input("data.spectrum", message).help("leave one of them out"));
        }
        if spectrum.len() != *features {
            let message = format!("{} eigenvalues for {features} features", spectrum.len());
            return Err(Error::input("data.spectrum", message).help("give one eigenvalue for each of `data.features`"));
        }
        Ok(())
    }
}

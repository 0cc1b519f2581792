//! The sources that a data set can come from, and the parts that one yields.

use super::{
    Blobs, Circles, CsvSource, Dataset, FolderSource, IdxSource, Linear, NpySource, NpzSource, Optimum, Plane,
    Preprocessing, Quadratic, Spirals, Teacher, digits,
};
use crate::base::{Error, Result, Threads};

/// Where examples come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// The built-in handwritten digits: 1437 to train, 360 to test, 8×8 pixels in [0, 1], 10 classes.
    Digits,
    /// Pictures in IDX files, the format of MNIST.
    Idx(IdxSource),
    /// Pictures in PNG files, in a folder for each class.
    Folder(FolderSource),
    /// A table with a header, numbers and categories.
    Csv(CsvSource),
    /// A numpy array of features and one of targets.
    Npy(NpySource),
    /// Named numpy arrays in one file.
    Npz(NpzSource),
    /// Two spirals in the plane, wound around each other: 2 classes.
    Spirals(Spirals),
    /// Two circles in the plane, one inside the other: 2 classes.
    Circles(Circles),
    /// Normal clouds, one for each class.
    Blobs(Blobs),
    /// Linear regression, with its optimum.
    Linear(Linear),
    /// Linear regression whose loss is a quadratic of chosen curvatures, with its optimum.
    Quadratic(Quadratic),
    /// What examples add to a surface over the plane.
    Plane(Plane),
    /// Labels or values that a random network gave.
    Teacher(Teacher),
}

impl Source {
    /// Reads or draws the data. `seed` matters to synthetic data only, which is the same for the same seed.
    ///
    /// # Errors
    /// A file is missing or malformed, or a parameter is out of range.
    pub fn load(&self, seed: u64) -> Result<Splits> {
        self.load_on(seed, 0)
    }

    /// The same with so many threads to read and decode files; 0 stands for one for each core. The data does not depend on it.
    ///
    /// # Errors
    /// As [`Source::load`], or the system gives no threads.
    pub fn load_on(&self, seed: u64, threads: usize) -> Result<Splits> {
        match self {
            Self::Digits => digits(),
            Self::Idx(source) => source.load_on(&Threads::new(threads)?),
            Self::Folder(source) => source.load_on(&Threads::new(threads)?),
            Self::Csv(source) => source.load_on(&Threads::new(threads)?),
            Self::Npy(source) => source.load(),
            Self::Npz(source) => source.load(),
            Self::Spirals(source) => source.load(seed),
            Self::Circles(source) => source.load(seed),
            Self::Blobs(source) => source.load(seed),
            Self::Linear(source) => source.load(seed),
            Self::Quadratic(source) => source.load(seed),
            Self::Plane(source) => source.load(seed),
            Self::Teacher(source) => source.load(seed),
        }
    }
}

/// The parts of a data set. All have the same features and the same targets.
#[derive(Clone, Debug, PartialEq)]
pub struct Splits {
    /// What is trained on.
    pub train: Dataset,
    /// What training is judged by while it runs.
    pub validation: Option<Dataset>,
    /// What the result is judged by.
    pub test: Option<Dataset>,
    /// The best that a linear model can do on the training part, for sources of linear regression.
    pub optimum: Option<Optimum>,
    /// What was done to the data, to be done to new data before a prediction.
    pub preprocessing: Preprocessing,
}

impl Splits {
    /// The parts of a data set that is already in memory; `name` says what it is.
    ///
    /// # Errors
    /// The test part has other features or other targets than the training part.
    pub fn new(name: impl Into<String>, train: Dataset, test: Option<Dataset>) -> Result<Self> {
        if let Some(test) = &test {
            if test.sample_shape() != train.sample_shape() {
                let (found, expected) = (test.sample_shape(), train.sample_shape());
                return Err(Error::input(
                    test.name(),
                    format!("examples of shape {found:?}, those to train on have {expected:?}"),
                ));
            }
            if test.targets().kind() != train.targets().kind() {
                let (found, expected) = (test.targets().kind(), train.targets().kind());
                return Err(Error::input(
                    test.name(),
                    format!("its targets are {found:?}, those to train on {expected:?}"),
                ));
            }
        }
        let preprocessing = Preprocessing::of(name.into(), &train);
        Ok(Self { train, validation: None, test, optimum: None, preprocessing })
    }

    /// Notes that raw values were divided by `divisor`.
    pub(super) fn with_divisor(mut self, divisor: f32) -> Self {
        self.preprocessing.divisor = divisor;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::Targets;
    use super::*;
    use ndarray::Array2;

    #[test]
    fn parts_must_fit_together() {
        let data = |features, classes| {
            Dataset::new("d", Array2::zeros((2, features)), Targets::Classes { labels: vec![0, 1], classes }).unwrap()
        };
        assert!(Splits::new("s", data(2, 3), Some(data(2, 3))).is_ok());
        assert!(Splits::new("s", data(2, 3), Some(data(1, 3))).unwrap_err().to_string().contains("shape [1]"));
        assert!(Splits::new("s", data(2, 3), Some(data(2, 2))).unwrap_err().to_string().contains("Classes(2)"));
    }

    #[test]
    fn synthetic_sources_repeat_and_follow_the_seed() {
        for source in [
            Source::Spirals(Spirals::default()),
            Source::Circles(Circles::default()),
            Source::Blobs(Blobs::default()),
            Source::Linear(Linear::default()),
            Source::Quadratic(Quadratic::default()),
            Source::Plane(Plane::default()),
            Source::Teacher(Teacher::default()),
        ] {
            let first = source.load(1).unwrap();
            assert_eq!(first, source.load(1).unwrap());
            assert_ne!(first.train, source.load(2).unwrap().train, "{source:?}");
            if let Some(test) = &first.test {
                assert_ne!(test.row(0), first.train.row(0), "{source:?}: the test part has examples of its own");
            }
        }
    }
}

//! Synthetic data: small worlds that can be drawn in any size. The same seed gives the same data.

use super::{Dataset, Splits, Targets, Task};
use crate::base::{Error, Result, Stream, StreamId};
use ndarray::Array2;
use std::f64::consts::{PI, TAU};

/// The parts of a source's random numbers: what all examples share is part 0, then the examples to train and to test.
pub(super) const TRAIN: u32 = 1;
/// See [`TRAIN`].
pub(super) const TEST: u32 = 2;

/// Two spirals in the plane, wound around each other: example i is of class i mod 2.
///
/// A point lies at radius r = √u, u uniform in [0, 1), and at angle 2π · `turns` · r, half a turn further for class 1; noise
/// is added to both coordinates.
#[derive(Clone, Debug, PartialEq)]
pub struct Spirals {
    /// How many examples to train on.
    pub examples: usize,
    /// How many examples to test; with 0 there is no test part.
    pub test: usize,
    /// The standard deviation of the noise, where the spirals reach to radius 1.
    pub noise: f64,
    /// How often each spiral winds around the centre.
    pub turns: f64,
}

impl Default for Spirals {
    fn default() -> Self {
        Self { examples: 1000, test: 500, noise: 0.01, turns: 1.5 }
    }
}

impl Spirals {
    /// Draws the data.
    ///
    /// # Errors
    /// No example, a negative noise, turns that are not finite.
    pub fn load(&self, seed: u64) -> Result<Splits> {
        not_negative("noise", self.noise)?;
        not_negative("turns", self.turns)?;
        plane("spirals", [self.examples, self.test], self.noise, seed, |class, stream| {
            let radius = stream.uniform().sqrt();
            (radius, TAU * self.turns * radius + PI * f64::from(class))
        })
    }
}

/// Two circles around the origin: example i is of class i mod 2; class 0 lies at radius 1, class 1 at `factor`.
#[derive(Clone, Debug, PartialEq)]
pub struct Circles {
    /// How many examples to train on.
    pub examples: usize,
    /// How many examples to test; with 0 there is no test part.
    pub test: usize,
    /// The standard deviation of the noise on both coordinates.
    pub noise: f64,
    /// The radius of the inner circle.
    pub factor: f64,
}

impl Default for Circles {
    fn default() -> Self {
        Self { examples: 1000, test: 500, noise: 0.05, factor: 0.5 }
    }
}

impl Circles {
    /// Draws the data.
    ///
    /// # Errors
    /// No example, a negative noise or factor.
    pub fn load(&self, seed: u64) -> Result<Splits> {
        not_negative("noise", self.noise)?;
        not_negative("factor", self.factor)?;
        plane("circles", [self.examples, self.test], self.noise, seed, |class, stream| {
            (if class == 0 { 1.0 } else { self.factor }, TAU * stream.uniform())
        })
    }
}

/// Points in the plane of two classes in turn: `place` says radius and angle, noise is added.
fn plane(
    name: &str,
    sizes: [usize; 2],
    noise: f64,
    seed: u64,
    place: impl Fn(u32, &mut Stream) -> (f64, f64),
) -> Result<Splits> {
    parts(name, sizes, |rows, id| {
        let mut stream = Stream::new(seed, StreamId::Data(id));
        let mut values = Vec::with_capacity(2 * rows);
        let labels: Vec<u32> = (0..rows).map(|row| (row % 2) as u32).collect();
        for &class in &labels {
            let (radius, angle) = place(class, &mut stream);
            for coordinate in [radius * angle.cos(), radius * angle.sin()] {
                values.push((coordinate + noise * stream.normal()) as f32);
            }
        }
        let x = Array2::from_shape_vec((rows, 2), values).expect("two coordinates a row");
        Dataset::new(name, x, Targets::Classes { labels, classes: 2 })?.with_feature_names(vec!["x".into(), "y".into()])
    })
}

/// Normal clouds: example i is of class i mod `classes`, and lies around the centre of its class. Centres are uniform in a
/// cube.
#[derive(Clone, Debug, PartialEq)]
pub struct Blobs {
    /// How many examples to train on.
    pub examples: usize,
    /// How many examples to test; with 0 there is no test part.
    pub test: usize,
    /// How many clouds.
    pub classes: usize,
    /// How many features.
    pub features: usize,
    /// The standard deviation of a cloud along each feature.
    pub spread: f64,
    /// Centres lie in [−extent, extent] along each feature.
    pub extent: f64,
}

impl Default for Blobs {
    fn default() -> Self {
        Self { examples: 1000, test: 500, classes: 3, features: 2, spread: 1.0, extent: 5.0 }
    }
}

impl Blobs {
    /// Draws the data.
    ///
    /// # Errors
    /// A size of 0, a negative spread or extent.
    pub fn load(&self, seed: u64) -> Result<Splits> {
        at_least_one("classes", self.classes)?;
        at_least_one("features", self.features)?;
        not_negative("spread", self.spread)?;
        not_negative("extent", self.extent)?;
        let mut stream = Stream::new(seed, StreamId::Data(0));
        let shape = (self.classes, self.features);
        let centres = Array2::from_shape_simple_fn(shape, || self.extent * (2.0 * stream.uniform() - 1.0));
        parts("blobs", [self.examples, self.test], |rows, id| {
            let mut stream = Stream::new(seed, StreamId::Data(id));
            let x = Array2::from_shape_simple_fn((rows, self.features), || self.spread * stream.normal());
            let x = Array2::from_shape_fn(x.dim(), |(i, j)| (centres[[i % self.classes, j]] + x[[i, j]]) as f32);
            let labels = (0..rows).map(|row| (row % self.classes) as u32).collect();
            Dataset::new("blobs", x, Targets::Classes { labels, classes: self.classes })
        })
    }
}

/// What a random network says of normal inputs: V·tanh(W·x + b), with W ~ N(0, 4/features), b ~ N(0, 1/16) and
/// V ~ N(0, 1/hidden): wide enough to bend, and near enough to odd that the classes are of like size. A student of the same
/// form can reach it.
#[derive(Clone, Debug, PartialEq)]
pub struct Teacher {
    /// How many examples to train on.
    pub examples: usize,
    /// How many examples to test; with 0 there is no test part.
    pub test: usize,
    /// How many features.
    pub features: usize,
    /// How many hidden units the teacher has.
    pub hidden: usize,
    /// How many outputs: classes, or values.
    pub outputs: usize,
    /// Whether its outputs are the targets, or the largest of them is the class.
    pub task: Task,
    /// The standard deviation of the noise on its outputs, before the largest is looked for.
    pub noise: f64,
}

impl Default for Teacher {
    fn default() -> Self {
        Self {
            examples: 2000,
            test: 1000,
            features: 10,
            hidden: 32,
            outputs: 3,
            task: Task::Classification,
            noise: 0.0,
        }
    }
}

impl Teacher {
    /// Draws teacher and data.
    ///
    /// # Errors
    /// A size of 0, a negative noise.
    pub fn load(&self, seed: u64) -> Result<Splits> {
        at_least_one("features", self.features)?;
        at_least_one("hidden", self.hidden)?;
        at_least_one("outputs", self.outputs)?;
        not_negative("noise", self.noise)?;
        let mut stream = Stream::new(seed, StreamId::Data(0));
        let mut normal = |shape: (usize, usize), variance: f64| {
            Array2::from_shape_simple_fn(shape, || variance.sqrt() * stream.normal())
        };
        let w = normal((self.features, self.hidden), 4.0 / self.features as f64);
        let b = normal((1, self.hidden), 1.0 / 16.0);
        let v = normal((self.hidden, self.outputs), 1.0 / self.hidden as f64);
        parts("teacher", [self.examples, self.test], |rows, id| {
            let mut stream = Stream::new(seed, StreamId::Data(id));
            let x = Array2::from_shape_simple_fn((rows, self.features), || stream.normal() as f32);
            let mut y = (x.mapv(f64::from).dot(&w) + &b).mapv(f64::tanh).dot(&v);
            y.mapv_inplace(|y| y + self.noise * stream.normal());
            let targets = match self.task {
                Task::Regression => {
                    Targets::Values { values: y.iter().map(|&y| y as f32).collect(), width: self.outputs }
                }
                Task::Classification => {
                    let largest = |row: ndarray::ArrayView1<f64>| {
                        (0..self.outputs).fold(0, |best, class| if row[class] > row[best] { class } else { best })
                            as u32
                    };
                    Targets::Classes { labels: y.rows().into_iter().map(largest).collect(), classes: self.outputs }
                }
            };
            Dataset::new("teacher", x, targets)
        })
    }
}

/// Both parts of a source: `draw` is given the number of rows and the part of the random numbers.
fn parts(name: &str, sizes: [usize; 2], draw: impl Fn(usize, u32) -> Result<Dataset>) -> Result<Splits> {
    let [examples, test] = sizes;
    at_least_one("examples", examples)?;
    let test = if test > 0 { Some(draw(test, TEST)?) } else { None };
    Splits::new(name, draw(examples, TRAIN)?, test)
}

pub(super) fn at_least_one(key: &str, count: usize) -> Result<()> {
    if count == 0 { Err(Error::input(key, "0, it must be 1 or more")) } else { Ok(()) }
}

pub(super) fn not_negative(key: &str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::input(key, format!("{value}, it must be finite and not negative")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(data: &Dataset) -> &[u32] {
        match data.targets() {
            Targets::Classes { labels, .. } => labels,
            Targets::Values { .. } => panic!("classes expected"),
        }
    }

    #[test]
    fn spirals_without_noise_lie_on_their_curves() {
        let splits = Spirals { noise: 0.0, ..Spirals::default() }.load(1).unwrap();
        assert_eq!((splits.train.len(), splits.test.unwrap().len()), (1000, 500));
        for (row, &class) in labels(&splits.train).iter().enumerate() {
            let (x, y) = (f64::from(splits.train.row(row)[0]), f64::from(splits.train.row(row)[1]));
            let radius = x.hypot(y);
            let angle = TAU * 1.5 * radius + PI * f64::from(class);
            assert!((radius * angle.cos() - x).abs() < 1e-5 && (radius * angle.sin() - y).abs() < 1e-5, "row {row}");
        }
        assert_eq!(splits.train.class_counts(), [500, 500]);
    }

    #[test]
    fn circles_have_their_radii_and_noise() {
        let splits = Circles { noise: 0.0, factor: 0.25, ..Circles::default() }.load(1).unwrap();
        for (row, &class) in labels(&splits.train).iter().enumerate() {
            let radius = splits.train.row(row)[0].hypot(splits.train.row(row)[1]);
            assert!((radius - [1.0, 0.25][class as usize]).abs() < 1e-6);
        }
        let noisy = Circles { noise: 0.1, factor: 0.25, ..Circles::default() }.load(1).unwrap();
        let errors: f64 =
            splits.train.values().iter().zip(noisy.train.values()).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        assert!(((errors / 2000.0).sqrt() / 0.1 - 1.0).abs() < 0.05);
    }

    #[test]
    fn blobs_share_their_centres_between_parts() {
        let splits = Blobs { classes: 4, features: 3, spread: 0.1, ..Blobs::default() }.load(1).unwrap();
        let centre = |data: &Dataset, class: usize, j: usize| {
            let rows = (0..data.len()).filter(|row| row % 4 == class);
            rows.map(|row| f64::from(data.row(row)[j])).sum::<f64>() / (data.len() / 4) as f64
        };
        let test = splits.test.unwrap();
        for class in 0..4 {
            for j in 0..3 {
                assert!((centre(&splits.train, class, j) - centre(&test, class, j)).abs() < 0.05);
            }
        }
        assert_eq!(test.target_width(), 4);
    }

    #[test]
    fn a_teacher_names_classes_or_values() {
        let classes = Teacher::default().load(4).unwrap();
        assert!(classes.train.class_counts().iter().all(|&count| count > 100), "{:?}", classes.train.class_counts());
        let values = Teacher { task: Task::Regression, ..Teacher::default() }.load(4).unwrap();
        assert_eq!((values.train.x(), values.train.target_width()), (classes.train.x(), 3));
        let outputs = values.train.one_hot();
        for (row, &label) in labels(&classes.train).iter().enumerate() {
            let row = &outputs[row * 3..][..3];
            assert!(row.iter().all(|v| *v <= row[label as usize]), "the class is the largest output");
        }
    }

    #[test]
    fn parameters_out_of_range_are_refused_by_name() {
        let error = Blobs { classes: 0, ..Blobs::default() }.load(1).unwrap_err().to_string();
        assert_eq!(error, "classes: 0, it must be 1 or more");
        assert!(Spirals { noise: -0.1, ..Spirals::default() }.load(1).is_err());
        assert!(Circles { examples: 0, ..Circles::default() }.load(1).is_err());
        let no_test = Teacher { test: 0, ..Teacher::default() }.load(1).unwrap();
        assert!(no_test.test.is_none());
    }
}

//! Data for a surface over the plane: every example sees the same point, and tilts the surface a little.

use super::synthetic::{TRAIN, at_least_one, not_negative};
use super::{Dataset, Splits, Targets};
use crate::base::{Result, Stream, StreamId};
use ndarray::Array2;

/// One input that is 1 always, so that the weights of a linear layer with two outputs and no bias are a point of the plane,
/// and two normal targets an example: what the example adds to the gradient there. Their mean over all examples is taken
/// away, so that the full batch sees the surface as it is, to the rounding of the targets to f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Plane {
    /// How many examples.
    pub examples: usize,
    /// The standard deviation of each target.
    pub noise: f64,
}

impl Default for Plane {
    fn default() -> Self {
        Self { examples: 1024, noise: 2.0 }
    }
}

impl Plane {
    /// Draws the targets.
    ///
    /// # Errors
    /// No example, a negative noise.
    pub fn load(&self, seed: u64) -> Result<Splits> {
        at_least_one("examples", self.examples)?;
        not_negative("noise", self.noise)?;
        let mut stream = Stream::new(seed, StreamId::Data(TRAIN));
        let draws: Vec<f64> = (0..2 * self.examples).map(|_| self.noise * stream.normal()).collect();
        let mean = [0, 1].map(|j| draws.iter().skip(j).step_by(2).sum::<f64>() / self.examples as f64);
        let values = draws.iter().enumerate().map(|(i, draw)| (draw - mean[i % 2]) as f32).collect();
        let x = Array2::ones((self.examples, 1));
        Splits::new("plane", Dataset::new("plane", x, Targets::Values { values, width: 2 })?, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_have_mean_zero_and_the_chosen_deviation() {
        let splits = Plane { examples: 4096, noise: 3.0 }.load(5).unwrap();
        let Targets::Values { values, width: 2 } = splits.train.targets() else { panic!("two values") };
        for j in 0..2 {
            let column: Vec<f64> = values.iter().skip(j).step_by(2).map(|&v| f64::from(v)).collect();
            let mean = column.iter().sum::<f64>() / 4096.0;
            let deviation = (column.iter().map(|v| v * v).sum::<f64>() / 4096.0).sqrt();
            assert!(mean.abs() < 1e-6 && (deviation / 3.0 - 1.0).abs() < 0.05, "{mean} {deviation}");
        }
        assert!((0..4096).all(|row| splits.train.row(row) == [1.0]));
        assert!(Plane { examples: 0, ..Plane::default() }.load(1).is_err());
    }
}

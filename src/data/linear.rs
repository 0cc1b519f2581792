//! Linear regression whose optimum is known: the ground on which optimizers and curvature estimates are judged.

use super::synthetic::{TEST, TRAIN, at_least_one, not_negative};
use super::{Dataset, Optimum, Splits, Targets};
use crate::base::{Error, Result, Stream, StreamId};
use ndarray::Array2;

/// Linear regression: normal features, targets w·x + b + noise, with w and b standard normal.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// How many examples to train on.
    pub examples: usize,
    /// How many examples to test; with 0 there is no test part.
    pub test: usize,
    /// How many features.
    pub features: usize,
    /// The standard deviation of the noise on the targets.
    pub noise: f64,
    /// The variance of the first feature over that of the last; those between are spaced geometrically, from 1 down. It is
    /// near the condition number of the Hessian.
    pub condition: f64,
    /// Whether the model has a bias, and the optimum one.
    pub bias: bool,
}

impl Default for Linear {
    fn default() -> Self {
        Self { examples: 512, test: 0, features: 8, noise: 0.1, condition: 1.0, bias: true }
    }
}

impl Linear {
    /// Draws the data and computes its optimum.
    ///
    /// # Errors
    /// A size of 0, a negative noise, a condition below 1, fewer examples than unknowns.
    pub fn load(&self, seed: u64) -> Result<Splits> {
        at_least_one("examples", self.examples)?;
        at_least_one("features", self.features)?;
        not_negative("noise", self.noise)?;
        if !(self.condition.is_finite() && self.condition >= 1.0) {
            return Err(Error::input("condition", format!("{} is not 1 or more", self.condition)));
        }
        let mut model = Stream::new(seed, StreamId::Data(0));
        let weights: Vec<f64> = (0..self.features).map(|_| model.normal()).collect();
        let bias = if self.bias { model.normal() } else { 0.0 };
        let steps = (self.features - 1).max(1) as f64;
        let scale = |j: usize| self.condition.powf(-(j as f64) / (2.0 * steps));
        let part = |rows: usize, id: u32| -> Result<Dataset> {
            let mut stream = Stream::new(seed, StreamId::Data(id));
            let x = Array2::from_shape_simple_fn((rows, self.features), || stream.normal());
            let x = Array2::from_shape_fn(x.dim(), |(i, j)| (x[[i, j]] * scale(j)) as f32);
            let target = |row: ndarray::ArrayView1<f32>| {
                let clean: f64 = row.iter().zip(&weights).map(|(&x, w)| f64::from(x) * w).sum();
                (clean + bias + self.noise * stream.normal()) as f32
            };
            let values = x.rows().into_iter().map(target).collect();
            Dataset::new("linear regression", x, Targets::Values { values, width: 1 })
        };
        let test = if self.test > 0 { Some(part(self.test, TEST)?) } else { None };
        let mut splits = Splits::new("linear regression", part(self.examples, TRAIN)?, test)?;
        splits.optimum = Some(Optimum::of(&splits.train, self.bias)?);
        Ok(splits)
    }
}

/// Linear regression without correlations, whose loss is the quadratic Σ ½·λᵢ·(wᵢ − wᵢ*)² plus a constant.
///
/// For each of the d curvatures λᵢ there are two rows, ±aᵢ along axis i and 0 elsewhere, with aᵢ = √(λᵢ·d/2), `repeats`
/// times over. So N = 2·d·repeats, and the Hessian 2/N · XᵀX of the mean squared error of w·x is diag(λ), with zeros off the
/// diagonal exactly and each λᵢ to the rounding of aᵢ to f32 (2⁻²³ relative). A bias adds the curvature 2, and nothing off
/// the diagonal, since the columns sum to 0. Noise on the targets makes the gradients of batches differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Quadratic {
    /// The curvatures λᵢ, above 0: one for each feature, in this order.
    pub spectrum: Vec<f64>,
    /// How many times the 2·d rows are there, each time with noise of its own.
    pub repeats: usize,
    /// The standard deviation of the noise on the targets.
    pub noise: f64,
    /// Whether the model has a bias, and the optimum one.
    pub bias: bool,
}

impl Default for Quadratic {
    fn default() -> Self {
        Self { spectrum: vec![10.0, 1.0, 0.1], repeats: 16, noise: 0.0, bias: false }
    }
}

impl Quadratic {
    /// Draws the optimum and the noise.
    ///
    /// # Errors
    /// No curvature, one that is not above 0, no repeat, a negative noise.
    pub fn load(&self, seed: u64) -> Result<Splits> {
        at_least_one("spectrum", self.spectrum.len())?;
        at_least_one("repeats", self.repeats)?;
        not_negative("noise", self.noise)?;
        if let Some(lambda) = self.spectrum.iter().find(|lambda| !(lambda.is_finite() && **lambda > 0.0)) {
            return Err(Error::input("spectrum", format!("{lambda} is not above 0")));
        }
        let d = self.spectrum.len();
        let mut model = Stream::new(seed, StreamId::Data(0));
        let weights: Vec<f64> = (0..d).map(|_| model.normal()).collect();
        let bias = if self.bias { model.normal() } else { 0.0 };
        let mut x = Array2::zeros((2 * d * self.repeats, d));
        let mut noise = Stream::new(seed, StreamId::Data(TRAIN));
        let mut values = Vec::with_capacity(x.nrows());
        for row in 0..x.nrows() {
            let axis = row / 2 % d;
            let sign = if row % 2 == 0 { 1.0 } else { -1.0 };
            let a = (sign * (self.spectrum[axis] * d as f64 / 2.0).sqrt()) as f32;
            x[[row, axis]] = a;
            values.push((f64::from(a) * weights[axis] + bias + self.noise * noise.normal()) as f32);
        }
        let train = Dataset::new("quadratic", x, Targets::Values { values, width: 1 })?;
        let mut splits = Splits::new("quadratic", train, None)?;
        splits.optimum = Some(Optimum::of(&splits.train, self.bias)?);
        Ok(splits)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Prepare;
    use super::*;

    /// The gradient of the mean squared error at `w`, `b`, from its definition.
    fn gradient(data: &Dataset, w: &[f64], b: f64) -> Vec<f64> {
        let mut gradient = vec![0.0; w.len() + 1];
        for (row, target) in data.one_hot().into_iter().enumerate() {
            let x: Vec<f64> = data.row(row).iter().map(|&v| f64::from(v)).collect();
            let error = x.iter().zip(w).map(|(x, w)| x * w).sum::<f64>() + b - f64::from(target);
            let scale = 2.0 * error / data.len() as f64;
            gradient.iter_mut().zip(x.iter().chain([&1.0])).for_each(|(g, x)| *g += scale * x);
        }
        gradient
    }

    #[test]
    fn the_gradient_vanishes_at_the_optimum_and_only_there() {
        let source = Linear { condition: 1e4, features: 6, ..Linear::default() };
        let splits = source.load(3).unwrap();
        let optimum = splits.optimum.unwrap();
        let bias = optimum.bias.unwrap();
        assert!(gradient(&splits.train, &optimum.weights, bias).iter().all(|g| g.abs() < 1e-13));
        let mut moved = optimum.weights.clone();
        moved[5] += 1e-3;
        assert!(gradient(&splits.train, &moved, bias).iter().any(|g| g.abs() > 1e-8));
        assert!((optimum.loss / 0.01 - 1.0).abs() < 0.2, "noise of 0.1 leaves a loss near 0.01: {}", optimum.loss);
        assert!((0.3..3.0).contains(&(optimum.condition() / 1e4)), "{}", optimum.condition());
        assert_eq!(optimum.spectrum.len(), 7);
    }

    #[test]
    fn the_quadratic_has_the_chosen_spectrum() {
        let source = Quadratic { spectrum: vec![0.01, 100.0, 3.0], repeats: 4, noise: 0.5, bias: true };
        let splits = source.load(1).unwrap();
        let optimum = splits.optimum.unwrap();
        for (found, chosen) in optimum.spectrum.iter().zip([100.0, 3.0, 2.0, 0.01]) {
            assert!((found / chosen - 1.0).abs() < 3e-7, "{found} against {chosen}");
        }
        // The Hessian column by column: the gradient is affine in w.
        let at_zero = gradient(&splits.train, &[0.0; 3], 0.0);
        for (axis, lambda) in source.spectrum.iter().enumerate() {
            let mut w = [0.0; 3];
            w[axis] = 1.0;
            for (i, (a, b)) in gradient(&splits.train, &w, 0.0).iter().zip(&at_zero).enumerate() {
                let expected = if i == axis { *lambda } else { 0.0 };
                assert!((a - b - expected).abs() < 1e-6 * 100.0, "H[{i}, {axis}] = {}", a - b);
            }
        }
    }

    #[test]
    fn an_optimum_follows_the_rows_that_are_left() {
        let whole = Linear::default().load(1).unwrap();
        let how = Prepare { validation: 0.25, ..Prepare::default() };
        let part = whole.clone().prepare(&how, 1).unwrap();
        let optimum = part.optimum.unwrap();
        assert_ne!(Some(&optimum), whole.optimum.as_ref());
        assert_eq!(optimum, Optimum::of(&part.train, true).unwrap());
    }

    #[test]
    fn parameters_out_of_range_are_refused() {
        assert!(Linear { examples: 0, ..Linear::default() }.load(1).is_err());
        assert!(Linear { examples: 8, ..Linear::default() }.load(1).is_err(), "8 rows, 9 unknowns");
        assert!(Linear { condition: 0.5, ..Linear::default() }.load(1).is_err());
        assert!(Quadratic { spectrum: vec![1.0, 0.0], ..Quadratic::default() }.load(1).is_err());
    }
}

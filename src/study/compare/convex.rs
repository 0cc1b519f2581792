//! Least squares with a known optimum: how far from it a run is, how fast it comes nearer, and what theory says.
//!
//! Gradient descent with a rate η shrinks the distance along each direction of curvature λ by |1 − ηλ| a step, so in the end
//! by the largest of these. The best that any η gives is (κ − 1)/(κ + 1), κ = λ_max/λ_min, with η = 2/(λ_max + λ_min)
//! (Polyak 1964). Batches leave a noise that does not go away: where the gradients of examples have the variance σ² along a
//! direction at the optimum, the mean squared distance along it becomes ησ²/(B·λ·(2 − ηλ)), with 1/B − 1/N in place of 1/B
//! for B of N examples without replacement. That holds for noise that does not depend on where it is taken, and for
//! batches that are drawn afresh; here noise depends a little on the place, and an epoch shows each example once, which
//! takes noise away where an epoch is not long against 1/(ηλ). The sum over directions needs them to be the axes, as they
//! are for the source `quadratic`.

use crate::base::Result;
use crate::config::{Batch, Config, Layer, LossKind, Optimizer, Piece, Precision, Reduction};
use crate::data::{Dataset, Optimum, Splits};
use serde::Serialize;

/// A known optimum, and what is known of the noise there.
#[derive(Clone, Debug)]
pub struct Ground {
    optimum: Optimum,
    /// Weights, and the bias if there is one, in the order of the parameters.
    point: Vec<f64>,
    /// Curvature and variance of the examples' gradients at the optimum, for each axis, if the axes are the directions of
    /// curvature.
    axes: Option<Vec<[f64; 2]>>,
    rows: usize,
}

/// How a run came to the optimum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Convex {
    /// ‖w − w*‖₂ before the first step.
    pub distance_start: f64,
    /// ‖w − w*‖₂ at the end.
    pub distance: f64,
    /// Of full batches: what the distance was multiplied with at each step, in the end.
    pub rate: Option<f64>,
    /// What it should be: the largest |1 − ηλ|. Of plain gradient descent at a constant rate.
    pub rate_theory: Option<f64>,
    /// (κ − 1)/(κ + 1), the best of all rates.
    pub rate_best: Option<f64>,
    /// Of smaller batches: the root mean square of the distance over the second half of the run.
    pub plateau: Option<f64>,
    /// What it should be. Of plain gradient descent at a constant rate, where the axes are the directions of curvature.
    pub plateau_theory: Option<f64>,
}

impl Ground {
    /// The optimum of one linear layer with one output under the mean squared error, on data that knows one.
    ///
    /// # Errors
    /// If the data does not determine it.
    pub fn of(config: &Config, splits: &Splits) -> Result<Option<Self>> {
        let [Layer::Linear { out: 1, bias, .. }] = config.model.layers.as_slice() else { return Ok(None) };
        let is_squared = matches!(config.loss.kind, LossKind::Auto { .. } | LossKind::Mse);
        if splits.optimum.is_none() || !is_squared || config.loss.reduction != Reduction::Mean {
            return Ok(None);
        }
        let optimum = Optimum::of(&splits.train, *bias)?;
        let point: Vec<f64> = optimum.weights.iter().copied().chain(optimum.bias).collect();
        let axes = axes(&splits.train, &point, *bias);
        Ok(Some(Self { optimum, point, axes, rows: splits.train.len() }))
    }

    /// ‖w − w*‖₂.
    pub fn distance(&self, weights: &[f64]) -> f64 {
        self.point.iter().zip(weights).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    }

    /// What the distances after so many steps say about a run of these settings.
    pub fn judge(&self, config: &Config, distances: &[(u64, f64)]) -> Convex {
        let plain = match config.train.optimizer {
            Optimizer::Sgd { lr, weight_decay: 0.0 } => Some(lr),
            _ => None,
        };
        let is_bare = config.train.clip_norm.is_none() && config.train.clip_value.is_none();
        let rate = plain.filter(|_| is_bare && config.train.schedule.pieces == [Piece::Constant]);
        let batch = match config.train.batch {
            Batch::Full => self.rows,
            Batch::Size(size) => size,
            // No theory speaks of it: no size that has one.
            Batch::Adaptive => 0,
        };
        let mut convex = Convex {
            distance_start: distances.first().map_or(f64::NAN, |d| d.1),
            distance: distances.last().map_or(f64::NAN, |d| d.1),
            ..Convex::default()
        };
        if batch == self.rows {
            let digits = if config.train.precision == Precision::F64 { 1e-12 } else { 1e-5 };
            convex.rate = shrinking(distances, digits);
            convex.rate_theory = rate.map(|lr| self.asymptotic_rate(lr));
            let condition = self.optimum.condition();
            convex.rate_best = rate.map(|_| (condition - 1.0) / (condition + 1.0));
        } else {
            convex.plateau = plateau(distances);
            convex.plateau_theory = rate.filter(|_| batch > 0).and_then(|lr| self.stationary(lr, batch));
        }
        convex
    }

    /// The largest |1 − ηλ|.
    fn asymptotic_rate(&self, lr: f64) -> f64 {
        self.optimum.spectrum.iter().map(|lambda| (1.0 - lr * lambda).abs()).fold(0.0, f64::max)
    }

    /// √Σ ησ²(1/B − 1/N)/(λ(2 − ηλ)); none if it diverges.
    fn stationary(&self, lr: f64, batch: usize) -> Option<f64> {
        let share = 1.0 / batch as f64 - 1.0 / self.rows as f64;
        let axis = |[lambda, variance]: [f64; 2]| lr * variance * share / (lambda * (2.0 - lr * lambda));
        let axes = self.axes.as_ref()?;
        (lr * self.optimum.lambda_max() < 2.0).then(|| axes.iter().map(|&a| axis(a)).sum::<f64>().sqrt())
    }
}

/// Curvature of the mean squared error along each axis, and the sample variance of the examples' gradients at `point`; none
/// if the Hessian is not diagonal to the rounding of f32.
fn axes(data: &Dataset, point: &[f64], bias: bool) -> Option<Vec<[f64; 2]>> {
    let Ok(width) = u32::try_from(data.features()) else { return None };
    // Without a diagonal there is nothing to be gained from many features.
    if width > 512 {
        return None;
    }
    let n = data.len() as f64;
    let targets = data.one_hot();
    let d = point.len();
    let (mut hessian, mut variance) = (vec![0.0; d * d], vec![0.0; d]);
    for (row, &target) in targets.iter().enumerate() {
        let x: Vec<f64> = data.row(row).iter().map(|&v| f64::from(v)).chain(bias.then_some(1.0)).collect();
        let error = x.iter().zip(point).map(|(x, w)| x * w).sum::<f64>() - f64::from(target);
        for (i, xi) in x.iter().enumerate().filter(|(_, xi)| **xi != 0.0) {
            variance[i] += (2.0 * error * xi).powi(2) / (n - 1.0);
            for (j, xj) in x.iter().enumerate() {
                hessian[i * d + j] += 2.0 * xi * xj / n;
            }
        }
    }
    let is_diagonal = (0..d * d).filter(|k| k / d != k % d).all(|k| {
        let scale = (hessian[k / d * (d + 1)] * hessian[k % d * (d + 1)]).sqrt();
        hessian[k].abs() <= 1e-6 * scale
    });
    is_diagonal.then(|| (0..d).map(|i| [hessian[i * (d + 1)], variance[i]]).collect())
}

/// What the distance is multiplied with at each step: the slope of its logarithm over the last third of the steps in which it
/// is above `floor` times its start, below which it is rounding.
fn shrinking(distances: &[(u64, f64)], floor: f64) -> Option<f64> {
    let start = distances.first()?.1;
    let clear: Vec<&(u64, f64)> = distances.iter().take_while(|(_, d)| d.is_finite() && *d > floor * start).collect();
    let end = clear.last()?.0;
    let late: Vec<[f64; 2]> =
        clear.iter().filter(|(step, _)| 3 * step >= 2 * end).map(|(step, d)| [*step as f64, d.ln()]).collect();
    if late.len() < 3 {
        return None;
    }
    let n = late.len() as f64;
    let mean = [0, 1].map(|k| late.iter().map(|point| point[k]).sum::<f64>() / n);
    let sum = |k: usize| late.iter().map(|p| (p[0] - mean[0]) * (p[k] - mean[k])).sum::<f64>();
    Some((sum(1) / sum(0)).exp())
}

/// The root mean square of the distance over the second half of the steps.
fn plateau(distances: &[(u64, f64)]) -> Option<f64> {
    let end = distances.last()?.0;
    let late: Vec<f64> = distances.iter().filter(|(step, _)| 2 * step >= end).map(|(_, d)| d * d).collect();
    let mean = late.iter().sum::<f64>() / late.len() as f64;
    (late.len() >= 10 && mean.is_finite()).then(|| mean.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Stream, StreamId};
    use crate::data::Quadratic;

    fn ground(spectrum: &[f64], noise: f64, lr: f64, batch: &str) -> (Ground, Config) {
        let text = format!(
            "data.source = 'quadratic'\nmodel.layers = [{{ kind = 'linear', out = 1, bias = false }}]\n\
             [train]\noptimizer = 'sgd'\nlr = {lr:?}\nbatch = {batch}\nprecision = 'f64'"
        );
        let config = Config::from_toml_str(&text, "test.toml").unwrap();
        let source = Quadratic { spectrum: spectrum.to_vec(), repeats: 512, noise, ..Quadratic::default() };
        (Ground::of(&config, &source.load(1).unwrap()).unwrap().unwrap(), config)
    }

    #[test]
    fn descent_on_a_quadratic_has_the_rate_of_theory() {
        let (ground, config) = ground(&[4.0, 0.5], 0.1, 0.1, "'full'");
        // Distances along both directions, by hand: 0.6 and 0.95 a step.
        let by_hand = |step: u64| (step, (0.6f64.powi(2 * step as i32) + 0.95f64.powi(2 * step as i32)).sqrt());
        let convex = ground.judge(&config, &(0..200).map(by_hand).collect::<Vec<_>>());
        assert!((convex.rate.unwrap() - 0.95).abs() < 1e-9, "{convex:?}");
        assert!((convex.rate_theory.unwrap() - 0.95).abs() < 1e-6);
        assert!((convex.rate_best.unwrap() - 7.0 / 9.0).abs() < 1e-6);
        assert_eq!(convex.plateau, None);
    }

    #[test]
    fn rounding_is_no_part_of_the_rate() {
        let distances: Vec<(u64, f64)> = (0..400).map(|step| (step, 0.9f64.powi(step as i32).max(1e-9))).collect();
        assert!((shrinking(&distances, 1e-8).unwrap() - 0.9).abs() < 1e-12);
        assert!(shrinking(&distances, 1e-10).unwrap() > 0.99, "the floor matters");
        assert_eq!(shrinking(&distances[..2], 1e-8), None);
    }

    /// One direction, additive noise: w′ = (1 − ηh)·w + ησ·z with fresh z, simulated, against the closed form.
    #[test]
    fn the_stationary_variance_is_that_of_the_recursion() {
        let (lr, h, sigma, batch) = (0.3, 1.5, 2.0, 4);
        let (ground, _) = ground(&[h], 0.1, lr, "4");
        let rows = 1_000_000_000;
        let ground = Ground { axes: Some(vec![[h, sigma * sigma]]), rows, ..ground };
        let mut stream = Stream::new(3, StreamId::Sample(0));
        let (mut w, mut sum) = (0.0f64, 0.0);
        let steps = 400_000;
        for _ in 0..steps {
            w = (1.0 - lr * h) * w - lr * sigma / f64::from(batch).sqrt() * stream.normal();
            sum += w * w;
        }
        let (found, theory) = ((sum / f64::from(steps)).sqrt(), ground.stationary(lr, batch as usize).unwrap());
        assert!((found / theory - 1.0).abs() < 0.01, "{found} {theory}");
        assert_eq!(ground.stationary(1.4, 4), None, "beyond 2/h there is no stationary state");
    }

    #[test]
    fn noise_at_the_optimum_is_taken_along_each_axis() {
        let (ground, _) = ground(&[4.0, 0.5], 0.1, 0.1, "4");
        let axes = ground.axes.unwrap();
        for ([lambda, variance], known) in axes.iter().zip([4.0, 0.5]) {
            assert!((lambda / known - 1.0).abs() < 1e-6);
            // Targets of deviation s: the gradient along an axis is 2·a·s·z in one row of d, a² = λ·d/2.
            let expected = 2.0 * known * 0.01;
            assert!((variance / expected - 1.0).abs() < 0.15, "{variance} {expected}");
        }
    }

    #[test]
    fn other_models_and_losses_have_no_known_optimum() {
        let (_, mut config) = ground(&[1.0], 0.1, 0.1, "4");
        let splits = Quadratic::default().load(1).unwrap();
        assert!(Ground::of(&config, &splits).unwrap().is_some());
        config.loss.kind = LossKind::Huber { delta: 1.0 };
        assert!(Ground::of(&config, &splits).unwrap().is_none());
    }
}

//! From one step to the next: angles between gradients and updates, and where on the parabola of the loss a step ends.

use super::values::{ABSENT, is_absent};
use std::ops::Range;

/// What the step before has left.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Direction {
    /// Its loss; absent before the first step.
    loss: f64,
    /// The norm of the gradient of each tensor.
    gradients: Vec<f64>,
}

impl Direction {
    /// For so many tensors; none keeps nothing.
    pub fn new(tensors: usize) -> Self {
        Self { loss: ABSENT, gradients: vec![0.0; tensors] }
    }

    /// Keeps a step for the next one.
    #[inline(always)]
    pub fn push(&mut self, loss: f64, gradients: &[f64]) {
        if !self.gradients.is_empty() {
            self.loss = loss;
            self.gradients.copy_from_slice(gradients);
        }
    }

    /// The loss of the step before.
    pub fn loss(&self) -> f64 {
        self.loss
    }

    /// Whether there was none.
    pub fn is_first(&self) -> bool {
        is_absent(self.loss)
    }

    /// The norm of the last gradient of some tensors together.
    pub fn gradient(&self, tensors: Range<usize>) -> f64 {
        self.gradients[tensors].iter().fold(0.0, |norm: f64, x| norm.hypot(*x))
    }

    /// For a checkpoint.
    pub fn to_numbers(&self) -> Vec<f64> {
        let loss = (!self.gradients.is_empty()).then_some(self.loss);
        loss.into_iter().chain(self.gradients.iter().copied()).collect()
    }

    /// Goes on from there; false if it is of another model.
    pub fn restore(&mut self, numbers: &[f64]) -> bool {
        if numbers.len() != self.to_numbers().len() {
            return false;
        }
        if let Some((loss, gradients)) = numbers.split_first() {
            self.loss = *loss;
            self.gradients.copy_from_slice(gradients);
        }
        true
    }
}

/// The cosine of the angle between two vectors, from their product and norms; absent where one of them is 0.
pub(super) fn cosine(product: f64, a: f64, b: f64) -> f64 {
    if a * b == 0.0 && product == 0.0 { ABSENT } else { (product / a / b).clamp(-1.0, 1.0) }
}

/// Loss and slope along an update at both of its ends, with their variances.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// f at the start and at the end.
    pub losses: [f64; 2],
    /// gᵀΔw at the start and at the end.
    pub slopes: [f64; 2],
    /// Of a loss. The two ends are batches of one size, so that one variance serves for both.
    pub loss_variance: f64,
    /// Of gᵀΔw.
    pub slope_variance: f64,
}

impl Ends {
    /// α: of the parabola a + bs + cs², s from 0 to 1 along the step, that fits losses and slopes best by least squares weighted
    /// with the inverse variances, the end s = 1 relative to the minimum s* = −b/2c: 1/s* − 1. Where the parabola has no minimum
    /// ahead the step ends short of one, which is −1; where it does not go down at the start α is absent.
    pub fn alpha(&self) -> f64 {
        let Self { losses: [f0, f1], slopes: [d0, d1], loss_variance, slope_variance } = *self;
        // Minimized over a, what is left of the losses is (b + c − (f₁ − f₀))²/2; the derivatives with respect to b and c
        // are 0 where c = (d₁ − d₀)/2 and ρ(b + c − (f₁ − f₀)) + 2(b − d₀) = 0.
        let c = (d1 - d0) / 2.0;
        let along = f1 - f0 - c;
        let rho = slope_variance / (2.0 * loss_variance);
        let b = match (loss_variance > 0.0, slope_variance > 0.0) {
            (true, _) => (rho * along + 2.0 * d0) / (rho + 2.0),
            (false, true) => along,
            (false, false) => (0.5 * along + 2.0 * d0) / 2.5,
        };
        if b.is_nan() {
            b
        } else if b >= 0.0 {
            ABSENT
        } else if c <= 0.0 {
            -1.0
        } else {
            -2.0 * c / b - 1.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(a: f64, b: f64, c: f64) -> Ends {
        Ends { losses: [a, a + b + c], slopes: [b, b + 2.0 * c], loss_variance: 0.3, slope_variance: 0.02 }
    }

    #[test]
    fn parabolas_are_found_again() {
        // The minimum of a − 2s + cs² lies at 1/c.
        for (c, alpha) in [(1.0, 0.0), (2.0, 1.0), (0.5, -0.5), (0.0, -1.0), (-1.0, -1.0)] {
            assert!((ends(3.0, -2.0, c).alpha() - alpha).abs() < 1e-12, "{c}");
        }
        assert!(is_absent(ends(3.0, 2.0, 1.0).alpha()));
        let unknown = ends(f64::NAN, -2.0, 1.0).alpha();
        assert!(unknown.is_nan() && !is_absent(unknown));
        let exact = Ends { loss_variance: 0.0, slope_variance: 0.0, ..ends(3.0, -2.0, 2.0) };
        assert!((exact.alpha() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn what_is_noisier_counts_less() {
        let mut ends = Ends { losses: [1.0, 0.0], slopes: [-2.0, 0.0], loss_variance: 1e-9, slope_variance: 1.0 };
        // Both say: −2s + s².
        assert!(ends.alpha().abs() < 1e-6);
        ends.losses[1] = -0.5;
        // The losses say b + c = −1.5, the slopes b = −2: c is 1, b lies where the better known put it.
        assert!((ends.alpha() - (-2.0 / -2.5 - 1.0)).abs() < 1e-6);
        (ends.loss_variance, ends.slope_variance) = (1.0, 1e-9);
        assert!(ends.alpha().abs() < 1e-6);
    }

    #[test]
    fn the_step_before_is_kept() {
        let mut direction = Direction::new(2);
        assert!(direction.is_first());
        direction.push(0.5, &[3.0, 4.0]);
        assert_eq!((direction.loss(), direction.gradient(0..2), direction.is_first()), (0.5, 5.0, false));
        let mut again = Direction::new(2);
        assert!(again.restore(&Direction::new(2).to_numbers()) && again.is_first());
        assert!(again.restore(&direction.to_numbers()) && again == direction && !again.restore(&[1.0]));
        let mut none = Direction::new(0);
        none.push(1.0, &[]);
        assert!(none.to_numbers().is_empty() && none.restore(&[]));
        assert_eq!((cosine(-2.0, 1.0, 2.0), cosine(3.0, 1.0, 2.0)), (-1.0, 1.0));
        assert!(is_absent(cosine(0.0, 0.0, 2.0)) && is_absent(cosine(0.0, 1.0, 0.0)));
        let unknown = [cosine(f64::NAN, 1.0, f64::NAN), cosine(0.0, 0.0, f64::NAN), cosine(f64::NAN, 0.0, 1.0)];
        assert!(unknown.iter().all(|&x| x.is_nan() && !is_absent(x)));
    }
}

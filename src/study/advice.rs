//! What a noise scale 𝓑 advises: how steps and examples trade, and the learning rate that goes with a changed batch.

use serde::Serialize;

/// What a batch size costs, relative to the least possible, and the learning rate that goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Advice {
    /// Examples of a batch.
    pub batch: f64,
    /// S/S_min = 1 + 𝓑/B: optimizer steps to a given loss, relative to those of the full gradient.
    pub steps: f64,
    /// E/E_min = 1 + B/𝓑: examples to a given loss, relative to those of the smallest batch.
    pub examples: f64,
    /// The learning rate.
    pub lr: f64,
}

/// How a learning rate follows the batch size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LrRule {
    /// ε(B) = ε_max/(1 + 𝓑/B), for plain gradient descent with and without momentum (McCandlish et al. 2018, eq. 2.6): linear
    /// below 𝓑, constant above.
    Saturating,
    /// ε ∝ √B, for optimizers that divide by the size of the gradient (Malladi et al. 2022, "On the SDEs and Scaling Rules for
    /// Adaptive Gradient Algorithms").
    SquareRoot,
}

impl LrRule {
    /// The rate for batches of `to`, where `lr` is that for batches of `from`.
    pub fn lr(self, lr: f64, from: f64, to: f64, noise_scale: f64) -> f64 {
        match self {
            Self::Saturating => lr * (1.0 + noise_scale / from) / (1.0 + noise_scale / to),
            Self::SquareRoot => lr * (to / from).sqrt(),
        }
    }
}

/// The advice for ½, 1, 2 and 4 times the noise scale, from a run with this batch size and learning rate
/// (McCandlish et al. 2018, eq. 2.11: (S/S_min − 1)(E/E_min − 1) = 1).
pub fn advice(noise_scale: f64, batch: f64, lr: f64, rule: LrRule) -> [Advice; 4] {
    [0.5, 1.0, 2.0, 4.0].map(|times| {
        let to = (times * noise_scale).round().max(1.0);
        Advice {
            batch: to,
            steps: 1.0 + noise_scale / to,
            examples: 1.0 + to / noise_scale,
            lr: rule.lr(lr, batch, to, noise_scale),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_examples_trade_along_the_hyperbola() {
        for advice in advice(300.0, 32.0, 0.1, LrRule::Saturating) {
            assert!(((advice.steps - 1.0) * (advice.examples - 1.0) - 1.0).abs() < 1e-12, "{advice:?}");
        }
        let at = advice(300.0, 32.0, 0.1, LrRule::SquareRoot);
        assert_eq!((at[1].batch, at[1].steps, at[1].examples), (300.0, 2.0, 2.0));
        assert_eq!(at[0].lr, 0.1 * (150.0f64 / 32.0).sqrt());
    }

    #[test]
    fn rates_are_linear_far_below_the_noise_scale_and_constant_far_above() {
        let lr = |from, to| LrRule::Saturating.lr(0.1, from, to, 1000.0);
        assert!((lr(1.0, 2.0) / 0.1 - 2.0).abs() < 2e-3 && (lr(1e6, 2e6) / 0.1 - 1.0).abs() < 1e-3);
        assert_eq!(lr(64.0, 64.0), 0.1);
    }
}

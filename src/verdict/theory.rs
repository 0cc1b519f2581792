//! What a random network does to signals on their way, before anything is learned.
//!
//! With weights of variance σ_w²/n and inputs of mean square q₀, a wide layer's outputs have q_l = σ_w²·E[a²] + σ_b², and
//! the signal is multiplied by √(σ_w² E[φ′(√q_l x)²]) on its way from layer l + 1 to layer l, x standard normal and σ_w² that
//! of layer l + 1 (Glorot & Bengio 2010; Schoenholz et al. 2017). Norms are those of whole layers, so widths do not enter.

use super::evidence::{Activation, Facts};

impl Activation {
    /// The word that names it in a config.
    pub fn word(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Relu => "relu",
            Self::LeakyRelu(_) => "leaky_relu",
            Self::Elu(_) => "elu",
            Self::Gelu => "gelu",
            Self::Silu => "silu",
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
            Self::Softplus => "softplus",
            Self::Softmax => "softmax",
        }
    }

    /// φ(x), of one number: a softmax counts as the identity.
    pub fn value(self, x: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        match self {
            Self::Identity | Self::Softmax => x,
            Self::Relu => x.max(0.0),
            Self::LeakyRelu(slope) => {
                if x > 0.0 {
                    x
                } else {
                    slope * x
                }
            }
            Self::Elu(alpha) => {
                if x > 0.0 {
                    x
                } else {
                    alpha * x.exp_m1()
                }
            }
            Self::Gelu => 0.5 * x * (1.0 + libm::erf(x / std::f64::consts::SQRT_2)),
            Self::Silu => x * sigmoid(x),
            Self::Sigmoid => sigmoid(x),
            Self::Tanh => x.tanh(),
            Self::Softplus => {
                if x > 30.0 {
                    x
                } else {
                    x.exp().ln_1p()
                }
            }
        }
    }

    /// φ′(x) by central difference: to nine digits, away from kinks.
    pub fn slope(self, x: f64) -> f64 {
        const H: f64 = 1e-5;
        (self.value(x + H) - self.value(x - H)) / (2.0 * H)
    }

    /// What values it can give: the ends of its range.
    pub fn range(self) -> (f64, f64) {
        match self {
            Self::Relu | Self::Softplus => (0.0, f64::INFINITY),
            Self::Sigmoid | Self::Softmax => (0.0, 1.0),
            Self::Tanh => (-1.0, 1.0),
            Self::Elu(alpha) => (-alpha, f64::INFINITY),
            // Their minima, to be found by setting the derivative to 0.
            Self::Gelu => (-0.17, f64::INFINITY),
            Self::Silu => (-0.279, f64::INFINITY),
            Self::Identity | Self::LeakyRelu(_) => (f64::NEG_INFINITY, f64::INFINITY),
        }
    }

    /// σ_w² with which a deep network of such layers neither shrinks nor grows signals; none if no common initializer does.
    pub fn critical_variance(self) -> Option<f64> {
        match self {
            Self::Identity | Self::Tanh | Self::Softmax => Some(1.0),
            Self::LeakyRelu(slope) => Some(2.0 / (1.0 + slope * slope)),
            Self::Relu | Self::Elu(_) | Self::Gelu | Self::Silu => Some(2.0),
            // A slope of ¼ at most asks for 16, with which it saturates.
            Self::Sigmoid | Self::Softplus => None,
        }
    }
}

/// E[f(x)], x standard normal: the trapezoidal rule, which is exact to rounding for smooth f of such fast decay.
fn expectation(f: impl Fn(f64) -> f64) -> f64 {
    const STEPS: i32 = 321;
    const H: f64 = 0.05;
    let points = (-STEPS / 2..=STEPS / 2).map(|i| f64::from(i) * H);
    points.map(|x| f(x) * (-0.5 * x * x).exp()).sum::<f64>() * H / (2.0 * std::f64::consts::PI).sqrt()
}

/// E[φ²] and E[φ′²] at mean square q; halves of a kinked function are taken exactly.
fn moments(activation: Activation, q: f64) -> (f64, f64) {
    let root = q.sqrt();
    match activation {
        Activation::Identity | Activation::Softmax => (q, 1.0),
        Activation::Relu => (q / 2.0, 0.5),
        Activation::LeakyRelu(slope) => (q * (1.0 + slope * slope) / 2.0, (1.0 + slope * slope) / 2.0),
        _ => (expectation(|x| activation.value(root * x).powi(2)), expectation(|x| activation.slope(root * x).powi(2))),
    }
}

/// What theory expects of one layer at initialization.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expected {
    /// RMS of the activations behind it.
    pub activation_rms: f64,
    /// ‖δ_l‖/‖δ_{l+1}‖; 1 for the last layer.
    pub factor: f64,
}

/// What theory expects of each layer of a model at initialization, for inputs of this mean square.
pub fn expected(facts: &Facts) -> Vec<Expected> {
    let mut q = facts.data.rms.powi(2);
    let mut layers = Vec::with_capacity(facts.layers.len());
    for (l, layer) in facts.layers.iter().enumerate() {
        // A normalized row has mean square 1, whatever came in.
        q = if layer.is_linear() { layer.variance * q + layer.bias_square } else { 1.0 };
        let (square, slope) = moments(layer.activation, q);
        let onward = match facts.layers.get(l + 1) {
            Some(next) if next.is_linear() => (next.variance * slope).sqrt(),
            Some(_) => (slope / square.max(f64::MIN_POSITIVE)).sqrt(),
            None => 1.0,
        };
        layers.push(Expected { activation_rms: square.sqrt(), factor: onward });
        q = square;
    }
    layers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::evidence::{DataFacts, LayerFacts};

    /// The published limits of √χ (Schoenholz et al. 2017), worked out by quadrature elsewhere.
    #[test]
    #[allow(clippy::approx_constant, reason = "0.318 is a ratio, not 1/π")]
    fn factors_are_those_of_the_literature() {
        let limit = |activation, variance| {
            let layer = LayerFacts { kind: "linear".into(), activation, variance, ..LayerFacts::default() };
            let data = DataFacts { rms: 1.0, ..DataFacts::default() };
            let facts = Facts { layers: vec![layer; 60], data, ..Facts::default() };
            expected(&facts)[57].factor
        };
        for (activation, ratios) in [
            (Activation::Identity, [0.577, 1.0, 1.414]),
            (Activation::Sigmoid, [0.141, 0.236, 0.318]),
            (Activation::Relu, [0.408, 0.707, 1.0]),
        ] {
            for (variance, ratio) in [1.0 / 3.0, 1.0, 2.0].into_iter().zip(ratios) {
                assert!((limit(activation, variance) - ratio).abs() < 6e-4, "{activation:?} {variance}");
            }
        }
        assert!((limit(Activation::Tanh, 2.0) - 1.051).abs() < 6e-4);
        assert!((limit(Activation::Tanh, 1.0 / 3.0) - 0.577).abs() < 6e-4);
    }
}

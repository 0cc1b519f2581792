//! The table of quantities. Record columns, reports and documentation are derived from it.

use super::table::ProbeId;

/// What a quantity is measured of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The whole step: one number.
    Step,
    /// All layers whose noise is measured together: one number, none where there are no such layers.
    Noise,
    /// The whole step, in mixed precision: one number, else none.
    Scaled,
    /// Each layer with parameters.
    Layer,
    /// Each layer whose noise is measured.
    Noisy,
    /// Each layer where gradients of single examples are known.
    Resolved,
    /// Each layer whose activation can leave units dead.
    Rectified,
    /// Each layer whose activation saturates.
    Bounded,
    /// Each parameter tensor.
    Tensor,
    /// Each bin of the histogram of each layer.
    Bins,
}

/// One quantity.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    /// The column's name in the step record.
    pub id: &'static str,
    /// What measures it.
    pub probe: ProbeId,
    /// What it is measured of.
    pub scope: Scope,
    /// The definition. g: gradient of the logical batch's loss, raw, before clipping; w: weights before the update; Δw: the
    /// update as applied.
    pub formula: &'static str,
    /// What it tells, and where it comes from.
    pub doc: &'static str,
}

const fn row(id: &'static str, probe: ProbeId, scope: Scope, formula: &'static str, doc: &'static str) -> Quantity {
    Quantity { id, probe, scope, formula, doc }
}

/// Every quantity. Those of one probe are neighbours, and stand in this order in a step's values.
pub const QUANTITIES: [Quantity; 49] = [
    row(
        "loss",
        ProbeId::Loss,
        Scope::Step,
        "Σ wᵢℓᵢ / Σ wᵢ",
        "loss of the logical batch, before the update (a sum where loss.reduction is sum)",
    ),
    row("lr", ProbeId::Loss, Scope::Step, "η", "learning rate of the step"),
    row(
        "batch",
        ProbeId::Loss,
        Scope::Step,
        "B",
        "examples of the logical batch; fewer where an epoch ends, more where train.batch is adaptive",
    ),
    row(
        "loss_scale",
        ProbeId::Loss,
        Scope::Scaled,
        "S",
        "what the gradient of the loss was multiplied by before it entered half precision, in mixed precision; all else is recorded without it",
    ),
    row(
        "skipped_steps",
        ProbeId::Loss,
        Scope::Scaled,
        "count of steps with g = ±∞ or NaN",
        "steps so far that were skipped because the scaled gradient overflowed, in mixed precision",
    ),
    row("grad_norm", ProbeId::Statistics, Scope::Step, "‖g‖₂", "norm of the whole gradient"),
    row("weight_norm", ProbeId::Statistics, Scope::Step, "‖w‖₂", "norm of all parameters"),
    row(
        "update_ratio",
        ProbeId::Statistics,
        Scope::Step,
        "‖Δw‖₂ / ‖w‖₂",
        "how far a step moves the parameters; about 1e-3 is common",
    ),
    row(
        "signal",
        ProbeId::Statistics,
        Scope::Layer,
        "√(mean over examples of ‖∂ℓᵢ/∂zᵢ‖₂²)",
        "backpropagated signal of each example's own loss at the layer's output z: the measure of vanishing and exploding (Glorot & Bengio 2010)",
    ),
    row(
        "activation_rms",
        ProbeId::Statistics,
        Scope::Layer,
        "√(mean a²)",
        "size of the activations behind the layer, over the real rows",
    ),
    row("activation_mean", ProbeId::Statistics, Scope::Layer, "mean a", "mean of the activations behind the layer"),
    row("activation_max", ProbeId::Statistics, Scope::Layer, "max |a|", "largest activation behind the layer"),
    row(
        "layer_grad_norm",
        ProbeId::Statistics,
        Scope::Layer,
        "‖g of the layer‖₂",
        "norm of the gradient of all the layer's tensors",
    ),
    row(
        "layer_update_ratio",
        ProbeId::Statistics,
        Scope::Layer,
        "‖Δw of the layer‖₂ / ‖w of the layer‖₂",
        "how far a step moves the layer",
    ),
    row("tensor_grad_norm", ProbeId::Statistics, Scope::Tensor, "‖g of the tensor‖₂", "norm of the tensor's gradient"),
    row(
        "tensor_grad_mean",
        ProbeId::Statistics,
        Scope::Tensor,
        "mean |g|",
        "mean magnitude of the finite gradient elements",
    ),
    row(
        "tensor_grad_max",
        ProbeId::Statistics,
        Scope::Tensor,
        "max |g|",
        "largest magnitude of the finite gradient elements",
    ),
    row(
        "tensor_grad_zeros",
        ProbeId::Statistics,
        Scope::Tensor,
        "share of g = 0",
        "share of gradient elements that are exactly 0",
    ),
    row(
        "tensor_grad_non_finite",
        ProbeId::Statistics,
        Scope::Tensor,
        "count of g = ±∞ or NaN",
        "how many gradient elements are not finite",
    ),
    row(
        "tensor_weight_norm",
        ProbeId::Statistics,
        Scope::Tensor,
        "‖w of the tensor‖₂",
        "norm of the tensor before the update",
    ),
    row("tensor_update_norm", ProbeId::Statistics, Scope::Tensor, "‖Δw of the tensor‖₂", "norm of the tensor's update"),
    row(
        "tensor_update_ratio",
        ProbeId::Statistics,
        Scope::Tensor,
        "‖Δw‖₂ / ‖w‖₂ of the tensor",
        "how far a step moves the tensor",
    ),
    row(
        "dead_units",
        ProbeId::Units,
        Scope::Rectified,
        "share of units with z ≤ 0 on every example of the window",
        "units that gave nothing, and learned nothing, in the steps of the last epoch before this one (ReLU, ELU, GELU, SiLU)",
    ),
    row(
        "saturated",
        ProbeId::Units,
        Scope::Bounded,
        "share of z with φ′(z) < 0.05·max φ′",
        "activations on a flat end of the sigmoid or tanh, which lets little signal through (Glorot & Bengio 2010)",
    ),
    row(
        "noise_trace",
        ProbeId::Noise,
        Scope::Noise,
        "S = (Σ‖uᵢ‖² − B‖ḡ‖²)/(B − 1)",
        "trace of the covariance of the examples' gradients in all layers with noise: of all parameters, unless a layer is left out (McCandlish et al. 2018)",
    ),
    row(
        "noise_signal",
        ProbeId::Noise,
        Scope::Noise,
        "|G|² = ‖ḡ‖² − S·(1/B − 1/N)",
        "square of the norm of the gradient of the same layers, without the share of noise in it",
    ),
    row(
        "noise_scale",
        ProbeId::Noise,
        Scope::Noise,
        "𝓑 = mean S / mean |G|²",
        "simple noise scale in examples, both smoothed over 100 steps: about the batch size from which on more examples help little",
    ),
    row(
        "layer_noise_trace",
        ProbeId::Noise,
        Scope::Noisy,
        "S of the layer",
        "trace of the covariance of the examples' gradients in the layer",
    ),
    row(
        "layer_noise_signal",
        ProbeId::Noise,
        Scope::Noisy,
        "|G|² of the layer",
        "square of the layer's gradient norm without noise",
    ),
    row(
        "layer_noise_scale",
        ProbeId::Noise,
        Scope::Noisy,
        "𝓑 of the layer",
        "noise scale of the layer alone, in examples",
    ),
    row(
        "norm_test",
        ProbeId::Variance,
        Scope::Noise,
        "θ² = S / (B‖ḡ‖²)",
        "norm test: pure noise gives 1, a batch that is large enough less (Byrd et al. 2012)",
    ),
    row(
        "inner_product_test",
        ProbeId::Variance,
        Scope::Noise,
        "θ² = Var(uᵢᵀḡ) / (B‖ḡ‖⁴)",
        "inner-product test: whether examples agree on descent along ḡ (Bollapragada et al. 2017, 2.6); null where batches are accumulated, as ḡ is known when the examples of earlier micro-batches have gone",
    ),
    row(
        "orthogonality_test",
        ProbeId::Variance,
        Scope::Noise,
        "ν² = [Σ‖uᵢ‖² − Σ(uᵢᵀḡ)²/‖ḡ‖²] / [(B − 1)B‖ḡ‖²]",
        "orthogonality test: how far examples scatter across ḡ (Bollapragada et al. 2017, 3.3); null where batches are accumulated, for the same reason",
    ),
    row(
        "cabs",
        ProbeId::Variance,
        Scope::Noise,
        "η·S / L",
        "batch size in examples that balances rate, variance and loss (CABS, Balles et al. 2017)",
    ),
    row(
        "early_stopping",
        ProbeId::Variance,
        Scope::Noise,
        "1 − B·mean(ḡⱼ²/(σⱼ² + ε))",
        "evidence-based stopping: above 0, what is left of the gradient of the resolved layers is noise (Mahsereci et al. 2017); ε is 1e-5 of the layer's mean σ²",
    ),
    row(
        "layer_early_stopping",
        ProbeId::Variance,
        Scope::Resolved,
        "the same of the layer",
        "evidence-based stopping of the layer alone",
    ),
    row(
        "layer_snr",
        ProbeId::Variance,
        Scope::Resolved,
        "mean of ḡⱼ²/σⱼ² − 1/B",
        "signal-to-noise ratio of the layer's partial derivatives, those whose variance cannot be told from rounding left out (Liu et al. 2020)",
    ),
    row(
        "gradient_cosine",
        ProbeId::Direction,
        Scope::Step,
        "cos(g, last g)",
        "angle between successive gradients: near −1 the steps zig-zag, near 1 they could be longer",
    ),
    row(
        "update_cosine",
        ProbeId::Direction,
        Scope::Step,
        "cos(g, last Δw)",
        "angle between gradient and last update: below 0 it would still have gone down, above 0 it went too far",
    ),
    row(
        "alpha",
        ProbeId::Direction,
        Scope::Step,
        "−2c/b − 1 of f₀ + bs + cs² fitted to both losses and slopes",
        "where a step ends on the parabola: −1 at its start, 0 at the minimum, 1 on the opposite wall (Schneider et al. 2021, but with the variances of the second batch for both ends); null where it does not begin downhill",
    ),
    row(
        "layer_gradient_cosine",
        ProbeId::Direction,
        Scope::Layer,
        "cos(g, last g) of the layer",
        "angle between successive gradients of the layer",
    ),
    row(
        "layer_update_cosine",
        ProbeId::Direction,
        Scope::Layer,
        "cos(g, last Δw) of the layer",
        "angle between gradient and last update of the layer",
    ),
    row(
        "gradient_histogram",
        ProbeId::Histograms,
        Scope::Bins,
        "shares of |g| by log₂",
        "32 bins: 0; then pairs of exponents, [2²ᵏ⁻⁵⁰, 2²ᵏ⁻⁴⁸) in bin k from 1 to 30, the ends open; not finite. Underflow shows at the low end",
    ),
    row("weight_histogram", ProbeId::Histograms, Scope::Bins, "shares of |w| by log₂", "weights in the same bins"),
    row(
        "activation_histogram",
        ProbeId::Histograms,
        Scope::Bins,
        "shares of |a| by log₂",
        "activations behind the layer in the same bins",
    ),
    row(
        "distance",
        ProbeId::Distance,
        Scope::Step,
        "‖w − w₀‖₂",
        "distance of all parameters from where training began",
    ),
    row(
        "layer_distance",
        ProbeId::Distance,
        Scope::Layer,
        "‖w − w₀‖₂ of the layer",
        "distance of the layer from where training began",
    ),
    row(
        "signal_lost",
        ProbeId::Underflow,
        Scope::Layer,
        "share of S·∂L/∂z ≠ 0 that half precision has as 0",
        "what rounding to half precision takes away of the scaled signal: magnitudes up to 2⁻²⁵; 0 where a layer's signal is no factor of a product",
    ),
    row(
        "signal_subnormal",
        ProbeId::Underflow,
        Scope::Layer,
        "share of S·∂L/∂z ≠ 0 below 2⁻¹⁴ in half precision",
        "what is left with fewer than 11 bits: multiples of 2⁻²⁴",
    ),
];

/// The position of a quantity in [`QUANTITIES`].
pub fn find(id: &str) -> Option<usize> {
    QUANTITIES.iter().position(|quantity| quantity.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_documented() {
        for (i, quantity) in QUANTITIES.iter().enumerate() {
            assert_eq!(find(quantity.id), Some(i), "{}", quantity.id);
            assert!(quantity.doc.len() > 10 && !quantity.formula.is_empty(), "{}", quantity.id);
            assert!(i == 0 || QUANTITIES[i - 1].probe as usize <= quantity.probe as usize, "{}", quantity.id);
        }
    }
}

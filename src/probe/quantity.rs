//! The table of quantities. Record columns, reports and documentation are derived from it.

/// What a quantity is measured of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The whole step: one number.
    Step,
    /// The whole step, where the noise of the gradient is estimated: one number, else none.
    Noise,
    /// Each layer with parameters: one number a layer.
    Layer,
    /// Each dense layer, where the noise of the gradient is estimated: one number a layer, else none.
    Dense,
    /// Each parameter tensor: one number a tensor.
    Tensor,
}

/// One quantity.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    /// The column's name in the step record.
    pub id: &'static str,
    /// What it is measured of.
    pub scope: Scope,
    /// The definition. g: gradient of the logical batch's loss, raw, before clipping; w: weights before the update; Δw: the
    /// update as applied.
    pub formula: &'static str,
    /// What it tells, and where it comes from.
    pub doc: &'static str,
}

const fn row(id: &'static str, scope: Scope, formula: &'static str, doc: &'static str) -> Quantity {
    Quantity { id, scope, formula, doc }
}

/// Every quantity, in the order of a step's values.
pub const QUANTITIES: [Quantity; 26] = [
    row(
        "loss",
        Scope::Step,
        "Σ wᵢℓᵢ / Σ wᵢ",
        "loss of the logical batch, before the update (a sum where loss.reduction is sum)",
    ),
    row("lr", Scope::Step, "η", "learning rate of the step"),
    row("grad_norm", Scope::Step, "‖g‖₂", "norm of the whole gradient"),
    row("weight_norm", Scope::Step, "‖w‖₂", "norm of all parameters"),
    row("update_ratio", Scope::Step, "‖Δw‖₂ / ‖w‖₂", "how far a step moves the parameters; about 1e-3 is common"),
    row(
        "batch",
        Scope::Step,
        "B",
        "examples of the logical batch; fewer where an epoch ends, more where train.batch is adaptive",
    ),
    row(
        "noise_trace",
        Scope::Noise,
        "S = (Σ‖uᵢ‖² − B‖ḡ‖²)/(B − 1)",
        "trace of the covariance of the examples' gradients in all dense layers (McCandlish et al. 2018)",
    ),
    row(
        "noise_signal",
        Scope::Noise,
        "|G|² = ‖ḡ‖² − S·(1/B − 1/N)",
        "square of the norm of the gradient of all dense layers, without the share of noise in it",
    ),
    row(
        "noise_scale",
        Scope::Noise,
        "𝓑 = mean S / mean |G|²",
        "simple noise scale in examples, both smoothed over 100 steps: about the batch size from which on more examples help little",
    ),
    row(
        "signal",
        Scope::Layer,
        "√(mean over examples of ‖∂ℓᵢ/∂zᵢ‖₂²)",
        "backpropagated signal of each example's own loss at the layer's output z: the measure of vanishing and exploding (Glorot & Bengio 2010)",
    ),
    row("activation_rms", Scope::Layer, "√(mean a²)", "size of the activations behind the layer, over the real rows"),
    row("activation_mean", Scope::Layer, "mean a", "mean of the activations behind the layer"),
    row("activation_max", Scope::Layer, "max |a|", "largest activation behind the layer"),
    row("layer_grad_norm", Scope::Layer, "‖g of the layer‖₂", "norm of the gradient of all the layer's tensors"),
    row("layer_update_ratio", Scope::Layer, "‖Δw of the layer‖₂ / ‖w of the layer‖₂", "how far a step moves the layer"),
    row(
        "layer_noise_trace",
        Scope::Dense,
        "S of the layer",
        "trace of the covariance of the examples' gradients in the layer",
    ),
    row("layer_noise_signal", Scope::Dense, "|G|² of the layer", "square of the layer's gradient norm without noise"),
    row("layer_noise_scale", Scope::Dense, "𝓑 of the layer", "noise scale of the layer alone, in examples"),
    row("tensor_grad_norm", Scope::Tensor, "‖g of the tensor‖₂", "norm of the tensor's gradient"),
    row("tensor_grad_mean", Scope::Tensor, "mean |g|", "mean magnitude of the finite gradient elements"),
    row("tensor_grad_max", Scope::Tensor, "max |g|", "largest magnitude of the finite gradient elements"),
    row("tensor_grad_zeros", Scope::Tensor, "share of g = 0", "share of gradient elements that are exactly 0"),
    row("tensor_grad_non_finite", Scope::Tensor, "count of g = ±∞ or NaN", "how many gradient elements are not finite"),
    row("tensor_weight_norm", Scope::Tensor, "‖w of the tensor‖₂", "norm of the tensor before the update"),
    row("tensor_update_norm", Scope::Tensor, "‖Δw of the tensor‖₂", "norm of the tensor's update"),
    row("tensor_update_ratio", Scope::Tensor, "‖Δw‖₂ / ‖w‖₂ of the tensor", "how far a step moves the tensor"),
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
        }
    }
}

//! The quantities: what each is, where it stands in a step's values, and how it is read from the device's table.
//!
//! Everything is measured on the logical batch, before the update. g is the gradient of its loss as it was accumulated: not
//! clipped by norm, and without weight decay. w are the weights before the update, Δw is the update as it was applied, clipping,
//! decay and learning rate included. A layer is one with parameters, z what it gives before any activation, a what arrives at
//! the next such layer (the last dropout left out). δ, the signal, is taken of each example's own loss, whatever weight the
//! example has in the batch, and examples of weight 0 do not count; so it does not depend on the batch size.
//!
//! | quantity | of each | definition | meaning |
//! |---|---|---|---|
//! | `loss` | step | Σ wᵢℓᵢ / Σ wᵢ | loss of the logical batch, before the update (a sum where loss.reduction is sum) |
//! | `lr` | step | η | learning rate of the step |
//! | `grad_norm` | step | ‖g‖₂ | norm of the whole gradient |
//! | `weight_norm` | step | ‖w‖₂ | norm of all parameters |
//! | `update_ratio` | step | ‖Δw‖₂ / ‖w‖₂ | how far a step moves the parameters; about 1e-3 is common |
//! | `batch` | step | B | examples of the logical batch; fewer where an epoch ends, more where train.batch is adaptive |
//! | `noise_trace` | step | S = (Σ‖uᵢ‖² − B‖ḡ‖²)/(B − 1) | trace of the covariance of the examples' gradients in all dense layers (McCandlish et al. 2018) |
//! | `noise_signal` | step | \|G\|² = ‖ḡ‖² − S·(1/B − 1/N) | square of the norm of the gradient of all dense layers, without the share of noise in it |
//! | `noise_scale` | step | 𝓑 = mean S / mean \|G\|² | simple noise scale in examples, both smoothed over 100 steps: about the batch size from which on more examples help little |
//! | `signal` | layer | √(mean over examples of ‖∂ℓᵢ/∂zᵢ‖₂²) | backpropagated signal of each example's own loss at the layer's output z: the measure of vanishing and exploding (Glorot & Bengio 2010) |
//! | `activation_rms` | layer | √(mean a²) | size of the activations behind the layer, over the real rows |
//! | `activation_mean` | layer | mean a | mean of the activations behind the layer |
//! | `activation_max` | layer | max \|a\| | largest activation behind the layer |
//! | `layer_grad_norm` | layer | ‖g of the layer‖₂ | norm of the gradient of all the layer's tensors |
//! | `layer_update_ratio` | layer | ‖Δw of the layer‖₂ / ‖w of the layer‖₂ | how far a step moves the layer |
//! | `layer_noise_trace` | dense layer | S of the layer | trace of the covariance of the examples' gradients in the layer |
//! | `layer_noise_signal` | dense layer | \|G\|² of the layer | square of the layer's gradient norm without noise |
//! | `layer_noise_scale` | dense layer | 𝓑 of the layer | noise scale of the layer alone, in examples |
//! | `tensor_grad_norm` | tensor | ‖g of the tensor‖₂ | norm of the tensor's gradient |
//! | `tensor_grad_mean` | tensor | mean \|g\| | mean magnitude of the finite gradient elements |
//! | `tensor_grad_max` | tensor | max \|g\| | largest magnitude of the finite gradient elements |
//! | `tensor_grad_zeros` | tensor | share of g = 0 | share of gradient elements that are exactly 0 |
//! | `tensor_grad_non_finite` | tensor | count of g = ±∞ or NaN | how many gradient elements are not finite |
//! | `tensor_weight_norm` | tensor | ‖w of the tensor‖₂ | norm of the tensor before the update |
//! | `tensor_update_norm` | tensor | ‖Δw of the tensor‖₂ | norm of the tensor's update |
//! | `tensor_update_ratio` | tensor | ‖Δw‖₂ / ‖w‖₂ of the tensor | how far a step moves the tensor |
//!
//! uᵢ is the part of an example in the mean gradient, see [`Noise`]; it costs no per-example gradient, as in a dense layer its norm
//! follows from two norms of rows ([`crate::ops::examples`]).
//!
//! Norms survive vanishing: the device sums squares of numbers scaled by a power of two (see [`crate::ops::record`]), so that
//! gradients near 1e-30 have a norm in f32. Means, maxima and norms are of the finite elements; how many are not is a
//! quantity of its own, and [`Reader::non_finite`] tells which came first.

mod interval;
mod layout;
mod noise;
mod quantity;
mod reading;
mod series;

pub use interval::{Quotient, quotient};
pub use layout::{Layout, RecordSpan, aligned};
pub use noise::{Against, Noise, NoiseReader, SCALE_MAX, STEPS_SETTLED};
pub use quantity::{QUANTITIES, Quantity, Scope, find};
pub use reading::{Measured, NonFinite, Reader, Sizes, Taken, Values};
pub use series::NoiseSeries;

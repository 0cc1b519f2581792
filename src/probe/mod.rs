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
//! | `batch` | step | B | examples of the logical batch; fewer where an epoch ends, more where train.batch is adaptive |
//! | `loss_scale` | step in mixed precision | S | what the gradient of the loss was multiplied by before it entered half precision, in mixed precision; all else is recorded without it |
//! | `skipped_steps` | step in mixed precision | count of steps with g = ±∞ or NaN | steps so far that were skipped because the scaled gradient overflowed, in mixed precision |
//! | `grad_norm` | step | ‖g‖₂ | norm of the whole gradient |
//! | `weight_norm` | step | ‖w‖₂ | norm of all parameters |
//! | `update_ratio` | step | ‖Δw‖₂ / ‖w‖₂ | how far a step moves the parameters; about 1e-3 is common |
//! | `signal` | layer | √(mean over examples of ‖∂ℓᵢ/∂zᵢ‖₂²) | backpropagated signal of each example's own loss at the layer's output z: the measure of vanishing and exploding (Glorot & Bengio 2010) |
//! | `activation_rms` | layer | √(mean a²) | size of the activations behind the layer, over the real rows |
//! | `activation_mean` | layer | mean a | mean of the activations behind the layer |
//! | `activation_max` | layer | max \|a\| | largest activation behind the layer |
//! | `layer_grad_norm` | layer | ‖g of the layer‖₂ | norm of the gradient of all the layer's tensors |
//! | `layer_update_ratio` | layer | ‖Δw of the layer‖₂ / ‖w of the layer‖₂ | how far a step moves the layer |
//! | `tensor_grad_norm` | tensor | ‖g of the tensor‖₂ | norm of the tensor's gradient |
//! | `tensor_grad_mean` | tensor | mean \|g\| | mean magnitude of the finite gradient elements |
//! | `tensor_grad_max` | tensor | max \|g\| | largest magnitude of the finite gradient elements |
//! | `tensor_grad_zeros` | tensor | share of g = 0 | share of gradient elements that are exactly 0 |
//! | `tensor_grad_non_finite` | tensor | count of g = ±∞ or NaN | how many gradient elements are not finite |
//! | `tensor_weight_norm` | tensor | ‖w of the tensor‖₂ | norm of the tensor before the update |
//! | `tensor_update_norm` | tensor | ‖Δw of the tensor‖₂ | norm of the tensor's update |
//! | `tensor_update_ratio` | tensor | ‖Δw‖₂ / ‖w‖₂ of the tensor | how far a step moves the tensor |
//! | `dead_units` | rectified layer | share of units with z ≤ 0 on every example of the window | units that gave nothing, and learned nothing, in the steps of the last epoch before this one (ReLU, ELU, GELU, SiLU) |
//! | `saturated` | bounded layer | share of z with φ′(z) < 0.05·max φ′ | activations on a flat end of the sigmoid or tanh, which lets little signal through (Glorot & Bengio 2010) |
//! | `noise_trace` | step | S = (Σ‖uᵢ‖² − B‖ḡ‖²)/(B − 1) | trace of the covariance of the examples' gradients in all layers with noise: of all parameters, unless a layer is left out (McCandlish et al. 2018) |
//! | `noise_signal` | step | \|G\|² = ‖ḡ‖² − S·(1/B − 1/N) | square of the norm of the gradient of the same layers, without the share of noise in it |
//! | `noise_scale` | step | 𝓑 = mean S / mean \|G\|² | simple noise scale in examples, both smoothed over 100 steps: about the batch size from which on more examples help little |
//! | `layer_noise_trace` | layer with noise | S of the layer | trace of the covariance of the examples' gradients in the layer |
//! | `layer_noise_signal` | layer with noise | \|G\|² of the layer | square of the layer's gradient norm without noise |
//! | `layer_noise_scale` | layer with noise | 𝓑 of the layer | noise scale of the layer alone, in examples |
//! | `norm_test` | step | θ² = S / (B‖ḡ‖²) | norm test: pure noise gives 1, a batch that is large enough less (Byrd et al. 2012) |
//! | `inner_product_test` | step | θ² = Var(uᵢᵀḡ) / (B‖ḡ‖⁴) | inner-product test: whether examples agree on descent along ḡ (Bollapragada et al. 2017, 2.6); null where batches are accumulated, as ḡ is known when the examples of earlier micro-batches have gone |
//! | `orthogonality_test` | step | ν² = [Σ‖uᵢ‖² − Σ(uᵢᵀḡ)²/‖ḡ‖²] / [(B − 1)B‖ḡ‖²] | orthogonality test: how far examples scatter across ḡ (Bollapragada et al. 2017, 3.3); null where batches are accumulated, for the same reason |
//! | `cabs` | step | η·S / L | batch size in examples that balances rate, variance and loss (CABS, Balles et al. 2017) |
//! | `early_stopping` | step | 1 − B·mean(ḡⱼ²/(σⱼ² + ε)) | evidence-based stopping: above 0, what is left of the gradient of the resolved layers is noise (Mahsereci et al. 2017); ε is 1e-5 of the layer's mean σ² |
//! | `layer_early_stopping` | resolved layer | the same of the layer | evidence-based stopping of the layer alone |
//! | `layer_snr` | resolved layer | mean of ḡⱼ²/σⱼ² − 1/B | signal-to-noise ratio of the layer's partial derivatives, those whose variance cannot be told from rounding left out (Liu et al. 2020) |
//! | `gradient_cosine` | step | cos(g, last g) | angle between successive gradients: near −1 the steps zig-zag, near 1 they could be longer |
//! | `update_cosine` | step | cos(g, last Δw) | angle between gradient and last update: below 0 it would still have gone down, above 0 it went too far |
//! | `alpha` | step | −2c/b − 1 of f₀ + bs + cs² fitted to both losses and slopes | where a step ends on the parabola: −1 at its start, 0 at the minimum, 1 on the opposite wall (Schneider et al. 2021, but with the variances of the second batch for both ends); null where it does not begin downhill |
//! | `layer_gradient_cosine` | layer | cos(g, last g) of the layer | angle between successive gradients of the layer |
//! | `layer_update_cosine` | layer | cos(g, last Δw) of the layer | angle between gradient and last update of the layer |
//! | `gradient_histogram` | bin of a layer | shares of \|g\| by log₂ | 32 bins: 0; then pairs of exponents, [2²ᵏ⁻⁵⁰, 2²ᵏ⁻⁴⁸) in bin k from 1 to 30, the ends open; not finite. Underflow shows at the low end |
//! | `weight_histogram` | bin of a layer | shares of \|w\| by log₂ | weights in the same bins |
//! | `activation_histogram` | bin of a layer | shares of \|a\| by log₂ | activations behind the layer in the same bins |
//! | `distance` | step | ‖w − w₀‖₂ | distance of all parameters from where training began |
//! | `layer_distance` | layer | ‖w − w₀‖₂ of the layer | distance of the layer from where training began |
//! | `signal_lost` | layer | share of S·∂L/∂z ≠ 0 that half precision has as 0 | what rounding to half precision takes away of the scaled signal: magnitudes up to 2⁻²⁵; 0 where a layer's signal is no factor of a product |
//! | `signal_subnormal` | layer | share of S·∂L/∂z ≠ 0 below 2⁻¹⁴ in half precision | what is left with fewer than 11 bits: multiples of 2⁻²⁴ |
//!
//! uᵢ is the part of an example in the mean gradient, see [`Noise`]. In a *resolved* layer its norm costs no per-example gradient: in a
//! dense one it follows from two norms of rows ([`crate::ops::examples`]), of the scale and shift of `layer_norm` from products of
//! elements ([`crate::ops::noise`]). Layers with noise are these, and all others where every batch but the last of an epoch is
//! accumulated from several micro-batches: S is then (Σ‖sₘ‖²/nₘ − B‖ḡ‖²)/(k − 1), sₘ being the sum of uᵢ over micro-batch m of nₘ
//! examples, of k. It has the same mean, but with few micro-batches a far wider spread. A single micro-batch says nothing of them:
//! where batches are no larger they are left out, of the noise of all layers too, and at the end of an epoch readings before it
//! stand. All kinds of layer that there are now are resolved ([`crate::nn`] says how), so that the noise is that of all parameters.
//!
//! Norms survive vanishing: the device sums squares of numbers scaled by a power of two (see [`crate::ops::record`]), so that
//! gradients near 1e-30 have a norm in f32. Means, maxima and norms are of the finite elements; how many are not is a
//! quantity of its own, and [`Reader::non_finite`] tells which came first.

mod direction;
mod finite;
mod interval;
mod layout;
mod noise;
mod quantity;
mod reading;
mod seldom;
mod series;
mod table;
mod units;
mod values;
mod variance;

pub use finite::NonFinite;
pub use interval::{Quotient, quotient};
pub use layout::{Fold, Layout, Noisy, Part, RecordSpan, Scattered, Tapped, aligned};
pub use noise::{Against, Noise, NoiseReader, SCALE_MAX, STEPS_SETTLED, Scatter};
pub use quantity::{QUANTITIES, Quantity, Scope, find};
pub use reading::Reader;
pub use series::NoiseSeries;
pub use table::{Agenda, CADENCES_MAX, Due, Need, Needs, PROBES, Probe, ProbeId};
pub use units::UnitsReader;
pub use values::{ABSENT, Columns, Measured, Sizes, Taken, Values, is_absent};

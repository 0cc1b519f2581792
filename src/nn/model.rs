//! Models as lists of layers, from settings or built in code.

use super::describe::Description;
use crate::base::Result;
use crate::config::{self, Approximate, Init, Layer};

/// A model: layers in the order in which they are applied, and how parameters start where a layer does not say.
///
/// ```
/// use steepest::nn::Model;
/// let model = Model::new().linear(128).relu().linear(10);
/// let description = model.describe(&[64]).unwrap();
/// assert_eq!((description.output, description.params[2].name.as_str()), (10, "2.weight"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    settings: config::Model,
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl From<config::Model> for Model {
    fn from(settings: config::Model) -> Self {
        Self { settings }
    }
}

impl From<Model> for config::Model {
    fn from(model: Model) -> Self {
        model.settings
    }
}

/// Building in code. Nothing is checked before [`Model::describe`].
impl Model {
    /// A model without layers, whose parameters start as in PyTorch: uniform between ±1/√fan_in.
    pub fn new() -> Self {
        let (init, bias_init) = (Init::UniformFanIn, Init::UniformFanIn);
        Self { settings: config::Model { layers: Vec::new(), init, gain: 1.0, bias_init } }
    }

    /// The layers, and how parameters start where they do not say.
    pub fn settings(&self) -> &config::Model {
        &self.settings
    }

    /// All shapes and parameters for examples of this shape. See [`Description`].
    ///
    /// # Errors
    /// A layer cannot take what comes in, or one of its numbers is out of range: the error names the layer, as
    /// `model.layers[2] (linear)`.
    pub fn describe(&self, sample_shape: &[usize]) -> Result<Description> {
        Description::new(&self.settings, sample_shape)
    }

    /// How weights start, where a layer does not say.
    #[must_use]
    pub fn with_init(mut self, init: Init) -> Self {
        self.settings.init = init;
        self
    }

    /// What initial weights are multiplied by, where a layer does not say.
    #[must_use]
    pub fn with_gain(mut self, gain: f64) -> Self {
        self.settings.gain = gain;
        self
    }

    /// How biases start, where a layer does not say.
    #[must_use]
    pub fn with_bias_init(mut self, init: Init) -> Self {
        self.settings.bias_init = init;
        self
    }

    /// Appends a layer.
    #[must_use]
    pub fn layer(mut self, layer: Layer) -> Self {
        self.settings.layers.push(layer);
        self
    }

    /// A matrix product and a bias: `out` outputs.
    #[must_use]
    pub fn linear(self, out: usize) -> Self {
        self.layer(Layer::Linear { out, bias: true, init: None, gain: None, bias_init: None })
    }

    /// A matrix product without a bias: `out` outputs.
    #[must_use]
    pub fn linear_without_bias(self, out: usize) -> Self {
        self.layer(Layer::Linear { out, bias: false, init: None, gain: None, bias_init: None })
    }

    /// Nothing.
    #[must_use]
    pub fn identity(self) -> Self {
        self.layer(Layer::Identity)
    }

    /// max(x, 0).
    #[must_use]
    pub fn relu(self) -> Self {
        self.layer(Layer::Relu)
    }

    /// x where it is positive, else slope·x.
    #[must_use]
    pub fn leaky_relu(self, slope: f64) -> Self {
        self.layer(Layer::LeakyRelu { slope })
    }

    /// x where it is positive, else α·(eˣ − 1).
    #[must_use]
    pub fn elu(self, alpha: f64) -> Self {
        self.layer(Layer::Elu { alpha })
    }

    /// x·Φ(x), with the error function.
    #[must_use]
    pub fn gelu(self) -> Self {
        self.layer(Layer::Gelu { approximate: Approximate::None })
    }

    /// x·Φ(x), approximated with the hyperbolic tangent.
    #[must_use]
    pub fn gelu_tanh(self) -> Self {
        self.layer(Layer::Gelu { approximate: Approximate::Tanh })
    }

    /// x·sigmoid(x).
    #[must_use]
    pub fn silu(self) -> Self {
        self.layer(Layer::Silu)
    }

    /// 1 / (1 + e⁻ˣ).
    #[must_use]
    pub fn sigmoid(self) -> Self {
        self.layer(Layer::Sigmoid)
    }

    /// The hyperbolic tangent.
    #[must_use]
    pub fn tanh(self) -> Self {
        self.layer(Layer::Tanh)
    }

    /// ln(1 + eˣ).
    #[must_use]
    pub fn softplus(self) -> Self {
        self.layer(Layer::Softplus)
    }

    /// In training, zero with probability `p`, else x / (1 − p).
    #[must_use]
    pub fn dropout(self, p: f64) -> Self {
        self.layer(Layer::Dropout { p })
    }

    /// Each example brought to mean 0 and variance 1, then scaled and shifted by learned parameters.
    #[must_use]
    pub fn layer_norm(self) -> Self {
        self.layer(Layer::LayerNorm { eps: 1e-5, affine: true })
    }

    /// Positive values of sum 1 for each example.
    #[must_use]
    pub fn softmax(self) -> Self {
        self.layer(Layer::Softmax)
    }

    /// All axes of an example made one.
    #[must_use]
    pub fn flatten(self) -> Self {
        self.layer(Layer::Flatten)
    }
}

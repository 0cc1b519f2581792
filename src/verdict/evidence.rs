//! What verdicts rest on: the facts of a run, which are known before it starts, and its readings, which come with the steps.

use serde::Serialize;

/// All that a rule may look at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// Model, data and settings.
    pub facts: Facts,
    /// What the steps so far have shown.
    pub readings: Readings,
}

/// An activation: what stands between two layers with parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Activation {
    /// None.
    #[default]
    Identity,
    /// max(x, 0).
    Relu,
    /// x or slope·x.
    LeakyRelu(f64),
    /// x or α(eˣ − 1).
    Elu(f64),
    /// x·Φ(x).
    Gelu,
    /// x·sigmoid(x).
    Silu,
    /// 1/(1 + e⁻ˣ).
    Sigmoid,
    /// tanh x.
    Tanh,
    /// ln(1 + eˣ).
    Softplus,
    /// Positive numbers of sum 1.
    Softmax,
}

/// A layer with parameters, and what follows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerFacts {
    /// Its name, as `torch.nn.Sequential` has it.
    pub name: String,
    /// Its kind: `linear`, `layer_norm`.
    pub kind: String,
    /// The position in `model.layers`.
    pub position: usize,
    /// Numbers that come in for an example.
    pub inputs: usize,
    /// Numbers that go out.
    pub outputs: usize,
    /// The first activation behind it.
    pub activation: Activation,
    /// The position of that activation in `model.layers`.
    pub activation_position: Option<usize>,
    /// σ_w² of a linear layer: inputs · mean w² of the initial weight. 1 for others.
    pub variance: f64,
    /// Mean square of the initial bias.
    pub bias_square: f64,
    /// Whether all initial weights are the same number.
    pub is_constant: bool,
    /// Whether the layer has an initializer, a gain or a start of the bias of its own.
    pub has_own_init: bool,
}

impl LayerFacts {
    /// Whether it is a matrix product.
    pub fn is_linear(&self) -> bool {
        self.kind == "linear"
    }
}

/// What is minimized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LossFact {
    /// The cross-entropy, which has its own softmax.
    CrossEntropy,
    /// The binary cross-entropy, which has its own sigmoid.
    Bce,
    /// Squared or Huber.
    Squared,
    /// A loss of the caller's.
    #[default]
    Other,
}

/// How the loss is scaled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScaleFact {
    /// As overflow leaves room for.
    Dynamic,
    /// By this.
    Fixed(f64),
}

/// What is known before the first step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The layers with parameters, first layer first: those that are measured.
    pub layers: Vec<LayerFacts>,
    /// Every layer as TOML, as `model.layers` has it.
    pub entries: Vec<String>,
    /// The number of classes; none if targets are values.
    pub classes: Option<usize>,
    /// What is minimized.
    pub loss: LossFact,
    /// The optimizer's word in a config.
    pub optimizer: String,
    /// The learning rate, before any schedule.
    pub lr: f64,
    /// Whether gradients are clipped by norm.
    pub is_clipped: bool,
    /// Examples a step.
    pub batch: usize,
    /// Examples of the training part.
    pub examples: usize,
    /// The loss of the best constant prediction, where the loss is a mean that has one.
    pub chance: Option<f64>,
    /// Half the distance from 1 to the next number: what is less of a weight does not change it.
    pub rounding: f64,
    /// How the loss is scaled, where signals are of half precision.
    pub loss_scale: Option<ScaleFact>,
    /// The training part.
    pub data: DataFacts,
}

/// Statistics of the training part, as it is prepared.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DataFacts {
    /// Mean of all features.
    pub mean: f64,
    /// √(mean x²) over all features.
    pub rms: f64,
    /// The largest magnitude.
    pub max: f64,
    /// The largest standard deviation of a feature over the median of those that are not 0; 1 if there is none.
    pub spread: f64,
    /// Whether features are standardized already.
    pub is_standardized: bool,
    /// Mean of the target values; 0 for classes.
    pub target_mean: f64,
    /// Standard deviation of the target values; 0 for classes.
    pub target_std: f64,
    /// The smallest target value; 0 for classes.
    pub target_min: f64,
    /// The largest target value; 1 for classes.
    pub target_max: f64,
}

/// Where the first value was that is not finite; layers count from 0 among those that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the activations behind a layer.
    Activation(usize),
    /// In the loss, while activations were finite.
    Loss,
    /// In the backpropagated signal at a layer.
    Signal(usize),
    /// In the gradient of a layer.
    Gradient(usize),
}

/// What the steps so far have shown. Losses and layers are averages over the last 50 steps unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings {
    /// Finite steps so far.
    pub steps: u64,
    /// The loss of the first step.
    pub loss_start: f64,
    /// The loss.
    pub loss: f64,
    /// The loss averaged over the last 250 steps.
    pub loss_slow: f64,
    /// The lowest average of the loss there was.
    pub loss_low: f64,
    /// The largest loss of one step.
    pub loss_high: f64,
    /// The mean magnitude of the change of the loss from one step to the next.
    pub loss_jump: f64,
    /// Losses of validations, if there were any.
    pub validation: Option<ValidationReading>,
    /// The first step, from 1, with a value that is not finite, and where.
    pub non_finite: Option<(u64, Origin)>,
    /// The noise scale 𝓑 of the gradient in examples, where it is measured.
    pub noise_scale: Option<f64>,
    /// How often it was measured what half precision loses of signals.
    pub lost_readings: u64,
    /// The measured layers, first layer first.
    pub layers: Vec<LayerReading>,
}

/// Losses of validations.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ValidationReading {
    /// The lowest.
    pub best: f64,
    /// The last.
    pub last: f64,
    /// The average training loss at the lowest.
    pub train_at_best: f64,
    /// Validations since the lowest.
    pub since_best: u64,
    /// The step of the lowest.
    pub best_step: u64,
}

/// What a layer has shown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LayerReading {
    /// ln ‖δ_l‖ of the first step; −∞ where the signal was 0.
    pub log_signal_start: f64,
    /// ln ‖δ_l‖.
    pub log_signal: f64,
    /// ln ‖δ_l‖ of the last finite step.
    pub log_signal_last: f64,
    /// RMS of the activations behind it in the first step.
    pub activation_start: f64,
    /// RMS of the activations behind it.
    pub activation: f64,
    /// The same in the last finite step.
    pub activation_last: f64,
    /// Mean of the activations behind it.
    pub activation_mean: f64,
    /// ‖Δw‖/‖w‖.
    pub update_ratio: f64,
    /// The largest ‖Δw‖/‖w‖ of one step.
    pub update_peak: f64,
    /// Steps in which the layer's whole gradient was 0.
    pub zero_steps: u64,
    /// Since which step, from 1, less than the threshold of vanishing arrives; 0 if more does.
    pub vanishing_since: u64,
    /// Since which step more than the threshold of exploding arrives; 0 if less does.
    pub exploding_since: u64,
    /// The share of the scaled signal that half precision took to 0, averaged over the last four readings of it.
    pub lost_share: f64,
    /// Since which step, from 1, it is more than the threshold; 0 if it is less.
    pub lost_since: u64,
    /// The share of units that gave nothing for any example of the window, where it is measured.
    pub dead_share: Option<f64>,
    /// The share of activations whose slope is near 0, where it is measured.
    pub saturated_share: Option<f64>,
}

impl Readings {
    /// ‖δ_l‖/‖δ_L‖: how much of the last layer's signal arrives at a layer. Two signals of 0 have ratio 1.
    pub fn arriving(&self, layer: usize) -> f64 {
        self.ratio(layer, self.layers.len() - 1, |layer| layer.log_signal)
    }

    /// The same in the first step.
    pub fn arriving_start(&self, layer: usize) -> f64 {
        self.ratio(layer, self.layers.len() - 1, |layer| layer.log_signal_start)
    }

    /// ‖δ_l‖/‖δ_{l+1}‖; 1 for the last layer.
    pub fn factor(&self, layer: usize) -> f64 {
        self.ratio(layer, (layer + 1).min(self.layers.len() - 1), |layer| layer.log_signal)
    }

    /// The same in the first step.
    pub fn factor_start(&self, layer: usize) -> f64 {
        self.ratio(layer, (layer + 1).min(self.layers.len() - 1), |layer| layer.log_signal_start)
    }

    fn ratio(&self, a: usize, b: usize, log: impl Fn(&LayerReading) -> f64) -> f64 {
        let (a, b) = (log(&self.layers[a]), log(&self.layers[b]));
        if a == b { 1.0 } else { (a - b).exp() }
    }

    /// The loss over that of the first step.
    pub fn loss_share(&self) -> f64 {
        if self.loss_start > 0.0 { self.loss / self.loss_start } else { 1.0 }
    }
}

/// A number that convinced a rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Number {
    /// What it is.
    pub name: &'static str,
    /// Its value.
    pub value: f64,
}

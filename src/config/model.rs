//! `[model]`: the layers and how their parameters start.

use super::group::choice;
use super::group::{default, entries, kinds, required, section};
use super::nearest::suggestion;
use super::setting::{Detail, Range, Setting, quoted, wrong_type};
use crate::base::{Error, Result};
use toml::{Table, Value};

section! {
    /// The layers, in the order in which they are applied, and how their parameters start.
    pub struct Model {
        /// The layers: tables with a `kind`, or the bare word of a kind.
        layers: Vec<Layer> = required();
        /// How the weights of linear layers start, where the layer does not say: one of the words below, or
        /// `{ constant = c }`, `{ normal = σ }` (mean 0), `{ uniform = a }` (between −a and a).
        init: Init = default(Init::UniformFanIn);
        /// What the initial weights of linear layers are multiplied by, where the layer does not say.
        gain: f64 = default(1.0).within(Range::POSITIVE);
        /// How the biases of linear layers start, where the layer does not say.
        bias_init: Init = default(Init::UniformFanIn);
    }
}

kinds! {
    /// What a layer does.
    pub enum Layer by "kind", default None => {
        /// A matrix product with a learned weight, plus a learned bias.
        Linear = "linear" {
            /// How many outputs.
            out: usize = required().within(Range::AT_LEAST_1);
            /// Whether it has a bias.
            bias: bool = default(true);
            /// How the weight starts; as `model.init` says if not set.
            init: Option<Init> = default(None);
            /// What the initial weight is multiplied by; as `model.gain` says if not set.
            gain: Option<f64> = default(None).within(Range::POSITIVE);
            /// How the bias starts; as `model.bias_init` says if not set.
            bias_init: Option<Init> = default(None);
        },
        /// Nothing.
        Identity = "identity",
        /// max(x, 0).
        Relu = "relu",
        /// x where it is positive, else `slope`·x.
        LeakyRelu = "leaky_relu" {
            /// The slope of the negative side.
            slope: f64 = default(0.01).within(Range::NON_NEGATIVE);
        },
        /// x where it is positive, else `alpha`·(exp(x) − 1).
        Elu = "elu" {
            /// The limit of the negative side is −`alpha`.
            alpha: f64 = default(1.0).within(Range::NON_NEGATIVE);
        },
        /// x·Φ(x), Φ the distribution function of the standard normal.
        Gelu = "gelu" {
            /// How Φ is computed.
            approximate: Approximate = default(Approximate::None);
        },
        /// x·sigmoid(x).
        Silu = "silu",
        /// 1 / (1 + exp(−x)).
        Sigmoid = "sigmoid",
        /// The hyperbolic tangent.
        Tanh = "tanh",
        /// ln(1 + exp(x)).
        Softplus = "softplus",
        /// In training, zero with probability `p`, else x / (1 − p).
        Dropout = "dropout" {
            /// The probability of zero.
            p: f64 = default(0.5).within(Range::BELOW_1);
        },
        /// Each example brought to mean 0 and variance 1, then scaled and shifted by learned parameters.
        LayerNorm = "layer_norm" {
            /// What is added to the variance.
            eps: f64 = default(1e-5).within(Range::POSITIVE);
            /// Whether there are learned parameters.
            affine: bool = default(true);
        },
        /// Positive values of sum 1 for each example. The cross-entropy has it built in.
        Softmax = "softmax",
        /// All axes of an example made one.
        Flatten = "flatten",
    }
}

entries!(Layer, "layer");

impl Model {
    /// How many numbers the model gives for an example: the outputs of its last linear layer; none if it has no such layer.
    pub fn outputs(&self) -> Option<usize> {
        self.layers.iter().rev().find_map(|layer| match layer {
            Layer::Linear { out, .. } => Some(*out),
            _ => None,
        })
    }
}

choice! {
    /// How the distribution function in GELU is computed.
    pub enum Approximate {
        /// With the error function.
        None = "none",
        /// With the hyperbolic tangent.
        Tanh = "tanh",
    }
}

/// How a parameter starts. The fans of a linear layer are its numbers of inputs and outputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Uniform, of variance 2 / (fan_in + fan_out).
    GlorotUniform,
    /// Normal, of variance 2 / (fan_in + fan_out).
    GlorotNormal,
    /// Uniform, of variance 2 / fan_in.
    HeUniform,
    /// Normal, of variance 2 / fan_in.
    HeNormal,
    /// Uniform, of variance 1 / fan_in.
    LecunUniform,
    /// Normal, of variance 1 / fan_in.
    LecunNormal,
    /// Orthonormal rows or columns.
    Orthogonal,
    /// Uniform between ±1/√fan_in.
    UniformFanIn,
    /// Zero.
    Zeros,
    /// One.
    Ones,
    /// This value.
    Constant(f64),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// Uniform between minus and plus this.
    Uniform(f64),
}

impl Init {
    /// The initializers that need no number, the words that name them, and what the reference says of them.
    const WORDS: [(&'static str, Self, &'static str); 10] = [
        ("glorot_uniform", Self::GlorotUniform, "Uniform, of variance 2 / (fan_in + fan_out)."),
        ("glorot_normal", Self::GlorotNormal, "Normal, of variance 2 / (fan_in + fan_out)."),
        ("he_uniform", Self::HeUniform, "Uniform, of variance 2 / fan_in."),
        ("he_normal", Self::HeNormal, "Normal, of variance 2 / fan_in."),
        ("lecun_uniform", Self::LecunUniform, "Uniform, of variance 1 / fan_in."),
        ("lecun_normal", Self::LecunNormal, "Normal, of variance 1 / fan_in."),
        ("orthogonal", Self::Orthogonal, "Orthonormal rows or columns."),
        ("uniform_fan_in", Self::UniformFanIn, "Uniform between ±1/√fan_in, as in PyTorch."),
        ("zeros", Self::Zeros, "Zero."),
        ("ones", Self::Ones, "One."),
    ];

    /// Whether it makes sense for a bias, which has no fan of its own and no directions.
    pub fn fits_bias(self) -> bool {
        use Init::{Constant, Normal, Ones, Uniform, UniformFanIn, Zeros};
        matches!(self, UniformFanIn | Zeros | Ones | Constant(_) | Normal(_) | Uniform(_))
    }

    fn from_table(table: &Table, place: &str) -> Result<Self> {
        const NUMBERED: [&str; 3] = ["constant", "normal", "uniform"];
        let mut entries = table.iter();
        let (Some((word, number)), None) = (entries.next(), entries.next()) else {
            let message = format!("expected a table with one of {}, found {} keys", quoted(&NUMBERED), table.len());
            return Err(Error::input(place, message).help("write for example { normal = 0.01 }"));
        };
        let place = format!("{place}.{word}");
        let of: fn(f64) -> Self = match word.as_str() {
            "constant" => Self::Constant,
            "normal" => Self::Normal,
            "uniform" => Self::Uniform,
            _ => {
                let message = format!("there is no initializer `{word}` that takes a number");
                return Err(Error::input(place, message).help(suggestion(word, "possible", NUMBERED)));
            }
        };
        let number = f64::parse(number, &place)?;
        if word != "constant" && number < 0.0 {
            return Err(Error::input(place, format!("{number} is out of range: expected a number ≥ 0")));
        }
        Ok(of(number))
    }
}

impl Setting for Init {
    fn type_name() -> String {
        "initializer".into()
    }
    fn parse(value: &Value, place: &str) -> Result<Self> {
        let word = match value {
            Value::Table(table) => return Self::from_table(table, place),
            Value::String(word) => word,
            _ => return Err(wrong_type(place, "the name of an initializer, or { normal = 0.01 } and the like", value)),
        };
        Self::WORDS.iter().find(|(name, ..)| name == word).map(|&(_, init, _)| init).ok_or_else(|| {
            let error = Error::input(place, format!("there is no initializer {value}"));
            match word.as_str() {
                "constant" | "normal" | "uniform" => error.help(format!("it takes a number: {{ {word} = 0.01 }}")),
                _ => error.help(suggestion(word, "possible", Self::WORDS.iter().map(|&(name, ..)| name))),
            }
        })
    }
    fn to_toml(&self, _: Detail) -> Option<Value> {
        let numbered = |word: &str, x: f64| Value::Table(Table::from_iter([(word.to_owned(), Value::Float(x))]));
        match *self {
            Self::Constant(x) => Some(numbered("constant", x)),
            Self::Normal(x) => Some(numbered("normal", x)),
            Self::Uniform(x) => Some(numbered("uniform", x)),
            plain => {
                Self::WORDS.iter().find(|(_, init, _)| *init == plain).map(|&(name, ..)| Value::String(name.into()))
            }
        }
    }
    fn choices() -> Vec<(&'static str, &'static str)> {
        Self::WORDS.iter().map(|&(word, _, doc)| (word, doc)).collect()
    }
}

/// How the parameters of one linear layer start, with nothing left open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearInit {
    /// The weight.
    pub weight: Init,
    /// What the initial weight is multiplied by.
    pub gain: f64,
    /// The bias, if the layer has one.
    pub bias: Option<Init>,
}

impl Model {
    /// How the parameters of a layer start: as it says, else as the model says. None if the layer is not linear.
    pub fn linear_init(&self, layer: &Layer) -> Option<LinearInit> {
        match layer {
            Layer::Linear { bias, init, gain, bias_init, .. } => Some(LinearInit {
                weight: init.unwrap_or(self.init),
                gain: gain.unwrap_or(self.gain),
                bias: bias.then(|| bias_init.unwrap_or(self.bias_init)),
            }),
            _ => None,
        }
    }

    /// Checks what concerns several keys.
    pub(super) fn check(&self) -> Result<()> {
        if self.layers.is_empty() {
            return Err(Error::input("model.layers", "at least one layer is needed, found none"));
        }
        let of_layers = self.layers.iter().enumerate().filter_map(|(i, layer)| match layer {
            Layer::Linear { bias_init: Some(init), .. } => Some((format!("model.layers[{i}].bias_init"), *init)),
            _ => None,
        });
        for (place, init) in of_layers.chain([("model.bias_init".into(), self.bias_init)]) {
            if !init.fits_bias() {
                let help = "use \"zeros\", \"ones\", \"uniform_fan_in\", or { constant = 0.1 } and the like";
                return Err(Error::input(place, "this initializer needs a matrix, and a bias is none").help(help));
            }
        }
        Ok(())
    }
}

//! What a model is once the shape of its examples is known: every layer's size, every parameter.

use super::init;
use crate::base::{Error, Result, Shape, Stream, StreamId};
use crate::config::{self, Init, Layer};

/// A model with nothing left open. Activations are [rows, features] throughout: an example with several axes comes in as
/// one row, so `flatten` changes nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// How many numbers an example has.
    pub input: usize,
    /// All layers, in the order in which they are applied.
    pub layers: Vec<LayerInfo>,
    /// All parameters, in the order of `torch.nn.Sequential.named_parameters`.
    pub params: Vec<Param>,
    /// How many numbers the model gives for an example.
    pub output: usize,
}

/// How the gradient of a single example's loss by a layer's parameters follows from what a backward pass over a batch has anyway:
/// what the parameters are applied to, x, and δ = ∂ℓ/∂z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByExample {
    /// z = W·x + b, a row an example: ∂ℓ/∂W = δxᵀ, ∂ℓ/∂b = δ.
    Dense,
    /// z = w∘x + b, element by element, a row an example: ∂ℓ/∂w = δ∘x, ∂ℓ/∂b = δ.
    Elementwise,
    /// It does not: what is known is the gradient of each micro-batch.
    Unknown,
}

impl ByExample {
    /// Of a kind of layer.
    fn of(layer: &Layer) -> Self {
        match layer {
            Layer::Linear { .. } => Self::Dense,
            Layer::LayerNorm { .. } => Self::Elementwise,
            // Layers without parameters have no gradient.
            _ => Self::Unknown,
        }
    }
}

/// A layer of a described model.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerInfo {
    /// The position among the layers.
    pub index: usize,
    /// The name, as `torch.nn.Sequential` has it: `0`.
    pub name: String,
    /// The word that names the kind in a config: `linear`.
    pub kind: &'static str,
    /// The layer as the settings have it.
    pub spec: Layer,
    /// How gradients of single examples follow from those of a batch.
    pub by_example: ByExample,
    /// How many numbers come in for an example.
    pub inputs: usize,
    /// How many go out.
    pub outputs: usize,
    /// The positions of its parameters in [`Description::params`].
    pub params: Vec<usize>,
}

impl LayerInfo {
    /// What scopes and errors call it: `0 linear`.
    pub fn title(&self) -> String {
        format!("{} {}", self.name, self.kind)
    }
}

/// A trained tensor and how it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// The name, as `torch.nn.Sequential` has it: `0.weight`.
    pub name: String,
    /// The shape: a linear layer's weight is [outputs, inputs], its bias `[outputs]`.
    pub shape: Shape,
    /// How it starts.
    pub init: Init,
    /// What the initial values are multiplied by.
    pub gain: f64,
    /// The inputs of a unit of its layer: a bias has the fan of its weight.
    pub fan_in: usize,
    /// The units that an input of its layer reaches.
    pub fan_out: usize,
    /// The position of its layer in [`Description::layers`].
    pub layer: usize,
}

impl Description {
    pub(super) fn new(model: &config::Model, sample_shape: &[usize]) -> Result<Self> {
        if model.layers.is_empty() {
            return Err(Error::input("model.layers", "at least one layer is needed, found none"));
        }
        let input = sample_shape.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
        let input = input.filter(|&input| input > 0 && u32::try_from(input).is_ok()).ok_or_else(|| {
            let message = format!("examples of shape {sample_shape:?} cannot be computed with");
            Error::input("sample shape", message)
                .help("every axis needs an extent of at least 1, all together below 2³²")
        })?;
        let mut description = Self { input, layers: Vec::new(), params: Vec::new(), output: input };
        for (index, layer) in model.layers.iter().enumerate() {
            let place = format!("model.layers[{index}] ({})", layer.word());
            description.push(model, layer).map_err(|error| error.within(&place))?;
        }
        if description.params.is_empty() {
            let error = Error::input("model.layers", "no layer has parameters, so there is nothing to train");
            return Err(error.help("add a linear layer: { kind = \"linear\", out = 10 }"));
        }
        Ok(description)
    }

    fn push(&mut self, model: &config::Model, layer: &Layer) -> Result<()> {
        check(layer)?;
        let (index, inputs) = (self.layers.len(), self.output);
        let first = self.params.len();
        let outputs = match layer {
            Layer::Linear { out, .. } => {
                self.push_linear(model, layer, *out)?;
                *out
            }
            Layer::LayerNorm { affine, .. } => {
                if *affine {
                    self.push_affine(inputs);
                }
                inputs
            }
            _ => inputs,
        };
        self.layers.push(LayerInfo {
            index,
            name: index.to_string(),
            kind: layer.word(),
            spec: layer.clone(),
            by_example: ByExample::of(layer),
            inputs,
            outputs,
            params: (first..self.params.len()).collect(),
        });
        self.output = outputs;
        Ok(())
    }

    fn push_linear(&mut self, model: &config::Model, layer: &Layer, out: usize) -> Result<()> {
        let inputs = self.output;
        if out.checked_mul(inputs).is_none_or(|len| u32::try_from(len).is_err()) {
            let message = format!("{inputs} numbers come in, and a weight of [{out}, {inputs}] is too large");
            return Err(Error::input("out", message).help("a weight has fewer than 2³² elements"));
        }
        let Some(start) = model.linear_init(layer) else { return Ok(()) };
        if !(start.gain.is_finite() && start.gain > 0.0) {
            return Err(Error::input("gain", format!("{} is out of range: expected a number > 0", start.gain)));
        }
        check_init(start.weight, "init")?;
        let (index, fan_in, fan_out) = (self.layers.len(), inputs, out);
        let name = format!("{index}.weight");
        let shape = Shape::from([out, inputs]);
        self.params.push(Param { name, shape, init: start.weight, gain: start.gain, fan_in, fan_out, layer: index });
        if let Some(init) = start.bias {
            check_init(init, "bias_init")?;
            if !init.fits_bias() {
                let error = Error::input("bias_init", format!("{init:?} needs a matrix, and a bias is none"));
                return Err(error.help("use zeros, ones, uniform_fan_in, or a constant, normal or uniform number"));
            }
            let name = format!("{index}.bias");
            self.params.push(Param { name, shape: [out].into(), init, gain: 1.0, fan_in, fan_out, layer: index });
        }
        Ok(())
    }

    /// Scale and shift of a layer normalization: ones and zeros, `[features]` each.
    fn push_affine(&mut self, features: usize) {
        let index = self.layers.len();
        for (word, init) in [("weight", Init::Ones), ("bias", Init::Zeros)] {
            let (name, shape) = (format!("{index}.{word}"), Shape::from([features]));
            self.params.push(Param { name, shape, init, gain: 1.0, fan_in: 1, fan_out: 1, layer: index });
        }
    }

    /// The initial values of all parameters for a seed: name, shape, values row-major. Each tensor has a random stream of
    /// its own, so that a change to one leaves the others as they were.
    pub fn initial(&self, seed: u64) -> Vec<(String, Shape, Vec<f64>)> {
        let values = |(i, param): (usize, &Param)| {
            let mut stream = Stream::new(seed, StreamId::Init(i as u32));
            let values = init::fill(&param.init, param.gain, param.fan_in, param.fan_out, param.shape, &mut stream);
            (param.name.clone(), param.shape, values)
        };
        self.params.iter().enumerate().map(values).collect()
    }

    /// Those of parameter tensor i alone, in blocks of `block` values: each block with its first value's place.
    ///
    /// # Errors
    /// Those of `each`.
    pub fn each_initial(
        &self,
        i: usize,
        seed: u64,
        block: usize,
        mut each: impl FnMut(usize, &[f64]) -> Result<()>,
    ) -> Result<()> {
        let param = &self.params[i];
        let mut stream = Stream::new(seed, StreamId::Init(i as u32));
        let mut draw = init::draw(&param.init, param.gain, param.fan_in, param.fan_out, param.shape, &mut stream);
        let len = param.shape.len();
        (0..len).step_by(block).try_for_each(|first| each(first, &draw(block.min(len - first))))
    }

    /// How many numbers are trained.
    pub fn parameter_count(&self) -> usize {
        self.params.iter().map(|param| param.shape.len()).sum()
    }
}

/// Checks the numbers of a layer: those of a config are in range, those of a model built in code need not be.
fn check(layer: &Layer) -> Result<()> {
    let require = |fits: bool, key: &str, found: f64, expected: &str| {
        let error = || Error::input(key, format!("{found} is out of range: expected a number {expected}"));
        if fits { Ok(()) } else { Err(error()) }
    };
    match *layer {
        Layer::Linear { out, .. } => require(out >= 1, "out", out as f64, "≥ 1"),
        Layer::LeakyRelu { slope } => require(slope.is_finite() && slope >= 0.0, "slope", slope, "≥ 0"),
        Layer::Elu { alpha } => require(alpha.is_finite() && alpha >= 0.0, "alpha", alpha, "≥ 0"),
        Layer::Dropout { p } => require((0.0..1.0).contains(&p), "p", p, "≥ 0 and < 1"),
        Layer::LayerNorm { eps, .. } => require(eps.is_finite() && eps > 0.0, "eps", eps, "> 0"),
        _ => Ok(()),
    }
}

/// Checks the number of an initializer that has one.
fn check_init(init: Init, key: &str) -> Result<()> {
    let (number, fits) = match init {
        Init::Constant(x) => (x, x.is_finite()),
        Init::Normal(x) | Init::Uniform(x) => (x, x.is_finite() && x >= 0.0),
        _ => return Ok(()),
    };
    if fits { Ok(()) } else { Err(Error::input(key, format!("{number} is out of range in {init:?}"))) }
}

#[cfg(test)]
mod tests {
    use crate::config::{Init, Layer};
    use crate::nn::Model;

    #[test]
    fn shapes_and_names_are_those_of_a_sequential() {
        let model = Model::new().flatten().linear(128).relu().layer_norm().dropout(0.1).linear_without_bias(10);
        let description = model.with_init(Init::HeNormal).describe(&[8, 8]).unwrap();
        let params: Vec<_> = description.params.iter().map(|p| (p.name.as_str(), p.shape.to_vec(), p.layer)).collect();
        assert_eq!(
            params,
            [
                ("1.weight", vec![128, 64], 1),
                ("1.bias", vec![128], 1),
                ("3.weight", vec![128], 3),
                ("3.bias", vec![128], 3),
                ("5.weight", vec![10, 128], 5),
            ]
        );
        assert_eq!((description.params[0].fan_in, description.params[1].fan_in), (64, 64));
        assert_eq!((description.params[0].init, description.params[1].init), (Init::HeNormal, Init::UniformFanIn));
        assert_eq!((description.output, description.parameter_count()), (10, 64 * 128 + 3 * 128 + 1280));
        let last = &description.layers[5];
        assert_eq!((last.title().as_str(), last.inputs, last.outputs), ("5 linear", 128, 10));
        assert_eq!(last.params, [4]);
    }

    #[test]
    fn tensors_start_independently_of_each_other() {
        let initial = |model: Model, seed| model.describe(&[6]).unwrap().initial(seed);
        let (narrow, wide) =
            (initial(Model::new().linear(4).linear(3), 1), initial(Model::new().linear(4).linear(7), 1));
        assert_eq!(narrow[..2], wide[..2]);
        assert_eq!(narrow[2].2[..], wide[2].2[..12]);
        assert_ne!(narrow, initial(Model::new().linear(4).linear(3), 2));
        assert!(narrow.iter().all(|(_, shape, values)| shape.len() == values.len()));
        let bound = 1.0 / 6f64.sqrt();
        assert!(narrow[1].2.iter().all(|b| b.abs() <= bound), "a bias has the fan of its weight");
    }

    #[test]
    fn errors_name_the_layer_and_what_is_wrong() {
        let linear = |out, gain, init, bias_init| Layer::Linear { out, bias: true, init, gain, bias_init };
        let cases = [
            (Model::new(), "layers: at least one layer"),
            (Model::new().relu(), "no layer has parameters"),
            (Model::new().linear(3).relu().linear(0), "layers[2] (linear): out: 0 is out of range"),
            (Model::new().dropout(1.0).linear(2), "layers[0] (dropout): p: 1 is out of range"),
            (Model::new().dropout(f64::NAN).linear(2), "layers[0] (dropout): p: NaN"),
            (Model::new().linear(usize::MAX), "layers[0] (linear): out: 5 numbers come in"),
            (Model::new().leaky_relu(-1.0), "layers[0] (leaky_relu): slope"),
            (Model::new().layer(Layer::LayerNorm { eps: 0.0, affine: true }), "layers[0] (layer_norm): eps"),
            (Model::new().layer(linear(2, Some(0.0), None, None)), "layers[0] (linear): gain"),
            (Model::new().layer(linear(2, None, Some(Init::Normal(-1.0)), None)), "layers[0] (linear): init"),
            (Model::new().layer(linear(2, None, None, Some(Init::Orthogonal))), "layers[0] (linear): bias_init"),
        ];
        for (model, expected) in cases {
            let error = model.describe(&[5]).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(Model::new().linear(2).describe(&[3, 0]).unwrap_err().to_string().contains("[3, 0]"));
        assert!(Model::new().linear(2).describe(&[usize::MAX, 2]).is_err());
    }
}

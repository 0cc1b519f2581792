//! What verdicts rest on, taken from a run: the facts of config, model and data, and where the readings stand in a step.

use super::objective::Objective;
use crate::base::{Error, Result};
use crate::config::{self, Config, Layer, LossScale, Precision, Reduction, Standardize, nearest};
use crate::data::{Dataset, Targets};
use crate::nn::{Description, LayerInfo, LossSpec};
use crate::probe::{Columns, NonFinite, Values};
use crate::verdict::{Activation, DataFacts, Facts, LayerFacts, LossFact, Measured, Origin, RULES, ScaleFact};
use std::ops::Range;

/// Rows that statistics of the data are taken of, evenly spaced: their standard error is under 2 %.
const ROWS_MAX: usize = 4096;

/// What verdicts rest on of the initial values of a parameter.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Start {
    count: usize,
    squares: f64,
    first: Option<f64>,
    varies: bool,
}

impl Start {
    /// Takes in the next values.
    pub fn add(&mut self, values: &[f64]) {
        let Some(&first) = values.first() else { return };
        let first = *self.first.get_or_insert(first);
        self.count += values.len();
        self.squares = values.iter().fold(self.squares, |sum, x| sum + x * x);
        self.varies |= values.iter().any(|&x| x != first);
    }

    fn mean_square(&self) -> f64 {
        self.squares / self.count.max(1) as f64
    }
}

/// The facts of a run; the starts are those of the model's parameters, in their order.
pub(super) fn facts(
    config: &Config,
    model: &Description,
    objective: &Objective,
    train: &Dataset,
    starts: &[Start],
    batch: usize,
) -> Facts {
    let data = data_facts(config, train);
    let classes = match train.targets() {
        Targets::Classes { classes, .. } => Some(*classes),
        Targets::Values { .. } => None,
    };
    let optimizer = &config.train.optimizer;
    let is_single = config.train.precision != Precision::F64;
    Facts {
        layers: layers(model, starts),
        entries: entries(config),
        classes,
        loss: match objective {
            Objective::Standard(LossSpec::CrossEntropy { .. }) => LossFact::CrossEntropy,
            Objective::Standard(LossSpec::Bce) => LossFact::Bce,
            Objective::Standard(LossSpec::Mse | LossSpec::Huber { .. }) => LossFact::Squared,
            Objective::Standard(LossSpec::Wells(_)) | Objective::Custom(_) => LossFact::Other,
        },
        optimizer: optimizer.word().to_owned(),
        lr: optimizer.lr(),
        is_clipped: config.train.clip_norm.is_some(),
        batch,
        examples: train.len(),
        chance: chance(config, objective, train).filter(|_| config.loss.reduction == Reduction::Mean),
        rounding: if is_single { f64::from(f32::EPSILON) / 2.0 } else { f64::EPSILON / 2.0 },
        loss_scale: (config.train.precision == Precision::Mixed).then_some(match config.train.loss_scale {
            LossScale::Dynamic => ScaleFact::Dynamic,
            LossScale::Fixed(scale) => ScaleFact::Fixed(scale),
        }),
        data,
    }
}

/// The mean loss of the best constant prediction, classes taken as equally frequent.
fn chance(config: &Config, objective: &Objective, train: &Dataset) -> Option<f64> {
    match (objective, train.targets()) {
        (Objective::Standard(LossSpec::CrossEntropy { .. }), Targets::Classes { classes, .. }) => {
            Some((*classes as f64).ln())
        }
        (Objective::Standard(LossSpec::Mse), Targets::Classes { classes, .. }) if *classes > 2 => {
            let share = 1.0 / *classes as f64;
            Some(share * (1.0 - share))
        }
        (Objective::Standard(LossSpec::Mse), Targets::Values { width, .. }) if *width == 1 => {
            Some(data_facts(config, train).target_std.powi(2))
        }
        _ => None,
    }
}

fn layers(model: &Description, starts: &[Start]) -> Vec<LayerFacts> {
    let mut layers: Vec<LayerFacts> = Vec::new();
    for info in &model.layers {
        if !info.params.is_empty() {
            layers.push(layer(info, starts));
        } else if let (Some(last), Some(activation)) = (layers.last_mut(), activation(&info.spec))
            && last.activation_position.is_none()
        {
            (last.activation, last.activation_position) = (activation, Some(info.index));
        }
    }
    layers
}

fn layer(info: &LayerInfo, starts: &[Start]) -> LayerFacts {
    let start = |of: usize| info.params.get(of).map_or_else(Start::default, |&i| starts[i]);
    let (weight, bias) = (start(0), start(1));
    let is_linear = matches!(info.spec, Layer::Linear { .. });
    LayerFacts {
        name: info.name.clone(),
        kind: info.kind.to_owned(),
        position: info.index,
        inputs: info.inputs,
        outputs: info.outputs,
        activation: Activation::Identity,
        activation_position: None,
        variance: if is_linear { info.inputs as f64 * weight.mean_square() } else { 1.0 },
        bias_square: bias.mean_square(),
        is_constant: is_linear && !weight.varies,
        has_own_init: matches!(
            &info.spec,
            Layer::Linear { init, gain, bias_init, .. } if init.is_some() || gain.is_some() || bias_init.is_some()
        ),
    }
}

/// The activation that a layer is; none if it is another kind of layer.
pub fn activation(layer: &Layer) -> Option<Activation> {
    Some(match layer {
        Layer::Relu => Activation::Relu,
        Layer::LeakyRelu { slope } => Activation::LeakyRelu(*slope),
        Layer::Elu { alpha } => Activation::Elu(*alpha),
        Layer::Gelu { .. } => Activation::Gelu,
        Layer::Silu => Activation::Silu,
        Layer::Sigmoid => Activation::Sigmoid,
        Layer::Tanh => Activation::Tanh,
        Layer::Softplus => Activation::Softplus,
        Layer::Softmax => Activation::Softmax,
        Layer::Linear { .. } | Layer::LayerNorm { .. } => return None,
        Layer::Identity | Layer::Flatten | Layer::Dropout { .. } => return None,
    })
}

/// Each entry of `model.layers`, in TOML.
fn entries(config: &Config) -> Vec<String> {
    let Ok(table) = toml::Value::try_from(config) else { return Vec::new() };
    let layers = table.get("model").and_then(|model| model.get("layers")).and_then(toml::Value::as_array);
    layers.into_iter().flatten().map(ToString::to_string).collect()
}

fn data_facts(config: &Config, train: &Dataset) -> DataFacts {
    let x = train.x();
    let step = x.nrows().div_ceil(ROWS_MAX).max(1);
    let count = x.nrows().div_ceil(step).max(1) as f64;
    let (mut sums, mut squares) = (vec![0.0; x.ncols()], vec![0.0; x.ncols()]);
    let mut max = 0.0f64;
    for row in x.rows().into_iter().step_by(step) {
        for (feature, &value) in row.iter().enumerate() {
            let value = f64::from(value);
            sums[feature] += value;
            squares[feature] += value * value;
            max = max.max(value.abs());
        }
    }
    let features = x.ncols().max(1) as f64;
    let deviation = |(sum, square): (&f64, &f64)| (square / count - (sum / count).powi(2)).max(0.0).sqrt();
    let mut deviations: Vec<f64> = sums.iter().zip(&squares).map(deviation).filter(|&std| std > 1e-6 * max).collect();
    deviations.sort_by(f64::total_cmp);
    let median = deviations.get(deviations.len().saturating_sub(1) / 2);
    let [target_mean, target_std, target_min, target_max] = target_facts(train);
    DataFacts {
        mean: sums.iter().sum::<f64>() / (count * features),
        rms: (squares.iter().sum::<f64>() / (count * features)).sqrt(),
        max,
        spread: deviations.last().zip(median).map_or(1.0, |(last, median)| last / median),
        is_standardized: config.data.standardize == Standardize::Standardize,
        target_mean,
        target_std,
        target_min,
        target_max,
    }
}

/// Mean, standard deviation, smallest and largest of all target values; those of labels count as between 0 and 1.
fn target_facts(train: &Dataset) -> [f64; 4] {
    let Targets::Values { values, .. } = train.targets() else { return [0.0, 0.0, 0.0, 1.0] };
    let values = || values.iter().map(|&value| f64::from(value));
    let count = values().count().max(1) as f64;
    let mean = values().sum::<f64>() / count;
    let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    [mean, variance.sqrt(), values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max)]
}

/// Where in a step's values that stand which verdicts rest on.
#[derive(Clone, Debug)]
pub(super) struct Places {
    ranges: [Range<usize>; 5],
}

impl Places {
    /// The places in values of these columns.
    pub fn new(columns: &Columns) -> Self {
        let ids = ["signal", "activation_rms", "activation_mean", "layer_grad_norm", "layer_update_ratio"];
        Self { ranges: ids.map(|id| columns.range(id)) }
    }

    /// What a history takes in of a step.
    pub fn measured<'a>(&self, values: &'a Values) -> Measured<'a> {
        let [signal, activation_rms, activation_mean, grad_norm, update_ratio] =
            [0, 1, 2, 3, 4].map(|i| &values.flat()[self.ranges[i].clone()]);
        let loss = values.loss();
        Measured { loss, signal, activation_rms, activation_mean, grad_norm, update_ratio }
    }
}

/// Where the first value that is not finite was, by layers.
pub(super) fn origin(non_finite: NonFinite, tensor_layers: &[usize]) -> Origin {
    match non_finite {
        NonFinite::Activation(layer) => Origin::Activation(layer),
        NonFinite::Loss => Origin::Loss,
        NonFinite::Signal(layer) => Origin::Signal(layer),
        NonFinite::Gradient(tensor) => Origin::Gradient(tensor_layers[tensor]),
    }
}

/// Ids of verdicts as a config has them, checked; `nan` stands for `non_finite`.
pub(super) fn ids(key: &str, words: &[String]) -> Result<Vec<String>> {
    let id = |word: &String| {
        let known = || RULES.iter().map(|rule| rule.id);
        let word = if word == "nan" { "non_finite" } else { word.as_str() };
        if known().any(|id| id == word) {
            return Ok(word.to_owned());
        }
        let error = Error::input(key, format!("there is no verdict `{word}`"));
        Err(match nearest(word, known()) {
            Some(id) => error.help(format!("did you mean `{id}`?")),
            None => error.help(format!("there are {}", known().collect::<Vec<_>>().join(", "))),
        })
    };
    words.iter().map(id).collect()
}

/// The verdicts that are not shown, and those that end a run.
pub(super) fn verdict_ids(verdicts: &config::Verdicts) -> Result<[Vec<String>; 2]> {
    Ok([ids("verdicts.silence", &verdicts.silence)?, ids("verdicts.stop_on", &verdicts.stop_on)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Cadence;
    use crate::probe::{Agenda, Sizes};
    use std::sync::Arc;

    #[test]
    fn places_are_those_of_the_quantities() {
        let every = std::array::from_fn(|_| Cadence::Every(1));
        let sizes = Sizes { layers: 2, resolved: 1, noisy: 1, rectified: 1, bounded: 0, tensors: 3, is_scaled: false };
        let columns = Arc::new(Columns::new(sizes, &Agenda::new(&every).unwrap()));
        let values = Values::new(&columns);
        let places = Places::new(&columns);
        assert_eq!(places.measured(&values).loss, 0.0);
        for (id, range) in ["signal", "activation_rms", "activation_mean", "layer_grad_norm", "layer_update_ratio"]
            .iter()
            .zip(&places.ranges)
        {
            let start = values.get(id).as_ptr() as usize - values.flat().as_ptr() as usize;
            assert_eq!((range.start, range.len()), (start / size_of::<f64>(), values.get(id).len()), "{id}");
        }
        let columns = Arc::new(Columns::new(sizes, &Agenda::default()));
        assert!(Places::new(&columns).measured(&Values::new(&columns)).signal.is_empty());
    }

    #[test]
    fn unknown_ids_are_answered_with_the_nearest() {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        assert_eq!(ids("k", &words(&["nan", "plateau"])).unwrap(), ["non_finite", "plateau"]);
        let error = ids("verdicts.silence", &words(&["platau"])).unwrap_err().to_string();
        assert!(error.contains("verdicts.silence") && error.contains("`plateau`"), "{error}");
    }

    #[test]
    fn entries_of_a_model_can_be_written_back() {
        let mut config = Config::builtin_digits();
        let entries = entries(&config);
        assert_eq!(entries.len(), 5);
        let before = config.model.clone();
        config.set(&format!("model.layers=[{}]", entries.join(", "))).unwrap();
        assert_eq!(config.model, before);
    }
}

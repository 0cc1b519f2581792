//! What can be told from model, data and settings.

use super::super::remedy::{Remedy, fit_head, insert_relu, reinitialize, with_adam};
use super::super::{Activation, Evidence, Found, Grade, LossFact, Need, Rule, Threshold};
use super::{confidence, learns, number};

const INPUT_SIZE: Threshold = Threshold {
    name: "√(mean x²) of the features, or its inverse",
    value: 10.0,
    why: "initializers count on inputs of size 1 (LeCun et al. 1998); pixels from 0 to 1 have 0.4, standardized features 1, \
          pixels from 0 to 255 about 80",
};

const INPUT_OFFSET: Threshold = Threshold {
    name: "|mean| / standard deviation of all features",
    value: 5.0,
    why: "an offset of k deviations makes the curvature along it k² times that of the rest (LeCun et al. 1998)",
};

const INPUT_SPREAD: Threshold = Threshold {
    name: "largest over median standard deviation of a feature",
    value: 30.0,
    why: "the curvature goes with its square: a condition of a thousand, which plain descent needs thousands of steps for",
};

const TARGET_SIZE: Threshold = Threshold {
    name: "√(mean t²) of the targets, or its inverse",
    value: 30.0,
    why: "outputs start at size 1, and the gradient of a squared error goes with the distance: thirty times the step",
};

pub(super) const SYMMETRIC_INIT: Rule = Rule {
    id: "symmetric_init",
    grade: Grade::Fault,
    needs: &[Need::Model],
    condition: "a hidden layer and the next start with all weights equal: its units get equal gradients and stay equal",
    thresholds: &[],
    silences: &[
        "vanishing",
        "exploding",
        "poor_gain",
        "unused_layer",
        "lr_too_low",
        "lr_too_high",
        "plateau",
        "update_ratio",
    ],
    find: symmetric,
};

pub(super) const SOFTMAX_TWICE: Rule = Rule {
    id: "softmax_twice",
    grade: Grade::Fault,
    needs: &[Need::Model],
    condition: "the cross-entropy is taken of outputs that are probabilities already, or the binary one of a sigmoid",
    thresholds: &[],
    silences: &["plateau", "lr_too_low"],
    find: softmax_twice,
};

pub(super) const UNSCALED_TARGETS: Rule = Rule {
    id: "unscaled_targets",
    grade: Grade::Fault,
    needs: &[Need::Data, Need::Model, Need::Loss],
    condition: "target values are larger than 30 or smaller than 1/30, or beyond what the last activation can give",
    thresholds: &[&TARGET_SIZE],
    silences: &["poor_gain", "plateau", "lr_too_high"],
    find: unscaled_targets,
};

pub(super) const UNNORMALIZED_INPUTS: Rule = Rule {
    id: "unnormalized_inputs",
    grade: Grade::Fault,
    needs: &[Need::Data, Need::Loss],
    condition: "features are larger than 10 or smaller than 0.1, five deviations away from 0, or of sizes that differ by 30",
    thresholds: &[&INPUT_SIZE, &INPUT_OFFSET, &INPUT_SPREAD],
    silences: &["poor_gain", "plateau", "lr_too_high", "update_ratio", "dead_units", "saturated_units"],
    find: unnormalized_inputs,
};

pub(super) const MISSING_NONLINEARITY: Rule = Rule {
    id: "missing_nonlinearity",
    grade: Grade::Fault,
    needs: &[Need::Model, Need::Loss],
    condition: "a linear layer follows a linear layer with nothing between: both together are one",
    thresholds: &[],
    silences: &["plateau", "lr_too_high"],
    find: missing_nonlinearity,
};

pub(super) const REGRESSION_ON_CLASSES: Rule = Rule {
    id: "regression_on_classes",
    grade: Grade::Fault,
    needs: &[Need::Model, Need::Data, Need::Loss],
    condition: "the targets are classes, and the loss is that of numbers",
    thresholds: &[],
    silences: &["plateau"],
    find: regression_on_classes,
};

fn symmetric(evidence: &Evidence) -> Option<Found> {
    let linear: Vec<usize> =
        (0..evidence.facts.layers.len()).filter(|&l| evidence.facts.layers[l].is_linear()).collect();
    let is_constant = |l: usize| evidence.facts.layers[l].is_constant && evidence.facts.layers[l].inputs > 1;
    let layers: Vec<usize> = linear
        .windows(2)
        .filter(|pair| is_constant(pair[0]) && is_constant(pair[1]) && evidence.facts.layers[pair[0]].outputs > 1)
        .map(|pair| pair[0])
        .collect();
    let &worst = layers.first()?;
    Some(Found {
        confidence: 1.0,
        because: format!("{} and the next layer start with all weights equal", evidence.facts.layers[worst].name),
        cause: "initialization: units that start equal get equal gradients, and a layer of them is worth one unit"
            .into(),
        numbers: vec![number("layers", layers.len() as f64)],
        remedies: vec![reinitialize(&evidence.facts)],
        layers,
        ..Found::default()
    })
}

fn softmax_twice(evidence: &Evidence) -> Option<Found> {
    let last = evidence.facts.layers.last()?;
    let head = match (evidence.facts.loss, last.activation) {
        (LossFact::CrossEntropy, Activation::Softmax | Activation::Sigmoid) => last.activation,
        (LossFact::Bce, Activation::Sigmoid | Activation::Softmax) => last.activation,
        _ => return None,
    };
    let at = last.activation_position?;
    Some(Found {
        layers: vec![evidence.facts.layers.len() - 1],
        confidence: 1.0,
        because: format!("the model ends with {}, and the loss applies its own", head.word()),
        cause: "wrong head: outputs confined to 0 to 1 can say one class is e times as likely as another, not more"
            .into(),
        numbers: Vec::new(),
        remedies: vec![Remedy::set("leave it to the loss", &format!("model.layers[{at}]"), "\"identity\"")],
        ..Found::default()
    })
}

fn unscaled_targets(evidence: &Evidence) -> Option<Found> {
    let (facts, data) = (&evidence.facts, &evidence.facts.data);
    if facts.classes.is_some() || facts.loss != LossFact::Squared {
        return None;
    }
    let last = facts.layers.last()?;
    let (low, high) = last.activation.range();
    let numbers = vec![
        number("target_mean", data.target_mean),
        number("target_std", data.target_std),
        number("target_min", data.target_min),
        number("target_max", data.target_max),
    ];
    // A hundredth of the range beyond its end can be the noise of targets that belong there.
    let slack = 0.01 * (data.target_max - data.target_min);
    if let Some(at) =
        last.activation_position.filter(|_| data.target_min < low - slack || data.target_max > high + slack)
    {
        return Some(Found {
            layers: vec![facts.layers.len() - 1],
            confidence: 1.0,
            because: format!(
                "targets go from {:.3} to {:.3}, and {} gives {low} to {high}",
                data.target_min,
                data.target_max,
                last.activation.word()
            ),
            cause: "one-sided head: some targets cannot be reached".into(),
            numbers,
            remedies: vec![Remedy::set("a linear output", &format!("model.layers[{at}]"), "\"identity\"")],
            ..Found::default()
        });
    }
    let size = data.target_mean.hypot(data.target_std);
    let far = size.max(1.0 / size);
    if far <= TARGET_SIZE.value || !far.is_finite() {
        return None;
    }
    let mut remedies = vec![fit_head(facts)];
    remedies.extend(with_adam(facts, &remedies[0]));
    remedies.push(Remedy::new(
        "Adam at ten times its usual rate, to get there",
        [("train.optimizer".to_owned(), "\"adam\""), ("train.lr".to_owned(), "0.01")],
    ));
    if !facts.is_clipped {
        remedies.push(Remedy::set("clip the gradient to norm 1", "train.clip_norm", "1.0"));
    }
    Some(Found {
        confidence: confidence(far, TARGET_SIZE.value),
        because: format!("targets have the size {size:.3e}, outputs start at about 1"),
        cause: "data not normalized: divide the targets by their standard deviation where they are made".into(),
        numbers,
        remedies,
        is_eased: learns(evidence),
        ..Found::default()
    })
}

fn unnormalized_inputs(evidence: &Evidence) -> Option<Found> {
    let data = &evidence.facts.data;
    if data.is_standardized || data.rms == 0.0 {
        return None;
    }
    let deviation = (data.rms.powi(2) - data.mean.powi(2)).max(0.0).sqrt();
    // Features that never change, such as the only input of a point in the plane, have no scale to be brought to.
    let is_constant = deviation <= 1e-6 * data.rms;
    let offset = if is_constant { 0.0 } else { data.mean.abs() / deviation };
    let size = if is_constant { 1.0 } else { data.rms.max(1.0 / data.rms) };
    let checks = [
        (size, INPUT_SIZE, format!("features have the size {:.3e}", data.rms)),
        (offset, INPUT_OFFSET, format!("features lie {offset:.1} standard deviations away from 0")),
        (data.spread, INPUT_SPREAD, format!("the largest feature is {:.0} times the median one", data.spread)),
    ];
    let (value, bound, because) = checks.into_iter().find(|(value, bound, _)| *value > bound.value)?;
    Some(Found {
        layers: if evidence.facts.layers.is_empty() { Vec::new() } else { vec![0] },
        confidence: confidence(value, bound.value),
        because,
        cause: "data not normalized: initial weights and learning rates count on features of mean 0 and size 1".into(),
        numbers: vec![
            number("input_rms", data.rms),
            number("input_mean", data.mean),
            number("input_max", data.max),
            number("input_spread", data.spread),
        ],
        remedies: vec![Remedy::set("standardize the features", "data.standardize", "\"standardize\"")],
        is_eased: learns(evidence),
        ..Found::default()
    })
}

fn missing_nonlinearity(evidence: &Evidence) -> Option<Found> {
    let facts = &evidence.facts;
    let layers: Vec<usize> = (1..facts.layers.len())
        .filter(|&l| facts.layers[l].is_linear() && facts.layers[l - 1].is_linear())
        .map(|l| l - 1)
        .filter(|&l| facts.layers[l].activation == Activation::Identity)
        .collect();
    if layers.is_empty() {
        return None;
    }
    Some(Found {
        confidence: 1.0,
        because: format!("{} of {} layers are followed by a linear one directly", layers.len(), facts.layers.len()),
        cause: "the model is no more than a linear one there".into(),
        numbers: vec![number("layers", layers.len() as f64)],
        remedies: vec![insert_relu(facts)],
        is_eased: learns(evidence),
        layers,
        ..Found::default()
    })
}

fn regression_on_classes(evidence: &Evidence) -> Option<Found> {
    let classes = evidence.facts.classes.filter(|_| evidence.facts.loss == LossFact::Squared)?;
    Some(Found {
        confidence: 1.0,
        because: format!("{classes} classes are fitted as numbers"),
        cause: "wrong loss: the squared error of probabilities is flat where a prediction is far off".into(),
        numbers: vec![number("classes", classes as f64)],
        remedies: vec![Remedy::set("the loss that goes with classes", "loss.kind", "\"auto\"")],
        is_eased: learns(evidence),
        ..Found::default()
    })
}

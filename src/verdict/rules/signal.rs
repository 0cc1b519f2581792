//! The signal along depth.

use super::super::remedy::{Remedy, insert_norm, reinitialize, use_adam, use_relu, with_adam};
use super::super::theory::expected;
use super::super::{Activation, Evidence, Found, Grade, Need, Readings, Rule, Threshold};
use super::{confidence, learns, number};

pub(in crate::verdict) const VANISHING_BELOW: Threshold = Threshold {
    name: "‖δ_l‖ / ‖δ_L‖",
    value: 2e-3,
    why: "between three healthy ReLU layers with U(±1/√n), which pass on 0.408² = 0.17, and the mildest net known to fail, \
          five sigmoid layers (4e-4), lies 1e-2 by geometric mean; narrow layers scatter, for which a factor of 5 is left",
};

pub(in crate::verdict) const EXPLODING_ABOVE: Threshold =
    Threshold { name: "‖δ_l‖ / ‖δ_L‖", value: 500.0, why: "the mirror image of vanishing: 1 / 2e-3" };

const ONE_LAYER: Threshold = Threshold {
    name: "what one layer does to the signal / what all do, as logarithms",
    value: 0.4,
    why: "three layers that do alike have a third each; where one does more than the others it is the place to look at",
};

const GAIN_LOW: Threshold = Threshold {
    name: "mean factor a layer at the start",
    value: 0.1,
    why: "below what the usual initializers give for any activation: sigmoid with U(±1/√n) passes on 0.141",
};

const GAIN_HIGH: Threshold = Threshold {
    name: "mean factor a layer at the start",
    value: 3.0,
    why: "twice what the largest of the usual initializers gives: He's on linear layers multiplies by 1.414",
};

const FACTOR_HIGH: Threshold = Threshold {
    name: "factor of one layer at the start",
    value: 12.0,
    why: "on the tuned architectures all layers of a healthy network together multiply by 4 at most, and a last layer whose \
          weights are 30 times too large does by 38 alone",
};

const LOSS_HIGH: Threshold = Threshold {
    name: "first loss / chance",
    value: 12.0,
    why: "outputs of size 1 make a cross-entropy of about ln C + ½; clouds of size 3.4 through He's weights start at up to 9 \
          times chance on the tuned architectures, and learn all the same",
};

pub(super) const VANISHING: Rule = Rule {
    id: "vanishing",
    grade: Grade::Fault,
    needs: &[Need::Signal, Need::Model, Need::Loss],
    condition: "less than 2e-3 of the last layer's signal arrives at a layer, which is not all zero",
    thresholds: &[&VANISHING_BELOW, &ONE_LAYER],
    silences: &[
        "poor_gain",
        "lr_too_low",
        "plateau",
        "update_ratio",
        "underflow",
        "batch_too_small",
        "batch_too_large",
    ],
    find: vanishing,
};

pub(super) const EXPLODING: Rule = Rule {
    id: "exploding",
    grade: Grade::Fault,
    needs: &[Need::Signal, Need::Model, Need::Loss],
    condition: "more than 500 times the last layer's signal arrives at a layer",
    thresholds: &[&EXPLODING_ABOVE, &ONE_LAYER],
    silences: &["poor_gain", "plateau", "update_ratio", "batch_too_small", "batch_too_large"],
    find: exploding,
};

pub(super) const POOR_GAIN: Rule = Rule {
    id: "poor_gain",
    grade: Grade::Fault,
    needs: &[Need::Signal, Need::Loss, Need::Model],
    condition: "at the start the signal is multiplied by more than 3 or less than 0.1 a layer, by more than 12 in one, or the \
                cross-entropy is more \
                than 12 times that of guessing",
    thresholds: &[&GAIN_LOW, &GAIN_HIGH, &FACTOR_HIGH, &LOSS_HIGH],
    silences: &[],
    find: poor_gain,
};

/// Whether the signal vanished or exploded in the first step already: then it is no matter of the learning rate.
pub(super) fn is_off_from_start(readings: &Readings) -> bool {
    let arriving = |l: usize| readings.arriving_start(l);
    (0..readings.layers.len()).any(|l| arriving(l) < VANISHING_BELOW.value || arriving(l) > EXPLODING_ABOVE.value)
}

/// Layers for which `is_bad` holds, the one farthest from 1 first.
fn worst_first(readings: &Readings, is_bad: impl Fn(f64) -> bool) -> Vec<usize> {
    let alive = |l: &usize| readings.layers[*l].log_signal.is_finite();
    let mut layers: Vec<usize> =
        (0..readings.layers.len()).filter(alive).filter(|&l| is_bad(readings.arriving(l))).collect();
    let distance = |l: usize| readings.arriving(l).ln().abs();
    layers.sort_by(|&a, &b| distance(b).total_cmp(&distance(a)));
    layers
}

/// The layers with the one in front at which most of the signal is lost or gained between `worst` and the last, if there is one
/// such layer: in the first step, or now.
fn sharpest_first(readings: &Readings, mut layers: Vec<usize>, worst: usize, at_start: bool) -> Vec<usize> {
    let factor = |l: usize| if at_start { readings.factor_start(l) } else { readings.factor(l) };
    let all = if at_start { readings.arriving_start(worst) } else { readings.arriving(worst) }.ln();
    let share = |&l: &usize| factor(l).ln() / all;
    let at = (worst..readings.layers.len() - 1).max_by(|a, b| share(a).total_cmp(&share(b)));
    if let Some(at) = at.filter(|at| share(at) > ONE_LAYER.value) {
        layers.retain(|&l| l != at);
        layers.insert(0, at);
    }
    layers
}

/// The geometric mean of the factors from a layer to the last.
fn mean_factor(arriving: f64, layer: usize, layers: usize) -> f64 {
    arriving.powf(1.0 / (layers - 1 - layer).max(1) as f64)
}

/// The same as theory has it for the initial weights.
fn expected_factor(evidence: &Evidence, layer: usize) -> f64 {
    let factors = expected(&evidence.facts);
    let product: f64 = factors.iter().skip(layer).map(|layer| layer.factor).product();
    mean_factor(product, layer, factors.len())
}

/// The part of hidden layers from `layer` on whose activation is this kind.
fn share_of(evidence: &Evidence, layer: usize, is_kind: impl Fn(Activation) -> bool) -> f64 {
    let hidden = &evidence.facts.layers[layer..evidence.facts.layers.len() - 1];
    hidden.iter().filter(|facts| is_kind(facts.activation)).count() as f64 / hidden.len().max(1) as f64
}

fn is_flat(activation: Activation) -> bool {
    matches!(activation, Activation::Sigmoid)
}

/// σ_w² over what would keep signals their size, as a geometric mean over linear layers from the one behind `layer` on.
fn relative_variance(evidence: &Evidence, layer: usize) -> Option<f64> {
    let layers = &evidence.facts.layers;
    let ratios: Vec<f64> = (layer + 1..layers.len())
        .filter(|&l| layers[l].is_linear())
        .filter_map(|l| Some((layers[l].variance / layers[l - 1].activation.critical_variance()?).ln()))
        .collect();
    (!ratios.is_empty()).then(|| (ratios.iter().sum::<f64>() / ratios.len() as f64).exp())
}

fn vanishing(evidence: &Evidence) -> Option<Found> {
    let readings = &evidence.readings;
    let layers = worst_first(readings, |arriving| arriving < VANISHING_BELOW.value);
    let &worst = layers.first()?;
    // Ten times the threshold: what was near it at the start is not a thing of the training.
    let from_start = readings.arriving_start(worst) < 10.0 * VANISHING_BELOW.value;
    let layers = sharpest_first(readings, layers, worst, from_start);
    let arriving = readings.arriving(worst);
    let depth = readings.layers.len();
    let (mean, theory) = (mean_factor(arriving, worst, depth), expected_factor(evidence, worst));
    let facts = &evidence.facts;
    let relative = relative_variance(evidence, worst);
    let cause = if !from_start {
        arose(evidence, worst)
    } else if share_of(evidence, worst, is_flat) > 0.5 {
        format!("activation: the slope of a sigmoid is at most ¼; theory expects a factor of {theory:.2} a layer")
    } else if let Some(relative) = relative.filter(|&relative| relative < 0.75) {
        format!(
            "initialization gain: the weights have {relative:.2} times the variance that keeps signals their size; theory \
             expects a factor of {theory:.2} a layer"
        )
    } else {
        format!("depth: {depth} layers without normalization, each of which passes on {mean:.2}")
    };
    let mut remedies = Vec::new();
    if share_of(evidence, worst, is_flat) > 0.0 {
        remedies.extend(use_relu(facts, is_flat));
    } else {
        remedies.push(reinitialize(facts));
        remedies.push(insert_norm(facts));
    }
    remedies.extend(remedies.first().and_then(|first| with_adam(facts, first)));
    remedies.extend(use_adam(facts));
    Some(Found {
        since: Some(readings.layers[worst].vanishing_since.max(1)),
        confidence: confidence(arriving, VANISHING_BELOW.value),
        because: format!(
            "only {arriving:.1e} of the last layer's signal arrives here, less than {:.0e}",
            VANISHING_BELOW.value
        ),
        cause,
        numbers: vec![
            number("arriving", arriving),
            number("arriving_start", readings.arriving_start(worst)),
            number("factor_mean", mean),
            number("factor_expected", theory),
        ],
        remedies,
        is_eased: learns(evidence),
        layers,
    })
}

/// Why a signal vanishes that did not at the start.
fn arose(evidence: &Evidence, worst: usize) -> String {
    let behind = &evidence.readings.layers[worst..];
    if behind.iter().any(|layer| layer.dead_share.is_some_and(|share| share > 0.5)) {
        return "dead units: most units of a layer on the way give nothing".into();
    }
    if behind.iter().any(|layer| layer.saturated_share.is_some_and(|share| share > 0.5)) {
        return "saturation: most activations of a layer on the way have next to no slope".into();
    }
    let peak = behind.iter().fold(0.0, |peak: f64, layer| peak.max(layer.update_peak));
    if peak > super::rate::PEAK_ABOVE.value {
        return format!("learning rate: a step of {peak:.2} times the weights drove units to where they have no slope");
    }
    "it arose in training: weights or slopes have become small".into()
}

fn exploding(evidence: &Evidence) -> Option<Found> {
    let readings = &evidence.readings;
    let layers = worst_first(readings, |arriving| arriving > EXPLODING_ABOVE.value);
    let &worst = layers.first()?;
    let arriving = readings.arriving(worst);
    let (mean, theory) = (mean_factor(arriving, worst, readings.layers.len()), expected_factor(evidence, worst));
    let from_start = readings.arriving_start(worst) > 0.1 * EXPLODING_ABOVE.value;
    let layers = sharpest_first(readings, layers, worst, from_start);
    let cause = match relative_variance(evidence, worst).filter(|&relative| from_start && relative > 1.33) {
        Some(relative) => format!(
            "initialization gain: the weights have {relative:.2} times the variance that keeps signals their size; theory \
             expects a factor of {theory:.2} a layer"
        ),
        None if from_start => format!("depth: each layer multiplies by {mean:.2}"),
        None => "it arose in training: weights have grown".into(),
    };
    let facts = &evidence.facts;
    let mut remedies = vec![reinitialize(facts), insert_norm(facts)];
    remedies.extend(with_adam(facts, &remedies[0]));
    if !facts.is_clipped {
        remedies.push(Remedy::set("clip the gradient to norm 1", "train.clip_norm", "1.0"));
    }
    Some(Found {
        since: Some(readings.layers[worst].exploding_since.max(1)),
        confidence: confidence(arriving, EXPLODING_ABOVE.value),
        because: format!("the signal is {arriving:.1e} times the last layer's, more than {}", EXPLODING_ABOVE.value),
        cause,
        numbers: vec![
            number("arriving", arriving),
            number("arriving_start", readings.arriving_start(worst)),
            number("factor_mean", mean),
            number("factor_expected", theory),
        ],
        remedies,
        is_eased: learns(evidence),
        layers,
    })
}

/// Whether initial weights are too large or too small: what becomes of it is no matter of the learning rate either.
pub(super) fn is_poor_from_start(evidence: &Evidence) -> bool {
    poor_gain(evidence).is_some()
}

fn poor_gain(evidence: &Evidence) -> Option<Found> {
    let (facts, readings) = (&evidence.facts, &evidence.readings);
    let depth = readings.layers.len();
    if readings.steps == 0 || depth < 2 {
        return None;
    }
    let factor = mean_factor(readings.arriving_start(0), 0, depth);
    let is_off = factor > 0.0 && !(GAIN_LOW.value..=GAIN_HIGH.value).contains(&factor);
    let most = (0..depth - 1).map(|l| readings.factor_start(l)).filter(|factor| factor.is_finite()).fold(0.0, f64::max);
    let chance = facts.chance.filter(|_| facts.classes.is_some() && facts.loss == super::super::LossFact::CrossEntropy);
    let excess = chance.map_or(0.0, |chance| readings.loss_start / chance);
    if !is_off && most <= FACTOR_HIGH.value && excess <= LOSS_HIGH.value {
        return None;
    }
    let farthest = |&a: &usize, &b: &usize| {
        let distance = |l: usize| readings.factor_start(l).ln().abs();
        distance(a).total_cmp(&distance(b))
    };
    let worst = (0..depth - 1).max_by(farthest).unwrap_or(0);
    let theory = expected_factor(evidence, 0);
    let (because, sure) = if is_off {
        let bound = if factor < 1.0 { GAIN_LOW.value } else { GAIN_HIGH.value };
        (format!("at the start the signal is multiplied by {factor:.2e} a layer"), confidence(factor, bound))
    } else if most > FACTOR_HIGH.value {
        let because = format!("at the start one layer multiplies the signal by {most:.2e}");
        (because, confidence(most, FACTOR_HIGH.value))
    } else {
        (format!("the first loss is {excess:.1} times that of guessing"), confidence(excess, LOSS_HIGH.value))
    };
    Some(Found {
        layers: vec![worst],
        since: Some(1),
        confidence: sure,
        because,
        cause: format!("initialization gain: theory expects a factor of {theory:.2e} a layer"),
        numbers: vec![
            number("factor_start", factor),
            number("factor_expected", theory),
            number("factor_most", most),
            number("loss_over_chance", excess),
        ],
        remedies: vec![reinitialize(facts)],
        is_eased: learns(evidence),
    })
}

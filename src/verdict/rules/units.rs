//! Units that do nothing, and what the noise of gradients says about the batch.

use super::super::remedy::{Remedy, reinitialize, use_relu};
use super::super::{Activation, Evidence, Found, Grade, LayerReading, Need, Rule, Threshold};
use super::{confidence, learns, number};

const ZERO_SHARE: Threshold = Threshold {
    name: "steps in which a layer's whole gradient is 0, as a share",
    value: 0.5,
    why: "a gradient that is exactly 0 in every element is no matter of size; half of the steps leaves out single batches",
};

const DEAD_SHARE: Threshold = Threshold {
    name: "share of units that give nothing for any example of the window",
    value: 0.5,
    why: "SageMaker Debugger's share of a layer; with a random tenth of a ReLU layer dead a network still trains",
};

const SATURATED_SHARE: Threshold = Threshold {
    name: "share of activations with next to no slope",
    value: 0.5,
    why: "half of the slopes gone multiplies the signal by 0.7 a layer, which is what bad initializers do",
};

const NOISE_HIGH: Threshold = Threshold {
    name: "noise scale / batch",
    value: 20.0,
    why: "(S/S_min − 1)(E/E_min − 1) = 1: at a twentieth of the noise scale twenty-one times the fewest steps are needed, for \
          5 % fewer examples (McCandlish et al. 2018)",
};

const NOISE_LOW: Threshold = Threshold {
    name: "noise scale / batch",
    value: 0.05,
    why: "the mirror image: twenty-one times the fewest examples for 5 % fewer steps",
};

/// Steps before shares over steps mean something.
const STEPS_MIN: u64 = 20;

pub(super) const UNUSED_LAYER: Rule = Rule {
    id: "unused_layer",
    grade: Grade::Fault,
    needs: &[Need::Gradients],
    condition: "in more than half of the steps a layer's whole gradient is exactly 0",
    thresholds: &[&ZERO_SHARE],
    silences: &["plateau", "update_ratio", "vanishing", "lr_too_low", "underflow"],
    find: unused,
};

pub(super) const DEAD_UNITS: Rule = Rule {
    id: "dead_units",
    grade: Grade::Fault,
    needs: &[Need::Units, Need::Loss],
    condition: "more than half of a layer's units give nothing for any example",
    thresholds: &[&DEAD_SHARE],
    silences: &["plateau", "unused_layer"],
    find: dead,
};

pub(super) const SATURATED_UNITS: Rule = Rule {
    id: "saturated_units",
    grade: Grade::Fault,
    needs: &[Need::Units, Need::Loss],
    condition: "more than half of a layer's activations have next to no slope",
    thresholds: &[&SATURATED_SHARE],
    silences: &["plateau"],
    find: saturated,
};

pub(super) const BATCH_TOO_SMALL: Rule = Rule {
    id: "batch_too_small",
    grade: Grade::Advice,
    needs: &[Need::Noise, Need::Model],
    condition: "the noise scale is more than twenty times the batch",
    thresholds: &[&NOISE_HIGH],
    silences: &[],
    find: batch_too_small,
};

pub(super) const BATCH_TOO_LARGE: Rule = Rule {
    id: "batch_too_large",
    grade: Grade::Advice,
    needs: &[Need::Noise, Need::Model],
    condition: "the noise scale is less than a twentieth of the batch",
    thresholds: &[&NOISE_LOW],
    silences: &[],
    find: batch_too_large,
};

/// Layers whose share is above a threshold, the worst first, and its share.
fn above(
    evidence: &Evidence,
    bound: &Threshold,
    share: impl Fn(&LayerReading) -> Option<f64>,
) -> Option<(Vec<usize>, f64)> {
    let shares = evidence.readings.layers.iter().map(share).enumerate();
    let mut layers: Vec<(usize, f64)> =
        shares.filter_map(|(l, share)| Some((l, share?))).filter(|(_, share)| *share > bound.value).collect();
    layers.sort_by(|a, b| b.1.total_cmp(&a.1));
    let worst = layers.first()?.1;
    Some((layers.into_iter().map(|(l, _)| l).collect(), worst))
}

fn unused(evidence: &Evidence) -> Option<Found> {
    let readings = &evidence.readings;
    if readings.steps < STEPS_MIN {
        return None;
    }
    let share_of = |layer: &LayerReading| Some(layer.zero_steps as f64 / readings.steps as f64);
    let (mut layers, share) = above(evidence, &ZERO_SHARE, share_of)?;
    // Weights of 0 pass nothing on in either direction. Without such, the last of them is where the signal ends.
    let is_zero = |l: usize| evidence.facts.layers[l].is_linear() && evidence.facts.layers[l].variance == 0.0;
    layers.sort_by_key(|&l| (!is_zero(l), std::cmp::Reverse(l)));
    let relu = |activation| matches!(activation, Activation::Relu);
    let is_relu = layers.iter().any(|&l| relu(evidence.facts.layers[l].activation));
    let mut remedies = vec![reinitialize(&evidence.facts), Remedy::lr(evidence.facts.lr / 10.0)];
    if is_relu {
        remedies.push(leaky(evidence));
    }
    Some(Found {
        layers,
        since: Some(1),
        confidence: confidence(share, ZERO_SHARE.value),
        because: format!("the layer's whole gradient is exactly 0 in {:.0} % of the steps", 100.0 * share),
        cause: if is_relu {
            "no unit on the way passes a signal on: dead units, or weights of 0 behind it".into()
        } else {
            "no signal reaches the layer: weights of 0 behind it, or an output that it has no part in".into()
        },
        numbers: vec![number("zero_share", share)],
        remedies,
        is_eased: false,
    })
}

/// Leaky ReLU in place of ReLU: its units cannot die.
fn leaky(evidence: &Evidence) -> Remedy {
    let relus = evidence.facts.layers.iter().filter(|layer| layer.activation == Activation::Relu);
    let places = relus.filter_map(|layer| layer.activation_position);
    Remedy::new(
        "leaky ReLU, whose units cannot die",
        places.map(|at| (format!("model.layers[{at}]"), "\"leaky_relu\"")),
    )
}

fn dead(evidence: &Evidence) -> Option<Found> {
    let (mut layers, share) = above(evidence, &DEAD_SHARE, |layer| layer.dead_share)?;
    // Weights of 0 give nothing either, and nothing to what is behind them, but those units are not dead.
    let zeros = evidence.facts.layers.iter().position(|layer| layer.is_linear() && layer.variance == 0.0);
    layers.retain(|&l| zeros.is_none_or(|zeros| l < zeros));
    layers.first()?;
    let peak = evidence.readings.layers.iter().fold(0.0, |peak: f64, layer| peak.max(layer.update_peak));
    let is_fast = peak > super::rate::PEAK_ABOVE.value;
    Some(Found {
        layers,
        confidence: confidence(share, DEAD_SHARE.value),
        because: format!("{:.0} % of the units give nothing for any example", 100.0 * share),
        cause: if is_fast {
            format!("learning rate: a step of {peak:.2} times the weights drove units below 0 for good")
        } else {
            "initialization or biases: pre-activations are below 0 for every example".into()
        },
        numbers: vec![number("dead_share", share), number("update_peak", peak)],
        remedies: vec![Remedy::lr(evidence.facts.lr / 10.0), leaky(evidence), reinitialize(&evidence.facts)],
        is_eased: learns(evidence),
        ..Found::default()
    })
}

fn saturated(evidence: &Evidence) -> Option<Found> {
    let (layers, share) = above(evidence, &SATURATED_SHARE, |layer| layer.saturated_share)?;
    let bounded = |activation| matches!(activation, Activation::Sigmoid | Activation::Tanh);
    let remedies = std::iter::once(reinitialize(&evidence.facts)).chain(use_relu(&evidence.facts, bounded));
    Some(Found {
        confidence: confidence(share, SATURATED_SHARE.value),
        because: format!("{:.0} % of the activations have next to no slope", 100.0 * share),
        cause: "activation saturates: its inputs are too large, by initial weights, unnormalized data or large steps"
            .into(),
        numbers: vec![number("saturated_share", share)],
        remedies: remedies.collect(),
        is_eased: learns(evidence),
        layers,
        ..Found::default()
    })
}

fn batch_too_small(evidence: &Evidence) -> Option<Found> {
    let (noise, facts) = (evidence.readings.noise_scale?, &evidence.facts);
    let ratio = noise / facts.batch as f64;
    let better = (noise.round() as usize).min(facts.examples);
    (ratio > NOISE_HIGH.value && better > facts.batch).then(|| Found {
        confidence: confidence(ratio, NOISE_HIGH.value),
        because: format!("the noise scale of {noise:.0} examples is {ratio:.0} times the batch of {}", facts.batch),
        cause: "batch: steps are mostly noise".into(),
        numbers: vec![number("noise_scale", noise), number("batch", facts.batch as f64)],
        remedies: vec![Remedy::set("a batch of the noise scale", "train.batch", better.to_string())],
        ..Found::default()
    })
}

fn batch_too_large(evidence: &Evidence) -> Option<Found> {
    let (noise, facts) = (evidence.readings.noise_scale?, &evidence.facts);
    let ratio = noise / facts.batch as f64;
    let better = noise.round().max(1.0);
    (ratio < NOISE_LOW.value && noise > 0.0).then(|| Found {
        confidence: confidence(ratio, NOISE_LOW.value),
        because: format!("the batch of {} is {:.0} times the noise scale of {noise:.1}", facts.batch, 1.0 / ratio),
        cause: "batch: more examples say what fewer said already".into(),
        numbers: vec![number("noise_scale", noise), number("batch", facts.batch as f64)],
        remedies: vec![Remedy::set("a batch of the noise scale", "train.batch", format!("{better:.0}"))],
        ..Found::default()
    })
}

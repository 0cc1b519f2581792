//! How far steps go.

use super::super::remedy::{Remedy, calmer, usual_lr};
use super::super::{Evidence, Found, Grade, LayerReading, Need, Rule, Threshold};
use super::{LEARNING_BELOW, baseline, confidence, learns, number};

pub(super) const PEAK_ABOVE: Threshold = Threshold {
    name: "largest ‖Δw‖/‖w‖ of one step",
    value: 0.3,
    why: "Adam's first step moves every weight by its rate: 0.003, three times the usual one, is 0.04 of weights U(±1/8); a \
          step of 0.3 replaces the weights in three steps",
};

const RATIO_HIGH: Threshold = Threshold {
    name: "mean ‖Δw‖/‖w‖",
    value: 0.03,
    why: "thirty times the usual 1e-3: the weights are replaced every thirty steps",
};

const RATIO_STILL: Threshold = Threshold {
    name: "mean ‖Δw‖/‖w‖ where the loss does not fall",
    value: 0.01,
    why: "on the tuned architectures healthy runs that are still at chance move by up to 0.004, and those that a high rate \
          keeps there by 0.013 and more",
};

const RISE_ABOVE: Threshold = Threshold {
    name: "largest loss / its start",
    value: 3.0,
    why: "a mini-batch of 16 at chance scatters by less than a fifth; gradient descent below 2/λ does not triple a loss",
};

const STILL_ABOVE: Threshold = Threshold {
    name: "loss / its start",
    value: 0.95,
    why: "twice the noise of a mean over 50 steps of 32 examples near chance",
};

const MOVED_BELOW: Threshold = Threshold {
    name: "steps · mean ‖Δw‖/‖w‖ of the fastest layer",
    value: 0.05,
    why: "all steps in one direction would have moved no layer by more than a twentieth of its weights",
};

const RATIO_BANDS: [Threshold; 2] = [
    Threshold { name: "mean ‖Δw‖/‖w‖", value: 1e-6, why: "a thousandth of the usual 1e-3" },
    Threshold {
        name: "mean ‖Δw‖/‖w‖", value: 0.1, why: "a hundred times the usual 1e-3, as DeepDiagnosis has it"
    },
];

/// Steps before a rule on progress speaks: two windows of the average.
const STEPS_MIN: u64 = 100;

/// Steps before instability can be told from the first steps of an adaptive rate.
const STEPS_UNSTABLE: u64 = 20;

pub(super) const LR_TOO_HIGH: Rule = Rule {
    id: "lr_too_high",
    grade: Grade::Fault,
    needs: &[Need::Updates, Need::Loss],
    condition: "a step moved a layer by more than 0.3 of its weights or steps do so by 0.03 on average, and the loss has \
                tripled, or is not below 0.95 of the baseline, for which 0.01 on average is enough",
    thresholds: &[&PEAK_ABOVE, &RATIO_HIGH, &RATIO_STILL, &RISE_ABOVE, &STILL_ABOVE],
    silences: &["plateau", "update_ratio", "unused_layer", "dead_units", "saturated_units", "vanishing", "exploding"],
    find: lr_too_high,
};

pub(super) const LR_TOO_LOW: Rule = Rule {
    id: "lr_too_low",
    grade: Grade::Fault,
    needs: &[Need::Updates, Need::Loss],
    condition: "after 100 steps the loss is above half of the baseline, and all steps together can have moved no layer by more \
                than 0.05 of its weights",
    thresholds: &[&MOVED_BELOW, &LEARNING_BELOW],
    silences: &["plateau", "update_ratio", "underflow"],
    find: lr_too_low,
};

pub(super) const UPDATE_RATIO: Rule = Rule {
    id: "update_ratio",
    grade: Grade::Advice,
    needs: &[Need::Updates],
    condition: "a layer moves by more than 0.1 or less than 1e-6 of its weights a step",
    thresholds: &[&RATIO_BANDS[0], &RATIO_BANDS[1]],
    silences: &[],
    find: update_ratio,
};

pub(super) const UNDERFLOW: Rule = Rule {
    id: "underflow",
    grade: Grade::Fault,
    needs: &[Need::Updates, Need::Model],
    condition: "a layer moves by less than the rounding of its weights, and more than nothing",
    thresholds: &[],
    silences: &["plateau", "update_ratio"],
    find: underflow,
};

/// The layer with the largest value.
fn largest(layers: &[LayerReading], value: impl Fn(&LayerReading) -> f64) -> Option<(usize, f64)> {
    let values = layers.iter().map(value).enumerate();
    values.max_by(|a, b| a.1.total_cmp(&b.1))
}

fn lr_too_high(evidence: &Evidence) -> Option<Found> {
    let (facts, readings) = (&evidence.facts, &evidence.readings);
    let (at_peak, peak) = largest(&readings.layers, |layer| layer.update_peak)?;
    let (_, ratio) = largest(&readings.layers, |layer| layer.update_ratio)?;
    let is_large = peak > PEAK_ABOVE.value || ratio > RATIO_HIGH.value;
    if readings.steps < STEPS_UNSTABLE || super::signal::is_off_from_start(readings) {
        return None;
    }
    let top = readings.loss_start.max(facts.chance.unwrap_or(0.0));
    let rise = readings.loss_high / top;
    let share = readings.loss / baseline(evidence);
    let is_unstable = is_large && rise > RISE_ABOVE.value;
    let is_still = share > STILL_ABOVE.value && (is_large || ratio > RATIO_STILL.value);
    if !is_unstable && !is_still {
        return None;
    }
    let usual = usual_lr(&facts.optimizer);
    let mut remedies = vec![Remedy::lr(facts.lr / 10.0), Remedy::lr(facts.lr / 100.0)];
    if facts.lr > 10.0 * usual {
        remedies.insert(0, Remedy::lr(usual));
    }
    remedies.extend(calmer(facts));
    let because = format!("a step moved the weights by {peak:.2} of their size ({ratio:.1e} on average), and the loss");
    Some(Found {
        layers: vec![at_peak],
        since: Some(1),
        confidence: confidence(peak, PEAK_ABOVE.value).max(confidence(ratio, RATIO_HIGH.value)),
        because: if is_unstable {
            format!("{because} rose to {rise:.1e} times its start")
        } else {
            format!("{because} stands at {share:.2} of the baseline")
        },
        cause: format!("learning rate: {} is too much for {} here", facts.lr, facts.optimizer),
        numbers: vec![
            number("update_peak", peak),
            number("update_ratio", ratio),
            number("loss_rise", rise),
            number("loss_share", share),
        ],
        remedies,
        is_eased: learns(evidence),
    })
}

fn lr_too_low(evidence: &Evidence) -> Option<Found> {
    let (facts, readings) = (&evidence.facts, &evidence.readings);
    let (layer, ratio) = largest(&readings.layers, |layer| layer.update_ratio)?;
    let share = readings.loss_share();
    let moved = ratio * readings.steps as f64;
    // Less than the rounding is another matter: what a step adds is lost.
    if ratio < facts.rounding || readings.steps < STEPS_MIN || learns(evidence) || moved >= MOVED_BELOW.value {
        return None;
    }
    Some(Found {
        layers: vec![layer],
        since: Some(1),
        confidence: confidence(moved.max(f64::MIN_POSITIVE), MOVED_BELOW.value),
        because: format!(
            "the fastest layer moves by {ratio:.1e} of its weights a step, and the loss is {share:.2} of its start"
        ),
        cause: format!("learning rate: {} is too little for {} here", facts.lr, facts.optimizer),
        numbers: vec![number("update_ratio", ratio), number("loss_share", share)],
        remedies: vec![Remedy::lr(usual_lr(&facts.optimizer).max(10.0 * facts.lr)), Remedy::lr(100.0 * facts.lr)],
        is_eased: false,
    })
}

fn update_ratio(evidence: &Evidence) -> Option<Found> {
    let readings = &evidence.readings;
    let [low, high] = RATIO_BANDS.map(|bound| bound.value);
    let is_off = |ratio: f64| ratio > high || (ratio > 0.0 && ratio < low);
    let distance = |l: &usize| (readings.layers[*l].update_ratio / 1e-3).ln().abs();
    let off = (0..readings.layers.len()).filter(|&l| is_off(readings.layers[l].update_ratio));
    let worst = off.max_by(|a, b| distance(a).total_cmp(&distance(b))).filter(|_| readings.steps >= STEPS_UNSTABLE)?;
    let ratio = readings.layers[worst].update_ratio;
    let lr = evidence.facts.lr;
    Some(Found {
        layers: vec![worst],
        confidence: confidence(ratio, if ratio > high { high } else { low }),
        because: format!("the layer moves by {ratio:.1e} of its weights a step; about 1e-3 is common"),
        cause: "learning rate, or weights of unusual size".into(),
        numbers: vec![number("update_ratio", ratio)],
        remedies: vec![Remedy::lr(if ratio > high { lr / 10.0 } else { lr * 10.0 })],
        ..Found::default()
    })
}

fn underflow(evidence: &Evidence) -> Option<Found> {
    let (facts, readings) = (&evidence.facts, &evidence.readings);
    let is_lost = |layer: &LayerReading| layer.update_ratio > 0.0 && layer.update_ratio < facts.rounding;
    let lost: Vec<usize> = (0..readings.layers.len()).filter(|&l| is_lost(&readings.layers[l])).collect();
    let &worst = lost.first().filter(|_| readings.steps >= STEPS_UNSTABLE)?;
    let ratio = readings.layers[worst].update_ratio;
    Some(Found {
        layers: lost,
        confidence: confidence(ratio, facts.rounding),
        because: format!("updates are {ratio:.1e} of the weights, whose rounding is {:.1e}", facts.rounding),
        cause: "numeric underflow: what is added to most weights is lost".into(),
        numbers: vec![number("update_ratio", ratio), number("rounding", facts.rounding)],
        remedies: vec![
            Remedy::lr(usual_lr(&facts.optimizer).max(100.0 * facts.lr)),
            Remedy::set("double precision, on the CPU", "train.precision", "\"f64\""),
        ],
        is_eased: learns(evidence),
        ..Found::default()
    })
}

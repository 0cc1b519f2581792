//! How a run goes, and how it ends.

use super::super::remedy::{Remedy, calmer, usual_lr};
use super::super::{Evidence, Found, Grade, Need, Origin, Rule, Threshold};
use super::signal::{is_off_from_start, is_poor_from_start};
use super::{baseline, confidence, number};

const CONVERGED_BELOW: Threshold = Threshold {
    name: "loss / min(start, chance)",
    value: 0.05,
    why: "a classifier at this share gives its training examples a probability of e^(−0.05·ln 10) = 0.9 for ten classes",
};

const OVERFIT_ABOVE: Threshold =
    Threshold { name: "validation loss / its lowest", value: 1.1, why: "SageMaker Debugger's tenth" };

/// Validations without a better one before it is called overfitting: one or two are noise.
const OVERFIT_VALIDATIONS: u64 = 3;

const PLATEAU_ABOVE: Threshold = Threshold {
    name: "loss / min(start, chance)",
    value: 0.5,
    why: "a loss that stands still below half of chance may be as low as noise in the data allows",
};

const PLATEAU_CHANGE: Threshold = Threshold {
    name: "change from the mean over 250 steps to that over 50",
    value: 0.01,
    why: "half of the noise of a mean over 50 steps of 32 examples",
};

const PLATEAU_STEPS: u64 = 500;

pub(super) const NON_FINITE: Rule = Rule {
    id: "non_finite",
    grade: Grade::Fault,
    needs: &[Need::Loss, Need::Signal, Need::Activations, Need::Updates],
    condition: "an activation, the loss, a signal or a gradient is not finite",
    thresholds: &[],
    silences: &[
        "vanishing",
        "exploding",
        "poor_gain",
        "unused_layer",
        "lr_too_high",
        "lr_too_low",
        "overfitting",
        "plateau",
        "update_ratio",
        "converged",
    ],
    find: non_finite,
};

pub(super) const OVERFITTING: Rule = Rule {
    id: "overfitting",
    grade: Grade::Advice,
    needs: &[Need::Validation, Need::Loss],
    condition: "for three validations none was better, the last is a tenth above the lowest, and the training loss fell",
    thresholds: &[&OVERFIT_ABOVE],
    silences: &["plateau"],
    find: overfitting,
};

pub(super) const PLATEAU: Rule = Rule {
    id: "plateau",
    grade: Grade::Advice,
    needs: &[Need::Loss],
    condition: "after 500 steps the loss over 50 steps is within 1 % of that over 250, and above half of the baseline",
    thresholds: &[&PLATEAU_ABOVE, &PLATEAU_CHANGE],
    silences: &[],
    find: plateau,
};

pub(super) const CONVERGED: Rule = Rule {
    id: "converged",
    grade: Grade::Information,
    needs: &[Need::Loss, Need::Signal],
    condition: "the loss is below 5 % of its start or of chance, and the last layer's signal below its own start",
    thresholds: &[&CONVERGED_BELOW],
    silences: &[
        "vanishing",
        "exploding",
        "poor_gain",
        "unused_layer",
        "plateau",
        "update_ratio",
        "lr_too_low",
        "underflow",
        "batch_too_small",
        "batch_too_large",
    ],
    find: converged,
};

pub(super) const HEALTHY: Rule = Rule {
    id: "healthy",
    grade: Grade::Information,
    needs: &[],
    condition: "no fault and no advice",
    thresholds: &[],
    silences: &[],
    find: healthy,
};

fn place(evidence: &Evidence, origin: Origin) -> (Vec<usize>, String) {
    let name = |l: usize| {
        evidence.facts.layers.get(l).map_or(l.to_string(), |layer| format!("{} ({})", layer.name, layer.kind))
    };
    match origin {
        Origin::Activation(l) => (vec![l], format!("the activations of layer {}", name(l))),
        Origin::Loss => (Vec::new(), "the loss, while all activations were finite".into()),
        Origin::Signal(l) => (vec![l], format!("the backpropagated signal at layer {}", name(l))),
        Origin::Gradient(l) => (vec![l], format!("the gradient of layer {}", name(l))),
    }
}

/// What had grown most since the first step, and how many times.
fn growing(evidence: &Evidence) -> Option<(String, f64)> {
    let readings = &evidence.readings;
    let mut grown = vec![("the loss".to_owned(), readings.loss_high / readings.loss_start)];
    for (layer, facts) in readings.layers.iter().zip(&evidence.facts.layers) {
        let activation = layer.activation_last / layer.activation_start;
        grown.push((format!("the activations of layer {}", facts.name), activation));
        grown.push((
            format!("the signal at layer {}", facts.name),
            (layer.log_signal_last - layer.log_signal_start).exp(),
        ));
    }
    grown
        .into_iter()
        .filter(|(_, times)| times.is_finite())
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .filter(|(_, times)| *times > 2.0)
}

fn non_finite(evidence: &Evidence) -> Option<Found> {
    let (facts, readings) = (&evidence.facts, &evidence.readings);
    let (step, origin) = readings.non_finite?;
    let (layers, place) = place(evidence, origin);
    let growing = growing(evidence);
    let before = match &growing {
        Some((what, times)) => format!("; before that {what} had grown {times:.1e} times"),
        None if readings.steps == 0 => "; it was so in the first step".into(),
        None => "; nothing had grown before that".into(),
    };
    let peak = readings.layers.iter().fold(0.0, |peak: f64, layer| peak.max(layer.update_peak));
    let mut remedies = vec![Remedy::lr(facts.lr / 10.0), Remedy::lr(usual_lr(&facts.optimizer).min(facts.lr / 100.0))];
    if !facts.is_clipped {
        remedies.push(Remedy::set("clip the gradient to norm 1", "train.clip_norm", "1.0"));
    }
    let cause = if readings.steps == 0 && facts.data.rms > 1e3 {
        "data not normalized: features are very large".to_owned()
    } else if readings.steps == 0 {
        remedies.insert(0, super::super::remedy::reinitialize(facts));
        "initialization: signals pass the range of the numbers before anything was learned".to_owned()
    } else if is_off_from_start(readings) || is_poor_from_start(evidence) {
        remedies.insert(0, super::super::remedy::reinitialize(facts));
        "initialization: signals grow or shrink along depth from the first step on, or the first loss is far too high"
            .to_owned()
    } else {
        remedies.extend(calmer(facts));
        format!("learning rate: a step moved the weights by up to {peak:.2e} of their size")
    };
    if !facts.data.is_standardized && facts.data.rms > 10.0 {
        remedies.insert(0, Remedy::set("standardize the features", "data.standardize", "\"standardize\""));
    }
    Some(Found {
        layers,
        since: Some(step),
        confidence: 1.0,
        because: format!("the first value that is not finite is in {place}{before}"),
        cause,
        numbers: vec![
            number("step", step as f64),
            number("growth", growing.map_or(1.0, |(_, times)| times)),
            number("update_peak", peak),
        ],
        remedies,
        is_eased: false,
    })
}

fn overfitting(evidence: &Evidence) -> Option<Found> {
    let seen = evidence.readings.validation?;
    let ratio = seen.last / seen.best;
    let fell = evidence.readings.loss < seen.train_at_best;
    if seen.since_best < OVERFIT_VALIDATIONS || ratio <= OVERFIT_ABOVE.value || !fell {
        return None;
    }
    let remedies = vec![
        Remedy::set("stop when the validation loss rises", "validate.patience", "3"),
        Remedy::set("decay the weights", "train.weight_decay", "0.01"),
    ];
    Some(Found {
        since: Some(seen.best_step),
        confidence: confidence(ratio, OVERFIT_ABOVE.value),
        because: format!(
            "the validation loss is {ratio:.2} times its lowest, of step {}, and the training loss has fallen from {:.3e} to \
             {:.3e}",
            seen.best_step, seen.train_at_best, evidence.readings.loss
        ),
        cause: "the model learns what is special to the training examples".into(),
        numbers: vec![number("validation_ratio", ratio), number("validation_best", seen.best)],
        remedies,
        ..Found::default()
    })
}

fn plateau(evidence: &Evidence) -> Option<Found> {
    let readings = &evidence.readings;
    let change = (readings.loss / readings.loss_slow - 1.0).abs();
    let share = readings.loss / baseline(evidence);
    if readings.steps < PLATEAU_STEPS || change >= PLATEAU_CHANGE.value || share <= PLATEAU_ABOVE.value {
        return None;
    }
    let lr = evidence.facts.lr;
    Some(Found {
        since: Some(readings.steps.saturating_sub(250).max(1)),
        confidence: confidence(share, PLATEAU_ABOVE.value),
        because: format!("the loss stands still at {share:.2} of the baseline: {:.2} % in 250 steps", 100.0 * change),
        cause: "a flat stretch, a model too small, or noise that outweighs what a step gains".into(),
        numbers: vec![number("loss_share", share), number("loss_change", change)],
        remedies: vec![Remedy::lr(lr / 10.0), Remedy::lr(lr * 3.0)],
        ..Found::default()
    })
}

fn converged(evidence: &Evidence) -> Option<Found> {
    let readings = &evidence.readings;
    let last = readings.layers.last()?;
    let share = readings.loss / baseline(evidence);
    let signal = (last.log_signal - last.log_signal_start).exp();
    (share < CONVERGED_BELOW.value && (signal < 1.0 || last.log_signal == f64::NEG_INFINITY)).then(|| Found {
        confidence: confidence(share.max(f64::MIN_POSITIVE), CONVERGED_BELOW.value),
        because: format!("the loss fell to {:.1} % of its start, or of chance, and the signal with it", 100.0 * share),
        cause: "there is little left to learn from the training examples".into(),
        numbers: vec![number("loss_share", share), number("signal_share", signal)],
        ..Found::default()
    })
}

/// Only what is left when all is judged: any fault or advice takes it back.
fn healthy(evidence: &Evidence) -> Option<Found> {
    (evidence.readings.steps > 0).then(|| Found {
        confidence: 1.0,
        because: "nothing to mend was found".into(),
        cause: "signals keep their size along depth, and steps fit the weights".into(),
        ..Found::default()
    })
}

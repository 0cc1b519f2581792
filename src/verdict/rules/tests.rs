//! Each rule on evidence made by hand, near its threshold on either side.

use super::super::evidence::{DataFacts, LayerReading, ValidationReading};
use super::super::*;

/// Three linear layers with ReLU between, ten classes, in the middle of a run that goes well.
fn healthy() -> Evidence {
    let layer = |i: usize| LayerFacts {
        name: (2 * i).to_string(),
        kind: "linear".into(),
        position: 2 * i,
        inputs: 32,
        outputs: 32,
        activation: if i < 2 { Activation::Relu } else { Activation::Identity },
        activation_position: (i < 2).then_some(2 * i + 1),
        variance: 2.0,
        ..LayerFacts::default()
    };
    let reading = LayerReading {
        activation: 1.0,
        activation_start: 1.0,
        activation_last: 1.0,
        update_ratio: 1e-3,
        update_peak: 1e-2,
        ..LayerReading::default()
    };
    Evidence {
        facts: Facts {
            layers: (0..3).map(layer).collect(),
            entries: vec!["{ kind = \"linear\", out = 32 }".into(); 5],
            classes: Some(10),
            loss: LossFact::CrossEntropy,
            optimizer: "sgd".into(),
            lr: 0.1,
            batch: 32,
            examples: 1000,
            chance: Some(10f64.ln()),
            rounding: 6e-8,
            data: DataFacts { rms: 0.5, mean: 0.3, max: 1.0, spread: 2.0, target_max: 1.0, ..DataFacts::default() },
            ..Facts::default()
        },
        readings: Readings {
            steps: 300,
            loss_start: 2.3,
            loss: 1.5,
            loss_slow: 1.7,
            loss_low: 1.5,
            loss_high: 2.4,
            layers: vec![reading; 3],
            ..Readings::default()
        },
    }
}

fn ids(change: impl Fn(&mut Evidence)) -> Vec<&'static str> {
    of(change).into_iter().map(|verdict| verdict.id).collect()
}

fn of(change: impl Fn(&mut Evidence)) -> Vec<Verdict> {
    let mut evidence = healthy();
    change(&mut evidence);
    judge(&evidence, &[])
}

/// The grade of the only verdict.
fn grade(change: impl Fn(&mut Evidence)) -> (&'static str, Grade) {
    let verdicts = of(change);
    assert_eq!(verdicts.len(), 1, "{verdicts:?}");
    (verdicts[0].id, verdicts[0].grade)
}

#[test]
fn a_verdict_names_the_layer_where_it_begins() {
    let first = |id: &str, change: &dyn Fn(&mut Evidence)| {
        let verdicts = of(|e| {
            (e.facts.layers, e.readings.layers) = (vec![e.facts.layers[0].clone(); 5], vec![e.readings.layers[0]; 5]);
            (0..5).for_each(|l| e.facts.layers[l].name = l.to_string());
            change(e);
        });
        let of_id = verdicts.iter().find(|verdict| verdict.id == id);
        of_id.map(|verdict| verdict.layer.clone().unwrap_or_default()).unwrap_or_else(|| panic!("{verdicts:?}"))
    };
    let arriving = |signals: [f64; 5]| {
        first("vanishing", &|e| {
            for (layer, signal) in e.readings.layers.iter_mut().zip(signals) {
                (layer.log_signal, layer.log_signal_start) = (signal.ln(), signal.ln());
            }
        })
    };
    assert_eq!(arriving([1e-8, 1e-6, 1e-4, 1e-2, 1.0]), "0", "each loses alike");
    assert_eq!(arriving([1e-5, 1e-5, 1e-5, 0.5, 1.0]), "2", "one loses all");
    let exploding = |evidence: &mut Evidence| {
        for (layer, signal) in evidence.readings.layers.iter_mut().zip([800.0, 1000.0, 900.0, 800.0, 1.0f64]) {
            (layer.log_signal, layer.log_signal_start) = (signal.ln(), signal.ln());
        }
    };
    assert_eq!(first("exploding", &exploding), "3");
    let unused = |zeros: Option<usize>| {
        first("unused_layer", &|e| {
            (0..4).for_each(|l| e.readings.layers[l].zero_steps = 300);
            zeros.into_iter().for_each(|l| e.facts.layers[l].variance = 0.0);
        })
    };
    assert_eq!((unused(None), unused(Some(1))), ("3".into(), "1".into()), "weights of 0, else where the signal ends");
    let dead = |e: &mut Evidence| {
        (2..4).for_each(|l| e.readings.layers[l].dead_share = Some(1.0));
        (0..4).for_each(|l| e.readings.layers[l].zero_steps = 300);
    };
    assert_eq!(first("dead_units", &dead), "2");
}

fn signal(evidence: &mut Evidence, at_start: f64, now: f64) {
    evidence.readings.layers[0].log_signal_start = at_start.ln();
    evidence.readings.layers[0].log_signal = now.ln();
}

#[test]
fn nothing_is_found_in_a_run_that_goes_well() {
    assert_eq!(ids(|_| ()), ["healthy"]);
    assert!(ids(|e| e.readings = Readings::default()).is_empty(), "nothing is said before the first step");
}

#[test]
fn signals_are_judged_along_depth_not_by_size() {
    let grown = |evidence: &mut Evidence, size: f64| {
        for layer in &mut evidence.readings.layers {
            layer.log_signal += size.ln();
            layer.log_signal_start += size.ln();
        }
    };
    for size in [1e-12, 1.0, 1e9] {
        let run = |arriving: f64| {
            ids(|e| {
                signal(e, arriving, arriving);
                grown(e, size);
            })
        };
        assert_eq!((run(3e-3), run(1e-3)), (vec!["poor_gain"], vec!["vanishing"]));
        assert_eq!((run(450.0), run(600.0)), (vec!["poor_gain"], vec!["exploding"]));
        assert_eq!(run(0.1), ["healthy"]);
    }
    let verdict = &of(|e| signal(e, 1e-4, 1e-4))[0];
    assert_eq!((verdict.layer.as_deref(), verdict.layers.len(), verdict.since), (Some("0"), 1, Some(1)));
    assert!(verdict.confidence > 0.9 && !verdict.remedies.is_empty(), "{verdict:?}");
}

#[test]
fn causes_of_vanishing_are_told_apart() {
    let cause = |change: &dyn Fn(&mut Evidence)| {
        let verdicts = of(|e| {
            signal(e, 1e-4, 1e-4);
            change(e);
        });
        verdicts[0].cause.split(':').next().unwrap_or_default().to_owned()
    };
    assert_eq!(
        cause(&|e| e.facts.layers[..2].iter_mut().for_each(|l| l.activation = Activation::Sigmoid)),
        "activation"
    );
    assert_eq!(cause(&|e| e.facts.layers.iter_mut().for_each(|l| l.variance = 1.0 / 3.0)), "initialization gain");
    assert_eq!(cause(&|_| ()), "depth");
    assert_eq!(cause(&|e| signal(e, 0.5, 1e-4)), "it arose in training");
    let later = |change: &dyn Fn(&mut LayerReading)| {
        cause(&|e| {
            signal(e, 0.5, 1e-4);
            change(&mut e.readings.layers[0]);
        })
    };
    assert_eq!(later(&|layer| layer.dead_share = Some(0.45)), "it arose in training");
    assert_eq!(later(&|layer| layer.update_peak = 2.0), "learning rate");
    let saturated = of(|e| {
        signal(e, 0.5, 1e-4);
        e.readings.layers[1].saturated_share = Some(0.9);
    });
    assert!(saturated.iter().any(|verdict| verdict.id == "saturated_units"));
    assert!(saturated.iter().any(|verdict| verdict.id == "vanishing" && verdict.cause.starts_with("saturation")));
}

#[test]
fn convergence_is_never_taken_for_vanishing() {
    let converged = |loss: f64, last: f64| {
        ids(|e| {
            signal(e, 1e-4, 1e-9);
            e.readings.layers[2].log_signal = last.ln();
            e.readings.loss = loss;
        })
    };
    assert_eq!(converged(0.05, 1e-3), ["converged", "healthy"]);
    assert!(converged(0.05, 2.0).contains(&"vanishing"), "the signal has grown");
    assert!(converged(1.5, 1e-3).contains(&"vanishing"), "the loss has not fallen");
    let early = ids(|e| (e.readings.loss, e.readings.loss_start) = (3.0, 900.0));
    assert!(!early.contains(&"converged"), "the start was bad, and chance is no convergence: {early:?}");
}

#[test]
fn what_learns_gets_advice() {
    let with_loss = |loss: f64| {
        grade(|e| {
            e.facts.data.rms = 80.0;
            e.readings.loss = loss;
        })
    };
    assert_eq!(with_loss(2.2), ("unnormalized_inputs", Grade::Fault));
    assert_eq!(with_loss(0.9), ("unnormalized_inputs", Grade::Advice));
}

#[test]
fn units_are_judged_where_they_are_measured() {
    let dead = |share: f64| ids(|e| e.readings.layers[1].dead_share = Some(share));
    assert_eq!((dead(0.4), dead(0.6)), (vec!["healthy"], vec!["dead_units"]));
    let saturated = |share: f64| ids(|e| e.readings.layers[0].saturated_share = Some(share));
    assert_eq!((saturated(0.4), saturated(0.6)), (vec!["healthy"], vec!["saturated_units"]));
    let zero = |steps: u64| ids(|e| e.readings.layers[1].zero_steps = steps);
    assert_eq!((zero(100), zero(200)), (vec!["healthy"], vec!["unused_layer"]));
    assert_eq!(
        ids(|e| {
            e.readings.layers[0].zero_steps = 300;
            e.readings.layers[0].log_signal = f64::NEG_INFINITY;
        }),
        ["unused_layer"],
        "what is exactly 0 has not vanished"
    );
}

#[test]
fn the_batch_is_judged_where_noise_is_measured() {
    let noise = |scale: f64| ids(|e| e.readings.noise_scale = Some(scale));
    assert_eq!((noise(700.0), noise(600.0)), (vec!["batch_too_small"], vec!["healthy"]));
    assert_eq!((noise(1.0), noise(2.0)), (vec!["batch_too_large"], vec!["healthy"]));
}

#[test]
fn settings_are_judged() {
    let constant = |count: usize| ids(|e| e.facts.layers[..count].iter_mut().for_each(|l| l.is_constant = true));
    assert_eq!((constant(1), constant(2)), (vec!["healthy"], vec!["symmetric_init"]));
    assert_eq!(ids(|e| e.facts.layers[2].is_constant = true), ["healthy"], "a last layer may start at 0");
    let head = |activation| {
        ids(|e| (e.facts.layers[2].activation, e.facts.layers[2].activation_position) = (activation, Some(5)))
    };
    assert_eq!((head(Activation::Softmax), head(Activation::Tanh)), (vec!["softmax_twice"], vec!["healthy"]));
    assert_eq!(ids(|e| e.facts.layers[0].activation = Activation::Identity), ["missing_nonlinearity"]);
    assert_eq!(ids(|e| e.facts.loss = LossFact::Squared), ["regression_on_classes"]);
    let inputs = |change: &dyn Fn(&mut DataFacts)| ids(|e| change(&mut e.facts.data));
    assert_eq!(inputs(&|data| data.rms = 9.0), ["healthy"]);
    assert_eq!(inputs(&|data| (data.mean, data.rms) = (0.003, 0.01)), ["unnormalized_inputs"]);
    assert_eq!(inputs(&|data| (data.mean, data.rms) = (1.0, 1.01)), ["unnormalized_inputs"]);
    assert_eq!(inputs(&|data| data.spread = 100.0), ["unnormalized_inputs"]);
    assert_eq!(inputs(&|data| (data.rms, data.is_standardized) = (80.0, true)), ["healthy"]);
    assert_eq!(inputs(&|data| (data.mean, data.rms) = (1.0, 1.0)), ["healthy"], "what never changes has no scale");
}

#[test]
fn targets_are_judged_by_size_and_reach() {
    let values = |mean: f64, std: f64, activation: Activation| {
        ids(|e| {
            (e.facts.classes, e.facts.loss, e.facts.chance) = (None, LossFact::Squared, None);
            let data = &mut e.facts.data;
            (data.target_mean, data.target_std) = (mean, std);
            (data.target_min, data.target_max) = (mean - 2.0 * std, mean + 2.0 * std);
            (e.facts.layers[2].activation, e.facts.layers[2].activation_position) = (activation, Some(5));
        })
    };
    assert_eq!(values(0.0, 1.0, Activation::Identity), ["healthy"]);
    assert_eq!(values(0.0, 100.0, Activation::Identity), ["unscaled_targets"]);
    assert_eq!(values(0.0, 1.0, Activation::Relu), ["unscaled_targets"]);
    assert_eq!(values(3.0, 1.0, Activation::Relu), ["healthy"]);
}

#[test]
fn rates_are_judged_by_steps_and_loss() {
    let high =
        |peak: f64, rise: f64| ids(|e| (e.readings.layers[1].update_peak, e.readings.loss_high) = (peak, 2.3 * rise));
    assert_eq!((high(1.0, 10.0), high(1.0, 1.0)), (vec!["lr_too_high"], vec!["healthy"]));
    assert_eq!(high(0.1, 10.0), ["healthy"]);
    let low = |ratio: f64, loss: f64| {
        ids(|e| {
            e.readings.layers.iter_mut().for_each(|layer| layer.update_ratio = ratio);
            e.readings.loss = loss;
        })
    };
    assert_eq!(
        (low(1e-4, 2.3), low(1e-4, 1.1), low(1e-3, 2.3)),
        (vec!["lr_too_low"], vec!["healthy"], vec!["healthy"])
    );
    let one = |ratio: f64| ids(|e| e.readings.layers[1].update_ratio = ratio);
    assert_eq!((one(1e-7), one(0.2), one(1e-8)), (vec!["update_ratio"], vec!["update_ratio"], vec!["underflow"]));
    assert_eq!(low(1e-8, 2.3), ["underflow"], "less than the rounding is no matter of patience");
    let still = |ratio: f64, loss: f64| ids(|e| (e.readings.layers[1].update_ratio, e.readings.loss) = (ratio, loss));
    assert_eq!(
        (still(0.02, 2.3), still(0.02, 2.0), still(0.005, 2.3)),
        (vec!["lr_too_high"], vec!["healthy"], vec!["healthy"])
    );
    let loss = |excess: f64| ids(|e| (e.readings.loss_start, e.readings.loss_high) = (2.3 * excess, 2.3 * excess));
    assert_eq!((loss(11.0), loss(13.0)), (vec!["healthy"], vec!["poor_gain"]));
}

#[test]
fn what_half_precision_loses_is_named_with_layer_step_and_scale() {
    let lost = |scale: Option<ScaleFact>, share: f64| {
        of(|e| {
            e.facts.loss_scale = scale;
            (e.readings.layers[0].lost_share, e.readings.layers[1].lost_share) = (share, share / 2.0);
            e.readings.layers[0].lost_since = 70;
            // What comes of it is no verdict of its own.
            e.readings.layers[1].zero_steps = 300;
        })
    };
    let fixed = lost(Some(ScaleFact::Fixed(1.0)), 0.2);
    assert_eq!((fixed[0].id, fixed[0].grade, fixed[0].layer.as_deref()), ("half_underflow", Grade::Fault, Some("0")));
    assert_eq!((fixed.len(), fixed[0].since), (1, Some(70)), "{fixed:?}");
    assert!(fixed[0].because.contains("20 %") && fixed[0].because.contains("scale of 1"), "{}", fixed[0].because);
    let first = |verdicts: &[Verdict]| verdicts[0].remedies[0].changes[0].value.clone();
    assert_eq!(first(&fixed), "\"dynamic\"");
    assert_eq!(first(&lost(Some(ScaleFact::Dynamic), 0.2)), "\"f32\"");
    assert_eq!(lost(Some(ScaleFact::Dynamic), 0.04)[0].id, "unused_layer");
    assert_eq!(lost(None, 0.2)[0].id, "unused_layer");
}

#[test]
fn the_first_value_that_is_not_finite_is_named_with_what_grew() {
    let verdicts = of(|e| {
        e.readings.non_finite = Some((17, Origin::Signal(1)));
        e.readings.layers[1].activation_last = 1e9;
        e.readings.layers[1].update_peak = 5.0;
        e.readings.loss_high = 100.0;
    });
    let [verdict] = &verdicts[..] else { panic!("{verdicts:?}") };
    assert_eq!((verdict.id, verdict.since, verdict.layer.as_deref()), ("non_finite", Some(17), Some("2")));
    assert!(
        verdict.because.contains("signal at layer 2")
            && verdict.because.contains("activations of layer 2 had grown 1.0e9")
    );
    assert!(verdict.cause.starts_with("learning rate"), "{}", verdict.cause);
}

#[test]
fn the_course_of_a_run_is_judged() {
    let seen = |last: f64, since_best: u64| {
        let train_at_best = 1.6;
        let reading = ValidationReading { best: 1.0, last, train_at_best, since_best, best_step: 40 };
        ids(|e| e.readings.validation = Some(reading))
    };
    assert_eq!((seen(1.2, 3), seen(1.2, 2), seen(1.05, 9)), (vec!["overfitting"], vec!["healthy"], vec!["healthy"]));
    let flat = |steps: u64, loss: f64, slow: f64| {
        ids(|e| (e.readings.steps, e.readings.loss, e.readings.loss_slow) = (steps, loss, slow))
    };
    assert_eq!((flat(600, 1.5, 1.501), flat(400, 1.5, 1.501)), (vec!["plateau"], vec!["healthy"]));
    assert_eq!((flat(600, 1.5, 1.6), flat(600, 0.9, 0.9)), (vec!["healthy"], vec!["healthy"]));
}

#[test]
fn a_silenced_verdict_is_not_given() {
    let mut evidence = healthy();
    evidence.facts.data.rms = 80.0;
    assert_eq!(judge(&evidence, &["unnormalized_inputs".to_owned()])[0].id, "healthy");
}

#[test]
fn a_layer_has_one_word() {
    let mut evidence = healthy();
    signal(&mut evidence, 1e-4, 1e-4);
    let words = |evidence: &Evidence| -> Vec<&str> {
        by_layer(evidence, &judge(evidence, &[])).iter().map(|layer| layer.word).collect()
    };
    assert_eq!(words(&evidence), ["vanishing", "healthy", "healthy"]);
    (evidence.readings.loss, evidence.readings.layers[2].log_signal) = (0.01, -3.0);
    assert_eq!(words(&evidence), ["converged"; 3]);
}

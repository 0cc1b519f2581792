//! `kind = "plateau"` against PyTorch (goldens/plateau.py), within runs.

use super::place::Place;
use super::training::{config, on_cpu};
use serde_json::Value;
use steepest::config::Config;
use steepest::data::digits;
use steepest::optim::Plateau;
use steepest::run::steps::{Steps, read_steps};
use steepest::run::validate;

fn of(settings: &str) -> Option<Plateau> {
    let text =
        format!("model.layers = [{{ kind = 'linear', out = 3 }}]\ntrain.schedule = {{ kind = 'plateau', {settings} }}");
    Plateau::of(&config(&text).train.schedule)
}

#[test]
fn rates_are_those_of_pytorch() {
    let goldens: Value = serde_json::from_str(include_str!("../goldens/plateau.json")).unwrap();
    let goldens = goldens.as_object().unwrap();
    assert_eq!(goldens.len(), 5);
    let mut falls = 0;
    for (name, case) in goldens {
        let settings = case["settings"].as_object().unwrap().iter();
        // The base rate is 1, so that PyTorch's least rate is the least factor.
        let settings =
            settings.map(|(key, value)| format!("{} = {value}, ", if key == "min_lr" { "min" } else { key }));
        let settings: String = settings.chain(["noise = 0".to_owned()]).collect();
        let mut plateau = of(&settings).unwrap();
        let numbers = |key: &str| case[key].as_array().unwrap().iter().map(|x| x.as_f64().unwrap());
        for (i, (loss, rate)) in numbers("losses").zip(numbers("rates")).enumerate() {
            let before = plateau.factor();
            plateau.push_validation(&[loss]);
            assert!((plateau.factor() - rate).abs() < 1e-15, "{name}, loss {i}: {} for {rate}", plateau.factor());
            falls += usize::from(plateau.factor() < before);
        }
    }
    assert!(falls > 15, "{falls}");
}

/// A net whose validation loss soon falls no more.
const RUN: &str = "model.layers = [{ kind = 'linear', out = 16 }, 'relu', { kind = 'linear', out = 10 }]\n\
     data.split = 0.2\nrecord.every = 1\ndevice.device = 'cpu'\n[train]\nepochs = 40\noptimizer = 'adam'\nlr = 0.02\n";

fn settings(schedule: &str) -> Config {
    config(&format!("{RUN}schedule = {schedule}"))
}

#[test]
fn a_run_has_the_rates_that_its_validations_ask_for() {
    let schedule = "[{ kind = 'warmup', steps = 20 }, { kind = 'plateau', factor = 0.5, patience = 2, noise = 0 }]";
    let config = settings(schedule);
    let splits = steepest::run::load(&config).unwrap();
    let validation = splits.validation.clone().unwrap();
    let mut trainer = on_cpu::<f32>(&config, splits, 1);
    let mut by_hand = of("factor = 0.5, patience = 2, noise = 0").unwrap();
    let per_epoch = trainer.steps_per_epoch();
    for step in 0..25 * per_epoch {
        let lr = trainer.step().unwrap().values.scalar("lr");
        let expected = 0.02 * (step.min(20) as f64 / 20.0) * by_hand.factor();
        assert!((lr - expected).abs() < 1e-12, "step {step}: {lr} for {expected}");
        if (step + 1) % per_epoch == 0 {
            let loss = validate(&mut trainer, &validation, &config).unwrap().loss;
            by_hand.push_validation(&[loss]);
        }
    }
    assert!(by_hand.factor() < 0.6, "it fell");
}

#[test]
fn a_run_watches_its_training_loss_by_stretches() {
    for (more, stretch) in [("", 45), (", steps = 20", 20)] {
        let rule = format!("factor = 0.5, patience = 1, threshold = 0.02, of = 'train', noise = 1.5{more}");
        let config = settings(&format!("{{ kind = 'plateau', {rule} }}"));
        let mut trainer = on_cpu::<f32>(&config, digits().unwrap(), 1);
        let mut by_hand = of(&rule).unwrap();
        for step in 0..30 * stretch {
            if step > 0 && step % stretch == 0 {
                by_hand.end_stretch();
            }
            let values = &trainer.step().unwrap().values;
            assert_eq!(values.scalar("lr"), 0.02 * by_hand.factor(), "step {step}");
            by_hand.push_step(values.loss());
        }
        assert!(by_hand.factor() < 1.0 && by_hand.factor() > 1e-6, "{}", by_hand.factor());
    }
}

fn rates(steps: &Steps) -> &[f64] {
    &steps.column("lr").unwrap().values
}

/// Noise asks for more: a rate that falls late without it falls sooner with it, since small improvements do not count.
#[test]
fn noise_is_taken_into_account() {
    let place = Place::new();
    let last = |noise: &str| {
        let schedule = format!("{{ kind = 'plateau', factor = 0.5, patience = 3, noise = {noise} }}");
        place.write("net.toml", settings(&schedule).to_toml());
        place.succeeds(&format!("train net.toml --quiet --out noise-{noise}"));
        let steps = read_steps(&place.path().join(format!("noise-{noise}/steps.jsonl"))).unwrap();
        *rates(&steps).last().unwrap()
    };
    let [without, with] = ["0", "3"].map(last);
    assert!(with < without, "{with} and {without}");
}

#[test]
fn a_plateau_without_its_loss_is_refused() {
    let place = Place::new();
    let plateau = "train.schedule={kind=\"plateau\"}";
    for (options, expected) in [
        (format!("--set data.split=0 --set {plateau}"), "train.schedule: there is no validation part"),
        (format!("--set validate.every=0 --set data.split=0.1 --set {plateau}"), "validate.every is 0"),
        ("--set train.schedule={kind=\"plateau\",factor=1}".into(), "train.schedule.factor: 1 is out of range"),
        ("--set train.schedule={kind=\"plateau\",of=\"test\"}".into(), "expected \"validation\" | \"train\""),
        ("--set train.schedule={kind=\"plateau\",noise=-1}".into(), "train.schedule.noise: -1 is out of range"),
        ("--set train.schedule=[\"plateau\",\"plateau\"]".into(), "there is a plateau already"),
    ] {
        place.fails(&format!("train --device cpu --out out {options}"), 2, &[expected]);
    }
}

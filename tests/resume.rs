//! A run that was killed goes on, and becomes the run that nothing interrupted: record, weights and scores byte for byte,
//! but for what the clock says.

#[path = "resume/place.rs"]
mod place;
#[path = "resume/refused.rs"]
mod refused;
mod training;

use place::{Place, files_of, tensors_of};
use std::path::Path;
use steepest::config::Config;
use steepest::data::digits;
use steepest::ops::stats::HALT;
use steepest::run::{Silent, TrainOptions, Trainer, resume, train};
use training::{config, flat, losses, on_cpu, on_gpu};

/// Runs a config once through, and again with `kills` kills on the way, and compares what is left.
fn killed_is_whole(what: &str, changes: &str, device: &str, kills: usize) {
    let place = Place::new(changes);
    let flags = format!("--device {device} --quiet");
    place.succeeds(&format!("train net.toml --out whole {flags}"));
    place.killed(&format!("train net.toml --out killed {flags}"), "killed");
    for _ in 1..kills {
        place.killed(&format!("train --resume killed {flags}"), "killed");
    }
    place.succeeds(&format!("train --resume killed {flags}"));
    let [whole, killed] = ["whole", "killed"].map(|name| place.path().join(name));
    same(what, &whole, &killed);
    let environment = place.json("killed/environment.json");
    assert_eq!(environment["resumed"].as_array().map(Vec::len), Some(kills), "{what}");
}

/// Compares two run folders: everything that does not depend on the clock.
fn same(what: &str, a: &Path, b: &Path) {
    let [whole, other] = [a, b].map(files_of);
    assert!(whole.steps.lines().count() > 10, "{what}: the record has rows");
    for (i, (left, right)) in whole.steps.lines().zip(other.steps.lines()).enumerate() {
        assert_eq!(left, right, "{what}: row {i}");
    }
    assert_eq!(whole.steps.len(), other.steps.len(), "{what}: the rows");
    assert!(whole.weights == other.weights, "{what}: the weights");
    assert_eq!(whole.summary, other.summary, "{what}: the summary");
    assert_eq!(tensors_of(a), tensors_of(b), "{what}: the checkpoint of the end");
}

#[test]
fn a_killed_run_becomes_the_whole_run() {
    for (what, changes) in [
        ("no state, a schedule", "train.optimizer=sgd train.lr=0.05 train.schedule=cosine data.class_weights=balanced"),
        ("one state, f64, streamed", "train.optimizer=momentum train.precision=f64 data.resident=false"),
        ("one state that does not begin at 0", "train.optimizer=adagrad train.initial_accumulator_value=0.3"),
        ("two states, f64", "train.optimizer=rmsprop train.centered=true train.lr=0.001 train.precision=f64"),
        (
            "two states, accumulated, clipped, validated within epochs",
            "train.optimizer=adam train.micro_batch=7 train.clip_norm=0.5 validate.every=37 train.drop_last=true",
        ),
        ("three states", "train.optimizer=rmsprop train.centered=true train.momentum=0.5 train.lr=0.001"),
        ("streamed, accumulated", "train.optimizer=adamw train.micro_batch=12 data.resident=false validate.every=0"),
        (
            "all probes, accumulated",
            "probes.preset=full probes.distance=geometric train.micro_batch=12 train.optimizer=adam record.every=1",
        ),
        ("a probe now and then", "probes.direction=[2,150,400] probes.units=7 probes.histograms=50"),
        (
            "adaptive batches, by examples",
            "train.batch=adaptive train.micro_batch=12 train.optimizer=sgd train.lr=0.1 train.adaptive.every=20 \
             train.schedule=cosine train.adaptive.rate=scale",
        ),
        (
            "adaptive batches, streamed",
            "train.batch=adaptive train.micro_batch=9 train.adaptive.max=200 train.adaptive.criterion=norm_test \
             train.adaptive.threshold=0.2 data.resident=false train.drop_last=true train.epochs=1500",
        ),
        (
            "a plateau of the validation loss, with warm-up",
            "train.lr=0.02 train.schedule=[{kind=\"warmup\",steps=30},{kind=\"plateau\",factor=0.9,patience=1}]",
        ),
        (
            "a plateau of the training loss, within stretches",
            "train.schedule={kind=\"plateau\",factor=0.9,patience=1,of=\"train\",steps=70}",
        ),
        (
            "mixed precision whose scale falls and grows, with skipped steps",
            "train.precision=mixed train.optimizer=adam train.loss_scale_start=16777216 train.loss_scale_growth=90",
        ),
        ("no statistics, patience", "probes.preset=off validate.patience=1000 validate.keep_best=false"),
    ] {
        killed_is_whole(what, changes, "cpu", 2);
    }
}

#[test]
fn the_best_weights_survive_where_they_are_from_before() {
    let place = Place::new("record.every=1 train.max_steps=400 validate.every=20");
    // From step 100 on, steps are so large that nothing gets better.
    let schedule = "train.schedule={kind=\"step\",every=100,factor=1e3}";
    place.succeeds(&format!("train net.toml --quiet --out whole --set {schedule}"));
    place.killed(&format!("train net.toml --quiet --out killed --set {schedule}"), "killed");
    place.succeeds("train --resume killed --quiet");
    same("the best", &place.path().join("whole"), &place.path().join("killed"));
    let best = &place.json("whole/summary.json")["best"]["step"];
    assert!(best.as_u64().unwrap() <= 100, "{best}");
}

#[test]
fn a_killed_run_on_a_gpu_becomes_the_whole_run() {
    let Some(trainer) = on_gpu(&Config::builtin_digits(), digits().unwrap()) else { return };
    let device = trainer.executor().info().name.split_whitespace().next().unwrap().to_owned();
    let less = "record.checkpoint=20 train.max_steps=300 train.epochs=40";
    for changes in [
        "train.optimizer=adam train.micro_batch=12",
        "train.optimizer=momentum data.resident=false",
        "train.batch=adaptive train.micro_batch=12 train.adaptive.max=48 data.resident=false",
    ] {
        killed_is_whole(changes, &format!("{less} {changes}"), &device, 1);
    }
}

#[test]
fn a_finished_run_goes_on_to_a_later_end() {
    // Ends within an epoch, within a row of the record, and between two validations.
    let still = "train.optimizer=sgd train.lr=0";
    for (flag, first, last, more) in [
        ("--epochs", 3, 7, ""),
        ("--max-steps", 30, 70, ""),
        ("--max-steps", 30, 53, still),
        ("--max-steps", 50, 52, ""),
    ] {
        let place = Place::new(&format!("record.every=4 validate.every=50 {more}"));
        let (first, last) = (format!("{flag} {first}"), format!("{flag} {last}"));
        place.succeeds(&format!("train net.toml --quiet --out whole {last}"));
        place.succeeds(&format!("train net.toml --quiet --out grown {first}"));
        place.fails("train --resume grown", &["the run is finished", "is reached", flag]);
        let shown = place.succeeds(&format!("train --resume grown {last}"));
        assert!(shown.contains("from the checkpoint after step"), "{shown}");
        same(flag, &place.path().join("whole"), &place.path().join("grown"));
        assert_eq!(place.json("grown/summary.json")["stopped_by"], place.json("whole/summary.json")["stopped_by"]);
        place.fails("train --resume grown", &["the run is finished"]);
    }
}

#[test]
fn time_and_patience_count_across_an_interruption() {
    let place = Place::new("train.epochs=100000 record.every=1000");
    place.succeeds("train net.toml --quiet --out out --max-time 0.2s");
    place.fails("train --resume out", &["train.max_time is over", "--max-time"]);
    let before = place.json("out/summary.json");
    let steps = before["steps"].as_u64().unwrap() + 1;
    place.succeeds(&format!("train --resume out --quiet --max-time 1h --max-steps {steps}"));
    let after = place.json("out/summary.json");
    let [before, after] = [before, after].map(|summary| summary["seconds"].as_f64().unwrap());
    assert!(before >= 0.2 && after >= 0.2, "{before} s, then {after} s in all");

    let place = Place::new("validate.patience=3 train.optimizer=sgd train.lr=0");
    place.succeeds("train net.toml --quiet --out out");
    place.fails("train --resume out --epochs 900", &["did not get better", "validate.patience"]);
    place.succeeds("train --resume out --quiet --set validate.patience=5");
    let grown = place.json("out/summary.json");
    assert_eq!((&grown["stopped_by"], &grown["epochs"]), (&"patience".into(), &6.0.into()));
}

#[test]
fn a_trainer_goes_on_from_its_state() {
    for more in ["train.optimizer = 'adam'", "train.optimizer = 'sgd'\ndata.resident = false\ntrain.micro_batch = 9"] {
        let text = format!(
            "model.layers = [{{ kind = 'linear', out = 20 }}, 'relu', {{ kind = 'dropout', p = 0.3 }}, \
             {{ kind = 'linear', out = 10 }}]\n{more}"
        );
        let config = config(&text);
        let mut trainer = on_cpu::<f32>(&config, digits().unwrap(), 1);
        losses(&mut trainer, 50);
        let state = trainer.state().unwrap();
        let expected = losses(&mut trainer, 50);
        let setup = training::setup_on_cpu::<f32>(digits().unwrap(), 2);
        let mut resumed = Trainer::resume(&config, setup, state.clone()).unwrap();
        assert_eq!(resumed.state().unwrap(), state);
        assert_eq!(losses(&mut resumed, 50), expected);
        assert_eq!(flat(&resumed.params().unwrap()), flat(&trainer.params().unwrap()));
        assert_eq!(resumed.verdicts(), trainer.verdicts());
        // A halt flag that is up stays up.
        let mut halted = state.clone();
        halted.control[HALT] = 1.0;
        let setup = training::setup_on_cpu::<f32>(digits().unwrap(), 1);
        let mut resumed = Trainer::resume(&config, setup, halted).unwrap();
        losses(&mut resumed, 3);
        assert_eq!(resumed.state().unwrap().arenas["params"], state.arenas["params"]);
        let mut config = config.clone();
        config.set("train.optimizer=rmsprop").unwrap();
        let setup = training::setup_on_cpu::<f32>(digits().unwrap(), 1);
        let error = Trainer::resume(&config, setup, state).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("checkpoint: square_avg"), "{error}");
    }
}

#[test]
fn the_library_resumes_with_the_settings_of_the_folder() {
    let place = Place::new("train.epochs=2");
    let config = Config::from_file(place.path().join("net.toml")).unwrap();
    let out = place.path().join("out");
    let options = TrainOptions { out: Some(out.clone()), ..TrainOptions::default() };
    train(&config, &options, &mut Silent).unwrap();
    let mut config = Config::from_file(out.join("config.toml")).unwrap();
    config.train.epochs = 5;
    let end =
        resume(&config, &out, &TrainOptions { command: vec!["a test".to_owned()], ..options }, &mut Silent).unwrap();
    assert_eq!((end.summary.epochs, end.summary.stopped_by.as_str()), (5.0, "epochs"));
    assert_eq!(Config::from_file(out.join("config.toml")).unwrap(), config);
}

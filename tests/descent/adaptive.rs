//! `train.batch = "adaptive"`.

use super::training::{config, flat, on_cpu, on_gpu};
use std::path::Path;
use steepest::config::Config;
use steepest::data::{Splits, digits};
use steepest::probe::Noise;
use steepest::run::steps::{Steps, read_steps};
use steepest::run::{Silent, Step, TrainOptions, Trainer, train};

/// 1437 examples in micro-batches of 20: the last one of an epoch has 17. The noise grows from below 20 to above 100.
const RUN: &str = "model.layers = [{ kind = 'linear', out = 24 }, 'relu', { kind = 'linear', out = 10 }]\n\
     record.every = 1\ndevice.device = 'cpu'\n[train]\nepochs = 12\nbatch = 'adaptive'\nmicro_batch = 20\n\
     optimizer = 'sgd'\nlr = 0.2\nadaptive.max = 100\nadaptive.every = 25";

fn settings(changes: &[&str]) -> Config {
    let mut config = config(RUN);
    config.set_all(changes).unwrap_or_else(|e| panic!("{e}"));
    config
}

struct Files {
    weights: Vec<u8>,
    record: Vec<u8>,
    steps: Steps,
}

fn run_in(folder: &Path, changes: &[&str]) -> Files {
    let out = folder.join("run");
    let options = TrainOptions { out: Some(out.clone()), ..TrainOptions::default() };
    train(&settings(changes), &options, &mut Silent).unwrap_or_else(|e| panic!("{e}"));
    let read = |name: &str| std::fs::read(out.join(name)).unwrap();
    let steps = read_steps(&out.join("steps.jsonl")).unwrap();
    Files { weights: read("model.safetensors"), record: read("steps.jsonl"), steps }
}

fn run(changes: &[&str]) -> Files {
    run_in(tempfile::tempdir().unwrap().path(), changes)
}

fn column<'a>(steps: &'a Steps, name: &str) -> &'a [f64] {
    &steps.column(name).unwrap_or_else(|| panic!("no column {name}")).values
}

/// The batches as the rule has them: from S and |G|² of each step, smoothed here once more.
fn by_the_rule(steps: &Steps, most: f64) -> Vec<f64> {
    let (trace, signal) = (column(steps, "noise_trace"), column(steps, "noise_signal"));
    let (mut rows, mut start, mut mean) = (20.0f64, 0.0f64, [0.0f64; 2]);
    let mut batches = Vec::new();
    for step in 0..steps.len() {
        if step > 0 && step % 25 == 0 && step >= 100 {
            let wanted = if mean[1] > 0.0 { (mean[0] / mean[1] / 20.0).round() * 20.0 } else { f64::INFINITY };
            let half = (rows / 40.0f64).ceil() * 20.0;
            rows = wanted.clamp(half, 2.0 * rows).clamp(20.0, most);
        }
        let batch = f64::min(rows, 1437.0 - start);
        batches.push(batch);
        start = if start + batch == 1437.0 { 0.0 } else { start + batch };
        let share = 1.0 / (step as f64 + 1.0).min(100.0);
        mean[0] += share * (trace[step] - mean[0]);
        mean[1] += share * (signal[step] - mean[1]);
    }
    batches
}

#[test]
fn the_batch_follows_the_noise_scale_as_the_rule_says() {
    let run = run(&[]);
    let batches = column(&run.steps, "batch");
    assert_eq!(batches, by_the_rule(&run.steps, 100.0));
    let most = batches.iter().copied().fold(0.0, f64::max);
    assert!(batches[..100].iter().all(|&batch| batch == 20.0 || batch == 17.0) && most == 100.0, "{most}");
    let sizes: std::collections::BTreeSet<u64> = batches.iter().map(|&batch| batch as u64).collect();
    assert!(sizes.len() > 5, "{sizes:?}");
    // Each epoch goes through all examples, and the run ends with the twelfth.
    assert_eq!(run.steps.examples.last(), Some(&(12 * 1437)));
    assert_eq!(run.steps.epoch.last(), Some(&12.0));
    let whole = run.steps.epoch.iter().filter(|epoch| epoch.fract() == 0.0).count();
    assert_eq!(whole, 12);
    let examples: f64 = batches.iter().sum();
    assert_eq!(examples, 12.0 * 1437.0);
    assert!(column(&run.steps, "lr").iter().all(|&lr| lr == 0.2), "the rate is kept");
}

#[test]
fn a_run_repeats_on_any_number_of_threads_streamed_or_resident() {
    for more in [
        "train.precision=f32",
        "train.precision=f64",
        "train.optimizer=adam train.lr=0.003",
        "data.class_weights=balanced",
    ] {
        let more: Vec<&str> = more.split(' ').collect();
        let first = run(&[&["device.threads=1"], &more[..]].concat());
        for (threads, resident) in [("1", "true"), ("2", "true"), ("2", "false"), ("1", "false")] {
            let place = [format!("device.threads={threads}"), format!("data.resident={resident}")];
            let again = run(&[&[place[0].as_str(), &place[1]], &more[..]].concat());
            assert!(again.weights == first.weights && again.record == first.record, "{threads}, {resident}, {more:?}");
        }
        assert!(column(&first.steps, "batch").iter().any(|&batch| batch > 60.0), "{more:?}: it grew");
    }
}

/// A batch is its micro-batches' sum: so many examples of the same order at once give the same step.
#[test]
fn a_step_of_a_grown_batch_is_the_step_of_that_batch() {
    let splits = || digits().unwrap();
    let mut grown = on_cpu::<f64>(&settings(&["train.precision=f64"]), splits(), 1);
    grown.within(|trainer| {
        while trainer.batch_rows() < 60 {
            trainer.step().unwrap();
        }
    });
    // As far as one epoch reaches, the order is that of the epoch. One step is made, by both.
    let (cursor, params) = (grown.cursor(), grown.params().unwrap());
    let step = grown.step().unwrap().clone();
    let order = order(cursor.epoch);
    let rows = &order[cursor.start..][..cursor.rows.min(1437 - cursor.start)];
    let subset = splits().train.subset(rows).unwrap();
    let mut plain = settings(&["train.precision=f64"]);
    plain.set_all(["train.batch=full", "train.micro_batch="]).unwrap();
    let mut whole = on_cpu::<f64>(&plain, Splits::new("rows", subset, None).unwrap(), 1);
    whole.set_params(&params).unwrap();
    let expected = whole.step().unwrap().clone();
    assert_eq!(step.values.scalar("batch"), rows.len() as f64);
    for id in ["loss", "grad_norm", "update_ratio", "batch"] {
        let (a, b) = (step.values.scalar(id), expected.values.scalar(id));
        assert!((a - b).abs() <= 1e-12 * b.abs(), "{id}: {a} {b}");
    }
    let (a, b) = (flat(&grown.params().unwrap()), flat(&whole.params().unwrap()));
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-13));
    // S is that of this many examples, of all 1437: the other trainer takes its own batch for all there is.
    let noise =
        |step: &Step| Noise { trace: step.values.scalar("noise_trace"), signal: step.values.scalar("noise_signal") };
    let (a, b) = (noise(&step), noise(&expected));
    assert!((a.trace - b.trace).abs() <= 1e-9 * b.trace, "{a:?} {b:?}");
    let signal = b.signal - b.trace * (1.0 / rows.len() as f64 - 1.0 / 1437.0);
    assert!((a.signal - signal).abs() <= 1e-9 * signal.abs(), "{a:?} {signal}");
}

fn order(epoch: u32) -> Vec<u32> {
    use steepest::base::{Stream, StreamId, permutation};
    permutation(1437, &mut Stream::new(0, StreamId::Shuffle(epoch)))
}

#[test]
fn the_norm_test_only_grows_and_other_bounds_hold() {
    let norm = ["train.adaptive.criterion=norm_test", "train.adaptive.threshold=0.3"];
    let run_of = |more: &[&str]| run(&[&norm[..], more].concat());
    let batches = column(&run_of(&[]).steps, "batch").to_vec();
    let mut largest = 0.0;
    for (i, &batch) in batches.iter().enumerate() {
        let ends_epoch = batches[..=i].iter().sum::<f64>() % 1437.0 == 0.0;
        assert!(batch >= largest || ends_epoch, "step {i}: {batch} after {largest}");
        largest = f64::max(largest, batch);
    }
    assert_eq!(largest, 100.0);
    // A largest batch beyond all examples is all of them, and an epoch is a step in the end.
    let all = run_of(&[
        "train.adaptive.threshold=0.0001",
        "train.adaptive.every=1",
        "train.adaptive.max=100000",
        "train.adaptive.min=30",
        "train.epochs=60",
    ]);
    let batches = column(&all.steps, "batch");
    assert_eq!((batches[0], *batches.last().unwrap()), (40.0, 1437.0));
    assert_eq!(*all.steps.epoch.last().unwrap(), 60.0);
    // A short micro-batch can be left out, and nothing else is.
    let dropped = run_of(&["train.drop_last=true"]);
    assert_eq!(*dropped.steps.examples.last().unwrap(), 12 * 1420);
    assert!(column(&dropped.steps, "batch").iter().all(|batch| batch % 20.0 == 0.0));
}

#[test]
fn rates_and_schedules_follow_batches_and_examples() {
    let scaled = run(&["train.adaptive.rate=scale", "train.schedule=cosine"]);
    let cosine = |done: f64| (1.0 + (std::f64::consts::PI * done / 12.0).cos()) / 2.0;
    let (rates, batches) = (column(&scaled.steps, "lr"), column(&scaled.steps, "batch"));
    let mut planned = 20.0;
    for step in 0..scaled.steps.len() {
        let before = if step == 0 { 0.0 } else { scaled.steps.epoch[step - 1] };
        // The last batch of an epoch may be short, and has the rate of a whole one.
        if scaled.steps.epoch[step].fract() != 0.0 {
            planned = batches[step];
        } else if step % 25 == 0 {
            continue;
        }
        let expected = 0.2 * planned / 20.0 * cosine(before);
        assert!((rates[step] / expected - 1.0).abs() < 1e-5, "step {step}: {} for {expected}", rates[step]);
    }
    assert!(rates.iter().any(|&lr| lr > 0.25));
    let stepped = run(&["train.schedule=[{kind='step',every='5 epochs',factor=0.5},{kind='warmup',steps=10}]"]);
    let rates = column(&stepped.steps, "lr");
    assert!((rates[5] - 0.1).abs() < 1e-9, "a length in steps counts steps");
    for (step, rate) in rates.iter().enumerate().skip(10) {
        let halvings = (stepped.steps.epoch[step - 1] / 5.0).floor();
        assert!((rate - 0.2 * 0.5f64.powf(halvings)).abs() < 1e-9, "step {step}: {rate}");
    }
}

#[test]
fn a_gpu_decides_for_itself_and_repeats() {
    let config = settings(&["train.adaptive.max=120"]);
    let losses = |trainer: &mut Trainer| -> Vec<[f64; 2]> {
        let step = |trainer: &mut Trainer, out: &mut Vec<[f64; 2]>| {
            // As a run does it: ahead, as far as there is room.
            while !trainer.has_room() {
                let step = trainer.collect(true).unwrap().unwrap();
                out.push([step.values.loss(), step.values.scalar("batch")]);
            }
            trainer.submit().unwrap();
        };
        let mut out = Vec::new();
        (0..300).for_each(|_| step(trainer, &mut out));
        while trainer.in_flight() > 0 {
            let step = trainer.collect(true).unwrap().unwrap();
            out.push([step.values.loss(), step.values.scalar("batch")]);
        }
        out
    };
    let Some(mut first) = on_gpu(&config, digits().unwrap()) else { return };
    let found = losses(&mut first);
    assert!(found.len() == 300 && found.iter().any(|it| it[1] == 120.0), "{:?}", found.last());
    let mut streamed = config.clone();
    streamed.set("data.resident=false").unwrap();
    assert_eq!(losses(&mut on_gpu(&streamed, digits().unwrap()).unwrap()), found);
    let mut cpu = on_cpu::<f32>(&config, digits().unwrap(), 2);
    let on_cpu = cpu.within(losses);
    assert!(found.iter().zip(&on_cpu).take(100).all(|(a, b)| (a[0] - b[0]).abs() < 1e-4 && a[1] == b[1]));
}

#[test]
fn steps_in_flight_are_not_overtaken() {
    let Some(mut trainer) = on_gpu(&settings(&[]), digits().unwrap()) else { return };
    (0..24).for_each(|_| {
        trainer.step().unwrap();
    });
    trainer.submit().unwrap();
    assert!(!trainer.has_room());
    let error = trainer.submit().unwrap_err().to_string();
    assert!(error.contains("yet to be collected"), "{error}");
    trainer.collect(true).unwrap().unwrap();
    assert!(trainer.has_room());
    trainer.submit().unwrap();
}

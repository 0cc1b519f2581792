//! Runs repeat: bit for bit with the same seed, on any number of threads, measured or not, resident or streamed.

mod training;

use std::path::Path;
use steepest::config::Config;
use steepest::data::digits;
use steepest::run::{Silent, TrainOptions, train};
use training::{config, distance, flat, losses, norm, on_cpu};

/// Large enough that products and sums are cut over threads; the last batch of an epoch is short.
const RUN: &str = "model.layers = [{ kind = 'linear', out = 96 }, 'relu', { kind = 'dropout', p = 0.2 }, \
     { kind = 'linear', out = 10 }]\nrecord.every = 1\ndevice.device = 'cpu'\n\
     [train]\nepochs = 3\nbatch = 160\noptimizer = 'adam'\nlr = 0.01";

fn settings(changes: &[&str]) -> Config {
    let mut config = config(RUN);
    config.set_all(changes).unwrap();
    config
}

/// Weights, step record, and record of every tenth step, where there is one, as the files hold them.
fn files(changes: &[&str]) -> [Vec<u8>; 3] {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let options = TrainOptions { out: Some(out.clone()), ..TrainOptions::default() };
    train(&settings(changes), &options, &mut Silent).unwrap();
    let read = |name: &str| std::fs::read(Path::new(&out).join(name));
    let seldom = read("steps.every-10.jsonl").unwrap_or_default();
    [read("model.safetensors").unwrap(), read("steps.jsonl").unwrap(), seldom]
}

#[test]
fn a_run_repeats_bit_for_bit_on_any_number_of_threads() {
    for precision in ["train.precision=f32", "train.precision=f64"] {
        let full = "probes.preset=full";
        let first = files(&["device.threads=1", precision, full]);
        assert!(first[1].len() > 10_000, "the record has rows");
        for threads in [1, 2, 3, 7] {
            let threads = format!("device.threads={threads}");
            assert!(files(&[&threads, precision, full]) == first, "{threads}, {precision}");
        }
    }
}

#[test]
fn another_seed_gives_another_run() {
    let [first, second] = ["train.seed=1", "train.seed=2"].map(|seed| files(&[seed]));
    assert!(first[0] != second[0] && first[1] != second[1]);
}

#[test]
fn measuring_changes_no_weight() {
    for more in ["train.batch=160", "train.micro_batch=64"] {
        let [off, default, full] = ["off", "default", "full"].map(|it| files(&[more, &format!("probes.preset={it}")]));
        assert!(off[0] == default[0] && off[0] == full[0], "{more}");
        assert!(default[1].len() > 2 * off[1].len() && full[2].len() > 1000, "what is measured is recorded");
    }
}

#[test]
fn streamed_data_trains_as_resident_data() {
    let [resident, streamed] = ["data.resident=true", "data.resident=false"].map(|it| files(&[it]));
    assert!(resident == streamed);
}

#[test]
fn dropout_masks_do_not_depend_on_the_micro_batch() {
    let run = |micro: usize| {
        let micro = format!("train.micro_batch={micro}");
        // Plain descent: Adam would blow rounding up where gradients are near zero.
        let config = settings(&[&micro, "train.optimizer=sgd", "train.lr=0.1"]);
        let mut single = on_cpu::<f32>(&config, digits().unwrap(), 1);
        let mut double = on_cpu::<f64>(&config, digits().unwrap(), 1);
        let losses = [losses(&mut single, 12), losses(&mut double, 12)];
        (losses, [flat(&single.params().unwrap()), flat(&double.params().unwrap())])
    };
    let (whole_losses, whole) = run(160);
    for micro in [64, 53, 7] {
        let (losses, params) = run(micro);
        for (i, tolerance) in [1e-6, 1e-12].into_iter().enumerate() {
            let error = distance(&params[i], &whole[i]) / norm(&whole[i]);
            assert!(error < tolerance, "micro-batches of {micro}: weights off by {error:e}");
            let error = distance(&losses[i], &whole_losses[i]) / norm(&whole_losses[i]);
            assert!(error < tolerance, "micro-batches of {micro}: losses off by {error:e}");
        }
    }
}

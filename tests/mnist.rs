//! MNIST, where it is: `STEEPEST_MNIST` names the folder of its four IDX files; `../shared/data/mnist` is tried without.

mod training;

use std::path::PathBuf;
use std::sync::Arc;
use steepest::base::Threads;
use steepest::config::Config;
use steepest::data::{IdxSource, Splits};
use steepest::exec::Cpu;
use steepest::run::{Setup, Trainer, evaluate_part};
use training::{config, losses, on_cpu, on_gpu};

const RUN: &str = "model.layers = [{ kind = 'linear', out = 512 }, 'relu', { kind = 'linear', out = 512 }, 'relu', \
     { kind = 'linear', out = 10 }]\n[train]\nbatch = 128\noptimizer = 'momentum'\nlr = 0.1\n\
     schedule = [{ kind = 'warmup', epochs = 1 }, { kind = 'cosine', epochs = 5 }]\n";

fn settings(changes: &[&str]) -> Config {
    let mut config = config(RUN);
    config.set_all(changes).unwrap();
    config
}

fn mnist() -> Option<Splits> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/mnist"));
    let folder = std::env::var_os("STEEPEST_MNIST").map_or_else(beside, PathBuf::from);
    if !folder.exists() {
        println!("SKIPPED: no MNIST at {}", folder.display());
        return None;
    }
    let splits = IdxSource::folder(folder).load().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((splits.train.len(), splits.test.as_ref().unwrap().len()), (60_000, 10_000));
    Some(splits)
}

#[test]
fn five_epochs_reach_98_percent() {
    let Some(splits) = mnist() else { return };
    let test = splits.test.clone().unwrap();
    let config = settings(&["train.seed=1"]);
    let mut trainer = on_cpu::<f32>(&config, splits, 2);
    let epoch = trainer.steps_per_epoch() as usize;
    losses(&mut trainer, 5 * epoch);
    let accuracy = evaluate_part(&mut trainer, &test, &config).unwrap().accuracy().unwrap();
    println!("test accuracy {accuracy:.4}");
    assert!(accuracy >= 0.98, "{accuracy}");
}

/// Rounding differs, and training multiplies it: the warm-up keeps it below the bound.
#[test]
fn the_gpu_trains_as_the_cpu() {
    let Some(splits) = mnist() else { return };
    let config = settings(&[]);
    let Some(mut gpu) = on_gpu(&config, splits.clone()) else { return };
    let found = losses(&mut gpu, 100);
    let expected = losses(&mut on_cpu::<f32>(&config, splits, 2), 100);
    let relative = found.iter().zip(&expected).map(|(a, b)| (a / b - 1.0).abs());
    let worst = relative.fold(0.0, f64::max);
    println!("losses differ by {worst:.1e} at most");
    assert!(worst < 1e-3, "{worst:e}");
    assert!(expected[99] < 0.5 * expected[0], "it learns: {} to {}", expected[0], expected[99]);
}

/// ΣS/Σ|G|² over the 800 steps of `tests/goldens/mnist-noise.toml`, against numpy with the gradient of every example formed on its own.
/// Seeds mean other things there, so means over seeds are compared.
#[test]
fn the_noise_scale_is_that_of_the_reference() {
    let Some(splits) = mnist() else { return };
    let golden: serde_json::Value = serde_json::from_str(include_str!("goldens/noise.json")).unwrap();
    let expected: Vec<f64> = golden["noise_scales"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    let text = include_str!("goldens/mnist-noise.toml");
    let scale = |seed: u64| {
        let mut config = config(text);
        config.set(&format!("train.seed={seed}")).unwrap();
        let mut trainer = on_cpu::<f32>(&config, splits.clone(), 2);
        let steps = trainer.steps_total(&config);
        assert_eq!(golden["steps"], steps);
        let (mut trace, mut signal) = (0.0, 0.0);
        for _ in 0..steps {
            let values = &trainer.step().unwrap().values;
            trace += values.scalar("noise_trace");
            signal += values.scalar("noise_signal");
        }
        trace / signal
    };
    let found: Vec<f64> = (0..expected.len() as u64).map(scale).collect();
    let mean = |xs: &[f64]| xs.iter().sum::<f64>() / xs.len() as f64;
    println!("noise scales {found:.0?}, of the reference {expected:.0?}");
    let ratio = mean(&found) / mean(&expected);
    assert!((ratio - 1.0).abs() < 0.05, "{ratio}: {found:?} {expected:?}");
}

/// All of MNIST in one step takes 120 MB for one layer's activations; in parts it takes what one part does.
#[test]
fn a_full_batch_in_parts_takes_bounded_memory() {
    const LIMIT: u64 = 64 << 20;
    let Some(splits) = mnist() else { return };
    let trainer = |micro: &str| {
        let config = settings(&["data.resident=false", "train.batch=full", "train.schedule=constant", micro]);
        let threads = Arc::new(Threads::new(2).unwrap());
        let executor = Box::new(Cpu::<f32>::new(threads.clone(), Some(LIMIT)));
        Trainer::new(&config, Setup { splits: splits.clone(), executor, threads: Some(threads), objective: None })
    };
    let error = trainer("train.micro_batch=60000").err().expect("it cannot fit").to_string();
    assert!(error.contains("memory") || error.contains("bytes"), "{error}");
    let mut trainer = trainer("train.micro_batch=512").unwrap();
    assert!((trainer.blueprint().memory_bytes(4) as u64) < LIMIT);
    assert_eq!(trainer.steps_per_epoch(), 1);
    let losses = losses(&mut trainer, 2);
    assert!(losses[1] < losses[0] && losses[0] < 2.5, "{losses:?}");
}

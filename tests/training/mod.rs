//! What the tests of whole training runs share: configs, trainers on each device, data, differences.

// Each test binary uses its own part of this.
#![allow(dead_code)]

use std::sync::Arc;
use steepest::base::Threads;
use steepest::config::Config;
use steepest::data::{Dataset, Splits, Targets, digits};
use steepest::exec::{Cpu, Devices, Executor, GpuOptions};
use steepest::graph::Precision;
use steepest::run::{HostTensor, Setup, Trainer};

/// A config from TOML.
pub fn config(text: &str) -> Config {
    Config::from_toml_str(text, "test.toml").unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// Data without a test part.
pub fn only(train: Dataset) -> Splits {
    Splits::new("test", train, None).expect("one part fits itself")
}

/// The first digits as training part.
pub fn first_digits(rows: usize) -> Splits {
    let all = digits().expect("they are built in").train;
    let Targets::Classes { labels, classes } = all.targets().clone() else { panic!("digits are classes") };
    let x = all.x().slice(ndarray::s![..rows, ..]).to_owned();
    only(Dataset::new("digits", x, Targets::Classes { labels: labels[..rows].to_vec(), classes }).expect("digits"))
}

/// A trainer on the CPU in the precision `R`.
pub fn on_cpu<R: Precision>(config: &Config, splits: Splits, threads: usize) -> Trainer
where
    Cpu<R>: Executor + Send,
{
    trainer(config, setup_on_cpu::<R>(splits, threads))
}

/// What a trainer on the CPU is made of, in the precision `R`.
pub fn setup_on_cpu<R: Precision>(splits: Splits, threads: usize) -> Setup
where
    Cpu<R>: Executor + Send,
{
    let threads = Arc::new(Threads::new(threads).expect("a pool"));
    let executor = Box::new(Cpu::<R>::new(threads.clone(), None));
    Setup { splits, executor, threads: Some(threads), objective: None }
}

/// A trainer on any adapter, hardware first; none where there is no adapter, which `STEEPEST_REQUIRE_GPU=1` forbids.
pub fn on_gpu(config: &Config, splits: Splits) -> Option<Trainer> {
    on_gpu_with(config, splits, &GpuOptions::default())
}

/// The same, opened with these options.
pub fn on_gpu_with(config: &Config, splits: Splits, options: &GpuOptions) -> Option<Trainer> {
    Some(trainer(config, setup_on_gpu_with(splits, options)?))
}

/// What a trainer on any adapter is made of.
pub fn setup_on_gpu(splits: Splits) -> Option<Setup> {
    setup_on_gpu_with(splits, &GpuOptions::default())
}

fn setup_on_gpu_with(splits: Splits, options: &GpuOptions) -> Option<Setup> {
    let devices = Devices::find();
    let usable = devices.list().iter().filter(|adapter| adapter.compute);
    let best = usable.min_by_key(|adapter| (adapter.kind, adapter.backend == "gl", adapter.index)).cloned();
    let Some(adapter) = best else {
        let required = std::env::var("STEEPEST_REQUIRE_GPU").is_ok_and(|value| value == "1");
        assert!(!required, "STEEPEST_REQUIRE_GPU=1 and no adapter");
        println!("SKIPPED: no adapter");
        return None;
    };
    let executor = Box::new(devices.open(&adapter, options).expect("the adapter opens"));
    Some(Setup { splits, executor, threads: None, objective: None })
}

fn trainer(config: &Config, setup: Setup) -> Trainer {
    Trainer::new(config, setup).unwrap_or_else(|e| panic!("{e}"))
}

/// The loss of each of the next steps.
pub fn losses(trainer: &mut Trainer, steps: usize) -> Vec<f64> {
    trainer.within(|trainer| (0..steps).map(|_| trainer.step().expect("a step").values.scalar("loss")).collect())
}

/// All parameters one after the other.
pub fn flat(tensors: &[HostTensor]) -> Vec<f64> {
    tensors.iter().flat_map(|tensor| tensor.values.iter().copied()).collect()
}

/// ‖a − b‖₂.
pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

/// ‖a‖₂.
pub fn norm(a: &[f64]) -> f64 {
    a.iter().map(|a| a * a).sum::<f64>().sqrt()
}

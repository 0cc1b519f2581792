//! What a GPU is given at once changes no result: dispatches that run as one, and steps that share a command buffer.

mod training;

use steepest::config::Config;
use steepest::data::digits;
use steepest::exec::GpuOptions;
use steepest::run::Trainer;
use training::{config, flat, on_cpu, on_gpu_with};

const NET: &str = "model.layers = [{ kind = 'linear', out = 40 }, 'relu', { kind = 'linear', out = 24 }, 'tanh', \
     { kind = 'dropout', p = 0.2 }, { kind = 'linear', out = 10 }]\n\
     [train]\nbatch = 48\noptimizer = 'adam'\nlr = 0.01";

fn settings(changes: &[&str]) -> Config {
    let mut config = config(NET);
    config.set_all(changes).unwrap();
    config
}

/// All readings of the first steps as bits, and the weights after them.
fn course(trainer: &mut Trainer, steps: usize) -> (Vec<u64>, Vec<f64>) {
    let (mut readings, mut done) = (Vec::new(), 0);
    while done < steps {
        while trainer.has_room() && trainer.next_step() < steps as u64 {
            trainer.submit().unwrap();
        }
        while let Some(step) = trainer.collect(true).unwrap() {
            assert_eq!(step.step, done as u64, "readings come in order");
            readings.extend(step.values.flat().iter().map(|x| x.to_bits()));
            done += 1;
            if trainer.has_room() {
                break;
            }
        }
    }
    (readings, flat(&trainer.params().unwrap()))
}

fn on_gpu(config: &Config, options: &GpuOptions) -> Option<Trainer> {
    on_gpu_with(config, digits().unwrap(), options)
}

/// What runs where every dispatch is a kernel of its own and every submission a command buffer.
fn plain() -> GpuOptions {
    GpuOptions { bundled: Some(false), grouped: Some(1), ..GpuOptions::default() }
}

#[test]
fn bundled_dispatches_give_the_same_bits() {
    for changes in [
        &["probes.preset=default"][..],
        &["probes.preset=full", "train.clip_norm=0.5"],
        &["probes.preset=default", "train.micro_batch=16"],
    ] {
        for downlevel in [false, true] {
            let config = settings(changes);
            let plain = GpuOptions { downlevel, ..plain() };
            let Some(mut single) = on_gpu(&config, &plain) else { return };
            let mut bundled = on_gpu(&config, &GpuOptions { bundled: Some(true), ..plain }).unwrap();
            let (made, fewer) = (single.executor().counters().bind_groups, bundled.executor().counters().bind_groups);
            assert!(fewer < made, "{fewer} of {made} dispatches: nothing is bundled");
            assert!(course(&mut single, 12) == course(&mut bundled, 12), "{changes:?}, without subgroups: {downlevel}");
        }
    }
}

#[test]
fn steps_that_share_a_command_buffer_give_the_same_bits() {
    for changes in [&["probes.preset=default"][..], &["data.resident=false", "train.micro_batch=16"]] {
        let config = settings(changes);
        let Some(mut single) = on_gpu(&config, &plain()) else { return };
        let expected = course(&mut single, 70);
        let alone = single.executor().counters();
        assert!(alone.command_buffers >= alone.submissions, "each goes alone");
        for grouped in [Some(3), Some(16), None] {
            let mut grouping = on_gpu(&config, &GpuOptions { grouped, ..plain() }).unwrap();
            assert!(course(&mut grouping, 70) == expected, "{changes:?}, groups of {grouped:?}");
            let counters = grouping.executor().counters();
            assert_eq!(counters.submissions, alone.submissions);
            let fewest = counters.submissions / grouped.unwrap_or(16) as u64;
            let found = counters.command_buffers;
            assert!(found >= fewest && found < alone.command_buffers, "{found} command buffers, groups of {grouped:?}");
        }
    }
}

/// A reading that is waited for is there after one step, whatever the group.
#[test]
fn who_waits_for_a_step_gets_it() {
    let config = settings(&[]);
    let Some(mut trainer) = on_gpu(&config, &GpuOptions { grouped: Some(16), ..plain() }) else { return };
    for step in 0..3 {
        assert_eq!(trainer.step().unwrap().step, step);
    }
    trainer.submit().unwrap();
    let before = flat(&trainer.params().unwrap());
    trainer.submit().unwrap();
    assert!(flat(&trainer.params().unwrap()) != before, "weights are those after all that was submitted");
}

/// The loss of a step of several micro-batches is the sum of theirs.
#[test]
fn the_loss_of_accumulated_steps_is_that_of_the_cpu() {
    let config = settings(&["train.micro_batch=16", "train.optimizer=sgd", "model.layers[4].p=0"]);
    let Some(mut gpu) = on_gpu(&config, &GpuOptions::default()) else { return };
    let mut cpu = on_cpu::<f64>(&config, digits().unwrap(), 1);
    for (gpu, cpu) in training::losses(&mut gpu, 4).into_iter().zip(training::losses(&mut cpu, 4)) {
        assert!((gpu - cpu).abs() < 1e-5 * cpu, "{gpu} on the GPU, {cpu} on the CPU");
    }
}

//! Steepest through its library: a trainer, steps submitted and collected, no record.
//!
//! Variants: `default` takes the statistics of the preset `default`, `off` none.

use ndarray::Array2;
use peers::{Peer, Place, Result, Task, serve};
use serde_json::{Value, json};
use std::time::Instant;
use steepest::base::Shape;
use steepest::config::Config;
use steepest::data::{Dataset, Splits, Targets};
use steepest::exec::{AdapterKind, Devices};
use steepest::run::{HostTensor, Setup, Trainer, open_device};

struct Steepest {
    trainer: Trainer,
}

/// What the config calls the device.
fn device(place: Place) -> Result<String> {
    match place {
        Place::Cpu => Ok("cpu".into()),
        Place::Gpu => Ok("gpu".into()),
        Place::Software => {
            let devices = Devices::find();
            let adapter = devices.list().iter().find(|adapter| adapter.kind == AdapterKind::Software);
            adapter.map(|adapter| adapter.index.to_string()).ok_or("there is no software adapter".into())
        }
    }
}

fn config(task: &Task) -> Result<Config> {
    let hidden = &task.widths[1..task.widths.len() - 1];
    let hidden: String = hidden.iter().map(|out| format!("{{ kind = \"linear\", out = {out} }}, \"relu\", ")).collect();
    let classes = task.widths.last().ok_or("a network has layers")?;
    let (batch, optimizer, lr, preset, device) =
        (task.batch, &task.optimizer, task.lr, &task.variant, device(task.place)?);
    let text = format!(
        "[model]\nlayers = [{hidden}{{ kind = \"linear\", out = {classes} }}]\n\
         [train]\nbatch = {batch}\noptimizer = \"{optimizer}\"\nlr = {lr}\nepochs = 1000000\nshuffle = false\n\
         [probes]\npreset = \"{preset}\"\n\
         [device]\ndevice = \"{device}\"\n"
    );
    Config::from_toml_str(&text, "peers.toml").map_err(|error| error.to_string())
}

fn splits(task: &Task) -> Result<Splits> {
    let (rows, features) = (task.inputs.labels.len(), task.widths[0]);
    let x = Array2::from_shape_vec((rows, features), task.inputs.x.clone()).map_err(|error| error.to_string())?;
    let classes = *task.widths.last().ok_or("a network has layers")?;
    let targets = Targets::Classes { labels: task.inputs.labels.clone(), classes };
    Dataset::new("peers", x, targets)
        .and_then(|train| Splits::new("peers", train, None))
        .map_err(|error| error.to_string())
}

/// The initial weights, named as the model names them.
fn weights(task: &Task) -> Vec<HostTensor> {
    let tensor = |name: String, shape: &[usize], values: &[f32]| HostTensor {
        name,
        shape: Shape::new(shape),
        values: values.iter().map(|&x| f64::from(x)).collect(),
    };
    let layers = task.inputs.layers.iter().enumerate();
    layers
        .flat_map(|(i, layer)| {
            [
                tensor(format!("{}.weight", 2 * i), &[layer.outputs, layer.inputs], &layer.weight),
                tensor(format!("{}.bias", 2 * i), &[layer.outputs], &layer.bias),
            ]
        })
        .collect()
}

fn load(task: Task) -> Result<(Steepest, Value)> {
    let config = config(&task)?;
    let words = |error: steepest::base::Error| error.to_string();
    let device = open_device(&config).map_err(words)?;
    let info = device.executor.info().clone();
    let setup = Setup { splits: splits(&task)?, executor: device.executor, threads: device.threads, objective: None };
    let mut trainer = Trainer::new(&config, setup).map_err(words)?;
    trainer.set_params(&weights(&task)).map_err(words)?;
    let about = json!({
        "device": info.name, "backend": info.backend, "driver": info.driver, "threads": info.threads,
    });
    Ok((Steepest { trainer }, about))
}

impl Peer for Steepest {
    fn losses(&mut self, steps: usize) -> Result<Vec<f64>> {
        let mut losses = Vec::new();
        for _ in 0..steps {
            losses.push(self.trainer.step().map_err(|error| error.to_string())?.values.loss());
        }
        Ok(losses)
    }

    fn run(&mut self, steps: usize) -> Result<f64> {
        self.trainer.within(|trainer| run(trainer, steps)).map_err(|error| error.to_string())
    }
}

/// As many steps in flight as the device takes; each reading is read and taken in by the verdicts, as in a run.
fn run(trainer: &mut Trainer, steps: usize) -> steepest::base::Result<f64> {
    let start = Instant::now();
    for _ in 0..steps {
        while !trainer.has_room() {
            trainer.collect(true)?;
        }
        trainer.submit()?;
        while trainer.collect(false)?.is_some() {}
    }
    while trainer.in_flight() > 0 {
        trainer.collect(true)?;
    }
    Ok(start.elapsed().as_secs_f64())
}

fn main() {
    serve(load);
}

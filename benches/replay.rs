//! A training step on a GPU: dispatches bundled or each by itself, steps sent off one by one or in groups, with statistics and
//! without. `cargo bench --bench replay`, with a part of an adapter's name to choose one: `-- llvmpipe`.

use ndarray::Array2;
use std::time::Instant;
use steepest::base::{Stream, StreamId};
use steepest::config::Config;
use steepest::data::{Dataset, Splits, Targets};
use steepest::exec::{Devices, Executor, Gpu, GpuOptions};
use steepest::run::{Setup, Trainer};

/// Inputs, hidden layers, batch, optimizer, and the steps of a turn.
const NETS: [(usize, &[usize], usize, &str, usize); 2] =
    [(64, &[32], 32, "adam", 200), (784, &[512, 512], 128, "momentum", 8)];

/// Turns of each variant, by turns; the best one counts.
const TURNS: usize = 5;

fn open(name: &str, options: &GpuOptions) -> Option<Gpu> {
    let devices = Devices::find();
    let usable = devices.list().iter().filter(|adapter| adapter.compute && adapter.name.contains(name));
    let adapter = usable.min_by_key(|adapter| (adapter.kind, adapter.index)).cloned()?;
    Some(devices.open(&adapter, options).expect("the adapter opens"))
}

fn data(inputs: usize) -> Splits {
    let mut stream = Stream::new(3, StreamId::Data(9));
    let x = Array2::from_shape_simple_fn((1280, inputs), || stream.uniform() as f32);
    let labels = (0..1280).map(|_| stream.below(10)).collect();
    let train = Dataset::new("random", x, Targets::Classes { labels, classes: 10 }).expect("rows and labels");
    Splits::new("bench", train, None).expect("one part fits itself")
}

fn config(hidden: &[usize], batch: usize, optimizer: &str, preset: &str) -> Config {
    let hidden: String = hidden.iter().map(|n| format!("{{ kind = 'linear', out = {n} }}, 'relu', ")).collect();
    let text = format!(
        "model.layers = [{hidden}{{ kind = 'linear', out = 10 }}]\nprobes.preset = '{preset}'\n\
         [train]\nbatch = {batch}\noptimizer = '{optimizer}'\nlr = 0.001"
    );
    Config::from_toml_str(&text, "bench.toml").expect("a config")
}

/// Steps as a run makes them: submitted ahead, collected when they are there; all of them are done in the end.
fn steps(trainer: &mut Trainer, steps: usize) -> f64 {
    let start = Instant::now();
    for _ in 0..steps {
        let mut wait = !trainer.has_room();
        while trainer.collect(wait).expect("a reading").is_some() {
            wait = false;
        }
        trainer.submit().expect("it is submitted");
    }
    while trainer.in_flight() > 0 {
        trainer.collect(true).expect("a reading");
    }
    start.elapsed().as_secs_f64() / steps as f64
}

fn main() {
    let name = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    for (inputs, hidden, batch, optimizer, count) in NETS {
        for preset in ["off", "default"] {
            let config = config(hidden, batch, optimizer, preset);
            let mut variants = Vec::new();
            for (bundled, grouped) in [(false, Some(1)), (false, None), (true, Some(1)), (true, None)] {
                let options = GpuOptions { bundled: Some(bundled), grouped, ..GpuOptions::default() };
                let Some(gpu) = open(&name, &options) else {
                    println!("there is no adapter with `{name}` in its name");
                    return;
                };
                let adapter = gpu.info().name.clone();
                let setup = Setup { splits: data(inputs), executor: Box::new(gpu), threads: None, objective: None };
                let mut trainer = Trainer::new(&config, setup).expect("a trainer");
                steps(&mut trainer, count);
                let dispatches = if bundled { "bundled" } else { "each by itself" };
                let groups = if grouped.is_some() { "one by one" } else { "in groups" };
                variants.push((format!("{adapter}: dispatches {dispatches}, steps {groups}"), trainer, f64::INFINITY));
            }
            for _ in 0..TURNS {
                for (_, trainer, best) in &mut variants {
                    *best = best.min(steps(trainer, count));
                }
            }
            let layers: Vec<String> = hidden.iter().map(ToString::to_string).collect();
            println!("{inputs}-{}-10, batch {batch}, {optimizer}, probes {preset}", layers.join("-"));
            for (what, _, best) in variants {
                println!("  {:8.3} ms a step: {what}", best * 1e3);
            }
        }
    }
}

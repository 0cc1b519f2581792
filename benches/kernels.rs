//! Every kernel of a training step at its speed, beside what the device reaches at best: the steps of the plans of 784-512-512-10 with all
//! that is measured, timed in training. `cargo bench --bench kernels`, with a device to choose one: `-- llvmpipe`.

use std::collections::BTreeMap;
use steepest::config::Config;
use steepest::run::{Gauge, Load, Setup, Trainer, load, open_device};

const STEPS: u64 = 20;

/// The best speed of a load, in work a second.
fn best(config: &Config, load: Load, work: f64) -> f64 {
    let mut gauge = Gauge::new(open_device(config).expect("the device"), load).expect("it fits");
    let times = (0..6).map(|_| gauge.time(2).expect("it runs") / 2.0);
    work / times.fold(f64::INFINITY, f64::min)
}

fn main() {
    let device = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_else(|| "cpu".into());
    let text = "[data]\nsource = \"blobs\"\nexamples = 2560\nfeatures = 784\nclasses = 10\n\
                [model]\nlayers = [{ kind = \"linear\", out = 512 }, \"relu\", { kind = \"linear\", out = 512 }, \"relu\", { kind = \"linear\", out = 10 }]\n\
                [train]\nbatch = 128\noptimizer = \"momentum\"\nlr = 1e-3\n[probes]\npreset = \"full\"\n";
    let mut config = Config::from_toml_str(text, "kernels").expect("a valid config");
    config.device.device = device;
    let (product, triad) = (Load::Product(1024), Load::Triad(1 << 24));
    let flops = best(&config, product, product.flops().expect("a product"));
    let bytes = best(&config, triad, triad.bytes().expect("a pass"));
    println!("ceiling: {:.1} GFLOP/s (product of 1024³), {:.1} GB/s (triad)", flops / 1e9, bytes / 1e9);
    let mut device = open_device(&config).expect("the device");
    device.executor.profile().expect("no plan is loaded");
    let splits = load(&config).expect("data");
    let setup = Setup { splits, executor: device.executor, threads: device.threads, objective: None };
    let mut trainer = Trainer::new(&config, setup).expect("a trainer");
    trainer.within(|trainer| (0..STEPS).for_each(|_| drop(trainer.step().expect("a step").clone())));
    println!("| kernel | runs | each | speed | of the ceiling |\n|---|---|---|---|---|");
    let mut rows: BTreeMap<String, (u64, f64, f64, bool)> = BTreeMap::new();
    for plan in &trainer.executor().times().expect("times were taken").plans {
        for (step, seconds) in plan.plan.steps.iter().zip(&plan.steps).filter(|_| plan.replays > 0) {
            let shapes: Vec<String> = step.inputs.iter().take(2).map(|view| view.ty.shape.to_string()).collect();
            let row = rows.entry(format!("{} {}", step.op.name(), shapes.join(" "))).or_insert((0, 0.0, 0.0, false));
            let work = step.flops().unwrap_or_else(|| step.bytes(4)) * plan.replays as f64;
            *row = (row.0 + plan.replays, row.1 + seconds, row.2 + work, step.flops().is_some());
        }
    }
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by(|a, b| b.1.1.total_cmp(&a.1.1));
    for (name, (runs, seconds, work, is_product)) in rows {
        let (unit, ceiling) = if is_product { ("GFLOP/s", flops) } else { ("GB/s", bytes) };
        let (each, speed) = (1e6 * seconds / runs as f64, work / seconds);
        println!("| {name} | {runs} | {each:.2} µs | {:.2} {unit} | {:.1} % |", speed / 1e9, 100.0 * speed / ceiling);
    }
}

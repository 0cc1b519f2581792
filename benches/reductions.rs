//! Kernels that reduce, by subgroups and by workgroup memory alone: those of a training step of 784-512-512-10 and of 64-32-10 with all that
//! is measured, timed in training, both ways by turns. `cargo bench --bench reductions`, with a part of an adapter's name to choose
//! one: `-- llvmpipe`.

use std::collections::BTreeMap;
use steepest::config::Config;
use steepest::exec::{Devices, Executor, Gpu, GpuOptions};
use steepest::run::{Setup, Trainer, load, open_device};

/// Turns of each way, and steps of a turn; the best turn counts.
const TURNS: usize = 5;
const STEPS: u64 = 8;

const WAYS: [&str; 2] = ["memory", "subgroups"];

const NETS: [(usize, &[usize], usize, &str); 2] = [(784, &[512, 512], 128, "momentum"), (64, &[32], 32, "adam")];

fn config(inputs: usize, hidden: &[usize], batch: usize, optimizer: &str) -> Config {
    let hidden: String = hidden.iter().map(|n| format!("{{ kind = \"linear\", out = {n} }}, \"relu\", ")).collect();
    let text = format!(
        "[data]\nsource = \"blobs\"\nexamples = 1280\nfeatures = {inputs}\nclasses = 10\n\
         [model]\nlayers = [{hidden}{{ kind = \"linear\", out = 10 }}]\n\
         [train]\nbatch = {batch}\noptimizer = \"{optimizer}\"\nlr = 1e-3\n[probes]\npreset = \"full\"\n\
         [device]\ndevice = \"cpu\"\n"
    );
    Config::from_toml_str(&text, "reductions").expect("a valid config")
}

fn open(name: &str) -> Option<Gpu> {
    let devices = Devices::find();
    let usable = devices.list().iter().filter(|adapter| adapter.compute && adapter.name.contains(name));
    let adapter = usable.min_by_key(|adapter| (adapter.kind, adapter.index)).cloned()?;
    Some(devices.open(&adapter, &GpuOptions::default()).expect("the adapter opens"))
}

/// The problems of the plans of a config that can be done in these ways.
fn problems(config: &Config) -> Vec<String> {
    let device = open_device(config).expect("the CPU");
    let splits = load(config).expect("data");
    let setup = Setup { splits, executor: device.executor, threads: device.threads, objective: None };
    let trainer = Trainer::new(config, setup).expect("a trainer");
    let steps = trainer.blueprint().plans().flat_map(|plan| &plan.steps);
    let ways = steps.filter_map(|step| step.work().ways);
    ways.filter(|ways| ways.all.iter().any(|way| way.name == WAYS[0])).map(|ways| ways.problem).collect()
}

/// A trainer whose reductions go this way, and whose steps are timed.
fn trainer(config: &Config, name: &str, problems: &[String], way: &str) -> Option<Trainer> {
    let mut gpu = open(name)?;
    println!("{}, subgroups {:?}, by {way}", gpu.info().name, gpu.target().subgroups);
    gpu.choose(problems.iter().map(|problem| (problem.clone(), way.to_owned())).collect());
    gpu.profile().expect("no plan is loaded");
    let setup = Setup { splits: load(config).expect("data"), executor: Box::new(gpu), threads: None, objective: None };
    let mut trainer = Trainer::new(config, setup).expect("a trainer");
    (0..STEPS).for_each(|_| drop(trainer.step().expect("a step").clone()));
    Some(trainer)
}

/// Runs and seconds so far of each kernel that has these ways.
fn times(trainer: &Trainer) -> BTreeMap<String, (u64, f64)> {
    let mut rows = BTreeMap::new();
    for plan in &trainer.executor().times().expect("times were taken").plans {
        for (step, seconds) in plan.plan.steps.iter().zip(&plan.steps) {
            let reduces = step.work().ways.is_some_and(|ways| ways.all.iter().any(|way| way.name == WAYS[0]));
            let shapes: Vec<String> = step.inputs.iter().take(2).map(|view| view.ty.shape.to_string()).collect();
            let name = if reduces { format!("{} {}", step.op.name(), shapes.join(" ")) } else { "all others".into() };
            let row = rows.entry(name).or_insert((0, 0.0));
            *row = (row.0 + plan.replays, row.1 + seconds);
        }
    }
    rows
}

fn main() {
    let name = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    for (inputs, hidden, batch, optimizer) in NETS {
        let config = config(inputs, hidden, batch, optimizer);
        let problems = problems(&config);
        let Some(mut trainers) =
            WAYS.iter().map(|way| trainer(&config, &name, &problems, way)).collect::<Option<Vec<_>>>()
        else {
            println!("there is no adapter with `{name}` in its name");
            return;
        };
        let mut best: BTreeMap<String, [f64; 2]> = BTreeMap::new();
        for _ in 0..TURNS {
            for (way, trainer) in trainers.iter_mut().enumerate() {
                let before = times(trainer);
                (0..STEPS).for_each(|_| drop(trainer.step().expect("a step").clone()));
                for (kernel, (runs, seconds)) in times(trainer) {
                    let (runs_before, seconds_before) = before[&kernel];
                    if runs > runs_before {
                        let each = (seconds - seconds_before) / (runs - runs_before) as f64;
                        let row = best.entry(kernel).or_insert([f64::INFINITY; 2]);
                        row[way] = row[way].min(each);
                    }
                }
            }
        }
        println!("{inputs}-{hidden:?}-10, batch {batch}, {optimizer}");
        println!("| kernel | {} | {} | times |\n|---|---|---|---|", WAYS[0], WAYS[1]);
        for (kernel, [memory, subgroups]) in best {
            println!("| {kernel} | {:.1} µs | {:.1} µs | {:.2} |", 1e6 * memory, 1e6 * subgroups, memory / subgroups);
        }
    }
}

//! How the time of a step changes as training goes on: networks that learn their examples by heart, in the first 20,000 steps and from
//! 100,000 on, without statistics and with the preset `default`, by turns. `cargo bench --bench course`; words pick networks, `steps`
//! adds the time of every step of the plans at both ends.

use std::time::Instant;
use steepest::config::Config;
use steepest::data::{Dataset, Splits, Targets};
use steepest::run::{Setup, Trainer, load, open_device};

/// Steps that are timed together, and so many of them at either end; between them lies what nobody times.
const BLOCK: usize = 1000;
const BLOCKS: usize = 20;
const LATE: usize = 100_000;

/// A network and what it learns, as sections of a config. Without a data section: random numbers with random labels, 512 rows.
struct Net {
    name: &'static str,
    text: &'static str,
}

const NETS: [Net; 4] = [
    Net {
        name: "64-32-10, Adam",
        text: "[model]\nlayers = [{ kind = 'linear', out = 32 }, 'relu', { kind = 'linear', out = 10 }]\n\
               [train]\nbatch = 32\noptimizer = 'adam'\nlr = 1e-3\nepochs = 1000000000\n",
    },
    Net {
        name: "64-32-10, SGD",
        text: "[model]\nlayers = [{ kind = 'linear', out = 32 }, 'relu', { kind = 'linear', out = 10 }]\n\
               [train]\nbatch = 32\noptimizer = 'sgd'\nlr = 0.1\nepochs = 1000000000\n",
    },
    Net {
        name: "64-64-64-10, RMSprop",
        text: "[model]\nlayers = [{ kind = 'linear', out = 64 }, 'relu', { kind = 'linear', out = 64 }, 'relu', { kind = 'linear', out = 10 }]\n\
               [train]\nbatch = 32\noptimizer = 'rmsprop'\nlr = 1e-3\nepochs = 1000000000\n",
    },
    Net {
        name: "digits, 64-128-64-10, Adam",
        text: "[data]\nsource = 'digits'\n\
               [model]\nlayers = [{ kind = 'linear', out = 128 }, 'relu', { kind = 'linear', out = 64 }, 'relu', { kind = 'linear', out = 10 }]\n\
               [train]\nbatch = 32\noptimizer = 'adam'\nlr = 1e-3\nepochs = 1000000000\n",
    },
];

impl Net {
    fn trainer(&self, preset: &str, profile: bool) -> Trainer {
        let text = format!("{}[probes]\npreset = '{preset}'\n[device]\ndevice = 'cpu'\nthreads = 1\n", self.text);
        let config = Config::from_toml_str(&text, "course").expect("a valid config");
        let mut device = open_device(&config).expect("the CPU");
        if profile {
            device.executor.profile().expect("no plan is loaded");
        }
        let splits = if self.text.contains("[data]") { load(&config).expect("data") } else { random() };
        let setup = Setup { splits, executor: device.executor, threads: device.threads, objective: None };
        Trainer::new(&config, setup).expect("a trainer")
    }
}

/// Random numbers with random labels: 512 rows of 64.
fn random() -> Splits {
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let x = ndarray::Array2::from_shape_simple_fn((512, 64), &mut random);
    let labels = (0..512).map(|row| (row * 7919 % 10) as u32).collect();
    let train = Dataset::new("random", x, Targets::Classes { labels, classes: 10 }).expect("a data set");
    Splits::new("random", train, None).expect("splits")
}

/// Microseconds of a step, and the last loss.
fn run(trainer: &mut Trainer, steps: usize) -> (f64, f64) {
    trainer.within(|trainer| {
        let start = Instant::now();
        let mut loss = f64::NAN;
        for _ in 0..steps {
            trainer.submit().expect("a step");
            let step = trainer.collect(true).expect("a reading").expect("a step");
            loss = step.values.loss();
        }
        (1e6 * start.elapsed().as_secs_f64() / steps as f64, loss)
    })
}

fn median(mut xs: Vec<f64>) -> f64 {
    xs.sort_by(f64::total_cmp);
    xs[xs.len() / 2]
}

/// How many numbers of the arenas are below the smallest normal one, and not 0.
fn denormal(trainer: &mut Trainer) -> String {
    let count = |values: &[f64]| values.iter().filter(|x| **x != 0.0 && x.abs() < f64::from(f32::MIN_POSITIVE)).count();
    let gradients: usize = trainer.gradients().expect("gradients").iter().map(|tensor| count(&tensor.values)).sum();
    let arenas = trainer.state().expect("a state").arenas;
    let each = |(name, tensors): (&String, &steepest::run::weights::Tensors)| {
        format!("{name} {}", tensors.iter().map(|tensor| count(&tensor.data.to_f64())).sum::<usize>())
    };
    format!("gradients {gradients}, {}", arenas.iter().map(each).collect::<Vec<_>>().join(", "))
}

fn course(net: &Net) {
    let mut trainers = ["off", "default"].map(|preset| net.trainer(preset, false));
    let mut losses = [f64::NAN; 2];
    let mut blocks = |trainers: &mut [Trainer; 2]| {
        let mut micros = [Vec::new(), Vec::new()];
        for _ in 0..BLOCKS {
            for ((trainer, micros), last) in trainers.iter_mut().zip(&mut micros).zip(&mut losses) {
                let (micro, loss) = run(trainer, BLOCK);
                micros.push(micro);
                *last = loss;
            }
        }
        micros.map(median)
    };
    let early = blocks(&mut trainers);
    for trainer in &mut trainers {
        run(trainer, LATE - BLOCK * BLOCKS);
    }
    let late = blocks(&mut trainers);
    let row = |i: usize| format!("{:.2} | {:.2} | {:.2}", early[i], late[i], late[i] / early[i]);
    println!("| {} | {} | {} | {:.1e} |", net.name, row(0), row(1), losses[0]);
    println!("    below the normal numbers: {}", denormal(&mut trainers[0]));
}

/// Microseconds of each step of the plans in a training step, since times were taken.
fn times(trainer: &Trainer) -> Vec<(String, f64)> {
    let plans = &trainer.executor().times().expect("times were taken").plans;
    let steps = plans.iter().flat_map(|plan| {
        plan.plan.steps.iter().zip(&plan.steps).map(|(step, seconds)| {
            let shapes: Vec<String> = step.inputs.iter().take(2).map(|view| view.ty.shape.to_string()).collect();
            (format!("{} {} {}", plan.plan.name, step.op.name(), shapes.join(" ")), 1e6 * seconds)
        })
    });
    steps.collect()
}

/// Which steps of the plans get slower.
fn steps(net: &Net) {
    let mut trainer = net.trainer("default", true);
    let mut span = |steps: usize| {
        let before = times(&trainer);
        let all = run(&mut trainer, steps).0;
        let after = times(&trainer);
        let each =
            before.into_iter().zip(after).map(|((name, before), (_, after))| (name, (after - before) / steps as f64));
        (all, each.collect::<Vec<_>>())
    };
    let early = span(BLOCK * BLOCKS);
    span(LATE - BLOCK * BLOCKS);
    let late = span(BLOCK * BLOCKS);
    println!("\n{}: {:.2} us early, {:.2} us late", net.name, early.0, late.0);
    for ((name, early), (_, late)) in early.1.iter().zip(&late.1).filter(|((_, early), _)| *early > 0.0) {
        println!("  {early:7.3} {late:7.3}  {name}");
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let all = words.iter().all(|word| word == "steps");
    let wanted = |net: &&Net| all || words.iter().any(|word| net.name.contains(word.as_str()));
    println!(
        "| network | off: early | late | ratio | default: early | late | ratio | loss |\n|---|---|---|---|---|---|---|---|"
    );
    NETS.iter().filter(wanted).for_each(course);
    if words.iter().any(|word| word == "steps") {
        NETS.iter().filter(wanted).for_each(steps);
    }
}

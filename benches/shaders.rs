//! The matrix product in shaders, through the executor: the products of a step of a 784-512-512-10 network at batch 128, and
//! a larger one. `cargo bench --bench shaders`, with a part of an adapter's name to choose one: `-- llvmpipe`.

use std::time::Instant;
use steepest::base::Type;
use steepest::exec::{Devices, Executor, Gpu, GpuOptions, Host, Submission};
use steepest::graph::{Graph, StepScalars};
use steepest::plan::{Place, compile};

/// m, n, k, and whether A and B are transposed.
const SHAPES: [(usize, usize, usize, bool, bool); 9] = [
    (128, 512, 784, false, false),
    (128, 512, 512, false, false),
    (128, 10, 512, false, false),
    (128, 512, 10, false, true),
    (128, 512, 512, false, true),
    (512, 10, 128, true, false),
    (512, 512, 128, true, false),
    (784, 512, 128, true, false),
    (1024, 1024, 1024, false, false),
];

/// How many of them a step has; the last one is apart.
const STEP: usize = 8;

/// Products in one submission, and how often that is timed.
const PRODUCTS: usize = 4;
const REPEATS: usize = 5;

fn open(name: &str) -> Option<Gpu> {
    let devices = Devices::find();
    let usable = devices.list().iter().filter(|adapter| adapter.compute && adapter.name.contains(name));
    let adapter = usable.min_by_key(|adapter| (adapter.kind, adapter.index)).cloned()?;
    Some(devices.open(&adapter, &GpuOptions::default()).expect("the adapter opens"))
}

/// Seconds that one product takes, best of the repeats.
fn seconds(name: &str, (m, n, k, transpose_a, transpose_b): (usize, usize, usize, bool, bool)) -> Option<f64> {
    let mut gpu = open(name)?;
    let dims = |rows, columns, transposed| Type::real(if transposed { [columns, rows] } else { [rows, columns] });
    let mut g = Graph::new();
    let a = g.input("a", dims(m, k, transpose_a)).expect("an input");
    let b = g.input("b", dims(k, n, transpose_b)).expect("an input");
    let c = g.matmul_t(a, b, transpose_a, transpose_b).expect("they fit");
    let plan = compile("product", &g, &[(c, Place::whole("c", g.ty(c)))]).expect("it compiles");
    let plan = gpu.load(&plan).expect("it loads");
    for (buffer, len) in [("a", m * k), ("b", k * n)] {
        let values: Vec<f32> = (0..len).map(|i| (i * 7919 % 1009) as f32 / 500.0 - 1.0).collect();
        let buffer = gpu.buffer(buffer).expect("a shared buffer");
        gpu.write(buffer, 0, Host::F32(&values)).expect("it is written");
    }
    let plans = [plan; PRODUCTS];
    let submission =
        Submission { uploads: &[], plans: &plans, scalars: StepScalars::default(), readback: None, tag: 0 };
    let mut run = || {
        let start = Instant::now();
        gpu.submit(&submission).expect("it is submitted");
        gpu.finish().expect("it ends");
        start.elapsed().as_secs_f64() / PRODUCTS as f64
    };
    run();
    Some((0..REPEATS).map(|_| run()).fold(f64::INFINITY, f64::min))
}

fn main() {
    let name = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let (mut step, mut step_flops) = (0.0, 0.0);
    for (i, shape) in SHAPES.into_iter().enumerate() {
        let Some(seconds) = seconds(&name, shape) else {
            println!("there is no adapter with `{name}` in its name");
            return;
        };
        let (m, n, k, a, b) = shape;
        let order = |transposed| if transposed { "T" } else { "N" };
        let flops = 2.0 * (m * n * k) as f64;
        let (milliseconds, speed) = (seconds * 1e3, flops / seconds / 1e9);
        println!("{}{} {m}×{n}×{k}: {milliseconds:.3} ms, {speed:.1} GFLOP/s", order(a), order(b));
        if i < STEP {
            (step, step_flops) = (step + seconds, step_flops + flops);
        }
    }
    println!("a step: {:.0} MFLOP in {:.2} ms", step_flops / 1e6, step * 1e3);
}

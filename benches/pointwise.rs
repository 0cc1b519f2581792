//! Activations, their derivatives and a matrix product with one behind it on the CPU, at the size of a hidden layer. The bytes
//! are those of one pass that reads and writes f32. `cargo bench --bench pointwise`.

use std::sync::Arc;
use std::time::Instant;
use steepest::autodiff::vector_jacobian;
use steepest::base::{Result, Threads, Type};
use steepest::exec::{Cpu, Executor, Host, Submission};
use steepest::graph::{Graph, StepScalars, ValueId};
use steepest::ops::pointwise::Fun;
use steepest::plan::{Place, compile};

const SHAPE: [usize; 2] = [128, 512];

/// Timed replays of a turn, and turns; the median turn counts.
const REPLAYS: usize = 40;
const TURNS: usize = 41;

type Make = fn(&mut Graph, ValueId) -> Result<ValueId>;

const MAKES: [(&str, Make); 10] = [
    ("relu", |g, x| g.pointwise(Fun::Relu, &[x])),
    ("exp", |g, x| g.exp(x)),
    ("expm1", |g, x| g.exp_m1(x)),
    ("tanh", |g, x| g.tanh(x)),
    ("erf", |g, x| g.erf(x)),
    ("sigmoid", |g, x| g.sigmoid(x)),
    ("softplus", |g, x| g.softplus(x)),
    ("silu", |g, x| g.silu(x)),
    ("gelu", |g, x| g.gelu(x)),
    ("gelu_tanh", |g, x| g.gelu_tanh(x)),
];

/// Seconds that a replay of the graph takes: the median of the turns.
fn time(graph: &Graph, out: ValueId, threads: usize) -> f64 {
    let mut executor = Cpu::<f32>::new(Arc::new(Threads::new(threads).expect("threads")), None);
    let mut places: Vec<(ValueId, Place)> =
        graph.inputs().map(|(name, id)| (id, Place::whole(name, graph.ty(id)))).collect();
    places.push((out, Place::whole("out", graph.ty(out))));
    let plan = executor.load(&compile("bench", graph, &places).expect("a plan")).expect("it fits");
    for (name, id) in graph.inputs() {
        // From -5 to 5: what activations see, and beyond.
        let data: Vec<f32> = (0..graph.shape(id).len()).map(|i| (i * 7919 % 10007) as f32 / 1000.7 - 5.0).collect();
        executor.write(executor.buffer(name).expect("an input"), 0, Host::F32(&data)).expect("it is written");
    }
    let step = Submission { uploads: &[], plans: &[plan], scalars: StepScalars::default(), readback: None, tag: 0 };
    let mut turn = || {
        let start = Instant::now();
        (0..REPLAYS).for_each(|_| executor.submit(&step).expect("it runs"));
        start.elapsed().as_secs_f64() / REPLAYS as f64
    };
    let mut turns: Vec<f64> = (0..TURNS).map(|_| turn()).collect();
    turns.sort_by(f64::total_cmp);
    turns[TURNS / 2]
}

/// The function, its derivative times a cotangent, and the function behind a product of 512 terms an element.
fn graphs(make: Make) -> Result<[(Graph, ValueId); 3]> {
    let input = |g: &mut Graph, name, shape: [usize; 2]| g.input(name, Type::real(shape));
    let mut value = Graph::new();
    let x = input(&mut value, "x", SHAPE)?;
    let out = make(&mut value, x)?;
    let mut slope = Graph::new();
    let x = input(&mut slope, "x", SHAPE)?;
    let dy = input(&mut slope, "dy", SHAPE)?;
    let y = make(&mut slope, x)?;
    let dx = vector_jacobian(&mut slope, &[(y, dy)], &[x])?[0];
    let mut behind = Graph::new();
    let a = input(&mut behind, "a", SHAPE)?;
    let b = input(&mut behind, "b", [SHAPE[1], SHAPE[1]])?;
    let product = behind.matmul(a, b)?;
    let scaled = behind.scale(product, 1e-2)?;
    let y = make(&mut behind, scaled)?;
    Ok([(value, out), (slope, dx), (behind, y)])
}

fn main() {
    println!("| function | 1 thread | GB/s | derivative | behind a product | 2 threads |\n|---|---|---|---|---|---|");
    for (name, make) in MAKES {
        let [value, slope, behind] = graphs(make).expect("graphs");
        let one = time(&value.0, value.1, 1);
        let gigabytes = (8 * SHAPE[0] * SHAPE[1]) as f64 / one / 1e9;
        let [slope, behind, two] =
            [time(&slope.0, slope.1, 1), time(&behind.0, behind.1, 1), time(&value.0, value.1, 2)].map(|s| s * 1e6);
        println!("| {name} | {:.1} µs | {gigabytes:.2} | {slope:.1} µs | {behind:.0} µs | {two:.1} µs |", one * 1e6);
    }
}

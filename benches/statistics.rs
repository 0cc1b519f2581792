//! What statistics cost: whole training steps without them, with them, and with the noise of the gradient, in turn; then the measurement alone against a copy,
//! and the step record. `-- --statistics` adds criterion's measurements; a word picks the sizes whose name holds it.

use criterion::{BenchmarkId, Criterion};
use std::hint::black_box;
use std::time::{Duration, Instant};
use steepest::base::{Stream, StreamId};
use steepest::config::Config;
use steepest::data::{Dataset, Splits, Targets};
use steepest::ops::record::{OfGradients, RECORD, measured};
use steepest::probe::{Sizes, Values};
use steepest::run::record::{Record, RecordSettings};
use steepest::run::schema::Schema;
use steepest::run::thinning::Every;
use steepest::run::{Setup, TappedLayer, Trainer, open_device};

/// What a step measures.
#[derive(Clone, Copy, PartialEq)]
enum Measuring {
    Nothing,
    /// Norms, taps, updates.
    Statistics,
    /// What is measured if nothing is set: the noise of the gradient too.
    Default,
}

const WAYS: [(&str, Measuring); 3] =
    [("off", Measuring::Nothing), ("statistics", Measuring::Statistics), ("default", Measuring::Default)];

/// A network: the width of its input and of each layer.
struct Size {
    name: &'static str,
    widths: &'static [usize],
    batch: usize,
    optimizer: &'static str,
    /// Steps that are timed together, and how often.
    steps: usize,
    rounds: usize,
}

const SIZES: [Size; 3] = [
    Size { name: "64-32-10", widths: &[64, 32, 10], batch: 32, optimizer: "adam", steps: 100, rounds: 601 },
    Size {
        name: "784-512-512-10",
        widths: &[784, 512, 512, 10],
        batch: 128,
        optimizer: "momentum",
        steps: 4,
        rounds: 121,
    },
    Size {
        name: "2048x6",
        widths: &[2048, 2048, 2048, 2048, 2048, 2048, 10],
        batch: 128,
        optimizer: "momentum",
        steps: 1,
        rounds: 41,
    },
];

impl Size {
    fn trainer(&self, measuring: Measuring, threads: usize) -> Trainer {
        let (statistics, noise) = (measuring != Measuring::Nothing, measuring == Measuring::Default);
        let hidden = &self.widths[1..self.widths.len() - 1];
        let layers: String =
            hidden.iter().map(|out| format!("{{ kind = \"linear\", out = {out} }}, \"relu\", ")).collect();
        let (batch, optimizer) = (self.batch, self.optimizer);
        let text = format!(
            "[model]\nlayers = [{layers}{{ kind = \"linear\", out = 10 }}]\n\
             [train]\nbatch = {batch}\noptimizer = \"{optimizer}\"\nlr = 0.001\nepochs = 1000000\n\
             [record]\nstatistics = {statistics}\n[probes]\nnoise = {noise}\n\
             [device]\ndevice = \"cpu\"\nthreads = {threads}\n"
        );
        let config = Config::from_toml_str(&text, "bench.toml").expect("a valid config");
        let device = open_device(&config).expect("the CPU");
        let splits = data(self.widths[0], 16 * self.batch);
        let setup = Setup { splits, executor: device.executor, threads: device.threads, objective: None };
        Trainer::new(&config, setup).expect("a trainer")
    }
}

/// Random numbers with random labels.
fn data(features: usize, rows: usize) -> Splits {
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let x = ndarray::Array2::from_shape_simple_fn((rows, features), &mut random);
    let labels = (0..rows).map(|row| (row * 7919 % 10) as u32).collect();
    let train = Dataset::new("random", x, Targets::Classes { labels, classes: 10 }).expect("a data set");
    Splits::new("random", train, None).expect("splits")
}

/// Seconds for so many steps, each submitted and collected.
fn time(trainer: &mut Trainer, steps: usize) -> f64 {
    let start = Instant::now();
    run(trainer, steps);
    start.elapsed().as_secs_f64()
}

fn run(trainer: &mut Trainer, steps: usize) {
    for _ in 0..steps {
        trainer.submit().expect("a step");
        black_box(trainer.collect(true).expect("a reading"));
    }
}

fn median(mut xs: Vec<f64>) -> f64 {
    xs.sort_by(f64::total_cmp);
    xs[xs.len() / 2]
}

/// All ways in turn, so that other load meets them alike, and each first as often as last.
fn interleaved(size: &Size, threads: usize) {
    let mut trainers = WAYS.map(|(_, measuring)| size.trainer(measuring, threads));
    let mut seconds = [const { Vec::new() }; WAYS.len()];
    for trainer in &mut trainers {
        trainer.within(|trainer| time(trainer, size.steps));
    }
    for round in 0..size.rounds {
        for turn in 0..WAYS.len() {
            let which = (turn + round) % WAYS.len();
            let now = trainers[which].within(|trainer| time(trainer, size.steps)) / size.steps as f64;
            seconds[which].push(now);
        }
    }
    println!("{} batch {} {}, {threads} threads", size.name, size.batch, size.optimizer);
    let off = seconds[0].clone();
    for ((name, _), own) in WAYS.iter().zip(&seconds) {
        let ratios: Vec<f64> = own.iter().zip(&off).map(|(own, off)| own / off).collect();
        let least = |xs: &[f64]| xs.iter().copied().fold(f64::INFINITY, f64::min);
        println!(
            "  {name:10} {:>10.2} us, ratio of medians {:.3}, median of ratios {:.3}, ratio of minima {:.3}",
            median(own.clone()) * 1e6,
            median(own.clone()) / median(off.clone()),
            median(ratios),
            least(own) / least(&off)
        );
    }
    let [off, statistics, default] = trainers.each_mut().map(|trainer| trainer.params().expect("parameters"));
    assert!(off == statistics && off == default, "measuring changed the weights");
}

/// Numbers per second of one measurement in the first-level cache, beside a copy of as many.
fn throughput() {
    let xs: Vec<f32> = (0..1024).map(|i| (i * 7919 % 1009) as f32 / 500.0 - 1.0).collect();
    let (mut to, mut record) = (xs.clone(), [0.0f32; RECORD]);
    let mut seconds = [Vec::new(), Vec::new()];
    for _ in 0..201 {
        let start = Instant::now();
        for _ in 0..1000 {
            measured(OfGradients, black_box(&xs[..]), 1.0, &mut record);
            black_box(&mut record);
        }
        seconds[0].push(start.elapsed().as_secs_f64() / 1000.0);
        let start = Instant::now();
        for _ in 0..1000 {
            to.copy_from_slice(black_box(&xs));
            black_box(&mut to);
        }
        seconds[1].push(start.elapsed().as_secs_f64() / 1000.0);
    }
    let [measured, copied] = seconds.map(median);
    println!(
        "1024 numbers: measured in {:.0} ns, {:.0} GB/s; copied in {:.0} ns, {:.0} GB/s read",
        measured * 1e9,
        4096.0 / measured / 1e9,
        copied * 1e9,
        4096.0 / copied / 1e9
    );
}

/// How many entries a network of so many dense layers has.
fn sizes(layers: usize) -> Sizes {
    Sizes { layers, dense: layers, tensors: 2 * layers }
}

/// The columns of such a network.
fn schema(layers: usize) -> Schema {
    let names: Vec<String> = (0..2 * layers).map(|i| i.to_string()).collect();
    let layer = |i: usize| TappedLayer { name: i.to_string(), kind: "linear".into(), activation_width: 1, dense: true };
    Schema::of(&(0..layers).map(layer).collect::<Vec<_>>(), &names, sizes(layers))
}

/// Nanoseconds of [`Record::push`].
fn pushes(layers: usize) {
    let mut values = Values::new(sizes(layers)).flat().to_vec();
    let mut stream = Stream::new(1, StreamId::Shuffle(0));
    values.iter_mut().for_each(|x| *x = f64::from(stream.next_word()));
    for (what, every) in [("no row ends", Every::Steps(1 << 40)), ("rows as by default", Every::Auto)] {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = RecordSettings { every, ..RecordSettings::default() };
        let mut record = Record::create(folder.path(), &schema(layers), &settings).expect("a record");
        let mut step = 0;
        let mut push = |n: u64| {
            let start = Instant::now();
            for _ in 0..n {
                step += 1;
                record.push(step, 1.0, 32 * step, black_box(&values)).expect("a row");
            }
            start.elapsed().as_nanos() as f64 / n as f64
        };
        push(2000);
        let each = median((0..101).map(|_| push(1000)).collect());
        println!("push of {} values, {what}: {each:.0} ns", values.len());
    }
}

fn by_criterion(c: &mut Criterion, wanted: impl Fn(&str) -> bool) {
    let mut group = c.benchmark_group("step");
    group.sample_size(10).measurement_time(Duration::from_secs(2));
    for size in SIZES.iter().filter(|size| wanted(size.name)) {
        for (what, measuring) in WAYS {
            let mut trainer = size.trainer(measuring, 0);
            group.bench_function(BenchmarkId::new(what, size.name), |b| {
                trainer.within(|trainer| b.iter(|| run(trainer, 1)));
            });
        }
    }
    group.finish();
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    for size in SIZES.iter().filter(|size| wanted(size.name)) {
        for threads in [1, 2] {
            interleaved(size, threads);
        }
    }
    if wanted("measure") {
        throughput();
    }
    if wanted("push") {
        [2, 6, 20].into_iter().for_each(pushes);
    }
    if std::env::args().any(|arg| arg == "--statistics") {
        let mut criterion = Criterion::default();
        by_criterion(&mut criterion, wanted);
        criterion.final_summary();
    }
}

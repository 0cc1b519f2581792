//! What measuring costs: whole training steps that measure nothing, that take the statistics, and with the presets `default` and
//! `full`, in turn; each probe in every step; then the measurement alone against a copy, and the step record.
//! `-- --statistics` adds criterion's measurements; words pick the sizes whose names hold them, `probes`, `measure`, `push`.

use criterion::{BenchmarkId, Criterion};
use std::hint::black_box;
use std::time::{Duration, Instant};
use steepest::base::{Cadence, Stream, StreamId};
use steepest::config::Config;
use steepest::data::{Dataset, Splits, Targets};
use steepest::ops::record::{OfGradients, RECORD, measured};
use steepest::probe::{Agenda, Columns, Sizes};
use steepest::run::record::{Record, RecordSettings};
use steepest::run::schema::Schema;
use steepest::run::thinning::Every;
use steepest::run::{Setup, TappedLayer, Trainer, open_device};

/// A name, and what a step measures as `[probes]` has it.
type Way = (&'static str, &'static str);

const OFF: Way = ("off", "preset = 'off'");
const STATISTICS: Way = ("statistics", "units = 0\nnoise = 0");

const PRESETS: [Way; 4] = [OFF, STATISTICS, ("default", "preset = 'default'"), ("full", "preset = 'full'")];

/// Each probe in every step, beside the statistics.
const PROBES: [Way; 8] = [
    OFF,
    STATISTICS,
    ("units", "units = 1\nnoise = 0"),
    ("noise", "units = 0\nnoise = 1"),
    ("variance", "units = 0\nnoise = 0\nvariance = 1"),
    ("direction", "units = 0\nnoise = 0\ndirection = 1"),
    ("histograms", "units = 0\nnoise = 0\nhistograms = 1"),
    ("distance", "units = 0\nnoise = 0\ndistance = 1"),
];

/// A network: the width of its input and of each layer.
struct Size {
    name: &'static str,
    widths: &'static [usize],
    batch: usize,
    optimizer: &'static str,
    /// Steps that are timed together, a multiple of ten, and how often.
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
        steps: 10,
        rounds: 61,
    },
    Size {
        name: "2048x6",
        widths: &[2048, 2048, 2048, 2048, 2048, 2048, 10],
        batch: 128,
        optimizer: "momentum",
        steps: 10,
        rounds: 7,
    },
];

impl Size {
    fn config(&self, (_, probes): Way, threads: usize) -> Config {
        let hidden = &self.widths[1..self.widths.len() - 1];
        let layers: String =
            hidden.iter().map(|out| format!("{{ kind = \"linear\", out = {out} }}, \"relu\", ")).collect();
        let (batch, optimizer) = (self.batch, self.optimizer);
        let text = format!(
            "[model]\nlayers = [{layers}{{ kind = \"linear\", out = 10 }}]\n\
             [train]\nbatch = {batch}\noptimizer = \"{optimizer}\"\nlr = 0.001\nepochs = 1000000\n\
             [probes]\n{probes}\n\
             [device]\ndevice = \"cpu\"\nthreads = {threads}\n"
        );
        Config::from_toml_str(&text, "bench.toml").expect("a valid config")
    }

    fn trainer(&self, way: Way, threads: usize) -> Trainer {
        let config = self.config(way, threads);
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
fn interleaved(size: &Size, ways: &[Way], threads: usize) {
    let mut trainers: Vec<Trainer> = ways.iter().map(|&way| size.trainer(way, threads)).collect();
    let mut seconds = vec![Vec::new(); ways.len()];
    for trainer in &mut trainers {
        trainer.within(|trainer| time(trainer, size.steps));
    }
    for round in 0..size.rounds {
        for turn in 0..ways.len() {
            let which = (turn + round) % ways.len();
            let now = trainers[which].within(|trainer| time(trainer, size.steps)) / size.steps as f64;
            seconds[which].push(now);
        }
    }
    println!("{} batch {} {}, {threads} threads", size.name, size.batch, size.optimizer);
    let off = seconds[0].clone();
    for ((name, _), own) in ways.iter().zip(&seconds) {
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
    let params: Vec<_> = trainers.iter_mut().map(|trainer| trainer.params().expect("parameters")).collect();
    assert!(params.iter().all(|other| *other == params[0]), "measuring changed the weights");
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

/// The columns of a network of so many dense layers.
fn columns(layers: usize) -> (Schema, usize) {
    let every = std::array::from_fn(|i| if i < 3 { Cadence::Every(1) } else { Cadence::Never });
    let sizes =
        Sizes { layers, resolved: layers, noisy: layers, rectified: layers, tensors: 2 * layers, ..Sizes::default() };
    let columns = Columns::new(sizes, &Agenda::new(&every).expect("an agenda"));
    let names: Vec<String> = (0..2 * layers).map(|i| i.to_string()).collect();
    let layer = |i: usize| TappedLayer {
        name: i.to_string(),
        kind: "linear".into(),
        is_resolved: true,
        has_noise: true,
        is_rectified: true,
        is_bounded: false,
    };
    let layers: Vec<TappedLayer> = (0..layers).map(layer).collect();
    (Schema::of(&layers, &names, columns.quantities(0)), columns.groups()[0].len())
}

/// Nanoseconds of [`Record::push`].
fn pushes(layers: usize) {
    let (schema, width) = columns(layers);
    let mut values = vec![0.0; width];
    let mut stream = Stream::new(1, StreamId::Shuffle(0));
    values.iter_mut().for_each(|x| *x = f64::from(stream.next_word()));
    for (what, every) in [("no row ends", Every::Steps(1 << 40)), ("rows as by default", Every::Auto)] {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = RecordSettings { every, ..RecordSettings::default() };
        let mut record = Record::create(folder.path(), &schema, &settings).expect("a record");
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
        for way in PRESETS {
            let mut trainer = size.trainer(way, 0);
            group.bench_function(BenchmarkId::new(way.0, size.name), |b| {
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
            interleaved(size, &PRESETS, threads);
        }
    }
    if wanted("probes") {
        for size in &SIZES[..2] {
            interleaved(size, &PROBES, 2);
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

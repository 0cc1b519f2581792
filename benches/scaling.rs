//! How time and memory grow: a step against width, depth, batch and the size of the data; the memory of a plan against what has to be
//! alive at once, and of the whole program against its plans; networks of up to 2,000 layers; and how long it takes from the start of
//! the program to the first step. `cargo bench --bench scaling`; words pick tables: `width`, `depth`, `batch`, `data`, `memory`,
//! `layers`, `set`, `cold`, `peak`.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use steepest::config::Config;
use steepest::data::{Dataset, Splits, Targets};
use steepest::exec::Devices;
use steepest::plan::Plan;
use steepest::run::{self, Setup, Trainer, open_device};

/// Rounds, of which the median counts, and about how long one is.
const ROUNDS: usize = 9;
const ROUND_SECONDS: f64 = 0.05;

/// A network of equal layers.
#[derive(Clone, Copy)]
struct Net {
    width: usize,
    hidden: usize,
    batch: usize,
    rows: usize,
}

const USUAL: Net = Net { width: 256, hidden: 2, batch: 64, rows: 1024 };

impl Net {
    fn trainer(self) -> Trainer {
        self.trainer_with("default")
    }

    /// With this preset of probes.
    fn trainer_with(self, preset: &str) -> Trainer {
        let layer = format!("{{ kind = \"linear\", out = {}, init = \"he_normal\" }}, \"relu\", ", self.width);
        let text = format!(
            "[model]\nlayers = [{}{{ kind = \"linear\", out = 10 }}]\n\
             [train]\nbatch = {}\noptimizer = \"sgd\"\nlr = 1e-6\nepochs = 1000000000\n[device]\ndevice = \"cpu\"\n\
             [probes]\npreset = \"{preset}\"\n",
            layer.repeat(self.hidden),
            self.batch
        );
        let config = Config::from_toml_str(&text, "scaling").expect("a valid config");
        let device = open_device(&config).expect("the CPU");
        let values = (0..self.rows * self.width).map(|i| (i * 7919 % 1009) as f32 / 500.0 - 1.0).collect();
        let x = ndarray::Array2::from_shape_vec((self.rows, self.width), values).expect("rows");
        let labels = (0..self.rows).map(|row| (row * 7919 % 10) as u32).collect();
        let train = Dataset::new("numbers", x, Targets::Classes { labels, classes: 10 }).expect("a data set");
        let splits = Splits::new("numbers", train, None).expect("splits");
        let setup = Setup { splits, executor: device.executor, threads: device.threads, objective: None };
        Trainer::new(&config, setup).expect("a trainer")
    }

    /// Floating-point operations of the products of a step.
    fn flops(self) -> f64 {
        let (w, hidden) = (self.width as f64, self.hidden as f64);
        2.0 * self.batch as f64 * (3.0 * (hidden * w * w + 10.0 * w) - w * w)
    }
}

/// The median time of a step.
fn step(trainer: &mut Trainer) -> f64 {
    trainer.within(|trainer| {
        let mut run = |steps: usize| {
            let start = Instant::now();
            (0..steps).for_each(|_| {
                trainer.step().expect("a step");
            });
            start.elapsed().as_secs_f64() / steps as f64
        };
        run(1);
        let steps = ((ROUND_SECONDS / run(1)) as usize).clamp(1, 10_000);
        let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| run(steps)).collect();
        rounds.sort_by(f64::total_cmp);
        rounds[ROUNDS / 2]
    })
}

fn sweep(title: &str, nets: &[(usize, Net)]) {
    println!("\n| {title} | a step | GFLOP/s | time per unit, to the first row |\n|---|---|---|---|");
    let mut first = None;
    for &(x, net) in nets {
        let seconds = step(&mut net.trainer());
        let each = seconds / net.flops().max(1.0);
        let first = *first.get_or_insert(each);
        println!("| {x} | {:.1} µs | {:.0} | {:.2} |", 1e6 * seconds, net.flops() / seconds / 1e9, each / first);
    }
}

/// The bytes of private values that are alive at the worst moment of a plan, were they to move freely: no plan takes less.
/// Each value lives from the step that writes a buffer whole to the last that reads it before it is written again.
fn alive(plan: &Plan) -> usize {
    let mut change = vec![0i64; plan.steps.len() + 2];
    for (b, buffer) in plan.buffers.iter().enumerate().filter(|(_, buffer)| !buffer.shared) {
        let touches = |views: &[steepest::plan::View]| views.iter().filter(|view| view.buffer == b).map(len).max();
        let mut open: Option<(usize, usize, usize)> = None;
        for (i, step) in plan.steps.iter().enumerate() {
            let read = touches(&step.inputs);
            if let (Some(_), Some((_, last, _))) = (read, &mut open) {
                *last = i;
            }
            if let Some(len) = touches(&step.outputs).filter(|_| read.is_none()) {
                close(&mut change, open.replace((i, i, len)));
            }
        }
        close(&mut change, open);
        assert!(buffer.len > 0);
    }
    let mut now = 0;
    let all = change.iter().map(|change| {
        now += change;
        now
    });
    4 * all.max().unwrap_or(0) as usize
}

fn len(view: &steepest::plan::View) -> usize {
    view.ty.shape.len()
}

fn close(change: &mut [i64], life: Option<(usize, usize, usize)>) {
    if let Some((first, last, len)) = life {
        change[first] += len as i64;
        change[last + 1] -= len as i64;
    }
}

fn memory() {
    println!("\n| network, plan `gradients` | private | alive at the worst moment | ratio |\n|---|---|---|---|");
    for net in [USUAL, Net { hidden: 20, ..USUAL }, Net { width: 64, hidden: 200, ..USUAL }] {
        let trainer = net.trainer();
        let plan = trainer.blueprint().gradients();
        let (private, alive) = (plan.private_bytes(4), alive(plan));
        let ratio = private as f64 / alive as f64;
        println!("| {} × {}, batch {} | {private} B | {alive} B | {ratio:.3} |", net.hidden, net.width, net.batch);
    }
}

fn layers() {
    println!("\n| layers | ready | a step | a step and layer |\n|---|---|---|---|");
    for hidden in [100, 500, 1000, 2000] {
        let start = Instant::now();
        let mut trainer = Net { width: 16, hidden, batch: 16, rows: 64 }.trainer();
        let ready = start.elapsed().as_secs_f64();
        let seconds = step(&mut trainer);
        println!("| {hidden} | {:.2} s | {:.2} ms | {:.2} µs |", ready, 1e3 * seconds, 1e6 * seconds / hidden as f64);
    }
}

/// A step and layer against what a step touches: numbers of parameters and gradients, with the padding of their chunks and without, and
/// of private buffers. Were it the size of that alone, rows of equal size would cost their work alike, however wide their layers are.
fn set() {
    println!(
        "\n| width | layers | preset | steps of plans a layer | touched, arenas padded | private | a step and layer |\n|---|---|---|---|---|---|---|"
    );
    for (width, depths) in [(16, [125, 250, 500, 1000, 2000, 4000]), (64, [30, 60, 125, 250, 500, 1000])] {
        for preset in ["off", "default"] {
            for hidden in depths {
                let mut trainer = Net { width, hidden, batch: 16, rows: 64 }.trainer_with(preset);
                let blueprint = trainer.blueprint();
                let plans = [blueprint.gradients(), &blueprint.update];
                let steps: usize = plans.iter().map(|plan| plan.steps.len()).sum();
                let private = blueprint.gradients().private_bytes(4);
                let arenas = [blueprint.arena.element_count(), blueprint.arena.parts.iter().sum()];
                let [own, padded] = arenas.map(|len| 2.0 * 4.0 * len as f64 / 1e6);
                let seconds = step(&mut trainer);
                println!(
                    "| {width} | {hidden} | {preset} | {:.1} | {own:.2} MB, {padded:.2} MB | {:.2} MB | {:.2} µs |",
                    steps as f64 / hidden as f64,
                    private as f64 / 1e6,
                    1e6 * seconds / hidden as f64
                );
            }
        }
    }
}

/// From the start of the program to the end of one step of 784-512-512-10, the run folder with it: median of five, and the first.
fn cold() {
    println!("\n| device | first | median of five |\n|---|---|---|");
    let devices: Vec<String> = Devices::find().list().iter().map(|adapter| adapter.name.clone()).collect();
    for device in std::iter::once("cpu".to_owned()).chain(devices) {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("net.toml");
        let text = "[data]\nsource = \"blobs\"\nexamples = 1000\nfeatures = 784\nclasses = 10\n\
                    [model]\nlayers = [{ kind = \"linear\", out = 512 }, \"relu\", { kind = \"linear\", out = 512 }, \"relu\", { kind = \"linear\", out = 10 }]\n\
                    [train]\nbatch = 128\noptimizer = \"momentum\"\n";
        std::fs::write(&config, text).expect("it is written");
        let mut seconds: Vec<f64> = (0..5)
            .map(|i| {
                let start = Instant::now();
                let mut command = Command::new(env!("CARGO_BIN_EXE_steepest"));
                command.args(["train", "net.toml", "--max-steps", "1", "--quiet", "--device", &device]);
                command.args(["--out", &format!("run{i}")]).current_dir(folder.path()).env("NODEVICE_SELECT", "1");
                let output = command.output().expect("the program runs");
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                start.elapsed().as_secs_f64()
            })
            .collect();
        let first = seconds[0];
        seconds.sort_by(f64::total_cmp);
        println!("| {device} | {first:.3} s | {:.3} s |", seconds[2]);
    }
}

/// A run of 20 steps on the CPU, of so many layers of 2048 or of a single unit without any.
fn peak_config(hidden: usize, validation: f64) -> String {
    let layer = "{ kind = \"linear\", out = 2048, init = \"he_normal\" }, \"relu\", ".repeat(hidden);
    let (features, outputs) = if hidden > 0 { (2048, 10) } else { (1, 1) };
    let source = if hidden > 0 { "blobs\"\nclasses = 10" } else { "linear\"" };
    format!(
        "[data]\nsource = \"{source}\nexamples = 1024\nfeatures = {features}\nsplit = {validation}\n\
         [model]\nlayers = [{layer}{{ kind = \"linear\", out = {outputs} }}]\n\
         [train]\nbatch = 128\noptimizer = \"momentum\"\nlr = 1e-3\nmax_steps = 20\n[device]\ndevice = \"cpu\"\n"
    )
}

/// The most memory that the program had resident, in bytes, as the system counted it; asked for until the program ends.
fn peak_of(text: &str) -> Option<usize> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("net.toml"), text).expect("it is written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_steepest"));
    command.args(["train", "net.toml", "--quiet", "--out", "run"]).current_dir(folder.path()).stdout(Stdio::null());
    let mut child = command.spawn().expect("the program runs");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = None;
    let end = loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let kib = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        peak = kib.map(|kib: usize| 1024 * kib).or(peak);
        if let Some(end) = child.try_wait().expect("it can be waited for") {
            break end;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    assert!(end.success());
    peak
}

/// The program from outside against the bound that its plans give. Only Linux tells.
fn peak() {
    println!("\n| validation | peak, less that of one unit | bound of the plans | ratio |\n|---|---|---|---|");
    for validation in [0.0, 0.1] {
        let text = peak_config(6, validation);
        let [Some(large), Some(one)] = [&text, &peak_config(0, 0.0)].map(|text| peak_of(text)) else {
            println!("| {validation} | the system does not tell | | |");
            continue;
        };
        let config = Config::from_toml_str(&text, "peak").expect("a valid config");
        let device = open_device(&config).expect("the CPU");
        let splits = run::load(&config).expect("data");
        let setup = Setup { splits, executor: device.executor, threads: device.threads, objective: None };
        let bound = Trainer::new(&config, setup).expect("a trainer").blueprint().memory_bytes(4);
        let (own, mib) = (large - one, |bytes: usize| bytes as f64 / (1 << 20) as f64);
        println!("| {validation} | {:.1} MiB | {:.1} MiB | {:.3} |", mib(own), mib(bound), own as f64 / bound as f64);
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let of = |xs: &[usize], net: fn(usize) -> Net| xs.iter().map(|&x| (x, net(x))).collect::<Vec<_>>();
    if wanted("width") {
        sweep("width of 2 layers, batch 64", &of(&[32, 128, 512, 2048], |width| Net { width, ..USUAL }));
    }
    if wanted("depth") {
        sweep("hidden layers of 256, batch 64", &of(&[1, 4, 16, 64], |hidden| Net { hidden, ..USUAL }));
    }
    if wanted("batch") {
        let net = |batch| Net { batch, ..USUAL };
        sweep("batch, 2 layers of 256", &of(&[1, 16, 256, 1024], net));
    }
    if wanted("data") {
        let net = |rows| Net { rows, ..USUAL };
        sweep("examples, 2 layers of 256, batch 64", &of(&[1 << 10, 1 << 13, 1 << 16, 1 << 18], net));
    }
    if wanted("memory") {
        memory();
    }
    if wanted("layers") {
        layers();
    }
    if wanted("set") {
        set();
    }
    if wanted("cold") {
        cold();
    }
    if wanted("peak") {
        peak();
    }
}

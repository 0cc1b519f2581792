//! What probes measure against numpy (goldens/probes.py), for each activation, on the CPU in both precisions and on a GPU; and that
//! needs are met at the steps at which they are due, and at no others.

mod training;

use std::path::Path;
use std::sync::{Arc, Mutex};
use steepest::base::{Cadence, Result};
use steepest::config::Config;
use steepest::data::{Dataset, Splits, Targets, digits};
use steepest::exec::{BufferId, Counters, DeviceInfo, Executor, Host, PlanId, Submission, Times};
use steepest::plan::Plan;
use steepest::probe::{Need, ProbeId, QUANTITIES, is_absent};
use steepest::run::record::{Record, RecordSettings};
use steepest::run::thinning::Every;
use steepest::run::weights::{NamedTensor, read_tensors};
use steepest::run::{HostTensor, Setup, Step, Trainer};
use training::{config, first_digits, on_cpu, on_gpu, only, setup_on_cpu};

const ROWS: usize = 22;
const STEPS: usize = 7;

const ACTIVATIONS: [(&str, &str); 10] = [
    ("identity", "'identity'"),
    ("relu", "'relu'"),
    ("leaky_relu", "'leaky_relu'"),
    ("elu", "'elu'"),
    ("gelu", "'gelu'"),
    ("gelu_tanh", "{ kind = 'gelu', approximate = 'tanh' }"),
    ("silu", "'silu'"),
    ("sigmoid", "'sigmoid'"),
    ("tanh", "'tanh'"),
    ("softplus", "'softplus'"),
];

/// What the goldens hold; the other quantities are those of `tests/quantities.rs`.
const COMPARED: [&str; 26] = [
    "loss",
    "grad_norm",
    "dead_units",
    "saturated",
    "noise_trace",
    "noise_signal",
    "noise_scale",
    "layer_noise_trace",
    "layer_noise_signal",
    "layer_noise_scale",
    "norm_test",
    "inner_product_test",
    "orthogonality_test",
    "cabs",
    "early_stopping",
    "layer_early_stopping",
    "layer_snr",
    "gradient_cosine",
    "update_cosine",
    "alpha",
    "layer_gradient_cosine",
    "layer_update_cosine",
    "gradient_histogram",
    "weight_histogram",
    "activation_histogram",
    "distance",
];

struct Goldens(Vec<NamedTensor>);

impl Goldens {
    fn read() -> Self {
        Self(read_tensors(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/probes.safetensors")).unwrap())
    }

    fn find(&self, name: &str) -> Option<Vec<f64>> {
        self.0.iter().find(|tensor| tensor.name == name).map(|tensor| tensor.data.to_f64())
    }

    fn params(&self, case: &str) -> Vec<HostTensor> {
        let names = ["0.weight", "0.bias", "2.weight", "2.bias", "4.weight", "4.bias"];
        let param = |name: &str| {
            let golden = format!("{case}/weights/{name}");
            let tensor = self.0.iter().find(|tensor| tensor.name == golden).unwrap();
            HostTensor { name: name.into(), shape: tensor.shape.as_slice().into(), values: tensor.data.to_f64() }
        };
        names.map(param).into()
    }
}

fn data() -> Splits {
    first_digits(ROWS)
}

fn settings(activation: &str, more: &str) -> Config {
    of_widths([6, 5], activation, more)
}

fn of_widths(hidden: [usize; 2], activation: &str, more: &str) -> Config {
    let linear = |out: usize| format!("{{ kind = 'linear', out = {out} }}");
    let [first, second] = hidden.map(linear);
    let layers = [first, activation.into(), second, activation.into(), linear(10)].join(", ");
    let mut config = config(&format!(
        "[data]\nsource = 'digits'\n[model]\nlayers = [{layers}]\n[train]\nbatch = 8\noptimizer = 'sgd'\nlr = 0.4\n\
         shuffle = false\n[probes]\npreset = 'full'\n"
    ));
    let every = ["variance", "direction", "histograms", "distance"].map(|probe| format!("probes.{probe}=1"));
    config.set_all(every).unwrap();
    config.set_all(more.split_whitespace().map(str::to_owned)).unwrap();
    config
}

/// |a − b| ≤ bound · max |golden|; NaN is where there is no golden number.
fn close(what: &str, found: &[f64], golden: &[f64], bound: f64) {
    assert_eq!(found.len(), golden.len(), "{what}");
    let size = golden.iter().filter(|x| x.is_finite()).fold(1e-3, |max: f64, x| max.max(x.abs()));
    for (i, (a, b)) in found.iter().zip(golden).enumerate() {
        assert!((a - b).abs() <= bound * size || a.is_nan() && b.is_nan(), "{what}[{i}]: {a} and {b}");
    }
}

/// Compares all that is measured with the goldens. Returns how many numbers were compared.
fn compare(goldens: &Goldens, case: &str, trainer: &mut Trainer, bound: f64, except: &[&str]) -> usize {
    trainer.set_params(&goldens.params(case)).unwrap();
    let mut count = 0;
    for step in 0..STEPS {
        let values = trainer.step().unwrap().values.clone();
        for quantity in QUANTITIES.iter().filter(|quantity| !except.contains(&quantity.id)) {
            let found = values.get(quantity.id);
            let single = if bound > 1e-6 && quantity.id == "layer_snr" { "_single" } else { "" };
            let golden = goldens.find(&format!("{case}/{step}/{}{single}", quantity.id));
            let what = format!("{case}, step {step}, {}", quantity.id);
            match golden {
                Some(golden) => {
                    // Partial derivatives of next to no variance weigh most in these, and their variance is a difference.
                    let loose = matches!(quantity.id, "early_stopping" | "layer_early_stopping" | "layer_snr");
                    close(&what, found, &golden, if loose { 20.0 * bound } else { bound });
                    count += golden.len();
                }
                None if quantity.probe == ProbeId::Direction => assert!(found.iter().all(|x| x.is_nan()), "{what}"),
                None if quantity.probe == ProbeId::Units => assert!(found.is_empty(), "{what}: {found:?}"),
                None => assert!(!COMPARED.contains(&quantity.id), "{what}: no golden"),
            }
        }
    }
    count
}

#[test]
fn probes_measure_what_numpy_finds() {
    let goldens = Goldens::read();
    for (case, activation) in ACTIVATIONS {
        let config = settings(activation, "");
        let count = compare(&goldens, case, &mut on_cpu::<f64>(&config, data(), 2), 1e-9, &[]);
        assert!(count > STEPS * 9 * 32, "{case}: {count}");
    }
}

/// Where layers have more weights than a batch has products of examples with each other, these serve.
#[test]
fn wide_layers_measure_what_numpy_finds() {
    let goldens = Goldens::read();
    let config = of_widths([24, 40], "'relu'", "");
    compare(&goldens, "wide", &mut on_cpu::<f64>(&config, data(), 2), 1e-9, &[]);
    let histograms = ["gradient_histogram", "weight_histogram", "activation_histogram"];
    compare(&goldens, "wide", &mut on_cpu::<f32>(&config, data(), 1), 2e-3, &histograms);
    if let Some(mut gpu) = on_gpu(&config, data()) {
        compare(&goldens, "wide", &mut gpu, 2e-3, &histograms);
    }
}

/// The first step has none before it: that is no failure, and is not taken for one.
#[test]
fn the_first_direction_is_absent() {
    let mut trainer = on_cpu::<f32>(&settings("'relu'", ""), data(), 1);
    let group = trainer.agenda().group(ProbeId::Direction).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let record = RecordSettings { every: Every::Steps(1), ..RecordSettings::default() };
    let mut record = Record::create(folder.path(), &trainer.schema(group), &record).unwrap();
    for number in 1..=2 {
        let step = trainer.step().unwrap();
        let of = ["gradient_cosine", "update_cosine", "alpha", "layer_gradient_cosine", "layer_update_cosine"];
        let absent = |id: &str| step.values.get(id).iter().all(|&x| is_absent(x));
        assert_eq!(of.map(absent), [number == 1; 5], "step {number}");
        record.push(number, 0.0, 8, step.values.group(group)).unwrap();
    }
    record.finish("done").unwrap();
    let text = std::fs::read_to_string(folder.path().join("steps.jsonl")).unwrap();
    let rows: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen = |row: &serde_json::Value| (row["non_finite_steps"].clone(), row["gradient_cosine"].is_null());
    assert_eq!(rows.iter().map(seen).collect::<Vec<_>>(), [(0.into(), true), (0.into(), false)]);
}

/// Micro-batches of 3: 3 + 3 + 2 rows, and 3 + 3.
#[test]
fn accumulated_batches_measure_the_same() {
    let goldens = Goldens::read();
    let projected = ["inner_product_test", "orthogonality_test"];
    for (case, activation) in ACTIVATIONS {
        let config = settings(activation, "train.micro_batch=3");
        compare(&goldens, case, &mut on_cpu::<f64>(&config, data(), 1), 1e-9, &projected);
    }
    let mut trainer = on_cpu::<f64>(&settings("'relu'", "train.micro_batch=3"), data(), 1);
    let values = &trainer.step().unwrap().values;
    assert!(projected.iter().all(|id| values.scalar(id).is_nan()));
}

#[test]
fn single_precision_measures_the_same() {
    let goldens = Goldens::read();
    let histograms = ["gradient_histogram", "weight_histogram", "activation_histogram"];
    for (case, activation) in ACTIVATIONS {
        for more in ["", "data.resident=false"] {
            let config = settings(activation, more);
            compare(&goldens, case, &mut on_cpu::<f32>(&config, data(), 2), 2e-3, &histograms);
        }
        let config = settings(activation, "");
        let Some(mut gpu) = on_gpu(&config, data()) else { continue };
        compare(&goldens, case, &mut gpu, 2e-3, &histograms);
    }
}

/// Rounding moves a number over the edge of its bin now and then: a hundredth of all at most, here.
#[test]
fn histograms_in_single_precision_are_those_of_numpy() {
    let goldens = Goldens::read();
    let (case, activation) = ("tanh", "'tanh'");
    let off = |trainer: &mut Trainer| {
        trainer.set_params(&goldens.params(case)).unwrap();
        for step in 0..STEPS {
            let values = trainer.step().unwrap().values.clone();
            for id in ["gradient_histogram", "weight_histogram", "activation_histogram"] {
                let golden = goldens.find(&format!("{case}/{step}/{id}")).unwrap();
                let moved: f64 = values.get(id).iter().zip(&golden).map(|(a, b)| (a - b).abs()).sum();
                assert!(moved / 6.0 < 0.01, "step {step}, {id}: {moved}");
                let layers: Vec<f64> = values.get(id).chunks(32).map(|bins| bins.iter().sum()).collect();
                assert!(layers.iter().all(|sum| (sum - 1.0).abs() < 1e-6), "{layers:?}");
            }
        }
    };
    let config = settings(activation, "");
    off(&mut on_cpu::<f32>(&config, data(), 1));
    if let Some(mut gpu) = on_gpu(&config, data()) {
        off(&mut gpu);
    }
}

#[test]
fn a_number_that_is_off_is_seen() {
    let off = |found: &[f64], golden: &[f64]| std::panic::catch_unwind(|| close("", found, golden, 1e-9)).is_err();
    assert!(!off(&[1.0, f64::NAN], &[1.0 + 1e-10, f64::NAN]));
    assert!(off(&[1.0 + 1e-8], &[1.0]) && off(&[f64::NAN], &[1.0]) && off(&[1.0], &[f64::NAN]) && off(&[], &[1.0]));
}

/// Which values a step has, by whether they changed since the step before.
#[test]
fn probes_run_when_they_are_due() {
    let every = "probes.variance=2 probes.direction=[3,4] probes.histograms=geometric probes.distance=2 probes.noise=0";
    let mut due = on_cpu::<f32>(&settings("'relu'", every), data(), 1);
    let mut all = on_cpu::<f32>(&settings("'relu'", "probes.noise=0"), data(), 1);
    let agenda = due.agenda().clone();
    assert_eq!(agenda.groups()[1..], [Cadence::Every(2), Cadence::At(vec![3, 4]), Cadence::Geometric]);
    let of = [
        (ProbeId::Variance, "layer_snr", vec![1, 3, 5, 7]),
        (ProbeId::Direction, "layer_update_cosine", vec![3, 4]),
        (ProbeId::Histograms, "gradient_histogram", vec![1, 2, 4]),
        (ProbeId::Distance, "layer_distance", vec![1, 3, 5, 7]),
    ];
    for number in 1..=STEPS as u64 {
        let (step, whole): (Step, Step) = (due.step().unwrap().clone(), all.step().unwrap().clone());
        assert_eq!(step.values.group(0), whole.values.group(0)[..step.values.group(0).len()].to_vec(), "{number}");
        for (probe, id, steps) in &of {
            let is_due = steps.contains(&number);
            assert_eq!(step.due.has(agenda.group(*probe).unwrap()), is_due, "{id}, step {number}");
            let same = format!("{:?}", step.values.get(id)) == format!("{:?}", whole.values.get(id));
            assert!(same || !is_due, "{id}, step {number}");
        }
    }
    assert_eq!(due.params().unwrap(), all.params().unwrap());
}

/// Ops of what is measured, and the probe that asks for each.
const MEASURING: [(&str, &str); 10] = [
    ("unit_ages", "units"),
    ("example_stats", "noise"),
    ("variance_stats", "variance"),
    ("stopping_stats", "variance"),
    ("direction_stats", "direction"),
    ("copy", "direction"),
    ("moved", "direction"),
    ("row_histogram", "histograms"),
    ("arena_histogram", "histograms"),
    ("distance_stats", "distance"),
];

const PROBES: [&str; 6] = ["units", "noise", "variance", "direction", "histograms", "distance"];

/// Whether a probe asks for an op. Variance needs the examples' norms too.
fn asks(probe: &str, op: &str) -> bool {
    MEASURING.contains(&(op, probe)) || (op, probe) == ("example_stats", "variance")
}

/// The settings of one probe alone.
fn alone(probe: &str, every: u64) -> String {
    let off = PROBES.map(|it| format!("probes.{it}=0"));
    format!("{} probes.{probe}={every}", off.join(" "))
}

/// What is not asked for is not computed: no plan holds an op of it.
#[test]
fn nothing_is_computed_that_nobody_asked_for() {
    let ops = |more: &str| -> Vec<String> {
        let trainer = on_cpu::<f32>(&settings("'relu'", more), data(), 1);
        let plans = trainer.blueprint().plans();
        plans.flat_map(|plan| plan.steps.iter().map(|step| step.op.name().to_owned()).collect::<Vec<_>>()).collect()
    };
    let only = |probe: &str| ops(&alone(probe, 1));
    for probe in PROBES {
        let ops = only(probe);
        for (op, _) in MEASURING {
            assert_eq!(ops.iter().any(|it| it == op), asks(probe, op), "{op} with {probe} alone");
        }
    }
    let products = |ops: Vec<String>| ops.iter().filter(|op| *op == "matmul").count();
    // Three layers: squares for the variance, a product a layer; projections for it and slopes for the direction, one for the
    // weights and one for the biases each.
    let bare = products(only("units"));
    assert_eq!([only("variance"), only("direction"), only("distance")].map(products), [bare + 9, bare + 6, bare]);
    // Both together share nothing but what both need: the norms of examples are there once.
    let norms = |more: &str| ops(more).iter().filter(|op| *op == "example_stats").count();
    assert_eq!(norms("probes.noise=1 probes.variance=1"), 3);
}

/// And what is not due is not replayed: the ops of every step are those of its plans that the executor was given. The step before one
/// that compares with it keeps its gradient and its update.
#[test]
fn a_step_replays_what_is_due_and_nothing_else() {
    for more in ["", " train.micro_batch=3"] {
        let of = |probe: &str, every| {
            let setup = setup_on_cpu::<f32>(data(), 1);
            let (executor, replayed) = Recording::of(setup.executor);
            let config = settings("'relu'", &(alone(probe, every) + more));
            let mut trainer = Trainer::new(&config, Setup { executor, ..setup }).unwrap();
            let mut step = || {
                trainer.step().unwrap();
                std::mem::take(&mut *replayed.lock().unwrap())
            };
            (0..STEPS).map(|_| step()).collect::<Vec<_>>()
        };
        // Of units in the seventh step there is nothing: the ops that every step has, whatever is due.
        let bare = of("units", 100);
        let products = |ops: &[String]| ops.iter().filter(|op| *op == "matmul").count();
        for probe in PROBES {
            for (i, ops) in of(probe, 3).iter().enumerate() {
                let (due, keeps) = (i % 3 == 0, i % 3 == 2 && probe == "direction");
                for (op, _) in MEASURING {
                    let expected = asks(probe, op) && if ["copy", "moved"].contains(&op) { keeps } else { due };
                    let found = ops.iter().any(|it| it == op);
                    assert_eq!(found, expected, "{op} in step {} with {probe} alone{more}", i + 1);
                }
                assert!(due || keeps || ops.len() == bare[i].len(), "step {} with {probe} alone{more}: {ops:?}", i + 1);
                let more_products = products(ops) > products(&bare[i]);
                assert_eq!(more_products, due && ["variance", "direction"].contains(&probe), "{probe}, step {}", i + 1);
            }
        }
    }
}

/// An executor that keeps the names of all ops that it replays.
struct Recording {
    executor: Box<dyn Executor + Send>,
    plans: Vec<(PlanId, Vec<String>)>,
    replayed: Replayed,
}

type Replayed = Arc<Mutex<Vec<String>>>;

impl Recording {
    fn of(executor: Box<dyn Executor + Send>) -> (Box<Self>, Replayed) {
        let replayed = Replayed::default();
        (Box::new(Self { executor, plans: Vec::new(), replayed: replayed.clone() }), replayed)
    }
}

impl Executor for Recording {
    fn info(&self) -> &DeviceInfo {
        self.executor.info()
    }
    fn load(&mut self, plan: &Plan) -> Result<PlanId> {
        let id = self.executor.load(plan)?;
        self.plans.push((id, plan.steps.iter().map(|step| step.op.name().to_owned()).collect()));
        Ok(id)
    }
    fn buffer(&self, name: &str) -> Option<BufferId> {
        self.executor.buffer(name)
    }
    fn write(&mut self, buffer: BufferId, offset: usize, data: Host<'_>) -> Result<()> {
        self.executor.write(buffer, offset, data)
    }
    fn read(&mut self, buffer: BufferId, offset: usize, len: usize) -> Result<Vec<f64>> {
        self.executor.read(buffer, offset, len)
    }
    fn submit(&mut self, submission: &Submission<'_>) -> Result<()> {
        for plan in submission.plans {
            let (_, ops) = self.plans.iter().find(|(id, _)| id == plan).expect("it was loaded");
            self.replayed.lock().unwrap().extend(ops.iter().cloned());
        }
        self.executor.submit(submission)
    }
    fn poll(&mut self, reading: &mut Vec<f64>, wait: bool) -> Result<Option<u64>> {
        self.executor.poll(reading, wait)
    }
    fn in_flight(&self) -> usize {
        self.executor.in_flight()
    }
    fn in_flight_max(&self) -> usize {
        self.executor.in_flight_max()
    }
    fn finish(&mut self) -> Result<()> {
        self.executor.finish()
    }
    fn profile(&mut self) -> Result<()> {
        self.executor.profile()
    }
    fn times(&self) -> Option<&Times> {
        self.executor.times()
    }
    fn counters(&self) -> Counters {
        self.executor.counters()
    }
}

#[test]
fn what_a_run_cannot_have_is_left_out() {
    let mut one = on_cpu::<f32>(&settings("'relu'", "train.batch=1"), data(), 1);
    assert!(one.agenda().group(ProbeId::Variance).is_none() && one.agenda().group(ProbeId::Direction).is_some());
    assert!(!one.agenda().needs_ever().has(Need::Examples));
    assert!(one.step().unwrap().values.get("noise_scale").is_empty());
    let flat = settings("'relu'", "model.layers=[{kind=\"layer_norm\"},{kind=\"layer_norm\"}]");
    let mut normed = on_cpu::<f32>(&flat, splits_of_values(), 1);
    let values = &normed.step().unwrap().values;
    assert_eq!((values.get("layer_snr").len(), values.get("norm_test").len()), (2, 1));
    assert!(values.scalar("noise_trace") > 0.0);
    assert_eq!(values.get("layer_distance"), [0.0, 0.0]);
}

fn splits_of_values() -> Splits {
    let x = digits().unwrap().train.x().slice(ndarray::s![..ROWS, ..]).to_owned();
    let labels = (0..ROWS as u32).map(|i| i % 64).collect();
    only(Dataset::new("rows", x, Targets::Classes { labels, classes: 64 }).unwrap())
}

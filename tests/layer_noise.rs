//! The noise of the gradient in layers that are not dense: against numpy (goldens/layers.py), from single examples and from
//! micro-batches, on the CPU in both precisions and on a GPU; and where it is not known.

mod training;

use std::path::Path;
use steepest::config::Config;
use steepest::data::Splits;
use steepest::nn::{ByExample, Description, Model};
use steepest::probe::QUANTITIES;
use steepest::run::weights::{NamedTensor, read_tensors};
use steepest::run::{HostTensor, Setup, Step, Trainer};
use training::{config, first_digits, on_cpu, setup_on_cpu, setup_on_gpu};

const ROWS: usize = 22;
const STEPS: usize = 5;
const WEIGHTS: &str = "data.class_weights=[0.5,1,2,1,0.25,3,1,1,0,1.5]";

/// What is compared, where the goldens have it.
const COMPARED: [&str; 16] = [
    "loss",
    "grad_norm",
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
    "alpha",
];

/// Which layers tell the gradients of single examples.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Resolved {
    All,
    AllButNormed,
    None,
}

fn data() -> Splits {
    first_digits(ROWS)
}

fn settings(more: &[&str]) -> Config {
    let linear = |out: usize| format!("{{ kind = 'linear', out = {out} }}");
    let layers = [&linear(6), "'layer_norm'", "'tanh'", &linear(5), "'layer_norm'", &linear(10)].join(", ");
    let mut config = config(&format!(
        "[data]\nsource = 'digits'\n[model]\nlayers = [{layers}]\n[train]\nbatch = 8\noptimizer = 'sgd'\nlr = 0.4\n\
         shuffle = false\n[probes]\nvariance = 1\ndirection = 1\n"
    ));
    config.set_all(more.iter().map(|&it| it.to_owned())).unwrap();
    config
}

/// The model, with layers as if they were of a kind whose examples cannot be told apart.
fn described(config: &Config, resolved: Resolved) -> Description {
    let mut model = Model::from(config.model.clone()).describe(&[64]).unwrap();
    for layer in &mut model.layers {
        let normed = layer.by_example == ByExample::Elementwise;
        if resolved == Resolved::None || resolved == Resolved::AllButNormed && normed {
            layer.by_example = ByExample::Unknown;
        }
    }
    model
}

fn trainer(config: &Config, resolved: Resolved, setup: Setup) -> Trainer {
    Trainer::with_model(config, described(config, resolved), setup).unwrap()
}

struct Goldens(Vec<NamedTensor>);

impl Goldens {
    fn read() -> Self {
        Self(read_tensors(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/layers.safetensors")).unwrap())
    }

    fn find(&self, name: &str) -> Option<Vec<f64>> {
        self.0.iter().find(|tensor| tensor.name == name).map(|tensor| tensor.data.to_f64())
    }

    fn params(&self, case: &str) -> Vec<HostTensor> {
        let of = |tensor: &NamedTensor| {
            let name = tensor.name.strip_prefix(&format!("{case}/weights/"))?;
            Some(HostTensor { name: name.into(), shape: tensor.shape.as_slice().into(), values: tensor.data.to_f64() })
        };
        self.0.iter().filter_map(of).collect()
    }
}

/// |a − b| ≤ bound · max |golden|; NaN is where there is no golden number.
fn is_close(found: &[f64], golden: &[f64], bound: f64) -> bool {
    let size = golden.iter().filter(|x| x.is_finite()).fold(1e-3, |max: f64, x| max.max(x.abs()));
    let pairs = found.iter().zip(golden);
    found.len() == golden.len()
        && pairs.into_iter().all(|(a, b)| (a - b).abs() <= bound * size || a.is_nan() && b.is_nan())
}

/// What of a case is not what the goldens say, and how many numbers were compared. What has no golden must not be known.
fn compare(goldens: &Goldens, case: &str, kind: &str, trainer: &mut Trainer, bound: f64) -> (Vec<String>, usize) {
    trainer.set_params(&goldens.params(case)).unwrap();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for step in 0..STEPS {
        let values = trainer.step().unwrap().values.clone();
        // Where a step ends is told by all examples.
        for id in COMPARED.into_iter().filter(|id| kind.is_empty() || *id != "alpha") {
            let found = values.get(id);
            let single = if bound > 1e-6 && id == "layer_snr" { "_single" } else { "" };
            let golden = goldens.find(&format!("{case}{kind}/{step}/{id}{single}"));
            // Partial derivatives of next to no variance weigh most in these, and their variance is a difference.
            let loose = matches!(id, "early_stopping" | "layer_early_stopping" | "layer_snr");
            let bound = if loose { 20.0 * bound } else { bound };
            let is_right = match &golden {
                Some(golden) => is_close(found, golden, bound),
                None => found.iter().all(|x| x.is_nan()),
            };
            count += golden.as_ref().map_or(0, Vec::len);
            wrong.extend((!is_right).then(|| format!("{case}{kind}, step {step}, {id}: {found:?} and {golden:?}")));
        }
    }
    (wrong, count)
}

const CASES: [(&str, &[&str]); 2] = [("alike", &[]), ("weighted", &[WEIGHTS])];

/// Micro-batches of 3: 3 + 3 + 2 rows, and 3 + 3.
const IN_THREES: &str = "train.micro_batch=3";

fn expect_right(found: (Vec<String>, usize)) {
    assert!(found.0.is_empty(), "{}", found.0.join("\n"));
    assert!(found.1 > STEPS * 15, "{} numbers", found.1);
}

#[test]
fn layers_of_normalization_tell_their_noise_by_examples() {
    let goldens = Goldens::read();
    for (case, more) in CASES {
        let config = settings(more);
        let setup = setup_on_cpu::<f64>(data(), 2);
        expect_right(compare(&goldens, case, "", &mut trainer(&config, Resolved::All, setup), 1e-9));
        let setup = setup_on_cpu::<f32>(data(), 2);
        expect_right(compare(&goldens, case, "", &mut trainer(&config, Resolved::All, setup), 2e-3));
        let Some(setup) = setup_on_gpu(data()) else { continue };
        expect_right(compare(&goldens, case, "", &mut trainer(&config, Resolved::All, setup), 2e-3));
    }
}

/// But for the two tests that need the gradient of the whole batch first.
#[test]
fn accumulated_examples_tell_the_same() {
    let goldens = Goldens::read();
    let tests = ["inner_product_test", "orthogonality_test"];
    let unknown = |line: &String| tests.iter().any(|id| line.contains(&format!("{id}: [NaN]")));
    for (case, more) in CASES {
        let config = settings(&[more, &[IN_THREES][..]].concat());
        let mut trainers = vec![
            (trainer(&config, Resolved::All, setup_on_cpu::<f64>(data(), 1)), 1e-9),
            (trainer(&config, Resolved::All, setup_on_cpu::<f32>(data(), 1)), 2e-3),
        ];
        trainers.extend(setup_on_gpu(data()).map(|setup| (trainer(&config, Resolved::All, setup), 2e-3)));
        for (mut trainer, bound) in trainers {
            let (wrong, count) = compare(&goldens, case, "", &mut trainer, bound);
            let (unknown, wrong): (Vec<_>, Vec<_>) = wrong.into_iter().partition(unknown);
            assert_eq!(unknown.len(), 2 * STEPS);
            expect_right((wrong, count));
        }
    }
}

#[test]
fn layers_without_examples_tell_their_noise_by_micro_batches() {
    let goldens = Goldens::read();
    for (resolved, kind) in [(Resolved::AllButNormed, ".normed"), (Resolved::None, ".every")] {
        for (case, more) in CASES {
            let config = settings(&[more, &[IN_THREES][..]].concat());
            let setup = setup_on_cpu::<f64>(data(), 2);
            expect_right(compare(&goldens, case, kind, &mut trainer(&config, resolved, setup), 1e-9));
            let setup = setup_on_cpu::<f32>(data(), 2);
            expect_right(compare(&goldens, case, kind, &mut trainer(&config, resolved, setup), 2e-3));
            let Some(setup) = setup_on_gpu(data()) else { continue };
            expect_right(compare(&goldens, case, kind, &mut trainer(&config, resolved, setup), 2e-3));
        }
    }
}

#[test]
fn numbers_of_another_kind_are_seen() {
    let goldens = Goldens::read();
    let config = settings(&[IN_THREES]);
    let setup = || setup_on_cpu::<f64>(data(), 1);
    let off = |resolved, case, kind| compare(&goldens, case, kind, &mut trainer(&config, resolved, setup()), 1e-2).0;
    assert!(off(Resolved::None, "alike", "").len() > STEPS);
    assert!(off(Resolved::All, "alike", ".normed").len() > STEPS);
    assert!(off(Resolved::All, "weighted", "").len() > STEPS);
    assert!(!is_close(&[1.0 + 1e-8], &[1.0], 1e-9) && !is_close(&[f64::NAN], &[1.0], 1e-9));
    assert!(!is_close(&[], &[1.0], 1e-9) && is_close(&[1.0, f64::NAN], &[1.0, f64::NAN], 1e-9));
}

/// The names of the layers of a column.
fn labels(trainer: &Trainer, id: &str) -> Vec<String> {
    let column = trainer.schema(0).columns.into_iter().find(|column| column.name == id);
    column.map(|column| column.labels).unwrap_or_default()
}

#[test]
fn one_micro_batch_tells_nothing_of_layers_without_examples() {
    let cpu = || setup_on_cpu::<f64>(data(), 1);
    let config = settings(&[]);
    let (all, mut some) = (trainer(&config, Resolved::All, cpu()), trainer(&config, Resolved::AllButNormed, cpu()));
    for id in ["layer_noise_trace", "layer_noise_scale", "layer_snr"] {
        assert_eq!(labels(&all, id), ["0", "1", "3", "4", "5"], "{id}");
        assert_eq!(labels(&some, id), ["0", "3", "5"], "{id}");
    }
    // The noise of all layers is then that of those that tell it.
    let values = some.step().unwrap().values.clone();
    let sum: f64 = values.get("layer_noise_trace").iter().sum();
    assert!((values.scalar("noise_trace") / sum - 1.0).abs() < 1e-12);
    let mut none = trainer(&config, Resolved::None, cpu());
    let values = none.step().unwrap().values.clone();
    assert!(labels(&none, "layer_noise_trace").is_empty());
    assert!(values.get("noise_scale").is_empty() && values.get("norm_test").is_empty());
    assert!(none.noise().is_empty());
    // In several micro-batches all layers tell it, but not the ratios of partial derivatives.
    let several = trainer(&settings(&[IN_THREES]), Resolved::AllButNormed, cpu());
    assert_eq!(labels(&several, "layer_noise_trace"), ["0", "1", "3", "4", "5"]);
    assert_eq!(labels(&several, "layer_snr"), ["0", "3", "5"]);
}

/// Batches of 6 + 2, 6 + 2 and 6 examples: at the end of the epoch the readings before stand.
#[test]
fn a_batch_that_ends_early_leaves_the_readings_before_it() {
    let ids = ["noise_trace", "noise_scale", "layer_noise_trace", "norm_test", "cabs"];
    let steps = |resolved| -> Vec<Step> {
        let mut trainer = trainer(&settings(&["train.micro_batch=6"]), resolved, setup_on_cpu::<f64>(data(), 1));
        (0..4).map(|_| trainer.step().unwrap().clone()).collect()
    };
    let [all, some] = [Resolved::All, Resolved::AllButNormed].map(steps);
    for id in ids {
        let [all, some] = [&all, &some].map(|steps| steps.iter().map(|step| step.values.get(id)).collect::<Vec<_>>());
        assert_eq!(some[2], some[1], "{id}");
        assert!(all[2] != all[1] && some[1] != some[0] && some[3] != some[2], "{id}");
    }
    // A batch in one piece is not measured otherwise than those that are accumulated.
    for id in ["inner_product_test", "orthogonality_test"] {
        assert!(all.iter().chain(&some).all(|step| step.values.scalar(id).is_nan()), "{id}");
    }
}

/// Layers that say nothing in the first batches of one micro-batch are left out, so that the batch can grow.
#[test]
fn adaptive_batches_follow_the_layers_that_tell_their_noise() {
    let config = settings(&["train.batch=adaptive", "train.micro_batch=2", "train.adaptive.min=2"]);
    let mut trainer = trainer(&config, Resolved::AllButNormed, setup_on_cpu::<f64>(data(), 1));
    assert_eq!(labels(&trainer, "layer_noise_trace"), ["0", "3", "5"]);
    let values = trainer.step().unwrap().values.clone();
    assert!(values.scalar("noise_trace") > 0.0 && values.scalar("inner_product_test").is_nan());
}

/// Nothing is measured by micro-batches in a net whose layers all tell single examples apart, and nothing element by element in
/// one of dense layers.
#[test]
fn only_what_is_needed_is_computed() {
    let ops = |config: &Config, resolved| -> Vec<String> {
        let trainer = trainer(config, resolved, setup_on_cpu::<f32>(data(), 1));
        let plans = trainer.blueprint().plans();
        plans.flat_map(|plan| plan.steps.iter().map(|step| step.op.name().to_owned()).collect::<Vec<_>>()).collect()
    };
    let count = |ops: &[String], name: &str| ops.iter().filter(|op| *op == name).count();
    let of = |config: &Config, resolved| {
        let ops = ops(config, resolved);
        ["example_stats", "elementwise_stats", "micro_stats"].map(|name| count(&ops, name))
    };
    let noise = ["probes.variance=0", "probes.direction=0"];
    let in_threes = settings(&[&noise[..], &[IN_THREES]].concat());
    assert_eq!(of(&in_threes, Resolved::All), [3, 2, 0]);
    assert_eq!(of(&in_threes, Resolved::AllButNormed), [3, 0, 4]);
    assert_eq!(of(&in_threes, Resolved::None), [0, 0, 10]);
    assert_eq!(of(&settings(&noise), Resolved::AllButNormed), [3, 0, 0]);
    let off = settings(&[&noise[..], &["probes.noise=0", IN_THREES]].concat());
    assert_eq!(of(&off, Resolved::AllButNormed), [0, 0, 0]);
    let dense =
        settings(&[&noise[..], &["model.layers=[{kind=\"linear\",out=6},\"relu\",{kind=\"linear\",out=10}]"]].concat());
    assert_eq!(of(&dense, Resolved::All), [2, 0, 0]);
}

#[test]
fn every_quantity_that_is_compared_exists_and_measuring_changes_no_weight() {
    assert!(COMPARED.iter().all(|id| QUANTITIES.iter().any(|quantity| quantity.id == *id)));
    let weights = |more: &[&str]| {
        let config = settings(more);
        let mut trainer = trainer(&config, Resolved::AllButNormed, setup_on_cpu::<f32>(data(), 1));
        training::losses(&mut trainer, 4);
        trainer.params().unwrap()
    };
    assert_eq!(
        weights(&[IN_THREES]),
        weights(&[IN_THREES, "probes.preset=off", "probes.variance=0", "probes.direction=0"])
    );
    let plain = on_cpu::<f32>(&settings(&[]), data(), 1);
    assert_eq!(labels(&plain, "layer_noise_trace").len(), 5);
}

//! The instruments of `steepest inspect` against numpy (goldens/instruments.py), and against data whose faults are known.

mod training;

use std::path::Path;
use steepest::base::{Error, Result};
use steepest::config::Config;
use steepest::data::{Dataset, Splits, Targets, digits};
use steepest::run::weights::{NamedTensor, read_tensors};
use steepest::run::{Answer, HostTensor, Inspector, Moments, NoiseFigures, conflicts, noise, partials, worst};
use training::{config, on_cpu, only};

const ROWS: std::ops::Range<usize> = 3..43;

const ACTIVATIONS: [(&str, &str); 9] = [
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

struct Goldens(Vec<NamedTensor>);

impl Goldens {
    fn read() -> Self {
        Self(
            read_tensors(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/instruments.safetensors")).unwrap(),
        )
    }

    fn get(&self, name: &str) -> Vec<f64> {
        self.0.iter().find(|tensor| tensor.name == name).unwrap_or_else(|| panic!("{name}")).data.to_f64()
    }

    fn inspector(&self, case: &str, activation: &str) -> Inspector {
        let linear = |out: usize| format!("{{ kind = 'linear', out = {out} }}");
        let layers = [linear(5), activation.into(), linear(4), activation.into(), linear(10)].join(", ");
        let config = config(&format!("[data]\nsource = 'digits'\n[model]\nlayers = [{layers}]\n"));
        let params = ["0.weight", "0.bias", "2.weight", "2.bias", "4.weight", "4.bias"].map(|name| {
            let golden = format!("{case}/weights/{name}");
            let tensor = self.0.iter().find(|tensor| tensor.name == golden).unwrap();
            HostTensor { name: name.into(), shape: tensor.shape.as_slice().into(), values: tensor.data.to_f64() }
        });
        Inspector::of(&config, digits().unwrap().train, params.into(), None).unwrap()
    }
}

/// Compares numbers to 1e-10 of the largest of them.
fn close(what: &str, found: &[f64], golden: &[f64]) {
    assert_eq!(found.len(), golden.len(), "{what}");
    let size = golden.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
    for (i, (a, b)) in found.iter().zip(golden).enumerate() {
        assert!((a - b).abs() <= 1e-10 * size || a.is_nan() && b.is_nan(), "{what}[{i}]: {a} and {b}");
    }
}

#[test]
fn moments_and_noise_are_those_of_numpy() {
    let goldens = Goldens::read();
    for (case, activation) in ACTIVATIONS {
        let mut inspector = goldens.inspector(case, activation);
        let moments = Moments::of(&mut inspector, ROWS).unwrap();
        for (mean, variance) in moments.mean.iter().zip(&moments.variance) {
            let what = |kind: &str| format!("{case}/{kind}/{}", mean.name);
            close(&what("mean"), &mean.values, &goldens.get(&what("mean")));
            close(&what("variance"), &variance.values, &goldens.get(&what("variance")));
        }
        let found = noise(&mut inspector, &moments).unwrap();
        assert_eq!((found.rows, found.population, found.layers.len()), (40, 1437, 3));
        let layers = found.layers.iter().map(|layer| (layer.name.as_str(), layer.figures));
        for (layer, figures) in layers.chain([("whole", found.whole)]) {
            for (name, value) in named(&figures) {
                let what = format!("{case}/figures/{layer}/{name}");
                close(&what, &[value], &goldens.get(&what));
            }
        }
    }
}

fn named(f: &NoiseFigures) -> [(&'static str, f64); 9] {
    let or_nan = |x: Option<f64>| x.unwrap_or(f64::NAN);
    [
        ("grad_norm_squared", f.grad_norm_squared),
        ("sample_trace", f.sample_trace),
        ("trace", f.trace),
        ("signal", f.signal),
        ("noise_scale", or_nan(f.noise_scale)),
        ("norm_test", or_nan(f.norm_test)),
        ("inner_product_test", or_nan(f.inner_product_test)),
        ("orthogonality_test", or_nan(f.orthogonality_test)),
        ("early_stopping", or_nan(f.early_stopping)),
    ]
}

#[test]
fn partials_are_in_order_and_their_numbers_are_those_of_numpy() {
    let goldens = Goldens::read();
    for (case, activation) in ACTIVATIONS {
        let mut inspector = goldens.inspector(case, activation);
        let moments = Moments::of(&mut inspector, ROWS).unwrap();
        let inspection = inspector.inspect(ROWS).unwrap();
        let found = partials(&mut inspector, &inspection, &moments, 1000).unwrap();
        assert_eq!((found.parameters, found.compared, found.largest.len()), (399, 399, 399), "{case}");
        assert!(found.disagreeing[0].error < 1e-5, "{case}: {:?}", found.disagreeing[0]);
        for partial in &found.largest {
            let golden = |kind: &str| {
                let columns = if partial.index.len() == 2 { goldens.columns(case, &partial.name) } else { 1 };
                let at = partial.index.iter().fold(0, |at, &i| at * columns + i);
                goldens.get(&format!("{case}/{kind}/{}", partial.name))[at]
            };
            let (mean, variance) = (golden("mean"), golden("variance"));
            let what = format!("{case}/{}", partial.place());
            let scale = |x: f64| 1e-10 * x.abs() + 1e-15;
            assert_eq!(partial.value, golden("weights"), "{what}");
            assert!((partial.gradient - mean).abs() <= scale(mean), "{what}: {partial:?}, {mean}");
            assert!((partial.deviation - variance.sqrt()).abs() <= scale(variance.sqrt()), "{what}: {partial:?}");
            assert!((partial.difference - mean).abs() <= 1e-5 * mean.abs().max(0.1), "{what}: {partial:?}, {mean}");
            let snr = (variance > 0.0).then(|| mean * mean / variance - 1.0 / 40.0);
            assert!((partial.snr.unwrap_or(9.0) - snr.unwrap_or(9.0)).abs() < 1e-9, "{what}: {partial:?}, {snr:?}");
        }
        assert!(found.largest.is_sorted_by(|a, b| a.gradient.abs() >= b.gradient.abs()));
        assert!(found.clearest.is_sorted_by(|a, b| a.snr >= b.snr) && found.clearest.iter().all(|p| p.snr.is_some()));
        assert!(found.noisiest.is_sorted_by(|a, b| a.snr <= b.snr));
        assert!(found.disagreeing.is_sorted_by(|a, b| a.error >= b.error));
        let still: usize = found.layers.iter().map(|layer| layer.still).sum();
        assert!(still > 0 && found.clearest.len() == 399 - still, "pixels that are always black: {still}");
        let layers = found.layers.iter().map(|layer| (layer.name.as_str(), layer.snr));
        for (layer, snr) in layers.chain([("whole", found.snr)]) {
            let what = format!("{case}/figures/{layer}/snr");
            close(&what, &[snr.unwrap()], &goldens.get(&what));
        }
    }
}

impl Goldens {
    fn columns(&self, case: &str, name: &str) -> usize {
        let golden = format!("{case}/weights/{name}");
        self.0.iter().find(|tensor| tensor.name == golden).unwrap().shape[1]
    }
}

#[test]
fn a_wrong_derivative_disagrees_most() {
    let goldens = Goldens::read();
    let mut inspector = goldens.inspector("tanh", "'tanh'");
    let moments = Moments::of(&mut inspector, ROWS).unwrap();
    let mut inspection = inspector.inspect(ROWS).unwrap();
    inspection.gradients[2].values[13] += 1e-3;
    let found = partials(&mut inspector, &inspection, &moments, 3).unwrap();
    let first = &found.disagreeing[0];
    assert_eq!((first.place().as_str(), found.disagreeing.len()), ("2.weight[2, 3]", 3));
    assert!(first.error > 1e-5 && (first.gradient - first.difference - 1e-3).abs() < 1e-9, "{first:?}");
    assert!(found.disagreeing[1].error < 1e-5);
}

#[test]
fn input_gradients_and_conflicts_are_those_of_numpy() {
    let goldens = Goldens::read();
    for (case, activation) in ACTIVATIONS {
        let mut inspector = goldens.inspector(case, activation);
        let input = inspector.input_gradients(ROWS).unwrap();
        assert_eq!((input.sample_shape.as_slice(), &input.rows), (&[8, 8][..], &ROWS));
        close(&format!("{case}/input"), &input.gradients, &goldens.get(&format!("{case}/input")));
        let expected: Vec<f64> = inspector.data().row(3).iter().map(|&x| f64::from(x)).collect();
        assert_eq!(input.example(0).0, expected);
        let norms = inspector.inspect(ROWS).unwrap().example_grad_norm;
        close(&format!("{case}/norms"), &norms, &goldens.get(&format!("{case}/norms")));

        let found = conflicts(&mut inspector, ROWS).unwrap();
        assert_eq!((found.classes.len(), found.counts.iter().sum::<usize>(), found.pairs.len()), (10, 40, 45));
        assert!(found.pairs.is_sorted_by(|a, b| a.cosine <= b.cosine));
        let first = found.pairs[0];
        assert_eq!(found.whole[first.a][first.b], Some(first.cosine));
        let layers = found.layers.iter().map(|layer| (layer.name.as_str(), &layer.cosines));
        for (layer, cosines) in layers.chain([("whole", &found.whole)]) {
            let cosines: Vec<f64> = cosines.iter().flatten().map(|x| x.unwrap()).collect();
            let what = format!("{case}/cosines/{layer}");
            close(&what, &cosines, &goldens.get(&what));
        }
    }
}

fn trained(text: &str, data: &Dataset, steps: usize) -> (Config, Vec<HostTensor>) {
    let config = config(text);
    let splits: Splits = only(data.clone());
    let mut trainer = on_cpu::<f32>(&config, splits, 2);
    let params = trainer.within(|trainer| -> Result<_, Error> {
        for _ in 0..steps {
            trainer.step()?;
        }
        trainer.params()
    });
    (config, params.unwrap())
}

#[test]
fn labels_that_were_flipped_come_first() {
    let clean = digits().unwrap().train;
    let Targets::Classes { mut labels, classes } = clean.targets().clone() else { panic!("digits are classes") };
    let flipped: Vec<usize> = (0..6).map(|i| 37 + 226 * i).collect();
    flipped.iter().enumerate().for_each(|(i, &row)| labels[row] = (labels[row] + 1 + 3 * i as u32 % 9) % 10);
    let data = Dataset::new("flipped", clean.x().clone(), Targets::Classes { labels, classes }).unwrap();
    // Dropout keeps the net from learning the wrong labels by heart.
    let text = "model.layers = [{ kind = 'linear', out = 256 }, 'relu', { kind = 'dropout', p = 0.5 }, \
                { kind = 'linear', out = 10 }]\n\
                [train]\nbatch = 64\noptimizer = 'adam'\nlr = 0.002\n";
    let (config, params) = trained(text, &data, 690);
    let rows = 0..data.len();
    let mut inspector = Inspector::of(&config, data, params, None).unwrap();
    let inspection = inspector.inspect(rows.clone()).unwrap();
    let found = worst(&inspector, &inspection, rows.clone(), 6).unwrap();
    let mut first: Vec<usize> = found.iter().map(|example| example.row).collect();
    first.sort_unstable();
    assert_eq!(first, flipped, "{found:?}");
    for example in &found {
        let Answer::Class { label, prediction } = example.answer else { panic!("classes") };
        assert_ne!(Some(label), prediction, "{example:?}");
        assert_eq!(example.loss, inspection.losses[example.row]);
    }
    assert!(found.is_sorted_by(|a, b| a.grad_norm >= b.grad_norm));
    assert!(worst(&inspector, &inspection, 0..5, 3).unwrap_err().to_string().contains("rows were inspected"));
}

#[test]
fn what_has_no_classes_no_variance_or_other_weights_is_refused() {
    let values = Targets::Values { values: vec![0.5, -1.0, 2.0], width: 1 };
    let x = ndarray::array![[1.0, 2.0], [3.0, -4.0], [0.0, 1.0]];
    let data = Dataset::new("values", x, values).unwrap();
    let (config, params) = trained("model.layers = [{ kind = 'linear', out = 1 }]\ntrain.batch = 3", &data, 1);
    let refused = Inspector::of(&config, data.clone(), params[..1].to_vec(), None).err().unwrap().to_string();
    assert!(refused.contains("not those of the config's model"), "{refused}");
    let mut inspector = Inspector::of(&config, data, params, None).unwrap();
    let error = |error: Error| (error.exit_code(), error.to_string());
    for (error, expected) in [
        (error(conflicts(&mut inspector, 0..3).unwrap_err()), "the targets of values are values"),
        (error(Moments::of(&mut inspector, 1..2).unwrap_err()), "a single row has no variance"),
        (error(Moments::of(&mut inspector, 1..4).unwrap_err()), "which has 3 rows"),
        (error(inspector.input_gradients(3..4).unwrap_err()), "which has 3 rows"),
        (error(conflicts(&mut inspector, 0..4).unwrap_err()), "which has 3 rows"),
    ] {
        assert!(error.0 == 2 && error.1.contains(expected), "{error:?}");
    }
    let inspection = inspector.inspect(0..3).unwrap();
    let ranked = worst(&inspector, &inspection, 0..3, 9).unwrap();
    assert_eq!(ranked.len(), 3);
    let Answer::Values { targets, outputs } = &ranked[0].answer else { panic!("values") };
    assert!((ranked[0].loss - (outputs[0] - targets[0]).powi(2)).abs() < 1e-12, "{ranked:?}");
}

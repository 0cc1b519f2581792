//! Models of every kind of layer against `torch.nn.Sequential` (goldens/models.py), through the compiled plan.

use serde_json::Value;
use std::sync::Arc;
use steepest::autodiff;
use steepest::base::{Threads, Type};
use steepest::config::{Layer, Reduction};
use steepest::exec::{Cpu, Executor, Host, Submission};
use steepest::graph::{Graph, StepScalars, ValueId};
use steepest::nn::{LossSpec, Mode, Model, TargetValues, total};
use steepest::plan::{Place, compile};

const ROWS: usize = 3;
const FEATURES: usize = 4;

fn assert_close(name: &str, found: &[f64], golden: &Value) {
    let golden: Vec<f64> = golden.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    assert_eq!(found.len(), golden.len(), "{name}");
    for (i, (found, golden)) in found.iter().zip(golden).enumerate() {
        assert!((found - golden).abs() <= 1e-13, "{name}, element {i}: {found}, PyTorch has {golden}");
    }
}

fn check(name: &str, model: Model, golden: &Value) {
    let description = model.describe(&[FEATURES]).unwrap();
    let mut g = Graph::new();
    let x = g.input("x", Type::real([ROWS, FEATURES])).unwrap();
    let labels = g.input("labels", Type::index([ROWS])).unwrap();
    let weights = g.input("weights", Type::real([ROWS])).unwrap();
    let output = description.build(&mut g, x, Mode::Evaluate).unwrap().output;
    let spec = LossSpec::CrossEntropy { smoothing: 0.0 };
    let losses = spec.per_example(&mut g, output, TargetValues::Index(labels), Reduction::Mean).unwrap();
    let loss = total(&mut g, losses, weights).unwrap();
    let (names, params): (Vec<String>, Vec<ValueId>) = g.params().map(|(name, id)| (name.to_owned(), id)).unzip();
    assert!(names.iter().eq(description.params.iter().map(|param| &param.name)), "{name}: parameters come in order");
    let gradients = autodiff::gradient(&mut g, loss, &params).unwrap();
    let mut places = vec![(output, Place::whole("output", g.ty(output)))];
    for (name, &id) in names.iter().zip(&gradients) {
        places.push((id, Place::whole(format!("d {name}"), g.ty(id))));
    }
    let plan = compile(name, &g, &places).unwrap();
    let mut cpu = Cpu::<f64>::new(Arc::new(Threads::new(1).unwrap()), None);
    let plan = cpu.load(&plan).unwrap();
    let mut write = |name: &str, data: Host<'_>| {
        let buffer = cpu.buffer(name).unwrap();
        cpu.write(buffer, 0, data).unwrap();
    };
    write("x", Host::F64(&(0..ROWS * FEATURES).map(|k| (k as f64).cos()).collect::<Vec<_>>()));
    write("labels", Host::U32(&[2, 0, 1]));
    write("weights", Host::F64(&[1.0 / ROWS as f64; ROWS]));
    let mut numbers = (1..).map(|k| 0.4 * f64::from(k).sin());
    for param in &description.params {
        write(&param.name, Host::F64(&numbers.by_ref().take(param.shape.len()).collect::<Vec<_>>()));
    }
    let scalars = StepScalars { rows: ROWS as u32, ..Default::default() };
    cpu.submit(&Submission { uploads: &[], plans: &[plan], scalars, readback: None, tag: 0 }).unwrap();
    let mut read = |name: &str, len| {
        let buffer = cpu.buffer(name).unwrap();
        cpu.read(buffer, 0, len).unwrap()
    };
    assert_close(&format!("{name}: output"), &read("output", ROWS * description.output), &golden["output"]);
    for param in &description.params {
        let found = read(&format!("d {}", param.name), param.shape.len());
        assert_close(&format!("{name}: gradient of {}", param.name), &found, &golden["gradients"][&param.name]);
    }
}

#[test]
fn outputs_and_gradients_are_those_of_pytorch() {
    let goldens: Value = serde_json::from_str(include_str!("goldens/models.json")).unwrap();
    let plain_norm = Layer::LayerNorm { eps: 1e-3, affine: false };
    let smooth = Model::new().linear(6).gelu().linear(5).gelu_tanh().linear(4).silu().identity();
    let models = [
        ("bounded", Model::new().flatten().linear(5).tanh().linear(4).sigmoid().linear(3).softmax()),
        ("rectified", Model::new().linear(6).relu().linear(5).leaky_relu(0.1).linear(4).elu(0.7).linear(3)),
        ("smooth", smooth.linear_without_bias(5).softplus().linear(3)),
        ("normalized", Model::new().linear(6).layer_norm().relu().linear(5).layer(plain_norm).linear(3)),
    ];
    for (name, model) in models {
        check(name, model, &goldens[name]);
    }
}

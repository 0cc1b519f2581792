//! Losses and their gradients against `torch.nn.functional` (goldens/losses.py), through the compiled plan.

use serde_json::Value;
use std::sync::Arc;
use steepest::autodiff;
use steepest::base::{Threads, Type};
use steepest::config::{LossKind, Reduction};
use steepest::exec::{Cpu, Executor, Host, Submission};
use steepest::graph::{Graph, StepScalars};
use steepest::nn::{LossSpec, TargetSpec, TargetValues, total};
use steepest::plan::{Place, compile};

const ROWS: usize = 4;

/// What the targets of a case are: labels by their name, or values, maybe confined to [0, 1].
#[derive(Clone, Copy)]
enum Targets {
    Labels(&'static str),
    Values { clamp: bool },
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

/// The loss of the batch and its gradient.
fn run(spec: LossSpec, goldens: &Value, outputs: usize, targets: Targets, reduction: Reduction) -> (f64, Vec<f64>) {
    let mut g = Graph::new();
    let z = g.input("z", Type::real([ROWS, outputs])).unwrap();
    let weights = g.input("weights", Type::real([ROWS])).unwrap();
    let values = match targets {
        Targets::Labels(_) => TargetValues::Index(g.input("t", Type::index([ROWS])).unwrap()),
        Targets::Values { .. } => TargetValues::Real(g.input("t", Type::real([ROWS, outputs])).unwrap()),
    };
    let per_example = spec.per_example(&mut g, z, values, reduction).unwrap();
    assert_eq!(g.shape(per_example).to_vec(), [ROWS]);
    let loss = total(&mut g, per_example, weights).unwrap();
    let dz = autodiff::gradient(&mut g, loss, &[z]).unwrap()[0];
    let places = [(loss, Place::whole("loss", g.ty(loss))), (dz, Place::whole("dz", g.ty(dz)))];
    let plan = compile("loss", &g, &places).unwrap();
    let mut cpu = Cpu::<f64>::new(Arc::new(Threads::new(1).unwrap()), None);
    let plan = cpu.load(&plan).unwrap();
    let mut write = |name: &str, data: Host<'_>| {
        let buffer = cpu.buffer(name).unwrap();
        cpu.write(buffer, 0, data).unwrap();
    };
    let logits: Vec<f64> = numbers(&goldens["z"]).chunks(3).flat_map(|row| row[..outputs].to_vec()).collect();
    write("z", Host::F64(&logits));
    let weight = if reduction == Reduction::Mean { 1.0 / ROWS as f64 } else { 1.0 };
    write("weights", Host::F64(&[weight; ROWS]));
    match targets {
        Targets::Labels(name) => {
            let labels: Vec<u32> = numbers(&goldens[name]).into_iter().map(|x| x as u32).collect();
            write("t", Host::U32(&labels));
        }
        Targets::Values { clamp } => {
            let values = numbers(&goldens["t"]).into_iter().map(|x| if clamp { x.clamp(0.0, 1.0) } else { x });
            write("t", Host::F64(&values.collect::<Vec<_>>()));
        }
    }
    let scalars = StepScalars { rows: ROWS as u32, ..Default::default() };
    cpu.submit(&Submission { uploads: &[], plans: &[plan], scalars, readback: None, tag: 0 }).unwrap();
    let mut read = |name: &str, len| {
        let buffer = cpu.buffer(name).unwrap();
        cpu.read(buffer, 0, len).unwrap()
    };
    (read("loss", 1)[0], read("dz", ROWS * outputs))
}

#[test]
fn losses_and_gradients_are_those_of_pytorch() {
    let goldens: Value = serde_json::from_str(include_str!("goldens/losses.json")).unwrap();
    let labels = Targets::Labels("labels");
    let cases = [
        ("cross_entropy", LossSpec::CrossEntropy { smoothing: 0.0 }, 3, labels),
        ("cross_entropy_smooth", LossSpec::CrossEntropy { smoothing: 0.1 }, 3, labels),
        ("bce_labels", LossSpec::Bce, 3, labels),
        ("bce_values", LossSpec::Bce, 3, Targets::Values { clamp: true }),
        ("bce_single", LossSpec::Bce, 1, Targets::Labels("binary")),
        ("mse_values", LossSpec::Mse, 3, Targets::Values { clamp: false }),
        ("mse_labels", LossSpec::Mse, 3, labels),
        ("huber_values", LossSpec::Huber { delta: 0.4 }, 3, Targets::Values { clamp: false }),
    ];
    for (name, spec, outputs, targets) in cases {
        for (word, reduction) in [("mean", Reduction::Mean), ("sum", Reduction::Sum)] {
            let (loss, gradient) = run(spec, &goldens, outputs, targets, reduction);
            let expected = &goldens[name][word];
            let golden = expected["loss"].as_f64().unwrap();
            assert!((loss - golden).abs() <= 1e-14 * golden.abs(), "{name}, {word}: {loss}, PyTorch has {golden}");
            for (i, (found, golden)) in gradient.iter().zip(numbers(&expected["gradient"])).enumerate() {
                assert!(
                    (found - golden).abs() <= 1e-15 + 1e-13 * golden.abs(),
                    "{name}, {word}, ∂ℓ/∂z element {i}: {found}, PyTorch has {golden}"
                );
            }
        }
    }
}

/// −σ(−z) is the derivative for label 1, not 0: a rounded difference would end training signals at z = 40.
#[test]
fn labels_met_with_confidence_keep_their_gradients() {
    let goldens = serde_json::json!({ "z": [40, 0, 0, -40, 0, 0, 1, 0, 0, 1, 0, 0], "one": [1, 0, 1, 0] });
    let (_, gradient) = run(LossSpec::Bce, &goldens, 1, Targets::Labels("one"), Reduction::Sum);
    let tail = (-40f64).exp();
    assert!((gradient[0] / -tail - 1.0).abs() < 1e-14 && (gradient[1] / tail - 1.0).abs() < 1e-14, "{gradient:?}");
}

#[test]
fn losses_follow_from_settings_and_targets() {
    let auto = LossKind::Auto { label_smoothing: 0.1 };
    let cross = LossKind::CrossEntropy { label_smoothing: 0.0 };
    let resolve = LossSpec::resolve;
    assert_eq!(resolve(&auto, TargetSpec::Classes(3), 3).unwrap(), LossSpec::CrossEntropy { smoothing: 0.1 });
    assert_eq!(resolve(&auto, TargetSpec::Values(2), 2).unwrap(), LossSpec::Mse);
    assert_eq!(resolve(&LossKind::Bce, TargetSpec::Classes(2), 1).unwrap(), LossSpec::Bce);
    assert_eq!(resolve(&LossKind::Bce, TargetSpec::Classes(5), 5).unwrap(), LossSpec::Bce);
    assert_eq!(resolve(&LossKind::Mse, TargetSpec::Classes(10), 10).unwrap(), LossSpec::Mse);
    let cases = [
        (&cross, TargetSpec::Values(1), 1, "loss.kind: the cross-entropy needs class labels"),
        (&cross, TargetSpec::Classes(2), 1, "or use loss.kind = \"bce\""),
        (
            &auto,
            TargetSpec::Classes(10),
            5,
            "the model has 5 outputs for 10 classes\n  help: let the last linear layer have out = 10",
        ),
        (&LossKind::Bce, TargetSpec::Classes(3), 1, "the model has 1 outputs for 3 classes"),
        (&LossKind::Mse, TargetSpec::Values(2), 3, "the model has 3 outputs for 2 target numbers"),
        (&LossKind::Huber { delta: 0.0 }, TargetSpec::Values(1), 1, "loss.delta"),
    ];
    for (kind, targets, outputs, expected) in cases {
        let error = resolve(kind, targets, outputs).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn targets_of_another_shape_do_not_broadcast() {
    let mut g = Graph::new();
    let z = g.input("z", Type::real([4, 1])).unwrap();
    let t = g.input("t", Type::real([4])).unwrap();
    let error = LossSpec::Mse.per_example(&mut g, z, TargetValues::Real(t), Reduction::Mean).unwrap_err();
    assert!(error.to_string().contains("[4, 1] were expected"), "{error}");
    assert!(LossSpec::Bce.per_example(&mut g, z, TargetValues::Index(z), Reduction::Mean).is_err());
}

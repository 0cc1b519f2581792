//! Reverse mode: what the graph of a derivative looks like, and what is refused.

mod common;

use common::case::Data;
use common::run::{Fusion, Loaded, cpu};
use steepest::autodiff::{gradient, vector_jacobian};
use steepest::base::{Result, Type};
use steepest::graph::{Derivative, GpuWork, Graph, Io, NodeView, Op, StepScalars, ValueId};
use steepest::{answers, kernel};

fn evaluate(graph: &Graph, outputs: &[ValueId], inputs: &[Data]) -> Vec<Vec<f64>> {
    let mut executor = cpu::<f64>(1);
    let mut loaded =
        Loaded::new(&mut executor, "test", graph, outputs, Fusion::Full, StepScalars::default()).expect("a plan");
    loaded.run(inputs).expect("a run")
}

fn vector(g: &mut Graph, name: &str) -> ValueId {
    g.input(name, Type::real([3])).expect("a new name")
}

#[test]
fn uses_add_up() {
    let mut g = Graph::new();
    let x = vector(&mut g, "x");
    // x·x + x·exp x + x, with x used five times: 2x + (1 + x)eˣ + 1.
    let square = g.mul(x, x).unwrap();
    let exp = g.exp(x).unwrap();
    let product = g.mul(x, exp).unwrap();
    let sum = g.add(square, product).unwrap();
    let sum = g.add(sum, x).unwrap();
    let y = g.sum(sum).unwrap();
    let dx = gradient(&mut g, y, &[x]).unwrap();
    let data = [-0.5, 0.25, 2.0];
    let found = evaluate(&g, &dx, &[Data::Real(data.to_vec())]);
    for (found, x) in found[0].iter().zip(data) {
        let expected = 2.0 * x + (1.0 + x) * x.exp() + 1.0;
        assert!((found - expected).abs() < 1e-14 * expected.abs().max(1.0), "{found}, expected {expected}");
    }
}

#[test]
fn what_the_value_does_not_depend_on_has_a_gradient_of_zeros() {
    let mut g = Graph::new();
    let (x, other) = (vector(&mut g, "x"), vector(&mut g, "other"));
    let unused = g.exp(other).unwrap();
    let also_unused = g.mul(unused, x).unwrap();
    let y = g.sum(x).unwrap();
    let before = g.nodes().len();
    let grads = gradient(&mut g, y, &[x, other, also_unused]).unwrap();
    assert!(g.nodes()[before..].iter().all(|node| node.op.name() != "mul"), "the unused branch is not walked:\n{g}");
    let ones = Data::Real(vec![1.0; 3]);
    let found = evaluate(&g, &grads, &[ones.clone(), ones]);
    assert_eq!(found, [vec![1.0; 3], vec![0.0; 3], vec![0.0; 3]]);
}

#[test]
fn a_value_is_its_own_derivative() {
    let mut g = Graph::new();
    let x = g.input("x", Type::real([])).unwrap();
    let grads = gradient(&mut g, x, &[x]).unwrap();
    assert_eq!(evaluate(&g, &grads, &[Data::Real(vec![7.0])]), [[1.0]]);
}

#[test]
fn several_seeds_add_up() {
    let mut g = Graph::new();
    let (x, seed) = (vector(&mut g, "x"), vector(&mut g, "seed"));
    let (exp, square) = (g.exp(x).unwrap(), g.mul(x, x).unwrap());
    let grads = vector_jacobian(&mut g, &[(exp, seed), (square, seed)], &[x]).unwrap();
    let found = evaluate(&g, &grads, &[Data::Real(vec![0.0, 1.0, 2.0]), Data::Real(vec![1.0, 0.5, -1.0])]);
    let expected = [1.0, 0.5 * (1f64.exp() + 2.0), -(2f64.exp() + 4.0)];
    assert!(found[0].iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-14 * (1.0 + y.abs())), "{found:?}");
}

/// f(x, y) with y = 2x inside, differentiated through a coarse op given one value twice and values that depend on each other.
#[test]
fn compositions_stop_at_the_inputs() {
    use steepest::ops::norm::LayerNormGrad;
    let mut g = Graph::new();
    let x = vector(&mut g, "x");
    let double = g.scale(x, 2.0).unwrap();
    let op = LayerNormGrad { epsilon: 0.1 };
    let (same, dependent) = (g.apply(op.clone(), &[x, x]).unwrap(), g.apply(op, &[x, double]).unwrap());
    let both = g.mul(same, dependent).unwrap();
    let y = g.sum(both).unwrap();
    let dx = gradient(&mut g, y, &[x]).unwrap()[0];
    let at = [0.3, -1.1, 0.7];
    let value = |x: &[f64]| evaluate(&g, &[y], &[Data::Real(x.to_vec())])[0][0];
    let found = evaluate(&g, &[dx], &[Data::Real(at.to_vec())]).remove(0);
    for (i, found) in found.into_iter().enumerate() {
        let (mut after, mut before) = (at, at);
        after[i] += 1e-5;
        before[i] -= 1e-5;
        let expected = (value(&after) - value(&before)) / 2e-5;
        assert!((found - expected).abs() < 1e-8 * (1.0 + expected.abs()), "{found}, differences say {expected}");
    }
}

#[test]
fn equal_expressions_are_one_node() {
    let mut g = Graph::new();
    let (x, y) = (vector(&mut g, "x"), vector(&mut g, "y"));
    assert_eq!(g.mul(x, y).unwrap(), g.mul(x, y).unwrap());
    assert_ne!(g.mul(x, y).unwrap(), g.mul(y, x).unwrap());
    assert_ne!(g.scale(x, 2.0).unwrap(), g.scale(x, 3.0).unwrap());
    assert_ne!(g.dropout(x, 0.5, [1, 2]).unwrap(), g.dropout(x, 0.5, [1, 3]).unwrap());
    assert_eq!(g.constant(0.0), g.constant(0.0));
    assert_ne!(g.constant(0.0), g.constant(-0.0));
    // Differentiated twice, the derivative is not made twice.
    let product = g.mul(x, y).unwrap();
    let sum = g.sum(product).unwrap();
    let first = gradient(&mut g, sum, &[x]).unwrap();
    let nodes = g.nodes().len();
    assert_eq!(gradient(&mut g, sum, &[x]).unwrap(), first);
    assert_eq!(g.nodes().len(), nodes);
}

#[test]
fn only_scalars_have_gradients() {
    let mut g = Graph::new();
    let x = vector(&mut g, "x");
    let error = gradient(&mut g, x, &[x]).unwrap_err().to_string();
    assert!(error.contains("scalar") && error.contains("real[3]") && error.contains("help"), "{error}");
}

#[test]
fn indices_have_no_gradient() {
    let mut g = Graph::new();
    let x = g.input("table", Type::real([4, 2])).unwrap();
    let index = g.input("labels", Type::index([3])).unwrap();
    let rows = g.gather_rows(x, index).unwrap();
    let y = g.sum(rows).unwrap();
    let error = gradient(&mut g, y, &[x, index]).unwrap_err().to_string();
    assert!(error.contains("labels") && error.contains("indices"), "{error}");
    assert!(gradient(&mut g, y, &[x]).is_ok());
}

/// An op that has no derivative.
#[derive(Clone, Debug)]
struct Rounded;

impl Op for Rounded {
    fn name(&self) -> &'static str {
        "rounded"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        Ok(inputs.to_vec())
    }

    fn derivative(&self, _: &mut Graph, _: NodeView<'_>, _: &[Option<ValueId>]) -> Result<Derivative> {
        Ok(Derivative::Undefined("it is flat"))
    }

    answers!(not in place);
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, _: &[Type], _: &[Type]) -> GpuWork {
        GpuWork::default()
    }
}

impl Rounded {
    fn run<R: steepest::base::Real>(&self, io: &mut Io<'_, R>) {
        let x = io.real(0);
        io.out(0).iter_mut().zip(x).for_each(|(o, x)| *o = R::of(x.f64().round()));
    }
}

#[test]
fn an_op_without_derivative_is_named_where_it_is_in_the_way() {
    let mut g = Graph::new();
    let (x, other) = (vector(&mut g, "x"), vector(&mut g, "other"));
    g.set_scope("layers.1");
    let rounded = g.apply(Rounded, &[x]).unwrap();
    let product = g.mul(rounded, other).unwrap();
    let y = g.sum(product).unwrap();
    let error = gradient(&mut g, y, &[x]).unwrap_err().to_string();
    assert!(error.starts_with("layers.1: rounded") && error.contains("it is flat"), "{error}");
    // Beside the way it does not matter.
    let grads = gradient(&mut g, y, &[other]).unwrap();
    let inputs = [Data::Real(vec![0.6, 1.4, -2.7]), Data::Real(vec![1.0; 3])];
    assert_eq!(evaluate(&g, &grads, &inputs), [[1.0, 1.0, -3.0]]);
}

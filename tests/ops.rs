//! Every op of the table, on the CPU: shapes, values and derivatives against goldens, differences, compositions, the other
//! precision, the unfused plan, and other numbers of threads.

#![allow(clippy::neg_cmp_op_on_partial_ord, reason = "NaN must fail a bound, and a negated comparison says so")]

mod common;

use common::case::{Case, Data, Kind};
use common::cases;
use common::compare::{compare, identical, largest};
use common::golden::Goldens;
use common::run::{self, Fusion, Loaded, cpu};
use std::collections::BTreeSet;
use std::path::Path;
use steepest::base::{Result, Shape};
use steepest::exec::Executor;
use steepest::graph::ValueId;
use steepest::ops::OPS;
use steepest::ops::pointwise::FUNS;

/// Relative to the largest element: derivatives are sums of products, whose terms the goldens do not tell.
const DERIVATIVE_TOLERANCE: f64 = 1e-12;

/// Ops that no graph of a user's has, with inputs of their own kind: their cases are in `tests/instances/updates.rs` and
/// `tests/instances/measuring.rs`, and their values are tested by `tests/measures.rs`, `tests/optimizers.rs`,
/// `tests/quantities.rs` and `tests/probes.rs`.
const END_OF_STEP: [&str; 22] = [
    "accumulate",
    "adjust_scale",
    "arena_histogram",
    "chunk_stats",
    "clip_factor",
    "copy",
    "direction_stats",
    "distance_stats",
    "elementwise_stats",
    "example_stats",
    "fold",
    "fold_counts",
    "micro_stats",
    "moved",
    "row_histogram",
    "saturated",
    "stopping_stats",
    "tap_stats",
    "unit_ages",
    "update",
    "variance_stats",
    "vector_stats",
];

/// Checks every case, and fails with all that is wrong.
fn for_each(cases: &[Case], check: impl Fn(&Case) -> Result<(), String>) {
    assert!(!cases.is_empty());
    let wrong: Vec<String> =
        cases.iter().filter_map(|case| check(case).err().map(|e| format!("{}: {e}", case.name))).collect();
    assert!(wrong.is_empty(), "seed {}, {} of {} cases:\n{}", common::SEED, wrong.len(), cases.len(), wrong.join("\n"));
}

fn text(error: steepest::base::Error) -> String {
    error.to_string()
}

fn goldens_of(cases: Vec<Case>) -> Vec<Case> {
    cases.into_iter().filter(|case| case.golden).collect()
}

/// |error| ≤ factor · the largest expected element, or 1 if that is smaller.
fn by_norm(found: &[f64], expected: &[f64], factor: f64) -> Result<(), String> {
    let scale = largest(expected).max(1.0);
    if found.len() == expected.len() && largest(expected) <= factor * scale {
        // All zero, or as good as that: there is nothing that a zero result could be told from.
        let off = found.iter().position(|x| !(x.abs() <= 2.0 * factor * scale));
        return off.map_or(Ok(()), |i| Err(format!("element {i}: {:e}, expected about 0", found[i])));
    }
    compare(found, expected, |_| factor * scale, f64::MAX)
}

#[test]
fn every_op_has_a_case() {
    let cases = cases::all();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "two cases of one name");
    let funs: Vec<&str> = FUNS.iter().map(|info| info.name).collect();
    for op in OPS.iter().filter(|op| !END_OF_STEP.contains(op)).chain(&funs) {
        assert!(cases.iter().any(|case| case.op == *op), "{op} has no case");
    }
    // A case is of the op that it says.
    for_each(&cases, |case| {
        let (graph, _, _) = run::build_value(case).map_err(text)?;
        let made: Vec<&str> = graph.nodes().iter().map(|node| node.op.name()).collect();
        let primitive = case.op != "pointwise" && (OPS.contains(&case.op) || funs.contains(&case.op));
        if primitive && !made.contains(&case.op) { Err(format!("it makes {made:?}")) } else { Ok(()) }
    });
}

#[test]
fn the_table_of_ops_is_complete() {
    let mut found = BTreeSet::new();
    names_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ops"), &mut found);
    let table: BTreeSet<String> = OPS.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(found, table, "the names in src/ops, and those in OPS");
    assert!(OPS.is_sorted());
}

/// The string literals in every `fn name` below a folder.
fn names_in(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("the sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            names_in(&path, names);
            continue;
        }
        let source = std::fs::read_to_string(&path).expect("a source file");
        for (at, _) in source.match_indices("fn name(&self)") {
            let body = &source[at..];
            let body = &body[..body.find("\n    }").expect("the end of a method")];
            names.extend(body.split('"').skip(1).step_by(2).map(str::to_owned));
        }
    }
}

#[test]
fn shapes_are_those_written() {
    for_each(&cases::all(), |case| {
        let (graph, _, out) = run::build_value(case).map_err(text)?;
        graph.type_check().map_err(text)?;
        let shape = graph.shape(out);
        if shape == case.shape { Ok(()) } else { Err(format!("{shape}, expected {}", case.shape)) }
    });
}

#[test]
fn goldens_are_of_the_cases_in_the_table() {
    let (goldens, cases) = (Goldens::load(), goldens_of(cases::all()));
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names, goldens.names());
    for_each(&cases, |case| {
        for (i, input) in case.inputs.iter().enumerate() {
            let (shape, data) = goldens.get(&case.name, &format!("in{i}"));
            if Shape::new(shape) != input.ty.shape {
                return Err(format!("input {i} is {shape:?}, the table says {}", input.ty));
            }
            let admitted = match data {
                Data::Real(data) => data.iter().all(|&x| input.kind.admits(x)),
                Data::Index(data) => data.iter().all(|&x| input.kind.admits(f64::from(x))),
            };
            if !admitted {
                return Err(format!("input {i} is not {:?}", input.kind));
            }
        }
        let (shape, _) = goldens.get(&case.name, "out");
        if Shape::new(shape) == case.shape { Ok(()) } else { Err(format!("{shape:?}, expected {}", case.shape)) }
    });
}

#[test]
fn values_agree_with_the_goldens() {
    let goldens = Goldens::load();
    for_each(&goldens_of(cases::all()), |case| {
        let inputs = goldens.inputs(case);
        let expected = goldens.real(&case.name, "out");
        agrees(&mut cpu::<f64>(1), case, &inputs, expected)
    });
}

/// Whether an executor's result is within the case's bound of what is expected.
fn agrees(executor: &mut dyn Executor, case: &Case, inputs: &[Data], expected: &[f64]) -> Result<(), String> {
    let (u, largest) = run::precision(executor);
    let found = run::run_case(executor, case, inputs, Fusion::Full).map_err(text)?;
    let tolerance = run::tolerance(case, inputs, expected, u).map_err(text)?;
    compare(&found, expected, |i| tolerance[i], largest)
}

#[test]
fn derivatives_agree_with_the_goldens() {
    let goldens = Goldens::load();
    for_each(&goldens_of(cases::all()), |case| {
        if case.order == 0 {
            return Ok(());
        }
        let mut inputs = goldens.inputs(case);
        inputs.push(goldens.get(&case.name, "cotangent").1.clone());
        let mut expected = goldens.per_real(case, "grad");
        if case.order == 2 {
            inputs.extend(goldens.per_real(case, "direction"));
            expected.extend(goldens.per_real(case, "second"));
        }
        let found = run::run_derivatives(&mut cpu::<f64>(1), case, &inputs, Fusion::Full).map_err(text)?;
        for (i, (found, expected)) in found[1..].iter().zip(&expected).enumerate() {
            by_norm(found, expected.real(), DERIVATIVE_TOLERANCE).map_err(|e| format!("derivative {i}: {e}"))?;
        }
        Ok(())
    });
}

#[test]
fn derivatives_agree_with_central_differences() {
    for_each(&cases::all(), |case| {
        // At a kink there is no derivative to approximate.
        if case.order < 2 { Ok(()) } else { differences(case) }
    });
}

/// ⟨∇f, d⟩ against (f(x + hd) − f(x − hd))/2h for random d, where f is the loss and then the slope of the loss.
fn differences(case: &Case) -> Result<(), String> {
    // The cube root of the unit roundoff balances truncation against cancellation.
    let h = (f64::EPSILON / 2.0).cbrt();
    let built = run::build(case).map_err(text)?;
    let reals = case.reals();
    let outputs: Vec<ValueId> = [built.loss, built.slope].into_iter().chain(built.grads).chain(built.seconds).collect();
    let mut executor = cpu::<f64>(1);
    let loaded = Loaded::new(&mut executor, "differences", &built.graph, &outputs, Fusion::Full, case.step);
    let mut loaded = loaded.map_err(text)?;
    let inputs = run::with_directions(case, case.draw());
    let here = loaded.run(&inputs).map_err(text)?;
    let mut stream = steepest::base::Stream::new(common::SEED, steepest::base::StreamId::Sample(1));
    for _ in 0..3 {
        let lengths = reals.iter().map(|&i| case.inputs[i].ty.shape.len());
        let d: Vec<Data> = lengths.map(|len| Kind::Normal(1.0).draw(len, &mut stream)).collect();
        let mut shifted = |h: f64| {
            let mut inputs = inputs.clone();
            for (&i, d) in reals.iter().zip(&d) {
                let Data::Real(x) = &mut inputs[i] else { unreachable!("a real input") };
                x.iter_mut().zip(d.real()).for_each(|(x, d)| *x += h * d);
            }
            loaded.run(&inputs)
        };
        let (after, before) = (shifted(h).map_err(text)?, shifted(-h).map_err(text)?);
        for (f, what) in ["first", "second"].into_iter().enumerate() {
            let gradients = &here[2 + f * reals.len()..][..reals.len()];
            let terms = || gradients.iter().zip(&d).flat_map(|(g, d)| g.iter().zip(d.real()).map(|(g, d)| g * d));
            let expected = (after[f][0] - before[f][0]) / (2.0 * h);
            let found: f64 = terms().sum();
            let scale = 1.0 + here[f][0].abs() + terms().map(f64::abs).sum::<f64>();
            if !((found - expected).abs() <= 1e-7 * scale) {
                return Err(format!("{what} derivative: {found:e}, differences say {expected:e}"));
            }
        }
    }
    Ok(())
}

#[test]
fn coarse_ops_agree_with_their_compositions() {
    let mut tested = BTreeSet::new();
    for case in cases::all().iter().filter(|case| case.order > 0) {
        let (graph, _, out) = run::build_value(case).expect("a graph");
        let mut scratch = graph.clone();
        let coarse =
            graph.nodes().iter().filter(|node| node.op.composition(&mut scratch, &node.inputs).is_some()).count();
        if coarse == 0 {
            continue;
        }
        tested.insert(case.op);
        composed(case, graph, out).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    }
    let expected = ["layer_norm", "layer_norm_grad", "softmax", "softmax_cross_entropy", "softmax_cross_entropy_grad"];
    assert!(expected.iter().all(|op| tested.contains(op)), "{tested:?}");
}

fn composed(case: &Case, graph: steepest::graph::Graph, out: ValueId) -> Result<(), String> {
    let inputs = run::with_directions(case, case.draw());
    let (fresh, ids, composed) = run::expand_compositions(&graph, out).map_err(text)?;
    let fine = run::differentiate(case, fresh, ids, composed).map_err(text)?;
    let coarse = run::run_derivatives(&mut cpu::<f64>(1), case, &inputs, Fusion::Full).map_err(text)?;
    let fine = run::run_built(&mut cpu::<f64>(1), case, fine, &inputs, Fusion::Full).map_err(text)?;
    let tolerance = run::tolerance(case, &inputs[..case.inputs.len()], &fine[0], f64::EPSILON / 2.0).map_err(text)?;
    compare(&coarse[0], &fine[0], |i| tolerance[i], f64::MAX)?;
    for (i, (coarse, fine)) in coarse.iter().zip(&fine).enumerate().skip(1) {
        by_norm(coarse, fine, DERIVATIVE_TOLERANCE).map_err(|e| format!("derivative {}: {e}", i - 1))?;
    }
    Ok(())
}

#[test]
fn single_precision_keeps_its_bound() {
    for_each(&cases::all(), |case| {
        let inputs = case.draw();
        let expected = run::run_case(&mut cpu::<f64>(1), case, &inputs, Fusion::Full).map_err(text)?;
        agrees(&mut cpu::<f32>(1), case, &inputs, &expected)
    });
}

#[test]
fn fused_plans_agree_with_single_steps() {
    for_each(&cases::all(), |case| {
        let inputs = run::with_directions(case, case.draw());
        let run = |fusion| run::run_derivatives(&mut cpu::<f32>(1), case, &inputs, fusion).map_err(text);
        let (fused, single) = (run(Fusion::Full)?, run(Fusion::None)?);
        for (i, (fused, single)) in fused.iter().zip(&single).enumerate() {
            let few = 4.0 * f64::from(f32::EPSILON) * largest(single);
            compare(fused, single, |_| few, f64::from(f32::MAX)).map_err(|e| format!("output {i}: {e}"))?;
        }
        Ok(())
    });
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    for_each(&cases::all(), |case| {
        let inputs = run::with_directions(case, case.draw());
        let run = |threads| run::run_derivatives(&mut cpu::<f32>(threads), case, &inputs, Fusion::Full).map_err(text);
        let one = run(1)?;
        for threads in [2, 3, 7] {
            for (found, expected) in run(threads)?.iter().zip(&one) {
                identical(found, expected).map_err(|e| format!("{threads} threads: {e}"))?;
            }
        }
        Ok(())
    });
}

#[test]
fn a_corrupted_result_does_not_pass() {
    let goldens = Goldens::load();
    let mut corrupted = 0;
    for case in goldens_of(cases::all()) {
        let (inputs, expected) = (goldens.inputs(&case), goldens.real(&case.name, "out"));
        let tolerance = run::tolerance(&case, &inputs, expected, f64::EPSILON / 2.0).expect("a tolerance");
        let passes = |found: &[f64]| compare(found, expected, |i| tolerance[i], f64::MAX).is_ok();
        assert!(passes(expected), "{}", case.name);
        assert!(!passes(&expected[1..]) && !passes(&[expected, &[0.0]].concat()), "{}: length", case.name);
        let zeros = vec![0.0; expected.len()];
        assert!(!passes(&zeros) || expected == zeros, "{}: zeros", case.name);
        for (i, &x) in expected.iter().enumerate() {
            let changed = |to: f64| passes(&[&expected[..i], &[to], &expected[i + 1..]].concat());
            let other = if x.is_nan() { 0.0 } else { f64::NAN };
            assert!(!changed(other), "{}, element {i}: {other}", case.name);
            if x.is_finite() {
                let off = (10.0 * tolerance[i]).max(f64::MIN_POSITIVE);
                assert!(!changed(x + off) && !changed(x - off), "{}, element {i}: ± {off:e}", case.name);
                assert!(!changed(f64::INFINITY), "{}, element {i}: infinity", case.name);
            } else if x.is_infinite() {
                assert!(!changed(-x) && !changed(1e300), "{}, element {i}: sign of infinity", case.name);
            }
            corrupted += 1;
        }
    }
    assert!(corrupted > 2000);
}

#[test]
fn a_tolerance_that_tests_nothing_does_not_pass() {
    assert!(compare(&[0.0, 1.0], &[0.5, 1.0], |_| 2.0, f64::MAX).is_err(), "zeros would pass");
    assert!(compare(&[1.0], &[1.0], |_| f64::NAN, f64::MAX).is_err(), "NaN is no tolerance");
    assert!(compare(&[f64::NAN], &[f64::NAN], |_| 0.0, f64::MAX).is_ok());
    assert!(compare(&[f64::INFINITY], &[1e300], |_| 0.0, f64::from(f32::MAX)).is_ok(), "an overflow in f32");
    assert!(identical(&[0.0], &[-0.0]).is_err() && identical(&[1.0], &[1.0]).is_ok());
}

//! Every op's GPU dispatches against its CPU kernel in f64, with and without the checks that wgpu adds to shaders.

mod instances;

use instances::cases::{self, Bound, Case};
use instances::gpu::{Checks, Gpu};
use instances::reference::{self, Input};
use steepest::base::{Shape, Type};
use steepest::ops::pointwise::{Arg, Code, FUNS, Fun, Pointwise};

/// Runs a case on the device and returns its outputs.
fn on_gpu(gpu: &Gpu, case: &Case, inputs: &[Input], checks: Checks) -> Vec<Vec<f32>> {
    let outputs = case.outputs();
    let words: Vec<Vec<u32>> = inputs.iter().map(Input::words).collect();
    let old = |output: usize| case.op.in_place().iter().find(|pair| pair.0 == output).map(|pair| words[pair.1].clone());
    let lens: Vec<_> = outputs.iter().enumerate().map(|(i, ty)| (ty.shape.len(), old(i))).collect();
    let found = gpu.run(&case.op.gpu(&case.inputs, &outputs), &words, &lens, &case.step, checks);
    found.into_iter().map(|words| words.into_iter().map(f32::from_bits).collect()).collect()
}

/// What is wrong with a case's results, if anything.
fn wrong(gpu: &Gpu, case: &Case, inputs: &[Input]) -> Option<String> {
    let (values, bounds) = reference::expected(case, inputs);
    for checks in [Checks::On, Checks::Off] {
        let found = on_gpu(gpu, case, inputs, checks);
        for (output, ((values, bounds), found)) in values.iter().zip(&bounds).zip(&found).enumerate() {
            if let Some(why) = reference::outside(values, bounds, found) {
                return Some(format!("{}, checks {checks:?}, output {output}: {why}", case.name()));
            }
        }
    }
    None
}

#[test]
fn every_op_agrees_with_its_cpu_kernel() {
    let Some(gpu) = Gpu::or_skip("every_op_agrees_with_its_cpu_kernel") else { return };
    let cases = cases::all();
    let failures: Vec<String> = cases
        .iter()
        .enumerate()
        .filter_map(|(seed, case)| {
            let why = wrong(&gpu, case, &reference::draw(case, seed as u64))?;
            Some(format!("seed {seed}: {why}"))
        })
        .collect();
    assert!(failures.is_empty(), "{} of {} cases fail:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn a_corrupted_result_is_found() {
    let Some(gpu) = Gpu::or_skip("a_corrupted_result_is_found") else { return };
    for case in cases::all().into_iter().step_by(37) {
        let inputs = reference::draw(&case, 1);
        let (values, bounds) = reference::expected(&case, &inputs);
        let mut found = on_gpu(&gpu, &case, &inputs, Checks::On).remove(0);
        assert_eq!(reference::outside(&values[0], &bounds[0], &found), None, "{}", case.name());
        let last = found.len() - 1;
        found[last] = found[last] * 1.01 + 0.01;
        assert!(reference::outside(&values[0], &bounds[0], &found).is_some(), "{}", case.name());
    }
}

/// NaN, infinities and zeros go through the scalar functions as they do on the CPU.
#[test]
fn special_numbers_pass_as_on_the_cpu() {
    let Some(gpu) = Gpu::or_skip("special_numbers_pass_as_on_the_cpu") else { return };
    let special =
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 100.0, -100.0, 1.0, -1.0, 1e-30, -1e-30, 1e30];
    let shape = Shape::from([special.len()]);
    let unary = FUNS.iter().filter(|info| info.arity == 1).map(|info| Code::single(info.fun, &[Arg::In(0)]));
    let powers =
        [2.0, 3.0, -1.0, 0.5, -0.5, 0.3, 65.0].map(|y| Code::single(Fun::Pow, &[Arg::In(0), Arg::constant(y)]));
    let chosen = [Fun::Max, Fun::Min, Fun::Gate].map(|fun| Code::single(fun, &[Arg::In(0), Arg::constant(0.5)]));
    let mut failures = Vec::new();
    for code in unary.chain(powers).chain(chosen) {
        let op = Pointwise { code, shape };
        let case = Case::new(op, vec![Type::real(shape)], Bound::Mixed { ulps: 300.0, size: 0.0 });
        // The f64 oracle holds the numbers that f32 does.
        let inputs = [Input::Real(special.iter().map(|&x| f64::from(x as f32)).collect())];
        failures.extend(wrong(&gpu, &case, &inputs));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

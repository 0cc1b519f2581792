//! Every op's GPU dispatches against its CPU kernel in f64, with and without the checks that wgpu adds to shaders.

mod instances;

use instances::cases::{self, Bound, Case};
use instances::gpu::{Checks, Gpu};
use instances::reference::{self, Input};
use steepest::base::{Shape, Type};
use steepest::graph::{Class, GpuWork, Target, Way};
use steepest::ops::pointwise::{Arg, Code, FUNS, Fun, Pointwise};

/// Runs a case on the device, as `work` does it, and returns its outputs.
fn on_gpu(gpu: &Gpu, case: &Case, work: &GpuWork, inputs: &[Input], checks: Checks) -> Vec<Vec<f32>> {
    let outputs = case.outputs();
    let words: Vec<Vec<u32>> = inputs.iter().zip(&case.inputs).map(|(input, ty)| input.words(ty.dtype)).collect();
    let old = |output: usize| case.op.in_place().iter().find(|pair| pair.0 == output).map(|pair| words[pair.1].clone());
    let lens: Vec<_> = outputs.iter().enumerate().map(|(i, ty)| (Input::word_count(ty), old(i))).collect();
    let found = gpu.run(work, &words, &lens, &case.step, checks);
    found.iter().zip(&outputs).map(|(words, ty)| Input::numbers_in(words, ty)).collect()
}

/// The ways that are tested of a case: all that this device can go, or, where software would take too long, those that the table takes
/// for each class of devices.
fn ways(gpu: &Gpu, case: &Case) -> Vec<(String, GpuWork)> {
    let work = case.op.gpu(&case.inputs, &case.outputs());
    let Some(ways) = work.ways.as_deref() else { return vec![(String::new(), work)] };
    let is_small = case.inputs.iter().all(|ty| ty.shape.iter().all(|dim| dim <= LARGEST));
    let mut chosen: Vec<&Way> = match is_small {
        true => ways.all.iter().filter(|way| gpu.target.can(&way.needs)).collect(),
        false => Class::ALL.map(|class| Target { class, ..gpu.target.clone() }.by_table(ways)).to_vec(),
    };
    chosen.dedup_by_key(|way| way.name.clone());
    chosen.into_iter().map(|way| (way.name.clone(), way.work.clone())).collect()
}

/// The largest extent of an input that all ways are tried on.
const LARGEST: usize = 128;

/// What is wrong with a case's results, if anything.
fn wrong(gpu: &Gpu, case: &Case, inputs: &[Input]) -> Option<String> {
    let (values, bounds) = reference::expected(case, inputs);
    for (way, work) in ways(gpu, case) {
        // One number of parts is as good as another to show that indices stay in bounds.
        let once = way.rsplit_once('/').is_none_or(|(_, parts)| parts == "2");
        for checks in [Checks::On, Checks::Off].into_iter().skip(usize::from(!once)) {
            let found = on_gpu(gpu, case, &work, inputs, checks);
            for (output, ((values, bounds), found)) in values.iter().zip(&bounds).zip(&found).enumerate() {
                if let Some(why) = reference::outside(values, bounds, found) {
                    return Some(format!("{} by {way:?}, checks {checks:?}, output {output}: {why}", case.name()));
                }
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

/// Nothing is left out but what needs larger subgroups than there are.
#[test]
fn small_products_go_all_ways() {
    let Some(gpu) = Gpu::or_skip("small_products_go_all_ways") else { return };
    for case in cases::all() {
        let tried: Vec<String> = ways(&gpu, &case).into_iter().map(|(name, _)| name).collect();
        let all = case.ways().into_iter().filter_map(|(way, _)| way);
        let left: Vec<Way> = all.filter(|way| !tried.contains(&way.name)).collect();
        let is_small = case.inputs.iter().all(|ty| ty.shape.iter().all(|dim| dim <= LARGEST));
        assert!(!is_small || left.iter().all(|way| way.needs.subgroups), "{}: {left:?}", case.name());
        if gpu.target.subgroups == Some([8, 8]) {
            assert!(!is_small || left.is_empty(), "{}: {left:?}", case.name());
        }
    }
}

#[test]
fn a_corrupted_result_is_found() {
    let Some(gpu) = Gpu::or_skip("a_corrupted_result_is_found") else { return };
    for case in cases::all().into_iter().step_by(37) {
        let inputs = reference::draw(&case, 1);
        let (values, bounds) = reference::expected(&case, &inputs);
        let (_, work) = ways(&gpu, &case).pop().expect("a way");
        let mut found = on_gpu(&gpu, &case, &work, &inputs, Checks::On).remove(0);
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

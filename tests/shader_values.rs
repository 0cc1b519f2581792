//! Every op's GPU dispatches against its CPU kernel in f64, with and without the checks that wgpu adds to shaders.

mod instances;

use instances::cases::{self, Bound, Case};
use instances::gpu::{Checks, Gpu};
use instances::reference::{self, Input};
use std::collections::BTreeMap;
use steepest::base::{Shape, Type};
use steepest::graph::{Class, GpuWork, SUBGROUP, Target, Way};
use steepest::ops::loss::SoftmaxCrossEntropyGrad;
use steepest::ops::optimize::{Rule, Update};
use steepest::ops::pointwise::{Arg, Code, FUNS, Fun, Pointwise};
use steepest::ops::record::CHUNK;
use steepest::ops::softmax::Softmax;
use steepest::ops::stats::CONTROL;

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
        false => {
            let targets = Class::ALL.into_iter().flat_map(|class| {
                [gpu.target.subgroups, None].map(|subgroups| Target { class, subgroups, ..gpu.target.clone() })
            });
            targets.map(|target| target.by_table(ways)).collect()
        }
    };
    chosen.sort_by_key(|way| way.name.clone());
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

/// An update of one element on the device: its states afterwards.
fn updated(gpu: &Gpu, rule: Rule, gradient: f64, states: &[f64]) -> Vec<f32> {
    let op = Update { rule, weight_decay: 0.0, clip_value: None, clip_norm: false, measure: false };
    let arena = Type::real([CHUNK]);
    let mut types = vec![arena, arena, Type::real([CONTROL]), Type::index([1])];
    types.resize(4 + states.len(), arena);
    let case = Case::new(op, types, Bound::Exact);
    let first = |x: f64| Input::Real(std::iter::once(x).chain(vec![0.0; CHUNK - 1]).collect());
    let mut inputs = vec![first(1.0), first(gradient), Input::Real(vec![0.0; CONTROL]), Input::Index(vec![1])];
    inputs.extend(states.iter().map(|&x| first(x)));
    let work = case.op.gpu(&case.inputs, &case.outputs());
    on_gpu(gpu, &case, &work, &inputs, Checks::Off)[1..].iter().map(|state| state[0]).collect()
}

/// The rule of [`steepest::base::Real::TINY`] on the device, in f32, where the CPU in f64 has smaller tiny numbers.
#[test]
fn tiny_numbers_become_zero() {
    let Some(gpu) = Gpu::or_skip("tiny_numbers_become_zero") else { return };
    let adam = Rule::Adam { betas: [0.9, 0.999], epsilon: 1e-8, decoupled: false };
    let momentum = Rule::Momentum { momentum: 0.9, dampening: 0.0, nesterov: false };
    assert_eq!(updated(&gpu, adam.clone(), 0.0, &[8e-31, 1.1e-38]), [0.0, 0.0]);
    assert_eq!(updated(&gpu, adam.clone(), 1e-35, &[0.0, 0.0]), [0.0, 0.0]);
    assert_eq!(updated(&gpu, momentum.clone(), 1e-35, &[0.0]), [0.0]);
    let kept = updated(&gpu, adam, 4e-20, &[0.0, 1e-30]);
    assert!((kept[0] / 4e-21 - 1.0).abs() < 1e-5 && (kept[1] / 0.999e-30 - 1.0).abs() < 1e-5, "{kept:?}");
    assert!((updated(&gpu, momentum, 4e-20, &[1e-20])[0] / 4.9e-20 - 1.0).abs() < 1e-5);
    let logits = Type::real([1, 3]);
    let z = |last| Input::Real(vec![0.0, -60.0, last]);
    let softmax = Case::new(Softmax, vec![logits], Bound::Exact);
    let grad = SoftmaxCrossEntropyGrad { smoothing: 0.0 };
    let grad = Case::new(grad, vec![logits, Type::index([1]), Type::real([1])], Bound::Exact);
    let rest = [z(-75.0), Input::Index(vec![0]), Input::Real(vec![1.0])];
    for (case, inputs) in [(softmax, vec![z(-90.0)]), (grad, rest.to_vec())] {
        let work = case.op.gpu(&case.inputs, &case.outputs());
        let found = on_gpu(&gpu, &case, &work, &inputs, Checks::Off).remove(0);
        assert!((f64::from(found[1]) / (-60f64).exp() - 1.0).abs() < 1e-4 && found[2] == 0.0, "{found:?}");
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

/// A kernel that reduces in subgroups as it would run in subgroups of `size` threads, played with workgroup memory. What lies beyond the
/// subgroup is no number. The kernel is told that they have `told` threads.
fn in_subgroups_of(size: u32, told: u32, text: String) -> String {
    const NUMBER: &str = "let thread = subgroup * subgroup_size + place;\n    subgroup_threads = subgroup_size;";
    if !text.contains("subgroupShuffleXor") {
        return text;
    }
    let arguments = text.find("@builtin(subgroup_id)").expect("its place in the subgroup")
        ..text.find("subgroup_size: u32").expect("the size of the subgroup") + "subgroup_size: u32".len();
    assert!(text.contains(NUMBER), "{text}");
    let mut played = text.clone();
    played.replace_range(arguments, "@builtin(local_invocation_index) played_thread: u32");
    played = played.replace(
        NUMBER,
        &format!("let thread = played_thread;\n    played = thread;\n    subgroup_threads = {told}u;"),
    );
    if text.contains("fn row_top(") {
        played = played.replace("max(whole, subgroupShuffleXor(", "max(whole, moved_u2(");
        played = played.replace("plus(whole, subgroupShuffleXor(", "plus(whole, moved_f2(");
    }
    played = played.replace("subgroupShuffleXor(", "moved(");
    played += "\nvar<private> played: u32;\n";
    for (name, ty) in [("moved", "f32"), ("moved_u2", "vec2<u32>"), ("moved_f2", "vec2<f32>")] {
        played += &format!(
            "var<workgroup> cells_{name}: array<{ty}, 128>;\n\
             fn {name}(x: {ty}, bits: u32) -> {ty} {{\n    workgroupBarrier();\n    cells_{name}[played] = x;\n    \
             workgroupBarrier();\n    let it = cells_{name}[played ^ bits];\n    \
             return select(it, {ty}(), bits >= {size}u);\n}}\n"
        );
    }
    played
}

/// The outputs of a case by the way of this name, as bits.
fn bits(gpu: &Gpu, case: &Case, inputs: &[Input], name: &str, checks: Checks) -> Vec<Vec<u32>> {
    let way = case.ways().into_iter().find_map(|(way, work)| way.filter(|way| way.name == name).map(|_| work));
    let found = on_gpu(gpu, case, &way.expect("a way of this name"), inputs, checks);
    found.into_iter().map(|numbers| numbers.into_iter().map(f32::to_bits).collect()).collect()
}

/// Cases whose kernels reduce in workgroups of whole subgroups of `size` threads, with their numbers: names need not tell cases apart.
fn that_reduce(size: u32) -> impl Iterator<Item = (usize, Case)> {
    let target = Target { subgroups: Some([size; 2]), ..Target::default() };
    let can = move |(way, _): &(Option<Way>, GpuWork)| {
        way.as_ref().is_some_and(|way| way.name == "subgroups" && target.can(&way.needs))
    };
    cases::all().into_iter().enumerate().filter(move |(_, case)| case.ways().iter().any(&can))
}

#[test]
fn reductions_give_the_same_bits_with_subgroups_of_any_size_and_without() {
    let Some(mut gpu) = Gpu::or_skip("reductions_give_the_same_bits_with_subgroups_of_any_size_and_without") else {
        return;
    };
    let inputs = |case: &Case| reference::draw(case, 5);
    let mut expected = BTreeMap::new();
    for (number, case) in that_reduce(SUBGROUP) {
        let inputs = inputs(&case);
        let memory = bits(&gpu, &case, &inputs, "memory", Checks::Off);
        assert!(memory == bits(&gpu, &case, &inputs, "memory", Checks::On), "{}: it depends on checks", case.name());
        if gpu.target.subgroups == Some([SUBGROUP; 2]) {
            let subgroups = bits(&gpu, &case, &inputs, "subgroups", Checks::Off);
            assert!(memory == subgroups, "{}: it depends on subgroups", case.name());
        }
        expected.insert(number, memory);
    }
    println!("{} cases", expected.len());
    assert!(expected.len() > 60, "only {} cases: some are missing", expected.len());
    for size in [8, 16, 32, 64, 128] {
        gpu.edit(move |text| in_subgroups_of(size, size, text));
        for (number, case) in that_reduce(size) {
            let found = bits(&gpu, &case, &inputs(&case), "subgroups", Checks::Off);
            assert!(found == expected[&number], "{} in subgroups of {size}", case.name());
        }
    }
    // A kernel that reached beyond its subgroup would be found.
    gpu.edit(|text| in_subgroups_of(8, 16, text));
    let differs =
        |(number, case): &(usize, Case)| bits(&gpu, case, &inputs(case), "subgroups", Checks::Off) != expected[number];
    let found = that_reduce(16).filter(differs).count();
    println!("{found} cases show a reach beyond the subgroup");
    assert!(found > 40, "only {found} cases show it");
}

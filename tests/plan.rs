//! Properties of plans, on random graphs: what is computed does not depend on fusion or on who shares a buffer with whom.

mod common;
mod training;

use common::case::{Data, Kind};
use common::compare::{compare, largest};
use common::run::{self, Fusion, Loaded, cpu};
use std::collections::{HashMap, HashSet};
use steepest::autodiff::gradient;
use steepest::base::{Result, Stream, StreamId, Type};
use steepest::graph::{Graph, StepScalars, Target, ValueId};
use steepest::nn::{Mode, Model};
use steepest::ops::layout::Reshape;
use steepest::ops::pointwise::Pointwise;
use steepest::plan::{Bundle, Limits, Place, Plan, compile};

const GRAPHS: u32 = 150;

/// A random graph: its inputs are 5 × 7 or 7, its values matrices; some of them are wanted, and a loss with its gradient.
fn random_graph(stream: &mut Stream) -> Result<(Graph, Vec<ValueId>)> {
    let mut g = Graph::new();
    let inputs = [g.input("a", Type::real([5, 7]))?, g.input("b", Type::real([7]))?, g.input("c", Type::real([5, 1]))?];
    let start = g.add(inputs[0], inputs[1])?;
    let mut values = vec![inputs[0], start];
    let mut wanted = Vec::new();
    for _ in 0..8 + stream.below(20) {
        let x = values[stream.below(values.len() as u32) as usize];
        let y = values[stream.below(values.len() as u32) as usize];
        let fresh = grow(&mut g, stream, x, y, &inputs)?;
        if stream.below(5) == 0 {
            wanted.push(fresh);
        }
        values.push(fresh);
    }
    let last = *values.last().expect("a value");
    wanted.push(last);
    // tanh keeps the loss of a chain of products in range.
    let bounded = g.tanh(last)?;
    let loss = g.sum(bounded)?;
    wanted.push(loss);
    wanted.extend(gradient(&mut g, loss, &inputs)?);
    Ok((g, wanted))
}

/// One more 5 × 7 value from two others.
fn grow(g: &mut Graph, stream: &mut Stream, x: ValueId, y: ValueId, inputs: &[ValueId; 3]) -> Result<ValueId> {
    match stream.below(14) {
        0 => g.add(x, y),
        1 => {
            let x = g.tanh(x)?;
            g.mul(x, y)
        }
        2 => g.sub(x, inputs[1]),
        3 => g.mul(x, inputs[2]),
        4 => g.tanh(x),
        5 => g.sigmoid(x),
        6 => g.softmax(x),
        7 => g.layer_norm(x, 0.1),
        8 => {
            let gram = g.matmul_t(x, y, false, true)?;
            let gram = g.tanh(gram)?;
            g.matmul(gram, y)
        }
        9 => {
            let flat = g.reshape(x, [35])?;
            let turned = g.reshape(flat, [7, 5])?;
            g.transpose(turned, &[1, 0])
        }
        10 => {
            let (left, right) = (g.slice(x, 1, 0, 3)?, g.slice(y, 1, 3, 4)?);
            g.concat(&[left, right], 1)
        }
        11 => {
            let mean = g.mean_axes(x, &[1])?;
            g.sub(x, mean)
        }
        12 => {
            let column = g.reshape(inputs[2], [5])?;
            let column = g.reshape(column, [5, 1])?;
            let total = g.sum_axes(x, &[0])?;
            let outer = g.mul(column, total)?;
            g.add(outer, y)
        }
        _ => g.scale(x, 0.5),
    }
}

fn for_each_graph(check: impl Fn(&Graph, &[ValueId], &mut Stream) -> Result<(), String>) {
    for i in 0..GRAPHS {
        let mut stream = Stream::new(common::SEED, StreamId::Sample(i));
        let (graph, wanted) = random_graph(&mut stream).expect("a graph");
        check(&graph, &wanted, &mut stream)
            .unwrap_or_else(|e| panic!("seed {}, graph {i}: {e}\n{graph}", common::SEED));
    }
}

fn plan_of(graph: &Graph, wanted: &[ValueId], fusion: Fusion) -> Plan {
    run::plan_for("random", graph, wanted, fusion).expect("a plan").0
}

fn draw(graph: &Graph, stream: &mut Stream) -> Vec<Data> {
    graph.inputs().map(|(_, id)| Kind::Normal(1.0).draw(graph.shape(id).len(), stream)).collect()
}

#[test]
fn fusion_and_shared_buffers_leave_results_as_they_are() {
    for_each_graph(|graph, wanted, stream| {
        let mut executors = [cpu::<f64>(1), cpu::<f64>(1)];
        let [fused, single] = &mut executors;
        let load = |executor, fusion| {
            Loaded::new(executor, "random", graph, wanted, fusion, StepScalars::default()).map_err(|e| e.to_string())
        };
        let (mut fused, mut single) = (load(fused, Fusion::Full)?, load(single, Fusion::None)?);
        // The second replay finds what the first left in the buffers: nothing may depend on it.
        for _ in 0..2 {
            let inputs = draw(graph, stream);
            let run = |loaded: &mut Loaded<'_>| loaded.run(&inputs).map_err(|e| e.to_string());
            let (found, expected) = (run(&mut fused)?, run(&mut single)?);
            for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let few = 4.0 * f64::EPSILON * largest(expected);
                compare(found, expected, |_| few, f64::MAX).map_err(|e| format!("wanted value {i}: {e}"))?;
            }
        }
        Ok(())
    });
}

#[test]
fn plans_are_the_same_for_the_same_graph() {
    for_each_graph(|graph, wanted, _| {
        let (first, second) = (plan_of(graph, wanted, Fusion::Full), plan_of(graph, wanted, Fusion::Full));
        if first.to_string() == second.to_string() { Ok(()) } else { Err(format!("{first}\n{second}")) }
    });
}

/// Walks the steps: whatever is read was written, by the caller or by an earlier step, and what lies in a private buffer is
/// of the size that is read. A private buffer that holds a value still to be read is not written.
fn check_buffers(plan: &Plan) -> Result<(), String> {
    let mut written: Vec<Option<usize>> = vec![None; plan.buffers.len()];
    let mut last_read: Vec<bool> = vec![true; plan.buffers.len()];
    let mut lives: Vec<Option<(usize, usize)>> = vec![None; plan.buffers.len()];
    for (i, step) in plan.steps.iter().enumerate() {
        for view in step.inputs.iter().chain(&step.outputs) {
            let life = lives[view.buffer].get_or_insert((i, i));
            life.1 = i;
            if view.range().end > plan.buffers[view.buffer].len {
                return Err(format!("step {i} reaches behind {}", plan.buffers[view.buffer].name));
            }
        }
        for view in step.inputs.iter().filter(|view| !plan.buffers[view.buffer].shared) {
            if written[view.buffer] != Some(view.ty.shape.len()) {
                return Err(format!("step {i} reads {:?} elements as {}", written[view.buffer], view.ty));
            }
            last_read[view.buffer] = true;
        }
        for view in step.outputs.iter().filter(|view| !plan.buffers[view.buffer].shared) {
            if step.inputs.iter().any(|input| input.buffer == view.buffer) {
                return Err(format!("step {i} reads and writes one buffer"));
            }
            if !last_read[view.buffer] {
                return Err(format!("step {i} writes over a value that nothing has read"));
            }
            written[view.buffer] = Some(view.ty.shape.len());
            last_read[view.buffer] = false;
        }
    }
    for (buffer, life) in plan.buffers.iter().zip(lives) {
        if life.is_some_and(|life| life != buffer.lifetime) {
            return Err(format!("{} says steps {:?}, found {life:?}", buffer.name, buffer.lifetime));
        }
    }
    match last_read.iter().position(|read| !read) {
        Some(unread) => Err(format!("{} holds a value that nothing reads", plan.buffers[unread].name)),
        None => Ok(()),
    }
}

#[test]
fn no_live_value_is_written_over() {
    for_each_graph(|graph, wanted, _| check_buffers(&plan_of(graph, wanted, Fusion::Full)));
}

#[test]
fn the_check_of_buffers_sees_a_clash() {
    let mut stream = Stream::new(common::SEED, StreamId::Sample(0));
    let mut seen = 0;
    for _ in 0..20 {
        let (graph, wanted) = random_graph(&mut stream).expect("a graph");
        let plan = plan_of(&graph, &wanted, Fusion::Full);
        let private: Vec<usize> = (0..plan.buffers.len()).filter(|&i| !plan.buffers[i].shared).collect();
        let Some((&first, rest)) = private.split_first() else { continue };
        let mut clash = plan.clone();
        let views = clash.steps.iter_mut().flat_map(|step| step.inputs.iter_mut().chain(&mut step.outputs));
        views.filter(|view| rest.contains(&view.buffer)).for_each(|view| view.buffer = first);
        assert!(rest.is_empty() || check_buffers(&clash).is_err(), "{clash}");
        seen += usize::from(!rest.is_empty());
    }
    assert!(seen > 10);
}

#[test]
fn memory_is_between_what_a_step_needs_and_what_all_values_take() {
    let (mut taken, mut all) = (0, 0);
    for_each_graph(|graph, wanted, _| {
        let plan = plan_of(graph, wanted, Fusion::Full);
        let at_step = |step: &steepest::plan::Step| {
            let views = step.inputs.iter().chain(&step.outputs).filter(|view| !plan.buffers[view.buffer].shared);
            let distinct: HashSet<(usize, usize)> = views.map(|v| (v.buffer, v.ty.shape.len() * 8)).collect();
            distinct.into_iter().map(|(_, bytes)| bytes).sum::<usize>()
        };
        let least = plan.steps.iter().map(at_step).max().unwrap_or(0);
        let most: usize = plan
            .steps
            .iter()
            .flat_map(|s| &s.outputs)
            .filter(|v| !plan.buffers[v.buffer].shared)
            .map(|v| v.ty.shape.len() * 8)
            .sum();
        let bytes = plan.private_bytes(8);
        if (least..=most).contains(&bytes) { Ok(()) } else { Err(format!("{bytes} bytes, expected {least}..={most}")) }
    });
    // Over all graphs, sharing buffers halves the memory at least.
    for i in 0..GRAPHS {
        let (graph, wanted) = random_graph(&mut Stream::new(common::SEED, StreamId::Sample(i))).expect("a graph");
        let plan = plan_of(&graph, &wanted, Fusion::Full);
        taken += plan.private_bytes(8);
        let outputs = plan.steps.iter().flat_map(|step| &step.outputs).filter(|v| !plan.buffers[v.buffer].shared);
        all += outputs.map(|view| view.ty.shape.len() * 8).sum::<usize>();
    }
    assert!(2 * taken <= all, "{taken} of {all} bytes");
}

#[test]
fn what_no_step_reads_is_made_as_soon_as_its_inputs_are() {
    let mut g = Graph::new();
    let a = g.input("a", Type::real([5, 7])).unwrap();
    let first = g.softmax(a).unwrap();
    let second = g.softmax(first).unwrap();
    let third = g.softmax(second).unwrap();
    let late = g.sum(first).unwrap();
    let wanted = [third, late].map(|id| (id, Place::whole(format!("{id:?}"), g.ty(id))));
    let plan = compile("plan", &g, &wanted).unwrap();
    let names: Vec<_> = plan.steps.iter().map(|step| step.op.name()).collect();
    assert_eq!(names, ["softmax", "sum", "softmax", "softmax"]);
    let lives: Vec<_> = plan.buffers.iter().filter(|buffer| !buffer.shared).map(|buffer| buffer.lifetime).collect();
    assert_eq!(lives, [(0, 2), (2, 3)]);
}

/// Whether one of these steps has to come before another.
fn clashes(steps: &[usize], plan: &Plan) -> bool {
    let views = |step: usize| {
        let step = &plan.steps[step];
        let of = |view: &steepest::plan::View, written| (view.buffer, view.range(), written);
        let inputs = step.inputs.iter().map(move |view| of(view, false));
        inputs.chain(step.outputs.iter().map(move |view| of(view, true))).collect::<Vec<_>>()
    };
    let meet = |one: usize, other: usize| {
        views(one).iter().any(|(buffer, range, written)| {
            views(other).iter().any(|(its_buffer, its_range, its_written)| {
                let apart = range.end <= its_range.start || its_range.end <= range.start;
                buffer == its_buffer && !apart && (*written || *its_written)
            })
        })
    };
    steps.iter().enumerate().any(|(i, &one)| steps[..i].iter().any(|&other| one != other && meet(one, other)))
}

/// Every dispatch is in one bundle, those of one step in order, and those that need each other too.
fn check_bundles(plan: &Plan, bundles: &[Bundle]) -> Result<(), String> {
    let mut found = 0;
    for (i, bundle) in bundles.iter().enumerate() {
        found += bundle.parts.len();
        let steps: Vec<usize> = bundle.parts.iter().map(|part| part.step).collect();
        if clashes(&steps, plan) {
            return Err(format!("dispatch {i} holds steps that need each other"));
        }
        if bundle.bounds.len() > Limits::LEAST.buffers {
            return Err(format!("dispatch {i} binds {} buffers", bundle.bounds.len()));
        }
    }
    let all: usize = plan.steps.iter().map(|step| step.gpu(&Target::default()).dispatches.len()).sum();
    if found != all {
        return Err(format!("{found} of {all} dispatches"));
    }
    // Where one step needs another, its dispatches come later.
    let place = |step: usize| {
        let holds = |bundle: &Bundle| bundle.parts.iter().any(|part| part.step == step);
        (bundles.iter().position(holds), bundles.iter().rposition(holds))
    };
    for later in 0..plan.steps.len() {
        for earlier in 0..later {
            if clashes(&[earlier, later], plan) && place(earlier).1 >= place(later).0 {
                return Err(format!("step {later} comes before step {earlier}"));
            }
        }
    }
    Ok(())
}

#[test]
fn bundles_keep_the_order_that_results_rest_on() {
    let (mut all, mut bundled) = (0, 0);
    for_each_graph(|graph, wanted, _| {
        let plan = plan_of(graph, wanted, Fusion::Full);
        check_bundles(&plan, &plan.bundles(&Target::default(), Limits::LEAST).map_err(|e| e.to_string())?)
            .map_err(|e| format!("{e}\n{plan}"))
    });
    for i in 0..GRAPHS {
        let (graph, wanted) = random_graph(&mut Stream::new(common::SEED, StreamId::Sample(i))).expect("a graph");
        let plan = plan_of(&graph, &wanted, Fusion::Full);
        all += plan.dispatches(&Target::default()).expect("texts").len();
        bundled += plan.bundles(&Target::default(), Limits::LEAST).expect("texts").len();
    }
    assert!(bundled < all, "{bundled} of {all}");
    println!("{all} dispatches of {GRAPHS} plans, {bundled} when bundled");
}

#[test]
fn the_check_of_bundles_sees_what_is_out_of_order() {
    let mut g = Graph::new();
    let a = g.input("a", Type::real([5, 7])).unwrap();
    let first = g.softmax(a).unwrap();
    let second = g.softmax(first).unwrap();
    let plan = compile("plan", &g, &[(second, Place::whole("out", g.ty(second)))]).unwrap();
    let mut bundles = plan.bundles(&Target::default(), Limits::LEAST).unwrap();
    assert_eq!((bundles.len(), check_bundles(&plan, &bundles)), (2, Ok(())));
    bundles.reverse();
    assert!(check_bundles(&plan, &bundles).unwrap_err().contains("comes before"));
    let [mut together, other] = <[Bundle; 2]>::try_from(bundles.clone()).expect("two");
    together.parts.extend(other.parts);
    assert!(check_bundles(&plan, &[together]).unwrap_err().contains("need each other"));
    assert!(check_bundles(&plan, &bundles[..1]).is_err());
}

/// Dispatches of a training step on a GPU with the least that every adapter offers, as a step replays its plans.
fn dispatches_of_a_step(sizes: [usize; 4], optimizer: &str, preset: &str) -> usize {
    let [inputs, wide, narrow, batch] = sizes;
    let config = training::config(&format!(
        "model.layers = [{{ kind = 'linear', out = {wide} }}, 'relu', {{ kind = 'linear', out = {narrow} }}, 'relu', \
         {{ kind = 'linear', out = 10 }}]\nprobes.preset = '{preset}'\ntrain.optimizer = '{optimizer}'\ntrain.batch = {batch}"
    ));
    let x = ndarray::Array2::from_shape_simple_fn((batch, inputs), || 0.5);
    let labels = (0..batch).map(|i| i as u32 % 10).collect();
    let targets = steepest::data::Targets::Classes { labels, classes: 10 };
    let data = training::only(steepest::data::Dataset::new("even", x, targets).expect("data"));
    let trainer = training::on_cpu::<f32>(&config, data, 1);
    let blueprint = trainer.blueprint();
    let every = &blueprint.measuring[0];
    let count = |plan: &Plan| plan.bundles(&Target::default(), Limits::LEAST).expect("texts").len();
    let counts = [&every.gradients, &every.measure, &blueprint.update].map(count);
    println!("{inputs}-{wide}-{narrow}-10, {optimizer}, {preset}: {counts:?} dispatches");
    counts.iter().sum()
}

#[test]
fn a_step_of_a_small_network_has_few_dispatches() {
    for sizes in [[784, 512, 512, 128], [64, 32, 32, 32]] {
        for optimizer in ["momentum", "adam"] {
            let [default, off] = ["default", "off"].map(|preset| dispatches_of_a_step(sizes, optimizer, preset));
            assert!(default <= 18, "{sizes:?}, {optimizer}: {default} with statistics, dead units and noise");
            assert!(off <= 11, "{sizes:?}, {optimizer}: {off} without");
        }
    }
}

/// What has to be in memory at the worst moment, in bytes of f64: told from the graph alone, not from a plan.
///
/// A value is held if another than an elementwise op makes it or reads it; elementwise values that only such ops read can be
/// computed anew where they are read, from held values behind them, which have to be there then. A held value lives from its
/// maker to its last reader, an elementwise one left out, since that may write over it. What the caller has (sources, wanted values) is not counted; a reshape is what it is a reshape of.
fn held_at_worst(g: &Graph, wanted: &[ValueId]) -> usize {
    let elementwise = |i: usize| g.nodes()[i].op_as::<Pointwise>().is_some();
    // Behind its reshapes.
    let root = |mut id: ValueId| {
        while let Some(node) = g.maker(id).filter(|node| node.op_as::<Reshape>().is_some()) {
            id = node.inputs[0];
        }
        id
    };
    let given: HashSet<ValueId> = wanted.iter().map(|&id| root(id)).collect();
    let count = g.nodes().len();
    let is_step = |i: &usize| g.nodes()[*i].op_as::<Reshape>().is_none();
    let made: HashMap<ValueId, usize> =
        (0..count).filter(is_step).flat_map(|i| g.nodes()[i].outputs.iter().map(move |&id| (id, i))).collect();
    let mut held: HashSet<ValueId> =
        made.iter().filter(|(_, maker)| !elementwise(**maker)).map(|(&id, _)| id).collect();
    for i in (0..count).filter(is_step).filter(|&i| !elementwise(i)) {
        held.extend(g.nodes()[i].inputs.iter().map(|&id| root(id)));
    }
    let mut last: HashMap<ValueId, usize> = HashMap::new();
    for i in (0..count).filter(is_step) {
        let makes_held = g.nodes()[i].outputs.iter().any(|id| held.contains(id) || given.contains(id));
        let mut open: Vec<ValueId> = if makes_held { g.nodes()[i].inputs.clone() } else { Vec::new() };
        while let Some(id) = open.pop().map(root) {
            match made.get(&id) {
                Some(_) if held.contains(&id) || given.contains(&id) => {
                    last.insert(id, i - usize::from(elementwise(i)));
                }
                Some(&maker) => open.extend(&g.nodes()[maker].inputs),
                None => {}
            }
        }
    }
    let bytes = |id: ValueId| 8 * g.shape(id).len();
    let lives = last.iter().filter(|(id, _)| held.contains(*id) && !given.contains(*id));
    let lives: Vec<(usize, usize, usize)> = lives.map(|(&id, &end)| (made[&id], end, bytes(id))).collect();
    let at = |i: usize| lives.iter().filter(|life| life.0 <= i && i <= life.1).map(|life| life.2).sum();
    (0..count).map(at).max().unwrap_or(0)
}

/// The bytes of f64 that private values of this plan take at the worst moment, could they move: each lives from the step that writes it to
/// the last that reads it before its buffer is written again.
fn alive_at_worst(plan: &Plan) -> usize {
    let mut lives: Vec<(usize, usize, usize)> = Vec::new();
    let mut now: HashMap<usize, usize> = HashMap::new();
    for (i, step) in plan.steps.iter().enumerate() {
        step.inputs.iter().filter_map(|view| now.get(&view.buffer)).for_each(|&value| lives[value].1 = i);
        for view in step.outputs.iter().filter(|view| !plan.buffers[view.buffer].shared) {
            now.insert(view.buffer, lives.len());
            lives.push((i, i, 8 * view.ty.shape.len()));
        }
    }
    let at = |i: usize| lives.iter().filter(|life| life.0 <= i && i <= life.1).map(|life| life.2).sum();
    (0..plan.steps.len()).map(at).max().unwrap_or(0)
}

/// The graph of forward and backward of a network, with its loss and gradients as wanted values.
fn network(model: &Model, inputs: usize, rows: usize) -> (Graph, Vec<ValueId>) {
    let model = model.describe(&[inputs]).expect("a model");
    let mut g = Graph::new();
    let x = g.input("x", Type::real([rows, inputs])).expect("an input");
    let labels = g.input("labels", Type::index([rows])).expect("an input");
    let logits = model.build(&mut g, x, Mode::Train { seed: 1 }).expect("layers").output;
    let losses = g.softmax_cross_entropy(logits, labels, 0.0).expect("losses");
    let loss = g.mean(losses).expect("a loss");
    let params: Vec<ValueId> = g.params().map(|(_, id)| id).collect();
    let mut wanted = gradient(&mut g, loss, &params).expect("gradients");
    wanted.push(loss);
    (g, wanted)
}

#[test]
fn networks_take_little_more_than_has_to_be_alive() {
    let stack = |widths: &[usize], activation: fn(Model) -> Model| {
        widths.iter().fold(Model::new(), |model, &width| activation(model.linear(width))).linear(10)
    };
    let growing: Vec<usize> = (1..=12).map(|i| 24 * i).collect();
    let mut above = Vec::new();
    for (name, model, inputs, of_graph, of_plan) in [
        ("20 × 64, ReLU", stack(&[64; 20], Model::relu), 64, 1.1, 1.1),
        ("512-64-300, tanh", stack(&[512, 64, 300], Model::tanh), 784, 1.2, 1.2),
        ("24 to 288, ReLU", stack(&growing, Model::relu), 24, 1.1, 1.1),
        ("300-100-200, ReLU, dropout", stack(&[300, 100, 200], |model| model.relu().dropout(0.5)), 64, 1.1, 1.1),
        // Whose derivatives are long chains: each of their values counts as a moment of its own in the graph, where a plan has one step.
        ("24 to 288, GELU", stack(&growing, Model::gelu), 24, 1.1, 1.1),
        ("96-32-200-48-150, GELU", stack(&[96, 32, 200, 48, 150], Model::gelu), 64, 1.1, 1.1),
        ("6 × 128, layer norm, GELU", stack(&[128; 6], |model| model.layer_norm().gelu()), 128, 1.35, 1.1),
    ] {
        let (g, wanted) = network(&model, inputs, 32);
        let plan = plan_of(&g, &wanted, Fusion::Full);
        let taken = plan.private_bytes(8) as f64;
        let ratios = [held_at_worst(&g, &wanted), alive_at_worst(&plan)].map(|least| taken / least as f64);
        println!("{name}: {taken} bytes, {ratios:.3?} of what has to be alive by the graph and in the plan");
        if ratios[0] > of_graph || !(1.0..=of_plan).contains(&ratios[1]) {
            above.push(format!("{name}: {ratios:?}"));
        }
    }
    assert!(above.is_empty(), "{above:?}");
}

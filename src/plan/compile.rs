//! The compiler: graph to plan.

use super::{Buffer, Plan, Step, View, fuse, memory};
use crate::base::{DType, Error, Result, Type};
use crate::graph::{Graph, Phase, Source, ValueId};
use crate::ops::layout::Reshape;
use crate::ops::pointwise::{Arg, Code, Fun, Pointwise};
use std::collections::HashMap;
use std::sync::Arc;

/// Where a value lives in shared memory: part of a named buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The name of the buffer.
    pub buffer: String,
    /// The first element in it.
    pub offset: usize,
    /// The length of the whole buffer.
    pub len: usize,
}

impl Place {
    /// A buffer of its own, of the value's size.
    pub fn whole(buffer: impl Into<String>, ty: Type) -> Self {
        Self { buffer: buffer.into(), offset: 0, len: ty.shape.len() }
    }
}

/// Compiles a graph. `places` says where sources are found and where the wanted values are put; a source that it does
/// not name is a shared buffer of the source's name. Only what the wanted values need is computed.
///
/// # Errors
/// If the graph does not type-check, or a placed value does not fit its buffer.
pub fn compile(name: &str, graph: &Graph, places: &[(ValueId, Place)]) -> Result<Plan> {
    graph.type_check()?;
    let wanted: Vec<ValueId> = places.iter().map(|(id, _)| *id).filter(|&id| graph.maker(id).is_some()).collect();
    let (graph, map) = fuse::fuse(graph, &wanted)?;
    graph.type_check()?;
    let places: Vec<(ValueId, Place)> =
        places.iter().filter_map(|(id, place)| map.get(id).map(|&id| (id, place.clone()))).collect();
    let mut builder = Builder { graph: &graph, buffers: Vec::new(), names: HashMap::new(), views: HashMap::new() };
    let mut copies = Vec::new();
    for (id, place) in places {
        let view = builder.place(id, &place)?;
        if builder.views.contains_key(&id) || graph.constant_of(id).is_some() {
            copies.push((id, view));
        } else {
            builder.views.insert(id, view);
        }
    }
    builder.sources()?;
    builder.look_through_reshapes();
    let mut steps = Vec::new();
    for node in graph.nodes() {
        builder.alias_outputs(node);
        if node.op_as::<Reshape>().is_some() && builder.elide_reshape(node) {
            continue;
        }
        let inputs = node.inputs.iter().map(|&id| builder.view(id)).collect();
        let outputs = node.outputs.iter().map(|&id| builder.view(id)).collect();
        steps.push(Step { op: node.op.clone(), inputs, outputs, scope: node.scope.clone(), phase: node.phase });
    }
    for (id, view) in copies {
        steps.push(builder.copy(id, view));
    }
    let mut plan = Plan { name: name.to_owned(), buffers: builder.buffers, steps };
    hoist(&mut plan);
    hoist_widened(&mut plan);
    let plan = memory::colour(plan);
    check(&plan)?;
    Ok(plan)
}

struct Builder<'a> {
    graph: &'a Graph,
    buffers: Vec<Buffer>,
    names: HashMap<String, usize>,
    views: HashMap<ValueId, View>,
}

impl Builder<'_> {
    fn place(&mut self, id: ValueId, place: &Place) -> Result<View> {
        let ty = self.graph.ty(id);
        if place.offset + ty.shape.len() > place.len {
            let message = format!("{ty} at {} does not fit into {} elements", place.offset, place.len);
            return Err(Error::failure(&place.buffer, message));
        }
        let buffer = match self.names.get(&place.buffer) {
            Some(&known) => known,
            None => self.add(place.buffer.clone(), ty.dtype, place.len, true),
        };
        if self.buffers[buffer].len != place.len || self.buffers[buffer].dtype != ty.dtype {
            return Err(Error::failure(&place.buffer, "it is named twice with different sizes or types"));
        }
        Ok(View { buffer, offset: place.offset, ty })
    }

    fn add(&mut self, name: String, dtype: DType, len: usize, shared: bool) -> usize {
        if shared {
            self.names.insert(name.clone(), self.buffers.len());
        }
        self.buffers.push(Buffer { name, dtype, len, shared, lifetime: (0, 0) });
        self.buffers.len() - 1
    }

    /// Sources that no place was given for: shared buffers of their own names.
    fn sources(&mut self) -> Result<()> {
        for (i, value) in self.graph.values().iter().enumerate() {
            let id = ValueId(i as u32);
            if let (Source::Param(name) | Source::Input(name), false) = (&value.source, self.views.contains_key(&id)) {
                let view = self.place(id, &Place::whole(name.clone(), value.ty))?;
                self.views.insert(id, view);
            }
        }
        Ok(())
    }

    /// What is placed after a reshape is made in its place at once, instead of being copied there; unless a step would then
    /// read the buffer that it writes. (With one row the gradient of a bias is the signal at its layer, of which the gradient
    /// of the weight beside it is made.)
    fn look_through_reshapes(&mut self) {
        for node in self.graph.nodes().iter().rev().filter(|node| node.op_as::<Reshape>().is_some()) {
            let from = node.inputs[0];
            let made = self.graph.maker(from).is_some_and(|maker| maker.op.in_place().is_empty());
            let Some(&view) = self.views.get(&node.outputs[0]).filter(|_| made && !self.views.contains_key(&from))
            else {
                continue;
            };
            if !self.meets(from, view.buffer) {
                self.views.insert(from, View { ty: self.graph.ty(from), ..view });
            }
        }
    }

    /// Whether the maker of a value reads this buffer, or a reader of it or of its reshapes writes there.
    fn meets(&self, id: ValueId, buffer: usize) -> bool {
        let lies_there = |id: &ValueId| self.views.get(id).is_some_and(|view| view.buffer == buffer);
        let mut same = vec![id];
        let mut writes = false;
        for node in self.graph.nodes().iter().filter(|node| node.op_as::<Reshape>().is_some()) {
            if same.contains(&node.inputs[0]) {
                same.push(node.outputs[0]);
            }
        }
        for node in self.graph.nodes().iter().filter(|node| node.op_as::<Reshape>().is_none()) {
            writes |= node.inputs.iter().any(|input| same.contains(input)) && node.outputs.iter().any(lies_there);
        }
        writes || self.graph.maker(id).is_some_and(|maker| maker.inputs.iter().any(lies_there))
    }

    /// Outputs that share a buffer with an input lie where the input lies.
    fn alias_outputs(&mut self, node: &crate::graph::Node) {
        for &(output, input) in node.op.in_place() {
            let view = self.view(node.inputs[input]);
            self.views.insert(node.outputs[output], view);
        }
    }

    /// Makes a reshape a view, unless its output was placed elsewhere.
    fn elide_reshape(&mut self, node: &crate::graph::Node) -> bool {
        let view = View { ty: self.graph.ty(node.outputs[0]), ..self.view(node.inputs[0]) };
        if self.views.get(&node.outputs[0]).is_some_and(|placed| *placed != view) {
            return false;
        }
        self.views.insert(node.outputs[0], view);
        true
    }

    fn view(&mut self, id: ValueId) -> View {
        if let Some(view) = self.views.get(&id) {
            return *view;
        }
        let ty = self.graph.ty(id);
        let buffer = self.add(format!("%{}", id.index()), ty.dtype, ty.shape.len(), false);
        let view = View { buffer, offset: 0, ty };
        self.views.insert(id, view);
        view
    }

    /// A step that copies a value to a second place.
    fn copy(&mut self, id: ValueId, to: View) -> Step {
        let constant = self.graph.constant_of(id).map(Arg::constant);
        let code = Code::single(Fun::Identity, &[constant.unwrap_or(Arg::In(0))]);
        let inputs = if constant.is_some() { vec![] } else { vec![self.view(id)] };
        let phase = self.graph.maker(id).map_or(Phase::default(), |node| node.phase);
        let op = Arc::new(Pointwise { code, shape: to.ty.shape });
        Step { op, inputs, outputs: vec![to], scope: "copy".into(), phase }
    }
}

/// Moves steps whose results no other step reads, which are measurements, up to where their inputs have just been made:
/// there they are in cache, and a buffer that waits for nothing else can be used again.
fn hoist(plan: &mut Plan) {
    let mut read = vec![false; plan.buffers.len()];
    plan.steps.iter().flat_map(|step| &step.inputs).for_each(|view| read[view.buffer] = true);
    for i in 0..plan.steps.len() {
        let step = &plan.steps[i];
        if !step.op.in_place().is_empty() || step.outputs.iter().any(|view| read[view.buffer]) {
            continue;
        }
        let inputs: Vec<usize> = step.inputs.iter().map(|view| view.buffer).collect();
        let made = |other: &Step| other.outputs.iter().any(|view| inputs.contains(&view.buffer));
        let after = plan.steps[..i].iter().rposition(made).map_or(0, |last| last + 1);
        plan.steps[after..=i].rotate_right(1);
    }
}

/// Steps that widen values of half precision for measurements alone are made again for each of these, right in front of it, and both are
/// moved up to where the value of half precision has just been made: so no widened copy waits for anything.
fn hoist_widened(plan: &mut Plan) {
    let makers = |plan: &Plan, buffer: usize| -> Vec<usize> {
        (0..plan.steps.len()).filter(|&i| plan.steps[i].outputs.iter().any(|view| view.buffer == buffer)).collect()
    };
    let is_widening = |plan: &Plan, step: &Step| {
        let reads_half = step.inputs.iter().any(|view| plan.buffers[view.buffer].dtype == DType::Half);
        let op: &dyn std::any::Any = step.op.as_ref();
        let [output] = step.outputs[..] else { return false };
        let readers = |other: &&Step| other.inputs.iter().any(|view| view.buffer == output.buffer);
        let is_read = |other: &Step| {
            let reads =
                |step: &Step| step.inputs.iter().any(|view| other.outputs.iter().any(|out| out.buffer == view.buffer));
            plan.steps.iter().any(|step| !std::ptr::eq(step, other) && reads(step))
        };
        reads_half
            && op.is::<Pointwise>()
            && !plan.buffers[output.buffer].shared
            && plan.buffers[output.buffer].dtype == DType::Real
            && plan.steps.iter().filter(readers).all(|reader| !is_read(reader))
    };
    let widening: Vec<Step> = plan.steps.iter().filter(|step| is_widening(plan, step)).cloned().collect();
    let widened: HashMap<usize, Step> = widening.into_iter().map(|step| (step.outputs[0].buffer, step)).collect();
    let reads = |step: &Step| step.inputs.iter().any(|view| widened.contains_key(&view.buffer));
    plan.steps.retain(|step| !step.outputs.iter().any(|view| widened.contains_key(&view.buffer)));
    let (mut measuring, rest): (Vec<Step>, Vec<Step>) = std::mem::take(&mut plan.steps).into_iter().partition(reads);
    plan.steps = rest;
    for step in &mut measuring {
        let mut group: Vec<Step> = Vec::new();
        for view in &mut step.inputs {
            if let Some(widening) = widened.get(&view.buffer) {
                plan.buffers.push(plan.buffers[view.buffer].clone());
                view.buffer = plan.buffers.len() - 1;
                let output = View { buffer: view.buffer, ..widening.outputs[0] };
                group.push(Step { outputs: vec![output], ..widening.clone() });
            }
        }
        let sources = step.inputs.iter().chain(group.iter().flat_map(|widening| &widening.inputs));
        let after = sources.flat_map(|view| makers(plan, view.buffer)).max().map_or(0, |last| last + 1);
        group.push(step.clone());
        plan.steps.splice(after..after, group);
    }
}

/// What executors rely on: no buffer is read and written by one step except in place, outputs lie in different buffers,
/// and each value lies in a buffer of its element type.
fn check(plan: &Plan) -> Result<()> {
    for (i, step) in plan.steps.iter().enumerate() {
        let place = || format!("plan {}, step {i} ({})", plan.name, step.op.name());
        if let Some(view) = step.inputs.iter().chain(&step.outputs).find(|v| v.ty.dtype != plan.buffers[v.buffer].dtype)
        {
            let buffer = &plan.buffers[view.buffer];
            let message = format!("a value of {} lies in {}, which holds {:?}", view.ty, buffer.name, buffer.dtype);
            return Err(Error::failure(place(), message));
        }
        for (o, output) in step.outputs.iter().enumerate() {
            if step.outputs[..o].iter().any(|other| other.buffer == output.buffer) {
                return Err(Error::failure(place(), "two outputs lie in one buffer"));
            }
            let in_place = |input: usize| step.op.in_place().contains(&(o, input));
            let clash = |&(input, view): &(usize, &View)| view.buffer == output.buffer && !in_place(input);
            if let Some((input, _)) = step.inputs.iter().enumerate().find(clash) {
                let buffer = &plan.buffers[output.buffer].name;
                return Err(Error::failure(place(), format!("input {input} is read from {buffer}, which it writes")));
            }
        }
    }
    Ok(())
}

//! Fusion, last of all: dead code goes, elementwise chains become one program, and a program behind a matrix product
//! becomes its epilogue.

use crate::base::Result;
use crate::graph::{Graph, Node, NodeId, Source, ValueId};
use crate::ops::matmul::MatMul;
use crate::ops::pointwise::{Code, MAX_INPUTS, Pointwise};
use std::collections::{HashMap, HashSet};

/// A producer with more inputs than this is computed once if it has several users: copies would read more than they save.
const SHARED_INPUTS_MAX: usize = 2;

/// The fused graph, and where the old values are in it. Wanted values are kept; others may be gone.
pub(super) fn fuse(graph: &Graph, wanted: &[ValueId]) -> Result<(Graph, HashMap<ValueId, ValueId>)> {
    let live = live(graph, wanted);
    let mut fusion = Fusion {
        graph,
        users: users(graph, &live),
        wanted: wanted.iter().copied().collect(),
        programs: HashMap::new(),
    };
    for (i, node) in graph.nodes().iter().enumerate().filter(|(i, _)| live[*i]) {
        if let Some(op) = node.op_as::<Pointwise>() {
            let program = fusion.absorb(op, node);
            fusion.programs.insert(NodeId(i as u32), program);
        }
    }
    fusion.rebuild(&live)
}

/// An elementwise program with its inputs, after producers were drawn in.
#[derive(Clone)]
struct Program {
    code: Code,
    inputs: Vec<ValueId>,
}

struct Fusion<'a> {
    graph: &'a Graph,
    users: HashMap<ValueId, Vec<NodeId>>,
    wanted: HashSet<ValueId>,
    programs: HashMap<NodeId, Program>,
}

/// Which nodes a wanted value depends on. Ops that work in place count as wanted.
fn live(graph: &Graph, wanted: &[ValueId]) -> Vec<bool> {
    let mut live = vec![false; graph.nodes().len()];
    for id in wanted {
        if let Source::Node(node, _) = graph.value(*id).source {
            live[node.index()] = true;
        }
    }
    for (i, node) in graph.nodes().iter().enumerate().rev() {
        live[i] |= !node.op.in_place().is_empty();
        if live[i] {
            for id in &node.inputs {
                if let Source::Node(maker, _) = graph.value(*id).source {
                    live[maker.index()] = true;
                }
            }
        }
    }
    live
}

fn users(graph: &Graph, live: &[bool]) -> HashMap<ValueId, Vec<NodeId>> {
    let mut users: HashMap<ValueId, Vec<NodeId>> = HashMap::new();
    for (i, node) in graph.nodes().iter().enumerate().filter(|(i, _)| live[*i]) {
        for &id in &node.inputs {
            users.entry(id).or_default().push(NodeId(i as u32));
        }
    }
    users
}

impl Fusion<'_> {
    /// Draws the producers of a program's inputs into it, as long as it stays within the limits.
    fn absorb(&self, op: &Pointwise, node: &Node) -> Program {
        let mut program = Program { code: op.code.clone(), inputs: node.inputs.clone() };
        let mut at = 0;
        while at < program.inputs.len() {
            match self.inlined(&program, at, op) {
                Some(larger) => {
                    program = larger;
                    at = 0;
                }
                None => at += 1,
            }
        }
        program
    }

    /// The program with the producer of its input `at` in place of that input, if that producer may go there.
    fn inlined(&self, program: &Program, at: usize, op: &Pointwise) -> Option<Program> {
        let value = program.inputs[at];
        let Source::Node(maker, _) = self.graph.value(value).source else { return None };
        let producer = self.programs.get(&maker)?;
        let (same_shape, passes_on) =
            (self.graph.shape(value) == op.shape, producer.code.is_identity() || producer.inputs.is_empty());
        if self.wanted.contains(&value) || !(same_shape || passes_on) || !self.disappears(value, producer) {
            return None;
        }
        let mut inputs: Vec<ValueId> = Vec::new();
        for &id in program.inputs.iter().filter(|&&id| id != value).chain(&producer.inputs) {
            if !inputs.contains(&id) {
                inputs.push(id);
            }
        }
        let place = |id: &ValueId| inputs.iter().position(|known| known == id).unwrap_or(0) as u8;
        let own: Vec<u8> = program.inputs.iter().map(place).collect();
        let producers: Vec<u8> = producer.inputs.iter().map(place).collect();
        let code = program.code.inline_where(
            |i| program.inputs[usize::from(i)] == value,
            &producer.code,
            &producers,
            &own,
            inputs.len() as u8,
        );
        (inputs.len() <= MAX_INPUTS && code.instrs().len() <= Code::MAX_INSTRS).then_some(Program { code, inputs })
    }

    /// Whether every user of a value is elementwise, so that the value need not be stored once all have drawn it in.
    fn disappears(&self, value: ValueId, producer: &Program) -> bool {
        let users = &self.users[&value];
        let elementwise = |user: &NodeId| self.graph.nodes()[user.index()].op_as::<Pointwise>().is_some();
        users.iter().all(elementwise) && (users.len() == 1 || producer.inputs.len() <= SHARED_INPUTS_MAX)
    }

    /// Writes the fused graph: only what is still needed, with epilogues.
    fn rebuild(&self, live: &[bool]) -> Result<(Graph, HashMap<ValueId, ValueId>)> {
        let needed = self.needed(live);
        let epilogues = self.epilogues(&needed);
        let mut fresh = Graph::new();
        let mut map = HashMap::new();
        for (i, value) in self.graph.values().iter().enumerate() {
            let id = ValueId(i as u32);
            let copy = match &value.source {
                Source::Param(name) => fresh.param(name, value.ty.shape)?,
                Source::Input(name) => fresh.input(name, value.ty)?,
                Source::Constant(x) => fresh.constant(*x),
                Source::Node(..) => continue,
            };
            map.insert(id, copy);
        }
        let products: HashSet<NodeId> = epilogues.values().copied().collect();
        for (i, node) in self.graph.nodes().iter().enumerate() {
            let id = NodeId(i as u32);
            if !needed[i] || products.contains(&id) {
                continue;
            }
            fresh.set_scope(&node.scope);
            fresh.set_phase(node.phase);
            let outputs = match (self.programs.get(&id), epilogues.get(&id)) {
                (Some(program), Some(&product)) => self.with_epilogue(&mut fresh, &map, program, product)?,
                (Some(program), None) => {
                    let inputs = inputs(&mut fresh, &map, &program.inputs)?;
                    let shape = self.graph.shape(node.outputs[0]);
                    fresh.apply_all(Pointwise { code: program.code.clone(), shape }, &inputs)?
                }
                (None, _) => {
                    let inputs = inputs(&mut fresh, &map, &node.inputs)?;
                    fresh.apply_shared(node.op.clone(), &inputs)?
                }
            };
            map.extend(node.outputs.iter().copied().zip(outputs));
        }
        Ok((fresh, map))
    }

    /// Which nodes are still needed once programs have drawn in their producers.
    fn needed(&self, live: &[bool]) -> Vec<bool> {
        let nodes = self.graph.nodes();
        let mut needed = vec![false; nodes.len()];
        for (i, node) in nodes.iter().enumerate().rev() {
            let kept = node.outputs.iter().any(|id| self.wanted.contains(id)) || !node.op.in_place().is_empty();
            needed[i] |= live[i] && kept;
            if needed[i] {
                for id in self.inputs_of(NodeId(i as u32)) {
                    if let Source::Node(maker, _) = self.graph.value(*id).source {
                        needed[maker.index()] = true;
                    }
                }
            }
        }
        needed
    }

    fn inputs_of(&self, node: NodeId) -> &[ValueId] {
        self.programs.get(&node).map_or(&self.graph.nodes()[node.index()].inputs, |program| &program.inputs)
    }

    /// Which program becomes the epilogue of which matrix product: the product's only reader, of its shape.
    fn epilogues(&self, needed: &[bool]) -> HashMap<NodeId, NodeId> {
        let mut readers: HashMap<ValueId, Vec<NodeId>> = HashMap::new();
        for id in (0..needed.len()).filter(|&i| needed[i]).map(|i| NodeId(i as u32)) {
            self.inputs_of(id).iter().for_each(|&input| readers.entry(input).or_default().push(id));
        }
        let mut epilogues = HashMap::new();
        for (i, node) in self.graph.nodes().iter().enumerate().filter(|(i, _)| needed[*i]) {
            let value = node.outputs[0];
            let (Some(_), Some([reader])) = (node.op_as::<MatMul>(), readers.get(&value).map(Vec::as_slice)) else {
                continue;
            };
            let Some(program) = self.programs.get(reader) else { continue };
            let shape = self.graph.shape(self.graph.nodes()[reader.index()].outputs[0]);
            // Two inputs of the product, and the product itself is no buffer any more.
            let fits = program.inputs.len() < MAX_INPUTS && shape == self.graph.shape(value);
            if fits && !self.wanted.contains(&value) && !epilogues.contains_key(reader) {
                epilogues.insert(*reader, NodeId(i as u32));
            }
        }
        epilogues
    }

    fn with_epilogue(
        &self,
        fresh: &mut Graph,
        map: &HashMap<ValueId, ValueId>,
        program: &Program,
        product: NodeId,
    ) -> Result<Vec<ValueId>> {
        let node = &self.graph.nodes()[product.index()];
        let op = node.op_as::<MatMul>().expect("epilogues belong to matrix products");
        let value = node.outputs[0];
        let others: Vec<ValueId> = program.inputs.iter().copied().filter(|&id| id != value).collect();
        // Input 0 of an epilogue is the element of the product.
        let order: Vec<u8> = program
            .inputs
            .iter()
            .map(|id| others.iter().position(|other| other == id).map_or(0, |i| i as u8 + 1))
            .collect();
        let code = program.code.with_inputs(&order, others.len() as u8 + 1);
        let all: Vec<ValueId> = node.inputs.iter().chain(&others).copied().collect();
        let inputs = inputs(fresh, map, &all)?;
        fresh.apply_all(MatMul { epilogue: Some(code), ..op.clone() }, &inputs)
    }
}

/// The new values of old ones; a constant that an op reads as a value becomes a filled one.
fn inputs(fresh: &mut Graph, map: &HashMap<ValueId, ValueId>, old: &[ValueId]) -> Result<Vec<ValueId>> {
    old.iter()
        .map(|id| {
            let new = map[id];
            match fresh.constant_of(new) {
                Some(_) => {
                    let shape = fresh.shape(new);
                    fresh.filled(new, shape)
                }
                None => Ok(new),
            }
        })
        .collect()
}

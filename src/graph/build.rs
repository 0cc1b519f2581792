//! The graph and how it grows: sources, nodes, one node for equal ops on equal inputs.

use super::{NodeView, Op, Phase};
use crate::base::{Error, Result, Shape, Type};
use std::collections::HashMap;
use std::sync::Arc;

/// A value of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(crate) u32);

/// A node of a graph. Nodes are numbered in an order in which inputs come before their uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) u32);

impl ValueId {
    /// The position in [`Graph::values`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl NodeId {
    /// The position in [`Graph::nodes`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a value comes from when no node makes it.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A trained tensor, by name: `0.weight`.
    Param(String),
    /// What the caller binds before a step: a batch, an arena, a table.
    Input(String),
    /// The same number everywhere.
    Constant(f64),
    /// Made by this node, as its output with this position.
    Node(NodeId, usize),
}

/// A typed value.
#[derive(Clone, Debug)]
pub struct Value {
    /// Element type and shape.
    pub ty: Type,
    /// Where it comes from.
    pub source: Source,
}

/// An op applied to values.
#[derive(Clone, Debug)]
pub struct Node {
    /// What is done.
    pub op: Arc<dyn Op>,
    /// To what.
    pub inputs: Vec<ValueId>,
    /// What comes out.
    pub outputs: Vec<ValueId>,
    /// The layer or purpose that it belongs to, for print-outs and errors.
    pub scope: Arc<str>,
    /// What part of a training step it is.
    pub phase: Phase,
}

impl Node {
    /// The node's op, if it is of this kind.
    pub fn op_as<T: Op>(&self) -> Option<&T> {
        (self.op.as_ref() as &dyn std::any::Any).downcast_ref()
    }

    /// Inputs and outputs as derivative rules see them.
    pub fn view(&self) -> NodeView<'_> {
        NodeView { inputs: &self.inputs, outputs: &self.outputs }
    }
}

/// A static graph of typed values.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    values: Vec<Value>,
    nodes: Vec<Node>,
    known: HashMap<(String, Vec<ValueId>), NodeId>,
    sources: HashMap<String, ValueId>,
    scope: Option<Arc<str>>,
    phase: Phase,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// All values, in the order of their making.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// All nodes, inputs before uses.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The value with this id.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// The type of a value.
    pub fn ty(&self, id: ValueId) -> Type {
        self.value(id).ty
    }

    /// The shape of a value.
    pub fn shape(&self, id: ValueId) -> Shape {
        self.value(id).ty.shape
    }

    /// The node that makes a value, if one does.
    pub fn maker(&self, id: ValueId) -> Option<&Node> {
        match self.value(id).source {
            Source::Node(node, _) => Some(&self.nodes[node.index()]),
            _ => None,
        }
    }

    /// The number that a value has everywhere, if it is a constant.
    pub fn constant_of(&self, id: ValueId) -> Option<f64> {
        match self.value(id).source {
            Source::Constant(x) => Some(x),
            _ => None,
        }
    }

    /// The parameters in the order of their making: name and value.
    pub fn params(&self) -> impl Iterator<Item = (&str, ValueId)> {
        self.values.iter().enumerate().filter_map(|(i, value)| match &value.source {
            Source::Param(name) => Some((name.as_str(), ValueId(i as u32))),
            _ => None,
        })
    }

    /// The inputs in the order of their making: name and value.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, ValueId)> {
        self.values.iter().enumerate().filter_map(|(i, value)| match &value.source {
            Source::Input(name) => Some((name.as_str(), ValueId(i as u32))),
            _ => None,
        })
    }

    /// The nodes made from here on belong to this layer or purpose.
    pub fn set_scope(&mut self, scope: &str) {
        self.scope = Some(scope.into());
    }

    /// The layer or purpose that new nodes belong to.
    pub fn scope(&self) -> Arc<str> {
        self.scope.clone().unwrap_or_else(|| "".into())
    }

    /// The nodes made from here on are part of this phase.
    pub fn set_phase(&mut self, phase: Phase) {
        self.phase = phase;
    }

    /// Where an error with this op is: the scope, if there is one, and the op.
    pub(crate) fn place(&self, op: &str) -> String {
        match &self.scope {
            Some(scope) if !scope.is_empty() => format!("{scope}: {op}"),
            _ => op.to_owned(),
        }
    }

    /// A trained tensor. Asked for twice under one name, it is the same value.
    pub fn param(&mut self, name: &str, shape: impl Into<Shape>) -> Result<ValueId> {
        self.source(name, Source::Param(name.to_owned()), Type::real(shape))
    }

    /// A value that the caller binds. Asked for twice under one name, it is the same value.
    pub fn input(&mut self, name: &str, ty: Type) -> Result<ValueId> {
        self.source(name, Source::Input(name.to_owned()), ty)
    }

    fn source(&mut self, name: &str, source: Source, ty: Type) -> Result<ValueId> {
        if let Some(&known) = self.sources.get(name) {
            let value = self.value(known);
            if value.ty != ty || value.source != source {
                return Err(Error::input(name, format!("it is {} already and cannot be {ty} as well", value.ty)));
            }
            return Ok(known);
        }
        let id = self.push(Value { ty, source });
        self.sources.insert(name.to_owned(), id);
        Ok(id)
    }

    /// The scalar constant `x`.
    pub fn constant(&mut self, x: f64) -> ValueId {
        let known = self.values.iter().position(|value| match value.source {
            Source::Constant(y) => x.to_bits() == y.to_bits(),
            _ => false,
        });
        match known {
            Some(i) => ValueId(i as u32),
            None => self.push(Value { ty: Type::real(Shape::SCALAR), source: Source::Constant(x) }),
        }
    }

    fn push(&mut self, value: Value) -> ValueId {
        self.values.push(value);
        ValueId(self.values.len() as u32 - 1)
    }

    /// Applies an op with one output.
    pub fn apply(&mut self, op: impl Op, inputs: &[ValueId]) -> Result<ValueId> {
        let outputs = self.apply_all(op, inputs)?;
        assert_eq!(outputs.len(), 1, "an op with several outputs: use apply_all");
        Ok(outputs[0])
    }

    /// Applies an op. An equal op on equal inputs is not made twice, unless it works in place.
    ///
    /// # Errors
    /// If the input types do not fit: the error names the scope, the op and the types.
    pub fn apply_all(&mut self, op: impl Op, inputs: &[ValueId]) -> Result<Vec<ValueId>> {
        self.apply_shared(Arc::new(op), inputs)
    }

    /// [`Graph::apply_all`] for an op that is shared already, as when a graph is rebuilt.
    pub fn apply_shared(&mut self, op: Arc<dyn Op>, inputs: &[ValueId]) -> Result<Vec<ValueId>> {
        let key = (format!("{op:?}"), inputs.to_vec());
        let pure = op.in_place().is_empty();
        if let Some(&known) = self.known.get(&key).filter(|_| pure) {
            return Ok(self.nodes[known.index()].outputs.clone());
        }
        let types: Vec<Type> = inputs.iter().map(|&id| self.ty(id)).collect();
        let scope = self.scope();
        let output_types = op.infer(&types).map_err(|error| Error::input(self.place(op.name()), error.message()))?;
        let node = NodeId(self.nodes.len() as u32);
        let outputs = output_types
            .into_iter()
            .enumerate()
            .map(|(i, ty)| self.push(Value { ty, source: Source::Node(node, i) }))
            .collect::<Vec<_>>();
        self.nodes.push(Node { op, inputs: inputs.to_vec(), outputs: outputs.clone(), scope, phase: self.phase });
        self.known.insert(key, node);
        Ok(outputs)
    }

    /// Infers every type again and compares: the check that each stage of compilation makes.
    ///
    /// # Errors
    /// Names the node whose types do not follow from its inputs, or that reads a value made later.
    pub fn type_check(&self) -> Result<()> {
        for (i, node) in self.nodes.iter().enumerate() {
            let place = || format!("node {i} ({}, {})", node.op.name(), node.scope);
            if let Some(late) = node.inputs.iter().find(|&&id| match self.value(id).source {
                Source::Node(maker, _) => maker.index() >= i,
                _ => false,
            }) {
                return Err(Error::failure(place(), format!("it reads %{} before it is made", late.0)));
            }
            let types: Vec<Type> = node.inputs.iter().map(|&id| self.ty(id)).collect();
            let outputs: Vec<Type> = node.outputs.iter().map(|&id| self.ty(id)).collect();
            let inferred = node.op.infer(&types)?;
            if inferred != outputs {
                return Err(Error::failure(
                    place(),
                    format!("it should give {inferred:?}, the graph says {outputs:?}"),
                ));
            }
        }
        Ok(())
    }
}

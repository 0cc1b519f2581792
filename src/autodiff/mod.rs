//! Reverse mode, graph in and graph out: the derivative is more graph, so it can be applied again.

use crate::base::{DType, Error, Result};
use crate::graph::{Derivative, Graph, NodeId, Source, ValueId};
use crate::ops::{layout::Reshape, pointwise::Pointwise, reduce::Sum};
use std::collections::HashMap;

/// ∂y/∂x for a scalar `y` and each `x` of `wanted`, appended to the graph. A value that `y` does not depend on gets zeros.
///
/// ```
/// use steepest::{autodiff, base::Type, graph::Graph};
/// let mut g = Graph::new();
/// let x = g.input("x", Type::real([3]))?;
/// let square = g.mul(x, x)?;
/// let y = g.sum(square)?;
/// let dy = autodiff::gradient(&mut g, y, &[x])?[0]; // 2x
/// let total = g.sum(dy)?;
/// let second = autodiff::gradient(&mut g, total, &[x])?[0]; // 2
/// assert_eq!(g.shape(second), g.shape(x));
/// # Ok::<(), steepest::base::Error>(())
/// ```
///
/// # Errors
/// If `y` is no scalar, a wanted value is an index, or an op on the way has no derivative: the error names it.
pub fn gradient(graph: &mut Graph, y: ValueId, wanted: &[ValueId]) -> Result<Vec<ValueId>> {
    if graph.shape(y).len() != 1 {
        let message = format!("only a scalar has a gradient, this value is {}", graph.ty(y));
        return Err(Error::input("gradient", message).help("sum or average it first"));
    }
    if let Some(&index) = wanted.iter().find(|&&x| graph.ty(x).dtype == DType::Index) {
        let message = format!("{} holds indices and has no derivative", name_of(graph, index));
        return Err(Error::input("gradient", message));
    }
    let seed = graph.constant(1.0);
    let seed = graph.expand(seed, graph.shape(y))?;
    vector_jacobian(graph, &[(y, seed)], wanted)
}

/// Σ ⟨seed, ∂y/∂x⟩ over the pairs (y, seed), for each `x` of `wanted`.
///
/// # Errors
/// As [`gradient`].
pub fn vector_jacobian(graph: &mut Graph, seeds: &[(ValueId, ValueId)], wanted: &[ValueId]) -> Result<Vec<ValueId>> {
    let grads = reverse(graph, seeds, wanted, &[])?;
    wanted
        .iter()
        .map(|x| {
            let grad = match grads.get(x) {
                Some(&grad) => grad,
                None => graph.constant(0.0),
            };
            graph.expand(grad, graph.shape(*x))
        })
        .collect()
}

/// One walk over the nodes from the last to the first. Nodes that make a value of `cut` are not walked through.
///
/// A gradient may be a scalar constant that stands for a whole value, so that the ones of a sum cost nothing.
fn reverse(
    graph: &mut Graph,
    seeds: &[(ValueId, ValueId)],
    wanted: &[ValueId],
    cut: &[ValueId],
) -> Result<HashMap<ValueId, ValueId>> {
    let last = graph.nodes().len();
    let reaches = depends_on(graph, wanted);
    let mut grads: HashMap<ValueId, ValueId> = HashMap::new();
    for &(y, seed) in seeds {
        accumulate(graph, &mut grads, y, seed)?;
    }
    for i in (0..last).rev() {
        let node = graph.nodes()[i].clone();
        let needed = node.outputs.iter().any(|id| reaches[id.index()] && !cut.contains(id));
        if !needed || node.outputs.iter().all(|id| !grads.contains_key(id)) {
            continue;
        }
        graph.set_scope(&node.scope);
        let takes_constants =
            node.op_as::<Pointwise>().is_some() || node.op_as::<Sum>().is_some() || node.op_as::<Reshape>().is_some();
        let outs = node.outputs.iter().map(|id| match grads.get(id) {
            Some(&grad) if !takes_constants => graph.expand(grad, graph.shape(*id)).map(Some),
            grad => Ok(grad.copied()),
        });
        let outs = outs.collect::<Result<Vec<Option<ValueId>>>>()?;
        let by_input = match node.op.derivative(graph, node.view(), &outs)? {
            Derivative::Inputs(by_input) => by_input,
            Derivative::OfComposition => through_composition(graph, NodeId(i as u32), outs[0])?,
            Derivative::Undefined(why) => {
                let place = format!("{}: {}", node.scope, node.op.name());
                return Err(Error::input(place, format!("it cannot be differentiated: {why}")));
            }
        };
        for (&input, grad) in node.inputs.iter().zip(by_input) {
            if let Some(grad) = grad.filter(|_| reaches[input.index()]) {
                accumulate(graph, &mut grads, input, grad)?;
            }
        }
    }
    Ok(grads)
}

/// Which of the values present depend on a wanted one.
fn depends_on(graph: &Graph, wanted: &[ValueId]) -> Vec<bool> {
    let mut reaches = vec![false; graph.values().len()];
    wanted.iter().for_each(|x| reaches[x.index()] = true);
    for node in graph.nodes() {
        if node.inputs.iter().any(|id| reaches[id.index()]) {
            node.outputs.iter().for_each(|id| reaches[id.index()] = true);
        }
    }
    reaches
}

fn accumulate(g: &mut Graph, grads: &mut HashMap<ValueId, ValueId>, x: ValueId, grad: ValueId) -> Result<()> {
    let total = match grads.get(&x) {
        Some(&before) => g.add(before, grad)?,
        None => grad,
    };
    grads.insert(x, total);
    Ok(())
}

/// The derivative of an op that has no rule of its own: its composition is built beside it and differentiated.
fn through_composition(graph: &mut Graph, node: NodeId, grad: Option<ValueId>) -> Result<Vec<Option<ValueId>>> {
    let node = graph.nodes()[node.index()].clone();
    let Some(grad) = grad else { return Ok(vec![None; node.inputs.len()]) };
    let composition = node.op.composition(graph, &node.inputs);
    let y = composition.unwrap_or_else(|| panic!("{} names a composition and has none", node.op.name()))?;
    let leaves: Vec<ValueId> = node.inputs.iter().copied().filter(|&id| graph.ty(id).dtype == DType::Real).collect();
    // Cut at the inputs: what lies behind them is the caller's to differentiate, also where one depends on another.
    let grads = reverse(graph, &[(y, grad)], &leaves, &leaves)?;
    // An input given twice is one leaf: its gradient is whole at the first place.
    let first = |i: usize| !node.inputs[..i].contains(&node.inputs[i]);
    Ok((0..node.inputs.len()).map(|i| grads.get(&node.inputs[i]).copied().filter(|_| first(i))).collect())
}

fn name_of(graph: &Graph, id: ValueId) -> String {
    match &graph.value(id).source {
        Source::Param(name) | Source::Input(name) => name.clone(),
        _ => format!("%{}", id.index()),
    }
}

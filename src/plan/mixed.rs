//! Mixed precision: which values of a graph are stored in half precision, and the roundings that make them so.

use crate::base::{DType, Result};
use crate::graph::{Graph, Node, Source, ValueId};
use crate::ops::matmul::MatMul;

/// A graph whose matrix products have factors of half precision, and where its values are there.
///
/// The factors, and the values of `also`, are rounded where they are made, and whatever else reads them reads them rounded: so they are
/// stored once, in half of the memory. Sums, and all other values, stay in full precision; an op that takes no half precision is given a
/// widened copy. Derivatives are made before this, so that rounding counts as the identity, as in PyTorch's autocast.
///
/// # Errors
/// If the graph does not type-check.
pub fn halve(graph: &Graph, also: &[ValueId]) -> Result<(Graph, Vec<ValueId>)> {
    let halved = halved(graph, also);
    let mut fresh = Graph::new();
    let mut map: Vec<ValueId> = Vec::with_capacity(graph.values().len());
    // Values are numbered in the order of their making, sources and outputs alike.
    let mut nodes = graph.nodes().iter();
    while map.len() < graph.values().len() {
        let id = map.len();
        let value = &graph.values()[id];
        if !matches!(value.source, Source::Node(..)) {
            // The rounding of a weight or an input is no part of the layer that was made before it.
            fresh.set_scope("half precision");
        }
        let made = match &value.source {
            Source::Param(name) => vec![fresh.param(name, value.ty.shape)?],
            Source::Input(name) => vec![fresh.input(name, value.ty)?],
            Source::Constant(x) => vec![fresh.constant(*x)],
            Source::Node(..) => apply(&mut fresh, nodes.next().expect("a node makes it"), &map)?,
        };
        for (i, made) in made.into_iter().enumerate() {
            map.push(if halved[id + i] { fresh.half(made)? } else { made });
        }
    }
    Ok((fresh, map))
}

/// The factors of products, and others.
fn halved(graph: &Graph, also: &[ValueId]) -> Vec<bool> {
    let mut halved = vec![false; graph.values().len()];
    let products = graph.nodes().iter().filter(|node| node.op_as::<MatMul>().is_some());
    for id in products.flat_map(|node| &node.inputs[..2]).chain(also) {
        halved[id.index()] = graph.ty(*id).dtype == DType::Real && graph.constant_of(*id).is_none();
    }
    halved
}

/// The node again, on the new values of its inputs.
fn apply(fresh: &mut Graph, node: &Node, map: &[ValueId]) -> Result<Vec<ValueId>> {
    fresh.set_scope(&node.scope);
    fresh.set_phase(node.phase);
    let mut inputs: Vec<ValueId> = node.inputs.iter().map(|id| map[id.index()]).collect();
    let types: Vec<_> = inputs.iter().map(|&id| fresh.ty(id)).collect();
    if node.op.infer(&types).is_err() {
        for input in &mut inputs {
            *input = fresh.widened(*input)?;
        }
    }
    fresh.apply_shared(node.op.clone(), &inputs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Type;

    #[test]
    fn factors_are_halves_and_all_else_is_as_it_was() {
        let mut g = Graph::new();
        g.set_scope("a layer");
        let x = g.input("x", Type::real([3, 5])).unwrap();
        let w = g.param("w", [5, 7]).unwrap();
        let product = g.matmul(x, w).unwrap();
        let relu = g.relu(product).unwrap();
        let again = g.matmul_t(relu, w, false, true).unwrap();
        let normed = g.softmax(relu).unwrap();
        let sum = g.sum(normed).unwrap();
        let (half, map) = halve(&g, &[]).unwrap();
        half.type_check().unwrap();
        let dtype = |id: ValueId| half.ty(map[id.index()]).dtype;
        assert_eq!([x, w, relu].map(dtype), [DType::Half; 3]);
        assert_eq!([product, again, normed, sum].map(dtype), [DType::Real; 4]);
        // What the softmax reads is the rounded value, widened.
        let reader = half.maker(map[normed.index()]).unwrap();
        assert_eq!(half.maker(reader.inputs[0]).unwrap().inputs, [map[relu.index()]]);
        assert_eq!(&*half.maker(map[w.index()]).unwrap().scope, "half precision");
        let (also, map) = halve(&g, &[product]).unwrap();
        assert_eq!(also.ty(map[product.index()]).dtype, DType::Half);
    }
}

//! Ops along rows: softmax and layer normalization.

use crate::common::case::{Case, Kind};
use steepest::base::{Result, Shape};
use steepest::graph::{Graph, ValueId};
use steepest::ops::norm::LayerNormGrad;

const NORMAL: Kind = Kind::Normal(1.0);
const EPSILON: f64 = 1e-5;

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        softmax("5x7", [5, 7], NORMAL).golden(),
        softmax("3x1", [3, 1], NORMAL).golden(),
        softmax("2x3x4", [2, 3, 4], NORMAL).golden(),
        softmax("extreme", [4, 9], Kind::Extreme).golden(),
        softmax("special", [9, 2], Kind::Special).golden().order(0),
        softmax("33x129", [33, 129], NORMAL),
        softmax("1x1031", [1, 1031], Kind::Normal(3.0)),
    ];
    let norms: [(&str, Shape, Kind); 4] = [
        ("5x7", [5, 7].into(), NORMAL),
        ("2x3x8", [2, 3, 8].into(), NORMAL),
        ("shifted", [4, 9].into(), Kind::Uniform(9.0, 11.0)),
        ("extreme", [4, 9].into(), Kind::Extreme),
    ];
    for (variant, shape, kind) in norms {
        cases.push(layer_norm(variant, shape, kind).golden());
        cases.push(layer_norm_grad(variant, shape, kind).golden());
    }
    cases.push(layer_norm("33x129", [33, 129], NORMAL));
    cases.push(layer_norm_grad("33x129", [33, 129], NORMAL));
    let affine = Case::new("layer_norm_affine", "layer_norm", [5, 7], |g, v| {
        let y = g.layer_norm(v[0], EPSILON)?;
        let scaled = g.mul(y, v[1])?;
        g.add(scaled, v[2])
    });
    let affine = affine.magnitude(7, |g, v| {
        let size = norm_error(g, v[0])?;
        let (scale, shift) = (g.abs(v[1])?, g.abs(v[2])?);
        let size = g.mul(size, scale)?;
        g.add(size, shift)
    });
    cases.push(affine.real([5, 7], NORMAL).real([7], NORMAL).real([7], NORMAL));
    cases
}

fn softmax(variant: &str, shape: impl Into<Shape>, kind: Kind) -> Case {
    let shape = shape.into();
    let case = Case::new(format!("softmax_{variant}"), "softmax", shape, |g, v| g.softmax(v[0]));
    // The rounding of x − max x is a relative error of the exponential.
    case.real(shape, kind).magnitude(shape.last(), move |g, v| {
        let y = g.softmax(v[0])?;
        g.scale(y, 1.0 + spread(kind))
    })
}

/// The largest difference between two numbers of a kind.
pub fn spread(kind: Kind) -> f64 {
    match kind {
        Kind::Extreme => 200.0,
        Kind::Normal(factor) => 10.0 * factor,
        _ => 1.0,
    }
}

fn layer_norm(variant: &str, shape: impl Into<Shape>, kind: Kind) -> Case {
    let shape = shape.into();
    let case = Case::new(format!("layer_norm_{variant}"), "layer_norm", shape, |g, v| g.layer_norm(v[0], EPSILON));
    case.real(shape, kind).magnitude(shape.last(), |g, v| norm_error(g, v[0]))
}

/// (|x| + mean |x|)/√(var x + ε) + |y|: the centring cancels, and 1/√(var x + ε) has a relative error.
fn norm_error(g: &mut Graph, x: ValueId) -> Result<ValueId> {
    let (y, inverse) = normalized(g, x)?;
    let axis = [g.shape(x).rank() - 1];
    let size = g.abs(x)?;
    let mean = g.mean_axes(size, &axis)?;
    let both = g.add(size, mean)?;
    let centring = g.mul(both, inverse)?;
    let y = g.abs(y)?;
    g.add(centring, y)
}

fn normalized(g: &mut Graph, x: ValueId) -> Result<(ValueId, ValueId)> {
    let axis = [g.shape(x).rank() - 1];
    let mean = g.mean_axes(x, &axis)?;
    let centred = g.sub(x, mean)?;
    let square = g.mul(centred, centred)?;
    let variance = g.mean_axes(square, &axis)?;
    let shifted = g.add_scalar(variance, EPSILON)?;
    let inverse = g.pow(shifted, -0.5)?;
    Ok((g.mul(centred, inverse)?, inverse))
}

fn layer_norm_grad(variant: &str, shape: impl Into<Shape>, kind: Kind) -> Case {
    let shape = shape.into();
    let build = |g: &mut Graph, v: &[ValueId]| g.apply(LayerNormGrad { epsilon: EPSILON }, v);
    let case = Case::new(format!("layer_norm_grad_{variant}"), "layer_norm_grad", shape, build);
    case.real(shape, kind).real(shape, NORMAL).magnitude(shape.last(), grad_error)
}

/// The sizes of the terms of (dy − mean dy − y·mean(dy·y))/√(var x + ε), where y bears the error of the normalization.
fn grad_error(g: &mut Graph, v: &[ValueId]) -> Result<ValueId> {
    let (_, inverse) = normalized(g, v[0])?;
    let y = norm_error(g, v[0])?;
    let dy = g.abs(v[1])?;
    let axis = [g.shape(dy).rank() - 1];
    let mean = g.mean_axes(dy, &axis)?;
    let weighted = g.mul(dy, y)?;
    let share = g.mean_axes(weighted, &axis)?;
    let along = g.mul(y, share)?;
    let sum = g.add(dy, mean)?;
    let sum = g.add(sum, along)?;
    g.mul(sum, inverse)
}

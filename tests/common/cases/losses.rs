//! Losses of each example.

use super::rows::spread;
use crate::common::case::{Case, Kind};
use steepest::graph::{Graph, ValueId};
use steepest::ops::loss::SoftmaxCrossEntropyGrad;

const NORMAL: Kind = Kind::Normal(1.0);

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for smoothing in [0.0, 0.1] {
        cases.push(cross_entropy(smoothing, "5x7", (5, 7), NORMAL).golden());
        cases.push(cross_entropy(smoothing, "extreme", (4, 9), Kind::Extreme).golden());
        cases.push(cross_entropy(smoothing, "33x129", (33, 129), NORMAL));
        cases.push(cross_entropy_grad(smoothing, "5x7", (5, 7), NORMAL).golden());
        cases.push(cross_entropy_grad(smoothing, "extreme", (4, 9), Kind::Extreme).golden());
        cases.push(cross_entropy_grad(smoothing, "33x129", (33, 129), NORMAL));
    }
    elementwise(&mut cases);
    cases
}

fn cross_entropy(smoothing: f64, variant: &str, (n, classes): (usize, usize), kind: Kind) -> Case {
    let name = format!("softmax_cross_entropy_{smoothing:?}_{variant}");
    let build = move |g: &mut Graph, v: &[ValueId]| g.softmax_cross_entropy(v[0], v[1], smoothing);
    let case = Case::new(name, "softmax_cross_entropy", [n], build);
    // Differences of logits, and the logarithm of a sum.
    case.real([n, classes], kind)
        .index([n], classes as u32)
        .magnitude(classes, move |g, _| Ok(g.constant(1.0 + spread(kind))))
}

fn cross_entropy_grad(smoothing: f64, variant: &str, (n, classes): (usize, usize), kind: Kind) -> Case {
    let name = format!("softmax_cross_entropy_grad_{smoothing:?}_{variant}");
    let case = Case::new(name, "softmax_cross_entropy_grad", [n, classes], move |g, v| {
        g.apply(SoftmaxCrossEntropyGrad { smoothing }, v)
    });
    // |dℓ|·(p·(1 + spread) + 1): probabilities with the error of their exponents, and targets of at most 1.
    let case = case.real([n, classes], kind).index([n], classes as u32).real([n], NORMAL);
    case.magnitude(classes, move |g, v| {
        let p = g.softmax(v[0])?;
        let p = g.scale(p, 1.0 + spread(kind))?;
        let both = g.add_scalar(p, 1.0)?;
        let dl = g.reshape(v[2], [n, 1])?;
        g.mul(both, dl)
    })
}

fn elementwise(cases: &mut Vec<Case>) {
    let bce = |variant: &str, shape: &[usize], z: Kind, t: Kind| {
        let name = format!("bce_with_logits_{variant}");
        let case = Case::new(name, "bce_with_logits", shape, |g, v| g.bce_with_logits(v[0], v[1]));
        case.real(shape, z).real(shape, t).magnitude(1, |g, v| {
            let soft = g.softplus(v[0])?;
            let product = g.mul(v[0], v[1])?;
            let product = g.abs(product)?;
            let size = g.abs(v[0])?;
            let sum = g.add(soft, product)?;
            g.add(sum, size)
        })
    };
    cases.push(bce("5x7", &[5, 7], Kind::Normal(3.0), Kind::Uniform(0.0, 1.0)).golden());
    cases.push(bce("extreme", &[9], Kind::Extreme, Kind::Binary).golden());
    cases.push(bce("zero", &[3], Kind::Zero, Kind::Binary).golden().order(1));
    let squared = Case::new("squared_error_5x7", "squared_error", [5, 7], |g, v| g.squared_error(v[0], v[1]));
    cases.push(squared.real([5, 7], NORMAL).real([5, 7], NORMAL).golden());
    for delta in [0.5, 1.0] {
        for (variant, shape, kind) in [("5x7", &[5, 7][..], NORMAL), ("extreme", &[9][..], Kind::Extreme)] {
            let name = format!("huber_{delta:?}_{variant}");
            let case = Case::new(name, "huber", shape, move |g, v| g.huber(v[0], v[1], delta));
            cases.push(case.real(shape, kind).real(shape, kind).golden());
        }
    }
}

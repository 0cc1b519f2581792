//! Matrix products and sums.

use crate::common::case::{Case, Kind};
use steepest::base::Shape;
use steepest::ops::reduce::Sum;

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    matmul(&mut cases);
    sums(&mut cases);
    cases
}

fn matmul(cases: &mut Vec<Case>) {
    let goldens = [(None, 3, 4, 5), (None, 1, 1, 1), (None, 1, 7, 3), (Some(2), 3, 4, 5)];
    // Odd primes, a vector on either side, and the tile sizes 16, 32, 64 and 128 with their neighbours.
    let others = [
        (None, 33, 17, 65),
        (None, 13, 127, 31),
        (None, 63, 65, 64),
        (None, 1, 128, 129),
        (None, 127, 1, 16),
        (None, 15, 33, 1),
        (None, 128, 128, 128),
        (Some(3), 17, 31, 7),
        (Some(1), 5, 3, 2),
    ];
    for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
        for (batch, m, n, k) in goldens {
            cases.push(product((ta, tb), batch, (m, n, k)).golden());
        }
        for (batch, m, n, k) in others {
            cases.push(product((ta, tb), batch, (m, n, k)));
        }
    }
    let normal = Kind::Normal(1.0);
    let layer = Case::new("matmul_bias_gelu_33x17x9", "matmul", [33, 17], |g, v| {
        let product = g.matmul(v[0], v[1])?;
        let sum = g.add(product, v[2])?;
        g.gelu(sum)
    });
    // gelu's slope is below 1.2, and its own error that of its argument.
    let layer = layer.magnitude(9, |g, v| {
        let (a, b, c) = (g.abs(v[0])?, g.abs(v[1])?, g.abs(v[2])?);
        let product = g.matmul(a, b)?;
        g.add(product, c)
    });
    cases.push(layer.real([33, 9], normal).real([9, 17], normal).real([17], normal));
}

fn product((ta, tb): (bool, bool), batch: Option<usize>, (m, n, k): (usize, usize, usize)) -> Case {
    let letter = |t: bool| if t { 't' } else { 'n' };
    let full = |rows: usize, columns: usize| batch.into_iter().chain([rows, columns]).collect::<Vec<usize>>();
    let label: Vec<String> = batch.into_iter().chain([m, n, k]).map(|x| x.to_string()).collect();
    let name = format!("matmul_{}{}_{}", letter(ta), letter(tb), label.join("x"));
    let (a, b) = (if ta { full(k, m) } else { full(m, k) }, if tb { full(n, k) } else { full(k, n) });
    Case::new(name, "matmul", full(m, n).as_slice(), move |g, v| g.matmul_t(v[0], v[1], ta, tb))
        .real(a.as_slice(), Kind::Normal(1.0))
        .real(b.as_slice(), Kind::Normal(1.0))
        .absolutes(k)
}

fn sums(cases: &mut Vec<Case>) {
    let whole = Shape::from([3, 2, 4, 2]);
    for from in 0..4 {
        for to in from + 1..=4 {
            let shape = (from..to).fold(whole, |shape, axis| shape.with_dim(axis, 1));
            let case = Case::new(format!("sum_{from}_{to}"), "sum", shape, move |g, v| g.apply(Sum { from, to }, v));
            cases.push(case.real(whole, Kind::Normal(1.0)).absolutes(48).golden());
        }
    }
    let normal = Kind::Normal(1.0);
    let sum_axes = Case::new("sum_axes_0_2", "sum", [1, 2, 1], |g, v| g.sum_axes(v[0], &[0, 2]));
    cases.push(sum_axes.real([3, 2, 4], normal).absolutes(12).golden());
    let sum_all = Case::new("sum_all", "sum", Shape::SCALAR, |g, v| g.sum(v[0]));
    cases.push(sum_all.real([3, 5], normal).absolutes(15).golden());
    let mean_all = Case::new("mean_all", "mean", Shape::SCALAR, |g, v| g.mean(v[0]));
    cases.push(mean_all.real([3, 5], normal).absolutes(15).golden());
    let mean = Case::new("mean_axes_1", "mean", [3, 1], |g, v| g.mean_axes(v[0], &[1]));
    cases.push(mean.real([3, 5], normal).absolutes(5).golden());
    let sum_to = Case::new("sum_to_3x1", "sum", [3, 1], |g, v| g.sum_to(v[0], Shape::from([3, 1])));
    cases.push(sum_to.real([2, 3, 4], normal).absolutes(8).golden());
    let extreme = Case::new("sum_extreme", "sum", [4, 1], |g, v| g.sum_axes(v[0], &[1]));
    cases.push(extreme.real([4, 33], Kind::Extreme).absolutes(33).golden());
    // Long enough that several threads share the work: rows, columns, and everything.
    for (axes, shape) in [(vec![1], [263, 1]), (vec![0], [1, 269]), (vec![0, 1], [1, 1])] {
        // Sixteen chains at least: one chain of 70,747 additions would not be good enough.
        let n = (263usize * 269 / (shape[0] * shape[1])).div_ceil(16) + 4;
        let name = format!("sum_263x269_to_{}x{}", shape[0], shape[1]);
        let case = Case::new(name, "sum", shape, move |g, v| g.sum_axes(v[0], &axes));
        cases.push(case.real([263, 269], normal).absolutes(n));
    }
}

//! Ops that move numbers: exact, so the bound is that of the value.

use crate::common::case::{Case, Kind};
use steepest::base::Shape;
use steepest::graph::StepScalars;
use steepest::ops::layout::Pad;

const NORMAL: Kind = Kind::Normal(1.0);

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    reshape(&mut cases);
    transpose(&mut cases);
    along_axes(&mut cases);
    index(&mut cases);
    dropout(&mut cases);
    cases
}

fn reshape(cases: &mut Vec<Case>) {
    let targets: [(&str, &[usize]); 3] = [("2x6", &[2, 6]), ("12", &[12]), ("2x3x2x1", &[2, 3, 2, 1])];
    for (name, to) in targets {
        let case = Case::new(format!("reshape_{name}"), "reshape", to, move |g, v| g.reshape(v[0], to));
        cases.push(case.real([3, 4], NORMAL).golden());
    }
}

fn transpose(cases: &mut Vec<Case>) {
    let orders: [&[usize]; 9] = [
        &[1, 0],
        &[0, 2, 1],
        &[1, 0, 2],
        &[1, 2, 0],
        &[2, 0, 1],
        &[2, 1, 0],
        &[0, 2, 1, 3],
        &[3, 2, 1, 0],
        &[1, 2, 3, 0],
    ];
    for order in orders {
        let from: Vec<usize> = if order.len() == 2 { vec![3, 5] } else { (2..2 + order.len()).collect() };
        let shape: Vec<usize> = order.iter().map(|&axis| from[axis]).collect();
        let name: String = order.iter().map(|axis| axis.to_string()).collect();
        let case =
            Case::new(format!("transpose_{name}"), "transpose", &shape[..], move |g, v| g.transpose(v[0], order));
        cases.push(case.real(&from[..], NORMAL).golden());
    }
    let large = Case::new("transpose_65x33", "transpose", [33, 65], |g, v| g.transpose(v[0], &[1, 0]));
    cases.push(large.real([65, 33], NORMAL));
}

fn along_axes(cases: &mut Vec<Case>) {
    let whole = Shape::from([3, 4, 5]);
    for axis in 0..3 {
        let dim = whole.dim(axis);
        let slice =
            Case::new(format!("slice_{axis}"), "slice", whole.with_dim(axis, 2), move |g, v| g.slice(v[0], axis, 1, 2));
        cases.push(slice.real(whole, NORMAL).golden());
        let pad = Case::new(format!("pad_{axis}"), "pad", whole.with_dim(axis, dim + 3), move |g, v| {
            g.apply(Pad { axis, before: 1, after: 2 }, v)
        });
        cases.push(pad.real(whole, NORMAL).golden());
        let concat =
            Case::new(format!("concat_{axis}"), "concat", whole.with_dim(axis, dim + 2), move |g, v| g.concat(v, axis));
        cases.push(concat.real(whole, NORMAL).real(whole.with_dim(axis, 2), NORMAL).golden());
    }
    let three = Case::new("concat_three", "concat", [2, 6], |g, v| g.concat(v, 1));
    cases.push(three.real([2, 1], NORMAL).real([2, 3], NORMAL).real([2, 2], NORMAL).golden());
}

fn index(cases: &mut Vec<Case>) {
    let gather = |n, rows, width| {
        let name = format!("gather_rows_{rows}of{n}");
        let case = Case::new(name, "gather_rows", [rows, width], |g, v| g.gather_rows(v[0], v[1]));
        case.real([n, width], NORMAL).index([rows], n as u32)
    };
    cases.extend([gather(5, 7, 3).golden(), gather(97, 33, 17)]);
    let scatter = |n, rows, width| {
        let name = format!("scatter_add_rows_{n}to{rows}");
        let op = steepest::ops::gather::ScatterAddRows { rows };
        let case = Case::new(name, "scatter_add_rows", [rows, width], move |g, v| g.apply(op.clone(), v));
        case.real([n, width], NORMAL).index([n], rows as u32).absolutes(n)
    };
    cases.extend([scatter(7, 4, 3).golden(), scatter(97, 13, 17)]);
    let one_hot = |n, classes| {
        let name = format!("one_hot_{n}of{classes}");
        let case = Case::new(name, "one_hot", [n, classes], move |g, v| g.one_hot(v[0], classes));
        case.index([n], classes as u32).order(0)
    };
    cases.extend([one_hot(7, 5).golden(), one_hot(65, 33)]);
}

fn dropout(cases: &mut Vec<Case>) {
    let first = Case::new("dropout_0.3", "dropout", [8, 5], |g, v| g.dropout(v[0], 0.3, [7, 11]));
    cases.push(first.real([8, 5], NORMAL).golden());
    let later = Case::new("dropout_0.5_later", "dropout", [4, 3, 3], |g, v| g.dropout(v[0], 0.5, [7, 11]));
    let step = StepScalars { step: 3, first_row: 5, rows: 4, ..StepScalars::default() };
    cases.push(later.real([4, 3, 3], NORMAL).step(step).golden());
    let large = Case::new("dropout_65x33", "dropout", [65, 33], |g, v| g.dropout(v[0], 0.1, [1, 2]));
    cases.push(large.real([65, 33], NORMAL));
}

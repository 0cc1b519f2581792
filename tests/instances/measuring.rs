//! Cases of the ops that measure at some steps only: units, arenas beside each other, histograms, variances, noise.

use super::cases::{Bound, Case};
use super::reference::Input;
use super::updates::{lengths, odd, real};
use steepest::base::Type;
use steepest::ops::arenas::{Copy, DirectionStats, DistanceStats, Moved};
use steepest::ops::histogram::{ArenaHistogram, BINS, FoldCounts, RowHistogram};
use steepest::ops::noise::{ElementwiseStats, MicroStats};
use steepest::ops::record::{CHUNK, RECORD};
use steepest::ops::units::{Saturated, UnitAges};
use steepest::ops::variance::{StoppingStats, VarianceStats, VectorStats};

const CHUNKS: usize = 5;

pub fn all() -> Vec<Case> {
    let mut cases = units();
    cases.extend(arenas());
    cases.extend(histograms());
    cases.extend(variances());
    cases.extend(noise());
    cases
}

/// Some units that give nothing, some NaN, ages on both sides of the window.
fn sleepy(inputs: &mut [Input]) {
    let units = inputs[1].numbers().len();
    for (i, z) in inputs[0].numbers_mut().iter_mut().enumerate() {
        match (i % units) % 3 {
            0 => *z = -z.abs(),
            1 if i % 2 == 0 => *z = f64::NAN,
            1 => *z = 0.0,
            _ => {}
        }
    }
    inputs[1].numbers_mut().iter_mut().enumerate().for_each(|(i, age)| *age = (i % 9) as f64);
}

fn units() -> Vec<Case> {
    let ages = |dims: &[usize]| {
        let inputs = vec![real(dims), real(&dims[dims.len() - 1..])];
        Case::new(UnitAges { window: 4 }, inputs, Bound::Exact).prepare(sleepy)
    };
    let saturated = |dims: &[usize]| Case::new(Saturated { limit: 1.25 }, vec![real(dims)], Bound::Exact);
    let mut cases = Vec::new();
    for dims in [&[1, 1][..], &[7, 33], &[4, 300], &[9, 3, 5], &[130, 257]] {
        cases.extend([ages(dims), ages(dims).first(), saturated(dims)]);
    }
    cases.push(saturated(&[9, 513]).prepare(|inputs| odd(inputs[0].numbers_mut())));
    cases
}

/// Numbers of very different sizes, some not finite.
fn wild(inputs: &mut [Input]) {
    let arenas = inputs.len() - 1;
    for (which, input) in inputs[..arenas].iter_mut().enumerate() {
        let numbers = input.numbers_mut();
        let size = |i: usize| 10f64.powi(-(i as i32 / 500) * 4 - 8 * which as i32);
        numbers.iter_mut().enumerate().for_each(|(i, x)| *x *= size(i));
        odd(numbers);
    }
    lengths(&mut inputs[arenas]);
}

fn arenas() -> Vec<Case> {
    let records = Bound::Records { terms: 256.0 };
    let arena = real(&[CHUNKS * CHUNK]);
    let inputs = |arenas: usize| {
        let mut inputs = vec![arena; arenas];
        inputs.push(Type::index([CHUNKS]));
        inputs
    };
    // Sums of up to 1024 products, each below 4² in units of the largest factors.
    let cancels = Bound::Mixed { ulps: 256.0, size: 16.0 * CHUNK as f64 };
    let direction = || Case::new(DirectionStats, inputs(3), records);
    let two = |inputs: &mut [Input]| lengths(&mut inputs[2]);
    let three = |inputs: &mut [Input]| lengths(&mut inputs[3]);
    vec![
        Case::new(Copy, vec![real(&[1021])], Bound::Exact),
        // Both are below 2: their difference is rounded once.
        Case::new(Moved, vec![real(&[1021]); 2], Bound::Mixed { ulps: 1.0, size: 0.0 }),
        direction().range(0.5, 2.0).prepare(three),
        direction().bounds(&[cancels, cancels, cancels, records]).prepare(three),
        direction().bounds(&[cancels, cancels, cancels, records]).prepare(wild),
        Case::new(DistanceStats, inputs(2), records).prepare(two),
        Case::new(DistanceStats, inputs(2), records).prepare(wild),
    ]
}

/// Every bin, both ends, and what is not finite.
fn exponents(numbers: &mut [f64]) {
    numbers.iter_mut().enumerate().for_each(|(i, x)| *x *= 2f64.powi(i as i32 % 140 - 100));
    odd(numbers);
}

fn histograms() -> Vec<Case> {
    let arena = vec![real(&[CHUNKS * CHUNK]), Type::index([CHUNKS])];
    let rows = |dims: &[usize]| {
        let case = Case::new(RowHistogram, vec![real(dims)], Bound::Exact);
        case.prepare(|inputs| exponents(inputs[0].numbers_mut()))
    };
    let fold = |accumulate| {
        let inputs = vec![real(&[40, BINS]), Type::index([3, 2]), real(&[3, BINS])];
        Case::new(FoldCounts { accumulate }, inputs, Bound::Exact).prepare(|inputs| {
            for input in [0, 2] {
                inputs[input].numbers_mut().iter_mut().for_each(|x| *x = (x.abs() * 1000.0).floor());
            }
            inputs[1] = Input::Index(vec![0, 17, 17, 17, 18, 40]);
        })
    };
    vec![
        Case::new(ArenaHistogram, arena, Bound::Exact).prepare(|inputs| {
            exponents(inputs[0].numbers_mut());
            lengths(&mut inputs[1]);
        }),
        rows(&[1, 1]),
        rows(&[9, 513]),
        rows(&[129, 3, 11]),
        fold(false),
        fold(true),
        fold(true).first(),
    ]
}

/// Sums of squares that leave a variance, but where nothing was derived at all.
fn moments(inputs: &mut [Input]) {
    lengths(&mut inputs[2]);
    let (first, rest) = inputs.split_at_mut(1);
    let pairs = first[0].numbers_mut().iter_mut().zip(rest[0].numbers_mut());
    for (i, (g, q)) in pairs.enumerate() {
        (*g, *q) = if i % 7 == 0 { (0.0, 0.0) } else { (*g, q.abs() + 0.1) };
    }
}

fn variances() -> Vec<Case> {
    let records = Bound::Records { terms: 256.0 };
    let arenas = [real(&[CHUNKS * CHUNK]), real(&[CHUNKS * CHUNK]), Type::index([CHUNKS])];
    let mut stopping = arenas.to_vec();
    stopping.extend([Type::index([CHUNKS]), real(&[2]), real(&[2, RECORD])]);
    let vector = |dims: &[usize]| Case::new(VectorStats, vec![real(dims)], Bound::Records { terms: 1024.0 });
    vec![
        Case::new(VarianceStats, arenas.to_vec(), records).prepare(moments),
        Case::new(StoppingStats { relative: 0.25 }, stopping, records).prepare(|inputs| {
            moments(inputs);
            inputs[3] = Input::Index(vec![0, 0, 1, 1, 1]);
            inputs[4] = Input::Real(vec![2045.0, 514.0]);
            inputs[5].numbers_mut().iter_mut().for_each(|x| *x = x.abs() * 1e4);
        }),
        vector(&[1]).range(0.1, 2.0),
        vector(&[4097]).range(0.1, 2.0),
        vector(&[3, 7]).range(0.1, 2.0).prepare(|inputs| {
            odd(inputs[0].numbers_mut());
            inputs[0].numbers_mut().iter_mut().for_each(|x| *x *= 1e-25);
        }),
    ]
}

fn noise() -> Vec<Case> {
    let bound = Bound::Records { terms: 1024.0 };
    let elementwise = |dims: &[usize], bias| {
        Case::new(ElementwiseStats { bias }, vec![real(dims), real(dims)], bound).range(0.1, 2.0)
    };
    let micro = |dims: &[usize]| Case::new(MicroStats, vec![real(dims)], bound).range(0.1, 2.0);
    let tiny = |inputs: &mut [Input]| {
        for (input, size) in inputs.iter_mut().rev().zip([1e-25, 1.0]) {
            let numbers = input.numbers_mut();
            numbers.iter_mut().for_each(|x| *x *= size);
            odd(numbers);
        }
    };
    let mut cases: Vec<Case> = [&[1, 1][..], &[7, 33], &[9, 3, 5], &[130, 257]]
        .into_iter()
        .flat_map(|dims| [elementwise(dims, true), elementwise(dims, false), micro(dims)])
        .collect();
    cases.extend([elementwise(&[9, 513], true).prepare(tiny), elementwise(&[9, 513], false).prepare(tiny)]);
    cases.extend([micro(&[4097]), micro(&[9, 513]).prepare(tiny)]);
    cases
}

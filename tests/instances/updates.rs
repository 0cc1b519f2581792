//! Cases of the ops at the end of a step: optimizer updates, accumulation, statistics.

use super::cases::{Bound, Case};
use super::reference::Input;
use steepest::base::{Shape, Type};
use steepest::ops::examples::ExampleStats;
use steepest::ops::optimize::{Accumulate, Rule, Update};
use steepest::ops::record::{self, CHUNK, RECORD};
use steepest::ops::scaling::{AdjustScale, SCALE_MAX, SCALE_MIN};
use steepest::ops::stats::{
    CLIP, CONTROL, CORRECTION1, CORRECTION2, ChunkStats, ClipFactor, Fold, HALT, SCALED, SCALING, SKIPPED, SKIPPING,
    TapStats,
};

const CHUNKS: usize = 5;

/// Every sum of a record is over at most some thousand terms, in chains and a tree.
const RECORDS: Bound = Bound::Records { terms: 256.0 };

pub fn all() -> Vec<Case> {
    let mut cases = updates();
    cases.extend(accumulations());
    cases.extend(scalings());
    cases.extend(taps());
    cases.extend(examples());
    cases.extend(chunk_stats());
    cases.extend(folds());
    cases
}

pub fn real(dims: &[usize]) -> Type {
    Type::real(Shape::new(dims))
}

/// Whole chunks, one short by a little, one nearly empty, one empty.
pub fn lengths(input: &mut Input) {
    *input = Input::Index(vec![CHUNK as u32, 1021, 1, 0, 513]);
}

/// Second moments are positive, well above the square of the running mean.
fn states(inputs: &mut [Input]) {
    inputs[2] = Input::Real(vec![0.5, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    lengths(&mut inputs[3]);
    for (i, input) in inputs[4..].iter_mut().enumerate() {
        let numbers = input.numbers_mut();
        numbers.iter_mut().for_each(|x| *x = if i == 0 { x.abs() + 1.0 } else { *x * 0.25 });
    }
}

/// As [`states`], with the second moment behind the first.
fn adam_states(inputs: &mut [Input]) {
    states(inputs);
    inputs[5].numbers_mut().iter_mut().for_each(|x| *x = x.abs() + 0.1);
}

/// Gradients with NaN and infinities, and some far below 1.
fn odd_gradients(inputs: &mut [Input]) {
    adam_states(inputs);
    odd(inputs[1].numbers_mut());
}

pub fn odd(numbers: &mut [f64]) {
    for (i, x) in numbers.iter_mut().enumerate() {
        match i % 97 {
            3 => *x = f64::NAN,
            5 => *x = f64::INFINITY,
            7 => *x = f64::NEG_INFINITY,
            11 => *x = 0.0,
            _ => {}
        }
    }
}

/// With loss scaling, after three steps that were skipped.
fn scaled(inputs: &mut [Input]) {
    if inputs.len() > 5 {
        adam_states(inputs)
    } else {
        states(inputs)
    }
    let control = inputs[2].numbers_mut();
    (control[SCALING], control[SKIPPED]) = (SCALED, 3.0);
    (control[CORRECTION1], control[CORRECTION2]) = (0.75, 0.03125);
}

/// In a step that loss scaling skips.
fn skipped(inputs: &mut [Input]) {
    adam_states(inputs);
    inputs[2].numbers_mut()[SCALING] = SKIPPING;
}

fn halted(inputs: &mut [Input]) {
    adam_states(inputs);
    inputs[2].numbers_mut()[HALT] = 1.0;
    inputs[2].numbers_mut()[CLIP] = 0.5;
}

fn rules() -> Vec<Rule> {
    let momentum = |nesterov| Rule::Momentum { momentum: 0.9, dampening: 0.1, nesterov };
    let rms = |momentum, centered| Rule::RmsProp { alpha: 0.99, epsilon: 1e-8, momentum, centered };
    vec![
        Rule::Sgd,
        momentum(false),
        momentum(true),
        Rule::Adagrad { lr_decay: 0.01, epsilon: 1e-10 },
        rms(0.0, false),
        rms(0.9, false),
        rms(0.0, true),
        rms(0.9, true),
        adam(false),
        adam(true),
    ]
}

fn adam(decoupled: bool) -> Rule {
    Rule::Adam { betas: [0.9, 0.999], epsilon: 1e-8, decoupled }
}

fn update(op: Update) -> Case {
    let (states, measure) = (op.rule.states(), op.measure);
    let arena = real(&[CHUNKS * CHUNK]);
    let mut inputs = vec![arena, arena, real(&[CONTROL]), Type::index([CHUNKS])];
    inputs.resize(4 + states, arena);
    // Weights, gradients and states are about 2 in size, and a step adds a handful of them.
    let mut bounds = vec![Bound::Mixed { ulps: 8.0, size: 32.0 }; 1 + states];
    if measure {
        bounds.push(RECORDS);
    }
    let prepare = if matches!(op.rule, Rule::Adam { .. }) { adam_states } else { self::states };
    Case::new(op, inputs, Bound::Exact).bounds(&bounds).prepare(prepare)
}

fn updates() -> Vec<Case> {
    let mut cases = Vec::new();
    for rule in rules() {
        let plain = Update { rule, weight_decay: 0.0, clip_value: None, clip_norm: false, measure: false };
        let full = Update { weight_decay: 0.1, clip_value: Some(1.5), clip_norm: true, measure: true, ..plain.clone() };
        cases.push(update(plain.clone()).first());
        cases.push(update(plain));
        cases.push(update(full));
    }
    let measured = Update { rule: adam(true), weight_decay: 0.1, clip_value: None, clip_norm: true, measure: true };
    cases.push(update(measured.clone()).prepare(odd_gradients));
    for rule in [rules()[1].clone(), rules()[3].clone(), adam(false)] {
        let plain = Update { rule, weight_decay: 0.0, clip_value: None, clip_norm: false, measure: false };
        cases.push(update(plain).prepare(scaled));
    }
    // Nothing moves, to the bit.
    cases.push(update(measured.clone()).prepare(skipped).bounds(&[Bound::Exact, Bound::Exact, Bound::Exact, RECORDS]));
    cases.push(update(measured).prepare(halted).bounds(&[Bound::Exact, Bound::Exact, Bound::Exact, RECORDS]));
    cases
}

/// Decisions on a step: good ones, the one after which the scale grows, overflow, overflow where the scale cannot fall.
fn scalings() -> Vec<Case> {
    const CORRECTIONS: Bound = Bound::Mixed { ulps: 16.0, size: 0.0 };
    let case = |growth_interval, betas, prepare: fn(&mut [Input])| {
        let inputs = vec![real(&[300, RECORD]), real(&[CONTROL]), real(&[]), real(&[]), real(&[1, RECORD])];
        let op = AdjustScale { growth_interval, betas };
        Case::new(op, inputs, Bound::Exact).bounds(&[CORRECTIONS, Bound::Exact]).prepare(prepare)
    };
    fn good(inputs: &mut [Input]) {
        inputs[0].numbers_mut().chunks_mut(RECORD).for_each(|record| record[record::NON_FINITE] = 0.0);
        inputs[1] = Input::Real(vec![1.0, 0.0, 0.5, SKIPPING, 6.0, 2.0, 1.0, 1.0]);
        (inputs[2], inputs[3]) = (Input::Real(vec![1024.0]), Input::Real(vec![1.0 / 1024.0]));
    }
    fn overflow(inputs: &mut [Input]) {
        good(inputs);
        inputs[0].numbers_mut()[299 * RECORD + record::NON_FINITE] = 3.0;
    }
    fn least(inputs: &mut [Input]) {
        overflow(inputs);
        (inputs[2], inputs[3]) = (Input::Real(vec![SCALE_MIN]), Input::Real(vec![1.0 / SCALE_MIN]));
    }
    fn most(inputs: &mut [Input]) {
        good(inputs);
        (inputs[2], inputs[3]) = (Input::Real(vec![SCALE_MAX]), Input::Real(vec![1.0 / SCALE_MAX]));
    }
    let betas = [0.9, 0.999];
    vec![
        case(Some(2000), betas, good),
        case(Some(7), betas, good),
        case(Some(7), [0.0; 2], most),
        case(Some(7), betas, overflow),
        case(Some(7), [0.0; 2], least),
        case(None, betas, good),
        case(None, betas, least),
    ]
}

fn accumulations() -> Vec<Case> {
    let case = |n: usize| Case::new(Accumulate, vec![real(&[n]); 2], Bound::Mixed { ulps: 2.0, size: 0.0 });
    vec![case(1), case(1021), case(1021).first()]
}

fn taps() -> Vec<Case> {
    let case = |values: &[&[usize]]| {
        let inputs = values.iter().map(|dims| real(dims)).chain([real(&values[0][..1])]);
        Case::new(TapStats, inputs.collect(), Bound::Records { terms: 1024.0 })
    };
    let shapes: [&[&[usize]]; 7] = [
        &[&[1, 1], &[1, 3]],
        &[&[7, 1], &[7, 1]],
        &[&[9, 513], &[9, 10], &[9, 1], &[9, 2]],
        &[&[3, 5, 7], &[3, 35]],
        &[&[6, 4097], &[6, 4097], &[6, 3], &[6, 1500], &[6, 17], &[6, 17]],
        &[&[4100, 1], &[4100, 3]],
        &[&[129, 65], &[129, 64], &[129, 63], &[129, 127]],
    ];
    let mut cases: Vec<Case> = shapes.iter().map(|values| case(values).prepare(weights)).collect();
    cases.push(case(&[&[9, 513], &[9, 513]]).prepare(tiny_and_odd));
    cases.push(case(&[&[9, 10], &[9, 513], &[9, 33], &[9, 10]]).prepare(tiny_and_odd));
    cases
}

/// Weights of examples: powers of two, so that both sides find the same largest exponent; one in four is 0.
fn weights(inputs: &mut [Input]) {
    let numbers = inputs.last_mut().expect("weights").numbers_mut();
    numbers.iter_mut().enumerate().for_each(|(i, w)| *w = [0.25, 0.125, 0.0, 0.25][i % 4]);
}

fn tiny_and_odd(inputs: &mut [Input]) {
    weights(inputs);
    let values = inputs.len() - 1;
    for input in &mut inputs[..values] {
        let numbers = input.numbers_mut();
        numbers.iter_mut().for_each(|x| *x *= 1e-20);
        odd(numbers);
    }
}

fn examples() -> Vec<Case> {
    let case = |n: usize, x: usize, z: usize, bias| {
        let bound = Bound::Records { terms: 16.0 + 4.0 * (x + z) as f64 };
        Case::new(ExampleStats { bias }, vec![real(&[n, x]), real(&[n, z])], bound)
    };
    let mut cases: Vec<Case> = [(1, 1, 1), (3, 5, 7), (16, 64, 10), (17, 3, 513), (129, 65, 33)]
        .into_iter()
        .flat_map(|(n, x, z)| [case(n, x, z, true), case(n, x, z, false)])
        .collect();
    cases.push(case(37, 20, 30, true).prepare(|inputs| {
        inputs[1].numbers_mut().iter_mut().for_each(|x| *x *= 1e-25);
        inputs[0].numbers_mut()[4] = f64::INFINITY;
        inputs[1].numbers_mut()[700] = f64::NAN;
        inputs[1].numbers_mut()[60..90].fill(0.0);
    }));
    cases
}

fn chunk_stats() -> Vec<Case> {
    let case = |clip_value| {
        let inputs = vec![real(&[CHUNKS * CHUNK]), Type::index([CHUNKS])];
        Case::new(ChunkStats { clip_value }, inputs, RECORDS)
    };
    let odd_chunks = |inputs: &mut [Input]| {
        lengths(&mut inputs[1]);
        let numbers = inputs[0].numbers_mut();
        numbers.iter_mut().enumerate().for_each(|(i, x)| *x *= 10f64.powi(-(i as i32 / 500) * 4));
        odd(numbers);
    };
    vec![
        case(None).prepare(|inputs| lengths(&mut inputs[1])),
        case(Some(0.5)).prepare(|inputs| lengths(&mut inputs[1])),
        case(None).prepare(odd_chunks),
        case(Some(0.5)).prepare(odd_chunks),
    ]
}

/// Turns random numbers into records of numbers of many sizes.
fn records(input: &mut Input) {
    for (i, record) in input.numbers_mut().chunks_mut(RECORD).enumerate() {
        let size = 10f64.powi(-(i as i32 % 5) * 5);
        let xs: Vec<f64> = record.iter().map(|x| f64::from((x * size) as f32)).collect();
        record::measured(record::OfGradients, &xs, 1.0, record);
        record[record::WEIGHT_SQUARES] = xs[0] * xs[0];
        record[record::STEP_SQUARES] = xs[1] * xs[1];
    }
}

fn control(input: &mut Input) {
    *input = Input::Real(vec![0.25, 0.0, 7.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
}

fn folds() -> Vec<Case> {
    let norm = [Bound::Mixed { ulps: 1024.0, size: 0.0 }];
    let factor = |n: usize, max_norm| {
        let case = Case::new(ClipFactor { max_norm }, vec![real(&[n, RECORD]), real(&[CONTROL])], Bound::Exact);
        case.bounds(&norm).prepare(|inputs| {
            records(&mut inputs[0]);
            control(&mut inputs[1]);
        })
    };
    let fold = |accumulate, loss| {
        let mut inputs = vec![real(&[150, RECORD]), Type::index([4, 2]), real(&[4, RECORD]), real(&[CONTROL])];
        inputs.resize(if loss { 5 } else { 4 }, real(&[]));
        let bounds = [Bound::Records { terms: 1024.0 }, Bound::Exact];
        Case::new(Fold { accumulate, loss }, inputs, Bound::Exact).bounds(&bounds).prepare(segments)
    };
    // The last row of a table: losses of the micro-batches before, and no record.
    let losses = |inputs: &mut [Input]| {
        segments(inputs);
        inputs[1] = Input::Index(vec![0, 70, 70, 71, 71, 150, 0, 0]);
        let row = &mut inputs[2].numbers_mut()[3 * RECORD..];
        row.fill(0.0);
        row[record::SUM] = 0.75;
    };
    let infinite_loss = |inputs: &mut [Input]| {
        segments(inputs);
        inputs[4].numbers_mut()[0] = f64::INFINITY;
    };
    let bad_record = |inputs: &mut [Input]| {
        segments(inputs);
        inputs[0].numbers_mut()[RECORD * 70 + record::NON_FINITE] = 2.0;
    };
    let bad_gradient = |inputs: &mut [Input]| {
        records(&mut inputs[0]);
        control(&mut inputs[1]);
        inputs[0].numbers_mut()[record::NON_FINITE] = 1.0;
    };
    vec![
        factor(1, None),
        factor(300, Some(0.5)),
        factor(300, Some(1e6)),
        factor(300, Some(0.5)).prepare(bad_gradient),
        fold(false, false),
        fold(false, true),
        fold(true, false),
        fold(true, true),
        fold(true, true).first(),
        fold(true, true).prepare(losses),
        fold(true, true).first().prepare(losses),
        fold(true, true).prepare(infinite_loss),
        fold(false, false).prepare(bad_record),
    ]
}

fn segments(inputs: &mut [Input]) {
    records(&mut inputs[0]);
    inputs[1] = Input::Index(vec![0, 1, 1, 140, 140, 150, 150, 150]);
    records(&mut inputs[2]);
    control(&mut inputs[3]);
}

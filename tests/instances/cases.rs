//! Instances of every op with inputs of many shapes: each is a case for reflection, translation and values.

use super::reference::Input;
use super::{measuring, updates};
use steepest::base::{DType, Shape, Type};
use steepest::graph::{GpuWork, Op, StepScalars, Way};
use steepest::ops::dropout::Dropout;
use steepest::ops::gather::{GatherRows, OneHot, ScatterAddRows};
use steepest::ops::layout::{Concat, Pad, Reshape, Slice, Transpose};
use steepest::ops::loss::{SoftmaxCrossEntropy, SoftmaxCrossEntropyGrad};
use steepest::ops::matmul::MatMul;
use steepest::ops::norm::{LayerNorm, LayerNormGrad};
use steepest::ops::pointwise::{Arg, Code, FUNS, Fun, Pointwise};
use steepest::ops::reduce::Sum;
use steepest::ops::softmax::Softmax;

/// How far a result may lie from the oracle's, in units of the unit roundoff u of f32.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    /// Not at all.
    Exact,
    /// `ulps·|result| + size`: `size` is the magnitude, times a count, of what cancels in the result.
    Mixed { ulps: f64, size: f64 },
    /// `terms` times the op's result for the absolute values of the inputs, and some for an epilogue: c·n·Σ|aᵢbᵢ|.
    Linear { terms: f64 },
    /// [`Bound::Linear`], and then a unit in the last place of half precision: what differs by rounding may go to a neighbour.
    Half { terms: f64 },
    /// A table of records: counts exactly, sums within `terms` times the sum of magnitudes.
    Records { terms: f64 },
}

/// The step that cases run in unless they say otherwise.
pub const STEP: StepScalars = StepScalars {
    step: 41,
    micro: 1,
    first_row: 1000,
    rows: 5,
    lr: 0.01,
    t: 42,
    bias_correction1: 0.9,
    bias_correction2: 0.04,
};

/// An op, its input types, and what to fill them with.
#[derive(Debug)]
pub struct Case {
    pub op: Box<dyn Op>,
    pub inputs: Vec<Type>,
    /// Real inputs are drawn from this range.
    pub range: (f64, f64),
    /// Indices are below this.
    pub below: u32,
    /// For each output; the last one for all that follow.
    pub bounds: Vec<Bound>,
    /// Brings drawn inputs into the form that the op expects.
    pub prepare: fn(&mut [Input]),
    pub step: StepScalars,
}

impl Case {
    pub fn new(op: impl Op, inputs: Vec<Type>, bound: Bound) -> Self {
        Self::boxed(Box::new(op), inputs, bound)
    }

    pub fn boxed(op: Box<dyn Op>, inputs: Vec<Type>, bound: Bound) -> Self {
        Self { op, inputs, range: (-2.0, 2.0), below: 1, bounds: vec![bound], prepare: |_| (), step: STEP }
    }

    pub fn bounds(mut self, bounds: &[Bound]) -> Self {
        self.bounds = bounds.to_vec();
        self
    }

    pub fn prepare(mut self, prepare: fn(&mut [Input])) -> Self {
        self.prepare = prepare;
        self
    }

    /// The first micro-batch of the first update.
    pub fn first(mut self) -> Self {
        self.step = StepScalars { micro: 0, t: 1, ..STEP };
        self
    }

    pub fn bound(&self, output: usize) -> Bound {
        self.bounds[output.min(self.bounds.len() - 1)]
    }

    pub fn range(mut self, low: f64, high: f64) -> Self {
        self.range = (low, high);
        self
    }

    pub fn below(mut self, below: usize) -> Self {
        self.below = below as u32;
        self
    }

    pub fn outputs(&self) -> Vec<Type> {
        self.op.infer(&self.inputs).unwrap_or_else(|e| panic!("{}: {e}", self.name()))
    }

    /// The work, in all the ways that there are.
    pub fn ways(&self) -> Vec<(Option<Way>, GpuWork)> {
        let work = self.op.gpu(&self.inputs, &self.outputs());
        match work.ways {
            None => vec![(None, work)],
            Some(ways) => ways.all.into_iter().map(|way| (Some(way.clone()), way.work)).collect(),
        }
    }

    pub fn name(&self) -> String {
        let inputs: Vec<String> = self.inputs.iter().map(Type::to_string).collect();
        format!("{:?} of {} in {:?} at update {}", self.op, inputs.join(", "), self.range, self.step.t)
    }
}

/// Every case.
pub fn all() -> Vec<Case> {
    let mut cases = functions();
    cases.extend(broadcasts());
    cases.extend(sums());
    cases.extend(layouts());
    cases.extend(indexed());
    cases.extend(rows());
    cases.extend(dropouts());
    cases.extend(products());
    cases.extend(halves());
    cases.extend(updates::all());
    cases.extend(measuring::all());
    cases
}

fn half(dims: &[usize]) -> Type {
    Type::half(Shape::new(dims))
}

/// Values of half precision read and written, by programs and products.
fn halves() -> Vec<Case> {
    let wide =
        |shape: &[usize]| Pointwise { code: Code::single(Fun::Identity, &[Arg::In(0)]), shape: Shape::new(shape) };
    let held = |code: Code| Code::single(Fun::Half, &[Arg::In(0)]).inline_where(|_| true, &code, &[0, 1, 2], &[], 3);
    let program = |shape: &[usize], inputs: &[Type]| {
        let op = Pointwise { code: held(fused()), shape: Shape::new(shape) };
        Case::new(op, inputs.to_vec(), Bound::Half { terms: 8.0 })
    };
    let to_half = || Pointwise { code: Code::single(Fun::Half, &[Arg::In(0)]), shape: Shape::from([613]) };
    let mut cases = vec![
        Case::new(wide(&[7, 13]), vec![half(&[7, 13])], Bound::Exact).range(-1e-4, 1e-4),
        Case::new(wide(&[1]), vec![half(&[1])], Bound::Exact).range(6e4, 65504.0),
        Case::new(wide(&[2, 3, 4, 5]), vec![half(&[3, 1, 5])], Bound::Exact),
        program(&[7, 13], &[half(&[7, 13]), real(&[13]), half(&[7, 1])]),
        program(&[257, 3], &[half(&[]), half(&[3]), real(&[257, 3])]),
        program(&[1], &[real(&[1]), half(&[1]), real(&[1])]),
    ];
    for size in [1e-7, 1e-4, 1.0, 7e4, 1e30] {
        cases.push(Case::new(to_half(), vec![real(&[613])], Bound::Exact).range(-size, size));
    }
    for shape in [(5, 3, 1), (17, 33, 15), (31, 63, 65), (64, 36, 96), (33, 20, 127)] {
        for flags in 0..4 {
            let mixed = [[true, true], [true, false], [false, true]];
            let each = if shape == (17, 33, 15) || shape == (64, 36, 96) { &mixed[..] } else { &mixed[..1] };
            for are_halves in each {
                let mut case = product(None, shape, flags, None);
                let types = case.inputs.iter_mut().zip(are_halves).filter(|(_, is_half)| **is_half);
                types.for_each(|(ty, _)| ty.dtype = DType::Half);
                cases.push(case);
            }
        }
    }
    for flags in 0..4 {
        for (m, n, k, batch) in [(17, 33, 15, None), (32, 64, 36, None), (17, 33, 15, Some(3)), (33, 20, 127, None)] {
            let mut case = product(Some(held(fused())), (m, n, k), flags, batch);
            case.inputs.iter_mut().for_each(|ty| ty.dtype = DType::Half);
            case.inputs.extend([half(&[m, n]), real(&[1, n])]);
            case.bounds = vec![Bound::Half { terms: 2.0 + k as f64 }];
            cases.push(case);
        }
        // Past the thresholds of the larger tiles.
        let mut large = product(None, (641, 641, 3), flags, None);
        large.inputs.iter_mut().for_each(|ty| ty.dtype = DType::Half);
        cases.push(large);
    }
    cases
}

fn real(dims: &[usize]) -> Type {
    Type::real(Shape::new(dims))
}

/// Each scalar function alone.
fn functions() -> Vec<Case> {
    let mut cases = Vec::new();
    for info in &FUNS {
        let args: Vec<Arg> = (0..info.arity as u8).map(Arg::In).collect();
        let (low, ulps): (f64, f64) = match info.fun {
            Fun::Pow => continue,
            Fun::Log | Fun::Sqrt => (1e-3, 6.0),
            // Beyond the range of f32 an exponential is infinite or 0; the bound is for what lies within.
            _ => (-100.0, 8.0),
        };
        for high in [3.0, 100.0] {
            let low = if high < 50.0 { low.max(-3.0) } else { low };
            let op = Pointwise { code: Code::single(info.fun, &args), shape: Shape::from([613]) };
            let inputs = vec![real(&[613]); info.arity];
            cases.push(Case::new(op, inputs, Bound::Mixed { ulps, size: 0.0 }).range(low, high));
        }
    }
    for exponent in [2.0, 3.0, -1.0, -2.0, 7.0, 0.0] {
        cases.push(power(exponent, -3.0));
    }
    for exponent in [0.5, -0.5, 1.5, 1.0 / 3.0, 2.7, -3.3] {
        cases.push(power(exponent, 1e-3));
    }
    // Near 0, where eˣ − 1 and the like are a small difference.
    for fun in [Fun::ExpM1, Fun::Erf, Fun::Tanh, Fun::Sigmoid, Fun::Softplus] {
        let op = Pointwise { code: Code::single(fun, &[Arg::In(0)]), shape: Shape::from([301]) };
        cases.push(Case::new(op, vec![real(&[301])], Bound::Mixed { ulps: 8.0, size: 0.0 }).range(-1e-3, 1e-3));
    }
    cases
}

fn power(exponent: f64, low: f64) -> Case {
    let code = Code::single(Fun::Pow, &[Arg::In(0), Arg::constant(exponent)]);
    let op = Pointwise { code, shape: Shape::from([257]) };
    let ulps = 16.0 + 4.0 * exponent.abs();
    Case::new(op, vec![real(&[257])], Bound::Mixed { ulps, size: 0.0 }).range(low, 5.0)
}

/// `in0·in1 + in2` after relu.
pub fn fused() -> Code {
    let multiply = Code::single(Fun::Mul, &[Arg::In(0), Arg::In(1)]);
    let add = Code::single(Fun::Add, &[Arg::In(0), Arg::In(1)]);
    let relu = Code::single(Fun::Relu, &[Arg::In(0)]);
    let sum = add.inline_where(|i| i == 0, &multiply, &[0, 1], &[0, 2], 3);
    relu.inline_where(|i| i == 0, &sum, &[0, 1, 2], &[0], 3)
}

/// Programs whose inputs lie under the output in every way.
fn broadcasts() -> Vec<Case> {
    let bound = Bound::Mixed { ulps: 4.0, size: 8.0 };
    let case = |shape: &[usize], inputs: &[&[usize]]| {
        let op = Pointwise { code: fused(), shape: Shape::new(shape) };
        Case::new(op, inputs.iter().map(|dims| real(dims)).collect(), bound)
    };
    let constant = Pointwise { code: Code::single(Fun::Identity, &[Arg::constant(1.5)]), shape: Shape::from([3, 5]) };
    let infinite = Code::single(Fun::Identity, &[Arg::constant(f64::INFINITY)]);
    let wide = Code::single(Fun::Identity, &[Arg::In(0)]);
    vec![
        Case::new(constant, vec![], Bound::Exact),
        Case::new(Pointwise { code: infinite, shape: Shape::from([3]) }, vec![], Bound::Exact),
        Case::new(Pointwise { code: wide, shape: Shape::from([2, 3, 4, 5]) }, vec![real(&[3, 1, 5])], Bound::Exact),
        case(&[], &[&[], &[], &[]]),
        case(&[1], &[&[1], &[], &[1, 1][..1]]),
        case(&[7, 13], &[&[7, 13], &[13], &[7, 1]]),
        case(&[7, 13], &[&[], &[13], &[7, 13]]),
        case(&[2, 3, 5, 7], &[&[2, 1, 5, 1], &[3, 1, 7], &[1, 1, 5, 7]]),
        case(&[2, 3, 5, 7], &[&[2, 1, 1, 7], &[2, 3, 5, 7], &[]]),
        case(&[255], &[&[255], &[255], &[1]]),
        case(&[257, 3], &[&[257, 1], &[3], &[257, 3]]),
    ]
}

fn sums() -> Vec<Case> {
    let case = |dims: &[usize], from, to| {
        let terms: usize = dims[from..to].iter().product();
        Case::new(Sum { from, to }, vec![real(dims)], Bound::Linear { terms: 2.0 + terms as f64 })
    };
    let mut cases = vec![
        case(&[1], 0, 1),
        case(&[5, 3], 0, 1),
        case(&[5, 3], 1, 2),
        case(&[3, 7, 5], 1, 2),
        case(&[3, 7, 5], 0, 2),
        case(&[2, 3, 4, 5], 1, 3),
        case(&[129, 65], 0, 1),
        case(&[129, 65], 1, 2),
        case(&[1000, 3], 0, 1),
        case(&[2, 777, 3], 1, 2),
        case(&[10_007], 0, 1),
        case(&[2, 4097], 1, 2),
        case(&[300, 17], 1, 2),
    ];
    cases.push(case(&[4, 129], 1, 2).range(-100.0, 100.0));
    cases
}

fn boxed(op: impl Op) -> Box<dyn Op> {
    Box::new(op)
}

fn layouts() -> Vec<Case> {
    let exact = |op, inputs| Case::boxed(op, inputs, Bound::Exact);
    let mut cases = vec![exact(boxed(Reshape { to: Shape::from([15, 7]) }), vec![real(&[3, 5, 7])])];
    for order in [vec![1, 0], vec![0, 1]] {
        cases.push(exact(boxed(Transpose { order }), vec![real(&[17, 31])]));
    }
    for order in [[0, 2, 1], [1, 0, 2], [2, 1, 0], [1, 2, 0]] {
        cases.push(exact(boxed(Transpose { order: order.to_vec() }), vec![real(&[3, 5, 7])]));
    }
    for order in [[3, 1, 0, 2], [0, 2, 3, 1], [2, 3, 0, 1]] {
        cases.push(exact(boxed(Transpose { order: order.to_vec() }), vec![real(&[2, 3, 5, 7])]));
    }
    for axis in 0..3 {
        let slice = |start, len| boxed(Slice { axis, start, len });
        cases.push(exact(slice(1, 2), vec![real(&[3, 5, 7])]));
        cases.push(exact(slice(0, 1), vec![real(&[3, 1, 7].map(|n| if n == 1 { 4 } else { n }))]));
        cases.push(exact(boxed(Pad { axis, before: 2, after: 1 }), vec![real(&[3, 5, 7])]));
        cases.push(exact(boxed(Pad { axis, before: 0, after: 3 }), vec![real(&[1, 2, 1])]));
        let other = Shape::from([3, 5, 7]).with_dim(axis, 4);
        cases.push(exact(boxed(Concat { axis }), vec![real(&[3, 5, 7]), Type::real(other)]));
    }
    cases
}

fn indexed() -> Vec<Case> {
    let index = |n: usize| Type::index([n]);
    vec![
        Case::new(GatherRows, vec![real(&[7, 5]), index(300)], Bound::Exact).below(7),
        Case::new(GatherRows, vec![real(&[1, 1]), index(1)], Bound::Exact),
        Case::new(ScatterAddRows { rows: 7 }, vec![real(&[29, 5]), index(29)], Bound::Linear { terms: 30.0 }).below(7),
        Case::new(ScatterAddRows { rows: 1 }, vec![real(&[3, 1]), index(3)], Bound::Linear { terms: 4.0 }),
        Case::new(OneHot { classes: 11 }, vec![index(31)], Bound::Exact).below(11),
        Case::new(OneHot { classes: 1 }, vec![index(1)], Bound::Exact),
    ]
}

/// Softmax, losses, layer normalization.
fn rows() -> Vec<Case> {
    let mut cases = Vec::new();
    for (n, c) in [(1, 1), (3, 1), (5, 10), (129, 16), (7, 17), (33, 64), (2, 127), (3, 129), (2, 1031)] {
        for high in [2.0, 100.0] {
            let terms = c as f64;
            // exp amplifies the rounding of its argument by the argument, which reaches 2·high here.
            let softmax = Bound::Mixed { ulps: 8.0 + terms + 4.0 * high, size: 0.0 };
            let loss = Bound::Mixed { ulps: 4.0, size: 8.0 + terms + 4.0 * high };
            let grad = Bound::Mixed { ulps: 8.0 + terms + 4.0 * high, size: 4.0 * high };
            // ‖y‖∞ ≤ √n, and both means are sums of n terms.
            let norm = Bound::Mixed { ulps: 16.0 + terms, size: 16.0 + terms };
            let norm_grad = Bound::Mixed { ulps: 32.0 + terms, size: (32.0 + 4.0 * terms) * high };
            let (x, t, l) = (real(&[n, c]), Type::index([n]), real(&[n]));
            let mut push = |case: Case| cases.push(case.range(-high, high).below(c));
            push(Case::new(Softmax, vec![x], softmax));
            for smoothing in [0.0, 0.1] {
                push(Case::new(SoftmaxCrossEntropy { smoothing }, vec![x, t], loss));
                push(Case::new(SoftmaxCrossEntropyGrad { smoothing }, vec![x, t, l], grad));
            }
            let epsilon = if c == 1 { 1.0 } else { 1e-2 };
            push(Case::new(LayerNorm { epsilon }, vec![x], norm));
            push(Case::new(LayerNormGrad { epsilon }, vec![x, x], norm_grad));
        }
    }
    cases
}

fn dropouts() -> Vec<Case> {
    let bound = Bound::Mixed { ulps: 3.0, size: 0.0 };
    let case = |p, dims: &[usize]| Case::new(Dropout { p, key: [0xdead_beef, 7] }, vec![real(dims)], bound);
    vec![case(0.5, &[1, 1]), case(0.1, &[13, 31]), case(0.9, &[5, 4, 3]), case(0.3, &[257]), case(0.5, &[1, 1000])]
}

fn products() -> Vec<Case> {
    let mut cases = Vec::new();
    let shapes = [(1, 1, 1), (1, 7, 5), (7, 1, 5), (5, 3, 1), (16, 16, 16), (17, 33, 15), (31, 63, 65), (65, 64, 63)];
    // Whole vectors in some directions or in all, whole tiles and one less, sums in several parts.
    let shapes = shapes.into_iter().chain([(64, 36, 96), (127, 128, 100), (128, 127, 128), (33, 20, 127)]);
    for (m, n, k) in shapes {
        for flags in 0..4 {
            cases.push(product(None, (m, n, k), flags, None));
        }
    }
    for flags in 0..4 {
        cases.push(product(None, (3, 17, 9), flags, Some(5)));
        // Shapes past the thresholds of the larger tiles, and narrow ones.
        cases.push(product(None, (641, 641, 3), flags, None));
        cases.push(product(None, (641, 641, 3), flags, Some(2)));
        cases.push(product(None, (1301, 1301, 2), flags, None));
        cases.push(product(None, (129, 10, 33), flags, None));
        cases.push(product(None, (10, 129, 33), flags, None));
        for extra in [[[1, 1], [1, 33]], [[17, 33], [17, 1]], [[17, 33], [17, 33]]] {
            let mut case = product(Some(fused()), (17, 33, 15), flags, None);
            case.inputs.extend(extra.map(|dims| real(&dims)));
            cases.push(case);
        }
        let mut batched = product(Some(fused()), (17, 33, 15), flags, Some(3));
        batched.inputs.extend([real(&[33]), real(&[3, 1, 33])]);
        cases.push(batched);
    }
    cases.push(product(None, (33, 33, 127), 0, None).range(-100.0, 100.0));
    cases
}

fn product(epilogue: Option<Code>, (m, n, k): (usize, usize, usize), flags: u8, batch: Option<usize>) -> Case {
    let (transpose_a, transpose_b) = (flags & 1 != 0, flags & 2 != 0);
    let dims = |rows, columns, transposed| {
        let [rows, columns] = if transposed { [columns, rows] } else { [rows, columns] };
        batch.map_or_else(|| real(&[rows, columns]), |batch| real(&[batch, rows, columns]))
    };
    let inputs = vec![dims(m, k, transpose_a), dims(k, n, transpose_b)];
    Case::new(MatMul { transpose_a, transpose_b, epilogue }, inputs, Bound::Linear { terms: 2.0 + k as f64 })
}

//! The CPU kernels in f64 as the oracle of GPU results.

use super::cases::{Bound, Case};
use steepest::base::{
    DType, HALF_NORMAL_MIN, Shape, Stream, StreamId, Threads, Type, half_bits, half_from_bits, round_to_half,
};
use steepest::graph::{Data, Io, Op, StepScalars};
use steepest::ops::matmul::MatMul;
use steepest::ops::record::{MAGNITUDES, MAX, RECORD, SQUARES, STEP_SQUARES, SUM, WEIGHT_SQUARES};

/// The contents of an input: numbers that f32 holds exactly, or indices.
#[derive(Clone, Debug)]
pub enum Input {
    Real(Vec<f64>),
    Index(Vec<u32>),
}

impl Input {
    /// The 4-byte words that a GPU buffer of this type holds: one for each number, or for two of half precision.
    pub fn words(&self, dtype: DType) -> Vec<u32> {
        match self {
            Self::Real(numbers) if dtype == DType::Half => {
                let bits = |pair: &[f64], i: usize| pair.get(i).map_or(0, |&x| u32::from(half_bits(x)));
                numbers.chunks(2).map(|pair| bits(pair, 0) | bits(pair, 1) << 16).collect()
            }
            Self::Real(numbers) => numbers.iter().map(|&x| (x as f32).to_bits()).collect(),
            Self::Index(indices) => indices.clone(),
        }
    }

    /// How many words a value of this type takes.
    pub fn word_count(ty: &Type) -> usize {
        if ty.dtype == DType::Half { ty.shape.len().div_ceil(2) } else { ty.shape.len() }
    }

    /// The numbers of a value of this type in these words.
    pub fn numbers_in(words: &[u32], ty: &Type) -> Vec<f32> {
        if ty.dtype != DType::Half {
            return words.iter().map(|&word| f32::from_bits(word)).collect();
        }
        let halves = words.iter().flat_map(|&word| [word as u16, (word >> 16) as u16]);
        halves.map(|bits| half_from_bits(bits) as f32).take(ty.shape.len()).collect()
    }

    fn abs(&self) -> Self {
        match self {
            Self::Real(numbers) => Self::Real(numbers.iter().map(|x| x.abs()).collect()),
            Self::Index(_) => self.clone(),
        }
    }

    pub fn numbers(&self) -> &[f64] {
        match self {
            Self::Real(numbers) => numbers,
            Self::Index(_) => panic!("indices"),
        }
    }

    pub fn numbers_mut(&mut self) -> &mut Vec<f64> {
        match self {
            Self::Real(numbers) => numbers,
            Self::Index(_) => panic!("indices"),
        }
    }
}

/// Random inputs of a case.
pub fn draw(case: &Case, seed: u64) -> Vec<Input> {
    let mut stream = Stream::new(seed, StreamId::Data(0));
    let (low, high) = case.range;
    let number = |stream: &mut Stream| f64::from((low + (high - low) * stream.uniform()) as f32);
    let input = |ty: &Type| match ty.dtype {
        DType::Real | DType::Half => Input::Real((0..ty.shape.len()).map(|_| number(&mut stream)).collect()),
        DType::Index => Input::Index((0..ty.shape.len()).map(|_| stream.below(case.below)).collect()),
    };
    let mut inputs: Vec<Input> = case.inputs.iter().map(input).collect();
    (case.prepare)(&mut inputs);
    for (input, ty) in inputs.iter_mut().zip(&case.inputs) {
        if let Input::Real(numbers) = input {
            let held = |x: f64| if ty.dtype == DType::Half { round_to_half(x) } else { f64::from(x as f32) };
            numbers.iter_mut().for_each(|x| *x = held(*x));
        }
    }
    inputs
}

/// The outputs of an op's f64 kernel.
pub fn run(op: &dyn Op, types: &[Type], inputs: &[Input], step: &StepScalars) -> Vec<Vec<f64>> {
    let output_types = op.infer(types).expect("the case's types fit");
    let data: Vec<Data<'_, f64>> = inputs
        .iter()
        .map(|input| match input {
            Input::Real(numbers) => Data::Real(numbers),
            Input::Index(indices) => Data::Index(indices),
        })
        .collect();
    let mut outputs: Vec<Vec<f64>> = output_types.iter().map(|ty| vec![f64::NAN; ty.shape.len()]).collect();
    for &(output, input) in op.in_place() {
        outputs[output].copy_from_slice(inputs[input].numbers());
    }
    let mut slices: Vec<&mut [f64]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    let threads = Threads::new(1).expect("a thread");
    op.run_f64(&mut Io {
        inputs: &data,
        input_types: types,
        outputs: &mut slices,
        output_types: &output_types,
        scratch: &mut vec![f64::NAN; op.scratch(types, 1)],
        step,
        threads: &threads,
    });
    outputs
}

const U: f64 = f32::EPSILON as f64 / 2.0;

/// Results below the normal numbers may be flushed to 0.
const TINY: f64 = f32::MIN_POSITIVE as f64;

/// The outputs of a case and how far a result may lie from each number.
pub fn expected(case: &Case, inputs: &[Input]) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let values = outputs(case, inputs);
    let bound = |(output, values): (usize, &Vec<f64>)| match case.bound(output) {
        Bound::Exact => vec![0.0; values.len()],
        Bound::Mixed { ulps, size } => values.iter().map(|x| U * (ulps * x.abs() + size) + TINY).collect(),
        Bound::Linear { terms } | Bound::Half { terms } => {
            let unit = |x: f64| match case.bound(output) {
                Bound::Half { .. } => x.abs().max(HALF_NORMAL_MIN) * f64::exp2(-10.0),
                _ => 0.0,
            };
            let positive: Vec<Input> = inputs.iter().map(Input::abs).collect();
            let sizes = outputs(case, &positive);
            sizes[output].iter().zip(values).map(|(x, &value)| U * terms * x + unit(value) + TINY).collect()
        }
        Bound::Records { terms } => values.chunks(RECORD).flat_map(|record| record_bounds(record, terms)).collect(),
    };
    let bounds = values.iter().enumerate().map(bound).collect();
    (values, bounds)
}

fn record_bounds(record: &[f64], terms: f64) -> [f64; RECORD] {
    let relative = |field: usize| U * terms * record[field].abs() + TINY;
    let mut bounds = [0.0; RECORD];
    bounds[MAX] = U * 4.0 * record[MAX];
    for field in [SQUARES, MAGNITUDES, WEIGHT_SQUARES, STEP_SQUARES] {
        bounds[field] = relative(field);
    }
    bounds[SUM] = relative(MAGNITUDES) + relative(SUM);
    bounds
}

fn outputs(case: &Case, inputs: &[Input]) -> Vec<Vec<f64>> {
    match (case.op.as_ref() as &dyn std::any::Any).downcast_ref::<MatMul>() {
        Some(MatMul { transpose_a, transpose_b, epilogue: Some(code) }) => {
            // The epilogue's program by its own definition, number by number.
            let plain = MatMul { transpose_a: *transpose_a, transpose_b: *transpose_b, epilogue: None };
            let product = run(&plain, &case.inputs[..2], &inputs[..2], &case.step).remove(0);
            let shape = case.outputs()[0].shape;
            let number = |(i, &x): (usize, &f64)| {
                let more = case.inputs.iter().zip(inputs).skip(2);
                let args = [x].into_iter().chain(more.map(|(ty, input)| input.numbers()[place(i, &shape, &ty.shape)]));
                code.eval(&args.collect::<Vec<f64>>())
            };
            vec![product.iter().enumerate().map(number).collect()]
        }
        _ => run(case.op.as_ref(), &case.inputs, inputs, &case.step),
    }
}

/// Where element `i` of a value of shape `to` finds its partner in one of shape `from`.
fn place(i: usize, to: &Shape, from: &Shape) -> usize {
    let (own, strides) = (to.strides(), from.strides_in(to));
    (0..to.rank()).map(|axis| i / own[axis] % to.dim(axis) * strides[axis]).sum()
}

/// The first number that lies outside its bound, if any. NaN and infinities must be the same.
pub fn outside(values: &[f64], bounds: &[f64], found: &[f32]) -> Option<String> {
    values.iter().zip(bounds).zip(found).enumerate().find_map(|(i, ((&value, &bound), &found))| {
        let same = match value as f32 {
            nearest if nearest.is_finite() => (f64::from(found) - value).abs() <= bound,
            nearest if nearest.is_nan() => found.is_nan(),
            // At the very end of the range an error of some units decides between the largest number and infinity.
            nearest => found == nearest || (found.abs() > 0.999 * f32::MAX && value.is_finite()),
        };
        (!same).then(|| format!("element {i}: expected {value:e} within {bound:e}, found {found:e}"))
    })
}

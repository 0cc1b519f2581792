//! A case: an op on inputs of given types and kinds, the shape that must come out, and the bound that its error must keep.

use steepest::base::{DType, Result, Shape, Stream, StreamId, Type};
use steepest::graph::{Graph, StepScalars, ValueId};

/// How a graph is built from the case's inputs.
pub type Build = Box<dyn Fn(&mut Graph, &[ValueId]) -> Result<ValueId> + Send + Sync>;

/// What the numbers of an input are like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Standard normal times a factor.
    Normal(f64),
    /// Uniform between two bounds.
    Uniform(f64, f64),
    /// Normal, but at least 0.1 away from the kink at 0.
    Apart,
    /// Between 1 and 100 in magnitude, with both ends: 100 comes first, −100 last.
    Extreme,
    /// Nothing but 0.
    Zero,
    /// NaN, infinities, zeros of both signs, tiny and huge numbers.
    Special,
    /// 0 or 1: a sharp target.
    Binary,
    /// Indices below a bound.
    Below(u32),
}

/// The numbers of [`Kind::Special`], in order.
pub const SPECIAL: [f64; 9] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1e-30, -1e-30, 1e30, -1e30];

/// An input of a case.
#[derive(Clone, Copy, Debug)]
pub struct Input {
    pub ty: Type,
    pub kind: Kind,
}

/// The numbers of an input.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    Real(Vec<f64>),
    Index(Vec<u32>),
}

impl Data {
    /// The real numbers.
    pub fn real(&self) -> &[f64] {
        match self {
            Self::Real(data) => data,
            Self::Index(_) => panic!("indices, expected real numbers"),
        }
    }
}

/// The size of the terms that an element of the result is made of: an error is measured against it.
pub enum Magnitude {
    /// The element itself: no cancellation.
    Value,
    /// The same graph on the absolute values of the inputs: Σ|terms| of sums and products.
    Absolutes,
    /// A graph of the inputs.
    Of(Build),
}

/// The bound |error| ≤ c·n·u·magnitude, with u the unit roundoff of the executor.
pub struct Bound {
    /// Roundings to a term, and what an executor's library functions may be off by.
    pub c: f64,
    /// How many terms are added up.
    pub n: usize,
    pub magnitude: Magnitude,
}

/// A line of the table.
pub struct Case {
    pub name: String,
    /// The op that it is a case of, by its name in [`steepest::ops::OPS`] or [`steepest::ops::pointwise::FUNS`]; a
    /// composition goes by the name of the method that builds it.
    pub op: &'static str,
    pub build: Build,
    pub inputs: Vec<Input>,
    /// The shape that must come out.
    pub shape: Shape,
    pub bound: Bound,
    /// How often it can be differentiated at these inputs.
    pub order: usize,
    /// Whether the goldens have it.
    pub golden: bool,
    /// The step in which it runs.
    pub step: StepScalars,
}

impl Case {
    pub fn new(
        name: impl Into<String>,
        op: &'static str,
        shape: impl Into<Shape>,
        build: impl Fn(&mut Graph, &[ValueId]) -> Result<ValueId> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            op,
            build: Box::new(build),
            inputs: Vec::new(),
            shape: shape.into(),
            bound: Bound { c: 4.0, n: 1, magnitude: Magnitude::Value },
            order: 2,
            golden: false,
            step: StepScalars::default(),
        }
    }

    /// A real input.
    pub fn real(mut self, shape: impl Into<Shape>, kind: Kind) -> Self {
        self.inputs.push(Input { ty: Type::real(shape), kind });
        self
    }

    /// An input of indices below `bound`.
    pub fn index(mut self, shape: impl Into<Shape>, bound: u32) -> Self {
        self.inputs.push(Input { ty: Type::index(shape), kind: Kind::Below(bound) });
        self
    }

    pub fn golden(mut self) -> Self {
        self.golden = true;
        self
    }

    pub fn order(mut self, order: usize) -> Self {
        self.order = order;
        self
    }

    pub fn step(mut self, step: StepScalars) -> Self {
        self.step = step;
        self
    }

    /// The error grows with `n` terms of the size of the case's own value.
    pub fn terms(mut self, n: usize) -> Self {
        self.bound.n = n;
        self
    }

    /// The error grows with `n` terms whose absolute values add up to the graph on absolute inputs.
    pub fn absolutes(mut self, n: usize) -> Self {
        self.bound = Bound { n, magnitude: Magnitude::Absolutes, ..self.bound };
        self
    }

    /// The error grows with `n` terms of the size that this graph gives.
    pub fn magnitude(
        mut self,
        n: usize,
        of: impl Fn(&mut Graph, &[ValueId]) -> Result<ValueId> + Send + Sync + 'static,
    ) -> Self {
        self.bound = Bound { n, magnitude: Magnitude::Of(Box::new(of)), ..self.bound };
        self
    }

    /// The positions of the inputs that can have a gradient.
    pub fn reals(&self) -> Vec<usize> {
        (0..self.inputs.len()).filter(|&i| self.inputs[i].ty.dtype == DType::Real).collect()
    }

    /// Numbers for the inputs, exact in single precision so that every executor starts from the same.
    pub fn draw(&self) -> Vec<Data> {
        // The name keys the stream: a new case leaves the numbers of the others as they are.
        let key = self.name.bytes().fold(0u32, |key, byte| key.wrapping_mul(31).wrapping_add(u32::from(byte)));
        let mut stream = Stream::new(super::SEED, StreamId::Sample(key));
        self.inputs.iter().map(|input| input.kind.draw(input.ty.shape.len(), &mut stream)).collect()
    }
}

impl Kind {
    pub fn draw(self, len: usize, stream: &mut Stream) -> Data {
        if let Self::Below(bound) = self {
            return Data::Index((0..len).map(|_| stream.below(bound)).collect());
        }
        Data::Real((0..len).map(|i| f64::from(self.element(i, len, stream) as f32)).collect())
    }

    fn element(self, i: usize, len: usize, stream: &mut Stream) -> f64 {
        match self {
            Self::Normal(factor) => factor * stream.normal(),
            Self::Uniform(low, high) => low + (high - low) * stream.uniform(),
            Self::Apart => {
                let x = stream.normal();
                x + 0.1f64.copysign(x)
            }
            Self::Extreme if i == 0 => 100.0,
            Self::Extreme if i + 1 == len => -100.0,
            Self::Extreme => (1.0 + 99.0 * stream.uniform()) * if stream.below(2) == 0 { 1.0 } else { -1.0 },
            Self::Zero => 0.0,
            // Along the last axis all are special; along others they repeat.
            Self::Special => SPECIAL[i * SPECIAL.len() / len.max(SPECIAL.len())],
            Self::Binary => f64::from(stream.below(2)),
            Self::Below(_) => unreachable!("indices are no real numbers"),
        }
    }

    /// Whether a number may be one of this kind: what the goldens hold must be what the table says.
    pub fn admits(self, x: f64) -> bool {
        match self {
            Self::Normal(factor) => x.abs() <= 6.0 * factor,
            Self::Uniform(low, high) => x >= f64::from(low as f32) && x <= f64::from(high as f32),
            Self::Apart => (0.1 - 1e-6..6.0).contains(&x.abs()),
            Self::Extreme => (1.0..=100.0).contains(&x.abs()),
            Self::Zero => x == 0.0,
            Self::Special => SPECIAL.iter().any(|&s| x.to_bits() == f64::from(s as f32).to_bits() || x.is_nan()),
            Self::Binary => x == 0.0 || x == 1.0,
            Self::Below(bound) => x < f64::from(bound),
        }
    }
}

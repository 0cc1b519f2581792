//! Elementwise ops: one op for all of them, a straight-line program over broadcast inputs.
//!
//! `out[i] = code(in₀ at i, in₁ at i, …)`, overwritten. Inputs of half precision are widened as they are read; a program whose last
//! instruction rounds to half precision gives such a value. A graph is built from programs of one instruction; fusion makes
//! longer ones.

mod code;
pub(crate) mod cpu;
mod fast;
mod fun;
mod gpu;

pub use code::{Arg, Code, Instr};
pub use fun::{FUNS, Fun, FunInfo};

use crate::base::{DType, Error, Real, Result, Shape, Type, broadcast};
use crate::graph::{Derivative, GpuWork, Graph, Io, NodeView, Op, ValueId};
use crate::kernel;
use cpu::Layout;

/// The most inputs: with the output they fill the 8 storage buffers that every adapter offers.
pub const MAX_INPUTS: usize = 7;

/// An elementwise program applied to inputs that broadcast to `shape`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointwise {
    /// What is computed for each element.
    pub code: Code,
    /// The shape of the output.
    pub shape: Shape,
}

impl Op for Pointwise {
    fn name(&self) -> &'static str {
        match self.code.instrs() {
            [only] => only.fun.info().name,
            _ => "pointwise",
        }
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        if inputs.len() != self.code.inputs() || inputs.len() > MAX_INPUTS {
            return Err(Error::input("pointwise", format!("{} inputs for {:?}", inputs.len(), self.code)));
        }
        for ty in inputs {
            if !ty.dtype.is_real() {
                return Err(Error::input("pointwise", format!("{ty} has no arithmetic, expected real numbers")));
            }
            if broadcast(ty.shape, self.shape)? != self.shape {
                let message = format!("{} does not broadcast to {}", ty.shape, self.shape);
                return Err(Error::input("pointwise", message));
            }
        }
        Ok(vec![Type { dtype: self.code.dtype(), shape: self.shape }])
    }

    fn in_place(&self) -> &[(usize, usize)] {
        &[]
    }

    fn derivative(&self, g: &mut Graph, node: NodeView<'_>, grads: &[Option<ValueId>]) -> Result<Derivative> {
        let Some(dy) = grads[0] else { return Ok(Derivative::Inputs(vec![None; node.inputs.len()])) };
        let [instr] = self.code.instrs() else {
            return Ok(Derivative::Undefined("it is fused: differentiate before fusion"));
        };
        let args: Vec<ValueId> = instr.args[..instr.fun.info().arity]
            .iter()
            .map(|arg| match arg {
                Arg::In(i) => node.inputs[usize::from(*i)],
                Arg::Const(bits) => g.constant(f64::from_bits(*bits)),
                Arg::Temp(_) => unreachable!("one instruction has no earlier result"),
            })
            .collect();
        let by_arg = instr.fun.derivative(g, &args, node.outputs[0], dy)?;
        let mut by_input = vec![None; node.inputs.len()];
        for (arg, grad) in instr.args.iter().zip(by_arg) {
            if let (Arg::In(i), Some(grad)) = (arg, grad) {
                let target = g.shape(node.inputs[usize::from(*i)]);
                by_input[usize::from(*i)] = Some(if target == self.shape {
                    grad
                } else {
                    let wide = g.expand(grad, self.shape)?;
                    g.sum_to(wide, target)?
                });
            }
        }
        Ok(Derivative::Inputs(by_input))
    }

    fn composition(&self, _: &mut Graph, _: &[ValueId]) -> Option<Result<ValueId>> {
        None
    }

    fn scratch(&self, _: &[Type], threads: usize) -> usize {
        cpu::scratch(&self.code, threads)
    }

    kernel!(run);

    fn gpu(&self, inputs: &[Type], outputs: &[Type]) -> GpuWork {
        gpu::work(&self.code, &self.shape, inputs, outputs)
    }
}

impl Pointwise {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let mut inputs: [(&[R], Layout); MAX_INPUTS] = [(&[], Layout::Full); MAX_INPUTS];
        for (i, slot) in inputs.iter_mut().enumerate().take(io.inputs.len()) {
            *slot = (io.real(i), Layout::of(&io.input_types[i].shape, &self.shape));
        }
        let inputs = &inputs[..io.inputs.len()];
        cpu::run(&self.code, &self.shape, inputs, io.outputs[0], io.scratch, io.threads);
    }
}

/// Elementwise arithmetic with numpy's broadcasting. Every method fails if the shapes do not fit.
impl Graph {
    /// One scalar function of values; constants are folded into the program, and trivial arithmetic into nothing.
    pub fn pointwise(&mut self, fun: Fun, values: &[ValueId]) -> Result<ValueId> {
        let constants: Vec<Option<f64>> = values.iter().map(|&v| self.constant_of(v)).collect();
        if let Some(known) = constants.iter().copied().collect::<Option<Vec<f64>>>() {
            let at = |i: usize| known.get(i).copied().unwrap_or(0.0);
            return Ok(self.constant(fun.eval(at(0), at(1), at(2))));
        }
        if let Some(simple) = self.simplified(fun, values, &constants) {
            return Ok(simple);
        }
        let (mut args, mut inputs) = (Vec::new(), Vec::new());
        let mut shape = Shape::SCALAR;
        for (&value, constant) in values.iter().zip(constants) {
            match constant {
                Some(x) => args.push(Arg::constant(x)),
                None => {
                    args.push(Arg::In(inputs.len() as u8));
                    inputs.push(value);
                    let place = self.place(fun.info().name);
                    shape = broadcast(shape, self.shape(value)).map_err(|e| Error::input(place, e.message()))?;
                }
            }
        }
        self.apply(Pointwise { code: Code::single(fun, &args), shape }, &inputs)
    }

    /// x·1, x/1, x+0, x−0 are x; x·0 stays, since 0·NaN is NaN.
    fn simplified(&self, fun: Fun, values: &[ValueId], constants: &[Option<f64>]) -> Option<ValueId> {
        let is = |i: usize, x: f64| constants.get(i).copied().flatten() == Some(x);
        match fun {
            Fun::Mul if is(0, 1.0) => Some(values[1]),
            Fun::Mul | Fun::Div if is(1, 1.0) => Some(values[0]),
            Fun::Add if is(0, 0.0) => Some(values[1]),
            Fun::Add | Fun::Sub if is(1, 0.0) => Some(values[0]),
            Fun::Pow if is(1, 1.0) => Some(values[0]),
            Fun::Half if self.ty(values[0]).dtype == DType::Half => Some(values[0]),
            _ => None,
        }
    }

    /// `x` broadcast to `shape`; nothing is done if it has that shape.
    pub fn expand(&mut self, x: ValueId, shape: Shape) -> Result<ValueId> {
        if self.shape(x) == shape {
            return Ok(x);
        }
        self.filled(x, shape)
    }

    /// A value of half precision as one that every op takes; any other is that already.
    pub fn widened(&mut self, x: ValueId) -> Result<ValueId> {
        if self.ty(x).dtype == DType::Half { self.filled(x, self.shape(x)) } else { Ok(x) }
    }

    /// `x` broadcast to `shape` as a value in memory, also where it is a constant.
    pub(crate) fn filled(&mut self, x: ValueId, shape: Shape) -> Result<ValueId> {
        let (arg, inputs) = match self.constant_of(x) {
            Some(c) => (Arg::constant(c), vec![]),
            None => (Arg::In(0), vec![x]),
        };
        self.apply(Pointwise { code: Code::single(Fun::Identity, &[arg]), shape }, &inputs)
    }

    /// x · c.
    pub fn scale(&mut self, x: ValueId, c: f64) -> Result<ValueId> {
        let c = self.constant(c);
        self.mul(x, c)
    }

    /// x + c.
    pub fn add_scalar(&mut self, x: ValueId, c: f64) -> Result<ValueId> {
        let c = self.constant(c);
        self.add(x, c)
    }

    /// c − x.
    pub fn scalar_sub(&mut self, c: f64, x: ValueId) -> Result<ValueId> {
        let c = self.constant(c);
        self.sub(c, x)
    }

    /// xᶜ for a constant exponent.
    pub fn pow(&mut self, x: ValueId, exponent: f64) -> Result<ValueId> {
        let exponent = self.constant(exponent);
        self.pointwise(Fun::Pow, &[x, exponent])
    }

    /// y where x > 0, else z.
    pub fn select(&mut self, x: ValueId, y: ValueId, z: ValueId) -> Result<ValueId> {
        self.pointwise(Fun::Select, &[x, y, z])
    }
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident($($arg:ident),+) = $fun:ident;)*) => {
        impl Graph {
            $($(#[$doc])* pub fn $name(&mut self, $($arg: ValueId),+) -> Result<ValueId> {
                self.pointwise(Fun::$fun, &[$($arg),+])
            })*
        }
    };
}

methods! {
    /// −x.
    neg(x) = Neg;
    /// |x|.
    abs(x) = Abs;
    /// −1, 0 or 1.
    sign(x) = Sign;
    /// The nearest number of half precision, stored so.
    half(x) = Half;
    /// 1 where x > 0, else 0.
    step(x) = Step;
    /// eˣ.
    exp(x) = Exp;
    /// eˣ − 1.
    exp_m1(x) = ExpM1;
    /// ln x.
    log(x) = Log;
    /// √x.
    sqrt(x) = Sqrt;
    /// erf x.
    erf(x) = Erf;
    /// tanh x.
    tanh(x) = Tanh;
    /// 1 / (1 + e⁻ˣ).
    sigmoid(x) = Sigmoid;
    /// ln(1 + eˣ).
    softplus(x) = Softplus;
    /// max(x, 0).
    relu(x) = Relu;
    /// x + y.
    add(x, y) = Add;
    /// x − y.
    sub(x, y) = Sub;
    /// x · y.
    mul(x, y) = Mul;
    /// x / y.
    div(x, y) = Div;
    /// The larger of x and y.
    maximum(x, y) = Max;
    /// The smaller of x and y.
    minimum(x, y) = Min;
    /// y where x > 0, else 0.
    gate(x, y) = Gate;
}

/// Activations that are compositions of scalar functions.
impl Graph {
    /// x if x > 0, else slope·x.
    pub fn leaky_relu(&mut self, x: ValueId, slope: f64) -> Result<ValueId> {
        let low = self.scale(x, slope)?;
        self.select(x, x, low)
    }

    /// x if x > 0, else α(eˣ − 1) (Clevert et al. 2015).
    pub fn elu(&mut self, x: ValueId, alpha: f64) -> Result<ValueId> {
        // The exponential sees min(x, 0), so that it cannot overflow where it is not chosen.
        // Chosen by select: unlike a minimum it passes NaN on, and at 0 the slope α.
        let zero = self.constant(0.0);
        let low = self.select(x, zero, x)?;
        let bend = self.exp_m1(low)?;
        let low = self.scale(bend, alpha)?;
        self.select(x, x, low)
    }

    /// x·Φ(x), exact, by erf (Hendrycks & Gimpel 2016).
    pub fn gelu(&mut self, x: ValueId) -> Result<ValueId> {
        let scaled = self.scale(x, std::f64::consts::FRAC_1_SQRT_2)?;
        let erf = self.erf(scaled)?;
        let shifted = self.add_scalar(erf, 1.0)?;
        let half = self.scale(x, 0.5)?;
        self.mul(half, shifted)
    }

    /// ½x(1 + tanh(√(2/π)(x + 0.044715x³))): the approximation of the same paper.
    pub fn gelu_tanh(&mut self, x: ValueId) -> Result<ValueId> {
        let square = self.mul(x, x)?;
        let cubic = self.scale(square, 0.044715)?;
        let factor = self.add_scalar(cubic, 1.0)?;
        let inner = self.mul(x, factor)?;
        let inner = self.scale(inner, (2.0 / std::f64::consts::PI).sqrt())?;
        let tanh = self.tanh(inner)?;
        let shifted = self.add_scalar(tanh, 1.0)?;
        let half = self.scale(x, 0.5)?;
        self.mul(half, shifted)
    }

    /// x·sigmoid(x).
    pub fn silu(&mut self, x: ValueId) -> Result<ValueId> {
        let gate = self.sigmoid(x)?;
        self.mul(x, gate)
    }
}

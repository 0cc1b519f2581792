//! The table of scalar functions: name, arity, value, derivative, WGSL. Every elementwise op is made of these.

use crate::base::{Real, Result, round_to_half};
use crate::graph::{Graph, ValueId};

/// A scalar function of one to three arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fun {
    /// x.
    Identity,
    /// −x.
    Neg,
    /// |x|; derivative sign x.
    Abs,
    /// −1, 0 or 1.
    Sign,
    /// 1 if x > 0, else 0.
    Step,
    /// eˣ.
    Exp,
    /// eˣ − 1.
    ExpM1,
    /// ln x.
    Log,
    /// √x.
    Sqrt,
    /// erf x.
    Erf,
    /// tanh x.
    Tanh,
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
    /// ln(1 + eˣ).
    Softplus,
    /// max(x, 0); derivative 0 at 0.
    Relu,
    /// x + y.
    Add,
    /// x − y.
    Sub,
    /// x · y.
    Mul,
    /// x / y.
    Div,
    /// xʸ, with a constant y.
    Pow,
    /// The larger; the derivative goes to x where x > y, else to y.
    Max,
    /// The smaller; the derivative goes to x where x < y, else to y.
    Min,
    /// y if x > 0, else 0.
    Gate,
    /// y if x > 0, else z.
    Select,
    /// The nearest number of half precision. A program that ends with it gives a value that is stored so.
    Half,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct FunInfo {
    /// The function.
    pub fun: Fun,
    /// Its name in print-outs.
    pub name: &'static str,
    /// How many arguments.
    pub arity: usize,
    /// The WGSL expression, with `$0`, `$1`, `$2` for the arguments.
    pub wgsl: &'static str,
}

const fn row(fun: Fun, name: &'static str, arity: usize, wgsl: &'static str) -> FunInfo {
    FunInfo { fun, name, arity, wgsl }
}

/// Every scalar function once, in the order of [`Fun`].
pub const FUNS: [FunInfo; 24] = [
    row(Fun::Identity, "identity", 1, "$0"),
    row(Fun::Neg, "neg", 1, "-$0"),
    row(Fun::Abs, "abs", 1, "abs($0)"),
    row(Fun::Sign, "sign", 1, "sign($0)"),
    row(Fun::Step, "step", 1, "select(0.0, 1.0, $0 > 0.0)"),
    row(Fun::Exp, "exp", 1, "exp_fine($0)"),
    row(Fun::ExpM1, "expm1", 1, "exp_m1($0)"),
    row(Fun::Log, "log", 1, "log_fine($0)"),
    row(Fun::Sqrt, "sqrt", 1, "sqrt($0)"),
    row(Fun::Erf, "erf", 1, "erf($0)"),
    row(Fun::Tanh, "tanh", 1, "tanh_safe($0)"),
    row(Fun::Sigmoid, "sigmoid", 1, "sigmoid($0)"),
    row(Fun::Softplus, "softplus", 1, "softplus($0)"),
    row(Fun::Relu, "relu", 1, "relu($0)"),
    row(Fun::Add, "add", 2, "$0 + $1"),
    row(Fun::Sub, "sub", 2, "$0 - $1"),
    row(Fun::Mul, "mul", 2, "$0 * $1"),
    row(Fun::Div, "div", 2, "$0 / $1"),
    row(Fun::Pow, "pow", 2, "pow_signed($0, $1)"),
    row(Fun::Max, "max", 2, "select($1, $0, $0 > $1)"),
    row(Fun::Min, "min", 2, "select($1, $0, $0 < $1)"),
    row(Fun::Gate, "gate", 2, "select(0.0, $1, $0 > 0.0)"),
    row(Fun::Select, "select", 3, "select($2, $1, $0 > 0.0)"),
    row(Fun::Half, "half", 1, "round_to_half($0)"),
];

impl Fun {
    /// This function's row of the table.
    pub fn info(self) -> &'static FunInfo {
        &FUNS[self as usize]
    }

    /// The value at `x`, `y`, `z`; surplus arguments are ignored.
    #[inline(always)]
    pub fn eval<R: Real>(self, x: R, y: R, z: R) -> R {
        match self {
            Self::Identity => x,
            Self::Neg => -x,
            Self::Abs => x.abs(),
            Self::Sign => sign(x),
            Self::Step => choose(x, R::ONE, R::ZERO),
            Self::Exp => x.exp(),
            Self::ExpM1 => x.exp_m1(),
            Self::Log => x.ln(),
            Self::Sqrt => x.sqrt(),
            Self::Erf => x.erf(),
            Self::Tanh => x.tanh(),
            Self::Sigmoid => sigmoid(x),
            Self::Softplus => softplus(x),
            Self::Relu => relu(x),
            Self::Add => x + y,
            Self::Sub => x - y,
            Self::Mul => x * y,
            Self::Div => x / y,
            Self::Pow => x.powf(y),
            Self::Max => {
                if x > y {
                    x
                } else {
                    y
                }
            }
            Self::Min => {
                if x < y {
                    x
                } else {
                    y
                }
            }
            Self::Gate => choose(x, y, R::ZERO),
            Self::Select => choose(x, y, z),
            Self::Half => round_to_half(x),
        }
    }

    /// ∂L/∂argument for each argument, given the arguments, the value y of the function and ∂L/∂y.
    ///
    /// Where the derivative can be told from the value alone it is, so that the argument need not be kept.
    pub fn derivative(self, g: &mut Graph, x: &[ValueId], y: ValueId, dy: ValueId) -> Result<Vec<Option<ValueId>>> {
        let one = |dx| Ok(vec![Some(dx)]);
        match self {
            Self::Identity => one(dy),
            // What a device stores of the signal there: the rounding itself is taken for the identity, as by `Tensor.half` in PyTorch.
            Self::Half => one(g.half(dy)?),
            Self::Neg => one(g.neg(dy)?),
            Self::Abs => {
                let sign = g.sign(x[0])?;
                one(g.mul(dy, sign)?)
            }
            Self::Sign | Self::Step => Ok(vec![None]),
            Self::Exp => one(g.mul(dy, y)?),
            Self::ExpM1 => {
                let slope = g.add_scalar(y, 1.0)?;
                one(g.mul(dy, slope)?)
            }
            Self::Log => one(g.div(dy, x[0])?),
            Self::Sqrt => {
                let half = g.scale(dy, 0.5)?;
                one(g.div(half, y)?)
            }
            Self::Erf => {
                let square = g.mul(x[0], x[0])?;
                let minus = g.neg(square)?;
                let bell = g.exp(minus)?;
                let slope = g.scale(bell, std::f64::consts::FRAC_2_SQRT_PI)?;
                one(g.mul(dy, slope)?)
            }
            Self::Tanh => {
                let square = g.mul(y, y)?;
                let slope = g.scalar_sub(1.0, square)?;
                one(g.mul(dy, slope)?)
            }
            Self::Sigmoid => {
                let rest = g.scalar_sub(1.0, y)?;
                let slope = g.mul(y, rest)?;
                one(g.mul(dy, slope)?)
            }
            Self::Softplus => {
                let slope = g.sigmoid(x[0])?;
                one(g.mul(dy, slope)?)
            }
            Self::Relu => one(g.gate(y, dy)?),
            Self::Add => Ok(vec![Some(dy), Some(dy)]),
            Self::Sub => Ok(vec![Some(dy), Some(g.neg(dy)?)]),
            Self::Mul => Ok(vec![Some(g.mul(dy, x[1])?), Some(g.mul(dy, x[0])?)]),
            Self::Div => {
                let dx0 = g.div(dy, x[1])?;
                let ratio = g.mul(dx0, y)?;
                Ok(vec![Some(dx0), Some(g.neg(ratio)?)])
            }
            Self::Pow => pow_derivative(g, x, dy),
            Self::Max | Self::Min => {
                let (larger, smaller) = if self == Self::Max { (x[0], x[1]) } else { (x[1], x[0]) };
                let gap = g.sub(larger, smaller)?;
                let to_first = g.gate(gap, dy)?;
                let to_second = g.sub(dy, to_first)?;
                Ok(vec![Some(to_first), Some(to_second)])
            }
            Self::Gate => Ok(vec![None, Some(g.gate(x[0], dy)?)]),
            Self::Select => {
                let zero = g.constant(0.0);
                Ok(vec![None, Some(g.gate(x[0], dy)?), Some(g.select(x[0], zero, dy)?)])
            }
        }
    }
}

fn pow_derivative(g: &mut Graph, x: &[ValueId], dy: ValueId) -> Result<Vec<Option<ValueId>>> {
    let exponent = g.constant_of(x[1]).expect("pow checks that its exponent is a constant");
    let power = g.pow(x[0], exponent - 1.0)?;
    let slope = g.scale(power, exponent)?;
    Ok(vec![Some(g.mul(dy, slope)?), None])
}

#[inline(always)]
fn choose<R: Real>(x: R, positive: R, otherwise: R) -> R {
    if x > R::ZERO { positive } else { otherwise }
}

#[inline(always)]
fn sign<R: Real>(x: R) -> R {
    if x > R::ZERO {
        R::ONE
    } else if x < R::ZERO {
        -R::ONE
    } else {
        R::ZERO
    }
}

/// NaN stays NaN, as in PyTorch.
#[inline(always)]
fn relu<R: Real>(x: R) -> R {
    if x < R::ZERO { R::ZERO } else { x }
}

/// Without overflow: e⁻|x| is at most 1.
#[inline(always)]
fn sigmoid<R: Real>(x: R) -> R {
    let e = (-x.abs()).exp();
    let small = e / (R::ONE + e);
    if x < R::ZERO { small } else { R::ONE / (R::ONE + e) }
}

/// max(x, 0) + ln(1 + e⁻|x|).
#[inline(always)]
fn softplus<R: Real>(x: R) -> R {
    relu(x) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_functions() {
        for (i, info) in FUNS.iter().enumerate() {
            assert_eq!(info.fun as usize, i, "{}", info.name);
            for argument in 0..3 {
                assert_eq!(info.wgsl.contains(&format!("${argument}")), argument < info.arity, "{}", info.name);
            }
        }
    }

    #[test]
    fn extremes_do_not_overflow() {
        assert_eq!(Fun::Sigmoid.eval(-1000.0f32, 0.0, 0.0), 0.0);
        assert_eq!(Fun::Sigmoid.eval(1000.0f32, 0.0, 0.0), 1.0);
        assert_eq!(Fun::Softplus.eval(1000.0f32, 0.0, 0.0), 1000.0);
        assert!(Fun::Relu.eval(f32::NAN, 0.0, 0.0).is_nan());
    }
}

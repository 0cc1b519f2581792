//! A small straight-line program over scalars: what a fused elementwise kernel computes for one element.

use super::fun::Fun;
use crate::base::{DType, Real};
use std::fmt;

/// Where an instruction finds an argument.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arg {
    /// The program's input with this number.
    In(u8),
    /// The result of the instruction with this number.
    Temp(u8),
    /// A constant, by its bits.
    Const(u64),
}

impl Arg {
    /// The constant `x`.
    pub fn constant(x: f64) -> Self {
        Self::Const(x.to_bits())
    }
}

/// One instruction: a scalar function of its arguments.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Instr {
    /// The function.
    pub fun: Fun,
    /// Its arguments; those past its arity are the constant 0.
    pub args: [Arg; 3],
}

/// A straight-line program; the last instruction's result is its value.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Code {
    inputs: u8,
    instrs: Vec<Instr>,
}

impl Code {
    /// The longest program that fusion builds.
    pub const MAX_INSTRS: usize = 32;

    /// One function of as many inputs as it has arguments; constants may stand for some.
    pub fn single(fun: Fun, args: &[Arg]) -> Self {
        let mut padded = [Arg::constant(0.0); 3];
        padded[..args.len()].copy_from_slice(args);
        let inputs = args.iter().filter(|arg| matches!(arg, Arg::In(_))).count() as u8;
        Self { inputs, instrs: vec![Instr { fun, args: padded }] }
    }

    /// How many inputs it reads.
    pub fn inputs(&self) -> usize {
        usize::from(self.inputs)
    }

    /// The instructions in order.
    pub fn instrs(&self) -> &[Instr] {
        &self.instrs
    }

    /// What its values are stored as: what rounds at last is stored in half precision.
    pub fn dtype(&self) -> DType {
        if self.instrs.last().is_some_and(|last| last.fun == Fun::Half) { DType::Half } else { DType::Real }
    }

    /// Whether it only passes its one input on.
    pub fn is_identity(&self) -> bool {
        self.instrs.len() == 1 && self.instrs[0].fun == Fun::Identity && self.instrs[0].args[0] == Arg::In(0)
    }

    /// Puts `producer` in place of the inputs that `replaced` picks. `producer_inputs` says which input of the result each
    /// input of the producer is, `own` which each other input of this program is; the result has `inputs` inputs.
    pub fn inline_where(
        &self,
        replaced: impl Fn(u8) -> bool,
        producer: &Code,
        producer_inputs: &[u8],
        own: &[u8],
        inputs: u8,
    ) -> Code {
        let mut merged = Code { inputs, instrs: Vec::new() };
        let produced = merged.append(producer, false, |i| Arg::In(producer_inputs[usize::from(i)]));
        merged.append(self, true, |i| if replaced(i) { produced } else { Arg::In(own[usize::from(i)]) });
        merged
    }

    /// The same program with input `i` read as input `order[i]` of `inputs`.
    pub fn with_inputs(&self, order: &[u8], inputs: u8) -> Code {
        let mut moved = Code { inputs, instrs: Vec::new() };
        moved.append(self, true, |i| Arg::In(order[usize::from(i)]));
        moved
    }

    /// Appends another program, sharing equal instructions, and returns where its value is. The value of a program is
    /// its last instruction's, so the last one of the `ending` is never shared away.
    fn append(&mut self, code: &Code, ending: bool, input: impl Fn(u8) -> Arg) -> Arg {
        let mut place = Vec::with_capacity(code.instrs.len());
        for (i, instr) in code.instrs.iter().enumerate() {
            let args = instr.args.map(|arg| match arg {
                Arg::In(i) => input(i),
                Arg::Temp(t) => place[usize::from(t)],
                Arg::Const(_) => arg,
            });
            let moved = Instr { fun: instr.fun, args };
            let last = ending && i + 1 == code.instrs.len();
            let value = match self.instrs.iter().position(|known| *known == moved) {
                Some(known) if !last => Arg::Temp(known as u8),
                _ if instr.fun == Fun::Identity && !last => args[0],
                _ => {
                    self.instrs.push(moved);
                    Arg::Temp(self.instrs.len() as u8 - 1)
                }
            };
            place.push(value);
        }
        place[place.len() - 1]
    }

    /// The value for given inputs.
    pub fn eval<R: Real>(&self, inputs: &[R]) -> R {
        let mut temps = [R::ZERO; Self::MAX_INSTRS];
        for (i, instr) in self.instrs.iter().enumerate() {
            let [x, y, z] = instr.args.map(|arg| match arg {
                Arg::In(i) => inputs[usize::from(i)],
                Arg::Temp(t) => temps[usize::from(t)],
                Arg::Const(bits) => R::of(f64::from_bits(bits)),
            });
            temps[i] = instr.fun.eval(x, y, z);
        }
        temps[self.instrs.len() - 1]
    }

    /// The body of a WGSL function of `in0`, `in1`, … that returns the value.
    pub fn wgsl(&self) -> String {
        let mut body = String::new();
        for (i, instr) in self.instrs.iter().enumerate() {
            let mut text = instr.fun.info().wgsl.to_owned();
            for (a, arg) in instr.args.iter().enumerate() {
                text = text.replace(&format!("${a}"), &arg.wgsl());
            }
            body.push_str(&format!("    let t{i} = {text};\n"));
        }
        body.push_str(&format!("    return t{};\n", self.instrs.len() - 1));
        body
    }
}

impl Arg {
    fn wgsl(self) -> String {
        match self {
            Self::In(i) => format!("in{i}"),
            Self::Temp(t) => format!("t{t}"),
            Self::Const(bits) => match f64::from_bits(bits) as f32 {
                x if x.is_finite() => format!("f32({x:?})"),
                // WGSL has no literal for infinities and NaN.
                x => format!("from_bits({:#x}u)", x.to_bits()),
            },
        }
    }
}

impl fmt::Debug for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(i) => write!(f, "in{i}"),
            Self::Temp(t) => write!(f, "t{t}"),
            Self::Const(bits) => write!(f, "{}", f64::from_bits(*bits)),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, instr) in self.instrs.iter().enumerate() {
            let info = instr.fun.info();
            let args: Vec<String> = instr.args[..info.arity].iter().map(|arg| format!("{arg:?}")).collect();
            let separator = if i == 0 { "" } else { "; " };
            if self.instrs.len() == 1 {
                write!(f, "{}({})", info.name, args.join(", "))?;
            } else {
                write!(f, "{separator}t{i}={}({})", info.name, args.join(", "))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Instr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.fun.info().name, self.args)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inlining_composes_and_shares() {
        let square = Code::single(Fun::Mul, &[Arg::In(0), Arg::In(1)]);
        let exp = Code::single(Fun::Exp, &[Arg::In(0)]);
        // exp(x)·exp(x) from mul(exp(x), exp(x)): two inlinings, one exp.
        let half = square.inline_where(|i| i == 0, &exp, &[0], &[0, 1], 2);
        assert_eq!(half.eval(&[1.0f64, 3.0]), 1f64.exp() * 3.0);
        let whole = half.inline_where(|i| i == 1, &exp, &[0], &[0, 0], 1);
        assert_eq!(whole.eval(&[1.0f64]), 1f64.exp() * 1f64.exp());
        assert_eq!(whole.instrs().iter().filter(|i| i.fun == Fun::Exp).count(), 1);
        assert!(whole.wgsl().contains("let t1 = t0 * t0;"));
    }
}

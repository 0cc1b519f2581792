//! The CPU kernel of fused elementwise programs: tile by tile, one vectorized loop an instruction.

use super::code::{Arg, Code};
use super::fast;
use super::fun::Fun;
use crate::base::{Real, Shape, Threads, arch};
use pulp::{Simd, WithSimd};

/// Elements to a tile: the results of all instructions of a program stay in the first-level cache.
const TILE: usize = 256;

/// Elements below which one thread does the work: a fork costs about as much as this many additions.
const PART: usize = 32 * 1024;

/// How an input lies under the output's elements.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layout {
    /// Element for element.
    Full,
    /// One number for all.
    Scalar,
    /// Broadcast along some axes: strides over the output's axes.
    Strided([usize; Shape::MAX_RANK]),
    /// The output's own old values: what an epilogue works on.
    Own,
}

impl Layout {
    /// How a value of shape `from` lies under the elements of `to`.
    pub(crate) fn of(from: &Shape, to: &Shape) -> Self {
        if from.len() == to.len() {
            Self::Full
        } else if from.len() == 1 {
            Self::Scalar
        } else {
            Self::Strided(from.strides_in(to))
        }
    }
}

/// Scratch scalars that [`run`] needs: a tile for each instruction, each input and each constant, for each part.
pub(crate) fn scratch(code: &Code, threads: usize) -> usize {
    threads * tiles(code) * TILE
}

fn tiles(code: &Code) -> usize {
    code.instrs().len() * 4 + code.inputs()
}

/// `out[i] = code(inputs at i)` for every element of an output of this shape.
pub(crate) fn run<R: Real>(
    code: &Code,
    shape: &Shape,
    inputs: &[(&[R], Layout)],
    out: &mut [R],
    scratch: &mut [R],
    threads: &Threads,
) {
    let parts = if out.len() < 2 * PART { 1 } else { threads.count() };
    let share = out.len().div_ceil(parts).next_multiple_of(TILE);
    let room = tiles(code) * TILE;
    threads.zip_chunks(out, share, &mut scratch[..parts * room], room, |part, out, scratch| {
        arch().dispatch(Tiles::<R, TILE> { code, shape, inputs, at: part * share, out, room: scratch });
    });
}

/// Elements to a tile of an epilogue, whose tiles lie on the stack.
const EPILOGUE_TILE: usize = 64;

/// `c[i] = code(c[i], inputs at i)` for the elements from `at` on of a value of this shape; the first of `inputs` stands
/// for `c` itself.
pub(crate) fn epilogue<R: Real>(code: &Code, shape: &Shape, inputs: &[(&[R], Layout)], at: usize, c: &mut [R]) {
    // Most epilogues are a bias and an activation: clearing the largest room for them would cost more than they do.
    const SMALL: usize = 20;
    const LARGE: usize = 4 * Code::MAX_INSTRS + super::MAX_INPUTS;
    if tiles(code) <= SMALL {
        over_tiles(code, shape, inputs, at, c, &mut [R::ZERO; SMALL * EPILOGUE_TILE]);
    } else {
        over_tiles(code, shape, inputs, at, c, &mut [R::ZERO; LARGE * EPILOGUE_TILE]);
    }
}

fn over_tiles<R: Real>(code: &Code, shape: &Shape, inputs: &[(&[R], Layout)], at: usize, c: &mut [R], room: &mut [R]) {
    arch().dispatch(Tiles::<R, EPILOGUE_TILE> { code, shape, inputs, at, out: c, room });
}

/// A program over the elements from `at` on, by tiles of `T`.
struct Tiles<'a, R, const T: usize> {
    code: &'a Code,
    shape: &'a Shape,
    inputs: &'a [(&'a [R], Layout)],
    at: usize,
    out: &'a mut [R],
    room: &'a mut [R],
}

impl<R: Real, const T: usize> WithSimd for Tiles<'_, R, T> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut machine = Machine::<R, T>::new(self.code, self.shape, self.inputs, self.room);
        for (tile, out) in self.out.chunks_mut(T).enumerate() {
            machine.tile(simd, self.at + tile * T, out);
        }
    }
}

struct Machine<'a, R, const T: usize> {
    code: &'a Code,
    shape: &'a Shape,
    inputs: &'a [(&'a [R], Layout)],
    /// Tiles: gathered inputs first, then constants (three an instruction), then results.
    room: &'a mut [R],
}

impl<'a, R: Real, const T: usize> Machine<'a, R, T> {
    #[inline(always)]
    fn new(code: &'a Code, shape: &'a Shape, inputs: &'a [(&'a [R], Layout)], room: &'a mut [R]) -> Self {
        for (i, (data, layout)) in inputs.iter().enumerate() {
            if matches!(layout, Layout::Scalar) {
                room[i * T..][..T].fill(data[0]);
            }
        }
        let constants = inputs.len() * T;
        for (i, instr) in code.instrs().iter().enumerate() {
            for (a, arg) in instr.args[..instr.fun.info().arity].iter().enumerate() {
                if let Arg::Const(bits) = arg {
                    room[constants + (i * 3 + a) * T..][..T].fill(R::of(f64::from_bits(*bits)));
                }
            }
        }
        Self { code, shape, inputs, room }
    }

    #[inline(always)]
    fn tile<S: Simd>(&mut self, simd: S, at: usize, out: &mut [R]) {
        let n = out.len();
        for (i, (data, layout)) in self.inputs.iter().enumerate() {
            match layout {
                Layout::Strided(strides) => gather(data, self.shape, strides, at, &mut self.room[i * T..][..n]),
                Layout::Own => self.room[i * T..][..n].copy_from_slice(out),
                Layout::Full | Layout::Scalar => {}
            }
        }
        let results = (self.inputs.len() + 3 * self.code.instrs().len()) * T;
        let last = self.code.instrs().len() - 1;
        for (i, instr) in self.code.instrs().iter().enumerate() {
            let (known, fresh) = self.room.split_at_mut(results + i * T);
            let known = &*known;
            let arg = |a: usize| match instr.args[a] {
                Arg::In(input) => {
                    let (data, layout) = self.inputs[usize::from(input)];
                    match layout {
                        Layout::Full => &data[at..at + n],
                        _ => &known[usize::from(input) * T..][..n],
                    }
                }
                Arg::Temp(t) => &known[results + usize::from(t) * T..][..n],
                Arg::Const(_) => &known[(self.inputs.len() + i * 3 + a) * T..][..n],
            };
            let target = if i == last { &mut *out } else { &mut fresh[..n] };
            apply(simd, instr.fun, arg, target);
        }
    }
}

/// Reads a broadcast input for the output's elements from `at` on.
#[inline(always)]
fn gather<R: Real>(data: &[R], shape: &Shape, strides: &[usize; Shape::MAX_RANK], at: usize, tile: &mut [R]) {
    let rank = shape.rank();
    let last = shape.last();
    if strides[rank - 1] == 1 && strides[..rank - 1].iter().all(|&stride| stride == 0) {
        return repeat(&data[..last], at % last, tile);
    }
    let mut done = 0;
    while done < tile.len() {
        let mut rest = at + done;
        let column = rest % last;
        rest /= last;
        let mut base = 0;
        for axis in (0..rank.saturating_sub(1)).rev() {
            base += rest % shape.dim(axis) * strides[axis];
            rest /= shape.dim(axis);
        }
        let run = (last - column).min(tile.len() - done);
        let target = &mut tile[done..done + run];
        if strides[rank - 1] == 0 {
            target.fill(data[base]);
        } else {
            target.copy_from_slice(&data[base + column..][..run]);
        }
        done += run;
    }
}

/// Fills `tile` with `row` again and again, from its element `column` on: a bias.
#[inline(always)]
fn repeat<R: Real>(row: &[R], column: usize, tile: &mut [R]) {
    let first = (row.len() - column).min(tile.len());
    let (head, rest) = tile.split_at_mut(first);
    head.copy_from_slice(&row[column..column + first]);
    for part in rest.chunks_mut(row.len()) {
        part.copy_from_slice(&row[..part.len()]);
    }
}

/// One instruction over a tile. The match stands outside the loops, so that each of them vectorizes.
#[inline(always)]
fn apply<'a, S: Simd, R: Real>(simd: S, fun: Fun, arg: impl Fn(usize) -> &'a [R], out: &mut [R]) {
    if let (Some(x), Some(out)) = (R::as_f32(arg(0)), R::as_f32_mut(out))
        && fast::unary(simd, fun, x, out)
    {
        return;
    }
    macro_rules! arms {
        (unary: $($unary:ident)*; binary: $($binary:ident)*; ternary: $($ternary:ident)*) => {
            match fun {
                $(Fun::$unary => out.iter_mut().zip(arg(0)).for_each(|(o, &x)| *o = Fun::$unary.eval(x, R::ZERO, R::ZERO)),)*
                $(Fun::$binary => out
                    .iter_mut()
                    .zip(arg(0))
                    .zip(arg(1))
                    .for_each(|((o, &x), &y)| *o = Fun::$binary.eval(x, y, R::ZERO)),)*
                $(Fun::$ternary => out
                    .iter_mut()
                    .zip(arg(0))
                    .zip(arg(1))
                    .zip(arg(2))
                    .for_each(|(((o, &x), &y), &z)| *o = Fun::$ternary.eval(x, y, z)),)*
            }
        };
    }
    arms! {
        unary: Identity Neg Abs Sign Step Exp ExpM1 Log Sqrt Erf Tanh Sigmoid Softplus Relu Half;
        binary: Add Sub Mul Div Pow Max Min Gate;
        ternary: Select
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The function in f32 as programs compute it, and as epilogues do.
    fn both(fun: Fun, x: &[f32], threads: &Threads) -> [Vec<f32>; 2] {
        let code = Code::single(fun, &[Arg::In(0)]);
        let shape = Shape::new(&[x.len()]);
        let (mut program, mut behind) = (vec![0.0; x.len()], x.to_vec());
        let mut room = vec![0.0; scratch(&code, threads.count())];
        run(&code, &shape, &[(x, Layout::Full)], &mut program, &mut room, threads);
        epilogue(&code, &shape, &[(&[], Layout::Own)], 0, &mut behind);
        [program, behind]
    }

    #[test]
    fn programs_and_epilogues_take_the_fast_kernels_at_every_length() {
        let x: Vec<f32> = (0..5 * PART).map(|i| (i * 7919 % 10_007) as f32 / 1000.7 - 5.0).collect();
        let bits = |x: &[f32]| x.iter().map(|x| x.to_bits()).collect::<Vec<u32>>();
        let pools = [1, 3].map(|threads| Threads::new(threads).expect("threads"));
        for fun in [Fun::Exp, Fun::ExpM1, Fun::Erf, Fun::Tanh, Fun::Sigmoid, Fun::Softplus] {
            let [whole, behind] = both(fun, &x, &pools[0]);
            assert_eq!(bits(&whole), bits(&behind), "{fun:?}");
            assert_eq!(bits(&whole), bits(&both(fun, &x, &pools[1])[0]), "{fun:?}, 3 threads");
            let literal: Vec<f32> = x.iter().map(|&x| fun.eval(x, 0.0, 0.0)).collect();
            assert_ne!(bits(&whole), bits(&literal), "{fun:?}: this is the literal kernel");
            for len in (0..2 * EPILOGUE_TILE).chain(TILE - 20..TILE + 20) {
                // From an odd place on, so that lanes move.
                let part = &x[7..7 + len];
                for found in both(fun, part, &pools[0]) {
                    assert_eq!(bits(&found), bits(&whole[7..7 + len]), "{fun:?}, {len} elements");
                }
            }
        }
    }
}

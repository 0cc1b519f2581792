//! Softmax over the last axis: `y = exp(x − max x) / Σ exp(x − max x)`, overwritten. Exponentials below the smallest normal number
//! are 0: beside a sum of 1 or more they count for nothing, and arithmetic on them takes tens of times as long.

use super::{expect_dtypes, gpu};
use crate::base::{DType, Error, Real, Result, Type, Wide, arch};
use crate::graph::{Bind, Derivative, GpuWork, Graph, Io, NodeView, Op, ValueId};
use crate::{answers, kernel};
use pulp::{Simd, WithSimd};

/// Softmax over the last axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Softmax;

/// Elements of rows that one thread takes at a time.
const ELEMENTS_PER_PART: usize = 16 * 1024;

/// Rows of this width that one thread takes at a time.
pub(crate) fn rows_per_part(width: usize) -> usize {
    (ELEMENTS_PER_PART / width).max(1)
}

/// (max x, Σ exp(x − max x)) of a row, whose exponentials go to `out` where there is one.
#[inline(always)]
pub(crate) fn exp_shifted<S: Simd, R: Real>(simd: S, x: &[R], out: Option<&mut [R]>) -> (R, R) {
    let lanes = Wide::<S, R>::lanes();
    // In a lane that no element fills the exponential is 0.
    let load = |x: &[R]| Wide::load_or(simd, x, -R::INFINITY);
    let mut max = Wide::splat(simd, x[0]);
    for x in x.chunks(lanes) {
        max = max.max(load(x));
    }
    let max = max.max_lanes();
    let shift = Wide::splat(simd, max);
    let mut sum = Wide::zero(simd);
    match out {
        Some(out) => {
            for (x, out) in x.chunks(lanes).zip(out.chunks_mut(lanes)) {
                let exp = exp_normal(simd, load(x) - shift);
                exp.store(out);
                sum = sum + exp;
            }
        }
        None => {
            for x in x.chunks(lanes) {
                sum = sum + exp_normal(simd, load(x) - shift);
            }
        }
    }
    (max, sum.sum_lanes())
}

/// eˣ, 0 where that is below the normal numbers. NaN stays NaN.
#[inline(always)]
fn exp_normal<S: Simd, R: Real>(simd: S, x: Wide<S, R>) -> Wide<S, R> {
    let least = Wide::splat(simd, R::LN_MIN_POSITIVE);
    x.where_at_most(least, Wide::zero(simd), x.where_at_most(least, least, x).exp())
}

/// Rows of softmax.
struct Rows<'a, R> {
    x: &'a [R],
    width: usize,
    out: &'a mut [R],
}

impl<R: Real> WithSimd for Rows<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for (x, out) in self.x.chunks_exact(self.width).zip(self.out.chunks_exact_mut(self.width)) {
            let (_, sum) = exp_shifted(simd, x, Some(&mut *out));
            let sum = Wide::splat(simd, sum);
            for out in out.chunks_mut(Wide::<S, R>::lanes()) {
                (Wide::load(simd, out) / sum).store(out);
            }
        }
    }
}

impl Op for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real])?;
        if inputs[0].shape.rank() == 0 || inputs[0].shape.last() == 0 {
            return Err(Error::input("softmax", format!("{} has no last axis to normalize", inputs[0].shape)));
        }
        Ok(vec![inputs[0]])
    }

    fn derivative(&self, g: &mut Graph, node: NodeView<'_>, grads: &[Option<ValueId>]) -> Result<Derivative> {
        let Some(dy) = grads[0] else { return Ok(Derivative::Inputs(vec![None])) };
        let y = node.outputs[0];
        let weighted = g.mul(dy, y)?;
        let mean = g.sum_axes(weighted, &[g.shape(y).rank() - 1])?;
        let centred = g.sub(dy, mean)?;
        Ok(Derivative::Inputs(vec![Some(g.mul(y, centred)?)]))
    }

    fn composition(&self, g: &mut Graph, inputs: &[ValueId]) -> Option<Result<ValueId>> {
        Some((|| {
            let exp = g.exp(inputs[0])?;
            let sum = g.sum_axes(exp, &[g.shape(exp).rank() - 1])?;
            g.div(exp, sum)
        })())
    }

    answers!(not in place);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], _: &[Type]) -> GpuWork {
        gpu::by_rows("softmax", "softmax", &[Bind::In(0), Bind::Out(0)], &inputs[0].shape, &[])
    }
}

impl Softmax {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let width = io.input_types[0].shape.last();
        let (x, each) = (io.real(0), rows_per_part(width) * width);
        io.threads.chunks(io.outputs[0], each, |part, out| {
            arch().dispatch(Rows { x: &x[part * each..][..out.len()], width, out });
        });
    }
}

impl Graph {
    /// Softmax over the last axis.
    pub fn softmax(&mut self, x: ValueId) -> Result<ValueId> {
        self.apply(Softmax, &[x])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn softmax<R: Real>(x: &[R]) -> Vec<R> {
        let mut out = vec![R::ZERO; x.len()];
        arch().dispatch(Rows { x, width: x.len(), out: &mut out });
        out
    }

    #[test]
    fn rows_of_any_width_are_within_rounding_of_the_formula() {
        for width in 1..70 {
            let x: Vec<f32> = (0..width).map(|i| (i * 37 % 19) as f32 - 40.0).collect();
            let sum: f64 = x.iter().map(|&x| f64::from(x).exp()).sum();
            for (x, y) in x.iter().zip(softmax(&x)) {
                let exact = f64::from(*x).exp() / sum;
                assert!((f64::from(y) - exact).abs() <= 4e-7 * exact, "{width}: {y} for {exact}");
            }
        }
    }

    #[test]
    fn what_is_below_the_normal_numbers_is_nothing() {
        let (x, normal) =
            ([0.0f32, -87.4, -88.0, -100.0, f32::NEG_INFINITY, -87.2], 1.0 / f64::from(f32::MIN_POSITIVE));
        let y = softmax(&x);
        assert_eq!(y[..5], [1.0, 0.0, 0.0, 0.0, 0.0]);
        assert!(f64::from(y[5]) * normal > 1.0, "{:e}", y[5]);
        assert_eq!(softmax(&[0.0f64, -708.3, -709.0])[1..], [(-708.3f64).exp(), 0.0]);
    }

    #[test]
    fn nothing_hides_what_is_not_finite() {
        for bad in [f32::NAN, f32::INFINITY] {
            for at in [0, 5, 17] {
                let mut x = [1.0f32; 18];
                x[at] = bad;
                assert!(softmax(&x)[at].is_nan(), "{bad} at {at}: {:?}", softmax(&x));
            }
        }
        assert!(softmax(&[f32::NEG_INFINITY; 3]).iter().all(|y| y.is_nan()));
    }
}

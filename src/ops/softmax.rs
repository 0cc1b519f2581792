//! Softmax over the last axis: `y = exp(x − max x) / Σ exp(x − max x)`, overwritten. Exponentials
//! below the normal numbers ([`Real::LEAST`]) are 0, in the sum too, which is 1 at least and does not feel them.

use super::{expect_dtypes, gpu};
use crate::base::{DType, Error, Real, Result, Type, Wide, arch};
use crate::graph::{Bind, Derivative, GpuWork, Graph, Io, NodeView, Op, ValueId};
use crate::{answers, kernel};
use pulp::{Simd, WithSimd};

/// The most lanes of a vector: 64 bytes of f32.
pub(crate) const LANES_MAX: usize = 16;

/// Softmax over the last axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Softmax;

/// Exponentials of rows, a vector at a time.
#[derive(Clone, Copy)]
pub(crate) struct RowExps<S: Simd, R: Real> {
    simd: S,
    width: usize,
    /// Where the last vector of a row starts.
    last: usize,
    /// 1 in the lanes of the last vector that are there, else 0.
    inside: Wide<S, R>,
}

/// max x of a row x and Σ exp(x − max x), and of these exponentials those of the last vector: they are still in a register.
pub(crate) struct Exps<S: Simd, R: Real> {
    pub(crate) max: R,
    pub(crate) sum: R,
    last: Wide<S, R>,
}

impl<S: Simd, R: Real> RowExps<S, R> {
    /// For rows of `width` numbers, one at least.
    #[inline(always)]
    pub(crate) fn new(simd: S, width: usize) -> Self {
        let lanes = Wide::<S, R>::lanes();
        let last = (width - 1) / lanes * lanes;
        let ones = [R::ONE; LANES_MAX];
        Self { simd, width, last, inside: Wide::load(simd, &ones[..width - last]) }
    }

    /// The last vector of a row, −∞ in the lanes behind it.
    #[inline(always)]
    fn load_last(&self, x: &[R]) -> Wide<S, R> {
        let one = Wide::splat(self.simd, R::ONE);
        let low = Wide::splat(self.simd, -R::of(f64::INFINITY));
        self.inside.where_equal(one, Wide::load(self.simd, &x[self.last..self.width]), low)
    }

    /// Fills `out` with exp(x − max x), but for the last vector; those below the normal numbers are 0.
    #[inline(always)]
    pub(crate) fn of(&self, x: &[R], out: &mut [R]) -> Exps<S, R> {
        let lanes = Wide::<S, R>::lanes();
        let last = self.load_last(x);
        let mut max = last;
        for from in (0..self.last).step_by(lanes) {
            max = Wide::load(self.simd, &x[from..from + lanes]).max(max);
        }
        let max = max.max_lanes();
        let top = Wide::splat(self.simd, max);
        let last = (last - top).exp_down();
        let mut sum = last;
        for from in (0..self.last).step_by(lanes) {
            let exps = (Wide::load(self.simd, &x[from..from + lanes]) - top).exp_down();
            exps.store(&mut out[from..from + lanes]);
            sum = sum + exps;
        }
        Exps { max, sum: sum.sum_lanes(), last }
    }

    /// Puts `f(exponentials, first column)` in their place, vector by vector.
    #[inline(always)]
    pub(crate) fn map(&self, exps: &Exps<S, R>, out: &mut [R], f: impl Fn(Wide<S, R>, usize) -> Wide<S, R>) {
        let lanes = Wide::<S, R>::lanes();
        for from in (0..self.last).step_by(lanes) {
            f(Wide::load(self.simd, &out[from..from + lanes]), from).store(&mut out[from..from + lanes]);
        }
        f(exps.last, self.last).store(&mut out[self.last..self.width]);
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
        let (width, x) = (io.input_types[0].shape.last(), io.real(0));
        arch().dispatch(Rows { width, x, out: io.out(0) });
    }
}

struct Rows<'a, R> {
    width: usize,
    x: &'a [R],
    out: &'a mut [R],
}

impl<R: Real> WithSimd for Rows<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let rows = RowExps::new(simd, self.width);
        for (x, out) in self.x.chunks_exact(self.width).zip(self.out.chunks_exact_mut(self.width)) {
            let exps = rows.of(x, out);
            let sum = Wide::splat(simd, exps.sum);
            rows.map(
                &exps,
                out,
                #[inline(always)]
                |exps, _| exps / sum,
            );
        }
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

    /// Exponentials, maximum and sum of a row.
    struct Job<'a, R>(&'a [R], &'a mut [R]);

    impl<R: Real> WithSimd for Job<'_, R> {
        type Output = (R, R);
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> (R, R) {
            let rows = RowExps::new(simd, self.0.len());
            let exps = rows.of(self.0, self.1);
            rows.map(&exps, self.1, |exps, _| exps);
            (exps.max, exps.sum)
        }
    }

    fn check<R: Real>() {
        for width in (1..70).chain([1000]) {
            // From 0 down to −150 and, in f64, to where exponentials are that small there.
            let depth = if R::NAME == "f32" { 150.0 } else { 750.0 };
            let row: Vec<R> = (0..width).map(|i| R::of(3.0 - (i * 7919 % 1009) as f64 / 1008.0 * depth)).collect();
            let mut found = vec![R::of(f64::NAN); width];
            let (max, sum) = arch().dispatch(Job(&row, &mut found));
            assert!(row.iter().all(|x| *x <= max) && row.contains(&max), "{width}");
            let exact: Vec<f64> = row.iter().map(|x| (*x - max).f64().exp()).collect();
            for (found, &exact) in found.iter().zip(&exact) {
                let expected = if exact <= R::LEAST.f64() { 0.0 } else { exact };
                assert!(
                    (found.f64() - expected).abs() <= 4.0 * R::UNIT_ROUNDOFF * expected,
                    "{width}: {found}, {expected:e}"
                );
            }
            let total: f64 = exact.iter().sum();
            assert!((sum.f64() / total - 1.0).abs() < 32.0 * R::UNIT_ROUNDOFF, "{width}");
            assert!(width < 60 || found.contains(&R::ZERO), "{}: nothing is that small here", R::NAME);
        }
    }

    #[test]
    fn rows_of_any_width_are_exponentials_and_those_below_the_normal_numbers_zero() {
        check::<f32>();
        check::<f64>();
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        for (row, expected) in [
            ([1.0f32, f32::NEG_INFINITY, 1.0], [1.0, 0.0, 1.0]),
            ([f32::INFINITY, 0.0, 1.0], [f32::NAN, 0.0, 0.0]),
            ([0.0, f32::NAN, 0.0], [1.0, f32::NAN, 1.0]),
        ] {
            let mut found = [0.0; 3];
            let (_, sum) = arch().dispatch(Job(&row, &mut found));
            assert_eq!(sum.is_nan(), expected.iter().any(|x| x.is_nan()), "{row:?}");
            let same = |(a, b): (&f32, &f32)| a == b || a.is_nan() && b.is_nan();
            assert!(found.iter().zip(&expected).all(same) || sum.is_nan(), "{row:?}: {found:?}");
        }
    }
}

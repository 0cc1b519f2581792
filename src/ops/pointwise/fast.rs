//! The scalar functions that are made of exponentials, and the logarithm, in f32 and by vectors: the fast kernels beside [`Fun::eval`], which they
//! are tested against.
//!
//! Largest errors in units in the last place of the result, over every 7th f32 from 2e-4 to 128 and every 101st of all, of both
//! signs, on x86-64: exp 1.02, log 1.97, expm1 1.71, erf 1.27, tanh 1.33, sigmoid 2.35, softplus 2.87.

use super::fun::Fun;
use crate::base::Wide;
use pulp::Simd;

/// `out[i] = fun(x[i])`, the same bits wherever an element stands. False, with nothing done, if the function is none of these.
#[inline(always)]
pub(super) fn unary<S: Simd>(simd: S, fun: Fun, x: &[f32], out: &mut [f32]) -> bool {
    // A macro and no closure: what is not inlined would be compiled for the least instruction set alone.
    macro_rules! arms {
        ($($fun:ident $of:expr;)*) => {
            match fun {
                $(Fun::$fun => {
                    let lanes = Wide::<S, f32>::lanes();
                    let (mut from, mut to) = (x.chunks_exact(lanes), out.chunks_exact_mut(lanes));
                    for (x, out) in from.by_ref().zip(to.by_ref()) {
                        $of(Wide::load(simd, x)).store(out);
                    }
                    if !from.remainder().is_empty() {
                        $of(Wide::load(simd, from.remainder())).store(to.into_remainder());
                    }
                })*
                _ => return false,
            }
        };
    }
    arms! {
        Exp Wide::exp;
        ExpM1 Wide::exp_m1;
        Log Wide::ln;
        Erf Wide::erf;
        Tanh Wide::tanh;
        Sigmoid sigmoid;
        Softplus softplus;
    }
    true
}

/// Without overflow: e⁻|x| is at most 1.
#[inline(always)]
fn sigmoid<S: Simd>(x: Wide<S, f32>) -> Wide<S, f32> {
    let one = x.like(1.0);
    let e = (-x.abs()).exp();
    x.where_at_most(x.like(0.0), e, one) / (one + e)
}

/// max(x, 0) + ln(1 + e⁻|x|).
#[inline(always)]
fn softplus<S: Simd>(x: Wide<S, f32>) -> Wide<S, f32> {
    let zero = x.like(0.0);
    x.where_at_most(zero, zero, x) + (-x.abs()).exp().ln_1p_to_one()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::WithSimd;

    /// Functions, and the largest error that is allowed, in units in the last place.
    const BOUNDS: [(Fun, f64); 7] = [
        (Fun::Exp, 1.1),
        (Fun::ExpM1, 1.8),
        (Fun::Log, 2.0),
        (Fun::Erf, 1.4),
        (Fun::Tanh, 1.4),
        (Fun::Sigmoid, 2.5),
        (Fun::Softplus, 3.0),
    ];

    struct Job<'a>(Fun, &'a [f32], &'a mut [f32]);

    impl WithSimd for Job<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            assert!(unary(simd, self.0, self.1, self.2));
        }
    }

    /// On every instruction set that is here.
    fn on_each(fun: Fun, x: &[f32], check: impl Fn(&str, &[f32])) {
        let mut out = vec![0.0; x.len()];
        Job(fun, x, &mut out).with_simd(pulp::Scalar::new());
        check("scalar", &out);
        #[cfg(target_arch = "x86_64")]
        {
            use pulp::x86::{V3, V4};
            if let Some(simd) = V3::try_new() {
                Simd::vectorize(simd, Job(fun, x, &mut out));
                check("x86-64-v3", &out);
            }
            if let Some(simd) = V4::try_new() {
                Simd::vectorize(simd, Job(fun, x, &mut out));
                check("x86-64-v4", &out);
            }
        }
        crate::base::arch().dispatch(Job(fun, x, &mut out));
        check("the best", &out);
    }

    /// The distance between the numbers of f32 about `x`.
    fn unit(x: f64) -> f64 {
        let exponent = if x == 0.0 { -126.0 } else { x.abs().log2().floor().clamp(-126.0, 127.0) };
        (exponent - 23.0).exp2()
    }

    /// In units in the last place, with infinity for 2¹²⁸.
    fn error(found: f32, exact: f64) -> f64 {
        let finite = |x: f64| x.clamp(-(128f64.exp2()), 128f64.exp2());
        if found.is_nan() && exact.is_nan() {
            0.0
        } else {
            (finite(f64::from(found)) - finite(exact)).abs() / unit(exact)
        }
    }

    /// Numbers of both signs, every `all`-th of f32 and every `most`-th of those that are neither tiny nor huge; and the extremes.
    fn sweep(all: usize, most: usize) -> Vec<f32> {
        let some =
            |low: f32, high: f32, step: usize| (low.to_bits()..=high.to_bits()).step_by(step).map(f32::from_bits);
        let sizes = some(0.0, f32::INFINITY, all).chain(some(2e-4, 128.0, most));
        let extremes = [0.0, f32::from_bits(1), f32::MIN_POSITIVE, f32::MAX, f32::INFINITY, 88.72283, 88.72284, 103.97];
        // Where two formulas meet, and where results are constant.
        let at = [0.625, 1.0f32, 4.0, 10.0, 104.0];
        let beside = at.iter().flat_map(|x| [x.next_down(), *x, x.next_up()]);
        sizes.chain(extremes).chain(beside).flat_map(|x| [x, -x]).collect()
    }

    #[test]
    fn errors_are_a_few_units_in_the_last_place() {
        let x = sweep(4099, 211);
        for (fun, bound) in BOUNDS {
            let exact: Vec<f64> = x.iter().map(|&x| fun.eval(f64::from(x), 0.0, 0.0)).collect();
            on_each(fun, &x, |set, found| {
                let worst = (0..x.len()).map(|i| (error(found[i], exact[i]), x[i]));
                let (worst, at) = worst.fold((0.0, 0.0), |a, b| if b.0 > a.0 || b.0.is_nan() { b } else { a });
                assert!(worst <= bound, "{fun:?} on {set}: off by {worst:.2} units at {at:e}");
            });
        }
    }

    #[test]
    fn extremes_are_those_of_the_literal_kernel() {
        let x =
            [f32::NEG_INFINITY, f32::MIN, -200.0, -104.0, -0.0, 0.0, 1e-40, 104.0, f32::MAX, f32::INFINITY, f32::NAN];
        for (fun, _) in BOUNDS {
            on_each(fun, &x, |set, found| {
                for (&x, &found) in x.iter().zip(found) {
                    let expected: f32 = fun.eval(x, 0.0, 0.0);
                    let same = found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan();
                    assert!(same, "{fun:?} of {x:e} on {set}: {found:e}, expected {expected:e}");
                }
            });
        }
    }

    #[test]
    fn odd_functions_are_odd() {
        let x = sweep(40_009, 2003);
        for fun in [Fun::Tanh, Fun::Erf] {
            on_each(fun, &x, |set, found| {
                for (i, pair) in found.chunks_exact(2).enumerate() {
                    assert_eq!(
                        pair[0].to_bits(),
                        (-pair[1]).to_bits(),
                        "{fun:?} of ±{:e} on {set}: {pair:?}",
                        x[2 * i]
                    );
                }
            });
        }
    }

    #[test]
    fn a_tail_has_the_bits_of_a_whole_vector() {
        let x: Vec<f32> = (0..64).map(|i| (i * 37 % 64) as f32 / 4.0 - 8.0).collect();
        for (fun, _) in BOUNDS {
            on_each(fun, &x, |set, whole| {
                for (from, to) in (0..64).flat_map(|from| (from..=64).map(move |to| (from, to))) {
                    on_each(fun, &x[from..to], |same, part| {
                        let differs = |(a, b): (&f32, &f32)| a.to_bits() != b.to_bits();
                        let off = part.iter().zip(&whole[from..to]).position(differs).filter(|_| same == set);
                        assert_eq!(off, None, "{fun:?} on {set}, {from} to {to}");
                    });
                }
            });
        }
    }
}

//! Vector registers on the instruction set at hand, with the operators of numbers, so that a kernel's formula reads as it
//! would for one number.

mod elementary;

use super::Real;
use bytemuck::Pod;
use pulp::{MemMask, Simd};
use std::ops::{Add, Div, Mul, Neg, Sub};

/// What a scalar type needs for kernels on every instruction set that `pulp` finds at run time.
pub trait Lanes: Sized {
    /// A vector register full of scalars.
    type V<S: Simd>: Copy + Pod;
    /// A yes or no for each lane.
    type M<S: Simd>: Copy;

    /// The scalar in every lane.
    fn splat<S: Simd>(simd: S, x: Self) -> Self::V<S>;
    /// a + b.
    fn add<S: Simd>(simd: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// a − b.
    fn sub<S: Simd>(simd: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// a·b.
    fn mul<S: Simd>(simd: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// a/b.
    fn div<S: Simd>(simd: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// a·b + c, rounded once where the machine can.
    fn fma<S: Simd>(simd: S, a: Self::V<S>, b: Self::V<S>, c: Self::V<S>) -> Self::V<S>;
    /// √a.
    fn root<S: Simd>(simd: S, a: Self::V<S>) -> Self::V<S>;
    /// |a|.
    fn size<S: Simd>(simd: S, a: Self::V<S>) -> Self::V<S>;
    /// The larger of a and b; which one if one is NaN, the machine decides.
    fn larger<S: Simd>(simd: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// a = b.
    fn equal<S: Simd>(simd: S, a: Self::V<S>, b: Self::V<S>) -> Self::M<S>;
    /// a ≤ b.
    fn at_most<S: Simd>(simd: S, a: Self::V<S>, b: Self::V<S>) -> Self::M<S>;
    /// `yes` where the mask says so, else `no`.
    fn select<S: Simd>(simd: S, mask: Self::M<S>, yes: Self::V<S>, no: Self::V<S>) -> Self::V<S>;
    /// The sum of all lanes, in an order that the instruction set fixes.
    fn sum_lanes<S: Simd>(simd: S, v: Self::V<S>) -> Self;
    /// The largest lane.
    fn max_lanes<S: Simd>(simd: S, v: Self::V<S>) -> Self;
    /// Yes for so many of the first lanes.
    fn first<S: Simd>(simd: S, count: usize) -> Self::M<S>;
    /// The first lanes from memory, the others 0.
    fn load_first<S: Simd>(simd: S, from: &[Self]) -> Self::V<S>;
    /// The first lanes to memory.
    fn store_first<S: Simd>(simd: S, to: &mut [Self], v: Self::V<S>);

    /// 0, 1, 2, …, for as many lanes as the widest registers have.
    const INDICES: [Self; 16];

    /// eᵃ for a ≤ 0; 0 where that is below the normal numbers ([`Real::LEAST`]).
    fn exp_down<S: Simd>(simd: S, a: Self::V<S>) -> Self::V<S>;
    /// ln a.
    fn ln_lanes<S: Simd>(simd: S, a: Self::V<S>) -> Self::V<S>;

    /// Scalars per vector.
    #[inline(always)]
    fn lanes<S: Simd>() -> usize {
        size_of::<Self::V<S>>() / size_of::<Self>()
    }
    /// A full vector from memory of any alignment.
    #[inline(always)]
    fn load<S: Simd>(from: &[Self]) -> Self::V<S>
    where
        Self: Pod,
    {
        bytemuck::pod_read_unaligned(bytemuck::cast_slice(from))
    }
    /// A full vector to memory of any alignment.
    #[inline(always)]
    fn store<S: Simd>(to: &mut [Self], v: Self::V<S>)
    where
        Self: Pod,
    {
        to.copy_from_slice(bytemuck::cast_slice(std::slice::from_ref(&v)));
    }
}

/// [`Lanes`] for a scalar type, each method by its name in [`pulp::Simd`].
macro_rules! lanes {
    ($t:ident, $v:ident, $m:ident; $($one:ident = $one_of:ident)*; $($two:ident = $two_of:ident)*;
     $($compare:ident = $compare_of:ident)*; $($fold:ident = $fold_of:ident)*;
     $splat:ident $fma:ident $select:ident $between:ident $load:ident $store:ident; $exp_down:expr, $ln:expr) => {
        impl Lanes for $t {
            type V<S: Simd> = S::$v;
            type M<S: Simd> = S::$m;
            const INDICES: [Self; 16] =
                [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 15.0];
            #[inline(always)]
            fn exp_down<S: Simd>(simd: S, v: S::$v) -> S::$v {
                $exp_down(Wide { simd, v }).v
            }
            #[inline(always)]
            fn ln_lanes<S: Simd>(simd: S, v: S::$v) -> S::$v {
                $ln(Wide { simd, v }).v
            }
            $(#[inline(always)]
            fn $one<S: Simd>(simd: S, a: S::$v) -> S::$v {
                simd.$one_of(a)
            })*
            $(#[inline(always)]
            fn $two<S: Simd>(simd: S, a: S::$v, b: S::$v) -> S::$v {
                simd.$two_of(a, b)
            })*
            $(#[inline(always)]
            fn $compare<S: Simd>(simd: S, a: S::$v, b: S::$v) -> S::$m {
                simd.$compare_of(a, b)
            })*
            $(#[inline(always)]
            fn $fold<S: Simd>(simd: S, v: S::$v) -> Self {
                simd.$fold_of(v)
            })*
            #[inline(always)]
            fn splat<S: Simd>(simd: S, x: Self) -> S::$v {
                simd.$splat(x)
            }
            #[inline(always)]
            fn fma<S: Simd>(simd: S, a: S::$v, b: S::$v, c: S::$v) -> S::$v {
                simd.$fma(a, b, c)
            }
            #[inline(always)]
            fn select<S: Simd>(simd: S, mask: S::$m, yes: S::$v, no: S::$v) -> S::$v {
                simd.$select(mask, yes, no)
            }
            #[inline(always)]
            fn first<S: Simd>(simd: S, count: usize) -> S::$m {
                simd.$between(0, count as _).mask()
            }
            // By masks alone: `pulp` calls a function of each length for this, which leaves no register as it is.
            #[inline(always)]
            fn load_first<S: Simd>(simd: S, from: &[Self]) -> S::$v {
                let mask = MemMask::new(Self::first(simd, from.len()));
                // SAFETY: the mask has no more lanes than there are elements, which the reference lets be read.
                unsafe { simd.$load(mask, from.as_ptr()) }
            }
            #[inline(always)]
            fn store_first<S: Simd>(simd: S, to: &mut [Self], v: S::$v) {
                let mask = MemMask::new(Self::first(simd, to.len()));
                // SAFETY: the mask has no more lanes than there are elements, which the reference lets be written.
                unsafe { simd.$store(mask, to.as_mut_ptr(), v) }
            }
        }
    };
}

lanes!(f32, f32s, m32s;
    root = sqrt_f32s size = abs_f32s;
    add = add_f32s sub = sub_f32s mul = mul_f32s div = div_f32s larger = max_f32s;
    equal = equal_f32s at_most = less_than_or_equal_f32s;
    sum_lanes = reduce_sum_f32s max_lanes = reduce_max_f32s;
    splat_f32s mul_add_e_f32s select_f32s mask_between_m32s mask_load_ptr_f32s mask_store_ptr_f32s; Wide::exp_down_f32, Wide::ln_f32);
lanes!(f64, f64s, m64s;
    root = sqrt_f64s size = abs_f64s;
    add = add_f64s sub = sub_f64s mul = mul_f64s div = div_f64s larger = max_f64s;
    equal = equal_f64s at_most = less_than_or_equal_f64s;
    sum_lanes = reduce_sum_f64s max_lanes = reduce_max_f64s;
    splat_f64s mul_add_e_f64s select_f64s mask_between_m64s mask_load_ptr_f64s mask_store_ptr_f64s; Wide::exp_down_f64, Wide::ln_f64);

/// A vector register of scalars `R` on the instruction set `S`.
#[derive(Clone, Copy)]
pub struct Wide<S: Simd, R: Real> {
    simd: S,
    v: R::V<S>,
}

/// The oracle's: lane by lane, by the library.
impl<S: Simd> Wide<S, f64> {
    #[inline(always)]
    fn exp_down_f64(mut self) -> Self {
        for x in bytemuck::cast_slice_mut::<_, f64>(std::slice::from_mut(&mut self.v)) {
            *x = if *x <= f64::LN_LEAST { 0.0 } else { Real::exp(*x) };
        }
        self
    }

    #[inline(always)]
    fn ln_f64(mut self) -> Self {
        bytemuck::cast_slice_mut(std::slice::from_mut(&mut self.v)).iter_mut().for_each(|x: &mut f64| *x = x.ln());
        self
    }
}

impl<S: Simd, R: Real> Wide<S, R> {
    /// Scalars per vector.
    #[inline(always)]
    pub fn lanes() -> usize {
        R::lanes::<S>()
    }

    /// The scalar in every lane.
    #[inline(always)]
    pub fn splat(simd: S, x: R) -> Self {
        Self { simd, v: R::splat(simd, x) }
    }

    /// 0 in every lane.
    #[inline(always)]
    pub fn zero(simd: S) -> Self {
        Self::splat(simd, R::ZERO)
    }

    /// The number of each lane.
    #[inline(always)]
    pub fn indices(simd: S) -> Self {
        Self { simd, v: R::load::<S>(&R::INDICES[..Self::lanes()]) }
    }

    /// As many scalars as there are lanes; with fewer, the other lanes are `rest`.
    #[inline(always)]
    pub fn load_or(simd: S, from: &[R], rest: R) -> Self {
        if from.len() == Self::lanes() {
            return Self { simd, v: R::load::<S>(from) };
        }
        let v = R::select(simd, R::first(simd, from.len()), R::load_first(simd, from), R::splat(simd, rest));
        Self { simd, v }
    }

    /// As many scalars as there are lanes; with fewer, the other lanes are 0.
    #[inline(always)]
    pub fn load(simd: S, from: &[R]) -> Self {
        let v = if from.len() == Self::lanes() { R::load::<S>(from) } else { R::load_first(simd, from) };
        Self { simd, v }
    }

    /// To as many scalars as there are lanes; with fewer, the other lanes are dropped.
    #[inline(always)]
    pub fn store(self, to: &mut [R]) {
        if to.len() == Self::lanes() { R::store::<S>(to, self.v) } else { R::store_first(self.simd, to, self.v) }
    }

    /// self·a + b, rounded once where the machine can.
    #[inline(always)]
    pub fn mul_add(self, a: Self, b: Self) -> Self {
        Self { v: R::fma(self.simd, self.v, a.v, b.v), ..self }
    }

    /// eˣ for x ≤ 0; 0 where that is below the normal numbers ([`Real::LEAST`]).
    #[inline(always)]
    pub fn exp_down(self) -> Self {
        Self { v: R::exp_down(self.simd, self.v), ..self }
    }

    /// ln x; −infinity of 0, NaN below.
    #[inline(always)]
    pub fn ln(self) -> Self {
        Self { v: R::ln_lanes(self.simd, self.v), ..self }
    }

    /// The square root.
    #[inline(always)]
    pub fn sqrt(self) -> Self {
        Self { v: R::root(self.simd, self.v), ..self }
    }

    /// The magnitude.
    #[inline(always)]
    pub fn abs(self) -> Self {
        Self { v: R::size(self.simd, self.v), ..self }
    }

    /// The larger one; which one if one is NaN, the machine decides.
    #[inline(always)]
    pub fn max(self, other: Self) -> Self {
        Self { v: R::larger(self.simd, self.v, other.v), ..self }
    }

    /// `yes` where self ≤ bound, `no` elsewhere and where one of them is NaN.
    #[inline(always)]
    pub fn where_at_most(self, bound: Self, yes: Self, no: Self) -> Self {
        Self { v: R::select(self.simd, R::at_most(self.simd, self.v, bound.v), yes.v, no.v), ..self }
    }

    /// `yes` where self = other, else `no`.
    #[inline(always)]
    pub fn where_equal(self, other: Self, yes: Self, no: Self) -> Self {
        Self { v: R::select(self.simd, R::equal(self.simd, self.v, other.v), yes.v, no.v), ..self }
    }

    /// 0 where the magnitude is at most `bound`; NaN stays.
    #[inline(always)]
    #[must_use]
    pub fn zero_below(self, bound: Self) -> Self {
        self.abs().where_at_most(bound, Self::zero(self.simd), self)
    }

    /// The sum of all lanes, in an order that the instruction set fixes.
    #[inline(always)]
    pub fn sum_lanes(self) -> R {
        R::sum_lanes(self.simd, self.v)
    }

    /// The largest lane.
    #[inline(always)]
    pub fn max_lanes(self) -> R {
        R::max_lanes(self.simd, self.v)
    }
}

macro_rules! operator {
    ($($trait:ident $method:ident)*) => {$(
        impl<S: Simd, R: Real> $trait for Wide<S, R> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                Self { v: <R as Lanes>::$method(self.simd, self.v, other.v), ..self }
            }
        }
    )*};
}

operator!(Add add Sub sub Mul mul Div div);

impl<S: Simd, R: Real> Neg for Wide<S, R> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self::splat(self.simd, -R::ZERO) - self
    }
}

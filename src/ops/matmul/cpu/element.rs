//! What the fast kernels need of a scalar type: its vectors on the instruction set at hand.

use crate::base::Real;
use bytemuck::Pod;
use pulp::Simd;

/// A scalar with vector operations on every instruction set that `pulp` finds at run time.
pub(super) trait Element: Real {
    /// A vector register full of scalars.
    type V<S: Simd>: Copy + Pod;

    /// Scalars per vector.
    fn lanes<S: Simd>() -> usize {
        size_of::<Self::V<S>>() / size_of::<Self>()
    }
    /// The scalar in every lane.
    fn splat<S: Simd>(simd: S, x: Self) -> Self::V<S>;
    /// a·b + c, rounded once where the machine can.
    fn fma<S: Simd>(simd: S, a: Self::V<S>, b: Self::V<S>, c: Self::V<S>) -> Self::V<S>;
    /// a + b.
    fn plus<S: Simd>(simd: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// The sum of all lanes, in an order that the instruction set fixes.
    fn sum_lanes<S: Simd>(simd: S, v: Self::V<S>) -> Self;
    /// The side of the square that `transpose_block` turns.
    const BLOCK: usize;
    /// `to[q·step + i] = from[i·stride + q]` for i and q below `BLOCK`.
    fn transpose_block(from: &[Self], stride: usize, to: &mut [Self], step: usize);

    /// A full vector from memory of any alignment.
    #[inline(always)]
    fn load<S: Simd>(from: &[Self]) -> Self::V<S> {
        bytemuck::pod_read_unaligned(bytemuck::cast_slice(from))
    }
    /// A full vector to memory of any alignment.
    #[inline(always)]
    fn store<S: Simd>(to: &mut [Self], v: Self::V<S>) {
        to.copy_from_slice(bytemuck::cast_slice(std::slice::from_ref(&v)));
    }
}

macro_rules! element {
    ($t:ident, $v:ident, $splat:ident, $mul_add:ident, $add:ident, $sum:ident, $block:literal, $transpose:path) => {
        impl Element for $t {
            type V<S: Simd> = S::$v;
            #[inline(always)]
            fn splat<S: Simd>(simd: S, x: Self) -> S::$v {
                simd.$splat(x)
            }
            #[inline(always)]
            fn fma<S: Simd>(simd: S, a: S::$v, b: S::$v, c: S::$v) -> S::$v {
                simd.$mul_add(a, b, c)
            }
            #[inline(always)]
            fn plus<S: Simd>(simd: S, a: S::$v, b: S::$v) -> S::$v {
                simd.$add(a, b)
            }
            #[inline(always)]
            fn sum_lanes<S: Simd>(simd: S, v: S::$v) -> Self {
                simd.$sum(v)
            }
            const BLOCK: usize = $block;
            #[inline(always)]
            fn transpose_block(from: &[Self], stride: usize, to: &mut [Self], step: usize) {
                $transpose(from, stride, to, step)
            }
        }
    };
}

element!(f32, f32s, splat_f32s, mul_add_e_f32s, add_f32s, reduce_sum_f32s, 8, super::transpose::block_f32);
element!(f64, f64s, splat_f64s, mul_add_e_f64s, add_f64s, reduce_sum_f64s, 4, super::transpose::block_f64);

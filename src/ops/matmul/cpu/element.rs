//! What the fast product needs of a scalar type beside its vectors: how small squares are transposed.

use crate::base::Real;

/// A scalar whose matrices are packed by squares.
pub(super) trait Element: Real {
    /// The side of the square that `transpose_block` turns.
    const BLOCK: usize;
    /// `to[q·step + i] = from[i·stride + q]` for i and q below `BLOCK`.
    fn transpose_block(from: &[Self], stride: usize, to: &mut [Self], step: usize);
}

macro_rules! element {
    ($t:ident, $block:literal, $transpose:path) => {
        impl Element for $t {
            const BLOCK: usize = $block;
            #[inline(always)]
            fn transpose_block(from: &[Self], stride: usize, to: &mut [Self], step: usize) {
                $transpose(from, stride, to, step)
            }
        }
    };
}

element!(f32, 8, super::transpose::block_f32);
element!(f64, 4, super::transpose::block_f64);

//! One file per op family: shape rule, derivative rule, CPU kernel, GPU dispatches as data.
//!
//! One floor with [`crate::graph`]. No wgpu type is named here.

pub mod arenas;
pub mod dropout;
pub mod examples;
pub mod gather;
mod gpu;
pub mod histogram;
pub mod layout;
pub mod loss;
pub mod matmul;
pub mod merge;
pub mod noise;
pub mod norm;
pub mod optimize;
pub mod pointwise;
pub mod record;
pub mod reduce;
pub mod scaling;
pub mod shaders;
pub mod softmax;
pub mod stats;
pub mod units;
pub mod variance;

use crate::base::{DType, Error, Result, Type};

/// The name of every op; scalar functions go by their names in [`pointwise::FUNS`], `pointwise` is a fused program. Each
/// has a test case, and a test reads this folder so that none is left out.
pub const OPS: &[&str] = &[
    "accumulate",
    "adjust_scale",
    "arena_histogram",
    "chunk_stats",
    "clip_factor",
    "concat",
    "copy",
    "direction_stats",
    "distance_stats",
    "dropout",
    "elementwise_stats",
    "example_stats",
    "fold",
    "fold_counts",
    "gather_rows",
    "layer_norm",
    "layer_norm_grad",
    "matmul",
    "micro_stats",
    "moved",
    "one_hot",
    "pad",
    "pointwise",
    "reshape",
    "row_histogram",
    "saturated",
    "scatter_add_rows",
    "slice",
    "softmax",
    "softmax_cross_entropy",
    "softmax_cross_entropy_grad",
    "stopping_stats",
    "sum",
    "tap_stats",
    "transpose",
    "unit_ages",
    "update",
    "variance_stats",
    "vector_stats",
];

/// Answers for ops that do not work in place, have no derivative, are primitives, or need no scratch memory.
#[macro_export]
macro_rules! answers {
    (not in place) => {
        fn in_place(&self) -> &[(usize, usize)] {
            &[]
        }
    };
    (not differentiable: $why:literal) => {
        fn derivative(
            &self,
            _: &mut $crate::graph::Graph,
            _: $crate::graph::NodeView<'_>,
            _: &[Option<$crate::graph::ValueId>],
        ) -> $crate::base::Result<$crate::graph::Derivative> {
            Ok($crate::graph::Derivative::Undefined($why))
        }
    };
    (primitive) => {
        fn composition(
            &self,
            _: &mut $crate::graph::Graph,
            _: &[$crate::graph::ValueId],
        ) -> Option<$crate::base::Result<$crate::graph::ValueId>> {
            None
        }
    };
    (no scratch) => {
        fn scratch(&self, _: &[$crate::base::Type], _: usize) -> usize {
            0
        }
    };
}

/// Checks that the inputs have these element types.
pub(crate) fn expect_dtypes(inputs: &[Type], dtypes: &[DType]) -> Result<()> {
    let found: Vec<DType> = inputs.iter().map(|ty| ty.dtype).collect();
    if found == dtypes {
        return Ok(());
    }
    Err(Error::input("inputs", format!("expected element types {dtypes:?}, found {found:?}")))
}

/// A shape as (outer, extent, inner) around one axis.
pub(crate) fn around(shape: &crate::base::Shape, axis: usize) -> (usize, usize, usize) {
    let outer = shape.iter().take(axis).product();
    let inner = shape.iter().skip(axis + 1).product();
    (outer, shape.dim(axis), inner)
}

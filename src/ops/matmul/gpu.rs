//! The GPU dispatch of matrix products: the shape alone chooses the tile, so results never depend on a timing.

use super::{Extents, MatMul};
use crate::base::{Shape, Type};
use crate::graph::{Bind, Dispatch, GpuWork, Shader};
use crate::ops::gpu::push_strides;

/// How the work is cut: a workgroup's tile of C, the depth of its strips of A and B, a thread's part of the tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tile {
    bm: usize,
    bn: usize,
    bk: usize,
    tm: usize,
    tn: usize,
}

/// Tiles from the largest to the smallest: a large one moves the fewest numbers for each product, a small one leaves no
/// part of the device idle.
const SQUARE: [Tile; 3] = [
    Tile { bm: 128, bn: 128, bk: 8, tm: 8, tn: 8 },
    Tile { bm: 64, bn: 64, bk: 16, tm: 4, tn: 4 },
    Tile { bm: 32, bn: 32, bk: 16, tm: 4, tn: 4 },
];

/// Tiles for products with few columns and with few rows.
const TALL: Tile = Tile { bm: 64, bn: 16, bk: 16, tm: 4, tn: 4 };
const FLAT: Tile = Tile { bm: 16, bn: 64, bk: 16, tm: 4, tn: 4 };

/// Workgroups below which a tile is too large to occupy a device.
const ENOUGH: usize = 96;

impl Tile {
    fn of(e: Extents) -> Self {
        if e.n <= 16 {
            return TALL;
        }
        if e.m <= 16 {
            return FLAT;
        }
        let occupies = |tile: &&Self| tile.count(e) * e.batch >= ENOUGH;
        *SQUARE.iter().find(occupies).unwrap_or(&SQUARE[2])
    }

    /// Tiles to a product.
    fn count(&self, e: Extents) -> usize {
        e.m.div_ceil(self.bm) * e.n.div_ceil(self.bn)
    }
}

/// The dispatch of a product whose output has shape `out`.
pub(super) fn work(op: &MatMul, e: Extents, inputs: &[Type], out: &Shape) -> GpuWork {
    if out.is_empty() {
        return GpuWork::default();
    }
    let tile = Tile::of(e);
    let mut params = vec![("batch", e.batch.into()), ("m", e.m.into()), ("n", e.n.into()), ("k", e.k.into())];
    for (i, ty) in inputs.iter().enumerate().skip(2) {
        let strides = ty.shape.strides_in(out);
        // The shader's axes are product, row and column, whether there is a batch or not.
        let (first, rank) = (3 - out.rank(), out.rank());
        let mut padded = [0; 3];
        padded[first..].copy_from_slice(&strides[..rank]);
        push_strides(i - 1, &padded, &mut params);
    }
    let [x, y, _] = Dispatch::fold(tile.count(e));
    let z = u32::try_from(e.batch).map_or(Dispatch::MAX_WORKGROUPS, |n| n.min(Dispatch::MAX_WORKGROUPS));
    GpuWork::one(Dispatch {
        shader: Shader { stem: "matmul", entry: "matmul", vars: vars(op, tile, inputs.len() - 1) },
        binds: (0..inputs.len()).map(Bind::In).chain([Bind::Out(0)]).collect(),
        params,
        workgroups: [x, y, z],
    })
}

/// The template's variables; the epilogue has `inputs` inputs, the product among them.
fn vars(op: &MatMul, tile: Tile, inputs: usize) -> Vec<(&'static str, String)> {
    vec![
        ("bm", tile.bm.to_string()),
        ("bn", tile.bn.to_string()),
        ("bk", tile.bk.to_string()),
        ("tm", tile.tm.to_string()),
        ("tn", tile.tn.to_string()),
        ("ta", u8::from(op.transpose_a).to_string()),
        ("tb", u8::from(op.transpose_b).to_string()),
        ("inputs", inputs.to_string()),
        ("body", op.epilogue.as_ref().map(|code| code.wgsl()).unwrap_or_default()),
    ]
}

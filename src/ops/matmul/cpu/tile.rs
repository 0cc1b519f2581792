//! The tile kernel: a small block of C held in registers while k runs.

use super::element::Element;
use crate::base::Lanes;
use pulp::Simd;

/// Vectors per tile row. With 3 of them and 8 rows, 24 of 32 registers hold C; with 4 rows, 12 of 16.
pub(super) const TILE_VECTORS: usize = 3;

/// Scalars in the largest tile of any instruction set: 8 rows of 3 vectors of 16.
const MOST_SUMS: usize = 8 * TILE_VECTORS * 16;

/// Rows per tile on this instruction set.
fn tile_rows<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { 8 } else { 4 }
}

/// The tile height for so many rows: few tiles, of equal height as far as possible, since low ones run slower.
pub(super) fn tile_height<S: Simd>(rows: usize) -> usize {
    rows.div_ceil(rows.div_ceil(tile_rows::<S>()))
}

/// The operands of one tile. Step p reads the tile's rows of A at `a[p·a_step..]` and its columns of B at
/// `b[p·b_step..]`, both contiguous: in a packed panel or, where the memory order allows, in the matrix itself.
pub(super) struct Tile<'a, R> {
    pub a: &'a [R],
    pub a_step: usize,
    pub b: &'a [R],
    pub b_step: usize,
    pub k: usize,
    /// Columns that exist; the last vector of B is padded to full length.
    pub columns: usize,
    /// Row stride of C.
    pub stride: usize,
    /// The first block of k sets C; later ones add to it.
    pub first: bool,
}

/// Adds A·B of the tile to `c`, or sets it.
#[inline(always)]
fn tile<R: Element, S: Simd, const M: usize, const V: usize>(simd: S, t: &Tile<R>, c: &mut [R]) {
    let lanes = R::lanes::<S>();
    let mut sums = [[R::splat(simd, R::ZERO); V]; M];
    let (mut at_a, mut at_b) = (0, 0);
    for _ in 0..t.k {
        let a: &[R; M] = t.a[at_a..at_a + M].try_into().expect("M scalars");
        let row = &t.b[at_b..at_b + V * lanes];
        let mut b = [R::splat(simd, R::ZERO); V];
        for j in 0..V {
            b[j] = R::load::<S>(&row[j * lanes..(j + 1) * lanes]);
        }
        for i in 0..M {
            let x = R::splat(simd, a[i]);
            for j in 0..V {
                sums[i][j] = R::fma(simd, x, b[j], sums[i][j]);
            }
        }
        at_a += t.a_step;
        at_b += t.b_step;
    }
    // Index loops of constant length: they unroll, and the sums never leave their registers.
    for i in 0..M {
        let row = &mut c[i * t.stride..][..V * lanes];
        for j in 0..V {
            let to = &mut row[j * lanes..(j + 1) * lanes];
            let sum = if t.first { sums[i][j] } else { <R as Lanes>::add(simd, R::load::<S>(to), sums[i][j]) };
            R::store::<S>(to, sum);
        }
    }
}

macro_rules! by_size {
    ($rows:expr, $vectors:expr, $simd:expr, $t:expr, $c:expr; $($m:literal)*) => {
        match ($rows, $vectors) {
            $(($m, 1) => tile::<R, S, $m, 1>($simd, $t, $c),
              ($m, 2) => tile::<R, S, $m, 2>($simd, $t, $c),
              ($m, 3) => tile::<R, S, $m, 3>($simd, $t, $c),)*
            (rows, vectors) => unreachable!("a tile of {rows} rows and {vectors} vectors"),
        }
    };
}

/// The tile kernel for `rows` ≤ `tile_rows` rows and as many vectors as the columns need.
#[inline(always)]
pub(super) fn tile_of<R: Element, S: Simd>(simd: S, t: &Tile<R>, rows: usize, c: &mut [R]) {
    let lanes = R::lanes::<S>();
    let vectors = t.columns.div_ceil(lanes);
    if t.columns == vectors * lanes {
        return full_tile(simd, t, (rows, vectors), c);
    }
    // A last vector that is not full: whole vectors to scratch, then the columns that exist to C.
    let mut scratch = [R::ZERO; MOST_SUMS];
    let width = vectors * lanes;
    full_tile(simd, &Tile { stride: width, first: true, ..*t }, (rows, vectors), &mut scratch);
    for (i, sums) in scratch.chunks_exact(width).take(rows).enumerate() {
        let row = &mut c[i * t.stride..][..t.columns];
        for (c, &sum) in row.iter_mut().zip(sums) {
            *c = if t.first { sum } else { *c + sum };
        }
    }
}

#[inline(always)]
fn full_tile<R: Element, S: Simd>(simd: S, t: &Tile<R>, (rows, vectors): (usize, usize), c: &mut [R]) {
    if tile_rows::<S>() == 8 {
        by_size!(rows, vectors, simd, t, c; 1 2 3 4 5 6 7 8)
    } else {
        by_size!(rows, vectors, simd, t, c; 1 2 3 4)
    }
}

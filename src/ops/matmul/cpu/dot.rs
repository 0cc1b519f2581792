//! The kernel for few columns: dot products along k, with both operands read where they lie.

use super::element::Element;
use pulp::Simd;

/// Columns per block of dot products; with 4 rows, 20 of 32 registers hold sums, with 2 rows, 10 of 16.
pub(super) const DOT_COLUMNS: usize = 5;

/// Rows per block on this instruction set.
pub(super) fn dot_rows<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { 4 } else { 2 }
}

/// Operands of a block: rows of A and columns of B, each contiguous along k, `a_step` and `b_step` apart.
pub(super) struct Dots<'a, R> {
    pub a: &'a [R],
    pub a_step: usize,
    pub b: &'a [R],
    pub b_step: usize,
    pub k: usize,
    /// Row stride of C.
    pub stride: usize,
}

/// M×N dot products: whole vectors of k first, then the sum across lanes, then the rest of k one by one.
#[inline(always)]
fn dots<R: Element, S: Simd, const M: usize, const N: usize>(simd: S, d: &Dots<R>, c: &mut [R]) {
    let lanes = R::lanes::<S>();
    let mut sums = [[R::splat(simd, R::ZERO); N]; M];
    let a_rows: [&[R]; M] = std::array::from_fn(|i| &d.a[i * d.a_step..][..d.k]);
    let b_rows: [&[R]; N] = std::array::from_fn(|j| &d.b[j * d.b_step..][..d.k]);
    let whole = d.k / lanes * lanes;
    for p in (0..whole).step_by(lanes) {
        let mut b = [R::splat(simd, R::ZERO); N];
        for j in 0..N {
            b[j] = R::load::<S>(&b_rows[j][p..p + lanes]);
        }
        for i in 0..M {
            let a = R::load::<S>(&a_rows[i][p..p + lanes]);
            for j in 0..N {
                sums[i][j] = R::fma(simd, a, b[j], sums[i][j]);
            }
        }
    }
    for i in 0..M {
        for j in 0..N {
            c[i * d.stride + j] = R::sum_lanes(simd, sums[i][j]);
        }
    }
    for p in whole..d.k {
        for (i, a) in a_rows.iter().enumerate() {
            for (j, b) in b_rows.iter().enumerate() {
                c[i * d.stride + j] += a[p] * b[p];
            }
        }
    }
}

macro_rules! by_size {
    ($rows:expr, $columns:expr, $simd:expr, $d:expr, $c:expr; $($m:literal)*) => {
        match ($rows, $columns) {
            $(($m, 1) => dots::<R, S, $m, 1>($simd, $d, $c),
              ($m, 2) => dots::<R, S, $m, 2>($simd, $d, $c),
              ($m, 3) => dots::<R, S, $m, 3>($simd, $d, $c),
              ($m, 4) => dots::<R, S, $m, 4>($simd, $d, $c),
              ($m, 5) => dots::<R, S, $m, 5>($simd, $d, $c),)*
            (rows, columns) => unreachable!("a block of {rows} rows and {columns} columns"),
        }
    };
}

/// The kernel for `rows` ≤ [`dot_rows`] and `columns` ≤ [`DOT_COLUMNS`].
#[inline(always)]
pub(super) fn dots_of<R: Element, S: Simd>(simd: S, d: &Dots<R>, rows: usize, columns: usize, c: &mut [R]) {
    if dot_rows::<S>() == 4 {
        by_size!(rows, columns, simd, d, c; 1 2 3 4)
    } else {
        by_size!(rows, columns, simd, d, c; 1 2)
    }
}

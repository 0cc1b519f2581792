//! The matrix product on CPU: packed panels, a tile kernel in registers, parts of rows on several threads.
//!
//! Each element of C sums over k in one order that the shape fixes, so the result is the same bit for bit for every
//! number of threads. Which instruction set runs is found at run time; between machines, results may differ in
//! rounding (a fused multiply-add rounds once, a separate one twice).

mod dot;
mod element;
mod pack;
mod plan;
mod product;
mod reference;
#[cfg(test)]
mod tests;
mod tile;
mod transpose;
mod workspace;

pub use reference::reference;
pub use workspace::scratch_len;

use crate::base::{Real, Threads, arch};
use bytemuck::{cast_slice, cast_slice_mut};
use element::Element;
use std::any::TypeId;
use std::ops::Range;

/// A matrix as a view: element (i, j) lies at `data[i·row_stride + j·col_stride]`. Swapped strides transpose it.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a, R> {
    /// The scalars, from element (0, 0) on.
    pub data: &'a [R],
    /// Distance from a row to the next.
    pub row_stride: usize,
    /// Distance from a column to the next.
    pub col_stride: usize,
}

impl<'a, R: Real> Mat<'a, R> {
    /// A row-major matrix of `cols` columns.
    pub fn rows(data: &'a [R], cols: usize) -> Self {
        Self { data, row_stride: cols, col_stride: 1 }
    }

    /// The transpose.
    #[must_use]
    pub fn t(self) -> Self {
        Self { data: self.data, row_stride: self.col_stride, col_stride: self.row_stride }
    }

    /// Element (i, j).
    pub fn at(&self, i: usize, j: usize) -> R {
        self.data[i * self.row_stride + j * self.col_stride]
    }

    fn cast<F: Real>(self) -> Mat<'a, F> {
        Mat { data: cast_slice(self.data), row_stride: self.row_stride, col_stride: self.col_stride }
    }

    fn check(&self, rows: usize, cols: usize, name: &str) {
        if rows > 0 && cols > 0 {
            let last = (rows - 1) * self.row_stride + (cols - 1) * self.col_stride;
            assert!(last < self.data.len(), "{name} is too short for {rows} rows of {cols}");
        }
    }
}

/// The epilogue's type where there is none: `None::<&NoEpilogue<f32>>`.
pub type NoEpilogue<R> = fn(Range<usize>, &mut [R]);

/// C = A·B with A m×k, B k×n and C m×n, row-major and contiguous; what C held before is overwritten.
///
/// `epilogue(rows, c_rows)` is called once for each of some disjoint ranges of whole rows that together are all rows,
/// as soon as these are final and still in cache, on the thread that made them; `c_rows` are these rows of C.
///
/// Nothing is allocated if the caller is under [`Threads::install`]. `scratch` is as long as [`scratch_len`] says.
///
/// # Panics
/// If a slice does not fit the shape, or the scratch memory is too short.
#[allow(clippy::too_many_arguments)]
pub fn matmul<R: Real, E: Fn(Range<usize>, &mut [R]) + Sync>(
    m: usize,
    n: usize,
    k: usize,
    a: Mat<R>,
    b: Mat<R>,
    c: &mut [R],
    scratch: &mut [R],
    pool: &Threads,
    epilogue: Option<&E>,
) {
    assert_eq!(c.len(), m * n, "C has m·n elements");
    a.check(m, k, "A");
    b.check(k, n, "B");
    let after = |rows: Range<usize>, c: &mut [R]| {
        if let Some(epilogue) = epilogue {
            epilogue(rows, c);
        }
    };
    if c.is_empty() {
        return;
    }
    if k == 0 {
        c.fill(R::ZERO);
        return after(0..m, c);
    }
    if TypeId::of::<R>() == TypeId::of::<f32>() {
        as_element::<R, f32>((m, n, k), (a, b), c, scratch, pool, after);
    } else {
        as_element::<R, f64>((m, n, k), (a, b), c, scratch, pool, after);
    }
}

/// The fast product of scalars `R`, which are `F` by another name.
fn as_element<R: Real, F: Element>(
    shape: (usize, usize, usize),
    (a, b): (Mat<R>, Mat<R>),
    c: &mut [R],
    scratch: &mut [R],
    pool: &Threads,
    epilogue: impl Fn(Range<usize>, &mut [R]) + Sync,
) {
    let (a_panels, b_panels) = workspace::buffers(scratch, shape.0, shape.1, shape.2);
    let panels = (cast_slice_mut(a_panels), cast_slice_mut(b_panels));
    let after = |rows: Range<usize>, c: &mut [F]| epilogue(rows, cast_slice_mut(c));
    product::fast(arch(), shape, (a.cast::<F>(), b.cast::<F>()), cast_slice_mut(c), panels, pool, after);
}

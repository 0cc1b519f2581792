//! The fast product: pack B, then make C part by part.

use super::Mat;
use super::dot::{DOT_COLUMNS, Dots, dot_rows, dots_of};
use super::element::Element;
use super::pack::{Strip, pack};
use super::plan::{Plan, a_in_place, b_in_place, by_dots};
use super::tile::{TILE_VECTORS, Tile, tile_height, tile_of};
use crate::base::Threads;
use pulp::{Arch, Simd, WithSimd};
use std::ops::Range;

/// One product, cut for the instruction set at hand.
struct Product<'a, R> {
    n: usize,
    k: usize,
    a: Mat<'a, R>,
    b: Mat<'a, R>,
    plan: Plan,
    /// Columns of a full panel of B.
    panel: usize,
    /// Columns before this one are read from B in place; the others are packed.
    packed_from: usize,
    a_in_place: bool,
    by_dots: bool,
}

/// C = A·B for k > 0, then the epilogue on each part.
pub(super) fn fast<R: Element>(
    arch: Arch,
    (m, n, k): (usize, usize, usize),
    (a, b): (Mat<R>, Mat<R>),
    c: &mut [R],
    (a_panels, b_panels): (&mut [R], &mut [R]),
    pool: &Threads,
    epilogue: impl Fn(Range<usize>, &mut [R]) + Sync,
) {
    let lanes = arch.dispatch(Lanes::<R>(std::marker::PhantomData));
    let plan = Plan::new::<R>(m, n, k);
    let panel = TILE_VECTORS * lanes;
    let by_dots = by_dots(n, k, &a, &b);
    let packed_from = match b_in_place(m, &b) {
        _ if by_dots => n,
        true if n.is_multiple_of(lanes) => n,
        true => n / panel * panel,
        false => 0,
    };
    let product = Product { n, k, by_dots, a_in_place: a_in_place(m, n, k, &a), a, b, plan, panel, packed_from };
    let alone = Threads::single();
    let pool = if plan.threaded { pool } else { &alone };
    let packed = if packed_from < n { n.next_multiple_of(lanes) - packed_from } else { 0 };
    let b_panels = &mut b_panels[..packed * k];
    pool.chunks(b_panels, panel * k, |i, to| {
        arch.dispatch(PackB { product: &product, first: packed_from + i * panel, to });
    });
    let b_panels = &*b_panels;
    let rows = plan.part_rows;
    let a_panels = (a_panels, rows * plan.k_block);
    pool.zip_chunks(c, rows * n, a_panels.0, a_panels.1, |i, c, a_panels| {
        let rows = i * rows..((i + 1) * rows).min(m);
        arch.dispatch(Part { product: &product, rows: rows.clone(), a_panels, b_panels, c });
        epilogue(rows, c);
    });
}

/// The vector length of the instruction set at hand.
struct Lanes<R>(std::marker::PhantomData<R>);

impl<R: Element> WithSimd for Lanes<R> {
    type Output = usize;
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        R::lanes::<S>()
    }
}

/// Packs the panel of B that starts at column `first`, all of k.
struct PackB<'a, R> {
    product: &'a Product<'a, R>,
    first: usize,
    to: &'a mut [R],
}

impl<R: Element> WithSimd for PackB<'_, R> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Product { n, k, b, panel, .. } = self.product;
        let strip = Strip {
            data: &b.data[self.first * b.col_stride..],
            lane_stride: b.col_stride,
            k_stride: b.row_stride,
            lanes: (*panel).min(n - self.first),
            k: *k,
        };
        pack(strip, self.to.len() / k, self.to);
    }
}

/// Makes some rows of C.
struct Part<'a, R> {
    product: &'a Product<'a, R>,
    rows: Range<usize>,
    a_panels: &'a mut [R],
    b_panels: &'a [R],
    c: &'a mut [R],
}

impl<R: Element> WithSimd for Part<'_, R> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        if self.product.by_dots {
            return self.dots(simd);
        }
        let Plan { k_block, .. } = self.product.plan;
        for k in (0..self.product.k).step_by(k_block) {
            let ks = k..(k + k_block).min(self.product.k);
            if !self.product.a_in_place {
                self.pack_a::<S>(&ks);
            }
            for first in (0..self.product.n).step_by(self.product.panel) {
                self.column_of_tiles(simd, &ks, first);
            }
        }
    }
}

impl<R: Element> Part<'_, R> {
    /// Packs this part's rows of A for a block of k, one panel per tile of rows.
    #[inline(always)]
    fn pack_a<S: Simd>(&mut self, ks: &Range<usize>) {
        let a = &self.product.a;
        let mut to = &mut *self.a_panels;
        let height = tile_height::<S>(self.rows.len());
        for first in self.rows.clone().step_by(height) {
            let lanes = height.min(self.rows.end - first);
            let (panel, rest) = to.split_at_mut(lanes * ks.len());
            let data = &a.data[first * a.row_stride + ks.start * a.col_stride..];
            let (lane_stride, k_stride) = (a.row_stride, a.col_stride);
            pack(Strip { data, lane_stride, k_stride, lanes, k: ks.len() }, lanes, panel);
            to = rest;
        }
    }

    /// All of this part as blocks of dot products.
    #[inline(always)]
    fn dots<S: Simd>(&mut self, simd: S) {
        let Product { n, k, a, b, .. } = self.product;
        for row in self.rows.clone().step_by(dot_rows::<S>()) {
            let rows = dot_rows::<S>().min(self.rows.end - row);
            for column in (0..*n).step_by(DOT_COLUMNS) {
                let columns = DOT_COLUMNS.min(n - column);
                let (a_step, b_step) = (a.row_stride, b.col_stride);
                let (a, b) = (&a.data[row * a_step..], &b.data[column * b_step..]);
                let d = Dots { a, a_step, b, b_step, k: *k, stride: *n };
                dots_of(simd, &d, rows, columns, &mut self.c[(row - self.rows.start) * n + column..]);
            }
        }
    }

    /// All tiles of this part in the panel of B that starts at column `first`, for a block of k.
    #[inline(always)]
    fn column_of_tiles<S: Simd>(&mut self, simd: S, ks: &Range<usize>, first: usize) {
        let Product { n, k, a, b, panel, packed_from, .. } = self.product;
        let (n, k) = (*n, *k);
        let columns = (*panel).min(n - first);
        let (b, b_step) = if first < *packed_from {
            (&b.data[ks.start * b.row_stride + first..], b.row_stride)
        } else {
            let width = columns.next_multiple_of(R::lanes::<S>());
            (&self.b_panels[(first - packed_from) * k + ks.start * width..], width)
        };
        let height = tile_height::<S>(self.rows.len());
        let mut at = 0;
        for row in self.rows.clone().step_by(height) {
            let rows = height.min(self.rows.end - row);
            let (a, a_step) = if self.product.a_in_place {
                (&a.data[ks.start * a.col_stride + row..], a.col_stride)
            } else {
                (&self.a_panels[at..], rows)
            };
            let t = Tile { a, a_step, b, b_step, k: ks.len(), columns, stride: n, first: ks.start == 0 };
            tile_of(simd, &t, rows, &mut self.c[(row - self.rows.start) * n + first..]);
            at += rows * ks.len();
        }
    }
}

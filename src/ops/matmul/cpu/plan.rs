//! How a product is cut: by its shape and memory order alone, never by the number of threads.

use super::Mat;

/// Bytes of k per block: a panel of B that long and 3 vectors wide stays close to the core while rows of A pass it.
const K_BLOCK_BYTES: usize = 1536;
/// Rows of C that read B in place: for fewer, a packed copy of B costs more than it saves.
const IN_PLACE_ROWS: usize = 256;
/// Columns of C for which A is read in place, likewise.
const IN_PLACE_COLUMNS: usize = 128;
/// An A of so many bytes stays in the first-level cache, in whatever order it lies.
const IN_PLACE_BYTES: usize = 16 << 10;
/// Products with fewer multiply-adds run on the caller's thread: waking another costs more.
const THREADED_FROM: usize = 1 << 19;
/// Parts that a large product is cut into, where its rows allow, so that uneven threads stay busy.
const PARTS: usize = 8;
/// Most rows in a part: so many rows of a block of A fit the second-level cache.
const MOST_ROWS: usize = 128;
/// Fewest multiply-adds in a part.
const LEAST_WORK: usize = 1 << 18;
/// Most columns of C that are made of dot products; more fill the vectors of the tile kernel well enough.
const DOT_COLUMNS_MOST: usize = 12;
/// Shortest k for dot products: below, the sums across lanes weigh too much.
const DOT_DEPTH_LEAST: usize = 64;
/// Rows of a part come in multiples of this, which every kernel's tile height divides, where there are twice as many.
const ROW_UNIT: usize = 8;
/// Widths of B in the workspace are rounded up to this, which every kernel's vector length divides.
const COLUMN_UNIT: usize = 16;

/// The cuts of one product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    /// k runs in blocks of this length, in order.
    pub k_block: usize,
    /// Rows of C per part; parts run in any order.
    pub part_rows: usize,
    /// Whether the parts are worth several threads.
    pub threaded: bool,
}

impl Plan {
    pub(super) fn new<R>(m: usize, n: usize, k: usize) -> Self {
        let most = K_BLOCK_BYTES / size_of::<R>();
        let k_block = k.div_ceil(k.div_ceil(most).max(1)).next_multiple_of(ROW_UNIT).min(k);
        let work = m * n * k;
        let rows = m.div_ceil((work / LEAST_WORK).clamp(1, PARTS)).min(MOST_ROWS);
        let part_rows = match m {
            0..16 => rows.max(m.div_ceil(2)),
            _ => rows.next_multiple_of(ROW_UNIT),
        };
        Self { k_block, part_rows: part_rows.max(1), threaded: work >= THREADED_FROM }
    }

    /// Scalars of workspace for panels of A: one block of k for each part.
    pub(super) fn a_size(&self, m: usize) -> usize {
        m.next_multiple_of(self.part_rows) * self.k_block
    }
}

/// Scalars of workspace for panels of B, all of k.
pub(super) fn b_size(n: usize, k: usize) -> usize {
    n.next_multiple_of(COLUMN_UNIT) * k
}

/// Whether the kernel reads B where it lies: its rows are contiguous, and few rows of A read it.
pub(super) fn b_in_place<R>(m: usize, b: &Mat<R>) -> bool {
    b.col_stride == 1 && m <= IN_PLACE_ROWS
}

/// Whether the kernel reads A where it lies: its columns are contiguous, and few columns of B read it or it is small.
pub(super) fn a_in_place<R>(m: usize, n: usize, k: usize, a: &Mat<R>) -> bool {
    a.row_stride == 1 && (n <= IN_PLACE_COLUMNS || m * k * size_of::<R>() <= IN_PLACE_BYTES)
}

/// Whether C is made of dot products: few columns, and both operands contiguous along a k of some length.
pub(super) fn by_dots<R>(n: usize, k: usize, a: &Mat<R>, b: &Mat<R>) -> bool {
    n <= DOT_COLUMNS_MOST && k >= DOT_DEPTH_LEAST && a.col_stride == 1 && b.row_stride == 1
}

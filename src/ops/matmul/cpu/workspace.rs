//! Memory for packed panels, made before the first product so that products allocate nothing.

use super::plan::{Plan, b_size};
use crate::base::Real;

/// Bytes of a cache line: panels start on one.
const LINE: usize = 64;

/// Buffers for packed panels. Make it for the largest product of a plan; [`matmul`](super::matmul) never grows it.
#[derive(Debug, Default)]
pub struct Workspace<R> {
    a: Vec<R>,
    b: Vec<R>,
}

impl<R: Real> Workspace<R> {
    /// An empty workspace, to be grown for each product of a plan.
    pub fn new() -> Self {
        Self { a: Vec::new(), b: Vec::new() }
    }

    /// A workspace that serves products up to this shape, for any memory order and any number of threads.
    pub fn for_product(m: usize, n: usize, k: usize) -> Self {
        let mut workspace = Self::new();
        workspace.grow(m, n, k);
        workspace
    }

    /// Makes room for a product of this shape; does nothing if there is room already.
    pub fn grow(&mut self, m: usize, n: usize, k: usize) {
        let [a, b] = Self::sizes(m, n, k);
        for (buffer, size) in [(&mut self.a, a), (&mut self.b, b)] {
            if buffer.len() < size {
                *buffer = vec![R::ZERO; size];
            }
        }
    }

    /// Bytes that the product of this shape needs.
    pub fn bytes_for(m: usize, n: usize, k: usize) -> usize {
        Self::sizes(m, n, k).iter().sum::<usize>() * size_of::<R>()
    }

    fn sizes(m: usize, n: usize, k: usize) -> [usize; 2] {
        let line = LINE / size_of::<R>();
        [Plan::new::<R>(m, n, k).a_size(m) + line, b_size(n, k) + line]
    }

    /// The buffers for panels of A and of B, each on a cache line.
    pub(super) fn buffers(&mut self, m: usize, n: usize, k: usize) -> (&mut [R], &mut [R]) {
        let [a, b] = Self::sizes(m, n, k);
        assert!(
            self.a.len() >= a && self.b.len() >= b,
            "the workspace was not made for a product of {m}x{k} and {k}x{n}"
        );
        (on_line(&mut self.a), on_line(&mut self.b))
    }
}

fn on_line<R>(buffer: &mut [R]) -> &mut [R] {
    let skip = buffer.as_ptr().align_offset(LINE);
    &mut buffer[skip..]
}

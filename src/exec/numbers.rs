//! The memory of a CPU buffer: aligned, so that no vector of a kernel straddles two cache lines.

use crate::base::Real;
use bytemuck::{Pod, Zeroable};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// A cache line, which is also the widest vector register.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u64; 8]);

/// Scalars from the start of a cache line on. An empty one takes no memory.
#[derive(Debug)]
pub(super) struct Numbers<R> {
    lines: Vec<Line>,
    len: usize,
    scalar: PhantomData<R>,
}

impl<R> Default for Numbers<R> {
    fn default() -> Self {
        Self { lines: Vec::new(), len: 0, scalar: PhantomData }
    }
}

impl<R: Real> Numbers<R> {
    /// So many zeros.
    pub(super) fn zeros(len: usize) -> Self {
        let mut numbers = Self::default();
        numbers.grow(len);
        numbers
    }

    /// Makes it at least this long, with zeros behind what is there.
    pub(super) fn grow(&mut self, len: usize) {
        let lines = (len * size_of::<R>()).div_ceil(size_of::<Line>());
        self.lines.resize(lines.max(self.lines.len()), Line::zeroed());
        self.len = self.len.max(len);
    }
}

impl<R: Real> Deref for Numbers<R> {
    type Target = [R];
    #[inline(always)]
    fn deref(&self) -> &[R] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl<R: Real> DerefMut for Numbers<R> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [R] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_begin_at_a_cache_line_and_keep_their_values_as_they_grow() {
        let mut numbers = Numbers::<f32>::zeros(17);
        numbers[16] = 3.0;
        numbers.grow(1000);
        numbers.grow(5);
        assert_eq!((numbers.len(), numbers[16], numbers[999]), (1000, 3.0, 0.0));
        assert!(numbers.as_ptr().addr().is_multiple_of(64));
    }
}

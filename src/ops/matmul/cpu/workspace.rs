//! Memory for packed panels: scratch that the caller makes before the first product, so that products allocate nothing.

use super::plan::{Plan, b_size};
use crate::base::Real;

/// Bytes of a cache line: panels start on one.
const LINE: usize = 64;

/// How many scalars of scratch memory the product of this shape needs, for any memory order and any number of threads.
pub fn scratch_len<R: Real>(m: usize, n: usize, k: usize) -> usize {
    sizes::<R>(m, n, k).iter().sum()
}

fn sizes<R: Real>(m: usize, n: usize, k: usize) -> [usize; 2] {
    let line = LINE / size_of::<R>();
    [Plan::new::<R>(m, n, k).a_size(m) + line, b_size(n, k) + line]
}

/// The scratch memory as buffers for panels of A and of B, each on a cache line.
///
/// # Panics
/// If it is smaller than [`scratch_len`] says.
pub(super) fn buffers<R: Real>(scratch: &mut [R], m: usize, n: usize, k: usize) -> (&mut [R], &mut [R]) {
    let [a, b] = sizes::<R>(m, n, k);
    assert!(scratch.len() >= a + b, "scratch of {} is too short for a product of {m}x{k} and {k}x{n}", scratch.len());
    let (a_panels, b_panels) = scratch[..a + b].split_at_mut(a);
    (on_line(a_panels), on_line(b_panels))
}

fn on_line<R>(buffer: &mut [R]) -> &mut [R] {
    let skip = buffer.as_ptr().align_offset(LINE);
    &mut buffer[skip..]
}

//! Panels: strips of a matrix copied into the order in which the tile kernel reads them.

use super::element::Element;

/// A strip of a matrix as the kernel sees it: for each k, `lanes` scalars. `lane_stride` apart in `data` lie
/// neighbours of one k, `k_stride` apart the same lane of successive k.
#[derive(Clone, Copy)]
pub(super) struct Strip<'a, R> {
    pub data: &'a [R],
    pub lane_stride: usize,
    pub k_stride: usize,
    pub lanes: usize,
    pub k: usize,
}

/// Copies a strip so that lane i of step p lands at `to[p·width + i]`; lanes from `strip.lanes` to `width` become 0.
#[inline(always)]
pub(super) fn pack<R: Element>(strip: Strip<R>, width: usize, to: &mut [R]) {
    if strip.lane_stride == 1 {
        copy_steps(strip, width, to);
    } else if strip.k_stride == 1 {
        let block = R::BLOCK;
        let (lanes, k) = (strip.lanes / block * block, strip.k / block * block);
        for i in (0..lanes).step_by(block) {
            let from = &strip.data[i * strip.lane_stride..];
            for p in (0..k).step_by(block) {
                R::transpose_block(&from[p..], strip.lane_stride, &mut to[p * width + i..], width);
            }
        }
        gather(strip, width, to, (0, k), lanes);
        gather(strip, width, to, (k, strip.k), 0);
    } else {
        gather(strip, width, to, (0, strip.k), 0);
    }
}

/// The strip's lanes lie together in memory: one copy for each k, in whole blocks where the width allows.
#[inline(always)]
fn copy_steps<R: Element>(strip: Strip<R>, width: usize, to: &mut [R]) {
    let full = strip.lanes == width;
    for (p, to) in to.chunks_exact_mut(width).take(strip.k).enumerate() {
        let from = &strip.data[p * strip.k_stride..][..strip.lanes];
        if full && width.is_multiple_of(16) {
            copy_blocks::<R, 16>(from, to);
        } else if full && width.is_multiple_of(4) {
            copy_blocks::<R, 4>(from, to);
        } else {
            to[..strip.lanes].copy_from_slice(from);
            to[strip.lanes..].fill(R::ZERO);
        }
    }
}

/// A copy whose block length the compiler knows, so that it becomes vector moves and no call.
#[inline(always)]
fn copy_blocks<R: Element, const T: usize>(from: &[R], to: &mut [R]) {
    for (to, from) in to.as_chunks_mut::<T>().0.iter_mut().zip(from.as_chunks::<T>().0) {
        *to = *from;
    }
}

/// Scalar by scalar: the rims of blocks, and matrices with no unit stride.
#[inline(always)]
fn gather<R: Element>(strip: Strip<R>, width: usize, to: &mut [R], ks: (usize, usize), first_lane: usize) {
    if first_lane == width {
        return;
    }
    for p in ks.0..ks.1 {
        let to = &mut to[p * width..][..width];
        for (i, to) in to.iter_mut().enumerate().skip(first_lane) {
            *to = if i < strip.lanes { strip.data[i * strip.lane_stride + p * strip.k_stride] } else { R::ZERO };
        }
    }
}

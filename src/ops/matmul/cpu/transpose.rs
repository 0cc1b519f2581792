//! Square blocks transposed in registers, for panels that run across the memory order of their matrix.

/// `to[q·step + i] = from[i·stride + q]` for i, q < 8.
#[inline(always)]
pub(super) fn block_f32(from: &[f32], stride: usize, to: &mut [f32], step: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(v3) = pulp::x86::V3::try_new() {
        return x86::block_f32(v3, from, stride, to, step);
    }
    portable::<f32, 8>(from, stride, to, step);
}

/// `to[q·step + i] = from[i·stride + q]` for i, q < 4.
#[inline(always)]
pub(super) fn block_f64(from: &[f64], stride: usize, to: &mut [f64], step: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(v3) = pulp::x86::V3::try_new() {
        return x86::block_f64(v3, from, stride, to, step);
    }
    portable::<f64, 4>(from, stride, to, step);
}

#[inline(always)]
fn portable<R: Copy + Default, const T: usize>(from: &[R], stride: usize, to: &mut [R], step: usize) {
    let mut rows = [[R::default(); T]; T];
    for (i, row) in rows.iter_mut().enumerate() {
        row.copy_from_slice(&from[i * stride..][..T]);
    }
    for q in 0..T {
        let column: [R; T] = std::array::from_fn(|i| rows[i][q]);
        to[q * step..][..T].copy_from_slice(&column);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use bytemuck::{cast, pod_read_unaligned};
    use pulp::x86::V3;
    use std::arch::x86_64::{__m256, __m256d};
    use std::array::from_fn;

    /// Pairs of rows, then fours, then the two halves of eights.
    #[inline(always)]
    pub(super) fn block_f32(v3: V3, from: &[f32], stride: usize, to: &mut [f32], step: usize) {
        let avx = v3.avx;
        let rows: [__m256; 8] = from_fn(|i| pod_read_unaligned(bytemuck::cast_slice(&from[i * stride..][..8])));
        let pairs: [__m256; 8] = from_fn(|i| {
            let (a, b) = (rows[i & !1], rows[i | 1]);
            if i % 2 == 0 { avx._mm256_unpacklo_ps(a, b) } else { avx._mm256_unpackhi_ps(a, b) }
        });
        let fours: [__m256; 8] = from_fn(|i| {
            let at = (i & 4) + (i & 2) / 2;
            let (a, b) = (pairs[at], pairs[at + 2]);
            if i % 2 == 0 { avx._mm256_shuffle_ps::<0x44>(a, b) } else { avx._mm256_shuffle_ps::<0xee>(a, b) }
        });
        for q in 0..8 {
            let (a, b) = (fours[q % 4], fours[q % 4 + 4]);
            let column =
                if q < 4 { avx._mm256_permute2f128_ps::<0x20>(a, b) } else { avx._mm256_permute2f128_ps::<0x31>(a, b) };
            to[q * step..][..8].copy_from_slice(&cast::<__m256, [f32; 8]>(column));
        }
    }

    /// Pairs of rows, then the two halves of fours.
    #[inline(always)]
    pub(super) fn block_f64(v3: V3, from: &[f64], stride: usize, to: &mut [f64], step: usize) {
        let avx = v3.avx;
        let rows: [__m256d; 4] = from_fn(|i| pod_read_unaligned(bytemuck::cast_slice(&from[i * stride..][..4])));
        let pairs: [__m256d; 4] = from_fn(|i| {
            let (a, b) = (rows[i & !1], rows[i | 1]);
            if i % 2 == 0 { avx._mm256_unpacklo_pd(a, b) } else { avx._mm256_unpackhi_pd(a, b) }
        });
        for q in 0..4 {
            let (a, b) = (pairs[q % 2], pairs[q % 2 + 2]);
            let column =
                if q < 2 { avx._mm256_permute2f128_pd::<0x20>(a, b) } else { avx._mm256_permute2f128_pd::<0x31>(a, b) };
            to[q * step..][..4].copy_from_slice(&cast::<__m256d, [f64; 4]>(column));
        }
    }
}

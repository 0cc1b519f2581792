//! The literal product: the definition that the fast kernel is compared with.

use super::Mat;
use crate::base::Real;

/// C[i, j] = Σₚ A[i, p]·B[p, j], summed from p = 0 up, each product and each sum rounded. `c` is m×n, row-major.
///
/// # Panics
/// If a slice is too short for the shape.
pub fn reference<R: Real>(m: usize, n: usize, k: usize, a: Mat<R>, b: Mat<R>, c: &mut [R]) {
    assert_eq!(c.len(), m * n, "C has m·n elements");
    for i in 0..m {
        for j in 0..n {
            let mut sum = R::ZERO;
            for p in 0..k {
                sum += a.at(i, p) * b.at(p, j);
            }
            c[i * n + j] = sum;
        }
    }
}

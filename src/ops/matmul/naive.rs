use super::Extents;
use crate::base::Real;
pub(super) fn product<R: Real>(e: Extents, (a, ta): (&[R], bool), (b, tb): (&[R], bool), c: &mut [R]) {
    for z in 0..e.batch {
        for i in 0..e.m {
            for j in 0..e.n {
                let mut s = R::ZERO;
                for p in 0..e.k {
                    let x = a[z * e.m * e.k + if ta { p * e.m + i } else { i * e.k + p }];
                    let y = b[z * e.n * e.k + if tb { j * e.k + p } else { p * e.n + j }];
                    s += x * y;
                }
                c[(z * e.m + i) * e.n + j] = s;
            }
        }
    }
}

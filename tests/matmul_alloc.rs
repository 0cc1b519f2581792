//! A matrix product allocates nothing once its scratch exists and the caller is on the pool.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use steepest::base::{Real, Threads};
use steepest::ops::matmul::cpu::{Mat, matmul, scratch_len};

/// The system's allocator, counting.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations_of_products<R: Real>(threads: usize) -> usize {
    let shapes = [(128, 512, 784), (128, 10, 512), (32, 64, 32), (300, 130, 70)];
    let largest = shapes.iter().map(|&(m, n, k)| scratch_len::<R>(m, n, k)).max();
    let mut scratch = vec![R::ZERO; largest.unwrap_or(0)];
    let operand = [R::ONE].repeat(128 * 784);
    let weights = [R::ONE].repeat(512 * 784);
    let mut c = [R::ZERO].repeat(128 * 512);
    let pool = Threads::new(threads).unwrap();
    pool.install(|| {
        let mut run = || {
            for (m, n, k) in shapes {
                let (a, b) = (&operand[..m * k], &weights[..n * k]);
                for (a, b) in [
                    (Mat::rows(a, k), Mat::rows(b, k).t()),
                    (Mat::rows(a, k), Mat::rows(b, n)),
                    (Mat::rows(a, m).t(), Mat::rows(b, n)),
                ] {
                    let relu = |_, rows: &mut [R]| rows.iter_mut().for_each(|x| *x = x.max(R::ZERO));
                    matmul(m, n, k, a, b, &mut c[..m * n], &mut scratch, &pool, Some(&relu));
                }
            }
        };
        // A thread that takes its first part late makes its queue late too: what allocates in each product shows in every
        // window, so the quietest one counts.
        let mut window = || {
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            (0..20).for_each(|_| run());
            ALLOCATIONS.load(Ordering::Relaxed) - before
        };
        (0..5).map(|_| window()).min().unwrap_or(0)
    })
}

#[test]
fn products_allocate_nothing() {
    for threads in [1, 2, 3, 7] {
        assert_eq!(allocations_of_products::<f32>(threads), 0, "f32 on {threads} threads");
        assert_eq!(allocations_of_products::<f64>(threads), 0, "f64 on {threads} threads");
    }
}

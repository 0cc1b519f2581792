//! The best instruction set at hand, picked at run time, and loops compiled for each of them.

use pulp::{Arch, Simd, WithSimd};
use std::sync::LazyLock;

/// The best instruction set at hand. Asking the machine takes as long as a small kernel, so it is asked once.
#[inline(always)]
pub fn arch() -> Arch {
    static ARCH: LazyLock<Arch> = LazyLock::new(Arch::new);
    *ARCH
}

/// Runs `f` compiled for the best instruction set at hand. `f` has to be `#[inline(always)]`: what is not inlined here is
/// compiled for the least instruction set alone. The bound makes it a closure that is called by value; one called by
/// reference would stand behind a shim, which is not inlined.
#[inline(always)]
pub fn vectorized<T>(f: impl FnOnce() -> T) -> T {
    arch().dispatch(Job(f))
}

struct Job<F>(F);

impl<T, F: FnOnce() -> T> WithSimd for Job<F> {
    type Output = T;
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> T {
        (self.0)()
    }
}

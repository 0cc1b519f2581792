//! The threads that CPU kernels share. Work is cut by its shape alone, so results do not depend on how many there are,
//! and a fork makes no heap allocation when it is made inside [`Threads::install`].

use super::{Error, Result};

/// A pool of a fixed number of threads.
#[derive(Debug)]
pub struct Threads {
    pool: Option<rayon::ThreadPool>,
    count: usize,
}

impl Threads {
    /// A pool of `count` threads; 0 stands for one for each core.
    ///
    /// # Errors
    /// If the system gives no threads.
    pub fn new(count: usize) -> Result<Self> {
        let count = match count {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        if count == 1 {
            return Ok(Self { pool: None, count });
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|i| format!("steepest-{i}"))
            .build()
            .map_err(|e| Error::failure("threads", format!("{count} threads could not be started: {e}")))?;
        Ok(Self { pool: Some(pool), count })
    }

    /// The caller's thread alone.
    pub fn single() -> Self {
        Self { pool: None, count: 1 }
    }

    /// How many threads.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Runs `f` on a thread of the pool; at once if called from one. A training loop is installed once, whole, since
    /// entering the pool costs microseconds and now and then an allocation.
    pub fn install<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        match &self.pool {
            Some(pool) => pool.install(f),
            None => f(),
        }
    }

    /// Runs `f(part)` for each part in 0..parts, on any thread, in any order.
    pub fn for_each_part(&self, parts: usize, f: impl Fn(usize) + Sync) {
        if self.count == 1 || parts <= 1 {
            (0..parts).for_each(f);
        } else {
            self.install(|| halve(0, parts, &f));
        }
    }

    /// Cuts `a` into chunks of `len` and runs `f(part, chunk)` for each.
    pub fn chunks<T: Send>(&self, a: &mut [T], len: usize, f: impl Fn(usize, &mut [T]) + Sync) {
        // A vector of units takes no memory.
        let mut units = vec![(); a.len().div_ceil(len.max(1))];
        self.zip_chunks(a, len, &mut units, 1, |part, a, _| f(part, a));
    }

    /// Cuts `a` and `b` into chunks of `a_len` and `b_len` and runs `f(part, chunk of a, chunk of b)` for each chunk of `a`.
    /// `b` may end early, and its chunks are then short or empty.
    pub fn zip_chunks<T: Send, U: Send>(
        &self,
        a: &mut [T],
        a_len: usize,
        b: &mut [U],
        b_len: usize,
        f: impl Fn(usize, &mut [T], &mut [U]) + Sync,
    ) {
        let cut = Cut { a_len: a_len.max(1), b_len, fork: self.count > 1 && a.len() > a_len };
        if a.is_empty() {
            return;
        }
        if cut.fork {
            self.install(|| cut.halve(0, a, b, &f));
        } else {
            cut.halve(0, a, b, &f);
        }
    }

    /// Cuts slice i into chunks of `lens[i]` and runs `f(part, chunk of each)` for each chunk of slice 0. A slice that ends
    /// early gives empty chunks.
    pub fn zip_parts<T: Send, const N: usize>(
        &self,
        slices: [&mut [T]; N],
        lens: [usize; N],
        f: impl Fn(usize, [&mut [T]; N]) + Sync,
    ) {
        if self.count == 1 || slices[0].len() <= lens[0] {
            split_parts(0, slices, lens, &f, false);
        } else {
            self.install(|| split_parts(0, slices, lens, &f, true));
        }
    }
}

fn split_parts<T: Send, const N: usize>(
    first: usize,
    slices: [&mut [T]; N],
    lens: [usize; N],
    f: &(impl Fn(usize, [&mut [T]; N]) + Sync),
    fork: bool,
) {
    let parts = slices[0].len().div_ceil(lens[0]);
    if parts <= 1 {
        return f(first, slices);
    }
    let left = parts / 2;
    let mut rest: [&mut [T]; N] = std::array::from_fn(|_| Default::default());
    let mut halves: [&mut [T]; N] = std::array::from_fn(|_| Default::default());
    for (i, slice) in slices.into_iter().enumerate() {
        let cut = (left * lens[i]).min(slice.len());
        (halves[i], rest[i]) = slice.split_at_mut(cut);
    }
    let (a, b) =
        (move || split_parts(first, halves, lens, f, fork), move || split_parts(first + left, rest, lens, f, fork));
    if fork {
        rayon::join(a, b);
    } else {
        a();
        b();
    }
}

fn halve(from: usize, to: usize, f: &(impl Fn(usize) + Sync)) {
    if to - from == 1 {
        return f(from);
    }
    let middle = from.midpoint(to);
    rayon::join(|| halve(from, middle, f), || halve(middle, to, f));
}

struct Cut {
    a_len: usize,
    b_len: usize,
    fork: bool,
}

impl Cut {
    fn halve<T: Send, U: Send>(
        &self,
        first: usize,
        a: &mut [T],
        b: &mut [U],
        f: &(impl Fn(usize, &mut [T], &mut [U]) + Sync),
    ) {
        let parts = a.len().div_ceil(self.a_len);
        if parts <= 1 {
            return f(first, a, b);
        }
        let left = parts / 2;
        let (a0, a1) = a.split_at_mut(left * self.a_len);
        let (b0, b1) = b.split_at_mut((left * self.b_len).min(b.len()));
        if self.fork {
            rayon::join(|| self.halve(first, a0, b0, f), || self.halve(first + left, a1, b1, f));
        } else {
            self.halve(first, a0, b0, f);
            self.halve(first + left, a1, b1, f);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_runs_once_on_any_number_of_threads() {
        for count in [1, 2, 3, 7] {
            let threads = Threads::new(count).unwrap();
            let mut numbers = vec![0usize; 1003];
            let mut parts = vec![0usize; 101];
            threads.zip_chunks(&mut numbers, 10, &mut parts, 1, |part, numbers, own| {
                own[0] += part;
                numbers.iter_mut().enumerate().for_each(|(i, n)| *n += part * 10 + i);
            });
            assert!(numbers.iter().copied().eq(0..1003) && parts.iter().copied().eq(0..101));
        }
    }
}

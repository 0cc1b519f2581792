//! The threads that kernels run on: a pool of chosen size and parallel loops that allocate nothing.

use rayon::{ThreadPool, ThreadPoolBuilder};

/// A pool of worker threads. With a count of one there is no pool, and everything runs on the caller's thread.
///
/// The loops fork by recursive halving, so that a fork is a job on the stack of the forking thread. A call from outside
/// the pool has to hand its work over through a queue that may allocate; work under [`Threads::install`] does not.
pub struct Threads {
    pool: Option<ThreadPool>,
    count: usize,
}

impl Threads {
    /// A pool of `count` threads (at least one).
    ///
    /// # Panics
    /// If the operating system refuses to start a thread.
    pub fn new(count: usize) -> Self {
        let count = count.max(1);
        let build = |count| {
            ThreadPoolBuilder::new()
                .num_threads(count)
                .thread_name(|i| format!("kernel-{i}"))
                .build()
                .expect("the system starts the kernel threads")
        };
        Self { pool: (count > 1).then(|| build(count)), count }
    }

    /// The number of threads.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Runs `f` on a thread of this pool, or in place if the caller is on one.
    pub fn install<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        match &self.pool {
            Some(pool) => pool.install(f),
            None => f(),
        }
    }

    /// Runs `f(0)`, …, `f(parts − 1)`, each once, in no fixed order, and returns when all are done.
    pub fn for_each_part(&self, parts: usize, f: impl Fn(usize) + Sync) {
        match &self.pool {
            Some(pool) if parts > 1 => pool.install(|| halve(0, parts, &f)),
            _ => (0..parts).for_each(f),
        }
    }

    /// Cuts `data` into chunks of `size` (the last may be shorter) and runs `f(index, chunk)` on each.
    pub fn for_each_chunk<T: Send>(&self, data: &mut [T], size: usize, f: impl Fn(usize, &mut [T]) + Sync) {
        let none: &mut [u8] = &mut [];
        self.for_each_chunk_pair((data, size), (none, 0), |i, chunk, _| f(i, chunk));
    }

    /// Cuts two slices into chunks of their own sizes and runs `f(index, chunk of first, chunk of second)` for each
    /// chunk of the first; the second may end early, and its chunks are then short or empty.
    pub fn for_each_chunk_pair<T: Send, U: Send>(
        &self,
        first: (&mut [T], usize),
        second: (&mut [U], usize),
        f: impl Fn(usize, &mut [T], &mut [U]) + Sync,
    ) {
        let chunks = first.0.len().div_ceil(first.1.max(1));
        let (first, second) = (Cut { data: first.0, size: first.1 }, Cut { data: second.0, size: second.1 });
        match &self.pool {
            Some(pool) if chunks > 1 => pool.install(|| halve_pair(0, chunks, first, second, &f)),
            _ => one_by_one(chunks, first, second, &f),
        }
    }
}

/// A slice to be cut into chunks of `size`.
struct Cut<'a, T> {
    data: &'a mut [T],
    size: usize,
}

impl<'a, T> Cut<'a, T> {
    fn split(self, chunks: usize) -> (Cut<'a, T>, Cut<'a, T>) {
        let at = (chunks * self.size).min(self.data.len());
        let (left, right) = self.data.split_at_mut(at);
        (Cut { data: left, size: self.size }, Cut { data: right, size: self.size })
    }
}

fn halve(from: usize, to: usize, f: &(impl Fn(usize) + Sync)) {
    if to - from == 1 {
        return f(from);
    }
    let middle = from + (to - from) / 2;
    rayon::join(|| halve(from, middle, f), || halve(middle, to, f));
}

fn halve_pair<T: Send, U: Send>(
    from: usize,
    to: usize,
    first: Cut<T>,
    second: Cut<U>,
    f: &(impl Fn(usize, &mut [T], &mut [U]) + Sync),
) {
    if to - from == 1 {
        return f(from, first.data, second.data);
    }
    let left = (to - from) / 2;
    let ((a, b), (c, d)) = (first.split(left), second.split(left));
    rayon::join(|| halve_pair(from, from + left, a, c, f), || halve_pair(from + left, to, b, d, f));
}

fn one_by_one<T, U>(chunks: usize, mut first: Cut<T>, mut second: Cut<U>, f: &impl Fn(usize, &mut [T], &mut [U])) {
    for i in 0..chunks {
        let ((a, rest_a), (b, rest_b)) = (first.split(1), second.split(1));
        f(i, a.data, b.data);
        (first, second) = (rest_a, rest_b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_part_runs_once() {
        for count in [1, 2, 3, 7] {
            let threads = Threads::new(count);
            assert_eq!(threads.count(), count);
            for parts in [0, 1, 2, 5, 64] {
                let runs: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
                threads.for_each_part(parts, |i| {
                    runs[i].fetch_add(1, Ordering::Relaxed);
                });
                assert!(runs.iter().all(|r| r.load(Ordering::Relaxed) == 1), "{count} threads, {parts} parts");
            }
        }
    }

    #[test]
    fn chunks_cover_the_slices_in_step() {
        for count in [1, 3] {
            let threads = Threads::new(count);
            let (mut x, mut y) = (vec![0usize; 23], vec![0usize; 10]);
            threads.for_each_chunk_pair((&mut x, 5), (&mut y, 3), |i, a, b| {
                a.fill(i + 1);
                b.fill(i + 1);
            });
            assert!(x.iter().enumerate().all(|(at, v)| *v == at / 5 + 1), "{x:?}");
            assert!(y.iter().enumerate().all(|(at, v)| *v == at / 3 + 1), "{y:?}");
            threads.for_each_chunk(&mut x, 4, |i, a| a.fill(i));
            assert!(x.iter().enumerate().all(|(at, v)| *v == at / 4), "{x:?}");
        }
    }

    #[test]
    fn install_runs_on_the_pool() {
        let threads = Threads::new(2);
        assert_eq!(threads.install(rayon::current_num_threads), 2);
    }
}

//! The loader: a thread that assembles micro-batches while the consumer computes on those before.
//!
//! A ring of buffers goes round: the thread fills an empty one and sends it, the consumer uses it and sends it back. Both
//! ways are bounded by the size of the ring, and no buffer is made after the first round.

use super::{MicroBatch, RowSource, Schedule, TargetKind};
use crate::base::{Error, Result};
use std::any::Any;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

/// A micro-batch with its numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Staged {
    /// Which rows these are, and their weights.
    pub batch: MicroBatch,
    /// Features, `[micro, features]`, row-major.
    pub x: Vec<f32>,
    /// Labels, `[micro]`; empty if the targets are values.
    pub labels: Vec<u32>,
    /// Target values, `[micro, width]`, row-major; empty if the targets are classes.
    pub values: Vec<f32>,
}

impl Staged {
    /// Buffers for micro-batches of this source in this schedule.
    pub fn new(source: &dyn RowSource, schedule: &Schedule) -> Self {
        let micro = schedule.batching().micro;
        let (labels, values) = match source.target_kind() {
            TargetKind::Classes(_) => (micro, 0),
            TargetKind::Values(width) => (0, micro * width),
        };
        Self {
            batch: schedule.micro_batch(),
            x: vec![0.0; micro * source.features()],
            labels: vec![0; labels],
            values: vec![0.0; values],
        }
    }

    /// Fetches the next micro-batch of `schedule` into these buffers, allocating nothing: what the loader's thread does, for
    /// those who want no thread.
    ///
    /// # Errors
    /// The source cannot give a row.
    pub fn fetch(&mut self, source: &dyn RowSource, schedule: &mut Schedule) -> Result<()> {
        schedule.fill(&mut self.batch);
        source.fill_rows(&self.batch.indices, &mut self.x)?;
        match source.target_kind() {
            TargetKind::Classes(_) => source.fill_labels(&self.batch.indices, &mut self.labels),
            TargetKind::Values(_) => source.fill_values(&self.batch.indices, &mut self.values),
        }
    }
}

/// The consumer's end of the ring. Dropping it ends the thread.
pub struct Loader {
    /// The channels and the thread, until the end or an error.
    line: Option<Line>,
    /// The buffer that the consumer looks at.
    current: Option<Staged>,
    /// What went wrong; it is told again to whoever asks again.
    failed: Option<Error>,
    waits: u64,
}

struct Line {
    filled: Receiver<Result<Staged>>,
    empty: SyncSender<Staged>,
    thread: JoinHandle<()>,
}

impl Loader {
    /// Starts a thread that runs through `schedule`, at most `ring` micro-batches ahead, the consumer's own included.
    ///
    /// # Errors
    /// A ring of fewer than 2 buffers, a schedule for another number of examples than the source has, or no thread to be had.
    pub fn new(source: Arc<dyn RowSource>, mut schedule: Schedule, ring: usize) -> Result<Self> {
        if ring < 2 {
            return Err(Error::input(
                "loader",
                format!("a ring of {ring} buffers cannot work ahead, it takes 2 or more"),
            ));
        }
        if schedule.batching().examples != source.rows() {
            let examples = schedule.batching().examples;
            return Err(Error::input(
                "loader",
                format!("a schedule of {examples} examples for {} rows", source.rows()),
            ));
        }
        let (to_consumer, filled) = sync_channel(ring);
        let (empty, from_consumer) = sync_channel(ring);
        for _ in 0..ring {
            empty.try_send(Staged::new(source.as_ref(), &schedule)).expect("the channel has room for the ring");
        }
        let work = move || {
            while let Ok(mut staged) = from_consumer.recv() {
                let outcome = staged.fetch(source.as_ref(), &mut schedule).map(|()| staged);
                let failed = outcome.is_err();
                // A consumer that is gone is no error: this is how the loader ends.
                if to_consumer.send(outcome).is_err() || failed {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("data loader".into())
            .spawn(work)
            .map_err(|error| Error::failure("loader", format!("no thread could be started: {error}")))?;
        Ok(Self { line: Some(Line { filled, empty, thread }), current: None, failed: None, waits: 0 })
    }

    /// The next micro-batch; the one before goes back into the ring. It waits if the thread has none ready.
    ///
    /// # Errors
    /// The source could not give a row, or the thread panicked; every later call then gives the same error.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend, and a schedule has no end")]
    pub fn next(&mut self) -> Result<&Staged> {
        let Some(line) = &self.line else {
            return Err(self.failed.clone().unwrap_or_else(|| Error::failure("loader", "it has ended")));
        };
        if let Some(used) = self.current.take() {
            // If the thread is gone, receiving tells why.
            let _ = line.empty.send(used);
        }
        let received = match line.filled.try_recv() {
            Err(TryRecvError::Empty) => {
                self.waits += 1;
                line.filled.recv().ok()
            }
            other => other.ok(),
        };
        match received {
            Some(Ok(staged)) => Ok(self.current.insert(staged)),
            Some(Err(error)) => Err(self.fail(error)),
            None => {
                let error = Error::failure("loader", "its thread ended early");
                Err(self.fail(error))
            }
        }
    }

    /// How often [`Loader::next`] found nothing ready and had to wait. The first call nearly always does.
    pub fn waits(&self) -> u64 {
        self.waits
    }

    /// Ends the thread and keeps the error, or the panic if there was one.
    fn fail(&mut self, error: Error) -> Error {
        let error = self.stop().unwrap_or(error);
        self.failed = Some(error.clone());
        error
    }

    /// Ends the thread and waits for it; its panic, if it had one.
    fn stop(&mut self) -> Option<Error> {
        let Line { filled, empty, thread } = self.line.take()?;
        // Both ends go first, or the thread could wait for them for ever.
        drop((filled, empty));
        let panic = thread.join().err()?;
        Some(Error::failure("loader", format!("its thread panicked: {}", panic_text(panic.as_ref()))))
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.stop();
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::super::{Batching, BytesDataset, Dataset, Reduction, Targets};
    use super::*;
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    const ROWS: usize = 37;

    fn batching() -> Batching {
        Batching {
            examples: ROWS,
            batch: 10,
            micro: 4,
            shuffle: true,
            drop_last: false,
            reduction: Reduction::Mean,
            seed: 1,
        }
    }

    fn schedule() -> Schedule {
        Schedule::new(batching(), None).unwrap()
    }

    fn bytes() -> BytesDataset {
        let bytes = (0..ROWS * 3).map(|i| (i * 31 % 251) as u8).collect();
        let labels = (0..ROWS as u32).map(|i| i % 7).collect();
        BytesDataset::new("b", bytes, 3, 255.0, Targets::Classes { labels, classes: 7 }).unwrap()
    }

    fn floats() -> Dataset {
        let x = ndarray::Array2::from_shape_fn((ROWS, 3), |(i, j)| (i * 3 + j) as f32);
        let values = (0..ROWS * 2).map(|v| v as f32).collect();
        Dataset::new("f", x, Targets::Values { values, width: 2 }).unwrap()
    }

    #[test]
    fn the_loader_yields_what_a_direct_gather_yields() {
        let sources: [Arc<dyn RowSource>; 2] = [Arc::new(bytes()), Arc::new(floats())];
        for source in sources {
            let mut loader = Loader::new(source.clone(), schedule(), 3).unwrap();
            let mut direct_schedule = schedule();
            let mut direct = Staged::new(source.as_ref(), &direct_schedule);
            for _ in 0..60 {
                direct.fetch(source.as_ref(), &mut direct_schedule).unwrap();
                assert_eq!(loader.next().unwrap(), &direct);
            }
            assert!(direct.batch.epoch > 2, "several epochs were compared");
        }
    }

    #[test]
    fn a_gather_takes_the_rows_that_the_schedule_names() {
        let (source, mut schedule) = (floats(), schedule());
        let mut staged = Staged::new(&source, &schedule);
        staged.fetch(&source, &mut schedule).unwrap();
        for (i, &index) in staged.batch.indices.iter().enumerate() {
            assert_eq!(staged.x[i * 3..][..3], *source.row(index as usize));
            assert_eq!(staged.values[i * 2..][..2], [index as f32 * 2.0, index as f32 * 2.0 + 1.0]);
        }
        assert!(staged.labels.is_empty());
    }

    #[test]
    fn buffers_are_used_again() {
        let mut loader = Loader::new(Arc::new(bytes()), schedule(), 3).unwrap();
        let buffers: BTreeSet<_> = (0..40).map(|_| loader.next().unwrap().x.as_ptr() as usize).collect();
        assert!(buffers.len() <= 3, "{} buffers in a ring of 3", buffers.len());
    }

    /// A source that does something else at its nth request.
    struct Faulty {
        inner: BytesDataset,
        calls: AtomicUsize,
        fault: fn(usize) -> Result<()>,
    }

    impl Faulty {
        fn new(fault: fn(usize) -> Result<()>) -> Arc<Self> {
            Arc::new(Self { inner: bytes(), calls: AtomicUsize::new(0), fault })
        }
    }

    impl RowSource for Faulty {
        fn rows(&self) -> usize {
            self.inner.rows()
        }
        fn features(&self) -> usize {
            self.inner.features()
        }
        fn target_kind(&self) -> TargetKind {
            self.inner.target_kind()
        }
        fn fill_rows(&self, indices: &[u32], x: &mut [f32]) -> Result<()> {
            (self.fault)(self.calls.fetch_add(1, Ordering::SeqCst))?;
            self.inner.fill_rows(indices, x)
        }
        fn fill_labels(&self, indices: &[u32], labels: &mut [u32]) -> Result<()> {
            self.inner.fill_labels(indices, labels)
        }
        fn fill_values(&self, indices: &[u32], values: &mut [f32]) -> Result<()> {
            self.inner.fill_values(indices, values)
        }
    }

    #[test]
    fn errors_and_panics_reach_the_consumer_in_their_turn() {
        type Fault = fn(usize) -> Result<()>;
        let faults: [(Fault, &str); 2] = [
            (|call| if call == 5 { Err(Error::failure("disk", "gone")) } else { Ok(()) }, "disk: gone"),
            (|call| if call == 5 { panic!("row {call} is cursed") } else { Ok(()) }, "panicked: row 5 is cursed"),
        ];
        for (fault, text) in faults {
            let mut loader = Loader::new(Faulty::new(fault), schedule(), 2).unwrap();
            for _ in 0..5 {
                loader.next().unwrap();
            }
            for _ in 0..2 {
                assert!(loader.next().unwrap_err().to_string().contains(text));
            }
        }
    }

    #[test]
    fn waiting_is_counted() {
        let slow = Faulty::new(|_| {
            std::thread::sleep(Duration::from_millis(20));
            Ok(())
        });
        let mut loader = Loader::new(slow, schedule(), 2).unwrap();
        (0..4).for_each(|_| assert!(loader.next().is_ok()));
        assert!(loader.waits() >= 3, "{} waits for a source that takes 20 ms", loader.waits());
        let mut ahead = Loader::new(Arc::new(bytes()), schedule(), 8).unwrap();
        ahead.next().unwrap();
        let first = ahead.waits();
        // Filling takes microseconds: after this pause six more are ready.
        std::thread::sleep(Duration::from_millis(300));
        (0..5).for_each(|_| assert!(ahead.next().is_ok()));
        assert_eq!(ahead.waits(), first);
    }

    #[test]
    fn dropping_ends_the_thread_whatever_it_does() {
        for taken in [0, 1, 5] {
            let source = Faulty::new(|_| Ok(()));
            let mut loader = Loader::new(source.clone(), schedule(), 2).unwrap();
            (0..taken).for_each(|_| assert!(loader.next().is_ok()));
            drop(loader);
            assert_eq!(Arc::strong_count(&source), 1, "the thread let go of its source");
        }
    }

    #[test]
    fn a_loader_that_cannot_work_is_refused() {
        assert!(Loader::new(Arc::new(bytes()), schedule(), 1).is_err());
        let other = Schedule::new(Batching { examples: ROWS + 1, ..batching() }, None).unwrap();
        assert!(Loader::new(Arc::new(bytes()), other, 2).is_err());
    }
}

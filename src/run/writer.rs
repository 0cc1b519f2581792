//! The thread that turns rows into text and writes them, so that the training loop never waits for a disk.
//!
//! Rows travel in a fixed set of buffers: the loop takes an empty one, hands over the full one, and allocates nothing. If
//! none is empty the loop waits, and the waits are counted: a row is never lost and a delay never hidden.

use super::row::{Layout, Row};
use crate::base::{Error, Result};
use std::io::Write;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Rows under way between the loop and the thread.
const BUFFERS: usize = 64;
/// Text is handed to the system when it holds this many rows, …
const FLUSH_ROWS: u64 = 64;
/// … or this many bytes, …
const FLUSH_BYTES: usize = 1 << 20;
/// … or when its oldest row is this old: what a killed run can lose.
const FLUSH_AFTER: Duration = Duration::from_secs(1);

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// How many rows.
    pub rows: u64,
    /// How many bytes.
    pub bytes: u64,
}

enum Message {
    Row(Box<Row>),
    /// Hand everything to the system, and tell whoever waits for it.
    Flush(Option<SyncSender<()>>),
}

/// The loop's end of the thread.
#[derive(Debug)]
pub struct Writer {
    place: String,
    full: Option<SyncSender<Message>>,
    empty: Receiver<Box<Row>>,
    thread: Option<JoinHandle<Result<Written>>>,
    failed: Option<Error>,
    waits: u64,
}

impl Writer {
    /// Starts the thread. `place` names the output in errors.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(place: String, output: impl Write + Send + 'static, layout: Layout) -> Result<Self> {
        let (full, rows) = sync_channel(BUFFERS + 1);
        let (recycle, empty) = sync_channel(BUFFERS);
        for _ in 0..BUFFERS {
            // The channel has just that many places, and its other end is here.
            let _ = recycle.try_send(Box::new(Row::new(layout.width())));
        }
        let text = Vec::with_capacity(FLUSH_BYTES + layout.max_row_bytes() as usize);
        let thread_place = place.clone();
        let thread = std::thread::Builder::new()
            .name("steepest-record".into())
            .spawn(move || {
                let mut output =
                    Output { output, text, pending: 0, since: Instant::now(), written: Written::default() };
                output.serve(&layout, &rows, &recycle).map_err(|e| {
                    Error::failure(&thread_place, format!("could not be written: {e}"))
                        .help("make room or mend the disk; rows already in the file can be read")
                })
            })
            .map_err(|e| Error::failure(&place, format!("the writer thread could not be started: {e}")))?;
        Ok(Self { place, full: Some(full), empty, thread: Some(thread), failed: None, waits: 0 })
    }

    /// Hands `row` over and leaves a cleared one in its place.
    ///
    /// # Errors
    /// The output could not be written; the same error from then on.
    pub fn put(&mut self, row: &mut Box<Row>) -> Result<()> {
        let cleared = match self.empty.try_recv() {
            Ok(cleared) => Some(cleared),
            Err(TryRecvError::Disconnected) => None,
            Err(TryRecvError::Empty) => {
                self.waits += 1;
                self.empty.recv().ok()
            }
        };
        match cleared {
            Some(cleared) => self.send(Message::Row(std::mem::replace(row, cleared))),
            None => Err(self.stop().err().unwrap_or_else(|| self.stopped())),
        }
    }

    /// Asks for all rows so far to be handed to the system.
    ///
    /// # Errors
    /// The output could not be written.
    pub fn flush(&mut self) -> Result<()> {
        self.send(Message::Flush(None))
    }

    /// Waits until all rows so far are handed to the system.
    ///
    /// # Errors
    /// The output could not be written.
    pub fn sync(&mut self) -> Result<()> {
        let (done, is_done) = sync_channel(1);
        self.send(Message::Flush(Some(done)))?;
        // A thread that has ended by an error drops its end.
        is_done.recv().map_err(|_| self.stop().err().unwrap_or_else(|| self.stopped()))
    }

    /// How often [`Writer::put`] had to wait for the thread.
    pub fn waits(&self) -> u64 {
        self.waits
    }

    /// Writes what is left and ends the thread.
    ///
    /// # Errors
    /// The output could not be written.
    pub fn finish(mut self) -> Result<Written> {
        self.stop()
    }

    fn send(&mut self, message: Message) -> Result<()> {
        match self.full.as_ref().map(|full| full.send(message)) {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) | None => Err(self.stop().err().unwrap_or_else(|| self.stopped())),
        }
    }

    fn stop(&mut self) -> Result<Written> {
        self.full = None;
        let ended = match (self.thread.take(), &self.failed) {
            (Some(thread), _) => thread.join().unwrap_or_else(|_| Err(self.stopped())),
            (None, Some(error)) => Err(error.clone()),
            (None, None) => Err(self.stopped()),
        };
        self.failed = ended.as_ref().err().cloned();
        ended
    }

    fn stopped(&self) -> Error {
        Error::failure(&self.place, "the writer thread has ended")
    }
}

impl Drop for Writer {
    /// A run that ends by an error keeps its rows.
    fn drop(&mut self) {
        self.full = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread's side: text that waits for the next flush. Flushes cut the output at row ends alone, and the clock decides
/// no more than when they happen.
struct Output<W> {
    output: W,
    text: Vec<u8>,
    pending: u64,
    since: Instant,
    written: Written,
}

impl<W: Write> Output<W> {
    fn serve(
        &mut self,
        layout: &Layout,
        rows: &Receiver<Message>,
        recycle: &SyncSender<Box<Row>>,
    ) -> std::io::Result<Written> {
        loop {
            let message = if self.pending == 0 {
                rows.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                rows.recv_timeout(FLUSH_AFTER.saturating_sub(self.since.elapsed()))
            };
            match message {
                Ok(Message::Row(mut row)) => {
                    layout.write_row(&row, &mut self.text);
                    row.clear();
                    // The loop may have ended already; its rows still count.
                    let _ = recycle.try_send(row);
                    self.added()?;
                }
                Ok(Message::Flush(waiting)) => {
                    self.flush()?;
                    // The loop may have stopped waiting; that is no error of the output.
                    let _ = waiting.map(|waiting| waiting.try_send(()));
                }
                Err(RecvTimeoutError::Timeout) => self.flush()?,
                Err(RecvTimeoutError::Disconnected) => {
                    self.flush()?;
                    return Ok(self.written);
                }
            }
        }
    }

    fn added(&mut self) -> std::io::Result<()> {
        if self.pending == 0 {
            self.since = Instant::now();
        }
        self.pending += 1;
        let due = self.pending >= FLUSH_ROWS || self.text.len() >= FLUSH_BYTES || self.since.elapsed() >= FLUSH_AFTER;
        if due { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.output.write_all(&self.text)?;
        self.output.flush()?;
        self.written.rows += self.pending;
        self.written.bytes += self.text.len() as u64;
        self.text.clear();
        self.pending = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::{Column, Schema};
    use super::*;
    use std::sync::{Arc, Mutex};

    /// Keeps what is written, after a delay, and fails when it is full.
    #[derive(Clone, Default)]
    struct Disk {
        bytes: Arc<Mutex<Vec<u8>>>,
        delay: Duration,
        room: Option<usize>,
    }

    impl Write for Disk {
        fn write(&mut self, part: &[u8]) -> std::io::Result<usize> {
            std::thread::sleep(self.delay);
            let mut bytes = self.bytes.lock().unwrap();
            if self.room.is_some_and(|room| bytes.len() + part.len() > room) {
                return Err(std::io::Error::from(std::io::ErrorKind::StorageFull));
            }
            bytes.extend_from_slice(part);
            Ok(part.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn start(disk: &Disk) -> (Writer, Box<Row>) {
        let layout = Layout::new(&Schema { columns: vec![Column::scalar("loss", "", "")] });
        (Writer::start("steps.jsonl".into(), disk.clone(), layout).unwrap(), Box::new(Row::new(1)))
    }

    fn put(writer: &mut Writer, row: &mut Box<Row>, step: u64) -> Result<()> {
        row.add(step, 0.0, step, &[step as f64]);
        writer.put(row)
    }

    #[test]
    fn a_slow_disk_makes_the_loop_wait_and_loses_nothing() {
        let disk = Disk { delay: Duration::from_millis(20), ..Disk::default() };
        let (mut writer, mut row) = start(&disk);
        (1..=300).for_each(|step| put(&mut writer, &mut row, step).unwrap());
        assert!(writer.waits() > 0, "64 buffers cannot hold 300 rows");
        let written = writer.finish().unwrap();
        let text = String::from_utf8(disk.bytes.lock().unwrap().clone()).unwrap();
        assert_eq!((written.rows, written.bytes), (300, text.len() as u64));
        for (i, line) in text.lines().enumerate() {
            assert!(line.starts_with(&format!("{{\"step\":{},\"steps\":1,", i + 1)), "{line}");
        }
    }

    #[test]
    fn rows_reach_the_disk_within_a_second_and_at_a_flush() {
        let disk = Disk::default();
        let (mut writer, mut row) = start(&disk);
        put(&mut writer, &mut row, 1).unwrap();
        let wait_for_lines = |lines: usize, limit: Duration| {
            let from = Instant::now();
            while disk.bytes.lock().unwrap().iter().filter(|&&b| b == b'\n').count() < lines {
                assert!(from.elapsed() < limit, "no {lines} lines after {limit:?}");
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        wait_for_lines(1, Duration::from_secs(10));
        put(&mut writer, &mut row, 2).unwrap();
        writer.flush().unwrap();
        wait_for_lines(2, Duration::from_secs(10));
        for step in 3..100 {
            put(&mut writer, &mut row, step).unwrap();
            writer.sync().unwrap();
            wait_for_lines(step as usize, Duration::ZERO);
        }
        drop(writer);
    }

    #[test]
    fn a_full_disk_is_an_error_of_the_loop() {
        let disk = Disk { room: Some(20_000), ..Disk::default() };
        let (mut writer, mut row) = start(&disk);
        let error = (1..100_000).find_map(|step| put(&mut writer, &mut row, step).err()).expect("the disk is full");
        assert_eq!(writer.sync().unwrap_err(), error);
        assert_eq!((error.place(), error.exit_code()), ("steps.jsonl", 1));
        assert!(error.message().contains("could not be written"), "{error}");
        assert_eq!(put(&mut writer, &mut row, 1).unwrap_err(), error, "and again");
        assert_eq!(writer.finish().unwrap_err(), error);
    }

    #[test]
    fn a_disk_found_full_by_sync_is_its_error() {
        let (mut writer, mut row) = start(&Disk { room: Some(0), ..Disk::default() });
        put(&mut writer, &mut row, 1).unwrap();
        assert!(writer.sync().unwrap_err().to_string().contains("could not be written"));
    }

    #[test]
    fn a_disk_found_full_at_the_end_is_an_error_of_finish() {
        let (mut writer, mut row) = start(&Disk { room: Some(0), ..Disk::default() });
        put(&mut writer, &mut row, 1).unwrap();
        assert!(writer.finish().unwrap_err().to_string().contains("could not be written"));
    }
}

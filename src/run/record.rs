//! The step record: every step is folded into a row of `steps.jsonl`, and the last steps are kept whole.
//!
//! [`Record::push`] is called on the hot path of training: it folds, copies, and allocates nothing. Rows are written by a
//! thread of their own ([`super::writer`]); which steps end a row follows the step number alone ([`super::thinning`]).

use super::flight::{FLIGHT_FILE, Flight};
use super::folder::write_atomic;
use super::row::{Layout, Row};
use super::schema::{SCHEMA_FILE, Schema, SchemaFile};
use super::steps::Prefix;
use super::thinning::{Every, Thinning};
use super::writer::Writer;
use crate::base::{Cadence, Error, Result};
use std::fs::{File, TryLockError};
use std::path::Path;

/// The name of the file of rows.
pub const STEPS_FILE: &str = "steps.jsonl";

/// How a step record is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSettings {
    /// How many steps a row stands for.
    pub every: Every,
    /// How many of the last steps are kept whole for `flight.jsonl`.
    pub flight_steps: usize,
    /// At which steps there is something to record. That of every step is written to `steps.jsonl`, another one to
    /// `steps.<cadence>.jsonl`.
    pub cadence: Cadence,
    /// How many anomalies may write to `flight.jsonl`: a run that goes wrong all the time must not fill the disk.
    pub flight_dumps: u64,
}

impl Default for RecordSettings {
    fn default() -> Self {
        Self { every: Every::Auto, cadence: Cadence::Every(1), flight_steps: 1000, flight_dumps: 8 }
    }
}

impl RecordSettings {
    /// The names of the file of rows and of the one that explains its columns.
    pub fn files(&self) -> [String; 2] {
        match &self.cadence {
            Cadence::Every(1) => [STEPS_FILE.to_owned(), SCHEMA_FILE.to_owned()],
            cadence => [format!("steps.{cadence}.jsonl"), format!("steps.{cadence}.schema.json")],
        }
    }
}

/// What became of a step record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RecordReport {
    /// Steps that were pushed.
    pub steps: u64,
    /// Steps with a non-finite value.
    pub non_finite_steps: u64,
    /// Rows that were written.
    pub rows: u64,
    /// Bytes of these rows.
    pub bytes: u64,
    /// How often training had to wait until the writer had caught up.
    pub record_waits: u64,
    /// Steps that were written whole.
    pub flight_steps: u64,
    /// Anomalies whose steps were not written because [`RecordSettings::flight_dumps`] were.
    pub flight_dumps_skipped: u64,
}

/// A step record that is being written.
#[derive(Debug)]
pub struct Record {
    thinning: Thinning,
    /// How many steps were pushed.
    readings: u64,
    row: Box<Row>,
    writer: Writer,
    /// The file that the writer writes, to bring it to the disk.
    file: File,
    flight: Flight,
    dumps_left: u64,
    report: RecordReport,
}

impl Record {
    /// Begins the record of a new run in `folder`.
    ///
    /// # Errors
    /// The schema has two columns of one name, the folder has a record already, or a file cannot be written.
    pub fn create(folder: &Path, schema: &Schema, settings: &RecordSettings) -> Result<Self> {
        schema.check()?;
        let layout = Layout::new(schema);
        let thinning = Thinning::new(settings.every, layout.max_row_bytes())?;
        let [rows, columns] = settings.files();
        let path = folder.join(rows);
        let file = File::options().append(true).create_new(true).open(&path).map_err(|e| not_opened(&path, &e))?;
        lock(&file, &path)?;
        write_atomic(&folder.join(columns), &schema.to_json(thinning)?)?;
        Self::start(folder, file, layout, thinning, settings, None, 0)
    }

    /// Goes on with the record of a run that stopped: rows after `last_step` are cut off, since their steps come again.
    /// `pending` is what [`Record::pending`] gave after that step. With an error nothing was changed.
    ///
    /// # Errors
    /// The record has other columns or another thinning, lacks rows, is being written, `pending` is of another schema, or a
    /// file cannot be read or written.
    pub fn resume(
        folder: &Path,
        schema: &Schema,
        settings: &RecordSettings,
        last_step: u64,
        pending: &[f64],
    ) -> Result<Self> {
        schema.check()?;
        let layout = Layout::new(schema);
        let thinning = Thinning::new(settings.every, layout.max_row_bytes())?;
        let [rows, columns] = settings.files();
        check_schema(&folder.join(columns), schema, thinning)?;
        let path = folder.join(rows);
        let row = Row::from_numbers(layout.width(), pending).ok_or_else(|| {
            Error::input(path.display(), "the checkpoint is of a record with other columns")
                .help("resume with the model and the settings it had")
        })?;
        let file = File::options().append(true).open(&path);
        let file = file.map_err(|e| Error::input(path.display(), format!("could not be opened: {e}")))?;
        lock(&file, &path)?;
        // A run that ended wrote the row that was pending with the steps it had; more of them come now.
        let readings = settings.cadence.count(last_step);
        let last_row = settings.cadence.nth(readings.saturating_sub(row.steps)).unwrap_or(0);
        let prefix = Prefix::find(&path, last_row)?;
        let expected = thinning.rows(readings);
        if prefix.rows != expected {
            let message = format!("up to step {last_step} it has {} rows, there should be {expected}", prefix.rows);
            return Err(Error::input(path.display(), message).help("restore the file that the run wrote"));
        }
        let flight_path = folder.join(FLIGHT_FILE);
        let flight = Prefix::find(&flight_path, last_step)?;
        prefix.cut(&path)?;
        flight.cut(&flight_path)?;
        Self::start(folder, file, layout, thinning, settings, Some(row), readings)
    }

    fn start(
        folder: &Path,
        file: File,
        layout: Layout,
        thinning: Thinning,
        settings: &RecordSettings,
        row: Option<Row>,
        readings: u64,
    ) -> Result<Self> {
        let row = Box::new(row.unwrap_or_else(|| Row::new(layout.width())));
        let flight = Flight::new(folder, layout.clone(), settings.flight_steps);
        let path = folder.join(&settings.files()[0]);
        let output = file.try_clone().map_err(|e| not_opened(&path, &e))?;
        let writer = Writer::start(path.display().to_string(), output, layout)?;
        let (dumps_left, report) = (settings.flight_dumps, RecordReport::default());
        Ok(Self { thinning, readings, row, writer, file, flight, dumps_left, report })
    }

    /// Takes the values of a step, in the order of the schema. Steps count from 1.
    ///
    /// # Errors
    /// `steps.jsonl` could not be written, now or before.
    ///
    /// # Panics
    /// If there are not as many values as the schema says.
    #[inline]
    pub fn push(&mut self, step: u64, epoch: f64, examples: u64, values: &[f64]) -> Result<()> {
        self.row.add(step, epoch, examples, values);
        self.flight.keep(step, epoch, examples, values);
        self.readings += 1;
        if self.thinning.ends_row(self.readings) { self.end_row() } else { Ok(()) }
    }

    fn end_row(&mut self) -> Result<()> {
        self.report.steps += self.row.steps;
        self.report.non_finite_steps += self.row.non_finite_steps;
        self.writer.put(&mut self.row)
    }

    /// Writes the last steps whole because of an anomaly, and all rows so far. False if there were too many anomalies
    /// before; the report counts them.
    ///
    /// # Errors
    /// A file could not be written.
    pub fn dump(&mut self, reason: &str) -> Result<bool> {
        self.writer.flush()?;
        if self.dumps_left == 0 {
            self.report.flight_dumps_skipped += 1;
            return Ok(false);
        }
        self.dumps_left -= 1;
        self.report.flight_steps += self.flight.dump(reason)?;
        Ok(true)
    }

    /// The row that has not ended, for a checkpoint: with it a resumed run records what an uninterrupted one would.
    pub fn pending(&self) -> Vec<f64> {
        self.row.to_numbers()
    }

    /// Brings all rows so far to the disk and waits for that, before a checkpoint that counts on them. It does not end the
    /// row that is pending.
    ///
    /// # Errors
    /// `steps.jsonl` could not be written.
    pub fn sync(&mut self) -> Result<()> {
        self.writer.sync()?;
        self.file.sync_data().map_err(|e| Error::failure(STEPS_FILE, format!("could not be brought to the disk: {e}")))
    }

    /// How often training had to wait for the writer until now.
    pub fn waits(&self) -> u64 {
        self.writer.waits()
    }

    /// Ends the record: the pending row is written with the steps it has, and the last steps whole, with `reason`.
    ///
    /// # Errors
    /// A file could not be written.
    pub fn finish(mut self, reason: &str) -> Result<RecordReport> {
        if self.row.steps > 0 {
            self.end_row()?;
        }
        self.report.flight_steps += self.flight.dump(reason)?;
        self.report.record_waits = self.writer.waits();
        let written = self.writer.finish()?;
        Ok(RecordReport { rows: written.rows, bytes: written.bytes, ..self.report })
    }
}

fn check_schema(path: &Path, schema: &Schema, thinning: Thinning) -> Result<()> {
    let text = std::fs::read(path).map_err(|e| Error::input(path.display(), format!("could not be read: {e}")))?;
    let found: SchemaFile = serde_json::from_slice(&text)
        .map_err(|e| Error::input(path.display(), format!("no schema of a step record: {e}")))?;
    if found.columns != schema.columns || found.thinning != thinning {
        let message = "the run to be resumed recorded other columns, or at other steps";
        return Err(Error::input(path.display(), message).help("resume with the model and the settings it had"));
    }
    Ok(())
}

/// Keeps other processes from writing the record until this one ends, however it does. Where a lock would keep others from
/// reading too, or the file system has none, there is none.
fn lock(file: &File, path: &Path) -> Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let error = Error::input(path.display(), "the run is still going on: another process writes this file");
            Err(error.help("wait for it, or end it first"))
        }
        Ok(()) | Err(TryLockError::Error(_)) => Ok(()),
    }
}

fn not_opened(path: &Path, e: &std::io::Error) -> Error {
    if e.kind() == std::io::ErrorKind::AlreadyExists {
        return Error::input(path.display(), "there is a step record already")
            .help("resume that run or take another folder");
    }
    Error::failure(path.display(), format!("could not be opened: {e}"))
}

#[cfg(test)]
mod tests {
    use super::super::schema::Column;
    use super::super::steps::read_steps;
    use super::super::thinning::{BUDGET_BYTES, BUDGET_STEPS};
    use super::*;
    use crate::base::{Stream, StreamId};
    use std::fs::read_to_string;

    fn schema() -> Schema {
        Schema { columns: vec![Column::scalar("loss", "mean loss", ""), Column::list("signal", "", "", ["a", "b"])] }
    }

    fn push(record: &mut Record, step: u64) {
        let x = step as f64;
        record.push(step, x / 10.0, 8 * step, &[1.0 / x, x.sin(), 1e-20 * x]).unwrap();
    }

    fn by(n: u64) -> RecordSettings {
        RecordSettings { every: Every::Steps(n), ..RecordSettings::default() }
    }

    #[test]
    fn rows_follow_the_step_number_and_repeat_bit_for_bit() {
        let texts: Vec<String> = (0..2)
            .map(|_| {
                let folder = tempfile::tempdir().unwrap();
                let mut record = Record::create(folder.path(), &schema(), &by(4)).unwrap();
                (1..=10).for_each(|step| push(&mut record, step));
                let report = record.finish("end").unwrap();
                let text = read_to_string(folder.path().join(STEPS_FILE)).unwrap();
                assert_eq!((report.steps, report.rows, report.flight_steps), (10, 3, 10));
                assert_eq!(report.bytes, text.len() as u64);
                let steps = read_steps(&folder.path().join(STEPS_FILE)).unwrap();
                assert_eq!((&steps.step[..], &steps.steps[..]), (&[4, 8, 10][..], &[4, 4, 2][..]));
                let [loss, low] = ["loss", "loss_min"].map(|name| steps.column(name).unwrap().values[0]);
                assert!((loss - 25.0 / 48.0).abs() < 1e-6 && low == 0.25);
                assert!((steps.column("signal").unwrap().row(0)[1] - 2.5e-20).abs() < 1e-26);
                text
            })
            .collect();
        assert_eq!(texts[0], texts[1]);
    }

    #[test]
    fn a_resumed_record_is_the_one_of_an_uninterrupted_run() {
        let whole = tempfile::tempdir().unwrap();
        let mut record = Record::create(whole.path(), &schema(), &by(4)).unwrap();
        (1..=20).for_each(|step| push(&mut record, step));
        record.finish("end").unwrap();

        let folder = tempfile::tempdir().unwrap();
        let mut record = Record::create(folder.path(), &schema(), &by(4)).unwrap();
        (1..=10).for_each(|step| push(&mut record, step));
        let pending = record.pending();
        (11..=17).for_each(|step| push(&mut record, step));
        record.dump("killed here").unwrap();
        drop(record);
        let path = folder.path().join(STEPS_FILE);
        let torn = format!("{}{{\"step\":20,\"st", read_to_string(&path).unwrap());
        std::fs::write(&path, torn).unwrap();
        let mut record = Record::resume(folder.path(), &schema(), &by(4), 10, &pending).unwrap();
        (11..=20).for_each(|step| push(&mut record, step));
        record.finish("end").unwrap();
        assert_eq!(read_to_string(path).unwrap(), read_to_string(whole.path().join(STEPS_FILE)).unwrap());
        assert!(read_steps(&folder.path().join(FLIGHT_FILE)).unwrap().step.into_iter().eq(1..=20));

        let other = Schema { columns: vec![Column::scalar("loss", "", "")] };
        for error in [
            Record::resume(folder.path(), &other, &by(4), 10, &pending).unwrap_err(),
            Record::resume(folder.path(), &schema(), &by(5), 10, &pending).unwrap_err(),
        ] {
            assert!(error.to_string().contains("other columns, or at other steps"), "{error}");
        }
        let error = Record::resume(folder.path(), &schema(), &by(4), 10, &[1.0]).unwrap_err();
        assert!(error.to_string().contains("checkpoint"), "{error}");
    }

    #[test]
    fn a_run_that_ended_goes_on_within_the_row_that_was_cut_short() {
        let [folder, whole] = [10, 16].map(|steps| {
            let folder = tempfile::tempdir().unwrap();
            let mut record = Record::create(folder.path(), &schema(), &by(4)).unwrap();
            (1..=steps).for_each(|step| push(&mut record, step));
            let pending = record.pending();
            record.finish("end").unwrap();
            if steps == 10 {
                let mut record = Record::resume(folder.path(), &schema(), &by(4), 10, &pending).unwrap();
                (11..=16).for_each(|step| push(&mut record, step));
                record.finish("end").unwrap();
            }
            folder
        });
        let [text, expected] = [&folder, &whole].map(|it| read_to_string(it.path().join(STEPS_FILE)).unwrap());
        assert_eq!(text, expected);
    }

    #[test]
    fn a_record_that_is_written_or_lacks_rows_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut record = Record::create(folder.path(), &schema(), &by(1)).unwrap();
        (1..=10).for_each(|step| push(&mut record, step));
        record.sync().unwrap();
        let resume = |last_step: u64| {
            let pending = Row::new(3).to_numbers();
            Record::resume(folder.path(), &schema(), &by(1), last_step, &pending).map(|_| ()).map_err(|e| e.to_string())
        };
        let path = folder.path().join(STEPS_FILE);
        let before = read_to_string(&path).unwrap();
        assert_eq!(before.lines().count(), 10, "rows are in the file once it is synchronized");
        if cfg!(unix) {
            assert!(resume(5).unwrap_err().contains("still going on"));
        }
        drop(record);
        assert!(resume(11).unwrap_err().contains("up to step 11 it has 10 rows, there should be 11"));
        assert_eq!(read_to_string(&path).unwrap(), before);
        resume(5).unwrap();
        assert_eq!(read_to_string(&path).unwrap().lines().count(), 5);
    }

    #[test]
    fn a_folder_with_a_record_is_refused_and_a_missing_one_named() {
        let folder = tempfile::tempdir().unwrap();
        Record::create(folder.path(), &schema(), &by(1)).unwrap().finish("end").unwrap();
        let error = Record::create(folder.path(), &schema(), &by(1)).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("resume that run"), "{error}");
        let error = Record::create(Path::new("/nowhere/at/all"), &schema(), &by(1)).unwrap_err();
        assert!(error.exit_code() == 1 && error.place().ends_with(STEPS_FILE), "{error}");
    }

    #[test]
    fn anomalies_write_the_flight_until_there_are_too_many() {
        let folder = tempfile::tempdir().unwrap();
        let settings = RecordSettings { flight_steps: 2, flight_dumps: 1, ..by(100) };
        let mut record = Record::create(folder.path(), &schema(), &settings).unwrap();
        for step in 1..=9 {
            push(&mut record, step);
            if step % 4 == 0 {
                assert_eq!(record.dump("loss is not finite").unwrap(), step == 4);
            }
        }
        let report = record.finish("end").unwrap();
        assert_eq!((report.flight_dumps_skipped, report.flight_steps), (1, 4));
        let flight = read_steps(&folder.path().join(FLIGHT_FILE)).unwrap();
        assert_eq!(flight.step, [3, 4, 8, 9]);
        assert_eq!(flight.reason, ["loss is not finite", "loss is not finite", "end", "end"]);
    }

    /// 8 lists over 50 layers and 5 over 100 tensors: 900 values.
    fn wide_schema() -> Schema {
        let list = |i: usize| {
            let (what, n) = if i < 8 { ("layer", 50) } else { ("tensor", 100) };
            Column::list(format!("quantity_of_{what}_{i}"), "", "", (0..n).map(|n| format!("{what}.{n}")))
        };
        Schema { columns: (0..13).map(list).collect() }
    }

    #[test]
    fn a_million_steps_of_fifty_layers_stay_in_the_budget() {
        let folder = tempfile::tempdir().unwrap();
        let mut record = Record::create(folder.path(), &wide_schema(), &RecordSettings::default()).unwrap();
        let mut stream = Stream::new(5, StreamId::Data(0));
        // Magnitudes from 1e-15 to 1e5 and mean, minimum and maximum all different: rows as long as real ones get.
        let mut values = vec![0.0; 900];
        let steps = 600;
        for step in 1..=steps {
            values.iter_mut().for_each(|x| *x = stream.normal() * 10f64.powf(20.0 * stream.uniform() - 15.0));
            record.push(step, step as f64 / 7.0, 32 * step, &values).unwrap();
        }
        let thinning = record.thinning;
        let report = record.finish("end").unwrap();
        assert_eq!((thinning, report.rows), (Thinning::SingleUntil(512), thinning.rows(steps)));
        let bytes_in_all = report.bytes / report.rows * thinning.rows(BUDGET_STEPS);
        assert!(bytes_in_all < BUDGET_BYTES, "{bytes_in_all}");
        let row_bytes_max = Layout::new(&wide_schema()).max_row_bytes();
        assert!(
            report.bytes / report.rows < row_bytes_max && row_bytes_max * thinning.rows(BUDGET_STEPS) < BUDGET_BYTES
        );
    }
}

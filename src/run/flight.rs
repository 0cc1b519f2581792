//! The flight recorder: the last steps whole, kept in memory, and written when something happens.

use super::row::Layout;
use crate::base::{Error, Result};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The name of the file of whole steps.
pub const FLIGHT_FILE: &str = "flight.jsonl";

/// Text is handed to the system in parts of about this size.
const PART_BYTES: usize = 1 << 20;

/// A ring of the last steps.
#[derive(Debug)]
pub struct Flight {
    path: PathBuf,
    layout: Layout,
    capacity: usize,
    values: Vec<f64>,
    places: Vec<(u64, f64, u64)>,
    /// Steps ever kept; the newest is at `kept - 1` modulo the capacity.
    kept: u64,
    /// Steps ever written or found too old: a step is written once.
    written: u64,
}

impl Flight {
    /// A ring of the last `capacity` steps, to be written to `flight.jsonl` in `folder`. With 0 it keeps nothing.
    pub fn new(folder: &Path, layout: Layout, capacity: usize) -> Self {
        let (values, places) = (vec![0.0; capacity * layout.width()], vec![(0, 0.0, 0); capacity]);
        Self { path: folder.join(FLIGHT_FILE), layout, capacity, values, places, kept: 0, written: 0 }
    }

    /// Keeps a step in place of the oldest.
    #[inline]
    pub fn keep(&mut self, step: u64, epoch: f64, examples: u64, values: &[f64]) {
        if self.capacity == 0 {
            return;
        }
        let (slot, width) = ((self.kept % self.capacity as u64) as usize, self.layout.width());
        self.values[slot * width..(slot + 1) * width].copy_from_slice(values);
        self.places[slot] = (step, epoch, examples);
        self.kept += 1;
    }

    /// Appends the steps that are kept and were not written before, oldest first, each with `reason`. Gives their count.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn dump(&mut self, reason: &str) -> Result<u64> {
        let from = self.written.max(self.kept.saturating_sub(self.capacity as u64));
        if from == self.kept {
            return Ok(0);
        }
        self.append(from, reason).map_err(|e| {
            Error::failure(self.path.display(), format!("could not be written: {e}")).help("make room or mend the disk")
        })?;
        self.written = self.kept;
        Ok(self.kept - from)
    }

    fn append(&self, from: u64, reason: &str) -> std::io::Result<()> {
        let mut file = File::options().append(true).create(true).open(&self.path)?;
        let reason = serde_json::Value::from(reason).to_string();
        let (mut text, width) = (Vec::new(), self.layout.width());
        for kept in from..self.kept {
            let slot = (kept % self.capacity as u64) as usize;
            let values = &self.values[slot * width..(slot + 1) * width];
            self.layout.write_step(&reason, self.places[slot], values, &mut text);
            if text.len() >= PART_BYTES {
                file.write_all(&text)?;
                text.clear();
            }
        }
        file.write_all(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::schema::{Column, Schema};
    use super::super::steps::read_steps;
    use super::*;

    fn flight(folder: &Path, capacity: usize) -> Flight {
        let columns = vec![Column::scalar("loss", "", ""), Column::list("signal", "", "", ["a", "b"])];
        Flight::new(folder, Layout::new(&Schema { columns }), capacity)
    }

    #[test]
    fn the_last_steps_are_written_whole_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut flight = flight(folder.path(), 4);
        let third = 1.0f32 / 3.0;
        let keep = |flight: &mut Flight, steps: std::ops::RangeInclusive<u64>| {
            steps.for_each(|n| flight.keep(n, 0.5, 2 * n, &[n as f64, f64::from(third), f64::NAN]));
        };
        assert_eq!(flight.dump("nothing yet").unwrap(), 0);
        keep(&mut flight, 1..=6);
        assert_eq!(flight.dump("a \"spike\" at step 6").unwrap(), 4);
        keep(&mut flight, 7..=8);
        assert_eq!(flight.dump("end").unwrap(), 2);
        assert_eq!(flight.dump("end").unwrap(), 0);
        let steps = read_steps(&folder.path().join(FLIGHT_FILE)).unwrap();
        assert_eq!(steps.step, [3, 4, 5, 6, 7, 8]);
        assert_eq!(steps.column("signal").unwrap().row(0)[0] as f32, third, "an f32 comes back exactly");
        assert!(steps.column("signal").unwrap().row(5)[1].is_nan());
        assert_eq!(steps.reason[3..5], ["a \"spike\" at step 6", "end"]);
    }

    #[test]
    fn a_ring_of_no_steps_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut flight = flight(folder.path(), 0);
        flight.keep(1, 0.0, 1, &[1.0, 2.0, 3.0]);
        assert_eq!(flight.dump("end").unwrap(), 0);
        assert!(!folder.path().join(FLIGHT_FILE).exists());
    }

    #[test]
    fn a_folder_that_is_gone_is_an_error_with_its_name() {
        let mut flight = flight(Path::new("/nowhere/at/all"), 2);
        flight.keep(1, 0.0, 1, &[1.0, 2.0, 3.0]);
        assert!(flight.dump("end").unwrap_err().place().ends_with(FLIGHT_FILE));
    }
}

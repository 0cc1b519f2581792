//! The records of a run: that of every step, and one for each other cadence at which probes are due.

use super::record::{Record, RecordReport, RecordSettings};
use super::trainer::{Step, Trainer};
use crate::base::{Error, Result};
use std::path::Path;

/// Records that are being written.
#[derive(Debug)]
pub struct Records {
    /// By the group of the [`crate::probe::Agenda`]; the first is that of every step.
    groups: Vec<Record>,
}

impl Records {
    /// Begins the records of a new run in `folder`.
    ///
    /// # Errors
    /// As [`Record::create`].
    pub fn create(folder: &Path, trainer: &Trainer, settings: &RecordSettings) -> Result<Self> {
        let groups = settings_of(trainer, settings).enumerate();
        let records = groups.map(|(group, settings)| Record::create(folder, &trainer.schema(group), &settings));
        Ok(Self { groups: records.collect::<Result<_>>()? })
    }

    /// Goes on with the records of a run that stopped after `last_step`; `pending` is what [`Records::pending`] gave then.
    ///
    /// # Errors
    /// As [`Record::resume`].
    pub fn resume(
        folder: &Path,
        trainer: &Trainer,
        settings: &RecordSettings,
        last_step: u64,
        pending: &[Vec<f64>],
    ) -> Result<Self> {
        let mut groups = Vec::new();
        for (group, settings) in settings_of(trainer, settings).enumerate() {
            let pending = pending.get(group).ok_or_else(|| {
                Error::input("checkpoint", format!("it has the rows of {} records", pending.len()))
                    .help("resume with the probes that the run had")
            })?;
            groups.push(Record::resume(folder, &trainer.schema(group), &settings, last_step, pending)?);
        }
        Ok(Self { groups })
    }

    /// Takes in a step. No allocation.
    ///
    /// # Errors
    /// A record could not be written.
    #[inline]
    pub fn push(&mut self, step: &Step) -> Result<()> {
        for (group, record) in self.groups.iter_mut().enumerate() {
            if step.due.has(group) {
                // The trainer counts from 0, people and records from 1.
                record.push(step.step + 1, step.epoch, step.examples, step.values.group(group))?;
            }
        }
        Ok(())
    }

    /// The row of each record that has not ended, for a checkpoint.
    pub fn pending(&self) -> Vec<Vec<f64>> {
        self.groups.iter().map(Record::pending).collect()
    }

    /// Brings all rows so far to the disk and waits for that.
    ///
    /// # Errors
    /// A record could not be written.
    pub fn sync(&mut self) -> Result<()> {
        self.groups.iter_mut().try_for_each(Record::sync)
    }

    /// Ends the records, and reports on that of every step; waits are those for any.
    ///
    /// # Errors
    /// A record could not be written.
    pub fn finish(self, reason: &str) -> Result<RecordReport> {
        let mut whole = RecordReport::default();
        for (group, record) in self.groups.into_iter().enumerate() {
            let report = record.finish(reason)?;
            if group == 0 {
                whole = report;
            } else {
                whole.record_waits += report.record_waits;
            }
        }
        Ok(whole)
    }
}

/// How the record of each group is kept: the last steps whole only in that of every step.
fn settings_of(trainer: &Trainer, settings: &RecordSettings) -> impl Iterator<Item = RecordSettings> {
    trainer.agenda().groups().iter().enumerate().map(|(group, cadence)| RecordSettings {
        cadence: cadence.clone(),
        flight_steps: if group == 0 { settings.flight_steps } else { 0 },
        ..settings.clone()
    })
}

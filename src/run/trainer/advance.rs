//! How a trainer goes on: the next step submitted, and what is decided before it.

use super::{Meta, Trainer};
use crate::base::{Error, Result};
use crate::config::{PlateauOf, Rhythm};
use crate::data::Cursor;
use crate::graph::StepScalars;
use crate::probe::{ProbeId, Taken};
use std::time::Instant;

impl Trainer {
    /// Submits the next step: forward and backward of each micro-batch, then the update. Does not wait for the device.
    ///
    /// # Errors
    /// If the device or the loader fails, or there is no room ([`Trainer::has_room`]): collect some steps first.
    pub fn submit(&mut self) -> Result<()> {
        self.adapt()?;
        let step = self.cursor.step;
        let lr = self.lr * self.rate_factor();
        let t = u32::try_from(step + 1).map_err(|_| Error::failure("trainer", "more than 2³² steps"))?;
        let [bias_correction1, bias_correction2] = self.rule.bias_corrections(t);
        let scalars = StepScalars { step: t - 1, t, lr, bias_correction1, bias_correction2, ..StepScalars::default() };
        let due = self.blueprint.agenda.due(step + 1);
        let retain = self.retains(step + 2);
        let mut taken = Taken { lr, due, ..Taken::default() };
        loop {
            let asked = self.data_seconds.is_some().then(Instant::now);
            let batch = self.feed.next(self.source.as_ref())?;
            if let (Some(asked), Some(seconds)) = (asked, &mut self.data_seconds) {
                *seconds += asked.elapsed().as_secs_f64();
            }
            let micro = batch.micro;
            let scalars = StepScalars {
                micro: micro.micro as u32,
                first_row: micro.first_row as u32,
                rows: micro.rows as u32,
                ..scalars
            };
            taken.signal_rows += micro.weights.iter().filter(|&&w| w != 0.0).count();
            taken.weight += micro.weights.iter().sum::<f64>();
            self.engine.submit(&batch, scalars, due, retain)?;
            taken.micros += 1;
            if micro.last {
                taken.rows = micro.batch_rows;
                (self.cursor, self.examples) = (micro.next, self.examples + taken.rows as u64);
                break;
            }
        }
        self.in_flight.push_back(Meta { step, epoch: self.epochs(), examples: self.examples, taken });
        Ok(())
    }

    /// Whether the step before this one, from 1, is to keep its gradient and update for it.
    fn retains(&self, step: u64) -> bool {
        let agenda = &self.blueprint.agenda;
        agenda.group(ProbeId::Direction).is_some_and(|group| agenda.due(step).has(group))
    }

    /// What the base rate of the next step is multiplied by.
    fn rate_factor(&self) -> f64 {
        let Cursor { step, epoch, start, rows, .. } = self.cursor;
        let scheduled = match &self.adaptive {
            Some(adaptive) => {
                let examples = u64::from(epoch) * adaptive.epoch_rows() as u64 + start as u64;
                self.schedule.factor_at(step, examples) * adaptive.lr_factor(rows)
            }
            None => self.schedule.factor(step),
        };
        self.plateau.as_ref().map_or(scheduled, |plateau| scheduled * plateau.factor())
    }

    /// Whether something is decided before the next step that follows from all steps before it.
    fn decides(&self) -> [bool; 2] {
        let at = self.cursor;
        let stretch = self.plateau.as_ref().filter(|plateau| plateau.of == PlateauOf::Train);
        let rhythm = stretch.map_or(Rhythm::Never, |plateau| plateau.steps.map_or(Rhythm::Epoch, Rhythm::Steps));
        [self.adaptive.as_ref().is_some_and(|adaptive| adaptive.is_due(at.step)), at.step > 0 && rhythm.is_due(at)]
    }

    /// Sets the size of the batches to come, and the rate, where that is due.
    fn adapt(&mut self) -> Result<()> {
        let decides = self.decides();
        if decides != [false; 2] && !self.in_flight.is_empty() {
            let message = "batch or rate of the next step follow from steps that are yet to be collected";
            return Err(Error::failure("trainer", message));
        }
        if let Some(adaptive) = self.adaptive.as_ref().filter(|_| decides[0]) {
            let rows = adaptive.next(self.cursor.rows, self.reader.noise());
            if rows != self.cursor.rows {
                self.cursor.rows = rows;
                self.feed.set_batch(rows);
            }
        }
        if let Some(plateau) = self.plateau.as_mut().filter(|_| decides[1]) {
            plateau.end_stretch();
        }
        Ok(())
    }

    /// Passes over the training part so far.
    fn epochs(&self) -> f64 {
        let Cursor { epoch, batch, start, .. } = self.cursor;
        let part = match &self.adaptive {
            Some(adaptive) => start as f64 / adaptive.epoch_rows() as f64,
            None => batch as f64 / self.batching.batches_per_epoch() as f64,
        };
        f64::from(epoch) + part
    }

    /// Whether another step can be submitted before one is collected. There is none before a step whose batch
    /// or rate follow from all steps before it.
    pub fn has_room(&self) -> bool {
        let most = if self.decides() == [false; 2] { self.engine.executor().in_flight_max() } else { 1 };
        self.in_flight.len() < most
    }
}

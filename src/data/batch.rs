//! In which order examples come, and how they are cut into batches and micro-batches.

use crate::base::{Error, Result, Stream, StreamId, shuffle};
use serde::{Deserialize, Serialize};

/// What the loss of a batch is, as a sum over its examples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// The weighted mean: weights are divided by their sum over the logical batch.
    #[default]
    Mean,
    /// The weighted sum.
    Sum,
}

/// How epochs are cut. Each epoch visits the examples in an order of its own; each logical batch, after which the parameters
/// are updated, is the next `batch` of them; each micro-batch, which is what a device computes at once, at most `micro` of
/// these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// How many examples there are.
    pub examples: usize,
    /// How many examples a logical batch has; `examples` or more for the full batch.
    pub batch: usize,
    /// How many rows every micro-batch has, padding included.
    pub micro: usize,
    /// Whether each epoch has a random order, from `StreamId::Shuffle(epoch)`; otherwise the order is that of the data.
    pub shuffle: bool,
    /// Whether an epoch's last batch is left out if it is short.
    pub drop_last: bool,
    /// What becomes of the weights.
    pub reduction: Reduction,
    /// What the orders are drawn from.
    pub seed: u64,
}

impl Batching {
    /// How many examples a full logical batch has.
    pub fn batch_rows(&self) -> usize {
        self.batch.min(self.examples)
    }

    /// How many logical batches an epoch has.
    pub fn batches_per_epoch(&self) -> usize {
        let batch = self.batch_rows();
        if self.drop_last { self.examples / batch } else { self.examples.div_ceil(batch) }
    }

    /// How many examples of an epoch are visited.
    fn epoch_rows(&self) -> usize {
        let batch = self.batch_rows();
        if self.drop_last { self.examples / batch * batch } else { self.examples }
    }

    /// How many micro-batches a full logical batch has.
    pub fn micros_per_batch(&self) -> usize {
        self.batch_rows().div_ceil(self.micro)
    }
}

/// The examples that a device computes at once. A short one is padded to the planned size by repeating its own rows in turn
/// with weight 0: padding so brings in no value, and no NaN, that is not there anyway.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MicroBatch {
    /// The number of each row in the data set; as many as planned.
    pub indices: Vec<u32>,
    /// What each row's loss is multiplied by; 0 for padding. With [`Reduction::Mean`] those of a logical batch add up to 1,
    /// or are all 0 if all its examples have the weight 0.
    pub weights: Vec<f64>,
    /// How many rows are real; they come first.
    pub rows: usize,
    /// The position of the first row in the logical batch: row i is example `first_row + i` of it.
    pub first_row: usize,
    /// How many examples the logical batch has.
    pub batch_rows: usize,
    /// Which micro-batch of its logical batch this is, from 0.
    pub micro: usize,
    /// Whether it is the last of its logical batch, so that an update follows.
    pub last: bool,
    /// Which logical batch of the run it belongs to, from 0.
    pub step: u64,
    /// Which epoch, from 0.
    pub epoch: u32,
    /// Which logical batch of the epoch, from 0.
    pub batch: usize,
    /// Where the run stands behind the logical batch.
    pub next: Cursor,
}

/// Where a run stands in its data, between two logical batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Logical batches so far: the number of the next.
    pub step: u64,
    /// Epochs done.
    pub epoch: u32,
    /// Logical batches of this epoch so far.
    pub batch: usize,
    /// Examples of this epoch so far.
    pub start: usize,
    /// How many examples the next logical batch has, if so many are left.
    pub rows: usize,
}

/// A cursor over all micro-batches of a run, epoch after epoch, without end. It allocates when made, and never after.
#[derive(Clone, Debug)]
pub struct Schedule {
    batching: Batching,
    weights: Option<Vec<f64>>,
    /// The order of epoch `ordered`.
    order: Vec<u32>,
    ordered: Option<u32>,
    /// Examples of an epoch that are visited.
    epoch_rows: usize,
    /// Whether batches may change their size.
    varies: bool,
    at: Cursor,
    micro: usize,
    /// The sum of the weights of the logical batch that the cursor is in.
    total: f64,
}

impl Schedule {
    /// A cursor at the first micro-batch of a run; `weights` has a weight for each example, 1 if absent.
    ///
    /// # Errors
    /// No example, a batch or micro-batch of 0, no batch left if short ones are dropped, another number of weights than of
    /// examples, a weight that is negative or not finite, or weights that are all 0.
    pub fn new(batching: Batching, weights: Option<&[f64]>) -> Result<Self> {
        for (key, value) in
            [("examples", batching.examples), ("batch", batching.batch), ("micro_batch", batching.micro)]
        {
            if value == 0 || u32::try_from(value.min(batching.examples)).is_err() {
                return Err(Error::input(
                    key,
                    format!("{value}, it must be 1 or more, and there are below 2³² examples"),
                ));
            }
        }
        if let Some(weights) = weights {
            if weights.len() != batching.examples {
                return Err(Error::input(
                    "weights",
                    format!("{} weights for {} examples", weights.len(), batching.examples),
                ));
            }
            if let Some(row) = weights.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
                return Err(Error::input("weights", format!("row {row} (from 0): {} is no weight", weights[row])));
            }
            if weights.iter().all(|w| *w == 0.0) {
                return Err(Error::input("weights", "all are 0: there is nothing to learn from"));
            }
        }
        Ok(Self {
            batching,
            weights: weights.map(<[f64]>::to_vec),
            order: (0..batching.examples as u32).collect(),
            ordered: None,
            epoch_rows: batching.epoch_rows(),
            varies: false,
            at: Cursor { rows: batching.batch_rows(), ..Cursor::default() },
            micro: 0,
            total: 0.0,
        })
    }

    /// The same for batches that change their size on the way, by whole micro-batches; the first ones have `batching.batch`
    /// examples. With `drop_last` an epoch leaves out a short micro-batch at its end, so that which examples it visits does not
    /// depend on how they are cut.
    ///
    /// # Errors
    /// As [`Schedule::new`], or a batch that is not of whole micro-batches.
    pub fn varying(batching: Batching, weights: Option<&[f64]>) -> Result<Self> {
        let mut schedule = Self::new(batching, weights)?;
        let Batching { batch, micro, .. } = batching;
        if batch % micro != 0 {
            return Err(Error::input("batch", format!("{batch}, it must be a multiple of the micro-batch of {micro}")));
        }
        let by_micro = Batching { batch: micro, ..batching };
        (schedule.epoch_rows, schedule.varies) = (by_micro.epoch_rows(), true);
        schedule.at.rows = batch;
        Ok(schedule)
    }

    /// Examples of an epoch that are visited.
    pub fn epoch_rows(&self) -> usize {
        self.epoch_rows
    }

    /// From the next logical batch on, batches have `rows` examples.
    ///
    /// # Panics
    /// If batches do not vary, within a logical batch, or if `rows` is no multiple of the micro-batch.
    pub fn set_batch(&mut self, rows: usize) {
        assert!(self.varies && self.micro == 0 && rows > 0 && rows.is_multiple_of(self.batching.micro));
        self.at.rows = rows;
    }

    /// How epochs are cut.
    pub fn batching(&self) -> &Batching {
        &self.batching
    }

    /// A micro-batch with room for what [`Schedule::fill`] writes.
    pub fn micro_batch(&self) -> MicroBatch {
        let micro = self.batching.micro;
        MicroBatch { indices: Vec::with_capacity(micro), weights: Vec::with_capacity(micro), ..MicroBatch::default() }
    }

    /// Where the next logical batch begins.
    pub fn cursor(&self) -> Cursor {
        self.at
    }

    /// Goes to a place where a run stood, as if all before it had been visited.
    ///
    /// # Errors
    /// The epoch has no such example, or batches have another size.
    pub fn seek(&mut self, to: Cursor) -> Result<()> {
        let Batching { micro, .. } = self.batching;
        let fits = if self.varies {
            to.rows > 0 && to.rows.is_multiple_of(micro) && to.start.is_multiple_of(micro)
        } else {
            to.rows == self.at.rows && to.start == to.batch.saturating_mul(to.rows)
        };
        if !fits || to.start >= self.epoch_rows {
            let message = format!("no batch of {} examples begins at example {} of an epoch", to.rows, to.start);
            return Err(Error::input("batch", message));
        }
        (self.at, self.micro) = (to, 0);
        Ok(())
    }

    /// Where the logical batch number `step` of the run begins, from 0, if all batches are of one size.
    ///
    /// # Errors
    /// It would be in epoch 2³² or later.
    pub fn cursor_of_step(&self, step: u64) -> Result<Cursor> {
        let batches = self.batching.batches_per_epoch() as u64;
        let epoch =
            u32::try_from(step / batches).map_err(|_| Error::input("step", format!("{step} is beyond all epochs")))?;
        let (batch, rows) = ((step % batches) as usize, self.batching.batch_rows());
        Ok(Cursor { step, epoch, batch, start: batch * rows, rows })
    }

    /// Writes the next micro-batch to `out` and goes on.
    pub fn fill(&mut self, out: &mut MicroBatch) {
        self.bring_order();
        let Batching { micro, .. } = self.batching;
        let Cursor { start, rows, .. } = self.at;
        let members = &self.order[start..self.epoch_rows.min(start.saturating_add(rows))];
        let weight = |index: u32| self.weights.as_ref().map_or(1.0, |weights| weights[index as usize]);
        if self.micro == 0 {
            self.total = members.iter().map(|&index| weight(index)).sum();
        }
        let first_row = self.micro * micro;
        let real = &members[first_row..members.len().min(first_row.saturating_add(micro))];
        let divisor = match self.batching.reduction {
            Reduction::Mean if self.total > 0.0 => self.total,
            // Weights that are all 0 have no mean; a sum is left as it is.
            _ => 1.0,
        };
        out.indices.clear();
        out.indices.extend(real.iter().cycle().take(micro));
        out.weights.clear();
        out.weights.extend(real.iter().map(|&index| weight(index) / divisor));
        out.weights.resize(micro, 0.0);
        out.rows = real.len();
        out.first_row = first_row;
        out.batch_rows = members.len();
        out.micro = self.micro;
        out.last = first_row + real.len() == members.len();
        (out.epoch, out.batch, out.step) = (self.at.epoch, self.at.batch, self.at.step);
        let end = start + members.len();
        out.next = Cursor { step: self.at.step + 1, rows, ..self.at };
        if end == self.epoch_rows {
            let epoch = self.at.epoch.checked_add(1).expect("fewer than 2³² epochs");
            (out.next.epoch, out.next.batch, out.next.start) = (epoch, 0, 0);
        } else {
            (out.next.batch, out.next.start) = (self.at.batch + 1, end);
        }
        if out.last {
            (self.at, self.micro) = (out.next, 0);
        } else {
            self.micro += 1;
        }
    }

    /// Makes `order` that of the current epoch, in place.
    fn bring_order(&mut self) {
        if !self.batching.shuffle || self.ordered == Some(self.at.epoch) {
            return;
        }
        self.order.iter_mut().zip(0..).for_each(|(slot, index)| *slot = index);
        shuffle(&mut self.order, &mut Stream::new(self.batching.seed, StreamId::Shuffle(self.at.epoch)));
        self.ordered = Some(self.at.epoch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::permutation;

    const BATCHING: Batching = Batching {
        examples: 23,
        batch: 10,
        micro: 4,
        shuffle: true,
        drop_last: false,
        reduction: Reduction::Mean,
        seed: 9,
    };

    fn collect(schedule: &mut Schedule, count: usize) -> Vec<MicroBatch> {
        let mut out = schedule.micro_batch();
        (0..count)
            .map(|_| {
                schedule.fill(&mut out);
                out.clone()
            })
            .collect()
    }

    #[test]
    fn an_epoch_visits_every_example_once_in_its_order() {
        let mut schedule = Schedule::new(BATCHING, None).unwrap();
        // 10 = 4 + 4 + 2, 10 = 4 + 4 + 2, 3: seven micro-batches an epoch.
        let micros = collect(&mut schedule, 14);
        for (epoch, micros) in micros.chunks(7).enumerate() {
            let visited: Vec<u32> = micros.iter().flat_map(|m| &m.indices[..m.rows]).copied().collect();
            let order = permutation(23, &mut Stream::new(9, StreamId::Shuffle(epoch as u32)));
            assert_eq!(visited, order, "epoch {epoch}");
            assert!(micros.iter().all(|m| m.epoch as usize == epoch));
        }
        let shape: Vec<_> =
            micros.iter().map(|m| (m.step, m.batch, m.micro, m.rows, m.first_row, m.batch_rows, m.last)).collect();
        assert_eq!(shape[..3], [(0, 0, 0, 4, 0, 10, false), (0, 0, 1, 4, 4, 10, false), (0, 0, 2, 2, 8, 10, true)]);
        assert_eq!(shape[6..8], [(2, 2, 0, 3, 0, 3, true), (3, 0, 0, 4, 0, 10, false)]);
    }

    #[test]
    fn a_short_micro_batch_repeats_its_own_rows_with_weight_zero() {
        for m in collect(&mut Schedule::new(BATCHING, None).unwrap(), 7) {
            assert_eq!((m.indices.len(), m.weights.len()), (4, 4));
            for i in 0..4 {
                assert_eq!(m.indices[i], m.indices[i % m.rows]);
                assert_eq!(m.weights[i], if i < m.rows { 1.0 / m.batch_rows as f64 } else { 0.0 });
            }
        }
        let wide = Batching { micro: 64, ..BATCHING };
        let m = &collect(&mut Schedule::new(wide, None).unwrap(), 1)[0];
        assert_eq!(
            (m.indices.len(), m.rows, m.last, m.indices[10], m.indices[63]),
            (64, 10, true, m.indices[0], m.indices[3])
        );
    }

    #[test]
    fn weights_of_a_batch_add_up_to_one() {
        let weights: Vec<f64> = (0..23).map(|i| f64::from(i % 5) + 0.1).collect();
        let sums = |reduction| {
            let mut sums = [0.0; 3];
            for m in collect(&mut Schedule::new(Batching { reduction, ..BATCHING }, Some(&weights)).unwrap(), 7) {
                sums[m.batch] += m.weights.iter().sum::<f64>();
                let first = weights[m.indices[0] as usize];
                assert!(reduction == Reduction::Mean || m.weights[0] == first, "a sum leaves the weights as they are");
            }
            sums
        };
        assert!(sums(Reduction::Mean).iter().all(|sum| (sum - 1.0).abs() < 1e-15));
        let whole: f64 = sums(Reduction::Sum).iter().sum();
        assert!((whole - weights.iter().sum::<f64>()).abs() < 1e-12);
        let mut one = vec![0.0; 23];
        one[0] = 2.0;
        let sequential = Batching { shuffle: false, ..BATCHING };
        let micros = collect(&mut Schedule::new(sequential, Some(&one)).unwrap(), 7);
        assert_eq!((micros[0].weights[0], micros[3].weights[0]), (1.0, 0.0), "no NaN where all weights are 0");
    }

    #[test]
    fn the_full_batch_is_sequential_and_drop_last_drops() {
        let full = Batching { batch: usize::MAX, shuffle: false, micro: 8, ..BATCHING };
        assert_eq!((full.batches_per_epoch(), full.micros_per_batch()), (1, 3));
        let micros = collect(&mut Schedule::new(full, None).unwrap(), 6);
        for micros in micros.chunks(3) {
            assert!(micros.iter().flat_map(|m| &m.indices[..m.rows]).copied().eq(0..23));
        }
        assert_eq!((micros[5].step, micros[5].epoch), (1, 1));
        let dropping = Batching { drop_last: true, ..BATCHING };
        let micros = collect(&mut Schedule::new(dropping, None).unwrap(), 12);
        assert!(micros.iter().all(|m| m.batch_rows == 10) && micros[6].epoch == 1 && micros[11].epoch == 1);
    }

    #[test]
    fn a_cursor_set_to_a_step_goes_on_as_if_it_had_run_there() {
        let mut schedule = Schedule::new(BATCHING, None).unwrap();
        let all = collect(&mut schedule, 28);
        for step in [0, 1, 2, 3, 5, 10] {
            let cursor = schedule.cursor_of_step(step).unwrap();
            schedule.seek(cursor).unwrap();
            assert_eq!((cursor.epoch, cursor.batch), ((step / 3) as u32, (step % 3) as usize));
            let from = all.iter().position(|m| m.step == step).unwrap();
            assert_eq!(collect(&mut schedule, 4)[..], all[from..][..4], "step {step}");
        }
        assert!(schedule.cursor_of_step(u64::MAX).is_err());
        for wrong in [
            Cursor { step: 3, epoch: 0, batch: 3, start: 30, rows: 10 },
            Cursor { step: 1, epoch: 0, batch: 1, start: 8, rows: 10 },
            Cursor { step: 1, epoch: 0, batch: 1, start: 8, rows: 8 },
        ] {
            assert!(schedule.seek(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn batches_that_vary_visit_the_same_micro_batches() {
        for drop_last in [false, true] {
            let batching = Batching { batch: 4, drop_last, ..BATCHING };
            let mut plain = Schedule::new(batching, None).unwrap();
            let mut varying = Schedule::varying(batching, None).unwrap();
            assert_eq!(varying.epoch_rows(), if drop_last { 20 } else { 23 });
            let mut micros = Vec::new();
            let (mut out, mut cursors) = (varying.micro_batch(), Vec::new());
            for (batch, rows) in [4, 8, 12, 4, 400, 8, 8].into_iter().enumerate() {
                varying.set_batch(rows);
                assert_eq!(varying.cursor().step, batch as u64);
                cursors.push((varying.cursor(), micros.len()));
                loop {
                    varying.fill(&mut out);
                    micros.push(out.clone());
                    if out.last {
                        break;
                    }
                }
                assert!(
                    (micros.iter().rev().take(out.micro + 1).map(|m| m.weights.iter().sum::<f64>()).sum::<f64>() - 1.0)
                        .abs()
                        < 1e-15
                );
            }
            let same = collect(&mut plain, micros.len());
            assert!(
                micros.iter().zip(&same).all(|(a, b)| (&a.indices, a.rows, a.epoch) == (&b.indices, b.rows, b.epoch))
            );
            let sizes: Vec<usize> = micros.iter().filter(|m| m.last).map(|m| m.batch_rows).collect();
            // The third batch takes what is left of the epoch, and so does the fifth.
            let expected = if drop_last { [4, 8, 8, 4, 16, 8, 8] } else { [4, 8, 11, 4, 19, 8, 8] };
            assert_eq!(sizes, expected);
            for (cursor, from) in cursors {
                varying.seek(cursor).unwrap();
                assert_eq!(collect(&mut varying, 1)[0], micros[from]);
            }
            let wrong = Cursor { step: 1, epoch: 0, batch: 0, start: 3, rows: 4 };
            assert!(varying.seek(wrong).is_err() && varying.seek(Cursor { start: 0, rows: 6, ..wrong }).is_err());
        }
        assert!(Schedule::varying(BATCHING, None).unwrap_err().to_string().contains("multiple of the micro-batch"));
    }

    #[test]
    fn filling_allocates_nothing() {
        let mut schedule = Schedule::new(BATCHING, None).unwrap();
        let mut out = schedule.micro_batch();
        let places = (out.indices.as_ptr(), out.weights.as_ptr(), schedule.order.as_ptr());
        (0..50).for_each(|_| schedule.fill(&mut out));
        assert_eq!(places, (out.indices.as_ptr(), out.weights.as_ptr(), schedule.order.as_ptr()));
    }

    #[test]
    fn batchings_that_make_no_sense_are_refused() {
        let new = |batching, weights: Option<&[f64]>| Schedule::new(batching, weights).unwrap_err().to_string();
        assert!(new(Batching { batch: 0, ..BATCHING }, None).starts_with("batch: 0"));
        assert!(new(Batching { micro: 0, ..BATCHING }, None).starts_with("micro_batch: 0"));
        assert!(new(Batching { examples: 0, ..BATCHING }, None).starts_with("examples: 0"));
        assert!(new(BATCHING, Some(&[1.0])).contains("1 weights for 23 examples"));
        assert!(new(BATCHING, Some(&[0.0; 23])).contains("all are 0"));
        let mut weights = [1.0; 23];
        weights[4] = f64::NAN;
        assert!(new(BATCHING, Some(&weights)).contains("row 4"));
    }
}

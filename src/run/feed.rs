//! How training examples come to the device: cut into batches, gathered there by row number or streamed.

use super::adaptive::Adaptive;
use super::engine::Batch;
use crate::base::{Error, Result};
use crate::config::{self, Config};
use crate::data::{Batching, Cursor, Dataset, Loader, MicroBatch, RowSource, Schedule, Staged, TargetKind};
use crate::optim;
use std::sync::Arc;

/// Rows computed at once where a config does not say: larger batches are accumulated.
const MICRO_ROWS_MAX: usize = 1024;

/// Micro-batches that a loader keeps ready.
const RING: usize = 4;

/// Where micro-batches come from: gathered on the device by row number, or streamed.
pub(super) enum Feed {
    Resident {
        schedule: Schedule,
        staged: Staged,
    },
    Streamed {
        loader: Loader,
    },
    /// Streamed micro by micro, whatever batches they are to form: the loader works ahead of that decision.
    Grouped {
        loader: Box<Loader>,
        schedule: Schedule,
        micro: MicroBatch,
    },
}

impl Feed {
    /// The micro-batches from there on, or from the beginning, and where that is; `varies` if batches may change their size.
    pub fn open(
        source: &Arc<dyn RowSource>,
        batching: Batching,
        weights: Option<&[f64]>,
        resident: bool,
        varies: bool,
        from: Option<Cursor>,
    ) -> Result<(Self, Cursor)> {
        let mut schedule = if varies { Schedule::varying } else { Schedule::new }(batching, weights)?;
        if let Some(from) = from {
            schedule.seek(from).map_err(|error| error.within("checkpoint"))?;
        }
        let at = schedule.cursor();
        let feed = match (resident, varies) {
            (true, _) => Self::Resident { staged: Staged::new(source.as_ref(), &schedule), schedule },
            (false, false) => Self::Streamed { loader: Loader::new(source.clone(), schedule, RING)? },
            (false, true) => {
                let rows = batching.micro;
                let mut ahead = Schedule::new(Batching { batch: rows, ..batching }, weights)?;
                ahead.seek(Cursor { batch: at.start / rows, rows, ..at })?;
                let loader = Box::new(Loader::new(source.clone(), ahead, RING)?);
                Self::Grouped { loader, micro: schedule.micro_batch(), schedule }
            }
        };
        Ok((feed, at))
    }

    /// From the next logical batch on, batches have `rows` examples.
    pub fn set_batch(&mut self, rows: usize) {
        match self {
            Self::Resident { schedule, .. } | Self::Grouped { schedule, .. } => schedule.set_batch(rows),
            Self::Streamed { .. } => unreachable!("these batches have one size"),
        }
    }

    /// The next micro-batch; of resident data its row numbers, weights and labels alone.
    pub fn next(&mut self, source: &dyn RowSource) -> Result<Batch<'_>> {
        Ok(match self {
            Self::Resident { schedule, staged } => {
                schedule.fill(&mut staged.batch);
                if !staged.labels.is_empty() {
                    source.fill_labels(&staged.batch.indices, &mut staged.labels)?;
                }
                whole(staged)
            }
            Self::Streamed { loader } => whole(loader.next()?),
            Self::Grouped { loader, schedule, micro } => {
                schedule.fill(micro);
                let rows = whole(loader.next()?);
                debug_assert_eq!(rows.micro.indices, micro.indices, "both go through the data alike");
                Batch { micro, ..rows }
            }
        })
    }

    /// How often a micro-batch was not ready when it was wanted.
    pub fn waits(&self) -> u64 {
        match self {
            Self::Resident { .. } => 0,
            Self::Streamed { loader } => loader.waits(),
            Self::Grouped { loader, .. } => loader.waits(),
        }
    }
}

/// A micro-batch with what the loader brought.
fn whole(staged: &Staged) -> Batch<'_> {
    Batch { micro: &staged.batch, x: &staged.x, labels: &staged.labels, values: &staged.values }
}

/// How the training examples are cut into batches.
pub(super) fn batching(config: &Config, examples: usize) -> Result<Batching> {
    let train = &config.train;
    let (batch, micro) = match train.batch {
        config::Batch::Full => (examples, train.micro_batch),
        config::Batch::Size(batch) => (batch, train.micro_batch),
        config::Batch::Adaptive => {
            let micro = train.micro_batch.unwrap_or(config::Train::MICRO_ROWS_ADAPTIVE.min(examples));
            // The smallest one, in whole micro-batches.
            (train.adaptive.min.unwrap_or(2).next_multiple_of(micro), Some(micro))
        }
    };
    if batch > examples {
        let message = format!("a batch of {batch} is larger than the {examples} training examples");
        return Err(Error::input("train.batch", message).help("use \"full\" for all of them"));
    }
    let micro = micro.unwrap_or(batch.min(MICRO_ROWS_MAX));
    if micro > batch {
        let message = format!("{micro} is larger than the batch of {batch}");
        return Err(Error::input("train.micro_batch", message).help("leave it out, or make it smaller"));
    }
    let reduction = match config.loss.reduction {
        config::Reduction::Mean => crate::data::Reduction::Mean,
        config::Reduction::Sum => crate::data::Reduction::Sum,
    };
    // A full batch in another order is the same batch up to rounding: it keeps the order of the data.
    let shuffle = train.shuffle && batch < examples;
    Ok(Batching { examples, batch, micro, shuffle, drop_last: train.drop_last, reduction, seed: train.seed })
}

/// Whether the training data stays on the device: it must fit into one binding.
pub(super) fn resident(config: &Config, train: &Dataset, binding_len_max: usize) -> Result<bool> {
    let len = train.len() * train.features();
    let fits = len <= binding_len_max;
    match config.data.resident {
        config::Resident::No => Ok(false),
        config::Resident::Auto => Ok(fits),
        config::Resident::Yes if fits => Ok(true),
        config::Resident::Yes => {
            let message = format!("the data has {len} numbers, the device binds {binding_len_max} at most");
            Err(Error::input("data.resident", message).help("use \"auto\": the data is streamed then"))
        }
    }
}

/// The weight of each training example, where classes have weights.
pub(super) fn class_weights(config: &Config, train: &Dataset) -> Result<Option<Vec<f64>>> {
    let weights = match &config.data.class_weights {
        config::ClassWeights::None => return Ok(None),
        config::ClassWeights::Balanced => train.balanced_class_weights(),
        config::ClassWeights::Given(weights) => weights.clone(),
    };
    if let TargetKind::Values(_) = train.target_kind() {
        return Err(Error::input("data.class_weights", "the targets are values, not classes").help("leave it out"));
    }
    train.row_weights(&weights).map(Some)
}

/// Steps until training ends, where a config bounds them.
pub(super) fn total_steps(config: &Config, per_epoch: u64) -> u64 {
    let by_epochs = config.train.epochs.saturating_mul(per_epoch);
    config.train.max_steps.map_or(by_epochs, |max| max.min(by_epochs))
}

/// What the learning rate is multiplied by. Where the number of steps is not known, since batches grow, lengths in epochs are
/// counted in examples, and a cosine without a length ends with the epochs.
pub(super) fn rate_schedule(
    config: &Config,
    batching: &Batching,
    adaptive: Option<&Adaptive>,
) -> Result<optim::Schedule> {
    let pieces = &config.train.schedule;
    match adaptive {
        Some(adaptive) => optim::Schedule::by_examples(pieces, adaptive.epoch_rows() as u64, config.train.epochs),
        None => {
            let per_epoch = batching.batches_per_epoch() as u64;
            optim::Schedule::new(pieces, per_epoch, Some(total_steps(config, per_epoch)))
        }
    }
}

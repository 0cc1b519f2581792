//! How training examples come to the device: cut into batches, gathered there by row number or streamed.

use crate::base::{Error, Result};
use crate::config::{self, Config};
use crate::data::{Batching, Dataset, Loader, RowSource, Schedule, Staged, TargetKind};
use std::sync::Arc;

/// Rows computed at once where a config does not say: larger batches are accumulated.
const MICRO_ROWS_MAX: usize = 1024;

/// Micro-batches that a loader keeps ready.
const RING: usize = 4;

/// Where micro-batches come from: gathered on the device by row number, or streamed.
pub(super) enum Feed {
    Resident { schedule: Schedule, staged: Staged },
    Streamed { loader: Loader },
}

impl Feed {
    /// The micro-batches from where the schedule stands.
    pub fn new(source: &Arc<dyn RowSource>, schedule: Schedule, resident: bool) -> Result<Self> {
        Ok(if resident {
            Self::Resident { staged: Staged::new(source.as_ref(), &schedule), schedule }
        } else {
            Self::Streamed { loader: Loader::new(source.clone(), schedule, RING)? }
        })
    }

    /// The next micro-batch; of resident data its row numbers, weights and labels alone.
    pub fn next(&mut self, source: &dyn RowSource) -> Result<&Staged> {
        match self {
            Self::Resident { schedule, staged } => {
                schedule.fill(&mut staged.batch);
                if !staged.labels.is_empty() {
                    source.fill_labels(&staged.batch.indices, &mut staged.labels)?;
                }
                Ok(staged)
            }
            Self::Streamed { loader } => loader.next(),
        }
    }

    /// How often a micro-batch was not ready when it was wanted.
    pub fn waits(&self) -> u64 {
        match self {
            Self::Resident { .. } => 0,
            Self::Streamed { loader } => loader.waits(),
        }
    }
}

/// How the training examples are cut into batches.
pub(super) fn batching(config: &Config, examples: usize) -> Result<Batching> {
    let train = &config.train;
    let batch = match train.batch {
        config::Batch::Full => examples,
        config::Batch::Size(batch) => batch,
    };
    if batch > examples {
        let message = format!("a batch of {batch} is larger than the {examples} training examples");
        return Err(Error::input("train.batch", message).help("use \"full\" for all of them"));
    }
    let micro = train.micro_batch.unwrap_or(batch.min(MICRO_ROWS_MAX));
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

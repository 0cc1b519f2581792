//! A run: what is written while it trains and what is left of it afterwards.
//!
//! # The run folder
//!
//! | file | what it holds |
//! |---|---|
//! | `config.toml` | all settings, defaults too |
//! | `preprocessing.json` | what was done to the features |
//! | `environment.json` | where it ran: device and why, system, seed, command |
//! | `steps.jsonl` | the step record |
//! | `steps.schema.json` | what its columns are: name, meaning, definition, the names of layers or tensors |
//! | `flight.jsonl` | the last steps, whole, and why they were written |
//! | `model.safetensors` | the weights, named as in `torch.nn.Sequential` |
//! | `checkpoint.safetensors` | what the run goes on from: parameters, optimizer, position; see [`checkpoint`] |
//! | `summary.json` | how it ended |
//!
//! # The step record
//!
//! `steps.jsonl` has a line of JSON for each row. A row stands for one step or several, none is left out: every step is
//! folded into its row.
//!
//! | key | what it is |
//! |---|---|
//! | `step` | the last step of the row; steps count from 1 |
//! | `steps` | how many steps the row stands for |
//! | `epoch`, `examples` | epochs done and examples seen after the last step |
//! | `non_finite_steps` | how many of the steps had a value that was not finite |
//! | a quantity of [`crate::probe`] | its mean over the steps: a number, or a list with an entry for each layer or tensor |
//! | the same with `_min`, `_max` | the smallest and the largest finite value |
//!
//! Numbers have six significant digits and always a point or an exponent; what is not finite is `null`, and so is what is not
//! there, as the angle of a first step to the step before, which counts as no failure. Which steps end a row
//! follows from the step number alone ([`thinning`]): every step at first, then 2, 4, 8, … to a row, so that the file grows
//! with the logarithm of the run's length; `record.every` sets a fixed count. `flight.jsonl` has single steps with nine
//! digits, which give an f32 back exactly, and a `reason`. [`steps`] reads both, also those of a run that was killed.

//!
//! # Going on
//!
//! A checkpoint is written every so many steps (`record.checkpoint`) and at the end, in place of the one before. [`resume`]
//! cuts the record back to it and goes on: weights, rows and scores are those of a run that was never interrupted, bit for
//! bit on the same device. Two things are not in it: `flight.jsonl` begins anew at the checkpoint, and counts of waiting are
//! those since then. A run that ended goes on if its end is put off: a validation that only its end called for is then
//! forgotten.

mod adaptive;
mod blueprint;
mod cache;
mod check;
pub mod checkpoint;
mod choices;
mod device;
mod drive;
mod ending;
mod engine;
mod evaluate;
mod evaluator;
mod evidence;
mod feed;
pub mod flight;
pub mod folder;
mod gauge;
mod inspect;
mod load;
pub mod machine;
pub mod metrics;
pub mod number;
mod objective;
mod observer;
mod predictor;
mod probing;
pub mod profile;
pub mod record;
pub mod records;
mod resume;
mod rhythm;
pub mod row;
mod saved;
pub mod schema;
pub mod steps;
pub mod summary;
mod tensors;
pub mod thinning;
mod train;
mod trainer;
pub mod weights;
mod workbench;
pub mod writer;

pub use blueprint::{Blueprint, Request, SLOPE_MIN, TappedLayer, names};
pub use cache::{CACHE_DIR, cache_folder};
pub use check::{BOUND, Check, Checked, check};
pub use choices::{Choices, ChoicesKey};
pub use device::{Device, open_device};
pub use engine::{Batch, Engine};
pub use evaluate::{Evaluation, Score, evaluate_part, validate};
pub use evaluator::Outputs;
pub use evidence::activation;
pub use gauge::{Gauge, Load};
pub use inspect::{
    Answer, ClassConflict, Conflicts, EARLY_STOPPING_EPSILON, InputGradients, Inspection, Inspector, LayerCosines,
    LayerNoise, LayerSnr, Moments, Noise, NoiseFigures, Part, Partial, Partials, RankedExample, conflicts, inspect,
    noise, partials, worst,
};
pub use load::load;
pub use objective::{CustomLoss, Objective};
pub use observer::{LayerRow, Observer, RunInfo, Silent, Validation};
pub use predictor::{Prediction, Predictor};
pub use probing::{agenda, cadence};
pub use resume::resume;
pub use saved::SavedModel;
pub use tensors::{HostTensor, read_params};
pub use train::{RunEnd, TrainOptions, train};
pub use trainer::{Setup, Step, Trainer, TrainerState};
pub use workbench::{Product, Products, Workbench};

//! A run: what is written while it trains and what is left of it afterwards.
//!
//! A run folder holds `environment.json` (where it ran), `steps.jsonl` (the step record) with `steps.schema.json` (what
//! its columns are), `flight.jsonl` (the last steps, whole), `model.safetensors` and `summary.json`.

mod blueprint;
mod check;
mod device;
mod engine;
mod evaluate;
mod evaluator;
pub mod flight;
pub mod folder;
mod inspect;
mod load;
pub mod metrics;
pub mod number;
mod objective;
mod predictor;
pub mod record;
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
pub mod writer;

pub use blueprint::{Blueprint, Request, TappedLayer, names};
pub use check::{BOUND, Check, Checked, check};
pub use device::{Device, open_device};
pub use engine::{Batch, Engine};
pub use evaluate::{Evaluation, Score, evaluate_part};
pub use evaluator::Outputs;
pub use inspect::{Inspection, Inspector, Part, inspect};
pub use load::load;
pub use objective::{CustomLoss, Objective};
pub use predictor::{Prediction, Predictor};
pub use saved::SavedModel;
pub use tensors::{HostTensor, read_params};
pub use train::{LayerRow, Observer, RunEnd, RunInfo, Silent, TrainOptions, Validation, train};
pub use trainer::{Setup, Step, Trainer};

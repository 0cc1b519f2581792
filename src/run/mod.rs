//! A run: what is written while it trains and what is left of it afterwards.
//!
//! A run folder holds `environment.json` (where it ran), `steps.jsonl` (the step record) with `steps.schema.json` (what
//! its columns are), `flight.jsonl` (the last steps, whole), `model.safetensors` and `summary.json`.

mod blueprint;
mod device;
mod engine;
mod evaluate;
pub mod flight;
pub mod folder;
mod load;
pub mod metrics;
pub mod number;
pub mod record;
pub mod row;
pub mod schema;
pub mod steps;
pub mod summary;
pub mod thinning;
mod train;
mod trainer;
pub mod weights;
pub mod writer;

pub use blueprint::{Blueprint, CustomLoss, Objective, Request, TappedLayer, names};
pub use device::{Device, open_device};
pub use engine::{Batch, Engine, HostTensor, Outputs};
pub use evaluate::{Evaluation, Score, evaluate_part};
pub use load::load;
pub use train::{LayerRow, Observer, RunEnd, RunInfo, Silent, TrainOptions, Validation, train};
pub use trainer::{Setup, Step, Trainer};

//! A run: what is written while it trains and what is left of it afterwards.
//!
//! A run folder holds `environment.json` (where it ran), `steps.jsonl` (the step record) with `steps.schema.json` (what
//! its columns are), `flight.jsonl` (the last steps, whole), `model.safetensors` and `summary.json`.

pub mod flight;
pub mod folder;
pub mod metrics;
pub mod number;
pub mod record;
pub mod row;
pub mod schema;
pub mod steps;
pub mod summary;
pub mod thinning;
pub mod weights;
pub mod writer;

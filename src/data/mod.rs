//! Data: where examples come from, how they are prepared, in which order and how they are brought to the step.
//!
//! [`Source::load`] reads or draws a data set; [`Splits::prepare`] holds rows out and scales features; a [`Schedule`]
//! says which rows make which micro-batch; a [`Loader`] assembles them ahead of the step on a thread of its own.
//!
//! Features are f32, row-major, a row an example. Everything random comes from the seed: two loads are equal bit for bit.

mod batch;
mod bytes;
mod csv;
mod dataset;
mod digits;
mod examples;
mod fingerprint;
mod folder;
mod idx;
mod labels;
mod linear;
mod loader;
mod npy;
mod optimum;
mod picture;
mod plane;
mod prepare;
mod preprocessing;
mod rows;
mod source;
mod synthetic;
mod table;

pub use batch::{Batching, Cursor, MicroBatch, Reduction, Schedule};
pub use bytes::BytesDataset;
pub use csv::{Column, Columns, CsvSource, Encoded, TargetColumns};
pub use dataset::{Dataset, Targets, Task};
pub use digits::digits;
pub use folder::FolderSource;
pub use idx::{Elements, Idx, IdxFiles, IdxPair, IdxSource};
pub use linear::{Linear, Quadratic};
pub use loader::{Loader, Staged};
pub use npy::{NpyPair, NpySource, NpzSource};
pub use optimum::Optimum;
pub use plane::Plane;
pub use prepare::{Prepare, Scaling, Standardizer, split_rows};
pub use preprocessing::Preprocessing;
pub use rows::{RowSource, TargetKind};
pub use source::{Source, Splits};
pub use synthetic::{Blobs, Circles, Spirals, Teacher};

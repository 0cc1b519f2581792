//! Studies: several runs with one question, without a run folder.

mod attempt;
mod diagnose;
mod trial;

pub use attempt::Attempt;
pub use diagnose::{DiagnoseOptions, Diagnosis, LayerLook, diagnose};
pub use trial::{Outcome, Trial, trial};

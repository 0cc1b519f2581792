//! Many steps or runs with one question.

mod advice;
mod attempt;
pub mod compare;
mod diagnose;
mod noise;
pub mod range;
mod trial;

pub use advice::{Advice, LrRule, advice};
pub use attempt::Attempt;
pub use diagnose::{DiagnoseOptions, Diagnosis, LayerLook, diagnose};
pub use noise::{LayerNoise, NoiseStudy, Stretch, study as noise};
pub use trial::{Outcome, Trial, trial};

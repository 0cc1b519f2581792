//! Many steps or runs with one question.

mod advice;
mod attempt;
pub mod bench;
pub mod compare;
pub mod corpus;
mod diagnose;
mod noise;
mod probes;
pub mod range;
mod timing;
mod trial;
pub mod tune;
mod units;

pub use advice::{Advice, LrRule, advice};
pub use attempt::Attempt;
pub use diagnose::{DiagnoseOptions, Diagnosis, LayerLook, diagnose};
pub use noise::{LayerNoise, NoiseStudy, Stretch, study as noise};
pub use probes::{ProbeCosts, costs};
pub use trial::{Outcome, Trial, trial};
pub use units::UnitShares;

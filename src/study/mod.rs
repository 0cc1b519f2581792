//! Many steps or runs with one question.

mod advice;
pub mod compare;
mod noise;

pub use advice::{Advice, LrRule, advice};
pub use noise::{LayerNoise, NoiseStudy, Stretch, study as noise};

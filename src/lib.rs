//! steepest.
pub mod base;

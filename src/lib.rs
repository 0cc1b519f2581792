//! steepest.
pub mod base;
pub mod ops;

//! steepest.
pub mod base;
pub mod data;

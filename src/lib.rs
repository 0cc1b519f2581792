//! steepest.
pub mod autodiff;
pub mod base;
pub mod graph;
pub mod ops;

//! steepest.
pub mod autodiff;
pub mod base;
pub mod exec;
pub mod graph;
pub mod ops;
pub mod plan;

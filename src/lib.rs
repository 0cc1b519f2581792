//! steepest.
pub mod autodiff;
pub mod base;
pub mod data;
pub mod graph;
pub mod ops;

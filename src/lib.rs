//! steepest.
pub mod autodiff;
pub mod base;
pub mod config;
pub mod graph;
pub mod ops;

//! steepest.
pub mod autodiff;
pub mod base;
pub mod config;
pub mod data;
pub mod exec;
pub mod graph;
pub mod ops;
pub mod plan;
pub mod probe;
pub mod verdict;

//! steepest.
pub mod autodiff;
pub mod base;
pub mod cli;
pub mod config;
pub mod data;
pub mod exec;
pub mod graph;
pub mod nn;
pub mod ops;
pub mod optim;
pub mod plan;
pub mod probe;
pub mod run;
pub mod verdict;
pub mod view;

//! The operations of the engine.
pub mod matmul;

//! The matrix product.
pub mod cpu;

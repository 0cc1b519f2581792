//! The ground floor: shapes, scalar types, seeded random streams and the error type.
//!
//! Everything above imports this room; this room imports nothing of the crate.

mod cadence;
mod error;
mod half;
mod real;
mod rng;
mod shape;
mod simd;
mod threads;
mod wide;

pub use cadence::Cadence;
pub use error::{Error, ErrorKind, Result};
pub use half::{HALF_MAX, HALF_NORMAL_MIN, half_bits, half_from_bits, round_to_half};
pub use real::{Real, is_finite_f32};
pub use rng::{Stream, StreamId, permutation, shuffle, threefry2x32, unit_f32, unit_f64};
pub use shape::{DType, Shape, Type, broadcast};
pub use simd::{arch, vectorized};
pub use threads::Threads;
pub use wide::{Lanes, Wide};

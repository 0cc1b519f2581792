//! What the tests of ops, plans and executors share: the table of cases, the runner, the comparator, the goldens.

// Each test binary uses its own part of this.
#![allow(dead_code)]

pub mod case;
pub mod cases;
pub mod compare;
pub mod golden;
pub mod run;

/// The seed of every random number that a test draws; the goldens print their own.
pub const SEED: u64 = 20_240_229;

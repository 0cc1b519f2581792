//! What several tests share.
#![allow(dead_code, missing_docs, reason = "each test uses a part of it")]

pub mod cases;
pub mod gpu;
pub mod measuring;
pub mod reference;
pub mod updates;

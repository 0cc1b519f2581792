//! The quantities: what each is, where it stands in a step's values, and how it is read from the device's table.

mod layout;
mod quantity;
mod reading;

pub use layout::{Layout, RecordSpan, aligned};
pub use quantity::{QUANTITIES, Quantity, Scope, find};
pub use reading::{NonFinite, Reader, Values};

//! A comparison as people see it: its tables and its pictures.

mod pictures;
mod table;

pub use pictures::{pictures, write_pictures};
pub use table::text;

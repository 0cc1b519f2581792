//! Whatever is wrong with the program's input: one clear error on standard error, the right exit code, and nothing
//! half-written.

#[path = "bad_input/arrays.rs"]
mod arrays;
#[path = "bad_input/config.rs"]
mod config;
#[path = "bad_input/devices.rs"]
mod devices;
#[path = "bad_input/ends.rs"]
mod ends;
#[cfg(target_os = "linux")]
#[path = "bad_input/failures.rs"]
mod failures;
#[path = "bad_input/pictures.rs"]
mod pictures;
mod place;
#[path = "bad_input/tables.rs"]
mod tables;

//! Pictures: SVG that we write, and PNG made of it.

mod axis;
mod contour;
mod lines;
mod png;
mod svg;

pub use axis::Axis;
pub use contour::contours;
pub use lines::{Chart, Panel, Series, legend};
pub use png::png;
pub use svg::{Anchor, Frame, Svg};

/// Colours that people with any kind of colour vision tell apart (Okabe and Ito 2008); without their yellow, which is too
/// light for a line on white.
pub const COLOURS: [&str; 7] = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"];

/// Dashes that tell apart what has the same colour.
pub const DASHES: [&str; 4] = ["", "7 3", "2 3", "9 3 2 3"];

/// Text and axes.
pub const INK: &str = "#333333";

/// What is read second.
pub const PALE: &str = "#767676";

/// Lines behind everything.
pub const GRID: &str = "#E3E3E3";

/// Colour and dashes of the series with this number.
pub fn stroke_of(index: usize) -> (&'static str, &'static str) {
    (COLOURS[index % COLOURS.len()], DASHES[index / COLOURS.len() % DASHES.len()])
}

//! What the instruments of an inspection found: tables for people, JSON for programs. Of each instrument a file.

pub mod conflicts;
pub mod noise;
pub mod partials;
pub mod worst;

use super::number::significant;
use super::style::{Paint, Style};
use super::table::Cell;

/// A heading above a table.
fn heading(text: &str, style: Style) -> String {
    format!("\n{}\n", style.paint(text, Paint::Bold))
}

/// A number that may be undefined.
fn maybe(x: Option<f64>) -> Cell {
    x.map_or_else(|| Cell::painted("–", Paint::Dim), |x| significant(x).into())
}

//! Tables of aligned columns.

use super::style::{Paint, Style};

/// On which side the cells of a column are flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A cell and how it stands out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    paint: Paint,
}

impl Cell {
    /// A cell that stands out.
    pub fn painted(text: impl Into<String>, paint: Paint) -> Self {
        Self { text: text.into(), paint }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::painted(text, Paint::Plain)
    }
}

/// A table: a line of headings, and rows below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<Cell>>,
}

/// Spaces between columns.
const GAP: usize = 2;

/// Spaces before the first column: a table is a part of what stands above it.
const INDENT: usize = 2;

impl Table {
    /// A table of these columns, without rows.
    pub fn new<H: Into<String>>(columns: impl IntoIterator<Item = (H, Align)>) -> Self {
        let columns = columns.into_iter().map(|(heading, align)| (heading.into(), align)).collect();
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If it has not as many cells as the table has columns.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let cells: Vec<Cell> = cells.into_iter().collect();
        assert_eq!(cells.len(), self.columns.len(), "cells of a row");
        self.rows.push(cells);
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The text, a newline after each line.
    pub fn render(&self, style: Style) -> String {
        let headings: Vec<Cell> =
            self.columns.iter().map(|(heading, _)| Cell::painted(heading.clone(), Paint::Dim)).collect();
        let has_headings = headings.iter().any(|cell| !cell.text.is_empty());
        let lines: Vec<&[Cell]> =
            has_headings.then_some(&headings[..]).into_iter().chain(self.rows.iter().map(Vec::as_slice)).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| lines.iter().map(|cells| width(&cells[column].text)).max().unwrap_or(0))
            .collect();
        lines.into_iter().map(|cells| self.line(cells, &widths, style)).collect()
    }

    fn line(&self, cells: &[Cell], widths: &[usize], style: Style) -> String {
        let mut line = String::new();
        // Spaces are written before the next text, so that no line ends in them.
        let mut spaces = INDENT;
        for ((cell, &full), &(_, align)) in cells.iter().zip(widths).zip(&self.columns) {
            let room = full - width(&cell.text);
            let (before, after) = if align == Align::Right { (room, 0) } else { (0, room) };
            if cell.text.is_empty() {
                spaces += full + GAP;
                continue;
            }
            line.extend(std::iter::repeat_n(' ', spaces + before));
            line.push_str(&style.paint(&cell.text, cell.paint));
            spaces = after + GAP;
        }
        line.push('\n');
        line
    }
}

/// Columns that a text takes. Names from data files may hold wide characters, which count as one here: a table that is
/// one column off is still read.
fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new([("layer", Align::Left), ("‖g‖", Align::Right), ("verdict", Align::Left)]);
        table.row(["0".into(), "1.23e-5".into(), Cell::painted("vanishing", Paint::Red)]);
        table.row(["output".into(), "0.5".into(), "".into()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_no_line_ends_in_spaces() {
        let expected = "  layer       ‖g‖  verdict\n  0       1.23e-5  vanishing\n  output      0.5\n";
        assert_eq!(table().render(Style::PLAIN), expected);
    }

    #[test]
    fn colour_takes_no_room() {
        let painted = table().render(Style::COLOUR);
        assert!(painted.contains("1.23e-5  \x1b[31mvanishing\x1b[0m\n"), "{painted}");
    }

    #[test]
    fn a_table_without_headings_has_no_line_for_them() {
        let mut table = Table::new([("", Align::Left), ("", Align::Left)]);
        table.row(["device".into(), "cpu".into()]);
        assert_eq!(table.render(Style::PLAIN), "  device  cpu\n");
        assert!(!table.is_empty());
    }
}

//! The cells of a table in a file, parsed by pieces side by side.
//!
//! A piece is whole lines. Where nothing is quoted every line end ends a row, so a piece can begin behind any of them. Where there
//! are quotes a line end may stand within a cell, and which ones do follows from all text before: one pass over the bytes tells
//! them apart, which costs a fraction of parsing. What is wrong with a file is said by the parser that reads it as a whole.

use crate::base::{Error, Result, Threads};
use csv::{ErrorKind, ReaderBuilder, StringRecord, Trim};
use std::collections::BTreeSet;
use std::path::Path;

/// A piece has at least so many bytes: a fraction of a millisecond.
const PIECE: usize = 1 << 18;

/// What a parser leaves out at the beginning of its text, and there alone.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The cells of a file.
pub(super) struct Table {
    pub place: String,
    pub header: Vec<String>,
    pub rows: Vec<StringRecord>,
    /// The line of the file that each row begins on, from 1.
    lines: Vec<u64>,
}

impl Table {
    pub fn read(path: &Path, delimiter: char, threads: &Threads) -> Result<Self> {
        let place = path.display().to_string();
        let separator = u8::try_from(delimiter).ok().filter(u8::is_ascii);
        let separator = separator.ok_or_else(|| {
            Error::input(&place, format!("`{delimiter}` cannot separate cells: only a character of ASCII can"))
        })?;
        let text = std::fs::read(path).map_err(|error| Error::input(&place, error))?;
        Self::parse(&text, place, separator, threads, PIECE)
    }

    /// Parses the text of a file in pieces of at least `piece` bytes.
    fn parse(text: &[u8], place: String, separator: u8, threads: &Threads, piece: usize) -> Result<Self> {
        let line = |at: &Option<csv::Position>| at.as_ref().map_or(0, |at| line_of(text, at));
        let fail = |error: csv::Error| match error.kind() {
            ErrorKind::UnequalLengths { pos, expected_len, len } => {
                Error::input(&place, format!("line {} has {len} cells, the header has {expected_len}", line(pos)))
                    .help("mend the line; a cell that holds what separates cells stands in quotes")
            }
            ErrorKind::Utf8 { pos, .. } => {
                Error::input(&place, format!("line {} is not UTF-8 text", line(pos))).help("save the table as UTF-8")
            }
            _ => Error::input(&place, &error),
        };
        let mut reader = builder(separator).from_reader(text);
        let header: Vec<String> =
            reader.headers().map_err(fail)?.iter().map(|name| name.trim_start_matches('\u{feff}').into()).collect();
        let mut seen = BTreeSet::new();
        if let Some(twice) = header.iter().find(|name| !seen.insert(*name)) {
            return Err(Error::input(&place, format!("two columns are named `{twice}`")));
        }
        if let Some(line) = open_quote(text, separator) {
            return Err(Error::input(&place, format!("line {line}: a quote begins a cell and nothing ends it"))
                .help("close it; a quote that belongs to a cell is doubled, in quotes"));
        }
        let starts = match threads.count() {
            1 => Vec::new(),
            _ => starts(text, reader.position().byte() as usize, separator, piece),
        };
        if let Some((rows, lines)) = in_pieces(text, &starts, separator, header.len(), threads) {
            return Ok(Self { place, header, rows, lines });
        }
        let rows = reader.records().collect::<csv::Result<Vec<_>>>().map_err(fail)?;
        if rows.is_empty() {
            return Err(Error::input(&place, "the table has no rows").help("the first line must name the columns"));
        }
        let lines = rows.iter().map(|row| line(&row.position().cloned())).collect();
        Ok(Self { place, header, rows, lines })
    }

    pub fn column(&self, name: &str) -> Option<usize> {
        self.header.iter().position(|column| column == name)
    }

    pub fn no_column(&self, name: &str) -> Error {
        Error::input(&self.place, format!("there is no column `{name}`"))
            .help(format!("the header names: {}", self.header.join(", ")))
    }

    /// An error at a cell: rows count from 1 below the header, lines from 1 in the file.
    fn at(&self, row: usize, column: usize, message: &str) -> Error {
        let line = self.lines[row];
        Error::input(&self.place, format!("row {} (line {line}), column `{}`: {message}", row + 1, self.header[column]))
    }

    fn cell(&self, row: usize, column: usize) -> Result<&str> {
        match &self.rows[row][column] {
            "" => Err(self
                .at(row, column, "the cell is empty")
                .help("fill it in, leave the row out, or ignore the column")),
            cell => Ok(cell),
        }
    }

    pub fn has_number(&self, column: usize) -> bool {
        self.rows.iter().any(|row| row[column].parse::<f64>().is_ok())
    }

    pub fn number(&self, row: usize, column: usize) -> Result<f32> {
        let cell = self.cell(row, column)?;
        let value: f64 = cell.parse().map_err(|_| {
            self.at(row, column, &format!("`{cell}` is not a number, but the column holds numbers"))
                .help("mend the cell, or name the column in `categorical`")
        })?;
        let value = value as f32;
        if !value.is_finite() {
            return Err(self.at(row, column, &format!("`{cell}` is not a finite 32-bit number")));
        }
        Ok(value)
    }

    /// The different cells of a column, sorted: by value if all are numbers, else as text.
    pub fn categories(&self, column: usize) -> Result<Vec<String>> {
        let cells = (0..self.rows.len()).map(|row| self.cell(row, column)).collect::<Result<BTreeSet<_>>>()?;
        let mut categories: Vec<String> = cells.into_iter().map(str::to_owned).collect();
        if let Ok(numbers) = categories.iter().map(|cell| cell.parse::<f64>()).collect::<Result<Vec<_>, _>>() {
            let mut order: Vec<usize> = (0..categories.len()).collect();
            order.sort_by(|&a, &b| numbers[a].total_cmp(&numbers[b]));
            categories = order.into_iter().map(|at| categories[at].clone()).collect();
        }
        Ok(categories)
    }

    pub fn category(&self, row: usize, column: usize, known: &[String]) -> Result<usize> {
        let cell = self.cell(row, column)?;
        known.iter().position(|category| category == cell).ok_or_else(|| {
            let shown = known.iter().take(12).cloned().collect::<Vec<_>>().join(", ");
            let more = if known.len() > 12 { ", …" } else { "" };
            self.at(row, column, &format!("`{cell}` does not occur in the training data"))
                .help(format!("known there: {shown}{more}"))
        })
    }
}

/// The line that a record begins on. The reader's own position lies before the line ends that are still to be skipped: blank
/// lines, and the second half of a CR LF.
fn line_of(text: &[u8], at: &csv::Position) -> u64 {
    let rest = text.get(at.byte() as usize..).unwrap_or_default();
    let skipped = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    at.line() + skipped.filter(|byte| **byte == b'\n').count() as u64
}

fn builder(separator: u8) -> ReaderBuilder {
    let mut builder = ReaderBuilder::new();
    builder.delimiter(separator).trim(Trim::All);
    builder
}

/// Where pieces of at least `piece` bytes begin, the first at `from`: each behind a line end that ends a row.
fn starts(text: &[u8], from: usize, separator: u8, piece: usize) -> Vec<usize> {
    let mut starts = vec![from];
    if matches!(separator, b'\n' | b'\r' | b'"') {
        return starts;
    }
    let mut least = from + piece;
    let mut take = |end: usize| {
        if end >= least && end < text.len() && !text[end..].starts_with(BYTE_ORDER_MARK) {
            starts.push(end);
            least = end + piece;
        }
        least
    };
    if !text[from..].contains(&b'"') {
        let mut at = from + piece;
        while let Some(end) = text.get(at..).and_then(|rest| rest.iter().position(|&byte| byte == b'\n')) {
            at = take(at + end + 1).max(at + end + 1);
        }
        return starts;
    }
    let mut place = Place::CellStart;
    for (at, &byte) in text.iter().enumerate().skip(from) {
        place = place.after(byte, separator);
        if byte == b'\n' && place == Place::CellStart {
            take(at + 1);
        }
    }
    starts
}

/// The line of a quote that begins a cell which the file ends in: all rows behind it would be one cell.
fn open_quote(text: &[u8], separator: u8) -> Option<u64> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    if separator == b'"' || !text.contains(&b'"') {
        return None;
    }
    let (mut place, mut line, mut opened) = (Place::CellStart, 1, 1);
    for &byte in text {
        let next = place.after(byte, separator);
        if place == Place::CellStart && next == Place::Quoted {
            opened = line;
        }
        line += u64::from(byte == b'\n');
        place = next;
    }
    (place == Place::Quoted).then_some(opened)
}

/// What has been read of a cell. Quotes count where a cell begins, and in a cell that one began; there, two stand for one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    CellStart,
    Bare,
    Quoted,
    /// Behind a quote in a quoted cell: it ends there, unless another quote follows.
    Unquoted,
}

impl Place {
    fn after(self, byte: u8, separator: u8) -> Self {
        match (self, byte) {
            (Self::CellStart | Self::Unquoted, b'"') => Self::Quoted,
            (Self::Quoted, b'"') => Self::Unquoted,
            (Self::Quoted, _) => Self::Quoted,
            (_, b'\r' | b'\n') => Self::CellStart,
            (_, byte) if byte == separator => Self::CellStart,
            _ => Self::Bare,
        }
    }
}

/// The rows of all pieces with their lines; nothing if there is one piece only, or if anything is wrong with one.
fn in_pieces(
    text: &[u8],
    starts: &[usize],
    separator: u8,
    width: usize,
    threads: &Threads,
) -> Option<(Vec<StringRecord>, Vec<u64>)> {
    if starts.len() < 2 {
        return None;
    }
    let mut pieces: Vec<Option<Piece>> = Vec::new();
    pieces.resize_with(starts.len(), || None);
    threads.chunks(&mut pieces, 1, |i, piece| {
        let end = starts.get(i + 1).copied().unwrap_or(text.len());
        piece[0] = Piece::parse(&text[starts[i]..end], separator, width);
    });
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    let mut before = newlines(&text[..starts[0]]);
    for piece in pieces {
        let piece = piece?;
        lines.extend(piece.lines.iter().map(|line| before + line));
        rows.extend(piece.rows);
        before += piece.newlines;
    }
    Some((rows, lines))
}

/// Rows of a part of a file.
struct Piece {
    rows: Vec<StringRecord>,
    /// The line that each row begins on, from 1 at the beginning of the piece.
    lines: Vec<u64>,
    newlines: u64,
}

impl Piece {
    /// Nothing if a row is malformed or has not `width` cells.
    fn parse(text: &[u8], separator: u8, width: usize) -> Option<Self> {
        let mut reader = builder(separator).has_headers(false).flexible(true).from_reader(text);
        let rows: Vec<StringRecord> = reader.records().collect::<csv::Result<_>>().ok()?;
        if rows.iter().any(|row| row.len() != width) {
            return None;
        }
        let lines = rows.iter().map(|row| row.position().map_or(0, |at| line_of(text, at))).collect();
        Some(Self { rows, lines, newlines: newlines(text) })
    }
}

fn newlines(text: &[u8]) -> u64 {
    text.iter().filter(|&&byte| byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parsed = Result<(Vec<String>, Vec<StringRecord>, Vec<u64>)>;

    fn parse(text: &[u8], threads: usize, piece: usize) -> Parsed {
        let table = Table::parse(text, "t".into(), b',', &Threads::new(threads).unwrap(), piece)?;
        Ok((table.header, table.rows, table.lines))
    }

    #[test]
    fn pieces_give_the_same_rows_lines_and_errors_as_the_whole() {
        let texts = [
            "a,b\n1,2\n3,4\n5,6\n",
            "a,b\r\n1,2\r\n\r\n3,4\r\n5,6",
            "a,b\r1,2\r3,4\r",
            "a,b\n\"x\ny\",2\n\"x\"\"\n\",4\n\"x\"\n\",6\n1,2\n",
            "a,b\n x\"\n,2\n1, \"q\n3,4\n",
            "a,b\n1,2\n\u{feff}3,4\n\u{feff}5,6\n",
            "\u{feff}a,b\n1,2\n3,4\n",
            "\n\na,b\n\n1,2\n\n\n3,4\n\n",
            "a,b\n1,2\n3,4,5\n6,7\n",
            "a,b\n1,2\n3,4\n\"5,6\n7,8\n",
            "a,b\n",
            "",
        ];
        let mut cut = 0;
        for text in texts {
            let whole = parse(text.as_bytes(), 1, 1);
            for piece in 1..text.len() {
                cut += usize::from(starts(text.as_bytes(), 0, b',', piece).len() > 1);
                assert_eq!(parse(text.as_bytes(), 2, piece), whole, "{text:?} in pieces of {piece}");
            }
        }
        assert!(cut > 60, "{cut} texts in more than one piece");
        let invalid = b"a,b\n1,2\n3,\xff\n5,6\n";
        assert!(parse(invalid, 2, 1).unwrap_err().to_string().contains("line 3 is not UTF-8 text"));
    }

    /// Texts of the characters that matter, in any order.
    #[test]
    fn any_text_is_cut_where_rows_begin() {
        let mut stream = crate::base::Stream::new(1, crate::base::StreamId::Split);
        let (mut good, mut quoted) = (0, 0);
        for _ in 0..10_000 {
            let picks = crate::base::permutation(60, &mut stream);
            let body: String =
                picks.iter().take(40).map(|&pick| ["\"", "\n", ",", "x", "\r\n", " "][pick as usize % 6]).collect();
            // One column, so that most rows have the right number of cells.
            let text = format!("a\n{}", body.replace(',', if picks[59].is_multiple_of(2) { "y" } else { "," }));
            let whole = parse(text.as_bytes(), 1, 1);
            good += usize::from(whole.is_ok());
            quoted +=
                usize::from(whole.as_ref().is_ok_and(|(_, rows, _)| rows.iter().any(|row| row[0].contains('\n'))));
            for piece in [1, 5, 11] {
                assert_eq!(parse(text.as_bytes(), 2, piece), whole, "{text:?} in pieces of {piece}");
            }
        }
        assert!(good > 1000 && quoted > 100, "{good} good texts, {quoted} with line ends in cells");
    }
}

//! `steepest predict`.

use super::args::PredictArgs;
use super::{npy as array, print, settings};
use crate::base::{Error, Result};
use crate::run::folder::write_atomic;
use crate::run::{self, Prediction, Predictor, SavedModel};
use crate::view::evaluation::csv_text;
use crate::view::number::{self, percent, significant};
use crate::view::style::{Paint, Style};
use crate::view::table::{Align, Cell, Table};
use std::path::Path;

/// What a predictions file is.
enum Format {
    Csv,
    Npy,
}

/// Predicts the targets of the examples in a file.
pub fn run(args: &PredictArgs) -> Result<()> {
    let out = args.out.as_deref().map(|path| format_of(path).map(|format| (path, format))).transpose()?;
    let mut saved = SavedModel::open_with(&args.run, args.weights.as_deref())?;
    settings::set_device(&mut saved.config, &args.device)?;
    let x = saved.preprocessing.read_inputs(&args.data)?;
    let names = saved.preprocessing.input_names(&args.data)?;
    let device = run::open_device(&saved.config)?;
    let prediction = Predictor::new(&saved, device)?.predict(x)?;
    match out {
        Some((path, Format::Csv)) => write_atomic(path, &csv_text(&named(lines(&prediction, &saved), names))?),
        Some((path, Format::Npy)) => write_atomic(path, &npy(path, &prediction)?),
        None => print(&table(&prediction, &saved, names.as_deref(), Style::of(&std::io::stdout()))),
    }
}

fn format_of(path: &Path) -> Result<Format> {
    match path.extension().and_then(|end| end.to_str()) {
        Some("csv") => Ok(Format::Csv),
        Some("npy") => Ok(Format::Npy),
        _ => Err(Error::input(path.display(), "the name of a file of predictions ends in .csv or .npy")),
    }
}

fn class_name(class: usize, saved: &SavedModel) -> String {
    number::class_name(class, saved.preprocessing.class_names.as_deref())
}

/// The names of predicted values: the columns that were the targets, where the data was a table.
fn value_names(width: usize, saved: &SavedModel) -> Vec<String> {
    match (saved.preprocessing.target_names(), width) {
        (Some(names), _) => names.to_vec(),
        (_, 1) => vec!["value".into()],
        _ => (0..width).map(|i| format!("value {i}")).collect(),
    }
}

/// A line of headings, and one for each example: the class and all probabilities, or the values, with all digits.
fn lines(prediction: &Prediction, saved: &SavedModel) -> Vec<Vec<String>> {
    match prediction {
        Prediction::Classes { classes, count, probabilities } => {
            let shown = if probabilities.is_some() { *count } else { 0 };
            let names = (0..shown).map(|class| format!("probability {}", class_name(class, saved)));
            let head: Vec<String> = std::iter::once("class".to_owned()).chain(names).collect();
            let line = |(row, class): (usize, &Option<usize>)| -> Vec<String> {
                let name = class.map_or(String::new(), |class| class_name(class, saved));
                let shares = probabilities.as_ref().map_or(&[][..], |all| &all[row * count..][..*count]);
                std::iter::once(name).chain(shares.iter().map(f64::to_string)).collect()
            };
            std::iter::once(head).chain(classes.iter().enumerate().map(line)).collect()
        }
        Prediction::Values { width, values } => {
            let rows = values.chunks_exact(*width).map(|row| row.iter().map(f64::to_string).collect::<Vec<_>>());
            std::iter::once(value_names(*width, saved)).chain(rows).collect()
        }
    }
}

/// The same lines, each with the name of its input before it, where inputs have names.
fn named(lines: Vec<Vec<String>>, names: Option<Vec<String>>) -> Vec<Vec<String>> {
    let Some(names) = names else { return lines };
    let first = std::iter::once("file".to_owned()).chain(names);
    first.zip(lines).map(|(name, line)| std::iter::once(name).chain(line).collect()).collect()
}

/// A line for each example: its class and how probable that is, or its values.
fn table(prediction: &Prediction, saved: &SavedModel, names: Option<&[String]>, style: Style) -> String {
    let (head, align) = if names.is_some() { ("file", Align::Left) } else { ("row", Align::Right) };
    let row_cell =
        |row: usize| Cell::painted(names.map_or_else(|| row.to_string(), |names| names[row].clone()), Paint::Dim);
    let mut table;
    match prediction {
        Prediction::Classes { classes, count, probabilities } => {
            let share = if probabilities.is_some() { "probability" } else { "" };
            table = Table::new([(head, align), ("class", Align::Left), (share, Align::Right)]);
            for (row, class) in classes.iter().enumerate() {
                let name = class.map_or("undecided".into(), |class| class_name(class, saved));
                let share = probabilities.as_ref().zip(*class).map(|(all, class)| percent(all[row * count + class]));
                table.row([row_cell(row), name.into(), share.unwrap_or_default().into()]);
            }
        }
        Prediction::Values { width, values } => {
            let names = value_names(*width, saved).into_iter().map(|name| (name, Align::Right));
            table = Table::new(std::iter::once((head.to_owned(), align)).chain(names));
            for (row, values) in values.chunks_exact(*width).enumerate() {
                let values = values.iter().map(|&value| significant(value).into());
                table.row(std::iter::once(row_cell(row)).chain(values));
            }
        }
    }
    table.render(style)
}

/// An npy file of doubles: probabilities [rows, classes], or values [rows, width]. A classifier without probabilities gives
/// its classes [rows, 1], −1 where it has none.
fn npy(path: &Path, prediction: &Prediction) -> Result<Vec<u8>> {
    let decided;
    let (width, values) = match prediction {
        Prediction::Classes { count, probabilities: Some(shares), .. } => (*count, shares),
        Prediction::Classes { classes, .. } => {
            decided = classes.iter().map(|class| class.map_or(-1.0, |class| class as f64)).collect();
            (1, &decided)
        }
        Prediction::Values { width, values } => (*width, values),
    };
    array::bytes(path, &[values.len() / width, width], values)
}

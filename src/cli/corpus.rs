//! `steepest corpus`.

use super::args::{CorpusArgs, SetName};
use super::{print, print_json};
use crate::base::{Error, Result};
use crate::run::folder::environment;
use crate::study::corpus::{Options, Progress, Report, Set, corpus};
use crate::view::corpus::{csv, text};
use crate::view::style::Style;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::path::{Path, PathBuf};

/// Runs the corpus and shows its table.
pub fn run(args: &CorpusArgs) -> Result<()> {
    if let Some(path) = args.out.as_deref() {
        check(path)?;
    }
    let defaults = Options::default();
    let options = Options {
        set: match args.set {
            SetName::Tuned => Set::Tuned,
            SetName::Scored => Set::Scored,
        },
        architectures: args.architectures.unwrap_or(defaults.architectures),
        seed: args.seed.unwrap_or(defaults.seed),
        tries: args.tries,
        workers: args.workers.unwrap_or(defaults.workers),
    };
    let shown = Shown::new(args.quiet);
    let report = corpus(&options, &shown)?;
    shown.bar.finish_and_clear();
    if let Some(path) = args.out.as_deref() {
        write(path, &report)?;
    }
    if args.json {
        return print_json(&report);
    }
    print(&text(&report, Style::of(&std::io::stdout())))
}

/// A bar on standard error, where that is a terminal.
struct Shown {
    bar: ProgressBar,
}

impl Shown {
    fn new(is_quiet: bool) -> Self {
        let target = if is_quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template("  {bar:24} {pos}/{len} runs  {eta} left");
        bar.set_style(style.expect("the template is valid").progress_chars("━━ "));
        Self { bar }
    }
}

impl Progress for Shown {
    fn done(&self, done: usize, of: usize) {
        self.bar.set_length(of as u64);
        self.bar.set_position(done as u64);
    }
}

/// The rows stand beside the table.
fn rows_of(path: &Path) -> PathBuf {
    path.with_extension("csv")
}

/// Refuses what cannot be written before the corpus runs.
fn check(path: &Path) -> Result<()> {
    if path.extension().is_none_or(|end| end != "json") {
        return Err(Error::input(path.display(), "the table is written as JSON").help("end the name in .json"));
    }
    match [path.to_owned(), rows_of(path)].iter().find(|path| path.exists()) {
        Some(path) => Err(Error::input(path.display(), "there is a file already").help("give another name to --out")),
        None => Ok(()),
    }
}

fn write(path: &Path, report: &Report) -> Result<()> {
    let failed = |error: serde_json::Error| Error::failure(path.display(), error);
    let mut table = serde_json::to_value(report).map_err(failed)?;
    table.as_object_mut().map(|table| table.remove("rows"));
    let whole = serde_json::json!({ "environment": environment(), "table": table });
    put(path, &serde_json::to_vec_pretty(&whole).map_err(failed)?)?;
    put(&rows_of(path), &csv(report)?)
}

fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes)
        .map_err(|error| Error::failure(path.display(), format!("could not be written: {error}")))
}

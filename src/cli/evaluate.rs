//! `steepest eval`.

use super::args::EvalArgs;
use super::{print, print_json, settings};
use crate::base::{Error, Result};
use crate::run::folder::write_atomic;
use crate::run::{self, Predictor, SavedModel};
use crate::view::evaluation;
use crate::view::style::Style;

/// Judges a model on the test part of its data, or on other examples.
pub fn run(args: &EvalArgs) -> Result<()> {
    let mut saved = model(args)?;
    let data = match &args.data {
        Some(path) => saved.preprocessing.read_examples(path)?,
        None => saved.test_part()?,
    };
    settings::set_device(&mut saved.config, &args.device)?;
    let device = run::open_device(&saved.config)?;
    let scores = Predictor::new(&saved, device)?.evaluate(&data)?;
    let names = saved.preprocessing.target_names();
    if let Some(path) = &args.csv {
        write_atomic(path, &evaluation::to_csv(&scores, names)?)?;
    }
    if args.json {
        return print_json(&evaluation::to_json(&scores, names));
    }
    print(&evaluation::text(&scores, names, Style::of(&std::io::stdout())))
}

/// The model of a run, or one of a config and a file of weights.
fn model(args: &EvalArgs) -> Result<SavedModel> {
    if args.run.is_dir() {
        return SavedModel::open_with(&args.run, args.weights.as_deref());
    }
    let config = settings::read(&args.run)?;
    let weights = args.weights.as_deref().ok_or_else(|| {
        Error::input(args.run.display(), "a config has no weights")
            .help("give them with --weights, or give the folder of a run")
    })?;
    SavedModel::from_config(config, weights)
}

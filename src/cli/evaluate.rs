//! `steepest eval`.

use super::args::EvalArgs;
use super::{print, print_json, settings};
use crate::base::{Error, Result};
use crate::data::Dataset;
use crate::run::folder::write_atomic;
use crate::run::{self, Predictor, SavedModel};
use crate::view::evaluation;
use crate::view::style::Style;

/// Judges a model on the test part of its data, or on other examples.
pub fn run(args: &EvalArgs) -> Result<()> {
    let (mut saved, data) = model_and_data(args)?;
    settings::set_device(&mut saved.config, &args.device)?;
    let device = run::open_device(&saved.config)?;
    let evaluation = Predictor::new(&saved, device)?.evaluate(&data)?;
    let names = saved.preprocessing.class_names.as_deref();
    if let Some(path) = &args.csv {
        write_atomic(path, &evaluation::to_csv(&evaluation, names)?)?;
    }
    if args.json {
        return print_json(&evaluation::to_json(&evaluation, names));
    }
    print(&evaluation::text(&evaluation, names, Style::of(&std::io::stdout())))
}

fn model_and_data(args: &EvalArgs) -> Result<(SavedModel, Dataset)> {
    let weights = args.weights.as_deref();
    if args.run.is_dir() {
        let saved = SavedModel::open_with(&args.run, weights)?;
        let data = match &args.data {
            Some(path) => saved.preprocessing.read_examples(path)?,
            None => {
                let splits = run::load(&saved.config)?;
                if splits.preprocessing != saved.preprocessing {
                    let error = Error::input(args.run.display(), "the data is no longer what the run was trained on");
                    return Err(error.help("restore it, or give examples with --data"));
                }
                test_part(args, splits.test)?
            }
        };
        return Ok((saved, data));
    }
    let config = settings::read(&args.run)?;
    let weights = weights.ok_or_else(|| {
        Error::input(args.run.display(), "a config has no weights")
            .help("give them with --weights, or give the folder of a run")
    })?;
    let splits = run::load(&config)?;
    let saved = SavedModel::new(config, splits.preprocessing, weights)?;
    let data = match &args.data {
        Some(path) => saved.preprocessing.read_examples(path)?,
        None => test_part(args, splits.test)?,
    };
    Ok((saved, data))
}

fn test_part(args: &EvalArgs, test: Option<Dataset>) -> Result<Dataset> {
    test.ok_or_else(|| {
        Error::input(args.run.display(), "its data has no test part")
            .help("give examples with --data, or set data.test_split before training")
    })
}

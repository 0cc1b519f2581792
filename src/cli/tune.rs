//! `steepest tune`.

use super::args::TuneArgs;
use super::progress;
use super::{print, print_json, settings};
use crate::base::Result;
use crate::study::tune::{TuneOptions, tune};
use crate::view::style::Style;
use crate::view::tuning;

/// Times the kernels for the matrix products of a config.
pub fn run(args: &TuneArgs) -> Result<()> {
    let mut config = settings::resolve(&args.config)?;
    settings::set_device(&mut config, &args.device)?;
    let defaults = TuneOptions::default();
    let options = TuneOptions { rounds: args.rounds.unwrap_or(defaults.rounds), ..defaults };
    let found = tune(&config, &options, &mut progress("measurement"))?;
    if args.json {
        return print_json(&found);
    }
    print(&tuning::text(&found, Style::of(&std::io::stdout())))
}

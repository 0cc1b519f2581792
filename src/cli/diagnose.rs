//! `steepest diagnose`.

use super::args::DiagnoseArgs;
use super::{FAULT, print, print_json, settings};
use crate::base::{Error, Result};
use crate::study::{DiagnoseOptions, diagnose};
use crate::view::diagnosis;
use crate::view::style::Style;
use std::path::Path;
use std::process::ExitCode;

/// Looks for what is wrong with a config, tries remedies and writes the best config if asked.
pub fn run(args: &DiagnoseArgs) -> Result<ExitCode> {
    let mut config = settings::resolve(&args.config)?;
    settings::set_device(&mut config, &args.device)?;
    if let Some(path) = args.apply.as_deref().filter(|path| path.exists()) {
        return Err(Error::input(path.display(), "there is a file already").help("give another name to --apply"));
    }
    let defaults = DiagnoseOptions::default();
    let options =
        DiagnoseOptions { steps: args.steps.unwrap_or(defaults.steps), tries: args.tries || args.apply.is_some() };
    let found = diagnose(&config, &options)?;
    if args.json {
        print_json(&found)?;
    } else {
        print(&diagnosis::text(&found, Style::of(&std::io::stdout())))?;
    }
    if let (Some(path), Some(mended)) = (&args.apply, found.mended(&config)?) {
        write(path, &mended.to_toml_changed())?;
    }
    Ok(if found.has_fault() { ExitCode::from(FAULT) } else { ExitCode::SUCCESS })
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|error| Error::failure(path.display(), format!("could not be written: {error}")))
}

//! `steepest range`.

use super::args::RangeArgs;
use super::progress;
use super::{print, print_json, settings};
use crate::base::Result;
use crate::run::folder::RunFolder;
use crate::study::range::{RangeOptions, range};
use crate::view::range as view;
use crate::view::style::Style;

/// Tests which learning rates a config can take.
pub fn run(args: &RangeArgs) -> Result<()> {
    let mut config = settings::resolve(&args.config)?;
    settings::set_device(&mut config, &args.device)?;
    if let Some(seed) = args.seed {
        config.set_all_for("--seed", [format!("train.seed={seed}")])?;
    }
    let defaults = RangeOptions::default();
    let options = RangeOptions {
        from: args.from.unwrap_or(defaults.from),
        to: args.to.unwrap_or(defaults.to),
        steps: args.steps.unwrap_or(defaults.steps),
        seeds: args.seeds.unwrap_or(defaults.seeds),
    };
    // A folder that cannot be had is known before the work begins, and is gone again if there is nothing to put into it.
    let folder = args.out.as_deref().map(|out| RunFolder::create(Some(out), out, &config.name)).transpose()?;
    let study = range(&config, &options, &mut progress("step")).inspect_err(|_| {
        let _ = folder.as_ref().map(|folder| std::fs::remove_dir(folder.path()));
    })?;
    let files = match &folder {
        Some(folder) => format!("\n{}\n  {}\n", folder.path().display(), view::write(&study, folder)?.join(", ")),
        None => String::new(),
    };
    if args.json {
        return print_json(&study);
    }
    print(&format!("{}{files}", view::text(&study, Style::of(&std::io::stdout()))))
}

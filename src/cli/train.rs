//! `steepest train`.

use super::args::TrainArgs;
use super::{FAULT, print_json, settings};
use crate::base::Result;
use crate::run::{self, TrainOptions};
use crate::view::style::Style;
use crate::view::terminal::Terminal;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

/// Trains, and shows how it goes.
pub fn run(args: &TrainArgs) -> Result<ExitCode> {
    let config = settings::resolve_train(args)?;
    let command: Vec<String> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let options = TrainOptions { out: args.out.clone(), command, profile: args.profile };
    let mut terminal = terminal(args);
    let end = match &args.resume {
        Some(folder) => run::resume(&config, folder, &options, &mut terminal)?,
        None => run::train(&config, &options, &mut terminal)?,
    };
    if args.json {
        terminal.stop();
        print_json(&end.summary)?;
    } else {
        terminal.end(&end);
    }
    Ok(if end.is_ended_by_fault() { ExitCode::from(FAULT) } else { ExitCode::SUCCESS })
}

/// With `--json`, standard output belongs to the summary.
fn terminal(args: &TrainArgs) -> Terminal {
    let (out, err) = (std::io::stdout(), std::io::stderr());
    let (stream, style, is_terminal): (Box<dyn Write + Send>, _, _) = if args.json {
        let (style, is_terminal) = (Style::of(&err), err.is_terminal());
        (Box::new(err), style, is_terminal)
    } else {
        let (style, is_terminal) = (Style::of(&out), out.is_terminal() && err.is_terminal());
        (Box::new(out), style, is_terminal)
    };
    Terminal::new(stream, style, is_terminal, args.quiet)
}

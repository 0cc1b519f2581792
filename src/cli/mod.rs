//! The command line: flags to typed settings, results to text. Every error is printed once, as `error: …` on standard
//! error; the exit code is 2 for wrong usage or input, 1 for failures, and 3 for a fault that was looked for.

mod args;
mod bench;
mod compare;
mod corpus;
mod devices;
mod diagnose;
mod evaluate;
mod help;
mod input_gradient;
mod inspect;
mod noise;
mod npy;
mod plan;
mod predict;
mod probes;
mod range;
mod settings;
mod train;
mod tune;

use crate::base::{Error, Result};
use crate::config;
use crate::view::number::count;
use crate::view::style::{Paint, Style};
use args::{Cli, Command};
use clap::Parser;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The exit code where a fault was found.
const FAULT: u8 = 3;

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too; a closed pipe is no reason to complain.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            let word = Style::of(&std::io::stderr()).paint("error:", Paint::Red);
            let _ = writeln!(std::io::stderr(), "{word} {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    let done = match command {
        Command::Train(args) => return train::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Diagnose(args) => return diagnose::run(&args),
        Command::Eval(args) => evaluate::run(&args),
        Command::Predict(args) => predict::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Noise(args) => noise::run(&args),
        Command::Probes(args) => probes::run(&args),
        Command::Range(args) => range::run(&args),
        Command::Tune(args) => tune::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Devices(args) => devices::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Corpus(args) => corpus::run(&args),
        Command::Config(args) => print(&settings::resolve(&args)?.to_toml()),
        Command::Keys => print(&config::reference()),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Writes to standard output. That nobody reads on (`| head`) is no error.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::failure("standard output", format!("could not be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Tells how far it is, from the second second on: in place on a terminal, now and then elsewhere.
fn progress(noun: &'static str) -> impl FnMut(u64, u64) {
    let live = std::io::stderr().is_terminal();
    let (every, ends) = if live { (Duration::from_millis(200), "\r") } else { (Duration::from_secs(5), "\n") };
    let mut shown = Instant::now() + Duration::from_secs(1).saturating_sub(every);
    let mut any = false;
    move |done, total| {
        if any && live && done == total {
            let _ = write!(std::io::stderr(), "{:40}\r", "");
        }
        if done < total && shown.elapsed() > every {
            (shown, any) = (Instant::now(), true);
            let _ = write!(std::io::stderr(), "  {noun} {} of {}{ends}", count(done), count(total));
        }
    }
}

/// Writes a value as JSON to standard output.
fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::failure("--json", error))?;
    print(&format!("{text}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example_that_parses() {
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples: Vec<&str> = help.lines().filter_map(|line| line.trim().strip_prefix("steepest ")).collect();
            assert!(!examples.is_empty(), "{name} has no example");
            for example in examples {
                let line = example.split("  #").next().unwrap().replace(['\'', '"'], "");
                assert!(line.starts_with(name), "{name}: {line}");
                let line = line.split(" > ").next().unwrap();
                let words = std::iter::once("steepest").chain(line.split_whitespace());
                Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}\n{error}"));
            }
        }
    }
}

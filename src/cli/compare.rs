//! `steepest compare`.

use super::args::{CompareArgs, ExampleName};
use super::{print, print_json, settings};
use crate::base::{Error, Result};
use crate::config::Config;
use crate::study::compare::{self, Budget, Example, Options, Progress, Run, Vary};
use crate::view::comparison::{text, write_pictures};
use crate::view::number::{count, significant};
use crate::view::style::Style;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Runs the variants, shows how far they are, and what came of them.
pub fn run(args: &CompareArgs) -> Result<()> {
    let example = args.example.map(|name| match name {
        ExampleName::Digits => Example::Digits,
        ExampleName::Convex => Example::Convex,
        ExampleName::Surface => Example::Surface,
    });
    let config = config(args, example)?;
    let given = args.vary.iter().map(|text| Vary::parse(text)).collect::<Result<Vec<_>>>()?;
    let options = Options {
        vary: if given.is_empty() { example.map(Example::vary).unwrap_or_default() } else { given },
        seeds: args.seeds.unwrap_or_else(|| example.map_or(1, Example::seeds)),
        budget: Budget {
            examples: args.examples,
            steps: args.steps,
            time: args.time.as_deref().map(time).transpose()?,
            target: args.target,
        },
        out: args.out.clone(),
        command: std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect(),
    };
    let mut shown = Shown { is_quiet: args.quiet, ..Shown::default() };
    let comparison = compare::compare(&config, &options, &mut shown)?;
    let pictures = write_pictures(&comparison)?;
    shown.stop();
    if args.json {
        return print_json(&comparison);
    }
    let files = format!("compare.json, compare.csv, {}", pictures.join(", "));
    let style = Style::of(&std::io::stdout());
    print(&format!("{}\n{}\n  {files}\n", text(&comparison, style), comparison.folder.display()))
}

fn config(args: &CompareArgs, example: Option<Example>) -> Result<Config> {
    let mut config = match example {
        Some(example) => example.config(),
        None => settings::resolve(&settings::without_changes(&args.config))?,
    };
    settings::change(&mut config, &args.config.set)?;
    settings::set_device(&mut config, &args.device)?;
    if let Some(seed) = args.seed {
        config.set_all_for("--seed", [format!("train.seed={seed}")])?;
    }
    Ok(config)
}

/// A length of time as `train.max_time` takes it.
fn time(text: &str) -> Result<Duration> {
    let mut config = Config::builtin_digits();
    let quoted = toml::Value::String(text.to_owned());
    config.set_all_for("--time", [format!("train.max_time={quoted}")])?;
    config.train.max_time.ok_or_else(|| Error::input("--time", format!("`{text}` is no length of time")))
}

/// Progress on standard error: a bar on a terminal, else a line for each run.
#[derive(Default)]
struct Shown {
    is_quiet: bool,
    bar: Option<ProgressBar>,
    place: String,
}

impl Shown {
    fn stop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Shown {
    fn begin(&mut self, index: usize, of: usize, name: &str, steps: u64) {
        self.place = format!("[{}/{of}]", index + 1);
        if self.is_quiet || !std::io::stderr().is_terminal() {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("  {bar:24} {percent:>3} %  {msg}");
            bar.set_style(style.expect("the template is valid").progress_chars("━━ "));
            bar
        });
        bar.set_length(steps);
        bar.set_position(0);
        bar.set_message(format!("{} {name}", self.place));
    }

    fn step(&mut self, steps_done: u64) {
        if let Some(bar) = self.bar.as_ref().filter(|_| steps_done.is_multiple_of(64)) {
            bar.set_position(steps_done);
        }
    }

    fn end(&mut self, name: &str, run: &Run) {
        if self.is_quiet {
            return;
        }
        let loss = run.loss.map_or("not finite".to_owned(), significant);
        let (place, steps) = (&self.place, count(run.steps));
        let line = format!(
            "  {place} {name}, seed {}: loss {loss} after {steps} steps in {} s",
            run.seed,
            significant(run.seconds)
        );
        match &self.bar {
            Some(bar) => bar.println(line),
            // That nobody reads on is no reason to end.
            None => drop(writeln!(std::io::stderr(), "{line}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_settings() {
        assert_eq!(time("90s").unwrap().as_secs(), 90);
        assert_eq!(time("2m").unwrap().as_secs(), 120);
        let error = time("soon").unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().starts_with("--time: train.max_time: expected"), "{error}");
    }
}

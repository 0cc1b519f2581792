//! A run on a terminal or in a log: header, progress, and what came of it.

use super::number::{bytes, count, counted, significant};
use super::progress::{Progress, noise_text};
use super::style::{Paint, Style};
use super::table::{Align, Cell, Table};
use super::{layers, result};
use crate::run::{LayerRow, Observer, RunEnd, RunInfo, Step, Validation};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt;
use std::io::Write;

/// Where and how a run is shown.
pub struct Terminal {
    out: Box<dyn Write + Send>,
    style: Style,
    is_quiet: bool,
    is_live: bool,
    /// Whether the bar counts examples, since the number of steps is not known.
    counts_examples: bool,
    bar: Option<ProgressBar>,
    progress: Progress,
    /// The noise, and the batch against it.
    noise: String,
}

impl Terminal {
    /// Shows a run on `out`, in colour as `style` says. `is_live` adds a bar and a table that change in place, on standard
    /// error: both must be terminals then. `is_quiet` leaves out everything but the result.
    pub fn new(out: Box<dyn Write + Send>, style: Style, is_live: bool, is_quiet: bool) -> Self {
        let is_live = is_live && !is_quiet;
        Self {
            out,
            style,
            is_quiet,
            is_live,
            counts_examples: false,
            bar: None,
            progress: Progress::default(),
            noise: String::new(),
        }
    }

    /// Shows what came of the run.
    pub fn end(&mut self, end: &RunEnd) {
        self.stop();
        let text = result::text(end, self.style);
        self.show(&text);
    }

    /// Takes away what changes in place, and shows the line that was waiting.
    pub fn stop(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if let Some(line) = self.progress.finish() {
            self.line(&line);
        }
    }

    fn line(&mut self, line: &str) {
        if !self.is_quiet {
            self.show(&format!("{line}\n"));
        }
    }

    fn show(&mut self, text: &str) {
        let out = &mut self.out;
        // A reader that went away (`| head`) is no reason to end the training.
        let mut write = || {
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        };
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Observer for Terminal {
    fn start(&mut self, info: &RunInfo) {
        let columns = console::Term::stderr().size_checked().filter(|_| self.is_live);
        self.progress = Progress::new(info, columns.map_or(usize::MAX, |(_, columns)| columns.into()));
        if self.is_quiet {
            return;
        }
        let text = header(info, self.style);
        self.show(&text);
        if self.is_live {
            self.counts_examples = info.batch_bounds.is_some();
            let (length, done) = match info.batch_bounds {
                Some(_) => (info.steps_total.div_ceil(info.steps_per_epoch.max(1)) * info.train_rows as u64, 0),
                None => (info.steps_total, info.steps_done),
            };
            let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
            let template = "  {bar:24} {percent:>3} %  {speed}  {eta} left  {msg}";
            let style = ProgressStyle::with_template(template).expect("the template is valid, as a test shows");
            bar.set_style(
                style.with_key("speed", if self.counts_examples { examples } else { steps }).progress_chars("━━ "),
            );
            bar.set_position(done);
            bar.reset_eta();
            self.bar = Some(bar);
        }
    }

    fn step(&mut self, step: &Step) {
        if let Some(line) = self.progress.step(step) {
            self.line(&line);
        }
        if let Some(bar) = &self.bar {
            bar.set_position(if self.counts_examples { step.examples } else { step.step + 1 });
        }
    }

    fn validation(&mut self, validation: &Validation) {
        self.progress.validation(validation);
    }

    fn noise(&mut self, scale: f64, batch: usize) {
        self.noise = noise_text(scale, batch as f64);
    }

    fn layers(&mut self, rows: &[LayerRow]) {
        if let Some(bar) = &self.bar {
            let loss = self.progress.loss().map_or(String::new(), |loss| format!("loss {}", significant(loss)));
            let loss = if self.noise.is_empty() { loss } else { format!("{loss}  {}", self.noise) };
            bar.set_message(format!("{loss}\n{}", layers::table(rows, self.style).trim_end()));
        }
    }
}

fn steps(state: &ProgressState, to: &mut dyn fmt::Write) {
    // Text that cannot be shown is no reason to end the training.
    let _ = write!(to, "{} steps/s", count(state.per_sec().round() as u64));
}

fn examples(state: &ProgressState, to: &mut dyn fmt::Write) {
    let _ = write!(to, "{} examples/s", count(state.per_sec().round() as u64));
}

/// What is trained on what, and where.
fn header(info: &RunInfo, style: Style) -> String {
    let epochs = info.steps_total as f64 / info.steps_per_epoch.max(1) as f64;
    let of = if let Some([least, most]) = info.batch_bounds {
        let batches = format!("in batches of {} to {}", count(least as u64), count(most as u64));
        let end =
            if epochs.fract() == 0.0 { counted(epochs as u64, "epoch") } else { counted(info.steps_total, "step") };
        format!("{end} {batches}")
    } else if epochs.fract() == 0.0 && epochs <= 1e9 {
        format!("{} of {}", counted(epochs as u64, "epoch"), counted(info.steps_per_epoch, "step"))
    } else {
        format!("{}, {} to an epoch", counted(info.steps_total, "step"), count(info.steps_per_epoch))
    };
    let mut table = Table::new([("", Align::Left), ("", Align::Left)]);
    let mut row = |name: &str, text: String| table.row([Cell::painted(name, Paint::Dim), text.into()]);
    row("device", format!("{}: {}", device(info), info.device_reason));
    let kinds: Vec<&str> = info.layers.iter().map(|(_, kind)| kind.as_str()).collect();
    row("model", format!("{} in {}", counted(info.parameters as u64, "parameter"), chain(&kinds)));
    row("data", rows_of(info));
    row("memory", format!("{} planned", bytes(info.memory_bytes as u64)));
    row("folder", info.folder.display().to_string());
    if info.steps_done > 0 {
        row("goes on", format!("from the checkpoint after step {}", count(info.steps_done)));
    }
    format!("{}: {of}\n{}", style.paint(&info.name, Paint::Bold), table.render(style))
}

/// Layer kinds in order, equal ones in a row as a count: `3 × linear`.
fn chain(kinds: &[&str]) -> String {
    let parts = kinds.chunk_by(|a, b| a == b).map(|same| match same.len() {
        1 => same[0].to_owned(),
        n => format!("{n} × {}", same[0]),
    });
    parts.collect::<Vec<_>>().join(" → ")
}

fn rows_of(info: &RunInfo) -> String {
    let parts = [("training", info.train_rows), ("validation", info.validation_rows), ("test", info.test_rows)];
    let parts = parts.iter().filter(|(_, rows)| *rows > 0);
    let parts: Vec<String> = parts.map(|(name, rows)| format!("{} {name}", count(*rows as u64))).collect();
    format!("{} examples", parts.join(", "))
}

/// The device in a line: `cpu (8 threads, AVX2, f32)`.
fn device(info: &RunInfo) -> String {
    let device = &info.device;
    let facts = match device.threads {
        Some(threads) => vec![counted(threads as u64, "thread")],
        None => vec![device.kind.clone(), device.backend.clone()],
    };
    let facts = facts.into_iter().chain([device.driver.clone(), device.precision.clone()]);
    let facts: Vec<String> = facts.filter(|fact| !fact.is_empty()).collect();
    format!("{} ({})", device.name, facts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::progress::tests::values;
    use std::sync::{Arc, Mutex};

    /// What was written, to be read while the writer still holds it.
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Shared {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn info() -> RunInfo {
        let mut info = crate::view::progress::tests::info(41, 41);
        info.device.name = "cpu".into();
        info.device.threads = Some(2);
        info.device.driver = "AVX2".into();
        info
    }

    #[test]
    fn the_header_says_what_runs_where() {
        let expected = "digits: 1 epoch of 41 steps
  device  cpu (2 threads, AVX2): there is no GPU
  model   17,226 parameters in 2 × linear
  data    1,294 training, 360 test examples
  memory  1.94 MiB planned
  folder  runs/x
";
        assert_eq!(header(&info(), Style::PLAIN), expected);
        let odd = header(&RunInfo { steps_total: 60, ..info() }, Style::PLAIN);
        assert!(odd.starts_with("digits: 60 steps, 41 to an epoch\n"), "{odd}");
        let grows = header(&RunInfo { batch_bounds: Some([32, 1024]), ..info() }, Style::PLAIN);
        assert!(grows.starts_with("digits: 1 epoch in batches of 32 to 1,024\n"), "{grows}");
        let resumed = header(&RunInfo { steps_done: 1230, ..info() }, Style::PLAIN);
        assert!(resumed.ends_with("  goes on  from the checkpoint after step 1,230\n"), "{resumed}");
    }

    #[test]
    fn quiet_is_quiet_and_a_stopped_run_shows_its_last_line() {
        for is_quiet in [false, true] {
            let out = Shared::default();
            let mut terminal = Terminal::new(Box::new(out.clone()), Style::PLAIN, false, is_quiet);
            terminal.start(&info());
            terminal.step(&Step { values: values(2), epoch: 0.5, ..Step::default() });
            drop(terminal);
            assert_eq!(out.text().contains("step  1"), !is_quiet, "{}", out.text());
            assert_eq!(out.text().is_empty(), is_quiet);
        }
    }

    #[test]
    fn a_live_run_shows_the_same_lines() {
        let out = Shared::default();
        let mut terminal = Terminal::new(Box::new(out.clone()), Style::PLAIN, true, false);
        terminal.start(&info());
        terminal.step(&Step { values: values(2), epoch: 0.5, ..Step::default() });
        terminal.layers(&[]);
        terminal.stop();
        assert!(out.text().ends_with("step  1  epoch 0.500   loss 0         grad norm 0\n"), "{}", out.text());
    }

    #[test]
    fn equal_layers_are_counted() {
        assert_eq!(chain(&["linear", "linear", "layer_norm", "linear"]), "2 × linear → layer_norm → linear");
    }
}

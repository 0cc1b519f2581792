//! The lines of a run that goes on: which steps have one is told by the length of the run (in epochs where batches grow), never by
//! the clock, so that the outputs of two runs can be compared line by line.

use super::number::{percent, significant};
use crate::probe::{Against, SCALE_MAX, STEPS_SETTLED};
use crate::run::{RunInfo, Step, Validation};

/// Lines at most, beside the one for the first step and the one for the last.
const LINES: u64 = 20;

/// Below so many epochs, lines within an epoch say more than one at its end.
const EPOCHS_MIN: u64 = 5;

/// What stands before the gradient norm, the validation loss and the accuracy.
const WORDS: [&str; 3] = ["grad norm ", "validation loss ", "accuracy "];

/// The same in a terminal that is too narrow for them.
const SHORT_WORDS: [&str; 3] = ["norm ", "val ", ""];

/// The columns that a line takes with all words and steps of six digits.
const WIDTH: usize = 132;

/// Steps on their way to lines.
#[derive(Debug, Default)]
pub struct Progress {
    words: [&'static str; 3],
    steps_total: u64,
    stride: u64,
    /// Where batches grow: the epochs of the run, those between two lines, and those done so far.
    epochs: Option<[f64; 3]>,
    /// Loss of the steps since the last line, and how many they are: a single batch would say little.
    loss_sum: f64,
    loss_count: u64,
    /// Examples of the last batch that no end of an epoch cut short.
    batch: f64,
    /// A line whose step may still be validated.
    pending: Option<String>,
    validation: Option<String>,
}

impl Progress {
    /// For a run that has not begun, with lines for so many columns.
    pub fn new(info: &RunInfo, columns: usize) -> Self {
        let (total, per_epoch) = (info.steps_total, info.steps_per_epoch.max(1));
        let epochs = total.div_ceil(per_epoch);
        let stride = if epochs >= EPOCHS_MIN { per_epoch * epochs.div_ceil(LINES) } else { total.div_ceil(LINES) };
        let words = if columns < WIDTH { SHORT_WORDS } else { WORDS };
        let stride = stride.max(1);
        let in_epochs = |steps: u64| steps as f64 / per_epoch as f64;
        let epochs = info.batch_bounds.map(|_| [in_epochs(total), in_epochs(stride), 0.0]);
        Self { words, steps_total: total, stride, epochs, ..Self::default() }
    }

    /// Takes a step in; gives the line that is complete by now.
    pub fn step(&mut self, step: &Step) -> Option<String> {
        let ready = self.finish();
        let done = step.step + 1;
        self.loss_sum += step.values.loss();
        self.loss_count += 1;
        let batch = step.values.scalar("batch");
        self.batch = if step.epoch.fract() == 0.0 { self.batch.max(batch) } else { batch };
        if done == 1 || self.is_due(done, step.epoch) || done == self.steps_total {
            self.pending = Some(self.line(done, step));
            (self.loss_sum, self.loss_count) = (0.0, 0);
        }
        ready
    }

    fn is_due(&mut self, done: u64, epoch: f64) -> bool {
        let Some([all, stride, before]) = &mut self.epochs else { return done.is_multiple_of(self.stride) };
        // A run that goes on from a checkpoint has no line for where it begins.
        let passed = (epoch / *stride).floor() > (*before / *stride).floor() && (*before > 0.0 || done == 1);
        *before = epoch;
        passed || epoch >= *all
    }

    /// Takes a validation in, which belongs to the last step.
    pub fn validation(&mut self, validation: &Validation) {
        let [_, loss, accuracy] = self.words;
        let accuracy = validation.accuracy.map_or(String::new(), |share| format!("  {accuracy}{}", percent(share)));
        self.validation = Some(format!("  {loss}{:<8}{accuracy}", significant(validation.loss)));
    }

    /// The line that waits for a validation, as it is.
    pub fn finish(&mut self) -> Option<String> {
        let line = self.pending.take()?;
        let line = line + self.validation.take().as_deref().unwrap_or_default();
        Some(line.trim_end().to_owned())
    }

    /// The last loss, averaged since the last line.
    pub fn loss(&self) -> Option<f64> {
        (self.loss_count > 0).then(|| self.loss_sum / self.loss_count as f64)
    }

    /// The noise scale, and the batch against it; room for it where it is not known yet, nothing where it is not measured.
    fn noise(&self, done: u64, step: &Step) -> String {
        let Some(&scale) = step.values.get("noise_scale").first() else { return String::new() };
        let text = if done >= STEPS_SETTLED { noise_text(scale, self.batch) } else { String::new() };
        format!("  {text:<24}")
    }

    fn line(&self, done: u64, step: &Step) -> String {
        let digits = self.steps_total.to_string().len();
        let loss = significant(self.loss_sum / self.loss_count as f64);
        // Without statistics there is none.
        let norm = step.values.get("grad_norm").first();
        let norm = norm.map_or(String::new(), |&norm| format!("  {}{:<8}", self.words[0], significant(norm)));
        let noise = if self.words == WORDS { self.noise(done, step) } else { String::new() };
        format!("  step {done:>digits$}  epoch {:<7} loss {loss:<8}{norm}{noise}", epoch(step.epoch))
    }
}

/// `noise 123, batch above`: the noise scale, and whether the batch is below it, about it or above it.
pub(super) fn noise_text(scale: f64, batch: f64) -> String {
    let shown = if scale < SCALE_MAX { significant(scale) } else { "∞".into() };
    format!("noise {shown}, batch {}", Against::of(batch, scale, scale).word())
}

/// Epochs with as many decimals as fit into a column: `0.0222`, `2.00`, `12.5`, `1000`.
fn epoch(epoch: f64) -> String {
    if epoch.fract() == 0.0 { format!("{epoch:.0}") } else { significant(epoch) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::base::Cadence;
    use crate::probe::{Agenda, Columns, Sizes, Values};

    pub(in crate::view) fn info(steps_total: u64, steps_per_epoch: u64) -> RunInfo {
        RunInfo {
            name: "digits".into(),
            device: Default::default(),
            device_reason: "there is no GPU".into(),
            parameters: 17_226,
            layers: vec![("0".into(), "linear".into()), ("2".into(), "linear".into())],
            train_rows: 1294,
            validation_rows: 0,
            test_rows: 360,
            steps_done: 0,
            steps_total,
            steps_per_epoch,
            batch_bounds: None,
            memory_bytes: 2_034_237,
            folder: "runs/x".into(),
        }
    }

    /// Zeros for so many layers of one tensor.
    pub(in crate::view) fn values(layers: usize) -> Values {
        values_of(Sizes { layers, tensors: layers, ..Sizes::default() })
    }

    /// The same, for layers whose noise is measured.
    fn noisy(layers: usize) -> Values {
        values_of(Sizes { layers, noisy: layers, tensors: layers, ..Sizes::default() })
    }

    fn values_of(sizes: Sizes) -> Values {
        let agenda = Agenda::new(&std::array::from_fn(|_| Cadence::Every(1)));
        Values::new(&Columns::new(sizes, &agenda.unwrap()).into())
    }

    fn lines(steps_total: u64, steps_per_epoch: u64) -> Vec<String> {
        lines_in(steps_total, steps_per_epoch, usize::MAX)
    }

    fn lines_in(steps_total: u64, steps_per_epoch: u64, columns: usize) -> Vec<String> {
        let mut progress = Progress::new(&info(steps_total, steps_per_epoch), columns);
        let mut lines = Vec::new();
        for step in 0..steps_total {
            let epoch = (step + 1) as f64 / steps_per_epoch as f64;
            lines.extend(progress.step(&Step { step, epoch, values: values(1), ..Step::default() }));
            if (step + 1).is_multiple_of(steps_per_epoch) {
                progress.validation(&Validation { step, epoch, loss: 0.5, accuracy: Some(0.9), best: true });
            }
        }
        lines.extend(progress.finish());
        lines
    }

    #[test]
    fn a_run_has_about_twenty_lines() {
        for (total, per_epoch) in [(1, 1), (7, 100), (1000, 1000), (1350, 45), (100_000, 10), (2100, 100), (401, 100)] {
            let lines = lines(total, per_epoch);
            assert!((1..=22).contains(&lines.len()), "{total} steps: {} lines", lines.len());
            assert!(lines.last().unwrap().contains(&format!("step {total} ")), "{lines:?}");
        }
    }

    #[test]
    fn a_line_has_the_validation_of_its_own_step() {
        let lines = lines(1350, 45);
        assert_eq!(lines[0], "  step    1  epoch 0.0222  loss 0         grad norm 0");
        let end = "loss 0         grad norm 0         validation loss 0.500     accuracy 90.00 %";
        assert_eq!(lines[1], format!("  step   90  epoch 2       {end}"));
        assert_eq!(lines.len(), 16);
    }

    #[test]
    fn noise_is_shown_with_the_batch_against_it() {
        assert_eq!(noise_text(123.4, 32.0), "noise 123, batch below");
        assert_eq!(
            (noise_text(40.0, 32.0), noise_text(3.0, 32.0)),
            ("noise 40.0, batch about".into(), "noise 3.00, batch above".into())
        );
        assert_eq!(noise_text(SCALE_MAX, 32.0), "noise ∞, batch below");
        let values = noisy(1);
        let mut progress = Progress::new(&info(200, 100), usize::MAX);
        let mut lines = Vec::new();
        for step in 0..200 {
            lines.extend(progress.step(&Step { step, values: values.clone(), ..Step::default() }));
        }
        lines.extend(progress.finish());
        assert!(!lines[1].contains("noise") && lines.last().unwrap().contains("  noise 0, batch about"), "{lines:?}");
    }

    #[test]
    fn a_run_whose_batches_grow_has_lines_by_epochs() {
        let mut progress = Progress::new(&RunInfo { batch_bounds: Some([32, 64]), ..info(410, 41) }, usize::MAX);
        let mut shown = Vec::new();
        // Steps of a quarter of an epoch, then of half of one, in place of 41.
        for (step, epoch) in
            (1..=20).map(|i| f64::from(i) / 4.0).chain((11..=20).map(|i| f64::from(i) / 2.0)).enumerate()
        {
            let values = values(1);
            shown.extend(progress.step(&Step { step: step as u64, epoch, values, ..Step::default() }));
        }
        shown.extend(progress.finish());
        let steps: Vec<&str> = shown.iter().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
        assert_eq!(steps, ["1", "4", "8", "12", "16", "20", "22", "24", "26", "28", "30"]);
    }

    #[test]
    fn a_narrow_terminal_has_shorter_lines() {
        for (columns, fits) in [(80, 80), (131, 80), (132, 132)] {
            let longest = lines_in(100_000, 1000, columns).iter().map(|line| line.chars().count()).max();
            assert!(longest.unwrap() <= fits, "{longest:?} columns of {columns}");
        }
        let line = &lines_in(1350, 45, 80)[1];
        assert_eq!(line, "  step   90  epoch 2       loss 0         norm 0         val 0.500     90.00 %");
    }
}

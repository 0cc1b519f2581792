//! A row of the step record: the steps that it stands for, folded as they come, and its line of JSON.

use super::number;
use super::schema::Schema;
use crate::probe::is_absent;
use std::ops::Range;

/// Steps folded into sums, minima and maxima.
#[derive(Clone, Debug)]
pub struct Row {
    /// The last step.
    pub step: u64,
    /// How many steps.
    pub steps: u64,
    /// Epochs done after the last step.
    pub epoch: f64,
    /// Examples seen after the last step.
    pub examples: u64,
    /// How many steps had a non-finite value that was not absent.
    pub non_finite_steps: u64,
    sum: Vec<f64>,
    min: Vec<f64>,
    max: Vec<f64>,
}

impl Row {
    /// A row of no steps.
    pub fn new(width: usize) -> Self {
        let [sum, min, max] = [0.0, f64::INFINITY, f64::NEG_INFINITY].map(|start| vec![start; width]);
        Self { step: 0, steps: 0, epoch: 0.0, examples: 0, non_finite_steps: 0, sum, min, max }
    }

    /// Makes it a row of no steps again.
    pub fn clear(&mut self) {
        (self.steps, self.non_finite_steps) = (0, 0);
        self.sum.fill(0.0);
        self.min.fill(f64::INFINITY);
        self.max.fill(f64::NEG_INFINITY);
    }

    /// Folds in the values of a step. A non-finite value makes the sum non-finite and is kept out of minimum and maximum; so does
    /// one that is absent, which is no sign of a step gone wrong.
    ///
    /// # Panics
    /// If there are not as many values as the row is wide.
    #[inline]
    pub fn add(&mut self, step: u64, epoch: f64, examples: u64, values: &[f64]) {
        let n = self.sum.len();
        assert_eq!(values.len(), n, "as many values as the schema says");
        // Slices of one known length: the loop below has no bounds checks and is compiled to vector instructions.
        let (sum, min, max) = (&mut self.sum[..n], &mut self.min[..n], &mut self.max[..n]);
        let mut non_finite = false;
        for i in 0..n {
            let x = values[i];
            let finite = x.abs() <= f64::MAX;
            non_finite |= !finite;
            sum[i] += x;
            let low = if finite { x } else { f64::INFINITY };
            let high = if finite { x } else { f64::NEG_INFINITY };
            min[i] = if low < min[i] { low } else { min[i] };
            max[i] = if high > max[i] { high } else { max[i] };
        }
        (self.step, self.epoch, self.examples) = (step, epoch, examples);
        self.steps += 1;
        let failed = |x: &f64| !x.is_finite() && !is_absent(*x);
        self.non_finite_steps += u64::from(non_finite && values.iter().any(failed));
    }

    /// The state as numbers, for a checkpoint.
    pub fn to_numbers(&self) -> Vec<f64> {
        let head = [self.steps as f64, self.non_finite_steps as f64];
        head.iter().chain(&self.sum).chain(&self.min).chain(&self.max).copied().collect()
    }

    /// The row that gave `numbers`; none if their count is not that of a row of this width.
    pub fn from_numbers(width: usize, numbers: &[f64]) -> Option<Self> {
        let ([steps, non_finite], rest) = numbers.split_first_chunk::<2>()?;
        if rest.len() != 3 * width {
            return None;
        }
        let mut row = Self::new(width);
        (row.steps, row.non_finite_steps) = (*steps as u64, *non_finite as u64);
        let (sum, rest) = rest.split_at(width);
        let (min, max) = rest.split_at(width);
        row.sum.copy_from_slice(sum);
        row.min.copy_from_slice(min);
        row.max.copy_from_slice(max);
        Some(row)
    }
}

/// The keys of a line and which values stand under each, made once.
#[derive(Clone, Debug)]
pub struct Layout {
    columns: Vec<ColumnLayout>,
    width: usize,
}

#[derive(Clone, Debug)]
struct ColumnLayout {
    /// `,"name":`, the same with `_min`, with `_max`.
    keys: [Vec<u8>; 3],
    values: Range<usize>,
    is_list: bool,
}

impl Layout {
    /// The layout of the rows of `schema`.
    pub fn new(schema: &Schema) -> Self {
        let mut width = 0;
        let columns = schema.columns.iter().map(|column| {
            let key = |suffix: &str| {
                let name = serde_json::Value::from(format!("{}{suffix}", column.name));
                format!(",{name}:").into_bytes()
            };
            let from = width;
            width += column.width();
            ColumnLayout { keys: [key(""), key("_min"), key("_max")], values: from..width, is_list: column.is_list() }
        });
        Self { columns: columns.collect(), width }
    }

    /// How many values a step has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The most bytes that a line can have.
    pub fn max_row_bytes(&self) -> u64 {
        const HEAD: usize = 160;
        let column = |column: &ColumnLayout| {
            let keys: usize = column.keys.iter().map(Vec::len).sum();
            keys + 3 * (2 + column.values.len() * (number::MAX_LEN + 1))
        };
        (HEAD + self.columns.iter().map(column).sum::<usize>()) as u64
    }

    /// Appends the line of `row`, newline and all.
    pub fn write_row(&self, row: &Row, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"step\":");
        number::write_integer(out, row.step);
        out.extend_from_slice(b",\"steps\":");
        number::write_integer(out, row.steps);
        write_place(out, row.epoch, row.examples);
        out.extend_from_slice(b",\"non_finite_steps\":");
        number::write_integer(out, row.non_finite_steps);
        let steps = row.steps.max(1) as f64;
        for column in &self.columns {
            let [mean, min, max] = &column.keys;
            out.extend_from_slice(mean);
            let from = out.len();
            column.write_values(out, number::DIGITS, |i| row.sum[i] / steps);
            let to = out.len();
            if row.steps == 1 {
                // One step: mean, minimum and maximum are the same text, and making it is what costs time.
                out.extend_from_slice(min);
                out.extend_from_within(from..to);
                out.extend_from_slice(max);
                out.extend_from_within(from..to);
            } else {
                out.extend_from_slice(min);
                column.write_values(out, number::DIGITS, |i| row.min[i]);
                out.extend_from_slice(max);
                column.write_values(out, number::DIGITS, |i| row.max[i]);
            }
        }
        out.extend_from_slice(b"}\n");
    }

    /// Appends the line of a single step for `flight.jsonl`; `reason` is JSON text.
    pub(super) fn write_step(
        &self,
        reason: &str,
        (step, epoch, examples): (u64, f64, u64),
        values: &[f64],
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(b"{\"step\":");
        number::write_integer(out, step);
        write_place(out, epoch, examples);
        for column in &self.columns {
            out.extend_from_slice(&column.keys[0]);
            column.write_values(out, number::DIGITS_EXACT_F32, |i| values[i]);
        }
        out.extend_from_slice(b",\"reason\":");
        out.extend_from_slice(reason.as_bytes());
        out.extend_from_slice(b"}\n");
    }
}

impl ColumnLayout {
    fn write_values(&self, out: &mut Vec<u8>, digits: usize, value: impl Fn(usize) -> f64) {
        if !self.is_list {
            return number::write(out, value(self.values.start), digits);
        }
        for i in self.values.clone() {
            out.push(if i == self.values.start { b'[' } else { b',' });
            number::write(out, value(i), digits);
        }
        out.push(b']');
    }
}

/// Epochs need more digits than other values: step 1 000 001 of 1000 steps an epoch is epoch 1000.001.
fn write_place(out: &mut Vec<u8>, epoch: f64, examples: u64) {
    out.extend_from_slice(b",\"epoch\":");
    number::write(out, epoch, 10);
    out.extend_from_slice(b",\"examples\":");
    number::write_integer(out, examples);
}

#[cfg(test)]
mod tests {
    use super::super::schema::Column;
    use super::*;
    use crate::probe::ABSENT;

    fn layout() -> Layout {
        let columns = vec![Column::scalar("loss", "", ""), Column::list("signal", "", "", ["a", "b"])];
        Layout::new(&Schema { columns })
    }

    fn line(row: &Row) -> String {
        let mut out = Vec::new();
        layout().write_row(row, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_row_holds_mean_minimum_and_maximum() {
        let mut row = Row::new(3);
        row.add(7, 0.7, 70, &[1.0, -3.0, 4e-20]);
        let single = "\"loss\":1.0,\"loss_min\":1.0,\"loss_max\":1.0,\
                      \"signal\":[-3.0,4e-20],\"signal_min\":[-3.0,4e-20],\"signal_max\":[-3.0,4e-20]}\n";
        let head = "{\"step\":7,\"steps\":1,\"epoch\":0.7,\"examples\":70,\"non_finite_steps\":0,";
        assert_eq!(line(&row), format!("{head}{single}"));
        row.add(8, 0.8, 80, &[2.0, 5.0, 0.0]);
        let both = "\"loss\":1.5,\"loss_min\":1.0,\"loss_max\":2.0,\
                    \"signal\":[1.0,2e-20],\"signal_min\":[-3.0,0.0],\"signal_max\":[5.0,4e-20]}\n";
        let head = "{\"step\":8,\"steps\":2,\"epoch\":0.8,\"examples\":80,\"non_finite_steps\":0,";
        assert_eq!(line(&row), format!("{head}{both}"));
    }

    #[test]
    fn non_finite_values_are_seen_and_spoil_nothing_else() {
        let mut row = Row::new(3);
        row.add(1, 0.0, 1, &[1.0, f64::NAN, f64::INFINITY]);
        row.add(2, 0.0, 2, &[3.0, 2.0, f64::NEG_INFINITY]);
        row.add(3, 0.0, 3, &[5.0, 4.0, f64::NAN]);
        row.add(4, 0.0, 4, &[7.0, 6.0, f64::NAN]);
        let json: serde_json::Value = serde_json::from_str(&line(&row)).unwrap();
        assert_eq!(
            (&json["non_finite_steps"], &json["loss"], &json["loss_max"]),
            (&4.into(), &4.0.into(), &7.0.into())
        );
        assert_eq!(json["signal"], serde_json::json!([null, null]));
        assert_eq!(json["signal_min"], serde_json::json!([2.0, null]));
        assert_eq!(json["signal_max"], serde_json::json!([6.0, null]));
        row.clear();
        row.add(5, 0.0, 5, &[f64::INFINITY, 1.0, 1.0]);
        let json: serde_json::Value = serde_json::from_str(&line(&row)).unwrap();
        assert_eq!((&json["loss"], &json["loss_min"], &json["signal"][0]), (&().into(), &().into(), &1.0.into()));
    }

    #[test]
    fn what_is_absent_is_null_and_no_failure() {
        let mut row = Row::new(3);
        row.add(1, 0.0, 1, &[1.0, ABSENT, ABSENT]);
        assert_eq!(row.non_finite_steps, 0);
        let json: serde_json::Value = serde_json::from_str(&line(&row)).unwrap();
        assert_eq!((&json["signal"], &json["non_finite_steps"]), (&serde_json::json!([null, null]), &0.into()));
        row.add(2, 0.0, 2, &[1.0, ABSENT, f64::INFINITY]);
        row.add(3, 0.0, 3, &[1.0, 2.0, 3.0]);
        assert_eq!(row.non_finite_steps, 1);
    }

    #[test]
    fn a_row_survives_a_checkpoint() {
        let mut row = Row::new(3);
        row.add(1, 0.5, 1, &[9.0, f64::NAN, 0.1]);
        let mut again = Row::from_numbers(3, &row.to_numbers()).unwrap();
        for row in [&mut row, &mut again] {
            row.add(2, 1.0, 2, &[2.0, 3.0, 0.2]);
        }
        assert_eq!(line(&row), line(&again));
        assert!(Row::from_numbers(2, &row.to_numbers()).is_none() && Row::from_numbers(0, &[1.0]).is_none());
    }
}

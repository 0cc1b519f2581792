//! From the device's table to the values of a step.

use super::direction::Direction;
use super::layout::{Layout, Noisy, Part};
use super::noise::{NoiseReader, Scatter};
use super::table::{Agenda, Due, ProbeId};
use super::units::UnitsReader;
use super::values::{Columns, Measured, Sizes, Taken, Values};
use crate::ops::record::{
    MAGNITUDES, MAX, NON_FINITE, RECORD, SQUARES, STEP_SCALE, STEP_SQUARES, SUM, WEIGHT_SQUARES, ZEROS,
};
use crate::ops::scaling::{ROW_SCALE, ROW_SKIPPED};
use std::ops::Range;
use std::sync::Arc;

/// Reads tables of one layout.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(super) layout: Layout,
    columns: Arc<Columns>,
    /// The group of each probe, as [`Agenda::group`] gives it.
    pub(super) groups: [Option<usize>; super::table::PROBES.len()],
    /// The first value of each probe's quantities.
    pub(super) starts: [usize; super::table::PROBES.len()],
    /// The smallest exponent of a normal number on the device: −126 for f32, −1022 for f64.
    exponent_min: i32,
    /// Where tensors begin in the table.
    pub(super) params_row: usize,
    pub(super) loss_row: usize,
    /// What is known of the loss scale, where there is one.
    pub(super) scaling_row: Option<usize>,
    /// Columns of the loss: what stands in front of the statistics.
    pub(super) loss_columns: usize,
    /// A row behind each layer's activations.
    pub(super) activations: Vec<Count>,
    /// A row of what each layer gives.
    outputs: Vec<Count>,
    /// Each tensor.
    pub(super) tensors: Vec<Count>,
    /// The tensors of each layer, which are neighbours.
    pub(super) layer_tensors: Vec<Range<usize>>,
    units: UnitsReader,
    pub(super) noise: NoiseReader,
    /// The layers that it is of.
    pub(super) noisy: Vec<Noisy>,
    pub(super) direction: Direction,
    /// The groups of what is seldom due in every step.
    rest: Due,
}

/// How many elements something has, and what means over them are multiplied with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count {
    pub(super) len: f64,
    /// 1/len.
    share: f64,
    /// 1/√len.
    root: f64,
}

impl Count {
    fn of(len: usize) -> Self {
        let len = len.max(1) as f64;
        Self { len, share: 1.0 / len, root: (1.0 / len).sqrt() }
    }
}

/// The readings of the noise to their columns: three numbers of all layers together, then three columns of single ones.
fn spread_noise(reader: &NoiseReader, out: &mut [f64]) {
    let all = reader.last().iter().zip(reader.smoothed());
    let numbers = all.map(|(last, smoothed)| [last.trace, last.signal, smoothed.scale()]);
    let layers = out.len() / NOISE_COLUMNS - 1;
    let (whole, by_layer) = out.split_at_mut(NOISE_COLUMNS);
    for (i, numbers) in numbers.enumerate() {
        if i < layers { spread(by_layer, numbers, i, layers) } else { spread(whole, numbers, 0, 1) }
    }
}

/// Number i becomes entry `at` of column i, columns being `width` long.
#[inline(always)]
pub(super) fn spread<const N: usize>(columns: &mut [f64], numbers: [f64; N], at: usize, width: usize) {
    let columns = &mut columns[..N * width];
    assert!(at < width);
    for (i, x) in numbers.into_iter().enumerate() {
        columns[i * width + at] = x;
    }
}

/// √Σx² of three columns of norms. Only where the squares leave the range of normal numbers is the scaled rule worth its
/// time. Not inlined, since this code is cold each time it runs: the smaller it is, the faster.
#[inline(never)]
fn norms(columns: [&[f64]; 3]) -> [f64; 3] {
    let mut squares = [0.0; 4];
    for ((x, y), z) in columns[0].iter().zip(columns[1]).zip(columns[2]) {
        squares[0] += x * x;
        squares[1] += y * y;
        squares[2] += z * z;
    }
    let mut roots = squares.map(f64::sqrt);
    for ((root, square), column) in roots.iter_mut().zip(squares).zip(columns) {
        if !(1e-280..1e280).contains(&square) {
            *root = scaled_norm(column);
        }
    }
    [roots[0], roots[1], roots[2]]
}

#[cold]
#[inline(never)]
fn scaled_norm(xs: &[f64]) -> f64 {
    xs.iter().fold(0.0, |norm, x| norm.hypot(*x))
}

/// ‖Δw‖/‖w‖; 0 where there is no weight to compare with.
fn ratio(step: f64, weight: f64) -> f64 {
    if weight == 0.0 { 0.0 } else { step / weight }
}

/// 2ᵉ: what sums in a record of this maximum were divided by, e not below the exponent of the smallest normal number.
fn unit(max: f64, exponent_min: i32) -> f64 {
    if max == 0.0 {
        return 1.0;
    }
    let exponent = ((max.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(exponent_min);
    // The device's factor 2⁻ᵉ is a normal number too.
    let exponent = exponent.min(-exponent_min);
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

impl Reader {
    /// A reader of tables with this layout, for what is due when.
    pub fn new(layout: Layout, agenda: &Agenda, of: &Measured) -> Self {
        let tapped = &layout.tapped;
        let bound = |layer: usize| of.tensor_layers.partition_point(|&other| other < layer);
        let has = |probe| agenda.group(probe).is_some();
        let noisy = if has(ProbeId::Noise) || has(ProbeId::Variance) { layout.noisy() } else { Vec::new() };
        let sizes = Sizes {
            layers: tapped.activations.len(),
            resolved: tapped.resolved.len(),
            noisy: noisy.len(),
            rectified: tapped.rectified.len(),
            bounded: tapped.bounded.len(),
            tensors: tapped.tensors,
            is_scaled: tapped.is_scaled,
        };
        let measured = if has(ProbeId::Statistics) { sizes.tensors } else { 0 };
        let columns = Arc::new(Columns::new(sizes, agenda));
        let probes = super::table::PROBES;
        Self {
            rest: agenda.groups_of(&REST),
            groups: probes.map(|probe| agenda.group(probe.id)),
            starts: probes.map(|probe| columns.start(probe.id)),
            columns,
            exponent_min: if of.single_precision { -126 } else { -1022 },
            params_row: layout.row(Part::Params).unwrap_or(0),
            loss_row: layout.row(Part::Loss).unwrap_or(0),
            scaling_row: layout.row(Part::Scaling),
            loss_columns: LOSS_COLUMNS + if tapped.is_scaled { SCALING_COLUMNS } else { 0 },
            layer_tensors: (0..sizes.layers).map(|layer| bound(layer)..bound(layer + 1)).collect(),
            activations: tapped.activations.iter().map(|shape| Count::of(shape.example_len())).collect(),
            outputs: tapped.outputs.iter().map(|shape| Count::of(shape.example_len())).collect(),
            // Without statistics the table has no row for them.
            tensors: of.tensor_lens.iter().take(measured).map(|&len| Count::of(len)).collect(),
            units: UnitsReader::new(of.window, sizes.rectified, sizes.bounded),
            noise: NoiseReader::new(noisy.len(), of.population),
            noisy,
            direction: Direction::new(if has(ProbeId::Direction) { sizes.tensors } else { 0 }),
            layout,
        }
    }

    /// Where each quantity stands among the values.
    pub fn columns(&self) -> &Arc<Columns> {
        &self.columns
    }

    /// Room for the values of a step.
    pub fn values(&self) -> Values {
        Values::new(&self.columns)
    }

    /// The noise of the gradient in the steps so far.
    pub fn noise(&self) -> &NoiseReader {
        &self.noise
    }

    /// Dead units and saturation in the steps so far.
    pub fn units(&self) -> &UnitsReader {
        &self.units
    }

    /// What the steps so far have left here, for a checkpoint.
    pub fn to_numbers(&self) -> Vec<f64> {
        [self.direction.to_numbers(), self.units.to_numbers(), self.noise.to_numbers()].concat()
    }

    /// Goes on from what [`Reader::to_numbers`] gave; false if it is of another model or other probes.
    pub fn restore(&mut self, numbers: &[f64]) -> bool {
        let [direction, units] = [self.direction.to_numbers(), self.units.to_numbers()].map(|numbers| numbers.len());
        let split = numbers.split_at_checked(direction);
        let split = split.and_then(|(direction, rest)| Some((direction, rest.split_at_checked(units)?)));
        split.is_some_and(|(direction, (units, noise))| {
            self.direction.restore(direction) && self.units.restore(units) && self.noise.restore(noise)
        })
    }

    #[inline(always)]
    pub(super) fn unit(&self, max: f64) -> f64 {
        unit(max, self.exponent_min)
    }

    /// Whether the readings of a probe are in the table.
    #[inline(always)]
    pub(super) fn has(&self, probe: ProbeId, due: Due) -> bool {
        self.groups[probe as usize].is_some_and(|group| due.has(group))
    }

    /// Fills `values` from a table. No allocation.
    pub fn read(&mut self, table: &[f64], taken: Taken, values: &mut Values) {
        let loss = table[self.loss_row * RECORD + SUM];
        let flat = &mut values.flat;
        flat[..LOSS_COLUMNS].copy_from_slice(&[loss, taken.lr, taken.rows as f64]);
        if let Some(row) = self.scaling_row {
            let row = &table[row * RECORD..][..RECORD];
            flat[LOSS_COLUMNS..][..SCALING_COLUMNS].copy_from_slice(&[row[ROW_SCALE], row[ROW_SKIPPED]]);
        }
        if self.tensors.is_empty() || !self.has(ProbeId::Statistics, taken.due) {
            return;
        }
        self.read_statistics(table, taken, &mut flat[self.loss_columns..]);
        if self.has(ProbeId::Units, taken.due) {
            self.read_units(table, taken, flat);
        }
        if self.is_skipped(table) {
            // What overflowed tells nothing of noise and directions.
            return;
        }
        if !self.noise.is_empty() && (self.has(ProbeId::Noise, taken.due) || self.has(ProbeId::Variance, taken.due)) {
            self.read_noise(table, taken, flat);
        }
        if taken.due.meets(self.rest) {
            self.read_rest(table, taken, flat);
        }
        self.direction.push(loss, &flat[self.tensor_columns()..][..self.tensors.len()]);
    }

    /// Where the columns of tensors begin: the norm of the gradient is the first.
    fn tensor_columns(&self) -> usize {
        self.loss_columns + STEP_COLUMNS + LAYER_COLUMNS * self.activations.len()
    }

    fn read_statistics(&self, table: &[f64], taken: Taken, flat: &mut [f64]) {
        let Taken { rows, signal_rows, .. } = taken;
        let row = |i: usize| &table[i * RECORD..][..RECORD];
        let (layers, tensors) = (self.activations.len(), self.tensors.len());
        let (whole, rest) = flat.split_at_mut(STEP_COLUMNS);
        let (by_layer, rest) = rest.split_at_mut(LAYER_COLUMNS * layers);
        let by_tensor = &mut rest[..TENSOR_COLUMNS * tensors];
        for (t, tensor) in self.tensors.iter().enumerate() {
            let record = row(self.params_row + t);
            let squares = [record[SQUARES], record[WEIGHT_SQUARES], record[STEP_SQUARES], 0.0];
            let [root, weight, step, _] = squares.map(f64::sqrt);
            let (step, unit) = (step * (1.0 / STEP_SCALE), self.unit(record[MAX]));
            let [zeros, non_finite] = [record[ZEROS], record[NON_FINITE]];
            // Divisions are what this costs: most often there is nothing to divide.
            let share = if non_finite == 0.0 { tensor.share } else { 1.0 / (tensor.len - non_finite).max(1.0) };
            let numbers = [
                root * unit,
                record[MAGNITUDES] * unit * share,
                record[MAX],
                if zeros == 0.0 { 0.0 } else { zeros / tensor.len },
                non_finite,
                weight,
                step,
                ratio(step, weight),
            ];
            spread(by_tensor, numbers, t, tensors);
        }
        // The norms of gradient, weights and update of some tensors together.
        let norms_of = |range: &Range<usize>| norms([0, 5, 6].map(|q| &by_tensor[q * tensors..][range.clone()]));
        let row_share = 1.0 / rows.max(1) as f64;
        let [row_root, signal_root] = [row_share, 1.0 / signal_rows.max(1) as f64].map(f64::sqrt);
        for (layer, count) in self.activations.iter().enumerate() {
            let (forward, signal) = (row(layer), row(layers + layer));
            let [gradient, weight, step] = norms_of(&self.layer_tensors[layer]);
            let [a, z] = [forward[SQUARES], signal[SQUARES]].map(f64::sqrt);
            let unit = self.unit(forward[MAX]);
            let numbers = [
                z * self.unit(signal[MAX]) * signal_root,
                a * unit * (count.root * row_root),
                forward[SUM] * unit * (count.share * row_share),
                forward[MAX],
                gradient,
                ratio(step, weight),
            ];
            spread(by_layer, numbers, layer, layers);
        }
        let [gradient, weight, step] = norms_of(&(0..tensors));
        whole.copy_from_slice(&[gradient, weight, ratio(step, weight)]);
    }

    fn read_units(&mut self, table: &[f64], taken: Taken, flat: &mut [f64]) {
        let Some(first) = self.layout.row(Part::Units) else { return };
        let rows = table[first * RECORD..].chunks_exact(RECORD);
        let tapped = &self.layout.tapped;
        let examples = tapped.bounded.iter().map(|&layer| self.outputs[layer].len * taken.rows.max(1) as f64);
        let units = tapped.rectified.iter().map(|&layer| tapped.outputs[layer].last() as f64);
        let out = &mut flat[self.starts[ProbeId::Units as usize]..];
        let out = &mut out[..tapped.rectified.len() + tapped.bounded.len()];
        for ((out, row), of) in out.iter_mut().zip(rows).zip(units.chain(examples)) {
            *out = row[ZEROS] / of;
        }
        self.units.push(out);
    }

    fn read_noise(&mut self, table: &[f64], taken: Taken, flat: &mut [f64]) {
        let exponent_min = self.exponent_min;
        let gradients = &flat[self.loss_columns + STEP_COLUMNS + 4 * self.activations.len()..];
        let squares = |row: usize| {
            let record = &table[row * RECORD..][..RECORD];
            let unit = unit(record[MAX], exponent_min);
            record[SQUARES] * unit * unit
        };
        let of_layers = self.noisy.iter().map(|of| Scatter {
            squares: of.rows.clone().map(squares).sum(),
            groups: if of.by_micro { taken.micros } else { taken.rows },
            gradient: gradients[of.layer] * gradients[of.layer],
        });
        self.noise.push(of_layers, taken.rows, taken.weight);
        if self.has(ProbeId::Noise, taken.due) {
            let columns = NOISE_COLUMNS * (self.noisy.len() + 1);
            spread_noise(&self.noise, &mut flat[self.starts[ProbeId::Noise as usize]..][..columns]);
        }
    }
}

/// Columns of the loss, then of the statistics: of the whole step, of layers, of tensors.
const LOSS_COLUMNS: usize = 3;
/// Probes that are seldom due in every step.
const REST: [ProbeId; 5] =
    [ProbeId::Variance, ProbeId::Direction, ProbeId::Histograms, ProbeId::Distance, ProbeId::Underflow];
/// Columns of the loss scale, behind those of the loss.
const SCALING_COLUMNS: usize = 2;
pub(super) const STEP_COLUMNS: usize = 3;
const LAYER_COLUMNS: usize = 6;
const TENSOR_COLUMNS: usize = 8;
/// Columns of the noise: of all layers, and of each.
const NOISE_COLUMNS: usize = 3;

#[cfg(test)]
mod tests {
    use super::super::finite::NonFinite;
    use super::super::layout::{Scattered, Tapped};
    use super::*;
    use crate::base::{Cadence, Shape};
    use crate::ops::histogram::BINS;

    const TAKEN: Taken = Taken { lr: 0.1, rows: 4, signal_rows: 4, weight: 1.0, micros: 1, due: Due::EVERY_STEP };

    /// Of two layers with a tensor each, the second of them resolved; probes from the statistics on at these cadences.
    fn reader(cadences: &[u64]) -> Reader {
        let every = |n: u64| if n == 0 { Cadence::Never } else { Cadence::Every(n) };
        let agenda = Agenda::new(&std::array::from_fn(|i| every(cadences.get(i).copied().unwrap_or(0)))).unwrap();
        let shapes = vec![Shape::from([4, 3]), Shape::from([4, 2])];
        let tapped = Tapped {
            activations: shapes.clone(),
            outputs: shapes,
            rectified: vec![0],
            bounded: vec![1],
            resolved: vec![Scattered { layer: 1, records: 1 }],
            by_micro: Vec::new(),
            tensors: 2,
            accumulates: false,
            is_scaled: false,
        };
        let of = Measured {
            single_precision: true,
            tensor_lens: vec![6, 2],
            tensor_layers: vec![0, 1],
            population: f64::INFINITY,
            window: 1,
        };
        Reader::new(Layout::new(tapped, &agenda), &agenda, &of)
    }

    #[test]
    fn columns_stand_where_the_table_of_quantities_says() {
        let mut reader = reader(&[1]);
        let mut values = reader.values();
        let mut table = vec![0.0; reader.layout.table_len()];
        let row = |table: &mut Vec<f64>, i: usize, fields: [f64; RECORD]| {
            table[i * RECORD..][..RECORD].copy_from_slice(&fields)
        };
        row(&mut table, 0, [2.0, 3.0, 0.0, 1.5, 0.0, 0.0, 0.0, 0.0]);
        row(&mut table, 3, [0.25, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        row(&mut table, 4, [0.0, 0.0, 0.0, 0.7, 0.0, 0.0, 0.0, 0.0]);
        row(&mut table, 8, [1.0, 9.0, 6.0, 0.0, 3.0, 0.0, 16.0, STEP_SCALE * STEP_SCALE * 4.0]);
        reader.read(&table, TAKEN, &mut values);
        assert_eq!((values.scalar("loss"), values.loss()), (0.7, 0.7));
        assert_eq!(values.scalar("lr"), 0.1);
        assert!((values.get("activation_rms")[0] - 1.0).abs() < 1e-15);
        assert!((values.get("activation_mean")[0] - 0.25).abs() < 1e-15);
        assert_eq!(values.get("signal"), [0.0, 0.25 * 2.0 / 2.0]);
        assert_eq!(values.get("tensor_grad_norm"), [3.0, 0.0]);
        assert_eq!(values.get("tensor_grad_mean"), [1.0, 0.0]);
        assert_eq!(values.get("tensor_grad_zeros"), [0.5, 0.0]);
        assert_eq!(values.get("layer_update_ratio"), [0.5, 0.0]);
        assert_eq!(values.scalar("update_ratio"), 0.5);
        assert_eq!(values.scalar("weight_norm"), 4.0);
    }

    #[test]
    fn noise_is_read_from_the_examples_and_the_gradient_of_their_layer() {
        let mut reader = reader(&[1, 0, 1]);
        let mut values = reader.values();
        let mut table = vec![0.0; reader.layout.table_len()];
        // The gradient of tensor 1 has norm 2; Σ‖∂(wᵢℓᵢ)‖² is 5 in units of 4².
        table[9 * RECORD..][..2].copy_from_slice(&[1.0, 4.0]);
        table[4 * RECORD..][..2].copy_from_slice(&[4.5, 5.0]);
        table[5 * RECORD + SUM] = 0.7;
        reader.read(&table, TAKEN, &mut values);
        let noise = super::super::Noise::of_batch(80.0 * 16.0, 4.0, 4.0, f64::INFINITY);
        let numbers = [noise.trace, noise.signal, noise.scale()];
        let found = ["noise_trace", "noise_signal", "noise_scale"].map(|id| values.scalar(id));
        assert_eq!((found, values.scalar("loss")), (numbers, 0.7));
        let found = ["layer_noise_trace", "layer_noise_signal", "layer_noise_scale"].map(|id| values.get(id)[0]);
        assert_eq!((found, values.get("tensor_grad_norm")), (numbers, &[0.0, 2.0][..]));
        assert_eq!(values.get("dead_units"), [0.0; 0]);
    }

    #[test]
    fn what_is_not_due_is_not_read() {
        let mut reader = reader(&[1, 1, 0, 0, 0, 5]);
        let mut values = reader.values();
        let mut table = vec![0.0; reader.layout.table_len()];
        let row = |reader: &Reader, part| reader.layout.row(part).unwrap() * RECORD;
        table[row(&reader, Part::Units) + ZEROS] = 1.0;
        table[row(&reader, Part::Units) + RECORD + ZEROS] = 2.0;
        table[row(&reader, Part::GradientCounts) + BINS + 3] = 5.0;
        table[row(&reader, Part::GradientCounts) + BINS + 4] = 15.0;
        reader.read(&table, TAKEN, &mut values);
        assert_eq!((values.get("dead_units"), values.get("saturated")), (&[1.0 / 3.0][..], &[0.25][..]));
        assert!(values.get("gradient_histogram").iter().all(|x| x.is_nan()));
        assert!(values.group(0).iter().all(|x| x.is_finite()));
        reader.read(&table, Taken { due: reader.rest, ..TAKEN }, &mut values);
        assert_eq!(values.get("gradient_histogram")[BINS + 3..BINS + 5], [0.25, 0.75]);
        assert_eq!((values.group(1).len(), values.get("gradient_histogram").len()), (6 * BINS, 2 * BINS));
    }

    #[test]
    fn the_first_non_finite_value_is_the_first_in_the_order_of_computation() {
        let reader = reader(&[1]);
        let mut table = vec![0.0; reader.layout.table_len()];
        assert_eq!(reader.non_finite(&table), None);
        table[9 * RECORD + NON_FINITE] = 1.0;
        assert_eq!(reader.non_finite(&table), Some(NonFinite::Gradient(1)));
        table[2 * RECORD + NON_FINITE] = 1.0;
        assert_eq!(reader.non_finite(&table), Some(NonFinite::Signal(0)));
        table[3 * RECORD + NON_FINITE] = 1.0;
        assert_eq!(reader.non_finite(&table), Some(NonFinite::Signal(1)));
        table[RECORD + NON_FINITE] = 1.0;
        assert_eq!(reader.non_finite(&table), Some(NonFinite::Activation(1)));
    }

    #[test]
    fn numbers_below_the_range_of_f32_squares_keep_their_norm() {
        let mut reader = reader(&[1]);
        let mut values = reader.values();
        let mut table = vec![0.0; reader.layout.table_len()];
        let tiny = f64::from(4e-20f32);
        table[8 * RECORD + MAX] = tiny;
        table[8 * RECORD + SQUARES] = (tiny / unit(tiny, -126)).powi(2);
        reader.read(&table, TAKEN, &mut values);
        assert!((values.get("tensor_grad_norm")[0] / tiny - 1.0).abs() < 1e-15);
    }
}

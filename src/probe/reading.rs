//! From the device's table to the values of a step.

use super::layout::Layout;
use super::noise::NoiseReader;
use super::quantity::{QUANTITIES, Scope, find};
use crate::ops::record::{
    MAGNITUDES, MAX, NON_FINITE, RECORD, SQUARES, STEP_SCALE, STEP_SQUARES, SUM, WEIGHT_SQUARES, ZEROS,
};
use std::ops::Range;

/// Where the first non-finite value of a step was: in the order in which a step computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonFinite {
    /// The activations behind this layer (by its place among the tapped layers).
    Activation(usize),
    /// The loss, while all activations were finite.
    Loss,
    /// The backpropagated signal at this layer: the deepest one that is affected.
    Signal(usize),
    /// The gradient of this tensor.
    Gradient(usize),
}

/// Reads tables of one layout.
#[derive(Clone, Debug)]
pub struct Reader {
    layout: Layout,
    /// The smallest exponent of a normal number on the device: −126 for f32, −1022 for f64.
    exponent_min: i32,
    /// A row behind each layer's activations.
    activations: Vec<Count>,
    /// Each tensor.
    tensors: Vec<Count>,
    /// The tensors of each layer, which are neighbours.
    layer_tensors: Vec<Range<usize>>,
    /// The layer of each dense layer whose examples are measured.
    dense: Vec<usize>,
    noise: NoiseReader,
}

/// What a reader has to know of a model and its data.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Whether the device computes in f32, else in f64.
    pub single_precision: bool,
    /// Elements of a row behind each layer's activations.
    pub activation_widths: Vec<usize>,
    /// Elements of each tensor.
    pub tensor_lens: Vec<usize>,
    /// The layer of each tensor, in the order of the layers.
    pub tensor_layers: Vec<usize>,
    /// The dense layers.
    pub dense: Vec<usize>,
    /// How many examples batches are drawn from; infinite where no two draws of one are alike.
    pub population: f64,
}

/// How many entries the quantities of layers and tensors have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Layers with parameters.
    pub layers: usize,
    /// Dense layers whose examples are measured.
    pub dense: usize,
    /// Parameter tensors.
    pub tensors: usize,
}

impl Sizes {
    /// How many entries a quantity of this scope has.
    pub fn width(&self, scope: Scope) -> usize {
        match scope {
            Scope::Step => 1,
            Scope::Noise => usize::from(self.dense > 0),
            Scope::Layer => self.layers,
            Scope::Dense => self.dense,
            Scope::Tensor => self.tensors,
        }
    }
}

/// What the host knows of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Taken {
    /// The learning rate.
    pub lr: f64,
    /// How many rows of the logical batch were real.
    pub rows: usize,
    /// How many of them had a weight.
    pub signal_rows: usize,
    /// The sum of the weights.
    pub weight: f64,
}

/// How many elements something has, and what means over them are multiplied with.
#[derive(Clone, Copy, Debug)]
struct Count {
    len: f64,
    /// 1/len.
    share: f64,
    /// 1/√len.
    root: f64,
}

impl Count {
    fn of(len: &usize) -> Self {
        let len = *len.max(&1) as f64;
        Self { len, share: 1.0 / len, root: (1.0 / len).sqrt() }
    }
}

/// The values of one step, quantity by quantity as [`QUANTITIES`] lists them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Values {
    flat: Vec<f64>,
    sizes: Sizes,
}

impl Values {
    /// Room for so many layers and tensors, all zero.
    pub fn new(sizes: Sizes) -> Self {
        let mut values = Self { flat: Vec::new(), sizes };
        values.flat = vec![0.0; values.start(QUANTITIES.len())];
        values
    }

    /// All values, flat, in the order of [`QUANTITIES`].
    pub fn flat(&self) -> &[f64] {
        &self.flat
    }

    fn start(&self, quantity: usize) -> usize {
        QUANTITIES[..quantity].iter().map(|q| self.sizes.width(q.scope)).sum()
    }

    /// The values of a quantity: one, or one for each layer or tensor.
    ///
    /// # Panics
    /// If there is no such quantity.
    pub fn get(&self, id: &str) -> &[f64] {
        let quantity = find(id).unwrap_or_else(|| panic!("no quantity is called {id}"));
        let start = self.start(quantity);
        &self.flat[start..start + self.sizes.width(QUANTITIES[quantity].scope)]
    }

    /// The loss.
    pub fn loss(&self) -> f64 {
        self.flat[0]
    }

    /// The backpropagated signal of each layer: the first quantity of layers.
    pub fn signal(&self) -> &[f64] {
        let start = STEP_COLUMNS + NOISE_COLUMNS * self.sizes.width(Scope::Noise);
        &self.flat[start..][..self.sizes.layers]
    }

    /// The value of a quantity of the whole step.
    ///
    /// # Panics
    /// If there is no such quantity, or it was not measured.
    pub fn scalar(&self, id: &str) -> f64 {
        self.get(id)[0]
    }
}

/// The readings of the noise to their columns: those of dense layers, and those of all together.
fn spread_noise(reader: &NoiseReader, by_dense: &mut [f64], whole: &mut [f64]) {
    let all = reader.last().iter().zip(reader.smoothed());
    let numbers = all.map(|(last, smoothed)| [last.trace, last.signal, smoothed.scale()]);
    let dense = by_dense.len() / NOISE_COLUMNS;
    for (i, numbers) in numbers.enumerate() {
        if i < dense { spread(by_dense, numbers, i, dense) } else { spread(whole, numbers, 0, 1) }
    }
}

/// Number i becomes entry `at` of column i, columns being `width` long.
#[inline(always)]
fn spread<const N: usize>(columns: &mut [f64], numbers: [f64; N], at: usize, width: usize) {
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
    /// A reader of tables with this layout.
    pub fn new(layout: Layout, of: &Measured) -> Self {
        let bound = |layer: usize| of.tensor_layers.partition_point(|&other| other < layer);
        let dense = if layout.dense > 0 { of.dense.clone() } else { Vec::new() };
        Self {
            exponent_min: if of.single_precision { -126 } else { -1022 },
            layer_tensors: (0..of.activation_widths.len()).map(|layer| bound(layer)..bound(layer + 1)).collect(),
            activations: of.activation_widths.iter().map(Count::of).collect(),
            tensors: of.tensor_lens.iter().map(Count::of).collect(),
            noise: NoiseReader::new(dense.len(), of.population),
            dense,
            layout,
        }
    }

    /// How many entries the quantities have.
    pub fn sizes(&self) -> Sizes {
        Sizes { layers: self.layout.layers, dense: self.layout.dense, tensors: self.layout.tensors }
    }

    /// Room for the values of a step.
    pub fn values(&self) -> Values {
        Values::new(self.sizes())
    }

    /// The noise of the gradient in the steps so far.
    pub fn noise(&self) -> &NoiseReader {
        &self.noise
    }

    /// The same, to go on from a checkpoint.
    pub fn noise_mut(&mut self) -> &mut NoiseReader {
        &mut self.noise
    }

    fn unit(&self, max: f64) -> f64 {
        unit(max, self.exponent_min)
    }

    /// Fills `values` from a table. No allocation.
    pub fn read(&mut self, table: &[f64], taken: Taken, values: &mut Values) {
        let Taken { lr, rows, signal_rows, weight: share_sum } = taken;
        let row = |i: usize| &table[i * RECORD..][..RECORD];
        let (layers, tensors) = (self.layout.layers, self.layout.tensors);
        let dense = self.layout.dense;
        let (whole, rest) = values.flat.split_at_mut(STEP_COLUMNS);
        let (noise, rest) = rest.split_at_mut(if dense > 0 { NOISE_COLUMNS } else { 0 });
        let (by_layer, rest) = rest.split_at_mut(LAYER_COLUMNS * layers);
        let (by_dense, by_tensor) = rest.split_at_mut(NOISE_COLUMNS * dense);
        for (t, tensor) in self.tensors.iter().enumerate().take(tensors) {
            let record = row(self.layout.params_row() + t);
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
        for (layer, count) in self.activations.iter().enumerate().take(layers) {
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
        let loss = row(self.layout.loss_row())[SUM];
        whole.copy_from_slice(&[loss, lr, gradient, weight, ratio(step, weight), rows as f64]);
        if dense > 0 {
            let unit = |max: f64| unit(max, self.exponent_min);
            let squares = |i: usize| {
                let record = row(self.layout.examples_row() + i);
                record[SQUARES] * unit(record[MAX]) * unit(record[MAX])
            };
            let gradients = &by_layer[4 * layers..];
            let of_layers =
                self.dense.iter().enumerate().map(|(i, &layer)| (squares(i), gradients[layer] * gradients[layer]));
            self.noise.push(of_layers, rows, share_sum);
            spread_noise(&self.noise, by_dense, noise);
        }
    }

    /// Where the first non-finite value of a step was, if there was one.
    pub fn non_finite(&self, table: &[f64]) -> Option<NonFinite> {
        let bad = |i: usize| table[i * RECORD + NON_FINITE] != 0.0;
        let layers = self.layout.layers;
        if let Some(layer) = (0..layers).find(|&layer| bad(layer)) {
            return Some(NonFinite::Activation(layer));
        }
        if bad(self.layout.loss_row()) {
            return Some(NonFinite::Loss);
        }
        if let Some(layer) = (0..layers).rev().find(|&layer| bad(layers + layer)) {
            return Some(NonFinite::Signal(layer));
        }
        (0..self.layout.tensors).find(|&t| bad(self.layout.params_row() + t)).map(NonFinite::Gradient)
    }
}

/// Quantities of the whole step, then of layers, then of tensors: the order of the table makes the starts simple.
const STEP_COLUMNS: usize = 6;
const NOISE_COLUMNS: usize = 3;
const LAYER_COLUMNS: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Shape;

    const TAKEN: Taken = Taken { lr: 0.1, rows: 4, signal_rows: 4, weight: 1.0 };

    fn reader(dense: usize) -> Reader {
        let shapes = [Shape::from([4, 3]), Shape::from([4, 2])];
        let of = Measured {
            single_precision: true,
            activation_widths: vec![3, 2],
            tensor_lens: vec![6, 2],
            tensor_layers: vec![0, 1],
            dense: vec![1],
            population: f64::INFINITY,
        };
        Reader::new(Layout::new(&shapes, &shapes, dense, 2), &of)
    }

    #[test]
    fn columns_stand_where_the_table_of_quantities_says() {
        let mut reader = reader(0);
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
        assert_eq!(values.get("signal"), values.signal());
        assert_eq!(values.get("tensor_grad_norm"), [3.0, 0.0]);
        assert_eq!(values.get("tensor_grad_mean"), [1.0, 0.0]);
        assert_eq!(values.get("tensor_grad_zeros"), [0.5, 0.0]);
        assert_eq!(values.get("layer_update_ratio"), [0.5, 0.0]);
        assert_eq!(values.scalar("update_ratio"), 0.5);
        assert_eq!(values.scalar("weight_norm"), 4.0);
    }

    #[test]
    fn noise_is_read_from_the_examples_and_the_gradient_of_their_layer() {
        let mut reader = reader(1);
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
        assert_eq!(values.get("signal"), values.signal());
    }

    #[test]
    fn the_first_non_finite_value_is_the_first_in_the_order_of_computation() {
        let reader = reader(0);
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
        let mut reader = reader(0);
        let mut values = reader.values();
        let mut table = vec![0.0; reader.layout.table_len()];
        let tiny = f64::from(4e-20f32);
        table[8 * RECORD + MAX] = tiny;
        table[8 * RECORD + SQUARES] = (tiny / unit(tiny, -126)).powi(2);
        reader.read(&table, TAKEN, &mut values);
        assert!((values.get("tensor_grad_norm")[0] / tiny - 1.0).abs() < 1e-15);
    }
}

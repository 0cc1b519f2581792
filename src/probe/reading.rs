//! From the device's table to the values of a step.

use super::layout::Layout;
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
    layers: usize,
    tensors: usize,
}

impl Values {
    /// Room for so many layers and tensors, all zero.
    pub fn new(layers: usize, tensors: usize) -> Self {
        let mut values = Self { flat: Vec::new(), layers, tensors };
        values.flat = vec![0.0; values.start(QUANTITIES.len())];
        values
    }

    /// All values, flat, in the order of [`QUANTITIES`].
    pub fn flat(&self) -> &[f64] {
        &self.flat
    }

    fn width(&self, scope: Scope) -> usize {
        match scope {
            Scope::Step => 1,
            Scope::Layer => self.layers,
            Scope::Tensor => self.tensors,
        }
    }

    fn start(&self, quantity: usize) -> usize {
        QUANTITIES[..quantity].iter().map(|q| self.width(q.scope)).sum()
    }

    /// The values of a quantity: one, or one for each layer or tensor.
    ///
    /// # Panics
    /// If there is no such quantity.
    pub fn get(&self, id: &str) -> &[f64] {
        let quantity = find(id).unwrap_or_else(|| panic!("no quantity is called {id}"));
        let start = self.start(quantity);
        &self.flat[start..start + self.width(QUANTITIES[quantity].scope)]
    }

    /// The loss.
    pub fn loss(&self) -> f64 {
        self.flat[0]
    }

    /// The backpropagated signal of each layer: the first quantity of layers.
    pub fn signal(&self) -> &[f64] {
        &self.flat[STEP_COLUMNS..][..self.layers]
    }

    /// The value of a quantity of the whole step.
    ///
    /// # Panics
    /// If there is no such quantity.
    pub fn scalar(&self, id: &str) -> f64 {
        self.get(id)[0]
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

impl Reader {
    /// A reader of tables with this layout. `tensor_layers` is the layer of each tensor, in the order of the layers.
    pub fn new(
        layout: Layout,
        single_precision: bool,
        activation_widths: &[usize],
        tensor_lens: &[usize],
        tensor_layers: &[usize],
    ) -> Self {
        let exponent_min = if single_precision { -126 } else { -1022 };
        let layers = 0..activation_widths.len();
        let bound = |layer: usize| tensor_layers.partition_point(|&other| other < layer);
        let layer_tensors = layers.map(|layer| bound(layer)..bound(layer + 1)).collect();
        let activations = activation_widths.iter().map(Count::of).collect();
        let tensors = tensor_lens.iter().map(Count::of).collect();
        Self { layout, exponent_min, activations, tensors, layer_tensors }
    }

    /// Room for the values of a step.
    pub fn values(&self) -> Values {
        Values::new(self.layout.layers, self.layout.tensors)
    }

    /// 2ᵉ: what sums in a record of this maximum were divided by.
    fn unit(&self, max: f64) -> f64 {
        if max == 0.0 {
            return 1.0;
        }
        let exponent = ((max.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(self.exponent_min);
        // The device's factor 2⁻ᵉ is a normal number too.
        let exponent = exponent.min(-self.exponent_min);
        f64::from_bits(((exponent + 1023) as u64) << 52)
    }

    /// Fills `values` from a table. `rows` is how many rows of the logical batch were real, `signal_rows` how many of these
    /// had a weight. No allocation.
    pub fn read(&self, table: &[f64], lr: f64, rows: usize, signal_rows: usize, values: &mut Values) {
        let row = |i: usize| &table[i * RECORD..][..RECORD];
        let (layers, tensors) = (self.layout.layers, self.layout.tensors);
        let (whole, rest) = values.flat.split_at_mut(STEP_COLUMNS);
        let (by_layer, by_tensor) = rest.split_at_mut(LAYER_COLUMNS * layers);
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
        whole.copy_from_slice(&[loss, lr, gradient, weight, ratio(step, weight)]);
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
const STEP_COLUMNS: usize = 5;
const LAYER_COLUMNS: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Shape;

    fn reader() -> Reader {
        let shapes = [Shape::from([4, 3]), Shape::from([4, 2])];
        Reader::new(Layout::new(&shapes, &shapes, 2), true, &[3, 2], &[6, 2], &[0, 1])
    }

    #[test]
    fn columns_stand_where_the_table_of_quantities_says() {
        let reader = reader();
        let mut values = reader.values();
        let mut table = vec![0.0; reader.layout.table_len()];
        let row = |table: &mut Vec<f64>, i: usize, fields: [f64; RECORD]| {
            table[i * RECORD..][..RECORD].copy_from_slice(&fields)
        };
        row(&mut table, 0, [2.0, 3.0, 0.0, 1.5, 0.0, 0.0, 0.0, 0.0]);
        row(&mut table, 3, [0.25, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        row(&mut table, 4, [0.0, 0.0, 0.0, 0.7, 0.0, 0.0, 0.0, 0.0]);
        row(&mut table, 8, [1.0, 9.0, 6.0, 0.0, 3.0, 0.0, 16.0, STEP_SCALE * STEP_SCALE * 4.0]);
        reader.read(&table, 0.1, 4, 4, &mut values);
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
    fn the_first_non_finite_value_is_the_first_in_the_order_of_computation() {
        let reader = reader();
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
        let reader = reader();
        let mut values = reader.values();
        let mut table = vec![0.0; reader.layout.table_len()];
        let tiny = f64::from(4e-20f32);
        table[8 * RECORD + MAX] = tiny;
        table[8 * RECORD + SQUARES] = (tiny / reader.unit(tiny)).powi(2);
        reader.read(&table, 0.1, 4, 4, &mut values);
        assert!((values.get("tensor_grad_norm")[0] / tiny - 1.0).abs() < 1e-15);
    }
}

//! From the device's table to the values of a step.

use super::layout::Layout;
use super::quantity::{QUANTITIES, Scope, find};
use crate::ops::record::{
    MAGNITUDES, MAX, NON_FINITE, RECORD, SQUARES, STEP_SCALE, STEP_SQUARES, SUM, WEIGHT_SQUARES, ZEROS,
};

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
    /// Elements of a row behind each layer's activations.
    activation_widths: Vec<usize>,
    /// Elements of each tensor.
    tensor_lens: Vec<usize>,
    /// The layer of each tensor.
    tensor_layers: Vec<usize>,
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

    /// The value of a quantity of the whole step.
    ///
    /// # Panics
    /// If there is no such quantity.
    pub fn scalar(&self, id: &str) -> f64 {
        self.get(id)[0]
    }
}

/// Sums over the rows that make up a layer or the whole.
#[derive(Clone, Copy, Default)]
struct Total {
    gradient: f64,
    weight: f64,
    step: f64,
}

impl Total {
    fn add(&mut self, other: Total) {
        self.gradient = hypot(self.gradient, other.gradient);
        self.weight = hypot(self.weight, other.weight);
        self.step = hypot(self.step, other.step);
    }

    fn ratio(&self) -> f64 {
        if self.weight == 0.0 { 0.0 } else { self.step / self.weight }
    }
}

/// √(a² + b²). Only where the squares leave the range of normal numbers is the scaled rule worth its time.
fn hypot(a: f64, b: f64) -> f64 {
    let squares = a * a + b * b;
    if squares > 1e-280 && squares < 1e280 { squares.sqrt() } else { a.hypot(b) }
}

impl Reader {
    /// A reader of tables with this layout.
    pub fn new(
        layout: Layout,
        single_precision: bool,
        activation_widths: Vec<usize>,
        tensor_lens: Vec<usize>,
        tensor_layers: Vec<usize>,
    ) -> Self {
        let exponent_min = if single_precision { -126 } else { -1022 };
        Self { layout, exponent_min, activation_widths, tensor_lens, tensor_layers }
    }

    /// Room for the values of a step.
    pub fn values(&self) -> Values {
        Values::new(self.layout.layers, self.layout.tensors)
    }

    /// The tensors' layers.
    pub fn tensor_layers(&self) -> &[usize] {
        &self.tensor_layers
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

    fn norm(&self, record: &[f64]) -> f64 {
        record[SQUARES].sqrt() * self.unit(record[MAX])
    }

    /// Fills `values` from a table. `rows` is how many rows of the logical batch were real, `signal_rows` how many of these
    /// had a weight. No allocation.
    pub fn read(&self, table: &[f64], lr: f64, rows: usize, signal_rows: usize, values: &mut Values) {
        let row = |i: usize| &table[i * RECORD..(i + 1) * RECORD];
        let layers = self.layout.layers;
        let mut out = Columns { flat: &mut values.flat, layers, tensors: self.layout.tensors };
        out.step(0, row(self.layout.loss_row())[SUM]);
        out.step(1, lr);
        let (mut whole, mut layer) = (Total::default(), Total::default());
        for (t, &len) in self.tensor_lens.iter().enumerate().take(self.layout.tensors) {
            let record = row(self.layout.params_row() + t);
            let total = Total {
                gradient: self.norm(record),
                weight: record[WEIGHT_SQUARES].sqrt(),
                step: record[STEP_SQUARES].sqrt() / STEP_SCALE,
            };
            let unit = self.unit(record[MAX]);
            let finite = (len as f64 - record[NON_FINITE]).max(1.0);
            let numbers = [
                total.gradient,
                record[MAGNITUDES] * unit / finite,
                record[MAX],
                record[ZEROS] / len as f64,
                record[NON_FINITE],
                total.weight,
                total.step,
                total.ratio(),
            ];
            numbers.into_iter().enumerate().for_each(|(i, x)| out.tensors(11 + i)[t] = x);
            whole.add(total);
            // The tensors of a layer are neighbours.
            let layer_of_tensor = self.tensor_layers[t];
            if t == 0 || self.tensor_layers[t - 1] != layer_of_tensor {
                layer = Total::default();
            }
            layer.add(total);
            out.layers(9)[layer_of_tensor] = layer.gradient;
            out.layers(10)[layer_of_tensor] = layer.ratio();
        }
        out.step(2, whole.gradient);
        out.step(3, whole.weight);
        out.step(4, whole.ratio());
        for layer in 0..layers {
            let (forward, signal) = (row(layer), row(layers + layer));
            let count = (rows * self.activation_widths[layer]).max(1) as f64;
            out.layers(5)[layer] = self.norm(signal) / (signal_rows.max(1) as f64).sqrt();
            out.layers(6)[layer] = self.norm(forward) / count.sqrt();
            out.layers(7)[layer] = forward[SUM] * self.unit(forward[MAX]) / count;
            out.layers(8)[layer] = forward[MAX];
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

/// The flat values by the position of the quantity: the starts are sums of widths.
struct Columns<'a> {
    flat: &'a mut [f64],
    layers: usize,
    tensors: usize,
}

/// Quantities of the whole step, then of layers, then of tensors: the order of the table makes the starts simple.
const STEP_COLUMNS: usize = 5;
const LAYER_COLUMNS: usize = 6;

impl Columns<'_> {
    fn step(&mut self, quantity: usize, value: f64) {
        self.flat[quantity] = value;
    }

    fn layers(&mut self, quantity: usize) -> &mut [f64] {
        &mut self.flat[STEP_COLUMNS + (quantity - STEP_COLUMNS) * self.layers..][..self.layers]
    }

    fn tensors(&mut self, quantity: usize) -> &mut [f64] {
        let first = STEP_COLUMNS + LAYER_COLUMNS * self.layers;
        &mut self.flat[first + (quantity - STEP_COLUMNS - LAYER_COLUMNS) * self.tensors..][..self.tensors]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Shape;

    fn reader() -> Reader {
        let shapes = [Shape::from([4, 3]), Shape::from([4, 2])];
        Reader::new(Layout::new(&shapes, &shapes, 2), true, vec![3, 2], vec![6, 2], vec![0, 1])
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
        assert_eq!(values.scalar("loss"), 0.7);
        assert_eq!(values.scalar("lr"), 0.1);
        assert_eq!(values.get("activation_rms")[0], (12.0f64 / 12.0).sqrt());
        assert_eq!(values.get("activation_mean")[0], 3.0 / 12.0);
        assert_eq!(values.get("signal"), [0.0, 0.25 * 2.0 / 2.0]);
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

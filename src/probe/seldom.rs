//! Reading what is seldom due in every step: variances, directions, histograms, distances.

use super::direction::{Ends, cosine};
use super::layout::{Part, Scattered};
use super::reading::{Reader, STEP_COLUMNS, spread};
use super::table::ProbeId;
use super::values::{ABSENT, Taken};
use super::variance::{Batch, Sums};
use crate::ops::histogram::BINS;
use crate::ops::record::{MAX, RECORD, SQUARES, SUM, WEIGHT_SQUARES, ZEROS};
use std::ops::Range;

/// Columns of the variance that are of all layers together.
const TEST_COLUMNS: usize = 5;
/// Columns of the direction that are of all tensors.
const DIRECTION_COLUMNS: usize = 3;

/// The first bin of normal numbers of half precision, which begin at 2⁻¹⁴.
const FIRST_NORMAL: usize = 18;

impl Reader {
    /// What is seldom due in every step.
    #[cold]
    pub(super) fn read_rest(&mut self, table: &[f64], taken: Taken, flat: &mut [f64]) {
        let start = |probe: ProbeId| self.starts[probe as usize];
        let is_due = |probe| self.has(probe, taken.due);
        let tells = taken.micros > 1 || self.layout.tapped.by_micro.is_empty();
        if is_due(ProbeId::Variance) && !self.noise.is_empty() && taken.rows > 1 && tells {
            self.read_variance(table, taken, flat, start(ProbeId::Variance));
        }
        if is_due(ProbeId::Direction) {
            self.read_direction(table, taken, flat, start(ProbeId::Direction));
        }
        if is_due(ProbeId::Histograms) {
            let mut out = flat[start(ProbeId::Histograms)..].chunks_exact_mut(BINS);
            for part in [Part::GradientCounts, Part::WeightCounts, Part::ActivationCounts] {
                let counts = self.layout.row(part).map_or(&[][..], |row| &table[row * RECORD..]);
                for (counts, out) in counts.chunks_exact(BINS).take(self.activations.len()).zip(&mut out) {
                    let total = counts.iter().sum::<f64>().max(1.0);
                    out.iter_mut().zip(counts).for_each(|(share, count)| *share = count / total);
                }
            }
        }
        if is_due(ProbeId::Underflow) {
            self.read_underflow(table, &mut flat[start(ProbeId::Underflow)..]);
        }
        if is_due(ProbeId::Distance) {
            let norm =
                |tensors: Range<usize>| tensors.map(|t| self.squares(table, Part::Distance, t)).sum::<f64>().sqrt();
            let out = &mut flat[start(ProbeId::Distance)..];
            out[0] = norm(0..self.tensors.len());
            out[1..].iter_mut().zip(&self.layer_tensors).for_each(|(out, tensors)| *out = norm(tensors.clone()));
        }
    }

    /// Of the numbers that are not 0, the shares that half precision has as 0, and as multiples of its least number.
    fn read_underflow(&self, table: &[f64], out: &mut [f64]) {
        let Some(row) = self.layout.row(Part::SignalCounts) else { return };
        let layers = self.activations.len();
        let counts = |i: usize| &table[row * RECORD + i * BINS..][..BINS];
        for layer in 0..layers {
            let (stored, exact) = (counts(layer), counts(layers + layer));
            let there = (exact.iter().sum::<f64>() - exact[0]).max(1.0);
            let subnormal = stored[1..FIRST_NORMAL].iter().sum::<f64>();
            spread(out, [(stored[0] - exact[0]) / there, subnormal / there], layer, layers);
        }
    }

    /// A field of row i of a part.
    fn field(&self, table: &[f64], part: Part, i: usize, field: usize) -> f64 {
        self.layout.row(part).map_or(f64::NAN, |row| table[(row + i) * RECORD + field])
    }

    /// Σx² of row i of a part, or whatever products stand in its place.
    fn squares(&self, table: &[f64], part: Part, i: usize) -> f64 {
        let unit = self.unit(self.field(table, part, i, MAX));
        self.field(table, part, i, SQUARES) * unit * unit
    }

    /// The norm of the gradient of each layer.
    fn layer_gradients<'a>(&self, flat: &'a [f64]) -> &'a [f64] {
        &flat[self.loss_columns + STEP_COLUMNS + 4 * self.activations.len()..][..self.activations.len()]
    }

    fn read_variance(&self, table: &[f64], taken: Taken, flat: &mut [f64], start: usize) {
        let resolved = &self.layout.tapped.resolved;
        let gradients = self.layer_gradients(flat);
        let batch = Batch {
            loss: flat[0],
            lr: taken.lr,
            rows: taken.rows as f64,
            weight: taken.weight,
            gradient: self.noisy.iter().map(|of| gradients[of.layer] * gradients[of.layer]).sum(),
            examples: (0..resolved.len()).map(|i| self.squares(table, Part::Examples, i)).sum(),
            // Where batches are accumulated the table has none of them.
            projections: self.layout.row(Part::Projections).map(|_| self.squares(table, Part::Projections, 0)),
            noise: self.noise.last().last().copied().unwrap_or_default(),
        };
        let of_layer = |&Scattered { layer, .. }: &Scattered| Sums {
            len: self.tensors[self.layer_tensors[layer].clone()].iter().map(|tensor| tensor.len).sum(),
            without: self.field(table, Part::Variance, layer, ZEROS),
            ratios: self.field(table, Part::Variance, layer, WEIGHT_SQUARES),
            damped: self.field(table, Part::Stopping, layer, WEIGHT_SQUARES),
        };
        let (whole, by_layer) = flat[start..].split_at_mut(TEST_COLUMNS);
        let (stopping, snr) = by_layer.split_at_mut(resolved.len());
        let mut all = Sums::default();
        for (i, sums) in resolved.iter().map(of_layer).enumerate() {
            all.add(sums);
            (stopping[i], snr[i]) = (sums.stopping(batch.rows), sums.snr(batch.rows));
        }
        let [norm, inner, across, cabs] = batch.tests();
        whole.copy_from_slice(&[norm, inner, across, cabs, all.stopping(batch.rows)]);
    }

    fn read_direction(&self, table: &[f64], taken: Taken, flat: &mut [f64], start: usize) {
        if self.direction.is_first() {
            flat[start..][..DIRECTION_COLUMNS + 2 * self.layer_tensors.len()].fill(ABSENT);
            return;
        }
        let tensors = self.tensors.len();
        let gradients = self.layer_gradients(flat);
        // Products of gradient and last gradient, of gradient and last update, of last gradient and last update.
        let product = |which: usize, of: &Range<usize>| {
            let row = self.layout.dot(which).zip(self.layout.row(Part::Dots)).map_or(0, |(row, first)| row - first);
            of.clone().map(|t| self.squares(table, Part::Dots, row + t)).sum::<f64>()
        };
        let update =
            |of: &Range<usize>| of.clone().map(|t| self.squares(table, Part::LastUpdate, t)).sum::<f64>().sqrt();
        let cosines = |of: &Range<usize>, gradient: f64| {
            let last = self.direction.gradient(of.clone());
            [cosine(product(0, of), gradient, last), cosine(product(1, of), gradient, update(of))]
        };
        let layers: Vec<[f64; 2]> =
            self.layer_tensors.iter().zip(gradients).map(|(of, &gradient)| cosines(of, gradient)).collect();
        let all = 0..tensors;
        let [gradient, update] = cosines(&all, flat[self.loss_columns]);
        // Both are sums over examples: the variance of a sum is B times that of a summand.
        let rows = taken.rows as f64;
        let variance = |part: Part, i: usize, sum: f64| {
            ((rows * self.squares(table, part, i) - sum * sum) / (rows - 1.0)).max(0.0)
        };
        let slope = self.field(table, Part::Slopes, 0, SUM) * self.unit(self.field(table, Part::Slopes, 0, MAX));
        let ends = Ends {
            losses: [self.direction.loss(), flat[0]],
            slopes: [product(2, &all), product(1, &all)],
            loss_variance: variance(Part::Losses, 0, flat[0]),
            slope_variance: variance(Part::Slopes, 0, slope),
        };
        let out = &mut flat[start..];
        out[..DIRECTION_COLUMNS].copy_from_slice(&[gradient, update, ends.alpha()]);
        for (layer, numbers) in layers.iter().enumerate() {
            spread(&mut out[DIRECTION_COLUMNS..], *numbers, layer, layers.len());
        }
    }
}

//! The readings of a run as it goes on, smoothed: a few operations a layer a step, no allocation.

use super::evidence::{LayerReading, Origin, Readings, ValidationReading};
use super::rules::{EXPLODING_ABOVE, LOST_ABOVE, VANISHING_BELOW};

/// Steps over which readings are averaged: long enough that the noise of mini-batches, which falls with the root, is a
/// seventh, and short beside a run.
const WINDOW: f64 = 50.0;

/// Steps over which the loss is averaged a second time, to see where it goes: five windows.
const SLOW: f64 = 250.0;

/// What one step gives: a number a layer each.
#[derive(Clone, Copy, Debug)]
pub struct Measured<'a> {
    /// The loss.
    pub loss: f64,
    /// ‖δ_l‖.
    pub signal: &'a [f64],
    /// RMS of the activations.
    pub activation_rms: &'a [f64],
    /// Mean of the activations.
    pub activation_mean: &'a [f64],
    /// Norm of the gradient.
    pub grad_norm: &'a [f64],
    /// ‖Δw‖/‖w‖.
    pub update_ratio: &'a [f64],
}

/// Numbers of a run, and of each layer, in a checkpoint.
const HEAD: usize = 17;
const COLUMNS: usize = 14;

/// Readings over which the share of a signal that half precision loses is averaged: they are seldom.
const LOST_WINDOW: f64 = 4.0;

/// The readings of a run so far.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    readings: Readings,
    last_loss: f64,
    /// ln of the thresholds.
    bounds: [f64; 2],
}

impl History {
    /// No readings yet, for so many layers.
    pub fn new(layers: usize) -> Self {
        let readings = Readings { layers: vec![LayerReading::default(); layers], ..Readings::default() };
        Self { readings, last_loss: 0.0, bounds: [VANISHING_BELOW.value.ln(), EXPLODING_ABOVE.value.ln()] }
    }

    /// The readings.
    pub fn readings(&self) -> &Readings {
        &self.readings
    }

    /// Takes in one step; one that is not finite leaves the averages as they are. No allocation.
    pub fn push(&mut self, step: &Measured<'_>) {
        let by_layer = [step.signal, step.activation_rms, step.update_ratio];
        if !step.loss.is_finite() || by_layer.iter().any(|of| of.iter().any(|x| !x.is_finite())) {
            return;
        }
        let all = &mut self.readings;
        all.steps += 1;
        let steps = all.steps;
        let is_first = steps == 1;
        if is_first {
            (all.loss_start, all.loss, all.loss_slow, all.loss_low) = (step.loss, step.loss, step.loss, step.loss);
            self.last_loss = step.loss;
        }
        // A running mean at first, exponential from one window on.
        let share = 1.0 / (steps as f64).min(WINDOW);
        all.loss += share * (step.loss - all.loss);
        all.loss_slow += (step.loss - all.loss_slow) / (steps as f64).min(SLOW);
        all.loss_low = all.loss_low.min(all.loss);
        all.loss_high = all.loss_high.max(step.loss);
        all.loss_jump += share * ((step.loss - self.last_loss).abs() - all.loss_jump);
        self.last_loss = step.loss;
        for (l, layer) in all.layers.iter_mut().enumerate() {
            let log = ln(step.signal[l]);
            layer.log_signal_last = log;
            layer.log_signal = if is_first { log } else { layer.log_signal + share * (log - layer.log_signal) };
            if layer.log_signal.is_nan() {
                layer.log_signal = f64::NEG_INFINITY;
            }
            layer.activation_last = step.activation_rms[l];
            if is_first {
                (layer.log_signal_start, layer.activation_start) = (log, step.activation_rms[l]);
            }
            layer.activation += share * (step.activation_rms[l] - layer.activation);
            layer.activation_mean += share * (step.activation_mean[l] - layer.activation_mean);
            layer.update_ratio += share * (step.update_ratio[l] - layer.update_ratio);
            layer.update_peak = layer.update_peak.max(step.update_ratio[l]);
            layer.zero_steps += u64::from(step.grad_norm[l] == 0.0);
        }
        let last = all.layers.last().map_or(0.0, |layer| layer.log_signal);
        for layer in &mut all.layers {
            let arriving = if layer.log_signal == last { 0.0 } else { layer.log_signal - last };
            let since = |before: u64, holds: bool| if holds { if before == 0 { steps } else { before } } else { 0 };
            layer.vanishing_since = since(layer.vanishing_since, arriving < self.bounds[0]);
            layer.exploding_since = since(layer.exploding_since, arriving > self.bounds[1]);
        }
    }

    /// Takes in, at a step from 1, the share of each layer's signal that half precision took to 0. No allocation.
    pub fn push_lost(&mut self, step: u64, lost: &[f64]) {
        self.readings.lost_readings += 1;
        let share = 1.0 / (self.readings.lost_readings as f64).min(LOST_WINDOW);
        for (layer, lost) in self.readings.layers.iter_mut().zip(lost) {
            layer.lost_share += share * (lost - layer.lost_share);
            let is_first = layer.lost_since == 0;
            layer.lost_since = match layer.lost_share > LOST_ABOVE.value {
                true if is_first => step,
                true => layer.lost_since,
                false => 0,
            };
        }
    }

    /// Takes in the first value that was not finite: its step, from 1, and where it was. Later ones change nothing.
    pub fn push_non_finite(&mut self, step: u64, origin: Origin) {
        self.readings.non_finite.get_or_insert((step, origin));
    }

    /// Takes in the loss of a validation.
    pub fn push_validation(&mut self, loss: f64) {
        let (train, step) = (self.readings.loss, self.readings.steps);
        let fresh = ValidationReading { best: loss, last: loss, train_at_best: train, since_best: 0, best_step: step };
        match &mut self.readings.validation {
            Some(seen) if loss >= seen.best || loss.is_nan() => {
                seen.last = loss;
                seen.since_best += 1;
            }
            seen => *seen = Some(fresh),
        }
    }

    /// The state as numbers, for a checkpoint.
    pub fn to_numbers(&self) -> Vec<f64> {
        let all = &self.readings;
        let (bad_step, origin) = all.non_finite.map_or((0, [0.0, 0.0]), |(step, origin)| (step, number_of(origin)));
        let seen = all.validation.unwrap_or_default();
        let head: [f64; HEAD] = [
            all.steps as f64,
            all.loss_start,
            all.loss,
            all.loss_slow,
            all.loss_low,
            all.loss_high,
            all.loss_jump,
            self.last_loss,
            bad_step as f64,
            origin[0],
            origin[1],
            if all.validation.is_some() { 1.0 + seen.since_best as f64 } else { 0.0 },
            seen.best,
            seen.last,
            seen.train_at_best,
            seen.best_step as f64,
            all.lost_readings as f64,
        ];
        let layers = all.layers.iter().flat_map(|layer| -> [f64; COLUMNS] {
            [
                layer.log_signal_start,
                layer.log_signal,
                layer.log_signal_last,
                layer.activation_start,
                layer.activation,
                layer.activation_last,
                layer.activation_mean,
                layer.update_ratio,
                layer.update_peak,
                layer.zero_steps as f64,
                layer.vanishing_since as f64,
                layer.exploding_since as f64,
                layer.lost_share,
                layer.lost_since as f64,
            ]
        });
        head.into_iter().chain(layers).collect()
    }

    /// The history that gave `numbers`, of so many layers; none if their count is not that of so many.
    pub fn from_numbers(layers: usize, numbers: &[f64]) -> Option<Self> {
        let (head, rest) = numbers.split_first_chunk::<HEAD>()?;
        let (rows, []) = rest.as_chunks::<COLUMNS>() else { return None };
        if rows.len() != layers {
            return None;
        }
        let mut history = Self::new(layers);
        history.last_loss = head[7];
        history.readings = Readings {
            steps: head[0] as u64,
            loss_start: head[1],
            loss: head[2],
            loss_slow: head[3],
            loss_low: head[4],
            loss_high: head[5],
            loss_jump: head[6],
            non_finite: (head[8] > 0.0).then(|| (head[8] as u64, origin_of([head[9], head[10]]))),
            validation: (head[11] > 0.0).then(|| ValidationReading {
                since_best: head[11] as u64 - 1,
                best: head[12],
                last: head[13],
                train_at_best: head[14],
                best_step: head[15] as u64,
            }),
            noise_scale: None,
            lost_readings: head[16] as u64,
            layers: rows.iter().map(layer_of).collect(),
        };
        Some(history)
    }
}

fn layer_of(row: &[f64; COLUMNS]) -> LayerReading {
    LayerReading {
        log_signal_start: row[0],
        log_signal: row[1],
        log_signal_last: row[2],
        activation_start: row[3],
        activation: row[4],
        activation_last: row[5],
        activation_mean: row[6],
        update_ratio: row[7],
        update_peak: row[8],
        zero_steps: row[9] as u64,
        vanishing_since: row[10] as u64,
        exploding_since: row[11] as u64,
        lost_share: row[12],
        lost_since: row[13] as u64,
        ..LayerReading::default()
    }
}

fn number_of(origin: Origin) -> [f64; 2] {
    match origin {
        Origin::Activation(layer) => [0.0, layer as f64],
        Origin::Loss => [1.0, 0.0],
        Origin::Signal(layer) => [2.0, layer as f64],
        Origin::Gradient(layer) => [3.0, layer as f64],
    }
}

fn origin_of([kind, layer]: [f64; 2]) -> Origin {
    let layer = layer as usize;
    match kind as u8 {
        0 => Origin::Activation(layer),
        1 => Origin::Loss,
        2 => Origin::Signal(layer),
        _ => Origin::Gradient(layer),
    }
}

/// ln x to five digits, for a fraction of the time of sixteen: it is taken of every layer in every step. With x = m·2ᵉ, m
/// between √½ and √2, ln m = 2·artanh t, t = (m − 1)/(m + 1), by the first terms of its series.
fn ln(x: f64) -> f64 {
    const BIAS: i64 = 1023;
    let bits = x.to_bits() as i64;
    let biased = bits >> 52;
    if biased <= 0 {
        return x.ln();
    }
    // One more where the mantissa is above √2.
    let exponent = biased - BIAS + i64::from(bits & ((1 << 52) - 1) > 0x6_a09e_667f_3bcd);
    let m = f64::from_bits((bits - (exponent << 52)) as u64);
    let t = (m - 1.0) / (m + 1.0);
    let t2 = t * t;
    2.0 * t * (1.0 + t2 * (1.0 / 3.0 + t2 * (1.0 / 5.0))) + exponent as f64 * std::f64::consts::LN_2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(history: &mut History, loss: f64, signal: &[f64]) {
        let same = vec![loss; signal.len()];
        let ratio = vec![1e-3 * loss; signal.len()];
        history.push(&Measured {
            loss,
            signal,
            activation_rms: &same,
            activation_mean: &same,
            grad_norm: signal,
            update_ratio: &ratio,
        });
    }

    #[test]
    fn quick_logarithms_are_logarithms() {
        let root = std::f64::consts::SQRT_2;
        let ordinary = [0.1, 0.999_999, 1.0, 1.000_001, root - 1e-9, root + 1e-9, 1.999_999, 2.5];
        for x in ordinary.into_iter().chain([0.0, 5e-324, 1e-300, 1e-20, 1e30, 1e300]) {
            let (quick, exact) = (ln(x), x.ln());
            assert!(quick == exact || (quick - exact).abs() <= 4e-6 * exact.abs().max(1.0), "{x}: {quick} {exact}");
        }
    }

    #[test]
    fn a_history_survives_a_checkpoint() {
        let mut history = History::new(2);
        (1..70).for_each(|i| push(&mut history, 2.0 / f64::from(i), &[0.0, 0.7 / f64::from(i)]));
        history.push_validation(0.5);
        history.push_validation(0.6);
        [10, 20, 30].iter().for_each(|&step| history.push_lost(step, &[0.5, 0.001]));
        let lost = history.readings().layers.iter().map(|layer| (layer.lost_share, layer.lost_since));
        assert_eq!(lost.collect::<Vec<_>>(), [(0.5, 10), (0.001, 0)]);
        let mut again = History::from_numbers(2, &history.to_numbers()).unwrap();
        assert_eq!(again, history);
        for history in [&mut history, &mut again] {
            (70..90).for_each(|i| push(history, 2.0 / f64::from(i), &[0.0, 0.7 / f64::from(i)]));
            history.push_non_finite(91, Origin::Signal(1));
            history.push_non_finite(92, Origin::Loss);
        }
        assert_eq!((again.readings(), again.readings().steps), (history.readings(), 89));
        assert_eq!(history.readings().non_finite, Some((91, Origin::Signal(1))));
        let seen = history.readings().validation.unwrap();
        assert_eq!((seen.best, seen.last, seen.since_best, seen.best_step), (0.5, 0.6, 1, 69));
        assert_eq!(History::from_numbers(2, &history.to_numbers()), Some(history.clone()));
        assert!(History::from_numbers(1, &history.to_numbers()).is_none() && History::from_numbers(0, &[]).is_none());
    }

    #[test]
    fn the_step_since_which_a_signal_vanishes_is_kept() {
        let mut history = History::new(2);
        (0..10).for_each(|_| push(&mut history, 2.0, &[0.5, 1.0]));
        (0..400).for_each(|_| push(&mut history, 2.0, &[1e-6, 1.0]));
        let since = history.readings().layers[0].vanishing_since;
        assert!((11..60).contains(&since), "{since}");
        assert_eq!(history.readings().layers[1].vanishing_since, 0);
        assert_eq!(history.readings().layers[0].zero_steps, 0);
    }

    #[test]
    fn a_step_that_is_not_finite_leaves_the_averages() {
        let mut history = History::new(1);
        push(&mut history, 2.0, &[1.0]);
        push(&mut history, f64::NAN, &[1.0]);
        push(&mut history, 1.0, &[f64::INFINITY]);
        assert_eq!((history.readings().steps, history.readings().loss), (1, 2.0));
    }
}

//! The curve of the losses over the rates: means over windows, their errors, and the steepest fall.

use super::{Fall, RangeOptions, SIGNIFICANT_FALL};
use serde::Serialize;

/// A step of the rising run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// The learning rate.
    pub rate: f64,
    /// The mean of the seeds' losses.
    pub loss: f64,
    /// The least of them.
    pub low: f64,
    /// The largest of them.
    pub high: f64,
    /// The mean of the window around it; fewer steps at the ends.
    pub smooth: f64,
    /// The standard error of that.
    pub error: f64,
}

/// The whole curve, up to where the first seed diverged.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    pub points: Vec<Point>,
    pub start: f64,
    pub start_error: f64,
    window: usize,
}

/// The mean of neighbouring losses and its standard error, from the jumps between them around their mean: a trend is no noise.
pub(super) fn mean_and_error(losses: &[f64]) -> [f64; 2] {
    let n = losses.len() as f64;
    let mean = losses.iter().sum::<f64>() / n;
    if losses.len() < 3 {
        return [mean, 0.0];
    }
    let jump = (losses[losses.len() - 1] - losses[0]) / (n - 1.0);
    let squares: f64 = losses.windows(2).map(|pair| (pair[1] - pair[0] - jump).powi(2)).sum();
    [mean, (squares / (2.0 * (n - 2.0)) / n).sqrt()]
}

impl Curve {
    pub fn of(options: &RangeOptions, runs: &[Vec<f64>]) -> Self {
        let len = runs.iter().map(Vec::len).min().unwrap_or(0);
        let window = options.window();
        let of_step = |step: usize| runs.iter().map(move |run| run[step]);
        let means: Vec<f64> = (0..len).map(|step| of_step(step).sum::<f64>() / runs.len() as f64).collect();
        let point = |step: usize| {
            let around = &means[step.saturating_sub(window / 2)..len.min(step + window / 2 + 1)];
            let [smooth, error] = mean_and_error(around);
            Point {
                rate: options.rate(step),
                loss: means[step],
                low: of_step(step).fold(f64::INFINITY, f64::min),
                high: of_step(step).fold(f64::NEG_INFINITY, f64::max),
                smooth,
                error,
            }
        };
        let [start, start_error] = mean_and_error(&means[..window.min(len)]);
        Self { points: (0..len).map(point).collect(), start, start_error, window }
    }

    /// The two neighbouring windows between which the loss falls most, of those between which it falls by more than its noise.
    pub fn steepest(&self) -> Option<Fall> {
        self.steepest_at().map(|(_, fall)| fall)
    }

    /// The rate where the mean of a window is lowest.
    pub fn lowest(&self) -> Option<f64> {
        self.points.iter().min_by(|a, b| a.smooth.total_cmp(&b.smooth)).map(|point| point.rate)
    }

    /// As [`Curve::steepest`], with the step in its middle.
    pub fn steepest_at(&self) -> Option<(usize, Fall)> {
        let losses: Vec<f64> = self.points.iter().map(|point| point.loss).collect();
        let falls = (self.window..(losses.len() + 1).saturating_sub(self.window)).filter_map(|middle| {
            let [before, after] = [middle - self.window..middle, middle..middle + self.window]
                .map(|range| mean_and_error(&losses[range]));
            let error = before[1].hypot(after[1]);
            let fall = Fall { rate: self.points[middle].rate, losses: [before[0], after[0]], error };
            (before[0] - after[0] > SIGNIFICANT_FALL * error).then_some((middle, fall))
        });
        let drop = |fall: &Fall| fall.losses[0] - fall.losses[1];
        falls.max_by(|a, b| drop(&a.1).total_cmp(&drop(&b.1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Stream, StreamId};

    const OPTIONS: RangeOptions = RangeOptions { from: 1e-4, to: 1.0, steps: 100, seeds: 1 };

    #[test]
    fn the_error_of_a_mean_follows_from_jumps_and_not_from_a_trend() {
        let noisy: Vec<f64> = (0..100).map(|i| 5.0 + f64::from(i % 2)).collect();
        let [mean, error] = mean_and_error(&noisy);
        assert!((mean - 5.5).abs() < 1e-12 && (error / (0.5f64 / 100.0).sqrt() - 1.0).abs() < 0.02, "{error}");
        let line: Vec<f64> = (0..100).map(f64::from).collect();
        assert!(mean_and_error(&line)[1] < 1e-12);
        assert_eq!(mean_and_error(&[3.0, 5.0]), [4.0, 0.0]);
    }

    #[test]
    fn the_steepest_fall_is_found_where_there_is_one() {
        let noise = |i: usize| 0.1 * ((12.9898 * i as f64).sin() * 43758.5453).fract();
        let fall = |i: usize| 3.0 - 1.5 * (1.0 + ((i as f64 - 60.0) / 4.0).tanh()) / 2.0;
        let losses: Vec<f64> = (0..100).map(|i| fall(i) + noise(i)).collect();
        let curve = Curve::of(&OPTIONS, &[losses]);
        let found = curve.steepest().unwrap();
        let middle = OPTIONS.rate(60);
        assert!(found.rate / middle < 1.5 && middle / found.rate < 1.5, "{found:?}");
        assert!(found.losses[0] > found.losses[1] && (curve.start - 3.0).abs() < 0.1);
        assert!(curve.lowest().unwrap() > found.rate);
        assert_eq!(Curve::of(&OPTIONS, &[vec![1.0; 3]]).steepest(), None);
        assert!(Curve::of(&OPTIONS, &[Vec::new()]).points.is_empty());
    }

    #[test]
    fn noise_alone_seldom_has_a_fall() {
        let mut stream = Stream::new(3, StreamId::Data(2));
        for steps in [50, 120, 200, 1000] {
            let options = RangeOptions { steps, ..OPTIONS };
            // Sums of twelve uniform numbers are normal ones, about.
            let mut losses = || (0..steps).map(|_| (0..12).map(|_| stream.uniform()).sum::<f64>()).collect();
            let falls = (0..400).filter(|_| Curve::of(&options, &[losses()]).steepest().is_some()).count();
            assert!(falls < 20, "{steps} steps: {falls} of 400 curves");
        }
    }

    #[test]
    fn seeds_are_averaged_and_their_range_is_kept() {
        let curve = Curve::of(&OPTIONS, &[vec![1.0; 100], vec![3.0; 90]]);
        assert_eq!(curve.points.len(), 90, "up to where one diverged");
        let point = curve.points[50];
        assert_eq!((point.loss, point.low, point.high, point.smooth, point.error), (2.0, 1.0, 3.0, 2.0, 0.0));
    }
}

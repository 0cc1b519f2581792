//! The noise of the gradient: how far the gradients of single examples scatter, and the batch size at which that scatter is as
//! large as the gradient itself (McCandlish et al. 2018, "An Empirical Model of Large-Batch Training").
//!
//! An example's part in the gradient ḡ = Σ wᵢ∇ℓᵢ / Σ wᵢ of a batch of B is uᵢ = B·wᵢ∇ℓᵢ / Σ wᵢ, so that ḡ is their mean. From Σ‖uᵢ‖² and
//! ‖ḡ‖² alone follow S, the trace of their covariance, and |G|², the square of the gradient's norm without noise. Both are
//! unbiased; their quotient is not, so they are smoothed apart and divided at the end.

use super::series::NoiseSeries;

/// Steps over which readings are averaged: exponentially, after a plain mean of the first ones. Fewer say little.
pub const STEPS_SETTLED: u64 = 100;

/// How a batch compares with a noise scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// Less than half of it: more examples a step save steps almost in proportion.
    Below,
    /// Of its size.
    About,
    /// More than twice of it: fewer examples a step cost few steps more.
    Above,
}

impl Against {
    /// A batch against a noise scale that lies between `low` and `high`.
    pub fn of(batch: f64, low: f64, high: f64) -> Self {
        if batch < low / 2.0 {
            Self::Below
        } else if batch > 2.0 * high {
            Self::Above
        } else {
            Self::About
        }
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Below => "below",
            Self::About => "about",
            Self::Above => "above",
        }
    }
}

/// What a noise scale is at most: it is given where the smoothed |G|² is not above 0, since noise hides the gradient.
pub const SCALE_MAX: f64 = 1e12;

/// S and |G|².
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Noise {
    /// S = (Σ‖uᵢ‖² − B‖ḡ‖²)/(B − 1): the trace of the covariance of per-example gradients.
    pub trace: f64,
    /// |G|² = ‖ḡ‖² − S·(1/B − 1/N).
    pub signal: f64,
}

impl Noise {
    /// The estimate of a batch of `rows` ≥ 2 examples from Σ‖uᵢ‖² and ‖ḡ‖². `population` is how many examples there are in all to
    /// draw from without replacement; infinite where no two draws of an example are alike.
    pub fn of_batch(example_squares: f64, mean_square: f64, rows: f64, population: f64) -> Self {
        let trace = (example_squares - rows * mean_square) / (rows - 1.0);
        Self { trace, signal: mean_square - trace * (1.0 / rows - 1.0 / population) }
    }

    /// 𝓑 = S/|G|², in examples; [`SCALE_MAX`] where |G|² is not above 0.
    pub fn scale(&self) -> f64 {
        if self.signal > 0.0 { (self.trace / self.signal).clamp(0.0, SCALE_MAX) } else { SCALE_MAX }
    }
}

/// What a step says of the noise in each dense layer, and the smoothed readings of the steps so far.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseReader {
    population: f64,
    steps: u64,
    /// The last step's readings, of each dense layer and then of all together.
    last: Vec<Noise>,
    smoothed: Vec<Noise>,
    /// All dense layers together, over the run.
    series: NoiseSeries,
}

impl NoiseReader {
    /// For so many dense layers, and a population as for [`Noise::of_batch`].
    pub fn new(layers: usize, population: f64) -> Self {
        let none = vec![Noise::default(); if layers == 0 { 0 } else { layers + 1 }];
        Self { population, steps: 0, last: none.clone(), smoothed: none, series: NoiseSeries::default() }
    }

    /// Whether no layer is measured.
    pub fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// Takes in a step: for each dense layer Σ‖wᵢ∇ℓᵢ‖² and the square of the norm of its gradient. `weight` is Σ wᵢ. A batch of one
    /// example says nothing of noise: the readings before it stand. No allocation.
    pub fn push(&mut self, layers: impl Iterator<Item = (f64, f64)>, rows: usize, weight: f64) {
        let rows = rows as f64;
        if rows < 2.0 || weight == 0.0 {
            return;
        }
        let Some((whole, of_layers)) = self.last.split_last_mut() else { return };
        let unit = 1.0 / (weight * weight);
        let mut sums = [0.0; 2];
        for (layer, (squares, gradient)) in of_layers.iter_mut().zip(layers) {
            let (squares, gradient) = (squares * unit * rows * rows, gradient * unit);
            *layer = Noise::of_batch(squares, gradient, rows, self.population);
            sums = [sums[0] + squares, sums[1] + gradient];
        }
        *whole = Noise::of_batch(sums[0], sums[1], rows, self.population);
        if !(whole.trace.is_finite() && whole.signal.is_finite()) {
            return;
        }
        self.series.push(*whole);
        self.steps += 1;
        let share = 1.0 / self.steps.min(STEPS_SETTLED) as f64;
        for (mean, last) in self.smoothed.iter_mut().zip(&self.last) {
            mean.trace += share * (last.trace - mean.trace);
            mean.signal += share * (last.signal - mean.signal);
        }
    }

    /// The last step's readings, of each dense layer and then of all together; none if there are no dense layers.
    pub fn last(&self) -> &[Noise] {
        &self.last
    }

    /// The smoothed readings, as [`NoiseReader::last`].
    pub fn smoothed(&self) -> &[Noise] {
        &self.smoothed
    }

    /// Whether there are steps enough to smooth over.
    pub fn is_settled(&self) -> bool {
        self.steps >= STEPS_SETTLED
    }

    /// The smoothed noise scale of all dense layers together, once there are steps enough to smooth over; none while noise hides
    /// the gradient.
    pub fn scale(&self) -> Option<f64> {
        self.settled_scale().filter(|scale| scale.is_finite())
    }

    /// The same; infinite while noise hides the gradient.
    pub fn settled_scale(&self) -> Option<f64> {
        let whole = self.smoothed.last().filter(|_| self.is_settled())?;
        Some(if whole.signal > 0.0 { whole.scale() } else { f64::INFINITY })
    }

    /// All dense layers together, over the run.
    pub fn series(&self) -> &NoiseSeries {
        &self.series
    }

    /// The state as numbers, for a checkpoint.
    pub fn to_numbers(&self) -> Vec<f64> {
        let all = self.last.iter().chain(&self.smoothed).flat_map(|noise| [noise.trace, noise.signal]);
        std::iter::once(self.steps as f64).chain(all).chain(self.series.to_numbers()).collect()
    }

    /// Goes on from `numbers`; false if their count is not that of so many layers.
    #[must_use]
    pub fn restore(&mut self, numbers: &[f64]) -> bool {
        let Some((steps, rest)) = numbers.split_first() else { return false };
        let Some((rest, series)) = rest.split_at_checked(4 * self.last.len()) else { return false };
        let Some(series) = NoiseSeries::from_numbers(series) else { return false };
        (self.steps, self.series) = (*steps as u64, series);
        for (noise, pair) in self.last.iter_mut().chain(&mut self.smoothed).zip(rest.chunks_exact(2)) {
            *noise = Noise { trace: pair[0], signal: pair[1] };
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Stream, StreamId};

    /// Standard normal numbers by the polar method of Marsaglia.
    fn normal(stream: &mut Stream) -> f64 {
        loop {
            let (u, v) = (2.0 * stream.uniform() - 1.0, 2.0 * stream.uniform() - 1.0);
            let s = u * u + v * v;
            if s > 0.0 && s < 1.0 {
                return u * (-2.0 * s.ln() / s).sqrt();
            }
        }
    }

    /// Gradients G + noise in d dimensions with |G|² = 1 and S = 500.
    fn batch(stream: &mut Stream, rows: usize) -> (f64, f64) {
        const D: usize = 40;
        let (g, sigma) = ((1.0 / D as f64).sqrt(), (500.0 / D as f64).sqrt());
        let (mut squares, mut mean) = (0.0, [0.0; D]);
        for _ in 0..rows {
            for mean in &mut mean {
                let u = g + sigma * normal(stream);
                squares += u * u;
                *mean += u / rows as f64;
            }
        }
        (squares, mean.iter().map(|x| x * x).sum())
    }

    #[test]
    fn the_mean_of_many_batches_is_the_noise_that_was_put_in() {
        let mut stream = Stream::new(7, StreamId::Data(0));
        const DRAWS: usize = 10_000;
        let (mut trace, mut signal) = (0.0, 0.0);
        for _ in 0..DRAWS {
            let (squares, mean) = batch(&mut stream, 64);
            let noise = Noise::of_batch(squares, mean, 64.0, f64::INFINITY);
            trace += noise.trace / DRAWS as f64;
            signal += noise.signal / DRAWS as f64;
        }
        let scale = Noise { trace, signal }.scale();
        assert!((trace / 500.0 - 1.0).abs() < 0.01, "{trace}");
        assert!((scale / 500.0 - 1.0).abs() < 0.1, "{scale}: |G|² of single batches has a spread of 1.7");
    }

    /// Σ‖uᵢ‖² and ‖ḡ‖² of a batch in 1000 dimensions with |G|² = 1 and S = 500, drawn as what they are made of: ḡ itself, with G along
    /// the first axis, and the scatter around it, which is S/d times χ² of (B − 1)d degrees of freedom. Of 63,000 degrees that is
    /// a normal number to far less than its spread.
    fn sums(stream: &mut Stream, rows: f64) -> (f64, f64) {
        const D: usize = 1000;
        let (variance, degrees) = (500.0 / D as f64, (rows - 1.0) * D as f64);
        let spread = (variance / rows).sqrt();
        let mean: f64 = (0..D).map(|i| (f64::from(u8::from(i == 0)) + spread * normal(stream)).powi(2)).sum();
        let scatter = variance * (degrees + (2.0 * degrees).sqrt() * normal(stream));
        (scatter + rows * mean, mean)
    }

    #[test]
    fn ten_thousand_batches_give_the_noise_scale_to_a_hundredth() {
        let mut stream = Stream::new(11, StreamId::Data(0));
        let (mut trace, mut signal, mut uncorrected) = (0.0, 0.0, 0.0);
        for _ in 0..10_000 {
            let (squares, mean) = sums(&mut stream, 64.0);
            let noise = Noise::of_batch(squares, mean, 64.0, f64::INFINITY);
            trace += noise.trace;
            signal += noise.signal;
            uncorrected += mean;
        }
        let scale = trace / signal;
        assert!((scale / 500.0 - 1.0).abs() < 0.01, "{scale}");
        // Without the correction it is the 57 that the literature warns of.
        assert!((trace / uncorrected - 56.7).abs() < 1.0, "{}", trace / uncorrected);
    }

    #[test]
    fn all_of_a_finite_population_has_no_noise_left() {
        // Two examples, u = 1 and u = 3: mean 2, sample variance 2.
        let noise = Noise::of_batch(10.0, 4.0, 2.0, 2.0);
        assert_eq!(noise, Noise { trace: 2.0, signal: 4.0 });
        let open = Noise::of_batch(10.0, 4.0, 2.0, f64::INFINITY);
        assert_eq!(open, Noise { trace: 2.0, signal: 3.0 });
        assert_eq!(open.scale(), 2.0 / 3.0);
        assert_eq!(Noise { trace: 1.0, signal: -0.1 }.scale(), SCALE_MAX);
    }

    #[test]
    fn weights_and_sums_do_not_change_the_noise() {
        // The same two examples: as a mean (wᵢ = 1/2), and as a sum (wᵢ = 1).
        let mut mean = NoiseReader::new(1, f64::INFINITY);
        mean.push([(0.25 * 10.0, 4.0)].into_iter(), 2, 1.0);
        let mut sum = NoiseReader::new(1, f64::INFINITY);
        sum.push([(10.0, 16.0)].into_iter(), 2, 2.0);
        assert_eq!((mean.last(), mean.last()[0]), (sum.last(), Noise { trace: 2.0, signal: 3.0 }));
    }

    #[test]
    fn what_says_nothing_changes_nothing_and_a_state_goes_on() {
        let mut reader = NoiseReader::new(2, 100.0);
        reader.push([(3.0, 1.0), (5.0, 2.0)].into_iter(), 4, 1.0);
        reader.push([(2.0, 1.5), (5.0, 2.0)].into_iter(), 4, 1.0);
        let before = reader.clone();
        reader.push([(9.0, 9.0), (9.0, 9.0)].into_iter(), 1, 1.0);
        reader.push([(f64::NAN, 9.0), (9.0, 9.0)].into_iter(), 4, 0.0);
        assert_eq!(reader, before);
        let mut again = NoiseReader::new(2, 100.0);
        assert!(again.restore(&reader.to_numbers()) && again == reader);
        assert!(!again.restore(&[1.0; 5]) && !again.restore(&[]));
        assert!(NoiseReader::new(0, 1.0).last().is_empty());
        assert_eq!(reader.scale(), None);
        (0..98).for_each(|_| reader.push([(0.3, 1.0), (0.6, 2.0)].into_iter(), 4, 1.0));
        assert!(reader.smoothed()[2].signal > 0.0);
        assert_eq!(reader.scale(), Some(reader.smoothed()[2].scale()));
        assert_eq!(reader.scale(), reader.settled_scale());
        (0..500).for_each(|_| reader.push([(0.1, 0.0), (0.2, 0.0)].into_iter(), 4, 1.0));
        assert_eq!((reader.scale(), reader.settled_scale()), (None, Some(f64::INFINITY)));
    }
}

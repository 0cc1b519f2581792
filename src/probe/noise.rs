//! The noise of the gradient: how far the gradients of single examples scatter, and the batch size at which that scatter is as
//! large as the gradient itself (McCandlish et al. 2018, "An Empirical Model of Large-Batch Training").
//!
//! An example's part in the gradient ḡ = Σ wᵢ∇ℓᵢ / Σ wᵢ of a batch of B is uᵢ = B·wᵢ∇ℓᵢ / Σ wᵢ, so that ḡ is their mean. From Σ‖uᵢ‖² and
//! ‖ḡ‖² alone follow S, the trace of their covariance, and |G|², the square of the gradient's norm without noise. Both are
//! unbiased; their quotient is not, so they are smoothed apart and divided at the end.
//!
//! Where gradients of single examples are not known, the same follows from those of micro-batches (the paper's appendix A.1, for
//! micro-batches of any sizes): sₘ = Σ uᵢ over the nₘ examples of micro-batch m has E‖sₘ‖² = nₘS + nₘ²|G|², so that
//! Σ‖sₘ‖²/nₘ − B‖ḡ‖² is (k − 1)S in the mean over draws, k being how many there are. An example is a micro-batch of one.
//! Both rest on examples being drawn in any order: micro-batches that are sorted by class have another S.

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
    /// S = (Σ‖sₘ‖²/nₘ − B‖ḡ‖²)/(k − 1): the trace of the covariance of per-example gradients.
    pub trace: f64,
    /// |G|² = ‖ḡ‖² − S·(1/B − 1/N).
    pub signal: f64,
}

impl Noise {
    /// The estimate of a batch of `rows` ≥ 2 examples from Σ‖uᵢ‖² and ‖ḡ‖². `population` is how many examples there are in all to
    /// draw from without replacement; infinite where no two draws of an example are alike.
    pub fn of_batch(example_squares: f64, mean_square: f64, rows: f64, population: f64) -> Self {
        Self::of_groups(example_squares, rows, mean_square, rows, population)
    }

    /// The same from Σ‖sₘ‖²/nₘ over `groups` ≥ 2 micro-batches.
    pub fn of_groups(group_squares: f64, groups: f64, mean_square: f64, rows: f64, population: f64) -> Self {
        let trace = (group_squares - rows * mean_square) / (groups - 1.0);
        Self { trace, signal: mean_square - trace * (1.0 / rows - 1.0 / population) }
    }

    /// 𝓑 = S/|G|², in examples; [`SCALE_MAX`] where |G|² is not above 0.
    pub fn scale(&self) -> f64 {
        if self.signal > 0.0 { (self.trace / self.signal).clamp(0.0, SCALE_MAX) } else { SCALE_MAX }
    }
}

/// What a step says of a layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scatter {
    /// Σ‖wᵢ∇ℓᵢ‖² over the examples, or, over micro-batches, the sum of ‖gₘ‖²/nₘ, gₘ being the gradient of one of nₘ examples.
    pub squares: f64,
    /// How many examples or micro-batches these are.
    pub groups: usize,
    /// The square of the norm of the gradient.
    pub gradient: f64,
}

/// What a step says of the noise in each layer, and the smoothed readings of the steps so far.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseReader {
    population: f64,
    steps: u64,
    /// The last step's readings, of each layer and then of all together.
    last: Vec<Noise>,
    smoothed: Vec<Noise>,
    /// All layers together, over the run.
    series: NoiseSeries,
}

impl NoiseReader {
    /// For so many layers, and a population as for [`Noise::of_batch`].
    pub fn new(layers: usize, population: f64) -> Self {
        let none = vec![Noise::default(); if layers == 0 { 0 } else { layers + 1 }];
        Self { population, steps: 0, last: none.clone(), smoothed: none, series: NoiseSeries::default() }
    }

    /// Whether no layer is measured.
    pub fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// Takes in a step of `rows` examples: what it says of each layer. `weight` is Σ wᵢ. A batch of one example, or of one micro-batch
    /// where that is all that some layer has, says nothing of noise: the readings before it stand. No allocation.
    pub fn push(&mut self, layers: impl Iterator<Item = Scatter> + Clone, rows: usize, weight: f64) {
        if rows < 2 || weight == 0.0 || layers.clone().any(|layer| layer.groups < 2) {
            return;
        }
        let Some((whole, of_layers)) = self.last.split_last_mut() else { return };
        let (rows, unit) = (rows as f64, 1.0 / (weight * weight));
        // Both S and |G|² are sums over parameters.
        *whole = Noise::default();
        for (last, layer) in of_layers.iter_mut().zip(layers) {
            let (squares, gradient) = (layer.squares * unit * rows * rows, layer.gradient * unit);
            *last = Noise::of_groups(squares, layer.groups as f64, gradient, rows, self.population);
            whole.trace += last.trace;
            whole.signal += last.signal;
        }
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

    /// The last step's readings, of each layer and then of all together; none if no layer is measured.
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

    /// The smoothed noise scale of all layers together, once there are steps enough to smooth over; none while noise hides
    /// the gradient.
    pub fn scale(&self) -> Option<f64> {
        self.settled_scale().filter(|scale| scale.is_finite())
    }

    /// The same; infinite while noise hides the gradient.
    pub fn settled_scale(&self) -> Option<f64> {
        let whole = self.smoothed.last().filter(|_| self.is_settled())?;
        Some(if whole.signal > 0.0 { whole.scale() } else { f64::INFINITY })
    }

    /// All layers together, over the run.
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

    /// Every order in which `drawn` of these numbers can be drawn.
    fn orders(numbers: &[f64], drawn: usize) -> Vec<Vec<f64>> {
        if drawn == 0 {
            return vec![Vec::new()];
        }
        let with = |i: usize| {
            let rest = [&numbers[..i], &numbers[i + 1..]].concat();
            orders(&rest, drawn - 1).into_iter().map(move |order| [vec![numbers[i]], order].concat())
        };
        (0..numbers.len()).flat_map(with).collect()
    }

    /// Σ‖sₘ‖²/nₘ of neighbours in groups of these sizes; `alike` takes the mean size for each.
    fn group_squares(gradients: &[f64], sizes: &[usize], alike: bool) -> f64 {
        let (mut rest, mean) = (gradients, gradients.len() as f64 / sizes.len() as f64);
        let mut square = |&size: &usize| {
            let (own, behind) = rest.split_at(size);
            rest = behind;
            own.iter().sum::<f64>().powi(2) / if alike { mean } else { size as f64 }
        };
        sizes.iter().map(&mut square).sum()
    }

    /// Over all draws from a finite population, the mean of the estimate is S and |G|² themselves, whatever the micro-batches.
    #[test]
    fn micro_batches_of_any_sizes_are_right_in_the_mean_over_all_draws() {
        const ALL: [f64; 6] = [1.0, -2.0, 4.0, 0.5, 3.0, 7.0];
        let mean = ALL.iter().sum::<f64>() / 6.0;
        let trace = ALL.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 5.0;
        let is_right = |sizes: &[usize], groups: usize, alike: bool| {
            let (rows, draws) = (sizes.iter().sum::<usize>(), orders(&ALL, sizes.iter().sum()));
            let mut found = Noise::default();
            for draw in &draws {
                let square = (draw.iter().sum::<f64>() / rows as f64).powi(2);
                let noise =
                    Noise::of_groups(group_squares(draw, sizes, alike), groups as f64, square, rows as f64, 6.0);
                found.trace += noise.trace / draws.len() as f64;
                found.signal += noise.signal / draws.len() as f64;
            }
            (found.trace / trace - 1.0).abs() < 1e-12 && (found.signal / mean.powi(2) - 1.0).abs() < 1e-12
        };
        for sizes in [&[1, 1, 1, 1][..], &[2, 2], &[2, 1, 1], &[3, 1], &[1, 3], &[2, 2, 1], &[5, 1], &[3, 3]] {
            let (groups, same) = (sizes.len(), sizes.iter().all(|size| *size == sizes[0]));
            assert!(is_right(sizes, groups, false) && !is_right(sizes, groups + 1, false), "{sizes:?}");
            assert_eq!(is_right(sizes, groups, true), same, "{sizes:?}");
        }
    }

    /// McCandlish et al. 2018, A.2 and A.3, where micro-batches are of one size.
    #[test]
    fn micro_batches_of_one_size_are_the_two_batch_sizes_of_the_paper() {
        let gradients = [0.3, -1.0, 2.0, 5.0, 0.25, 1.5];
        let (big, small) = (6.0, 2.0);
        let big_square = (gradients.iter().sum::<f64>() / big).powi(2);
        let small_square = gradients.chunks(2).map(|g| (g.iter().sum::<f64>() / small).powi(2)).sum::<f64>() / 3.0;
        let signal = (big * big_square - small * small_square) / (big - small);
        let trace = (small_square - big_square) / (1.0 / small - 1.0 / big);
        let noise = Noise::of_groups(group_squares(&gradients, &[2, 2, 2], false), 3.0, big_square, big, f64::INFINITY);
        assert!((noise.trace / trace - 1.0).abs() < 1e-12 && (noise.signal / signal - 1.0).abs() < 1e-12, "{noise:?}");
    }

    /// |G|² = 1 and S = 500 again, in micro-batches of 16, 16, 16 and a short one of 5.
    #[test]
    fn short_micro_batches_weigh_as_much_as_they_tell() {
        let mut stream = Stream::new(13, StreamId::Data(0));
        const D: usize = 40;
        const SIZES: [f64; 4] = [16.0, 16.0, 16.0, 5.0];
        const DRAWS: usize = 20_000;
        let (g, sigma) = ((1.0 / D as f64).sqrt(), (500.0 / D as f64).sqrt());
        let mut found = Noise::default();
        for _ in 0..DRAWS {
            let (mut squares, mut mean) = (0.0, 0.0);
            for _ in 0..D {
                let sums = SIZES.map(|n| n * g + n.sqrt() * sigma * normal(&mut stream));
                squares += sums.iter().zip(SIZES).map(|(s, n)| s * s / n).sum::<f64>();
                mean += (sums.iter().sum::<f64>() / 53.0).powi(2);
            }
            let noise = Noise::of_groups(squares, 4.0, mean, 53.0, f64::INFINITY);
            found.trace += noise.trace / DRAWS as f64;
            found.signal += noise.signal / DRAWS as f64;
        }
        assert!((found.trace / 500.0 - 1.0).abs() < 0.01, "{found:?}");
        assert!((found.signal - 1.0).abs() < 0.1, "{found:?}: that of single batches has a spread of 2.6");
    }

    /// Σ‖wᵢ∇ℓᵢ‖² and the square of the gradient's norm of each layer, in so many groups.
    fn layers<const N: usize>(of: [(f64, f64); N], groups: usize) -> impl Iterator<Item = Scatter> + Clone {
        of.into_iter().map(move |(squares, gradient)| Scatter { squares, groups, gradient })
    }

    #[test]
    fn a_layer_by_examples_and_one_by_micro_batches_add_up() {
        let mut reader = NoiseReader::new(2, f64::INFINITY);
        // Gradients 1, 3, 5, 3 of single examples; of the other layer 0, 2, 4, 2, in two micro-batches of two.
        let by_example = Scatter { squares: 44.0 / 16.0, groups: 4, gradient: 9.0 };
        let by_micro = Scatter { squares: (4.0 + 36.0) / 2.0 / 16.0, groups: 2, gradient: 4.0 };
        let both = [by_example, by_micro];
        reader.push(both.into_iter(), 4, 1.0);
        let of = |trace: f64, mean: f64| Noise { trace, signal: mean - trace / 4.0 };
        assert_eq!(reader.last(), [of(8.0 / 3.0, 9.0), of(4.0, 4.0), of(8.0 / 3.0 + 4.0, 13.0)]);
        let before = reader.clone();
        reader.push([by_example, Scatter { groups: 1, ..by_micro }].into_iter(), 4, 1.0);
        assert_eq!(reader, before, "one micro-batch says nothing");
    }

    #[test]
    fn weights_and_sums_do_not_change_the_noise() {
        // The same two examples: as a mean (wᵢ = 1/2), and as a sum (wᵢ = 1).
        let mut mean = NoiseReader::new(1, f64::INFINITY);
        mean.push(layers([(0.25 * 10.0, 4.0)], 2), 2, 1.0);
        let mut sum = NoiseReader::new(1, f64::INFINITY);
        sum.push(layers([(10.0, 16.0)], 2), 2, 2.0);
        assert_eq!((mean.last(), mean.last()[0]), (sum.last(), Noise { trace: 2.0, signal: 3.0 }));
    }

    #[test]
    fn what_says_nothing_changes_nothing_and_a_state_goes_on() {
        let mut reader = NoiseReader::new(2, 100.0);
        reader.push(layers([(3.0, 1.0), (5.0, 2.0)], 4), 4, 1.0);
        reader.push(layers([(2.0, 1.5), (5.0, 2.0)], 4), 4, 1.0);
        let before = reader.clone();
        reader.push(layers([(9.0, 9.0), (9.0, 9.0)], 1), 1, 1.0);
        reader.push(layers([(f64::NAN, 9.0), (9.0, 9.0)], 4), 4, 0.0);
        reader.push(layers([(9.0, 9.0), (9.0, 9.0)], 1), 4, 1.0);
        assert_eq!(reader, before);
        let mut again = NoiseReader::new(2, 100.0);
        assert!(again.restore(&reader.to_numbers()) && again == reader);
        assert!(!again.restore(&[1.0; 5]) && !again.restore(&[]));
        assert!(NoiseReader::new(0, 1.0).last().is_empty());
        assert_eq!(reader.scale(), None);
        (0..98).for_each(|_| reader.push(layers([(0.3, 1.0), (0.6, 2.0)], 4), 4, 1.0));
        assert!(reader.smoothed()[2].signal > 0.0);
        assert_eq!(reader.scale(), Some(reader.smoothed()[2].scale()));
        assert_eq!(reader.scale(), reader.settled_scale());
        (0..500).for_each(|_| reader.push(layers([(0.1, 0.0), (0.2, 0.0)], 4), 4, 1.0));
        assert_eq!((reader.scale(), reader.settled_scale()), (None, Some(f64::INFINITY)));
    }
}

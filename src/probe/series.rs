//! A series of any length in little memory: means of neighbouring steps, in blocks that grow as the series does.

use super::noise::Noise;

/// Blocks at most. When so many are full, neighbours are joined.
const BLOCKS: usize = 64;

/// S and |G|² over a run, in at most 64 blocks of equally many steps.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseSeries {
    /// Means of S and |G|².
    blocks: Vec<(f64, f64)>,
    /// Steps of a block.
    len: u64,
    /// The sums of the block that is not full, and its steps.
    open: (f64, f64, u64),
}

impl Default for NoiseSeries {
    fn default() -> Self {
        Self { blocks: Vec::with_capacity(BLOCKS), len: 1, open: (0.0, 0.0, 0) }
    }
}

impl NoiseSeries {
    /// Takes in a step. No allocation.
    pub(super) fn push(&mut self, noise: Noise) {
        let (trace, signal, steps) = self.open;
        self.open = (trace + noise.trace, signal + noise.signal, steps + 1);
        if self.open.2 < self.len {
            return;
        }
        let share = 1.0 / self.len as f64;
        self.blocks.push((self.open.0 * share, self.open.1 * share));
        self.open = (0.0, 0.0, 0);
        if self.blocks.len() == BLOCKS {
            for i in 0..BLOCKS / 2 {
                let (a, b) = (self.blocks[2 * i], self.blocks[2 * i + 1]);
                self.blocks[i] = (0.5 * (a.0 + b.0), 0.5 * (a.1 + b.1));
            }
            self.blocks.truncate(BLOCKS / 2);
            self.len *= 2;
        }
    }

    /// The later half of the run, as means of S and |G|² over neighbouring steps, and how many steps these are.
    pub fn later_half(&self) -> (&[(f64, f64)], u64) {
        let half = &self.blocks[self.blocks.len() / 2..];
        (half, half.len() as u64 * self.len)
    }

    /// The state as numbers.
    pub(super) fn to_numbers(&self) -> impl Iterator<Item = f64> + '_ {
        let head = [self.len as f64, self.open.0, self.open.1, self.open.2 as f64];
        head.into_iter().chain(self.blocks.iter().flat_map(|&(trace, signal)| [trace, signal]))
    }

    /// The series of such numbers, if they are ones.
    pub(super) fn from_numbers(numbers: &[f64]) -> Option<Self> {
        let (&[len, trace, signal, steps], blocks) = numbers.split_first_chunk()?;
        let mut series = Self { len: len as u64, open: (trace, signal, steps as u64), ..Self::default() };
        let fits = len >= 1.0 && steps < len && blocks.len() % 2 == 0 && blocks.len() < 2 * BLOCKS;
        series.blocks.extend(blocks.chunks_exact(2).take(BLOCKS).map(|pair| (pair[0], pair[1])));
        fits.then_some(series)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_half_of_a_run_of_any_length_is_kept_as_block_means() {
        for steps in [1u64, 10, 63, 64, 65, 1000, 12_345] {
            let mut series = NoiseSeries::default();
            (0..steps).for_each(|i| series.push(Noise { trace: i as f64, signal: 2.0 * i as f64 }));
            let (half, covered) = series.later_half();
            let count = half.len() as f64;
            assert!(half.len() <= 32 && (steps < 20 || half.len() >= 10), "{steps}: {} blocks", half.len());
            // The steps that they are of end with the last whole block, and the means are those of these steps.
            let whole = (steps - series.open.2) as f64;
            assert!((covered as f64 / steps as f64 - 0.5).abs() <= 0.5 / count + 0.05, "{covered} of {steps}");
            let (first, mean) = (whole - covered as f64, half.iter().map(|pair| pair.0).sum::<f64>() / count);
            assert!((mean - (first + whole - 1.0) / 2.0).abs() < 1e-9, "{steps}: {mean}");
            assert!(half.iter().all(|pair| pair.1 == 2.0 * pair.0));
            let numbers: Vec<f64> = series.to_numbers().collect();
            assert_eq!(NoiseSeries::from_numbers(&numbers).as_ref(), Some(&series));
            assert_eq!(NoiseSeries::from_numbers(&numbers[..numbers.len() - 1]), None);
        }
        assert_eq!(NoiseSeries::from_numbers(&[0.0, 0.0, 0.0, 0.0]), None);
    }
}

//! Dead units and saturated activations, layer by layer, for those who judge a run.

/// Steps over which saturation is averaged: exponentially, after a plain mean of the first ones.
const WINDOW: f64 = 50.0;

/// The readings of the steps so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UnitsReader {
    steps: u64,
    /// Steps before which no unit can have come to the age of the dead.
    window: u64,
    /// Of each layer whose activation can leave units dead, as the last step says; it looks at a window of steps already.
    dead: Vec<f64>,
    /// Of each layer whose activation saturates, smoothed.
    saturated: Vec<f64>,
}

impl UnitsReader {
    /// For so many layers of each sort.
    pub(super) fn new(window: u32, rectified: usize, bounded: usize) -> Self {
        Self { steps: 0, window: u64::from(window), dead: vec![0.0; rectified], saturated: vec![0.0; bounded] }
    }

    /// Takes in a step: shares of dead units, then of saturated activations. No allocation.
    #[inline]
    pub(super) fn push(&mut self, shares: &[f64]) {
        let (dead, saturated) = shares.split_at(self.dead.len());
        self.steps += 1;
        self.dead.copy_from_slice(dead);
        if !saturated.is_empty() {
            let weight = 1.0 / (self.steps as f64).min(WINDOW);
            self.saturated.iter_mut().zip(saturated).for_each(|(mean, x)| *mean += weight * (x - *mean));
        }
    }

    /// The share of dead units of each layer whose activation can leave units dead; none before a window of
    /// steps is over.
    pub fn dead(&self) -> Option<&[f64]> {
        (self.steps > self.window).then_some(&self.dead)
    }

    /// The share of saturated activations of each layer whose activation saturates, averaged over 50 steps.
    pub fn saturated(&self) -> Option<&[f64]> {
        (self.steps > 0).then_some(&self.saturated)
    }

    /// For a checkpoint.
    pub(super) fn to_numbers(&self) -> Vec<f64> {
        std::iter::once(self.steps as f64).chain(self.dead.iter().chain(&self.saturated).copied()).collect()
    }

    /// Goes on from there; false if it is of another model.
    pub(super) fn restore(&mut self, numbers: &[f64]) -> bool {
        let Some((steps, shares)) = numbers.split_first() else { return false };
        if shares.len() != self.dead.len() + self.saturated.len() {
            return false;
        }
        let (dead, saturated) = shares.split_at(self.dead.len());
        self.steps = *steps as u64;
        self.dead.copy_from_slice(dead);
        self.saturated.copy_from_slice(saturated);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saturation_is_averaged_and_death_is_not() {
        let mut units = UnitsReader::new(1, 1, 1);
        assert_eq!((units.dead(), units.saturated()), (None, None));
        units.push(&[0.25, 1.0]);
        assert_eq!(units.dead(), None, "the window is not over");
        units.push(&[0.5, 0.0]);
        assert_eq!((units.dead(), units.saturated()), (Some(&[0.5][..]), Some(&[0.5][..])));
        (0..500).for_each(|_| units.push(&[0.5, 0.125]));
        assert!((units.saturated().unwrap()[0] - 0.125).abs() < 1e-4);
        let mut again = UnitsReader::new(1, 1, 1);
        assert!(again.restore(&units.to_numbers()) && again == units && !again.restore(&[1.0]) && !again.restore(&[]));
    }
}

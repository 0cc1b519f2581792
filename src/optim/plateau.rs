//! A learning rate that falls when the loss has stopped to fall, as `torch.optim.lr_scheduler.ReduceLROnPlateau` has it (mode `min`,
//! threshold mode `rel`), which in addition can ask that an improvement stands out of the noise of the loss.
//!
//! An improvement on the best loss so far counts if loss < best·(1 − threshold) and best − loss > z·SE. SE is the standard error of
//! best − loss:
//!
//! - of validation losses it is that of the mean of the differences of each example's loss, √(Σ(dᵢ − d̄)²/(n − 1)/n), since both are
//!   losses of the same examples (a paired comparison);
//! - of mean training losses over n steps each it is √(SE₁² + SE₂²), where SE² = Σ(ℓₜ₊₁ − ℓₜ)²/(2(n − 1)n): half the mean square of
//!   the jump between neighbours is the variance of a step's loss, and a trend over the steps hardly enters it (von Neumann 1941).
//!
//! An improvement too small to count leaves the best loss where it was, so that many small ones count in the end.

use crate::config::{self, Piece, PlateauOf};

/// A plateau rule and what it remembers.
#[derive(Clone, Debug, PartialEq)]
pub struct Plateau {
    /// What the rule watches.
    pub of: PlateauOf,
    /// Steps over which the training loss is averaged; those of an epoch if not set.
    pub steps: Option<u64>,
    factor: f64,
    patience: u64,
    threshold: f64,
    cooldown: u64,
    min: f64,
    noise: f64,
    state: State,
    open: Window,
    /// The examples' losses of the best validation, where noise is asked for.
    losses: Vec<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct State {
    /// What the rate is multiplied by.
    rate: f64,
    best: f64,
    /// The standard error of the best loss, of training losses.
    best_error: f64,
    /// Losses in a row that were no improvement.
    bad: u64,
    /// Losses that are still not counted.
    cooling: u64,
}

/// Losses of neighbouring steps.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Window {
    steps: u64,
    sum: f64,
    /// Σ(ℓₜ₊₁ − ℓₜ)².
    jumps: f64,
    last: f64,
}

impl Window {
    fn push(&mut self, loss: f64) {
        if self.steps > 0 {
            self.jumps += (loss - self.last).powi(2);
        }
        (self.steps, self.sum, self.last) = (self.steps + 1, self.sum + loss, loss);
    }

    fn mean(&self) -> f64 {
        self.sum / self.steps as f64
    }

    /// The standard error of the mean; 0 for fewer than two steps.
    fn error(&self) -> f64 {
        let n = self.steps as f64;
        if self.steps < 2 { 0.0 } else { (self.jumps / (2.0 * (n - 1.0)) / n).sqrt() }
    }
}

/// Numbers of a state before those of its losses.
const NUMBERS: usize = 9;

impl Plateau {
    /// The rule of a schedule, if it has one.
    pub fn of(schedule: &config::Schedule) -> Option<Self> {
        schedule.pieces.iter().find_map(|piece| match *piece {
            Piece::Plateau { factor, patience, threshold, cooldown, min, of, steps, noise } => Some(Self {
                of,
                steps,
                factor,
                patience,
                threshold,
                cooldown,
                min,
                noise,
                state: State { rate: 1.0, best: f64::INFINITY, best_error: 0.0, bad: 0, cooling: 0 },
                open: Window::default(),
                losses: Vec::new(),
            }),
            _ => None,
        })
    }

    /// What the rate is multiplied by.
    pub fn factor(&self) -> f64 {
        self.state.rate
    }

    /// Takes in the losses of the validation examples, if these are what it watches.
    pub fn push_validation(&mut self, losses: &[f64]) {
        if self.of != PlateauOf::Validation || losses.is_empty() {
            return;
        }
        let mean = losses.iter().sum::<f64>() / losses.len() as f64;
        let error = if self.losses.len() == losses.len() { paired_error(&self.losses, losses) } else { 0.0 };
        if self.push(mean, error) && self.noise > 0.0 {
            self.losses.clear();
            self.losses.extend_from_slice(losses);
        }
    }

    /// Takes in the loss of a training step. No allocation.
    pub fn push_step(&mut self, loss: f64) {
        if self.of == PlateauOf::Train {
            self.open.push(loss);
        }
    }

    /// Ends a stretch of training steps.
    pub fn end_stretch(&mut self) {
        if self.of != PlateauOf::Train || self.open.steps == 0 {
            return;
        }
        let window = std::mem::take(&mut self.open);
        let error = window.error();
        if self.push(window.mean(), error.hypot(self.state.best_error)) {
            self.state.best_error = error;
        }
    }

    /// Takes in a loss; `error` is the standard error of its difference to the best. Whether it is the best now.
    fn push(&mut self, loss: f64, error: f64) -> bool {
        let state = &mut self.state;
        // The first loss is an improvement on infinity, which no error speaks of.
        let stands_out = self.noise == 0.0 || state.best - loss > self.noise * error;
        let is_better = loss < state.best * (1.0 - self.threshold) && stands_out;
        if is_better {
            (state.best, state.bad) = (loss, 0);
        } else {
            state.bad += 1;
        }
        if state.cooling > 0 {
            (state.cooling, state.bad) = (state.cooling - 1, 0);
        }
        if state.bad > self.patience {
            state.rate = (state.rate * self.factor).max(self.min);
            (state.cooling, state.bad) = (self.cooldown, 0);
        }
        is_better
    }

    /// The state as numbers, for a checkpoint.
    pub fn to_numbers(&self) -> Vec<f64> {
        let State { rate, best, best_error, bad, cooling } = self.state;
        let Window { steps, sum, jumps, last } = self.open;
        let head = [rate, best, best_error, bad as f64, cooling as f64, steps as f64, sum, jumps, last];
        head.into_iter().chain(self.losses.iter().copied()).collect()
    }

    /// Goes on from `numbers`; false if they are too few.
    #[must_use]
    pub fn restore(&mut self, numbers: &[f64]) -> bool {
        let Some((head, losses)) = numbers.split_first_chunk::<NUMBERS>() else { return false };
        let &[rate, best, best_error, bad, cooling, steps, sum, jumps, last] = head;
        self.state = State { rate, best, best_error, bad: bad as u64, cooling: cooling as u64 };
        self.open = Window { steps: steps as u64, sum, jumps, last };
        self.losses = losses.to_vec();
        true
    }
}

/// The standard error of the mean of aᵢ − bᵢ.
fn paired_error(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let mean = a.iter().zip(b).map(|(a, b)| a - b).sum::<f64>() / n;
    let squares = a.iter().zip(b).map(|(a, b)| (a - b - mean).powi(2)).sum::<f64>();
    if a.len() < 2 { 0.0 } else { (squares / (n - 1.0) / n).sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plateau(of: PlateauOf, noise: f64) -> Plateau {
        let piece =
            Piece::Plateau { factor: 0.5, patience: 1, threshold: 0.0, cooldown: 0, min: 0.0, of, steps: None, noise };
        Plateau::of(&config::Schedule { pieces: vec![Piece::Constant, piece] }).unwrap()
    }

    #[test]
    fn a_difference_within_its_error_is_no_improvement() {
        // Differences of 0.1 ± 0.1·√2/√2: d̄ = 0.1, SE = 0.1.
        let (first, second) = ([1.0, 1.0], [1.0, 0.8]);
        assert!((paired_error(&first, &second) - 0.1).abs() < 1e-15);
        for (noise, best, bad) in [(0.0, 0.9, 0), (0.9, 0.9, 0), (1.1, 1.0, 1)] {
            let mut plateau = plateau(PlateauOf::Validation, noise);
            [first, second, second, first].iter().for_each(|losses| plateau.push_validation(losses));
            // Two in a row were no improvement: the last two, or the second and the third.
            assert_eq!((plateau.factor(), plateau.state.best, plateau.state.bad), (0.5, best, bad), "{noise}");
        }
        // All examples improve alike: however little, that is no noise.
        let mut plateau = plateau(PlateauOf::Validation, 2.0);
        (0..50).for_each(|i| plateau.push_validation(&[1.0 - 1e-3 * f64::from(i), 3.0 - 1e-3 * f64::from(i)]));
        assert_eq!(plateau.factor(), 1.0);
    }

    #[test]
    fn the_error_of_a_stretch_of_steps_is_that_of_its_mean_and_leaves_out_its_trend() {
        let mut window = Window::default();
        // Alternating by 2: half the mean square of the jumps is 2, the variance of ±1 is 1.
        (0..100).for_each(|i| window.push(if i % 2 == 0 { 1.0 } else { 3.0 }));
        assert!((window.error() - (2.0f64 / 100.0).sqrt()).abs() < 1e-12 && window.mean() == 2.0);
        let mut trend = Window::default();
        (0..100).for_each(|i| trend.push(f64::from(i)));
        assert!((trend.error() - (0.5f64 / 100.0).sqrt()).abs() < 1e-12, "29 is the standard deviation");
        let mut plateau = plateau(PlateauOf::Train, 2.0);
        let stretch = |plateau: &mut Plateau, level: f64| {
            (0..100).for_each(|i| plateau.push_step(level + f64::from(i % 2)));
            plateau.end_stretch();
        };
        // A stretch has an error of √(0.5/100), a difference of two 0.1; three times 0.15 are the least that counts twice.
        stretch(&mut plateau, 10.0);
        stretch(&mut plateau, 9.85);
        assert_eq!((plateau.state.bad, plateau.state.best), (1, 10.5));
        stretch(&mut plateau, 9.70);
        let best = plateau.state.best;
        assert!(plateau.state.bad == 0 && (best - 10.2).abs() < 1e-9, "small improvements add up: {best}");
        plateau.push_validation(&[1.0]);
        assert_eq!(plateau.state.best, best, "it does not watch the validation");
    }

    #[test]
    fn a_state_goes_on_and_what_is_none_is_refused() {
        for of in [PlateauOf::Validation, PlateauOf::Train] {
            let mut plateau = plateau(of, 1.0);
            let more = |plateau: &mut Plateau, from: i32| {
                for i in from..from + 7 {
                    plateau.push_step(f64::from(i).sin());
                    plateau.push_validation(&[f64::from(i).cos(), 1.0]);
                    if i % 3 == 0 {
                        plateau.end_stretch();
                    }
                }
            };
            more(&mut plateau, 0);
            let mut again = Plateau { state: State { rate: 0.1, ..plateau.state }, ..plateau.clone() };
            assert!(again.restore(&plateau.to_numbers()) && again == plateau);
            more(&mut plateau, 7);
            more(&mut again, 7);
            assert_eq!(again, plateau);
            assert!(!again.restore(&[1.0; 8]) && !again.restore(&[]));
        }
        assert_eq!(Plateau::of(&config::Schedule { pieces: vec![Piece::Constant] }), None);
    }

    #[test]
    fn a_loss_that_is_no_number_is_no_improvement() {
        let mut plateau = plateau(PlateauOf::Validation, 2.0);
        [1.0, f64::NAN, f64::NAN].iter().for_each(|&loss| plateau.push_validation(&[loss]));
        assert_eq!((plateau.factor(), plateau.state.best), (0.5, 1.0));
    }
}

//! Readings to verdicts: what they say about each layer, with the evidence. No I/O, no device.
//!
//! The rules are scale-free: they compare layers with each other along depth, and a layer with its own past; a gradient
//! that is small everywhere is no fault, it is what convergence looks like.
//!
//! | finding | when |
//! |---|---|
//! | `vanishing` | less than 2e-3 of the last layer's signal arrives at the layer |
//! | `exploding` | more than 500 times the last layer's signal arrives at it |
//! | `converged` | the smoothed loss is below 5 % of its start, and the signal of the last layer below its own |
//! | `healthy` | none of these |
//!
//! Signals and loss are averaged over 50 steps, signals by their logarithms.

use serde::Serialize;

/// What is the matter with a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// The backpropagated signal shrinks towards the input until the first layers hardly learn.
    Vanishing,
    /// The backpropagated signal grows towards the input until the first layers drown the others.
    Exploding,
    /// The loss and the signal have fallen together: there is little left to learn.
    Converged,
    /// None of these.
    Healthy,
}

impl Finding {
    /// The word for tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Vanishing => "vanishing",
            Self::Exploding => "exploding",
            Self::Converged => "converged",
            Self::Healthy => "healthy",
        }
    }

    /// Whether it is a fault, not a state to be in.
    pub fn is_fault(self) -> bool {
        matches!(self, Self::Vanishing | Self::Exploding)
    }
}

/// A verdict on one layer, with the numbers that convinced it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// The layer's name.
    pub layer: String,
    /// What is the matter.
    pub finding: Finding,
    /// ‖δ_l‖ / ‖δ_{l+1}‖: what the signal is multiplied with on its way from the next layer to this one; 1 for the last.
    pub factor: f64,
    /// ‖δ_l‖ / ‖δ_L‖: how much of the last layer's signal arrives here.
    pub arriving: f64,
    /// A sentence for people.
    pub because: String,
}

/// Less than this share of the last layer's signal arriving counts as vanishing. Between the healthy nets of common depth
/// (three ReLU layers with U(±1/√n) pass on 0.408² ≈ 0.17) and the weakest faulty one known to fail to train (five sigmoid
/// layers, 4e-4) lies 1e-2 by geometric mean; 2e-3 leaves room for narrow layers, whose ratios scatter.
const VANISHING_BELOW: f64 = 2e-3;

/// The mirror image.
const EXPLODING_ABOVE: f64 = 1.0 / VANISHING_BELOW;

/// Converged: the smoothed loss has fallen below this share of its start, and the last layer's signal with it. A classifier
/// at this share predicts its training batches with e^{-0.05·ln 10} ≈ 0.9 probability or better for ten classes.
const CONVERGED_BELOW: f64 = 0.05;

/// Steps over which readings are averaged.
const WINDOW: f64 = 50.0;

/// The readings of a run so far, smoothed: what verdicts are made from.
#[derive(Clone, Debug)]
pub struct History {
    names: Vec<String>,
    /// Smoothed ln ‖δ_l‖; −∞ once a signal was exactly 0.
    log_signal: Vec<f64>,
    loss_start: f64,
    loss: f64,
    last_signal_start: f64,
    steps: u64,
}

impl History {
    /// No readings yet, for layers of these names, first layer first.
    pub fn new(names: Vec<String>) -> Self {
        let log_signal = vec![0.0; names.len()];
        Self { names, log_signal, loss_start: 0.0, loss: 0.0, last_signal_start: 0.0, steps: 0 }
    }

    /// Takes in one step: its loss and ‖δ_l‖ of every layer. No allocation.
    pub fn push(&mut self, loss: f64, signal: &[f64]) {
        if !loss.is_finite() || signal.iter().any(|x| !x.is_finite()) {
            return;
        }
        self.steps += 1;
        // A running mean at first, exponential from one window on.
        let share = 1.0 / (self.steps as f64).min(WINDOW);
        for (mean, &x) in self.log_signal.iter_mut().zip(signal) {
            let log = ln(x);
            *mean = if self.steps == 1 { log } else { *mean + share * (log - *mean) };
            if mean.is_nan() {
                *mean = f64::NEG_INFINITY;
            }
        }
        self.loss = if self.steps == 1 { loss } else { self.loss + share * (loss - self.loss) };
        if self.steps == 1 {
            self.loss_start = loss;
            self.last_signal_start = signal.last().copied().unwrap_or(0.0);
        }
    }

    /// The state as numbers, for a checkpoint.
    pub fn to_numbers(&self) -> Vec<f64> {
        let head = [self.steps as f64, self.loss_start, self.loss, self.last_signal_start];
        head.into_iter().chain(self.log_signal.iter().copied()).collect()
    }

    /// The history that gave `numbers`, for layers of these names; none if their count is not that of so many layers.
    pub fn from_numbers(names: Vec<String>, numbers: &[f64]) -> Option<Self> {
        let ([steps, loss_start, loss, last_signal_start], log_signal) = numbers.split_first_chunk::<4>()?;
        (log_signal.len() == names.len()).then(|| Self {
            names,
            log_signal: log_signal.to_vec(),
            loss_start: *loss_start,
            loss: *loss,
            last_signal_start: *last_signal_start,
            steps: *steps as u64,
        })
    }

    /// The names of the layers, first layer first.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How many steps were taken in.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// What the readings say about each layer. Empty before the first step.
    pub fn verdicts(&self) -> Vec<Verdict> {
        if self.steps == 0 || self.names.is_empty() {
            return Vec::new();
        }
        let last = self.log_signal[self.log_signal.len() - 1];
        let loss_share = self.loss / self.loss_start;
        let signal_share = last.exp() / self.last_signal_start;
        let converged = self.loss_start > 0.0 && loss_share < CONVERGED_BELOW && signal_share < 1.0;
        let layers = self.names.iter().zip(&self.log_signal).enumerate();
        layers
            .map(|(l, (name, &log))| {
                let arriving = ratio(log, last);
                let factor = self.log_signal.get(l + 1).map_or(1.0, |&next| ratio(log, next));
                let (finding, because) = judge(converged, arriving, loss_share);
                Verdict { layer: name.clone(), finding, factor, arriving, because }
            })
            .collect()
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

/// e^(a − b), where two vanished signals have ratio 1.
fn ratio(a: f64, b: f64) -> f64 {
    if a == b { 1.0 } else { (a - b).exp() }
}

fn judge(converged: bool, arriving: f64, loss_share: f64) -> (Finding, String) {
    if converged {
        return (
            Finding::Converged,
            format!("the loss fell to {:.1} % of its start and the signal with it", 100.0 * loss_share),
        );
    }
    if arriving < VANISHING_BELOW {
        let because =
            format!("only {arriving:.1e} of the last layer's signal arrives here, less than {VANISHING_BELOW:.0e}");
        return (Finding::Vanishing, because);
    }
    if arriving > EXPLODING_ABOVE {
        let because = format!("the signal is {arriving:.1e} times the last layer's, more than {EXPLODING_ABOVE:.0}");
        return (Finding::Exploding, because);
    }
    (Finding::Healthy, format!("{arriving:.2} of the last layer's signal arrives here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(steps: &[(f64, [f64; 3])]) -> Vec<Finding> {
        let mut history = History::new(vec!["0".into(), "2".into(), "4".into()]);
        steps.iter().for_each(|(loss, signal)| history.push(*loss, signal));
        history.verdicts().into_iter().map(|verdict| verdict.finding).collect()
    }

    #[test]
    fn ratios_along_depth_decide_not_sizes() {
        use Finding::{Exploding, Healthy, Vanishing};
        for scale in [1e-12, 1.0, 1e9] {
            let run = |first: f64, middle: f64| findings(&[(2.3, [first * scale, middle * scale, scale]); 5]);
            assert_eq!(run(0.5, 0.7), [Healthy; 3]);
            assert_eq!(run(1e-4, 0.05), [Vanishing, Healthy, Healthy]);
            assert_eq!(run(1e5, 1e3), [Exploding, Exploding, Healthy]);
        }
    }

    #[test]
    fn convergence_is_not_taken_for_vanishing() {
        let mut steps = vec![(2.3, [0.3, 0.5, 1.0]); 1];
        steps.extend((0..400).map(|i| {
            let share = 0.98f64.powi(i);
            (2.3 * share, [1e-4 * share, 0.5 * share, share])
        }));
        assert_eq!(findings(&steps), [Finding::Converged; 3]);
    }

    #[test]
    fn quick_logarithms_are_logarithms() {
        for x in [
            0.0,
            5e-324,
            1e-300,
            1e-20,
            0.1,
            0.999_999,
            1.0,
            1.000_001,
            std::f64::consts::SQRT_2 - 1e-9,
            std::f64::consts::SQRT_2 + 1e-9,
            1.999_999,
            2.5,
            1e30,
            1e300,
        ] {
            let (quick, exact) = (ln(x), x.ln());
            assert!(quick == exact || (quick - exact).abs() <= 4e-6 * exact.abs().max(1.0), "{x}: {quick} {exact}");
        }
    }

    #[test]
    fn a_signal_of_zero_has_vanished() {
        assert_eq!(findings(&[(2.3, [0.0, 0.1, 1.0]); 3])[0], Finding::Vanishing);
    }

    #[test]
    fn a_history_survives_a_checkpoint() {
        let names = || vec!["0".to_owned(), "2".to_owned()];
        let mut history = History::new(names());
        let push = |history: &mut History, i: u32| history.push(2.0 / f64::from(i), &[0.0, 0.7 / f64::from(i)]);
        (1..70).for_each(|i| push(&mut history, i));
        let mut again = History::from_numbers(names(), &history.to_numbers()).unwrap();
        (70..90).for_each(|i| [&mut history, &mut again].into_iter().for_each(|it| push(it, i)));
        assert_eq!((again.verdicts(), again.steps()), (history.verdicts(), 89));
        assert!(History::from_numbers(names(), &[1.0; 5]).is_none() && History::from_numbers(names(), &[]).is_none());
    }

    #[test]
    fn nothing_is_said_before_the_first_step() {
        assert!(findings(&[]).is_empty());
    }
}

//! The largest rate that is stable when it is held, by bisection.

use super::curve::{Curve, mean_and_error};
use super::{RangeOptions, SIGNIFICANT};
use crate::base::Result;
use serde::Serialize;

/// The largest stable rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Stable {
    /// The rate.
    pub rate: f64,
    /// The next one, which is not stable; none if there is none on the grid.
    pub next: Option<f64>,
}

/// A rate that was held.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// The rate.
    pub rate: f64,
    /// The mean loss of the last quarter of the steps, for each seed that was run; none if it was not finite.
    pub losses: Vec<Option<f64>>,
    /// Whether all of them lie below the start by more than noise.
    pub is_stable: bool,
}

/// Holds rates from that of the steepest fall on. `hold` gives the losses of a seed at a rate, as many as were finite.
pub(super) fn search(
    options: &RangeOptions,
    curve: &Curve,
    seeds: &[u64],
    hold: &mut dyn FnMut(u64, f64) -> Result<Vec<f64>>,
) -> Result<(Option<Stable>, Vec<Trial>)> {
    let Some((middle, _)) = curve.steepest_at() else { return Ok((None, Vec::new())) };
    let mut trials = Vec::new();
    let mut is_stable = |step: usize| -> Result<bool> {
        let trial = trial(options, curve, seeds, options.rate(step), hold)?;
        let stable = trial.is_stable;
        trials.push(trial);
        Ok(stable)
    };
    // What falls fastest in passing may be too much to stay at: then down by factors, as far as there are rates.
    let (mut low, mut high) = (middle, None);
    while !is_stable(low)? {
        if low == 0 {
            return Ok((None, trials));
        }
        high = Some(low);
        low = low.saturating_sub(options.window());
    }
    let last = options.steps - 1;
    let mut high = match high {
        Some(high) => high,
        None if low == last || is_stable(last)? => {
            return Ok((Some(Stable { rate: options.rate(last), next: None }), trials));
        }
        None => last,
    };
    while high - low > 1 {
        let middle = low.midpoint(high);
        if is_stable(middle)? {
            low = middle;
        } else {
            high = middle;
        }
    }
    trials.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    Ok((Some(Stable { rate: options.rate(low), next: Some(options.rate(high)) }), trials))
}

/// Holds a rate for every seed, up to the first that is not stable.
fn trial(
    options: &RangeOptions,
    curve: &Curve,
    seeds: &[u64],
    rate: f64,
    hold: &mut dyn FnMut(u64, f64) -> Result<Vec<f64>>,
) -> Result<Trial> {
    let mut trial = Trial { rate, losses: Vec::new(), is_stable: true };
    for &seed in seeds {
        let losses = hold(seed, rate)?;
        if losses.len() < options.steps {
            trial.losses.push(None);
            trial.is_stable = false;
            break;
        }
        let [end, error] = mean_and_error(&losses[losses.len() - options.steps / 4..]);
        trial.losses.push(Some(end));
        // Of one seed, the start has the scatter of its own steps alone.
        if curve.start - end <= SIGNIFICANT * error.hypot(curve.start_error) {
            trial.is_stable = false;
            break;
        }
    }
    Ok(trial)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: RangeOptions = RangeOptions { from: 1e-3, to: 10.0, steps: 100, seeds: 2 };

    /// A curve that falls about the middle.
    fn curve() -> Curve {
        Curve::of(&OPTIONS, &[(0..100).map(|i| if i < 40 { 2.0 } else { 1.0 }).collect()])
    }

    /// Losses that go to 1 below a rate, and beyond all bounds above it.
    fn until(limit: f64) -> impl FnMut(u64, f64) -> Result<Vec<f64>> {
        move |_, rate| Ok(if rate <= limit { vec![1.0; 100] } else { vec![1.0; 7] })
    }

    #[test]
    fn the_largest_stable_rate_is_found_to_the_next_of_the_grid() {
        for limit in [0.0021, 0.05, 0.3, 4.0, 9.9] {
            let (found, trials) = search(&OPTIONS, &curve(), &[1, 2], &mut until(limit)).unwrap();
            let found = found.unwrap();
            assert!(found.rate <= limit && found.next.unwrap() > limit, "{limit}: {found:?}");
            assert!((found.next.unwrap() / found.rate / OPTIONS.ratio() - 1.0).abs() < 1e-9);
            assert!(trials.len() < 20 && trials.windows(2).all(|pair| pair[0].rate < pair[1].rate), "{trials:?}");
        }
        let (found, _) = search(&OPTIONS, &curve(), &[1], &mut until(11.0)).unwrap();
        assert_eq!(found, Some(Stable { rate: OPTIONS.rate(99), next: None }));
        assert_eq!(search(&OPTIONS, &curve(), &[1], &mut until(1e-9)).unwrap().0, None);
        let flat = Curve::of(&OPTIONS, &[vec![1.0; 100]]);
        assert_eq!(search(&OPTIONS, &flat, &[1], &mut until(1.0)).unwrap(), (None, Vec::new()));
    }

    #[test]
    fn one_seed_that_is_not_stable_is_enough_and_a_loss_that_stays_is_not_stable() {
        let mut second = |seed: u64, rate: f64| Ok(if seed == 1 || rate < 0.1 { vec![1.0; 100] } else { vec![1.0; 5] });
        let (found, trials) = search(&OPTIONS, &curve(), &[1, 2], &mut second).unwrap();
        assert!(found.unwrap().rate < 0.1 && trials.iter().all(|trial| trial.is_stable == (trial.rate < 0.1)));
        let mut stays = |_: u64, rate: f64| Ok(vec![if rate < 0.1 { 1.0 } else { 2.0 }; 100]);
        assert!(search(&OPTIONS, &curve(), &[1], &mut stays).unwrap().0.unwrap().rate < 0.1);
    }
}

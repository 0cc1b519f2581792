//! How times are taken: as many goes together as a clock can tell, in rounds, of which the median or the least counts.

use crate::base::Result;
use crate::run::Trainer;
use std::time::Instant;

/// How often a thing is timed at least.
const ROUNDS_MIN: usize = 3;

/// Into how many rounds the time is cut.
const ROUNDS: f64 = 12.0;

/// The most goes that are timed together.
const TOGETHER_MAX: u64 = 1 << 16;

/// Seconds of one go, from several rounds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    pub median: f64,
    pub least: f64,
}

/// Times `go`, which is told how many times in a row and gives the seconds for all. A first go warms up, a second one tells
/// how many fit into the time; where that is longer than the time already, it is the only one.
pub(super) fn sample(seconds: f64, mut go: impl FnMut(u64) -> Result<f64>) -> Result<Sample> {
    go(1)?;
    let once = go(1)?;
    if once > seconds {
        return Ok(Sample { median: once, least: once });
    }
    let mut together = 1;
    let mut took = once;
    while took < seconds / ROUNDS && together < TOGETHER_MAX {
        together = (together as f64 * (seconds / ROUNDS / took.max(1e-9)).clamp(2.0, 64.0)) as u64;
        took = go(together)?;
    }
    let (start, mut rounds) = (Instant::now(), Vec::new());
    while rounds.len() < ROUNDS_MIN || start.elapsed().as_secs_f64() < seconds {
        rounds.push(go(together)? / together as f64);
    }
    let least = rounds.iter().copied().fold(f64::INFINITY, f64::min);
    Ok(Sample { median: median(rounds), least })
}

pub(super) fn median(mut xs: Vec<f64>) -> f64 {
    xs.sort_by(f64::total_cmp);
    xs[xs.len() / 2]
}

/// Seconds for so many steps, submitted ahead and collected as a run does.
pub(super) fn time(trainer: &mut Trainer, steps: u64) -> Result<f64> {
    trainer.within(|trainer| {
        let start = Instant::now();
        for _ in 0..steps {
            while !trainer.has_room() {
                trainer.collect(true)?;
            }
            trainer.submit()?;
        }
        while trainer.in_flight() > 0 {
            trainer.collect(true)?;
        }
        Ok(start.elapsed().as_secs_f64())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_that_of_one_go() {
        let mut asked = Vec::new();
        let found = sample(0.0, |times| {
            asked.push(times);
            Ok(2.0 * times as f64)
        });
        assert_eq!(
            (found.unwrap(), asked),
            (Sample { median: 2.0, least: 2.0 }, vec![1, 1]),
            "too long to be repeated"
        );
        let mut calls = 0;
        let found = sample(1e-3, |times| {
            calls += 1;
            std::thread::sleep(std::time::Duration::from_micros(10));
            Ok(1e-6 * times as f64 * if calls % 2 == 0 { 1.0 } else { 2.0 })
        })
        .unwrap();
        assert!((found.least - 1e-6).abs() < 1e-12 && found.median <= 2.0001e-6, "{found:?}");
    }
}

//! Confidence intervals of a quotient of two means, for series whose neighbours are alike.

/// Blocks that a series is cut into: enough for a variance, and long enough each to outlive the memory of most series.
const BLOCKS_MAX: usize = 20;

/// The least number of blocks that say anything.
const BLOCKS_MIN: usize = 5;

/// Quantiles 0.975 of Student's t, for 4 to 19 degrees of freedom.
const T975: [f64; 16] =
    [2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093];

/// A quotient of means and its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Quotient {
    /// Σx/Σy; infinite where Σy is not above 0.
    pub value: f64,
    /// The lower end, at least 0.
    pub low: f64,
    /// The upper end; infinite where the mean of y cannot be told from 0.
    pub high: f64,
}

/// Σx/Σy of a series of pairs with x, y ≥ 0 in the mean. The interval is Fieller's (1954) for the means of neighbouring blocks, which
/// are nearly independent where steps are not (batch means; Law & Carson 1979). `None` for fewer than 10 pairs.
pub fn quotient(pairs: &[(f64, f64)]) -> Option<Quotient> {
    let blocks = BLOCKS_MAX.min(pairs.len() / 2);
    if blocks < BLOCKS_MIN {
        return None;
    }
    // Of equal length, so that none counts more than another: the first few pairs are left out of the variance.
    let len = pairs.len() / blocks;
    let means: Vec<(f64, f64)> = pairs[pairs.len() - len * blocks..].chunks(len).map(mean).collect();
    let (x, y) = mean(pairs);
    let (block_x, block_y) = mean(&means);
    let k = blocks as f64;
    let moment =
        |f: fn(f64, f64) -> f64| means.iter().map(|(a, b)| f(a - block_x, b - block_y)).sum::<f64>() / (k - 1.0) / k;
    let [xx, xy, yy] = [moment(|a, _| a * a), moment(|a, b| a * b), moment(|_, b| b * b)];
    let t = T975[blocks - BLOCKS_MIN];
    // All θ with (x − θy)² ≤ t²·Var(x − θy): a quadratic in θ.
    let (a, b, c) = (y * y - t * t * yy, x * y - t * t * xy, x * x - t * t * xx);
    let root = (b * b - a * c).max(0.0).sqrt();
    let value = if y > 0.0 { x / y } else { f64::INFINITY };
    let (low, high) = if y > 0.0 && a > 0.0 {
        ((b - root) / a, (b + root) / a)
    } else {
        // y may be 0: the interval has no upper end, and its lower one is where the quadratic turns negative.
        (if b + root > 0.0 { c / (b + root) } else { 0.0 }, f64::INFINITY)
    };
    Some(Quotient { value, low: low.max(0.0).min(value), high: high.max(value) })
}

fn mean(pairs: &[(f64, f64)]) -> (f64, f64) {
    let n = pairs.len() as f64;
    let (x, y) = pairs.iter().fold((0.0, 0.0), |(x, y), pair| (x + pair.0, y + pair.1));
    (x / n, y / n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Stream, StreamId};

    /// Standard normal numbers, about: the sum of twelve uniform ones.
    fn normal(stream: &mut Stream) -> f64 {
        (0..12).map(|_| stream.uniform()).sum::<f64>() - 6.0
    }

    /// How many of 1000 series of this memory have 500 within their interval.
    fn coverage(memory: f64) -> f64 {
        let mut stream = Stream::new(11, StreamId::Data(1));
        let fresh = (1.0 - memory * memory).sqrt();
        let covered = (0..1000).filter(|_| {
            let (mut u, mut v) = (normal(&mut stream), normal(&mut stream));
            let series: Vec<(f64, f64)> = (0..1000)
                .map(|_| {
                    u = memory * u + fresh * normal(&mut stream);
                    v = memory * v + fresh * normal(&mut stream);
                    (500.0 + 30.0 * u, 1.0 + 1.7 * v)
                })
                .collect();
            let interval = quotient(&series).unwrap();
            interval.low <= 500.0 && 500.0 <= interval.high
        });
        covered.count() as f64 / 1000.0
    }

    #[test]
    fn intervals_cover_as_often_as_they_say() {
        for memory in [0.0, 0.6, 0.8] {
            let share = coverage(memory);
            assert!((0.93..=0.97).contains(&share), "memory {memory}: {share}");
        }
    }

    #[test]
    fn what_cannot_be_told_from_zero_has_no_upper_end() {
        let series: Vec<(f64, f64)> = (0..200).map(|i| (5.0, if i % 10 < 5 { 1.0 } else { -0.5 })).collect();
        let interval = quotient(&series).unwrap();
        assert!((interval.low, interval.high) == (20.0, 20.0), "blocks of a whole period are alike: {interval:?}");
        let series: Vec<(f64, f64)> = (0..100).map(|i| (5.0, if i % 10 < 5 { 1.0 } else { -2.0 })).collect();
        let interval = quotient(&series).unwrap();
        assert_eq!((interval.value, interval.high), (f64::INFINITY, f64::INFINITY));
        let series: Vec<(f64, f64)> = (0..100).map(|i| (5.0, if i < 55 { 1.0 } else { -0.9 })).collect();
        let interval = quotient(&series).unwrap();
        assert!(interval.high == f64::INFINITY && interval.low > 0.0 && interval.low < interval.value, "{interval:?}");
        assert_eq!(quotient(&series[..9]), None);
    }
}

//! Several seeds in a few numbers.

use serde::Serialize;

/// Median and range of what several seeds gave.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one, or the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of the finite ones among these; none if there is none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|x| x.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let half = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[half] } else { (values[half - 1] + values[half]) / 2.0 };
        Some(Self { median, min, max })
    }
}

/// The interval for a share of which `hits` of `count` were seen: Wilson's, at 95 % (Wilson 1927). It never leaves [0, 1],
/// and is of use where none or all were seen.
///
/// # Panics
/// If there are more hits than there were cases, or no case.
pub fn wilson(hits: usize, count: usize) -> [f64; 2] {
    assert!(hits <= count && count > 0, "{hits} of {count}");
    // The 97.5 % quantile of the normal distribution.
    const Z: f64 = 1.959_963_984_540_054;
    let (n, p) = (count as f64, hits as f64 / count as f64);
    let scale = 1.0 + Z * Z / n;
    let centre = (p + Z * Z / (2.0 * n)) / scale;
    let half = Z / scale * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    [(centre - half).max(0.0), (centre + half).min(1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Agresti and Coull 1998 give (0, 0.278) for none of ten; for half of ten it is (0.2366, 0.7634).
    #[test]
    fn intervals_are_the_published_ones() {
        let close = |found: [f64; 2], known: [f64; 2]| found.iter().zip(known).all(|(a, b)| (a - b).abs() < 1e-4);
        assert!(close(wilson(0, 10), [0.0, 0.2775]), "{:?}", wilson(0, 10));
        assert!(close(wilson(5, 10), [0.2366, 0.7634]), "{:?}", wilson(5, 10));
        assert!(close(wilson(10, 10), [0.7225, 1.0]), "{:?}", wilson(10, 10));
    }

    #[test]
    fn the_median_is_in_the_middle_and_what_is_not_finite_is_left_out() {
        let spread = |xs: &[f64]| Spread::of(xs.iter().copied()).map(|s| (s.median, s.min, s.max));
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Some((2.0, 1.0, 3.0)));
        assert_eq!(spread(&[4.0, f64::NAN, 1.0]), Some((2.5, 1.0, 4.0)));
        assert_eq!(spread(&[f64::INFINITY]), None);
    }
}

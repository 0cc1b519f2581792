//! Which steps end a row of the step record. It follows the step number alone, never the clock, so that a run repeats
//! bit for bit and two runs have rows at the same steps.

use crate::base::{Error, Result};
use serde::{Deserialize, Serialize};

/// How often the step record gets a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Every {
    /// Every step at first; then a row stands for 2, 4, 8, … steps, twice as many whenever the step number has doubled.
    #[default]
    Auto,
    /// A row stands for this many steps: 1 is every step, for as long as the run lasts.
    Steps(u64),
}

/// The most bytes that [`Every::Auto`] lets `steps.jsonl` have after [`BUDGET_STEPS`] steps.
pub const BUDGET_BYTES: u64 = 200_000_000;
/// A million steps, as a power of two.
pub const BUDGET_STEPS: u64 = 1 << 20;
/// Every step has its row at least up to here, however small the model: more rows are no use to a plot or a table.
const MOST_SINGLE: u64 = 4096;

/// The rule that says which step ends a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thinning {
    /// Each step up to this power of two ends a row. Then the stride is 2 up to its double, 4 up to its fourfold, and so
    /// on: as many rows in each doubling as in the one before.
    SingleUntil(u64),
    /// Each multiple of this number ends a row.
    Stride(u64),
}

impl Thinning {
    /// The rule for rows of at most `row_bytes` bytes.
    ///
    /// The longer a row, the earlier thinning begins: the file stays below [`BUDGET_BYTES`] after [`BUDGET_STEPS`] steps
    /// even if every number has its greatest length. Strides are powers of two and rows are aligned to them, so the rows
    /// of a wider model are unions of those of a narrower one.
    ///
    /// # Errors
    /// A stride of 0.
    pub fn new(every: Every, row_bytes: u64) -> Result<Self> {
        match every {
            Every::Steps(0) => {
                Err(Error::input("record.every", "a row cannot stand for 0 steps").help("1 records every step"))
            }
            Every::Steps(n) => Ok(Self::Stride(n)),
            Every::Auto => {
                let fits = |first: u64| Self::SingleUntil(first).rows(BUDGET_STEPS).saturating_mul(row_bytes);
                let mut first = MOST_SINGLE;
                while first > 1 && fits(first) > BUDGET_BYTES {
                    first /= 2;
                }
                Ok(Self::SingleUntil(first))
            }
        }
    }

    /// Whether the row that this step belongs to ends with it. Steps count from 1.
    #[inline]
    pub fn ends_row(self, step: u64) -> bool {
        match self {
            Self::SingleUntil(first) => step & (stride(step, first) - 1) == 0,
            Self::Stride(n) => step.is_multiple_of(n),
        }
    }

    /// How many rows end within the steps 1 to `steps`.
    pub fn rows(self, steps: u64) -> u64 {
        match self {
            Self::Stride(n) => steps / n,
            Self::SingleUntil(first) => {
                let (mut rows, mut from, mut stride) = (steps.min(first), first, 2);
                while from < steps {
                    rows += steps.min(2 * from) / stride - from / stride;
                    (from, stride) = (2 * from, 2 * stride);
                }
                rows
            }
        }
    }
}

/// 1 up to `first`, a power of two; 2 up to its double, 4 up to its fourfold, …
#[inline]
fn stride(step: u64, first: u64) -> u64 {
    let octave = step.saturating_sub(1) >> first.trailing_zeros();
    1 << (u64::BITS - octave.leading_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(thinning: Thinning, steps: u64) -> Vec<u64> {
        (1..=steps).filter(|&step| thinning.ends_row(step)).collect()
    }

    #[test]
    fn the_stride_doubles_with_the_step_number() {
        assert_eq!(ends(Thinning::SingleUntil(4), 40), [1, 2, 3, 4, 6, 8, 12, 16, 24, 32]);
        assert_eq!(ends(Thinning::SingleUntil(1), 16), [1, 2, 4, 8, 16]);
        assert_eq!(ends(Thinning::Stride(7), 30), [7, 14, 21, 28]);
        assert!(Thinning::new(Every::Steps(0), 3).unwrap_err().to_string().contains("0 steps"));
    }

    #[test]
    fn the_formula_counts_the_rows() {
        for first in [1, 2, 16, 512] {
            for steps in [0, 1, 5, 511, 512, 513, 1000, 4096, 10_001] {
                let thinning = Thinning::SingleUntil(first);
                assert_eq!(thinning.rows(steps), ends(thinning, steps).len() as u64, "{first} {steps}");
            }
        }
        // 512 single rows, then half as many in each of the 11 doublings up to 2²⁰.
        assert_eq!(Thinning::SingleUntil(512).rows(1 << 20), 512 + 11 * 256);
        assert_eq!(Thinning::Stride(10).rows(99), 9);
    }

    #[test]
    fn wider_rows_are_thinned_earlier_and_nest_in_the_narrower_ones() {
        let first = |row_bytes| match Thinning::new(Every::Auto, row_bytes).unwrap() {
            Thinning::SingleUntil(first) => first,
            Thinning::Stride(_) => unreachable!(),
        };
        assert_eq!([2_600, 38_000, 378_000, u64::MAX].map(first), [4096, 512, 64, 1]);
        let (narrow, wide) = (ends(Thinning::SingleUntil(64), 5000), ends(Thinning::SingleUntil(8), 5000));
        assert!(wide.iter().all(|step| narrow.contains(step)));
    }
}

//! When something that recurs is due.

/// Which steps, counted from 1, something is due at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Cadence {
    /// At none.
    #[default]
    Never,
    /// At the first, and at every n-th after it: 1, n + 1, 2n + 1, …
    Every(u64),
    /// At these, in rising order.
    At(Vec<u64>),
    /// At 1, 2, 4, 8, …
    Geometric,
}

impl Cadence {
    /// Whether it is due at this step.
    #[inline]
    pub fn is_due(&self, step: u64) -> bool {
        match self {
            Self::Never => false,
            Self::Every(n) => (step - 1).is_multiple_of(*n),
            Self::At(steps) => steps.binary_search(&step).is_ok(),
            Self::Geometric => step.is_power_of_two(),
        }
    }

    /// At how many of the steps 1 to `step` it is due.
    pub fn count(&self, step: u64) -> u64 {
        match self {
            Self::Never => 0,
            Self::Every(n) => step.div_ceil(*n),
            Self::At(steps) => steps.partition_point(|&at| at <= step) as u64,
            Self::Geometric => u64::from(u64::BITS - step.leading_zeros()),
        }
    }

    /// The step at which it is due for the i-th time, i from 1; none if it never comes to that.
    pub fn nth(&self, i: u64) -> Option<u64> {
        let before = i.checked_sub(1)?;
        match self {
            Self::Never => None,
            Self::Every(n) => before.checked_mul(*n)?.checked_add(1),
            Self::At(steps) => steps.get(usize::try_from(before).ok()?).copied(),
            Self::Geometric => 1u64.checked_shl(u32::try_from(before).ok()?),
        }
    }
}

/// As a file name or a table has it: `every-10`, `at`, `geometric`.
impl std::fmt::Display for Cadence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::Every(n) => write!(f, "every-{n}"),
            Self::At(_) => f.write_str("at"),
            Self::Geometric => f.write_str("geometric"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_places_follow_from_what_is_due() {
        let steps = |cadence: &Cadence| (1..=40).filter(|&step| cadence.is_due(step)).collect::<Vec<u64>>();
        assert_eq!(steps(&Cadence::Every(10)), [1, 11, 21, 31]);
        assert_eq!(steps(&Cadence::At(vec![3, 17])), [3, 17]);
        assert_eq!(steps(&Cadence::Geometric), [1, 2, 4, 8, 16, 32]);
        assert_eq!(steps(&Cadence::Never), [0; 0]);
        assert_eq!(steps(&Cadence::Every(1)).len(), 40);
        let all = [Cadence::Never, Cadence::Every(1), Cadence::Every(7), Cadence::At(vec![2, 40]), Cadence::Geometric];
        for cadence in all {
            let due = steps(&cadence);
            for step in 0..=40 {
                assert_eq!(
                    cadence.count(step),
                    due.iter().filter(|&&at| at <= step).count() as u64,
                    "{cadence} {step}"
                );
            }
            for (i, &step) in due.iter().enumerate() {
                assert_eq!(cadence.nth(i as u64 + 1), Some(step), "{cadence}");
            }
            assert_eq!(cadence.nth(0), None);
        }
        assert_eq!((Cadence::At(vec![2]).nth(2), Cadence::Geometric.nth(65)), (None, None));
    }
}

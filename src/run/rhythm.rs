//! What comes again and again in a run: validations, checkpoints, judgements.

use crate::config::Rhythm;
use crate::data::Cursor;

impl Rhythm {
    /// Whether it comes between the last step and the next, which begins there.
    pub(super) fn is_due(self, next: Cursor) -> bool {
        match self {
            Self::Never => false,
            Self::Steps(steps) => next.step.is_multiple_of(steps),
            Self::Epoch => next.start == 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_follows_from_the_place() {
        let at = |step, start| Cursor { step, epoch: 3, batch: 1, start, rows: 8 };
        assert!(!Rhythm::Never.is_due(at(4, 0)));
        assert!(Rhythm::Steps(4).is_due(at(8, 16)) && !Rhythm::Steps(4).is_due(at(9, 0)));
        assert!(Rhythm::Epoch.is_due(at(9, 0)) && !Rhythm::Epoch.is_due(at(8, 16)));
    }
}

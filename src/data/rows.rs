//! What a loader asks of a data set: rows by their number, written where it says.

use super::{Dataset, Targets};
use crate::base::{Error, Result};
use serde::{Deserialize, Serialize};

/// What the targets of a source of rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// A label for each row, below this number of classes.
    Classes(usize),
    /// This many real numbers for each row.
    Values(usize),
}

/// Rows that can be had by their number. Data larger than memory, or kept in another form, implements it.
pub trait RowSource: Send + Sync {
    /// How many rows there are.
    fn rows(&self) -> usize;

    /// How many features a row has.
    fn features(&self) -> usize;

    /// What the targets are.
    fn target_kind(&self) -> TargetKind;

    /// Writes the features of these rows to `x`, `[indices, features]`, row-major.
    ///
    /// # Errors
    /// A row cannot be had.
    ///
    /// # Panics
    /// If `x` has another size, or an index is no row.
    fn fill_rows(&self, indices: &[u32], x: &mut [f32]) -> Result<()>;

    /// Writes the labels of these rows.
    ///
    /// # Errors
    /// A row cannot be had, or the targets are values.
    fn fill_labels(&self, indices: &[u32], labels: &mut [u32]) -> Result<()>;

    /// Writes the target values of these rows, `[indices, width]`, row-major.
    ///
    /// # Errors
    /// A row cannot be had, or the targets are classes.
    fn fill_values(&self, indices: &[u32], values: &mut [f32]) -> Result<()>;
}

impl Targets {
    /// What they are, for a source of rows.
    pub fn kind(&self) -> TargetKind {
        match self {
            Self::Classes { classes, .. } => TargetKind::Classes(*classes),
            Self::Values { width, .. } => TargetKind::Values(*width),
        }
    }

    pub(super) fn fill_labels(&self, indices: &[u32], out: &mut [u32]) -> Result<()> {
        let Self::Classes { labels, .. } = self else {
            return Err(Error::input("targets", "labels were asked for, but the targets are values"));
        };
        assert_eq!(indices.len(), out.len(), "a label for each index");
        out.iter_mut().zip(indices).for_each(|(slot, &row)| *slot = labels[row as usize]);
        Ok(())
    }

    pub(super) fn fill_values(&self, indices: &[u32], out: &mut [f32]) -> Result<()> {
        let Self::Values { values, width } = self else {
            return Err(Error::input("targets", "values were asked for, but the targets are classes"));
        };
        assert_eq!(indices.len() * width, out.len(), "a row of values for each index");
        for (slot, &row) in out.chunks_exact_mut(*width).zip(indices) {
            slot.copy_from_slice(&values[row as usize * width..][..*width]);
        }
        Ok(())
    }
}

impl RowSource for Dataset {
    fn rows(&self) -> usize {
        self.len()
    }

    fn features(&self) -> usize {
        Dataset::features(self)
    }

    fn target_kind(&self) -> TargetKind {
        self.targets().kind()
    }

    fn fill_rows(&self, indices: &[u32], x: &mut [f32]) -> Result<()> {
        let features = Dataset::features(self);
        assert_eq!(indices.len() * features, x.len(), "a row of features for each index");
        for (slot, &row) in x.chunks_exact_mut(features).zip(indices) {
            slot.copy_from_slice(self.row(row as usize));
        }
        Ok(())
    }

    fn fill_labels(&self, indices: &[u32], labels: &mut [u32]) -> Result<()> {
        self.targets().fill_labels(indices, labels)
    }

    fn fill_values(&self, indices: &[u32], values: &mut [f32]) -> Result<()> {
        self.targets().fill_values(indices, values)
    }
}

//! A data set that keeps its features as bytes and decodes rows when they are asked for: a quarter of the memory of f32.

use super::{RowSource, Standardizer, TargetKind, Targets};
use crate::base::{Error, Result};

/// Examples whose features are bytes; a feature is byte / divisor, standardized if a standardizer was given. Rows come
/// out bit for bit as those of a [`super::Dataset`] made the same way.
#[derive(Clone, Debug)]
pub struct BytesDataset {
    name: String,
    bytes: Vec<u8>,
    features: usize,
    /// byte / divisor for each byte: a division a pixel would cost more than the look-up.
    decoded: [f32; 256],
    targets: Targets,
    standardizer: Option<Standardizer>,
}

impl BytesDataset {
    /// A data set of `bytes`, `[rows, features]` row-major, whose features are byte / `divisor`.
    ///
    /// # Errors
    /// No feature or no row, bytes that do not fill whole rows, a divisor that is 0 or not finite, another number of
    /// targets than of rows, a label out of range.
    pub fn new(
        name: impl Into<String>,
        bytes: Vec<u8>,
        features: usize,
        divisor: f32,
        targets: Targets,
    ) -> Result<Self> {
        let name = name.into();
        if bytes.is_empty() || features == 0 || !bytes.len().is_multiple_of(features) {
            return Err(Error::input(name, format!("{} bytes do not make rows of {features} features", bytes.len())));
        }
        let decoded = std::array::from_fn(|byte| byte as f32 / divisor);
        if decoded.iter().any(|v: &f32| !v.is_finite()) {
            return Err(Error::input(name, format!("bytes divided by {divisor} are not finite")));
        }
        targets.check(&name, bytes.len() / features)?;
        Ok(Self { name, bytes, features, decoded, targets, standardizer: None })
    }

    /// The same with rows that are standardized after decoding.
    ///
    /// # Errors
    /// The standardizer was fitted to another number of features.
    pub fn with_standardizer(mut self, standardizer: Standardizer) -> Result<Self> {
        standardizer.check(&self.name, self.features)?;
        self.standardizer = Some(standardizer);
        Ok(self)
    }

    /// What it is called in errors and reports.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The targets.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }
}

impl RowSource for BytesDataset {
    fn rows(&self) -> usize {
        self.bytes.len() / self.features
    }

    fn features(&self) -> usize {
        self.features
    }

    fn target_kind(&self) -> TargetKind {
        self.targets.kind()
    }

    fn fill_rows(&self, indices: &[u32], x: &mut [f32]) -> Result<()> {
        assert_eq!(indices.len() * self.features, x.len(), "a row of features for each index");
        for (slot, &row) in x.chunks_exact_mut(self.features).zip(indices) {
            let bytes = &self.bytes[row as usize * self.features..][..self.features];
            slot.iter_mut().zip(bytes).for_each(|(feature, &byte)| *feature = self.decoded[usize::from(byte)]);
            if let Some(standardizer) = &self.standardizer {
                standardizer.apply(slot);
            }
        }
        Ok(())
    }

    fn fill_labels(&self, indices: &[u32], labels: &mut [u32]) -> Result<()> {
        self.targets.fill_labels(indices, labels)
    }

    fn fill_values(&self, indices: &[u32], values: &mut [f32]) -> Result<()> {
        self.targets.fill_values(indices, values)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Dataset, Scaling};
    use super::*;
    use ndarray::Array2;

    #[test]
    fn bytes_decode_to_the_same_bits_as_floats() {
        let bytes: Vec<u8> = (0..60u32).map(|i| (i * 37 % 256) as u8).collect();
        let targets = Targets::Values { values: (0..20).map(|v| v as f32).collect(), width: 1 };
        let x = Array2::from_shape_vec((20, 3), bytes.iter().map(|&b| f32::from(b) / 255.0).collect()).unwrap();
        let floats = Dataset::new("f", x, targets.clone()).unwrap();
        let bytes = BytesDataset::new("b", bytes, 3, 255.0, targets).unwrap();
        let standardizer = Standardizer::fit(Scaling::Standardize, &bytes).unwrap();
        assert_eq!(standardizer, Standardizer::fit(Scaling::Standardize, &floats).unwrap());
        let indices = [19, 0, 7, 7];
        let (mut a, mut b) = ([0.0; 12], [1.0; 12]);
        floats.fill_rows(&indices, &mut a).unwrap();
        bytes.fill_rows(&indices, &mut b).unwrap();
        assert_eq!(a, b);
        a.chunks_exact_mut(3).for_each(|row| standardizer.apply(row));
        bytes.clone().with_standardizer(standardizer).unwrap().fill_rows(&indices, &mut b).unwrap();
        assert_eq!(a.map(f32::to_bits), b.map(f32::to_bits));
        let mut values = [0.0; 4];
        bytes.fill_values(&indices, &mut values).unwrap();
        assert_eq!(values, [19.0, 0.0, 7.0, 7.0]);
        assert!(bytes.fill_labels(&indices, &mut [0; 4]).is_err());
    }

    #[test]
    fn bytes_that_do_not_fit_are_refused() {
        let new = |n: usize, divisor: f32, labels: usize| {
            BytesDataset::new("b", vec![1; n], 3, divisor, Targets::Classes { labels: vec![0; labels], classes: 1 })
        };
        assert!(new(6, 255.0, 2).is_ok());
        assert!(new(7, 255.0, 2).is_err() && new(6, 0.0, 2).is_err() && new(6, 255.0, 3).is_err());
    }
}

//! Results as npy files.

use crate::base::{Error, Result};
use npyz::WriterBuilder;
use std::path::Path;

/// The bytes of an npy file of doubles; `place` is for errors.
pub fn bytes(place: &Path, shape: &[usize], values: &[f64]) -> Result<Vec<u8>> {
    let shape: Vec<u64> = shape.iter().map(|&extent| extent as u64).collect();
    let mut bytes = Vec::new();
    let mut write = || -> std::io::Result<()> {
        let options = npyz::WriteOptions::new().default_dtype().shape(&shape);
        let mut writer = options.writer(&mut bytes).begin_nd()?;
        writer.extend(values.iter().copied())?;
        writer.finish()
    };
    write().map_err(|error| Error::failure(place.display(), error))?;
    Ok(bytes)
}

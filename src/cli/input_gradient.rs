//! Where gradients with respect to inputs go.

use super::npy;
use crate::base::{Error, Result};
use crate::run::InputGradients;
use crate::run::folder::write_atomic;
use crate::view::picture;
use std::path::{Path, PathBuf};

/// A file or a folder of gradients.
pub enum Target {
    /// A grid of pictures.
    Png(PathBuf),
    /// An array.
    Npy(PathBuf),
    /// A folder: an array, and a picture for each row where the examples are pictures.
    Folder(PathBuf),
}

impl Target {
    /// What a path means, by its ending, for examples of this shape.
    ///
    /// # Errors
    /// If it asks for pictures of what are none, or the ending is of another kind of file.
    pub fn of(path: &Path, sample_shape: &[usize]) -> Result<Self> {
        let place = || format!("--input-gradient {}", path.display());
        match path.extension().and_then(|end| end.to_str()) {
            Some("png") if picture::is_image(sample_shape) => Ok(Self::Png(path.into())),
            Some("png") => Err(Error::input(place(), format!("examples of shape {sample_shape:?} are no pictures"))
                .help("give a file that ends in .npy")),
            Some("npy") => Ok(Self::Npy(path.into())),
            Some(_) if !path.is_dir() => {
                Err(Error::input(place(), "the name of the file ends in .png or .npy").help("a folder has no ending"))
            }
            _ => Ok(Self::Folder(path.into())),
        }
    }

    /// Writes the gradients and returns the files.
    ///
    /// # Errors
    /// If a file cannot be written, or the rows are too many for one picture.
    pub fn write(&self, found: &InputGradients) -> Result<Vec<PathBuf>> {
        let n = found.rows.len();
        let mut files = Vec::new();
        let mut write = |path: PathBuf, bytes: &[u8]| {
            write_atomic(&path, bytes)?;
            files.push(path);
            Ok::<_, Error>(())
        };
        let array = |path: &Path| {
            let shape: Vec<usize> = std::iter::once(n).chain(found.sample_shape.iter().copied()).collect();
            npy::bytes(path, &shape, &found.gradients)
        };
        match self {
            Self::Png(path) => write(path.clone(), &picture::grid(found, 0..n)?.png()?)?,
            Self::Npy(path) => write(path.clone(), &array(path)?)?,
            Self::Folder(folder) => {
                let path = folder.join("input_gradient.npy");
                let bytes = array(&path)?;
                write(path, &bytes)?;
                let pictures = if picture::is_image(&found.sample_shape) { n } else { 0 };
                for place in 0..pictures {
                    let picture = picture::grid(found, place..place + 1)?;
                    write(folder.join(format!("row-{}.png", found.rows.start + place)), &picture.png()?)?;
                }
            }
        }
        Ok(files)
    }
}

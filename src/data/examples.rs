//! New examples with their targets, to judge a model by.

use super::idx::labelled;
use super::{Dataset, Idx, IdxPair, NpyPair, NpySource, NpzSource, Preprocessing, TargetKind, Targets, Task};
use crate::base::{Error, Result};
use std::path::{Path, PathBuf};

impl Preprocessing {
    /// Reads new examples and prepares them as the training data was. A name that ends in `.csv` or `.tsv` is a table with
    /// the columns of the training data; `.npz` holds arrays `x` and `y`; `.npy` has its targets in a file beside it
    /// ([`NpyPair::beside`]); a folder holds the IDX files of a test part, or else of a training part; anything else is an
    /// IDX file of pictures, with its labels beside it.
    ///
    /// # Errors
    /// A file is missing or malformed, has no targets, or does not fit the model.
    pub fn read_examples(&self, path: &Path) -> Result<Dataset> {
        let name = path.display().to_string();
        let extension = path.extension().and_then(|end| end.to_str()).unwrap_or("").to_ascii_lowercase();
        let task = match self.targets {
            TargetKind::Classes(_) => Task::Classification,
            TargetKind::Values(_) => Task::Regression,
        };
        let (raw, targets) = match extension.as_str() {
            "csv" | "tsv" => return self.read_table(path),
            "npz" => parts(NpzSource { task: Some(task), ..NpzSource::new(path) }.load()?.train),
            "npy" => {
                let pair = NpyPair::beside(path);
                parts(NpySource { task: Some(task), ..NpySource::new(pair.x, pair.y) }.load()?.train)
            }
            _ => {
                let pair = idx_pair(path)?;
                let TargetKind::Classes(classes) = self.targets else {
                    return Err(Error::input(name, "IDX files hold classes, the model predicts values"));
                };
                parts(labelled(&name, &Idx::read(&pair.images)?, &Idx::read(&pair.labels)?, 1.0, classes)?)
            }
        };
        let x = self.apply(raw).map_err(|error| error.within(&name))?;
        self.named(Dataset::new(&name, x, self.fit(&name, targets)?)?)
    }

    fn read_table(&self, path: &Path) -> Result<Dataset> {
        let name = path.display().to_string();
        let columns = self.columns.as_ref().ok_or_else(|| {
            Error::input(&name, format!("the model was trained on {}, not on a table", self.source))
                .help("give the examples as .npy or IDX")
        })?;
        let encoded = columns.read(path)?;
        let targets = encoded.targets.ok_or_else(|| {
            Error::input(&name, format!("there is no column `{}`, which holds the targets", columns.target.name))
        })?;
        let x = self.apply(encoded.x).map_err(|error| error.within(&name))?;
        self.named(Dataset::new(&name, x, targets)?)
    }

    /// The same targets with as many classes as the model knows; a label beyond them is an error of [`Dataset::new`].
    fn fit(&self, name: &str, targets: Targets) -> Result<Targets> {
        match (targets, self.targets) {
            (Targets::Classes { labels, .. }, TargetKind::Classes(classes)) => Ok(Targets::Classes { labels, classes }),
            (targets, expected) if targets.kind() == expected => Ok(targets),
            (targets, expected) => {
                let message = format!("its targets are {:?}, the model predicts {expected:?}", targets.kind());
                Err(Error::input(name, message))
            }
        }
    }

    fn named(&self, data: Dataset) -> Result<Dataset> {
        let data = data.with_sample_shape(&self.sample_shape)?;
        match &self.class_names {
            Some(names) => data.with_class_names(names.clone()),
            None => Ok(data),
        }
    }
}

fn parts(data: Dataset) -> (ndarray::Array2<f32>, Targets) {
    (data.x().clone(), data.targets().clone())
}

/// Pictures and labels in a folder, or the labels beside a file of pictures.
fn idx_pair(path: &Path) -> Result<IdxPair> {
    if path.is_dir() {
        for part in ["t10k", "test", "train"] {
            if let Some(pair) = IdxPair::find(path, part)? {
                return Ok(pair);
            }
        }
        let message = "there are no IDX files such as test-images-idx3-ubyte[.gz]";
        return Err(Error::input(path.display(), message));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if !name.contains("images") {
        let error = Error::input(path.display(), "it cannot be told which file holds the labels");
        return Err(error.help("name pictures and labels as MNIST does: x-images-idx3-ubyte and x-labels-idx1-ubyte"));
    }
    let ranks = ["idx2", "idx3", "idx4"];
    let labels = ranks.iter().fold(name.replace("images", "labels"), |name, rank| name.replace(rank, "idx1"));
    Ok(IdxPair { images: PathBuf::from(path), labels: path.with_file_name(labels) })
}

//! New examples with their targets, to judge a model by.

use super::folder::{self, Labelled};
use super::idx::labelled;
use super::labels::{Labels, count_classes};
use super::preprocessing::Form;
use super::{Dataset, Idx, IdxPair, NpyPair, NpySource, NpzSource, Preprocessing, TargetKind, Targets, Task};
use crate::base::{Error, Result, Threads};
use std::path::{Path, PathBuf};

impl Preprocessing {
    /// Reads new examples and prepares them as the training data was. A table has the columns of the training data; an npz
    /// file holds arrays `x` and `y`, or what the targets were called in the training data; an npy file has its targets in
    /// a file beside it ([`NpyPair::beside`]); a folder holds the IDX files of a test part, or else of a training part; an
    /// IDX file of pictures has its labels beside it; a folder with folders of PNG files has a class in each. How they are told apart says [`Preprocessing::read_inputs`].
    ///
    /// # Errors
    /// A file is missing or malformed, has no targets, or does not fit the model.
    pub fn read_examples(&self, path: &Path) -> Result<Dataset> {
        let name = path.display().to_string();
        let task = match self.targets {
            TargetKind::Classes(_) => Task::Classification,
            TargetKind::Values(_) => Task::Regression,
        };
        let (raw, targets) = match self.form(path) {
            Form::Table => return self.read_table(path),
            Form::Npz => {
                let source = NpzSource { task: Some(task), ..NpzSource::new(path) };
                let y = self.target_array.clone().unwrap_or_else(|| source.y.clone());
                parts(NpzSource { y, ..source }.load()?.train)
            }
            Form::Npy => {
                let pair = NpyPair::beside(path);
                parts(NpySource { task: Some(task), ..NpySource::new(pair.x, pair.y) }.load()?.train)
            }
            Form::Idx => {
                let pair = idx_pair(path)?;
                let TargetKind::Classes(classes) = self.targets else {
                    return Err(Error::input(name, "IDX files hold classes, the model predicts values"));
                };
                let (images, labels) = (Idx::read(&pair.images)?, Idx::read(&pair.labels)?);
                let place = pair.labels.display().to_string();
                count_classes(&[Labels { labels: labels.to_labels(&place)?, place }], Some(classes))?;
                parts(labelled(&name, [&images, &labels], 1.0, classes, &Threads::single())?)
            }
            Form::Pictures => return self.read_pictures(path),
        };
        let x = self.apply(raw).map_err(|error| error.within(&name))?;
        self.named(Dataset::new(&name, x, self.fit(&name, targets)?)?)
    }

    /// Pictures in folders of classes, whose names are those of the training data, or their numbers where it had none.
    fn read_pictures(&self, path: &Path) -> Result<Dataset> {
        let name = path.display().to_string();
        let format = self.picture_format(path)?;
        let TargetKind::Classes(classes) = self.targets else {
            return Err(Error::input(name, "folders of pictures are classes, the model predicts values"));
        };
        let numbers = || (0..classes).map(|class| class.to_string()).collect();
        let found = Labelled::list(path, &self.class_names.clone().unwrap_or_else(numbers))?;
        let x = folder::read(&found.files, format, &Threads::new(0)?)?;
        let x = self.scale(x).map_err(|error| error.within(&name))?;
        self.named(Dataset::new(&name, x, Targets::Classes { labels: found.labels, classes })?)
    }

    fn read_table(&self, path: &Path) -> Result<Dataset> {
        let name = path.display().to_string();
        let (columns, encoded) = self.read_columns(path)?;
        let targets = encoded.targets.ok_or_else(|| {
            let names = &columns.targets.names;
            let message = match names.as_slice() {
                [name] => format!("there is no column `{name}`, which holds the targets"),
                _ => format!("not all columns with targets are there: {}", names.join(", ")),
            };
            Error::input(&name, message)
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

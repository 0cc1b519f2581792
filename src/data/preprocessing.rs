//! What was done to the training data, kept with a trained model, to be done to new data.

use super::folder::{self, unlabelled};
use super::picture::Format;
use super::{Columns, Dataset, Encoded, Idx, Standardizer, TargetKind, npy};
use crate::base::{Error, Result, Threads, is_finite_f32};
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// How raw input becomes the features of a model: read, divided, encoded, scaled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// What the training data was.
    pub source: String,
    /// The shape of one example; its product is the number of features.
    pub sample_shape: Vec<usize>,
    /// What the targets are.
    pub targets: TargetKind,
    /// Raw values are divided by it.
    pub divisor: f32,
    /// The name of each class, where there are names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_names: Option<Vec<String>>,
    /// The array of the targets, where the data was an npz file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_array: Option<String>,
    /// The columns of a table and their categories.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Columns>,
    /// What each feature is scaled by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standardizer: Option<Standardizer>,
}

/// What a file of new data is.
pub(super) enum Form {
    Table,
    Npy,
    Npz,
    Idx,
    Pictures,
}

impl Preprocessing {
    /// Nothing is done to data like `train`.
    pub(super) fn of(source: String, train: &Dataset) -> Self {
        Self {
            source,
            sample_shape: train.sample_shape().to_vec(),
            targets: train.targets().kind(),
            divisor: 1.0,
            class_names: train.class_names().map(<[String]>::to_vec),
            target_array: None,
            columns: None,
            standardizer: None,
        }
    }

    /// How many features the model takes.
    pub fn features(&self) -> usize {
        self.sample_shape.iter().product()
    }

    /// The names of what is predicted: of the classes, or of the columns that values are from. None where they have no names.
    pub fn target_names(&self) -> Option<&[String]> {
        match (self.targets, &self.columns) {
            (TargetKind::Classes(_), _) => self.class_names.as_deref(),
            (TargetKind::Values(_), columns) => columns.as_ref().map(|columns| columns.targets.names.as_slice()),
        }
    }

    /// What a file is, by the end of its name: `.csv` and `.tsv` are tables, `.npy` and `.npz` numpy arrays, `.png` is a picture, and
    /// so is what lies in a folder with such files or folders of them. Anything else is a table if the training data was one,
    /// and IDX if not; a folder is one of pictures if the training data was.
    pub(super) fn form(&self, path: &Path) -> Form {
        match path.extension().and_then(|end| end.to_str()).unwrap_or("").to_ascii_lowercase().as_str() {
            "csv" | "tsv" => Form::Table,
            "npy" => Form::Npy,
            "npz" => Form::Npz,
            _ if path.is_dir() && (self.source == folder::NAME || folder::holds_pictures(path)) => Form::Pictures,
            "png" => Form::Pictures,
            _ if self.columns.is_some() && !path.is_dir() => Form::Table,
            _ => Form::Idx,
        }
    }

    /// Reads new inputs and prepares them as the training data was: `[rows, features]`. A table has the columns of the
    /// training data, whose targets may be absent; a numpy array has a row an example, and is called `x` in an npz file; a
    /// PNG file is one example, and a folder of them has one for each, by name, whether they lie in folders of classes or not. A
    /// name that ends in `.csv`, `.tsv`, `.npy`, `.npz` or `.png` says which; any other is a table if the training data was one,
    /// else IDX.
    ///
    /// # Errors
    /// The file is missing or malformed, has other features, or an unknown category.
    pub fn read_inputs(&self, path: &Path) -> Result<Array2<f32>> {
        let raw = match self.form(path) {
            Form::Table => self.read_columns(path)?.1.x,
            Form::Npy => npy::read_rows(path)?.0,
            Form::Npz => npy::read_npz_rows(path)?,
            Form::Idx => Idx::read(path)?.to_rows(1.0),
            Form::Pictures => {
                let x = folder::read(&unlabelled(path)?, self.picture_format(path)?, &Threads::new(0)?)?;
                return self.scale(x).map_err(|error| error.within(path.display()));
            }
        };
        self.apply(raw).map_err(|error| error.within(path.display()))
    }

    /// The names of the inputs that [`Preprocessing::read_inputs`] reads, where they are files of their own: pictures.
    ///
    /// # Errors
    /// The folder cannot be read, or holds no pictures.
    pub fn input_names(&self, path: &Path) -> Result<Option<Vec<String>>> {
        let Form::Pictures = self.form(path) else { return Ok(None) };
        let name = |file: PathBuf| {
            file.strip_prefix(path).ok().filter(|_| path.is_dir()).unwrap_or(&file).display().to_string()
        };
        Ok(Some(unlabelled(path)?.into_iter().map(name).collect()))
    }

    /// How pictures are to be read, whose numbers lie in [0, 1] by themselves.
    ///
    /// # Errors
    /// The model was not trained on pictures, or on such whose largest value is not known.
    pub(super) fn picture_format(&self, path: &Path) -> Result<Format> {
        let fail = |why: String| Error::input(path.display(), why);
        let format = Format::of_shape(&self.sample_shape).filter(|_| self.columns.is_none());
        let format = format.ok_or_else(|| {
            let shape = &self.sample_shape;
            fail(format!("the model was trained on {}, examples of shape {shape:?}, not on pictures", self.source))
        })?;
        if self.divisor == 1.0 {
            let message =
                format!("the model was trained on {}, and what its numbers are in pixels is not known", self.source);
            return Err(fail(message).help("give the examples in the form of the training data"));
        }
        Ok(format)
    }

    /// A table that has the columns of the training data, and these columns.
    pub(super) fn read_columns(&self, path: &Path) -> Result<(&Columns, Encoded)> {
        let columns = self.columns.as_ref().ok_or_else(|| {
            Error::input(path.display(), format!("the model was trained on {}, not on a table", self.source))
                .help("give the examples as .npy, .npz or IDX")
        })?;
        Ok((columns, columns.read(path)?))
    }

    /// Prepares raw inputs, `[rows, features]`, as the training data was: divided and scaled. (The rows of a table come
    /// encoded from [`Columns::read`].)
    ///
    /// # Errors
    /// Another number of features than the model takes, or a number that is not finite.
    pub fn apply(&self, mut raw: Array2<f32>) -> Result<Array2<f32>> {
        raw.mapv_inplace(|v| v / self.divisor);
        self.scale(raw)
    }

    /// The rest of [`Preprocessing::apply`], for what has been divided.
    pub(super) fn scale(&self, mut raw: Array2<f32>) -> Result<Array2<f32>> {
        if raw.ncols() != self.features() {
            return Err(Error::input(
                "input",
                format!("{} features, the model takes {}", raw.ncols(), self.features()),
            ));
        }
        if let Some(standardizer) = &self.standardizer {
            standardizer.check("input", self.features())?;
        }
        raw = if raw.is_standard_layout() { raw } else { raw.as_standard_layout().into_owned() };
        if let Some(((row, column), value)) = raw.indexed_iter().find(|(_, v)| !is_finite_f32(**v)) {
            return Err(Error::input(
                "input",
                format!("row {row}, column {column} (both from 0): {value} is not finite"),
            ));
        }
        if let Some(standardizer) = &self.standardizer {
            raw.rows_mut().into_iter().for_each(|mut row| {
                standardizer.apply(row.as_slice_mut().expect("the layout is row-major"));
            });
        }
        Ok(raw)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{IdxFiles, IdxPair, IdxSource, Prepare, Scaling, digits};
    use super::*;

    fn digits_file(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("data/digits").join(name)
    }

    #[test]
    fn new_data_is_prepared_as_the_training_data_was() {
        let how = Prepare { scaling: Scaling::Standardize, ..Prepare::default() };
        let splits = digits().unwrap().prepare(&how, 1).unwrap();
        let text = serde_json::to_string(&splits.preprocessing).unwrap();
        let kept: Preprocessing = serde_json::from_str(&text).unwrap();
        assert_eq!(kept, splits.preprocessing);
        let read = kept.read_inputs(&digits_file("test-images-idx3-ubyte.gz")).unwrap();
        assert_eq!(&read, splits.test.unwrap().x());
        let error = kept.apply(Array2::zeros((1, 63))).unwrap_err().to_string();
        assert!(error.contains("63 features, the model takes 64"));
        assert!(kept.apply(Array2::from_elem((1, 64), f32::NAN)).is_err());
    }

    #[test]
    fn bytes_and_floats_of_the_same_files_agree() {
        let pair = |part: &str| IdxPair {
            images: digits_file(&format!("{part}-images-idx3-ubyte.gz")),
            labels: digits_file(&format!("{part}-labels-idx1-ubyte.gz")),
        };
        let files = IdxFiles::Files { train: pair("train"), test: Some(pair("test")) };
        let source = IdxSource { files, divisor: 16.0, classes: None };
        let (train, test) = source.load_bytes().unwrap();
        let floats = digits().unwrap();
        assert_eq!(
            (train.targets(), test.unwrap().targets()),
            (floats.train.targets(), floats.test.unwrap().targets())
        );
        let mut x = vec![0.0; 2 * 64];
        super::super::RowSource::fill_rows(&train, &[1436, 3], &mut x).unwrap();
        assert_eq!(x, [floats.train.row(1436), floats.train.row(3)].concat());
    }
}

//! Numpy arrays: `.npy` files, or one `.npz` with named arrays.

use super::labels::{Labels, count_classes};
use super::{Dataset, Splits, Targets, Task};
use crate::base::{Error, Result};
use ndarray::{Array2, ArrayD, IxDyn, ShapeBuilder};
use npyz::npz::{array_name_from_file_name, file_name_from_array_name};
use npyz::{DType, Deserialize, NpyFile, Order, TypeChar};
use std::fmt::Display;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use zip::ZipArchive;
use zip::result::ZipError;

/// An array of features and the array of their targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NpyPair {
    /// Features: the first axis counts the examples, the others are the shape of one.
    pub x: PathBuf,
    /// Targets: whole numbers `[rows]` are labels, floats `[rows]` or `[rows, width]` are values.
    pub y: PathBuf,
}

/// Numpy arrays, each in its file.
#[derive(Clone, Debug, PartialEq)]
pub struct NpySource {
    /// The training part.
    pub train: NpyPair,
    /// The test part.
    pub test: Option<NpyPair>,
    /// What the targets are; if unsaid, whole numbers are classes and floats values.
    pub task: Option<Task>,
    /// How many classes there are, if the targets are classes; as many as the labels need if unsaid.
    pub classes: Option<usize>,
    /// Features are divided by it.
    pub divisor: f32,
}

/// Named numpy arrays in one `.npz` file.
#[derive(Clone, Debug, PartialEq)]
pub struct NpzSource {
    /// The file.
    pub path: PathBuf,
    /// The name of the training features, of the kind that [`NpyPair::x`] says.
    pub x: String,
    /// The name of the training targets.
    pub y: String,
    /// The name of the test features; the test part is absent if there is no such array.
    pub x_test: String,
    /// The name of the test targets.
    pub y_test: String,
    /// A file whose training arrays are the test part, instead of the test arrays of this one.
    pub test: Option<PathBuf>,
    /// What the targets are; if unsaid, whole numbers are classes and floats values.
    pub task: Option<Task>,
    /// How many classes there are, if the targets are classes; as many as the labels need if unsaid.
    pub classes: Option<usize>,
    /// Features are divided by it.
    pub divisor: f32,
}

impl NpzSource {
    /// A file with the arrays `x`, `y` and perhaps `x_test`, `y_test`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let [x, y, x_test, y_test] = ["x", "y", "x_test", "y_test"].map(String::from);
        Self { path: path.into(), x, y, x_test, y_test, test: None, task: None, classes: None, divisor: 1.0 }
    }

    /// Reads the arrays.
    ///
    /// # Errors
    /// The file or an array is missing or malformed, of elements that are no real numbers, or targets do not fit.
    pub fn load(&self) -> Result<Splits> {
        let mut archive = Archive::open(&self.path)?;
        let train = archive.pair(&self.x, &self.y)?;
        let test = match &self.test {
            Some(path) => Some(Archive::open(path)?.pair(&self.x, &self.y)?),
            None if archive.names.contains(&self.x_test) || archive.names.contains(&self.y_test) => {
                Some(archive.pair(&self.x_test, &self.y_test)?)
            }
            None => None,
        };
        let mut splits = assemble("npz", train, test, self.task, self.classes, self.divisor)?;
        splits.preprocessing.target_array = Some(self.y.clone());
        Ok(splits)
    }
}

/// An npz file.
struct Archive {
    place: String,
    archive: ZipArchive<BufReader<File>>,
    names: Vec<String>,
}

impl Archive {
    fn open(path: &Path) -> Result<Self> {
        let place = path.display().to_string();
        let file = File::open(path).map_err(|error| Error::input(&place, error))?;
        let archive = ZipArchive::new(BufReader::new(file)).map_err(|error| Error::input(&place, error))?;
        let names = archive.file_names().filter_map(array_name_from_file_name).map(String::from).collect();
        Ok(Self { place, archive, names })
    }

    fn array(&mut self, name: &str) -> Result<Numbers> {
        let place = format!("{}: {name}", self.place);
        match self.archive.by_name(&file_name_from_array_name(name)) {
            Ok(file) => Numbers::read(NpyFile::new(file).map_err(|error| Error::input(&place, error))?, &place),
            Err(ZipError::FileNotFound) => {
                let there = format!("there are: {}", self.names.join(", "));
                Err(Error::input(&place, "there is no such array").help(there))
            }
            Err(error) => Err(Error::input(&place, error)),
        }
    }

    fn pair(&mut self, x: &str, y: &str) -> Result<(Numbers, Numbers)> {
        Ok((self.array(x)?, self.array(y)?))
    }
}

impl NpyPair {
    /// Features with their targets beside them: those of `train_x.npy` are in `train_y.npy`, as the last `x` of the stem
    /// becomes `y`; without an `x`, `-y` is added.
    pub fn beside(x: &Path) -> Self {
        let stem = x.file_stem().unwrap_or_default().to_string_lossy();
        let name = match stem.rfind('x') {
            Some(at) => format!("{}y{}", &stem[..at], &stem[at + 1..]),
            None => format!("{stem}-y"),
        };
        Self { x: x.to_owned(), y: x.with_file_name(format!("{name}.npy")) }
    }
}

impl NpySource {
    /// Two files, of the features and of the targets.
    pub fn new(x: impl Into<PathBuf>, y: impl Into<PathBuf>) -> Self {
        Self { train: NpyPair { x: x.into(), y: y.into() }, test: None, task: None, classes: None, divisor: 1.0 }
    }

    /// Reads the arrays.
    ///
    /// # Errors
    /// A file is missing or malformed, of elements that are no real numbers, or targets do not fit.
    pub fn load(&self) -> Result<Splits> {
        let read = |pair: &NpyPair| Ok((Numbers::open(&pair.x)?, Numbers::open(&pair.y)?));
        let test = self.test.as_ref().map(read).transpose()?;
        assemble("npy", read(&self.train)?, test, self.task, self.classes, self.divisor)
    }
}

/// Reads an array as rows of features; also gives the shape of one row.
pub(super) fn read_rows(path: &Path) -> Result<(Array2<f32>, Vec<usize>)> {
    Numbers::open(path)?.into_rows(1.0)
}

/// Reads the features of an npz file: its array `x`.
pub(super) fn read_npz_rows(path: &Path) -> Result<Array2<f32>> {
    Ok(Archive::open(path)?.array(&NpzSource::new(path).x)?.into_rows(1.0)?.0)
}

/// An array as it was in the file, in row-major order.
struct Numbers {
    place: String,
    shape: Vec<usize>,
    values: Values,
}

/// Elements, no wider than they need be.
enum Values {
    Floats(Vec<f32>),
    Whole(Vec<i64>),
    Bytes(Vec<u8>),
}

impl Numbers {
    fn open(path: &Path) -> Result<Self> {
        let place = path.display().to_string();
        let file = File::open(path).map_err(|error| Error::input(&place, error))?;
        let file = NpyFile::new(BufReader::new(file)).map_err(|error| Error::input(&place, error))?;
        Self::read(file, &place)
    }

    fn read<R: Read>(file: NpyFile<R>, place: &str) -> Result<Self> {
        let shape: Vec<usize> = file.shape().iter().map(|&extent| extent as usize).collect();
        let fortran = file.order() == Order::Fortran;
        let dtype = file.dtype();
        let DType::Plain(kind) = &dtype else {
            return Err(Error::input(place, "its elements are records, not numbers"));
        };
        let whole = |v: Vec<i64>| Values::Whole(v);
        let values = match (kind.type_char(), kind.size_field()) {
            (TypeChar::Float, 4) => Values::Floats(elements(file, place, |v: f32| v)?),
            (TypeChar::Float, 8) => Values::Floats(elements(file, place, |v: f64| v as f32)?),
            (TypeChar::Bool, _) => Values::Bytes(elements(file, place, u8::from as fn(bool) -> u8)?),
            (TypeChar::Uint, 1) => Values::Bytes(elements(file, place, |v: u8| v)?),
            (TypeChar::Uint, 2) => whole(elements(file, place, i64::from as fn(u16) -> i64)?),
            (TypeChar::Uint, 4) => whole(elements(file, place, i64::from as fn(u32) -> i64)?),
            (TypeChar::Uint, 8) => whole(elements(file, place, |v: u64| i64::try_from(v).unwrap_or(i64::MAX))?),
            (TypeChar::Int, 1) => whole(elements(file, place, i64::from as fn(i8) -> i64)?),
            (TypeChar::Int, 2) => whole(elements(file, place, i64::from as fn(i16) -> i64)?),
            (TypeChar::Int, 4) => whole(elements(file, place, i64::from as fn(i32) -> i64)?),
            (TypeChar::Int, 8) => whole(elements(file, place, |v: i64| v)?),
            _ => {
                return Err(Error::input(place, format!("elements of type {} cannot be read", dtype.descr()))
                    .help("save the array as float32, float64 or integers"));
            }
        };
        let values = match values {
            _ if shape.is_empty() => return Err(Error::input(place, "a single number, not an array")),
            values if !fortran => values,
            Values::Floats(v) => Values::Floats(row_major(v, &shape, place)?),
            Values::Whole(v) => Values::Whole(row_major(v, &shape, place)?),
            Values::Bytes(v) => Values::Bytes(row_major(v, &shape, place)?),
        };
        Ok(Self { place: place.into(), shape, values })
    }

    /// As rows of features, divided; and the shape of one row.
    fn into_rows(self, divisor: f32) -> Result<(Array2<f32>, Vec<usize>)> {
        if self.shape.len() < 2 {
            let shape = &self.shape;
            return Err(Error::input(
                self.place,
                format!("features have two axes or more, this array has the shape {shape:?}"),
            )
            .help("reshape one feature a row to (rows, 1)"));
        }
        let values = match self.values {
            Values::Floats(v) if divisor == 1.0 => v,
            Values::Floats(v) => v.into_iter().map(|v| v / divisor).collect(),
            Values::Whole(v) => v.into_iter().map(|v| v as f32 / divisor).collect(),
            Values::Bytes(v) => v.into_iter().map(|v| f32::from(v) / divisor).collect(),
        };
        let sample = self.shape[1..].to_vec();
        let x = Array2::from_shape_vec((self.shape[0], sample.iter().product()), values)
            .map_err(|error| Error::input(self.place, error))?;
        Ok((x, sample))
    }

    fn is_whole(&self) -> bool {
        !matches!(self.values, Values::Floats(_))
    }

    fn into_labels(self) -> Result<Labels> {
        let Self { place, shape, values } = self;
        if shape[1..].iter().any(|&extent| extent != 1) {
            return Err(Error::input(place, format!("labels are one a row, this array has the shape {shape:?}")));
        }
        let whole = |row: usize, value: i64| {
            u32::try_from(value).map_err(|_| Error::input(&place, format!("row {row} (from 0): {value} is no label")))
        };
        let labels = match values {
            Values::Bytes(v) => v.into_iter().map(u32::from).collect(),
            Values::Whole(v) => v.into_iter().enumerate().map(|(row, v)| whole(row, v)).collect::<Result<_>>()?,
            Values::Floats(v) => v
                .into_iter()
                .enumerate()
                .map(|(row, v)| match v.fract() {
                    0.0 => whole(row, v as i64),
                    _ => Err(Error::input(&place, format!("row {row} (from 0): {v} is no label"))),
                })
                .collect::<Result<_>>()?,
        };
        Ok(Labels { labels, place })
    }

    fn into_values(mut self) -> Result<Targets> {
        if self.shape.len() == 1 {
            self.shape.push(1);
        }
        let (values, _) = self.into_rows(1.0)?;
        let width = values.ncols();
        Ok(Targets::Values { values: values.into_raw_vec_and_offset().0, width })
    }
}

fn elements<R: Read, T: Deserialize, O>(
    file: NpyFile<R>,
    place: impl Display,
    convert: impl Fn(T) -> O,
) -> Result<Vec<O>> {
    let expected = file.len();
    let reader = file.data::<T>().map_err(|error| Error::input(&place, error))?;
    let mut values = Vec::new();
    for value in reader {
        let found = values.len();
        values.push(convert(
            value.map_err(|error| {
                Error::input(&place, format!("expected {expected} elements, found {found}: {error}"))
            })?,
        ));
    }
    Ok(values)
}

/// Elements stored column by column, brought to row-major order.
fn row_major<T: Clone>(values: Vec<T>, shape: &[usize], place: &str) -> Result<Vec<T>> {
    let array = ArrayD::from_shape_vec(IxDyn(shape).f(), values).map_err(|error| Error::input(place, error))?;
    Ok(array.iter().cloned().collect())
}

fn assemble(
    name: &str,
    train: (Numbers, Numbers),
    test: Option<(Numbers, Numbers)>,
    task: Option<Task>,
    classes: Option<usize>,
    divisor: f32,
) -> Result<Splits> {
    if !(divisor.is_finite() && divisor != 0.0) {
        return Err(Error::input("divisor", format!("{divisor} divides nothing: it must be finite and not 0")));
    }
    let classification = task.map_or(train.1.is_whole(), |task| task == Task::Classification);
    let (features, targets): (Vec<_>, Vec<_>) = std::iter::once(train).chain(test).unzip();
    let targets: Vec<Targets> = if classification {
        let parts = targets.into_iter().map(Numbers::into_labels).collect::<Result<Vec<_>>>()?;
        // A class that one part lacks is a class of both.
        let classes = count_classes(&parts, classes)?;
        parts.into_iter().map(|part| Targets::Classes { labels: part.labels, classes }).collect()
    } else {
        targets.into_iter().map(Numbers::into_values).collect::<Result<_>>()?
    };
    let mut parts = features.into_iter().zip(targets).map(|(x, targets)| {
        let place = x.place.clone();
        let (x, sample) = x.into_rows(divisor)?;
        Dataset::new(place, x, targets)?.with_sample_shape(&sample)
    });
    let train = parts.next().expect("the training part is the first")?;
    Ok(Splits::new(name, train, parts.next().transpose()?)?.with_divisor(divisor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
    }

    /// The fixtures hold i·12 + j·4 + k at [i, j, k] of shape [2, 3, 4]; `tests/data/arrays.py` wrote them with numpy.
    #[test]
    fn targets_lie_beside_their_features() {
        for (x, y) in [("a/x.npy", "a/y.npy"), ("a/train_x.npy", "a/train_y.npy"), ("a/data.npy", "a/data-y.npy")] {
            assert_eq!(NpyPair::beside(Path::new(x)).y, Path::new(y));
        }
    }

    #[test]
    fn both_orders_and_all_number_types_are_read() {
        let expected: Vec<f32> = (0..24).map(|v| v as f32).collect();
        for name in ["c_f4", "c_f8", "fortran_f4", "fortran_f8", "big_endian_f8", "u1", "i2", "u4", "i8"] {
            let (x, sample) = read_rows(&fixture(&format!("{name}.npy"))).unwrap();
            assert_eq!((x.dim(), sample), ((2, 12), vec![3, 4]), "{name}");
            assert_eq!(x.as_slice().unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn an_npz_has_a_test_part_and_classes_of_both() {
        let splits = NpzSource { divisor: 2.0, ..NpzSource::new(fixture("parts.npz")) }.load().unwrap();
        assert_eq!(splits.train.targets(), &Targets::Classes { labels: vec![0, 2], classes: 5 });
        assert_eq!(splits.train.row(1)[..3], [6.0, 6.5, 7.0]);
        assert_eq!(splits.train.sample_shape(), [3, 4]);
        assert_eq!(splits.test.unwrap().targets(), &Targets::Classes { labels: vec![4], classes: 5 });
        let other =
            NpzSource { test: Some(fixture("parts.npz")), ..NpzSource::new(fixture("parts.npz")) }.load().unwrap();
        assert_eq!(other.test.unwrap().targets(), &Targets::Classes { labels: vec![0, 2], classes: 3 });
        let stated = |classes| NpzSource { classes: Some(classes), ..NpzSource::new(fixture("parts.npz")) }.load();
        assert_eq!(stated(9).unwrap().train.target_width(), 9);
        let error = stated(2).unwrap_err().to_string();
        assert!(error.contains("parts.npz: y: row 1 (from 0): label 2, expected 0 to 1"), "{error}");
        let missing = NpzSource { y: "labels".into(), ..NpzSource::new(fixture("parts.npz")) }.load().unwrap_err();
        assert!(missing.to_string().contains("labels: there is no such array\n  help: there are: "), "{missing}");
    }

    #[test]
    fn targets_follow_their_type_or_the_task() {
        let load = |y: &str, task| NpySource { task, ..NpySource::new(fixture("c_f4.npy"), fixture(y)) }.load();
        let values = |values: &[f32], width| Targets::Values { values: values.to_vec(), width };
        assert_eq!(
            load("y_i8.npy", None).unwrap().train.targets(),
            &Targets::Classes { labels: vec![3, 1], classes: 4 }
        );
        assert_eq!(load("y_i8.npy", Some(Task::Regression)).unwrap().train.targets(), &values(&[3.0, 1.0], 1));
        assert_eq!(load("y_f4.npy", None).unwrap().train.targets(), &values(&[0.5, -1.0, 1.5, 2.0], 2));
        assert!(load("y_f4.npy", Some(Task::Classification)).is_err());
        assert!(load("y_negative.npy", None).unwrap_err().to_string().contains("row 1 (from 0): -1 is no label"));
    }

    #[test]
    fn malformed_arrays_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut.npy");
        let bytes = std::fs::read(fixture("c_f4.npy")).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 6]).unwrap();
        let error = read_rows(&path).unwrap_err().to_string();
        assert!(error.contains("expected 24 elements, found 22"), "{error}");
        std::fs::write(&path, b"not numpy").unwrap();
        assert!(read_rows(&path).is_err());
        assert!(read_rows(&fixture("text.npy")).unwrap_err().to_string().contains("cannot be read"));
        assert!(read_rows(&fixture("y_i8.npy")).unwrap_err().to_string().contains("two axes or more"));
        assert!(read_rows(&fixture("absent.npy")).is_err());
    }
}

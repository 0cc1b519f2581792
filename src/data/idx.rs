//! IDX, the format of MNIST: plain or gzipped, told apart by their first bytes.
//!
//! A file is two zero bytes, a byte for the element type, a byte for the number of axes, the extent of each axis as a
//! big-endian u32, and the elements, row-major and big-endian.

use super::labels::{Labels, count_classes};
use super::{BytesDataset, Dataset, Splits, Targets};
use crate::base::{Error, Result, Threads};
use flate2::read::MultiGzDecoder;
use ndarray::Array2;
use std::fmt::Display;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The elements of an IDX file.
#[derive(Clone, Debug, PartialEq)]
pub enum Elements {
    /// Type byte 0x08.
    U8(Vec<u8>),
    /// Type byte 0x09.
    I8(Vec<i8>),
    /// Type byte 0x0B.
    I16(Vec<i16>),
    /// Type byte 0x0C.
    I32(Vec<i32>),
    /// Type byte 0x0D.
    F32(Vec<f32>),
    /// Type byte 0x0E.
    F64(Vec<f64>),
}

/// An IDX file: extents and elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Idx {
    /// The extent of each axis; the first counts the examples.
    pub shape: Vec<usize>,
    /// As many as the product of the extents, row-major.
    pub elements: Elements,
}

impl Idx {
    /// Reads a file, gzipped or not.
    ///
    /// # Errors
    /// The file cannot be read, or is not IDX (see [`Idx::parse`]).
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| Error::input(path.display(), error))?;
        Self::parse(&bytes, path.display())
    }

    /// Parses the bytes of a file, gzipped or not; `place` is for errors.
    ///
    /// # Errors
    /// A wrong magic number, an unknown element type, no axis, too few or too many bytes, damaged compression.
    pub fn parse(bytes: &[u8], place: impl Display) -> Result<Self> {
        if !bytes.starts_with(&[0x1f, 0x8b]) {
            return Self::parse_plain(bytes, &place);
        }
        let mut plain = Vec::new();
        MultiGzDecoder::new(bytes)
            .read_to_end(&mut plain)
            .map_err(|error| Error::input(&place, format!("damaged gzip data: {error}")))?;
        Self::parse_plain(&plain, &place)
    }

    fn parse_plain(bytes: &[u8], place: &impl Display) -> Result<Self> {
        let truncated = |expected: usize| {
            Error::input(place, format!("expected {expected} bytes, found {}", bytes.len()))
                .help("the file is cut short or carries something else after its end; fetch it again")
        };
        let Some(&[zero, also_zero, code, rank]) = bytes.first_chunk::<4>() else { return Err(truncated(4)) };
        let size = match code {
            0x08 | 0x09 => 1,
            0x0B => 2,
            0x0C | 0x0D => 4,
            0x0E => 8,
            _ => 0,
        };
        if zero != 0 || also_zero != 0 || size == 0 || rank == 0 {
            return Err(Error::input(
                place,
                format!("the magic number {:02x?} is not that of an IDX file", &bytes[..4]),
            )
            .help("an IDX file begins with 00 00, an element type (08, 09, 0b, 0c, 0d, 0e) and the number of axes"));
        }
        let head = 4 + 4 * usize::from(rank);
        let extents = bytes.get(4..head).ok_or_else(|| truncated(head))?;
        let shape: Vec<usize> = words(extents, |word| u32::from_be_bytes(word) as usize);
        let body = &bytes[head..];
        let expected = shape.iter().try_fold(size, |product: usize, &extent| product.checked_mul(extent));
        let expected = expected.and_then(|body| body.checked_add(head)).ok_or_else(|| {
            Error::input(place, format!("its extents {shape:?} make more elements than a machine can hold"))
        })?;
        if bytes.len() != expected {
            return Err(truncated(expected));
        }
        let elements = match code {
            0x08 => Elements::U8(body.to_vec()),
            0x09 => Elements::I8(words(body, i8::from_be_bytes)),
            0x0B => Elements::I16(words(body, i16::from_be_bytes)),
            0x0C => Elements::I32(words(body, i32::from_be_bytes)),
            0x0D => Elements::F32(words(body, f32::from_be_bytes)),
            _ => Elements::F64(words(body, f64::from_be_bytes)),
        };
        Ok(Self { shape, elements })
    }

    /// How many examples: the extent of the first axis.
    pub fn rows(&self) -> usize {
        self.shape[0]
    }

    /// The elements divided by `divisor`, as `[rows, product of the other extents]`.
    pub fn to_rows(&self, divisor: f32) -> Array2<f32> {
        self.to_rows_on(divisor, &Threads::single())
    }

    /// The same on several threads.
    pub(super) fn to_rows_on(&self, divisor: f32, threads: &Threads) -> Array2<f32> {
        let values = match &self.elements {
            Elements::U8(v) => convert(v, threads, |v| f32::from(v) / divisor),
            Elements::I8(v) => convert(v, threads, |v| f32::from(v) / divisor),
            Elements::I16(v) => convert(v, threads, |v| f32::from(v) / divisor),
            Elements::I32(v) => convert(v, threads, |v| (f64::from(v) / f64::from(divisor)) as f32),
            Elements::F32(v) => convert(v, threads, |v| v / divisor),
            Elements::F64(v) => convert(v, threads, |v| (v / f64::from(divisor)) as f32),
        };
        let features = self.shape[1..].iter().product();
        Array2::from_shape_vec((self.rows(), features), values).expect("the parser counted the elements")
    }

    /// The elements as class labels.
    ///
    /// # Errors
    /// More than one axis, elements that are not integers, or a negative one.
    pub fn to_labels(&self, place: impl Display) -> Result<Vec<u32>> {
        if self.shape.len() != 1 {
            return Err(Error::input(place, format!("labels have one axis, these have the extents {:?}", self.shape)));
        }
        let label = |(row, value): (usize, i32)| {
            u32::try_from(value)
                .map_err(|_| Error::input(&place, format!("row {row} (from 0): label {value} is negative")))
        };
        match &self.elements {
            Elements::U8(v) => Ok(v.iter().copied().map(u32::from).collect()),
            Elements::I8(v) => v.iter().copied().map(i32::from).enumerate().map(label).collect(),
            Elements::I16(v) => v.iter().copied().map(i32::from).enumerate().map(label).collect(),
            Elements::I32(v) => v.iter().copied().enumerate().map(label).collect(),
            Elements::F32(_) | Elements::F64(_) => Err(Error::input(&place, "labels are integers, these are floats")),
        }
    }
}

fn words<const N: usize, T>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (words, _) = bytes.as_chunks::<N>();
    words.iter().map(|&word| read(word)).collect()
}

/// Makes f32 of all elements, in chunks side by side.
fn convert<T: Copy + Sync>(elements: &[T], threads: &Threads, number: impl Fn(T) -> f32 + Sync) -> Vec<f32> {
    const CHUNK: usize = 1 << 18;
    let mut numbers = vec![0.0; elements.len()];
    threads.chunks(&mut numbers, CHUNK, |part, numbers| {
        let elements = &elements[part * CHUNK..][..numbers.len()];
        numbers.iter_mut().zip(elements).for_each(|(to, &from)| *to = number(from));
    });
    numbers
}

/// A data set of pictures and labels.
pub(super) fn labelled(
    name: &str,
    [images, labels]: [&Idx; 2],
    divisor: f32,
    classes: usize,
    threads: &Threads,
) -> Result<Dataset> {
    let labels = labels.to_labels(name)?;
    check_counts(name, images.rows(), labels.len())?;
    let data = Dataset::new(name, images.to_rows_on(divisor, threads), Targets::Classes { labels, classes })?;
    if images.shape.len() > 1 { data.with_sample_shape(&images.shape[1..]) } else { Ok(data) }
}

fn check_counts(name: &str, images: usize, labels: usize) -> Result<()> {
    if images == labels {
        return Ok(());
    }
    Err(Error::input(name, format!("{images} images, but {labels} labels"))
        .help("the two files do not belong together: take both from the same part of the data set"))
}

/// A file of pictures and the file of their labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdxPair {
    /// Pictures: any number of axes, the first counts the examples.
    pub images: PathBuf,
    /// Labels: one axis.
    pub labels: PathBuf,
}

impl IdxPair {
    /// Looks in `folder` for `{part}-images-idx3-ubyte` and `{part}-labels-idx1-ubyte`, also spelt with `.idx3` and also
    /// ending in `.gz`; with pictures of 1 to 4 axes.
    ///
    /// # Errors
    /// Only one of the two is there; `Ok(None)` if neither is.
    pub(super) fn find(folder: &Path, part: &str) -> Result<Option<Self>> {
        let find = |what: &str, ranks: &[u8]| {
            let names =
                ranks.iter().flat_map(|rank| ["-", "."].map(|dot| format!("{part}-{what}{dot}idx{rank}-ubyte")));
            let mut paths = names.flat_map(|name| [folder.join(&name), folder.join(format!("{name}.gz"))]);
            paths.find(|path| path.is_file())
        };
        let missing = |what: &str| Error::input(folder.display(), format!("there is no {part}-{what}-ubyte[.gz]"));
        match (find("images", &[3, 2, 4, 1]), find("labels", &[1])) {
            (Some(images), Some(labels)) => Ok(Some(Self { images, labels })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(missing("labels-idx1")),
            (None, Some(_)) => Err(missing("images-idx3")),
        }
    }

    fn name(&self) -> String {
        self.images.display().to_string()
    }
}

/// Pictures and labels of a part.
type Part = (Idx, Idx);

/// Reads the files of both parts side by side. One stream of gzip can only be decompressed from its beginning to its end, so the
/// largest file sets the time.
fn read_parts(train: &IdxPair, test: Option<&IdxPair>, threads: &Threads) -> Result<(Part, Option<Part>)> {
    let files: Vec<&Path> =
        [Some(train), test].into_iter().flatten().flat_map(|pair| [&*pair.images, &*pair.labels]).collect();
    let mut read: Vec<Option<Result<Idx>>> = vec![None; files.len()];
    threads.chunks(&mut read, 1, |file, read| read[0] = Some(Idx::read(files[file])));
    let mut read = read.into_iter().flatten().collect::<Result<Vec<_>>>()?.into_iter();
    let mut part = || read.next().zip(read.next());
    let train = part().expect("both files of the training part were read");
    Ok((train, part()))
}

/// Which IDX files hold the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdxFiles {
    /// A folder with files of MNIST's names: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, and for the test part
    /// `t10k-…` or `test-…`, which may be absent; each plain or with `.gz`.
    Folder(PathBuf),
    /// These files.
    Files {
        /// The training part.
        train: IdxPair,
        /// The test part.
        test: Option<IdxPair>,
    },
}

/// Pictures in IDX files.
#[derive(Clone, Debug, PartialEq)]
pub struct IdxSource {
    /// Where they are.
    pub files: IdxFiles,
    /// Pixels are divided by it: 255 brings bytes to [0, 1], 1 leaves them.
    pub divisor: f32,
    /// How many classes there are; as many as the labels need if unsaid.
    pub classes: Option<usize>,
}

impl IdxSource {
    /// A folder with files of MNIST's names, pixels divided by 255.
    pub fn folder(path: impl Into<PathBuf>) -> Self {
        Self { files: IdxFiles::Folder(path.into()), divisor: 255.0, classes: None }
    }

    fn pairs(&self) -> Result<(IdxPair, Option<IdxPair>)> {
        if !(self.divisor.is_finite() && self.divisor != 0.0) {
            return Err(Error::input(
                "divisor",
                format!("{} divides nothing: it must be finite and not 0", self.divisor),
            ));
        }
        let folder = match &self.files {
            IdxFiles::Files { train, test } => return Ok((train.clone(), test.clone())),
            IdxFiles::Folder(folder) => folder,
        };
        let train = IdxPair::find(folder, "train")?.ok_or_else(|| {
            Error::input(
                folder.display(),
                "there is no train-images-idx3-ubyte[.gz] and no train-labels-idx1-ubyte[.gz]",
            )
            .help("name the folder that holds the IDX files")
        })?;
        let test = match IdxPair::find(folder, "t10k")? {
            Some(pair) => Some(pair),
            None => IdxPair::find(folder, "test")?,
        };
        Ok((train, test))
    }

    /// Reads the data as f32.
    ///
    /// # Errors
    /// A file is missing or malformed, pictures and labels differ in number, or a label is beyond the classes there are.
    pub fn load(&self) -> Result<Splits> {
        self.load_on(&Threads::new(0)?)
    }

    pub(super) fn load_on(&self, threads: &Threads) -> Result<Splits> {
        let (train, test) = self.pairs()?;
        let ((images, labels), test_files) = read_parts(&train, test.as_ref(), threads)?;
        let classes = self.classes([Some((&train, &labels)), labels_of(&test, &test_files)])?;
        let test = match (&test, &test_files) {
            (Some(pair), Some((images, labels))) => {
                Some(labelled(&pair.name(), [images, labels], self.divisor, classes, threads)?)
            }
            _ => None,
        };
        let train = labelled(&train.name(), [&images, &labels], self.divisor, classes, threads)?;
        Ok(Splits::new("idx", train, test)?.with_divisor(self.divisor))
    }

    /// Reads the data and keeps its pixels as bytes, a quarter of the memory: training part, and test part if there is one.
    ///
    /// # Errors
    /// As [`IdxSource::load`], and pixels that are not bytes.
    pub fn load_bytes(&self) -> Result<(BytesDataset, Option<BytesDataset>)> {
        let (train, test) = self.pairs()?;
        let ((images, labels), test_files) = read_parts(&train, test.as_ref(), &Threads::new(0)?)?;
        let classes = self.classes([Some((&train, &labels)), labels_of(&test, &test_files)])?;
        let part = |pair: &IdxPair, images: Idx, labels: &Idx| {
            let labels = labels.to_labels(pair.labels.display())?;
            check_counts(&pair.name(), images.rows(), labels.len())?;
            let features = images.shape[1..].iter().product();
            let Elements::U8(bytes) = images.elements else {
                return Err(Error::input(
                    pair.images.display(),
                    "its elements are not bytes, so they cannot be kept as bytes",
                ));
            };
            BytesDataset::new(pair.name(), bytes, features, self.divisor, Targets::Classes { labels, classes })
        };
        let test = match (&test, test_files) {
            (Some(pair), Some((images, labels))) => Some(part(pair, images, &labels)?),
            _ => None,
        };
        Ok((part(&train, images, &labels)?, test))
    }

    /// How many classes the parts have together.
    fn classes(&self, parts: [Option<(&IdxPair, &Idx)>; 2]) -> Result<usize> {
        let read = |(pair, labels): (&IdxPair, &Idx)| {
            let place = pair.labels.display().to_string();
            Ok(Labels { labels: labels.to_labels(&place)?, place })
        };
        count_classes(&parts.into_iter().flatten().map(read).collect::<Result<Vec<_>>>()?, self.classes)
    }
}

/// The file of the labels of a part, and what it holds.
fn labels_of<'a>(pair: &'a Option<IdxPair>, files: &'a Option<(Idx, Idx)>) -> Option<(&'a IdxPair, &'a Idx)> {
    pair.as_ref().zip(files.as_ref().map(|(_, labels)| labels))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(code: u8, shape: &[u32], body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, code, shape.len() as u8];
        shape.iter().for_each(|extent| bytes.extend(extent.to_be_bytes()));
        bytes.extend(body);
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_element_type_is_read_plain_and_gzipped() {
        let cases = [
            (0x08, [1u8, 255].to_vec(), [1.0f32, 255.0]),
            (0x09, [1i8, -2].map(|v| v as u8).to_vec(), [1.0, -2.0]),
            (0x0B, [300i16, -2].map(i16::to_be_bytes).concat(), [300.0, -2.0]),
            (0x0C, [70_000i32, -2].map(i32::to_be_bytes).concat(), [70_000.0, -2.0]),
            (0x0D, [0.5f32, -2.0].map(f32::to_be_bytes).concat(), [0.5, -2.0]),
            (0x0E, [0.25f64, -2.0].map(f64::to_be_bytes).concat(), [0.25, -2.0]),
        ];
        for (code, body, expected) in cases {
            let plain = file(code, &[2, 1], &body);
            for bytes in [&plain, &gzip(&plain)] {
                let idx = Idx::parse(bytes, "t").unwrap();
                assert_eq!(idx.shape, [2, 1]);
                assert_eq!(idx.to_rows(2.0).as_slice().unwrap(), expected.map(|v| v / 2.0), "type {code:#x}");
            }
        }
    }

    #[test]
    fn malformed_files_are_refused_with_what_was_found() {
        let error = |bytes: &[u8]| Idx::parse(bytes, "bad.idx").unwrap_err().to_string();
        assert!(error(&[0, 0]).contains("expected 4 bytes, found 2"));
        assert!(error(&[0, 0, 8, 3, 0, 0]).contains("expected 16 bytes, found 6"));
        assert!(error(&file(8, &[3, 2], &[0; 5])).contains("bad.idx: expected 18 bytes, found 17"));
        assert!(error(&file(8, &[3, 2], &[0; 7])).contains("expected 18 bytes, found 19"));
        assert!(error(&file(7, &[1], &[0])).contains("magic number [00, 00, 07, 01]"));
        assert!(error(b"PNG files").contains("magic number"));
        assert!(error(&file(0x0E, &[u32::MAX; 3], &[])).contains("more elements than"));
        let mut cut = gzip(&file(8, &[3, 2], &[0; 6]));
        cut.truncate(cut.len() - 9);
        assert!(error(&cut).contains("damaged gzip data"));
        assert!(Idx::read(Path::new("no/such/file")).unwrap_err().to_string().starts_with("no/such/file: "));
    }

    #[test]
    fn labels_must_be_integers_that_are_not_negative() {
        let labels =
            |code, body: &[u8]| Idx::parse(&file(code, &[body.len() as u32], body), "l").unwrap().to_labels("l");
        assert_eq!(labels(8, &[3, 0]).unwrap(), [3, 0]);
        assert!(labels(9, &[3, 0xff]).unwrap_err().to_string().contains("row 1 (from 0): label -1"));
        let float = Idx { shape: vec![1], elements: Elements::F32(vec![1.0]) };
        assert!(float.to_labels("l").is_err());
    }

    #[test]
    fn a_folder_is_searched_and_its_parts_must_fit() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        let source = IdxSource::folder(folder.path());
        assert!(source.load().unwrap_err().to_string().contains("no train-images"));
        write("train-images-idx3-ubyte.gz", &gzip(&file(8, &[2, 1, 2], &[0, 51, 102, 255])));
        assert!(source.load().unwrap_err().to_string().contains("no train-labels"));
        write("train-labels.idx1-ubyte", &file(8, &[3], &[0, 1, 2]));
        assert!(source.load().unwrap_err().to_string().contains("2 images, but 3 labels"));
        write("train-labels.idx1-ubyte", &file(8, &[2], &[0, 1]));
        write("test-images-idx3-ubyte", &file(8, &[1, 1, 2], &[0, 51]));
        write("test-labels-idx1-ubyte", &file(8, &[1], &[4]));
        let splits = source.load().unwrap();
        assert_eq!(splits.train.values(), [0.0, 0.2, 0.4, 1.0]);
        assert_eq!((splits.train.sample_shape(), splits.train.target_width()), (&[1, 2][..], 5));
        assert_eq!(splits.test.unwrap().len(), 1);
        let stated = |classes| IdxSource { classes: Some(classes), ..source.clone() }.load();
        assert_eq!(stated(7).unwrap().train.target_width(), 7);
        let error = stated(3).unwrap_err().to_string();
        assert!(error.contains("test-labels-idx1-ubyte: row 0 (from 0): label 4, expected 0 to 2"), "{error}");
        write("train-labels.idx1-ubyte", &file(8, &[2, 1], &[0, 1]));
        assert!(source.load().unwrap_err().to_string().contains("train-labels.idx1-ubyte: labels have one axis"));
    }

    /// Sums computed with numpy from the same files.
    #[test]
    fn mnist_is_read_if_it_is_there() {
        let folder = std::env::var_os("STEEPEST_MNIST")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/mnist"), PathBuf::from);
        if !folder.is_dir() {
            println!("SKIPPED: no MNIST in {}; STEEPEST_MNIST can name its folder", folder.display());
            return;
        }
        let source = IdxSource { divisor: 1.0, ..IdxSource::folder(folder) };
        let splits = source.load().unwrap();
        let test = splits.test.as_ref().unwrap();
        let sum = |data: &Dataset| data.values().iter().map(|&v| f64::from(v)).sum::<f64>();
        assert_eq!((splits.train.len(), test.len(), splits.train.sample_shape()), (60_000, 10_000, &[28, 28][..]));
        assert_eq!((sum(&splits.train), sum(test)), (1_567_298_545.0, 264_923_200.0));
        assert_eq!(test.class_counts(), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
    }
}

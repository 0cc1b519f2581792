//! Folders of pictures, one for each class, as torchvision's `ImageFolder` has them: `DIR/cat/1.png`, `DIR/dog/2.png`.
//!
//! Classes are the names of the folders, sorted; examples go by class, then by the name of their file. Names are sorted as
//! text, by the bytes of UTF-8, so that `10.png` comes before `2.png`. Hidden entries, whose names begin with a dot, are left out;
//! every other file in the folder of a class is a PNG, or an error. [`super::picture`] says how one becomes features.

use super::picture::{self, Format};
use super::{Dataset, Splits, Targets};
use crate::base::{Error, Result, Threads};
use ndarray::Array2;
use std::path::{Path, PathBuf};

/// What raw bytes are divided by where a model of pictures is given them in another form. Pictures lie in [0, 1] as they are read.
const DIVISOR: f32 = 255.0;

/// What such data is called where its preparation is kept.
pub(super) const NAME: &str = "pictures";

/// Folders of pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderSource {
    /// The folder with a folder for each class.
    pub path: PathBuf,
    /// A folder of the same form with the examples of the test part. A class may be missing there.
    pub test: Option<PathBuf>,
}

impl FolderSource {
    /// A folder without a test part.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), test: None }
    }

    /// Reads all pictures. The first says which size all have; if one is in colour, grey ones get three equal channels.
    ///
    /// # Errors
    /// A folder is missing, holds no folders of classes or a single one, or one of them is empty or holds another folder; a
    /// file is no PNG, is broken, or has another size; a class of the test part that the training part does not have. Of several
    /// files the first is named.
    pub(super) fn load_on(&self, threads: &Threads) -> Result<Splits> {
        let classes = class_folders(&self.path)?;
        if let [only] = classes.as_slice() {
            let message = format!("there is one class only, `{}`: nothing can be told apart", only.name);
            return Err(Error::input(self.path.display(), message).help("add a folder for each other class"));
        }
        let names: Vec<String> = classes.into_iter().map(|class| class.name).collect();
        let train = Labelled::list(&self.path, &names)?;
        let test = self.test.as_ref().map(|path| Labelled::list(path, &names)).transpose()?;
        let format = common_format(&train.files, threads)?;
        let part = |path: &Path, listed: Labelled| -> Result<Dataset> {
            let targets = Targets::Classes { labels: listed.labels, classes: names.len() };
            Dataset::new(path.display().to_string(), read(&listed.files, format, threads)?, targets)?
                .with_sample_shape(&format.shape())?
                .with_class_names(names.clone())
        };
        let train = part(&self.path, train)?;
        let test = self.test.as_deref().zip(test).map(|(path, listed)| part(path, listed)).transpose()?;
        Ok(Splits::new(NAME, train, test)?.with_divisor(DIVISOR))
    }
}

/// Files of pictures with their labels.
pub(super) struct Labelled {
    pub files: Vec<PathBuf>,
    pub labels: Vec<u32>,
}

impl Labelled {
    /// What lies in the folders of classes in `path`, whose names are among `known`.
    pub fn list(path: &Path, known: &[String]) -> Result<Self> {
        let (mut files, mut labels) = (Vec::new(), Vec::new());
        for class in class_folders(path)? {
            let label = known.iter().position(|name| *name == class.name).ok_or_else(|| {
                let shown = known.iter().take(12).cloned().collect::<Vec<_>>().join(", ");
                let more = if known.len() > 12 { ", …" } else { "" };
                let message = format!("the class `{}` does not occur in the training data", class.name);
                Error::input(class.path.display(), message).help(format!("known there: {shown}{more}"))
            })?;
            files.extend(pictures(&class.path)?);
            labels.resize(files.len(), label as u32);
        }
        Ok(Self { files, labels })
    }
}

/// Pictures without labels: a file, those of a folder, or those of its folders of classes.
pub(super) fn unlabelled(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    if !entries(path)?.iter().any(|entry| entry.is_folder) {
        return pictures(path);
    }
    let folders = class_folders(path)?;
    let files = folders.iter().map(|class| pictures(&class.path)).collect::<Result<Vec<_>>>()?;
    Ok(files.concat())
}

/// Whether a folder, or a folder in it, holds a file whose name is that of a PNG.
pub(super) fn holds_pictures(path: &Path) -> bool {
    let named = |entries: &[Entry]| entries.iter().any(Entry::is_picture);
    let Ok(found) = entries(path) else { return false };
    named(&found) || found.iter().any(|entry| entry.is_folder && entries(&entry.path).is_ok_and(|inner| named(&inner)))
}

/// Reads pictures of one format: `[files, features]`.
///
/// # Errors
/// That of the first file that has one.
pub(super) fn read(files: &[PathBuf], format: Format, threads: &Threads) -> Result<Array2<f32>> {
    let features = format.features();
    let numbers = files.len() * features;
    let mut x = Vec::new();
    x.try_reserve_exact(numbers).map_err(|_| {
        let place = files[0].parent().unwrap_or(&files[0]).display();
        Error::input(place, format!("{} pictures of {features} numbers do not fit into memory", files.len()))
    })?;
    x.resize(numbers, 0.0);
    let mut outcomes: Vec<Result<()>> = vec![Ok(()); files.len()];
    threads.zip_chunks(&mut x, features, &mut outcomes, 1, |file, x, outcome| {
        outcome[0] = picture::read(&files[file], format, x);
    });
    outcomes.into_iter().collect::<Result<()>>()?;
    Ok(Array2::from_shape_vec((files.len(), features), x).expect("a row was made for each file"))
}

/// The size of the first picture, which all others must have; in colour if one of them is.
fn common_format(files: &[PathBuf], threads: &Threads) -> Result<Format> {
    let mut first = picture::format_of(&files[0])?;
    let mut formats: Vec<Result<Format>> = vec![Ok(first); files.len()];
    threads.chunks(&mut formats, 1, |file, format| format[0] = picture::format_of(&files[file]));
    let any = Format { colour: true, ..first };
    for (path, format) in files.iter().zip(formats) {
        let format = format?;
        any.check(format, path)?;
        first.colour |= format.colour;
    }
    Ok(first)
}

struct Entry {
    name: String,
    path: PathBuf,
    is_folder: bool,
}

impl Entry {
    fn is_picture(&self) -> bool {
        !self.is_folder && self.path.extension().is_some_and(|end| end.eq_ignore_ascii_case("png"))
    }
}

/// What lies in a folder, by name; hidden entries left out.
fn entries(folder: &Path) -> Result<Vec<Entry>> {
    let unreadable = |error: std::io::Error| Error::input(folder.display(), error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        let name = entry.file_name().into_string();
        let name = name.map_err(|_| Error::input(path.display(), "its name is not UTF-8 text").help("rename it"))?;
        if name.starts_with('.') {
            continue;
        }
        // Links are followed.
        let is_folder = std::fs::metadata(&path).map_err(|error| Error::input(path.display(), error))?.is_dir();
        found.push(Entry { name, path, is_folder });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// The folders of classes, of which there is one at least.
fn class_folders(path: &Path) -> Result<Vec<Entry>> {
    const FORM: &str = "put the pictures of each class into a folder of its name: cat/1.png, dog/2.png";
    let entries = entries(path)?;
    if !entries.iter().any(|entry| entry.is_folder) {
        return Err(Error::input(path.display(), "there are no folders of classes in it").help(FORM));
    }
    if let Some(stray) = entries.iter().find(|entry| entry.is_picture()) {
        return Err(Error::input(stray.path.display(), "the picture lies beside the folders of classes").help(FORM));
    }
    Ok(entries.into_iter().filter(|entry| entry.is_folder).collect())
}

/// The files of a folder, of which there is one at least.
fn pictures(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = entries(folder)?;
    if entries.is_empty() {
        return Err(
            Error::input(folder.display(), "the folder is empty").help("put PNG files into it, or take it away")
        );
    }
    if let Some(inner) = entries.iter().find(|entry| entry.is_folder) {
        let message = "a folder where pictures are expected: they lie directly in the folder of their class";
        return Err(Error::input(inner.path.display(), message)
            .help("if there is a folder for training and one for the test, name them as `path` and `test_path`"));
    }
    Ok(entries.into_iter().map(|entry| entry.path).collect())
}

//! The folder of a run. Nothing in it is ever half-written under its final name.

use crate::base::{Error, Result};
use serde_json::{Map, Value};
use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The file that every run folder has, and by which one is known.
pub const ENVIRONMENT_FILE: &str = "environment.json";

/// What a file is called while it is written: its name, this, and the number of the process.
const UNFINISHED: &str = ".part-";

/// What is known of every run: the version, the command line, the system, the time.
pub fn environment() -> Map<String, Value> {
    let command: Vec<String> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let cores = std::thread::available_parallelism().map_or(Value::Null, |n| Value::from(n.get()));
    let mut environment = Map::new();
    environment.insert("steepest".into(), env!("CARGO_PKG_VERSION").into());
    environment.insert("started_utc".into(), utc_stamp(SystemTime::now()).into());
    environment.insert("command".into(), command.into());
    environment.insert("os".into(), std::env::consts::OS.into());
    environment.insert("arch".into(), std::env::consts::ARCH.into());
    environment.insert("cores".into(), cores);
    environment
}

/// The folder of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// A new folder: `out` if given, else `<runs>/<UTC time>-<name>`, with `-2`, `-3`, … if that is taken.
    ///
    /// # Errors
    /// `out` exists and is not an empty folder, or the folder cannot be made.
    pub fn create(out: Option<&Path>, runs: &Path, name: &str) -> Result<Self> {
        match out {
            Some(out) => Self::create_at(out),
            None => Self::create_in(runs, &format!("{}-{}", utc_stamp(SystemTime::now()), plain_name(name))),
        }
    }

    fn create_at(out: &Path) -> Result<Self> {
        if out.exists() && !out.is_dir() {
            return Err(Error::input(out.display(), "is a file; the run needs a folder"));
        }
        fs::create_dir_all(out).map_err(|e| not_made(out, &e))?;
        let mut entries = fs::read_dir(out).map_err(|e| not_made(out, &e))?;
        if entries.next().is_none() {
            return Ok(Self { path: out.to_path_buf() });
        }
        let error = Error::input(out.display(), "the folder is not empty, and a run never overwrites files");
        Err(if is_run(out) {
            error.help("it holds a run: resume that one (train --resume), or give the new one another folder")
        } else {
            error.help("give a folder that is empty or does not exist yet")
        })
    }

    fn create_in(runs: &Path, stem: &str) -> Result<Self> {
        fs::create_dir_all(runs).map_err(|e| not_made(runs, &e))?;
        for n in 1u32.. {
            let path = runs.join(if n == 1 { stem.to_string() } else { format!("{stem}-{n}") });
            // Making the folder is the claim to it: two runs that start in the same second get two folders.
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(not_made(&path, &e)),
            }
        }
        Err(Error::failure(runs.display(), "no name is left for a run folder"))
    }

    /// The folder of a run that exists, to resume or to read it.
    ///
    /// # Errors
    /// It is not the folder of a run.
    pub fn open(path: &Path) -> Result<Self> {
        if is_run(path) {
            return Ok(Self { path: path.to_path_buf() });
        }
        let message = if path.is_dir() {
            format!("is not the folder of a run: it has no {ENVIRONMENT_FILE}")
        } else if path.exists() {
            "is a file, not the folder of a run".to_string()
        } else {
            "there is no such folder".to_string()
        };
        Err(Error::input(path.display(), message).help("give the folder that the run named when it began"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it.
    pub fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file of it as [`write_atomic`] does. `name` may have folders in it, which are made.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_atomic(&self, name: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
        write_atomic(&self.file(name), bytes)
    }

    /// Writes `environment.json`: what is known of every run (the version, the command line, the system, the time), then
    /// `facts` (device, driver, seed, …), which win where a key is the same.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_environment(&self, facts: impl IntoIterator<Item = (String, Value)>) -> Result<()> {
        let mut environment = environment();
        environment.extend(facts);
        self.write_atomic(ENVIRONMENT_FILE, &json_text(ENVIRONMENT_FILE, &environment)?)
    }

    /// Adds to `environment.json` that the run goes on: an entry of its list `resumed` with the time and `facts`.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn note_resumed(&self, facts: impl IntoIterator<Item = (String, Value)>) -> Result<()> {
        let path = self.file(ENVIRONMENT_FILE);
        let text = fs::read(&path).map_err(|e| Error::input(path.display(), format!("could not be read: {e}")))?;
        let mut environment: Map<String, Value> =
            serde_json::from_slice(&text).map_err(|e| Error::input(path.display(), format!("is no JSON: {e}")))?;
        let mut entry = Map::from_iter([("started_utc".to_owned(), utc_stamp(SystemTime::now()).into())]);
        entry.extend(facts);
        match environment.entry("resumed").or_insert_with(|| Value::Array(Vec::new())) {
            Value::Array(entries) => entries.push(entry.into()),
            other => *other = Value::Array(vec![entry.into()]),
        }
        self.write_atomic(ENVIRONMENT_FILE, &json_text(ENVIRONMENT_FILE, &environment)?)
    }

    /// Removes files that a killed run had begun to write. Nobody else may be writing in the folder.
    pub fn remove_unfinished(&self) {
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().contains(UNFINISHED) {
                // What cannot be removed does no harm.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Pretty JSON with a newline at its end.
pub(super) fn json_text(place: &str, value: &impl serde::Serialize) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|e| Error::failure(place, e))?;
    text.push(b'\n');
    Ok(text)
}

/// Writes a file so that it has its old content or the new one whole, whatever happens meanwhile: to a name beside it
/// first, to the disk, and then renamed.
///
/// # Errors
/// The file cannot be written; then no trace of it is left.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    Staged::write(path, |file| file.write_all(bytes).map_err(|e| unwritten(path, &e)))?.commit()
}

/// A file that is on the disk whole, under another name than its own until [`Staged::commit`]. Dropped before, it leaves no
/// trace, and the file of its name is as it was.
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    /// The name that it has meanwhile; none once it has its own.
    temporary: Option<PathBuf>,
}

impl Staged {
    /// Has `content` write what is to become the file `path`; the folder is made where there is none.
    ///
    /// # Errors
    /// Those of `content`, or the file cannot be written.
    pub fn write(path: &Path, content: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(format!("{UNFINISHED}{}", std::process::id()));
        let staged = Self { path: path.to_owned(), temporary: Some(name.clone().into()) };
        let refuse = |e: std::io::Error| unwritten(path, &e);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(refuse)?;
        }
        let mut file = BufWriter::new(File::create(&name).map_err(refuse)?);
        content(&mut file)?;
        file.flush().map_err(refuse)?;
        file.get_ref().sync_all().map_err(refuse)?;
        Ok(staged)
    }

    /// Gives the file its name, in place of the one that has it.
    ///
    /// # Errors
    /// It cannot be renamed; then no trace of it is left.
    pub fn commit(mut self) -> Result<()> {
        let Some(temporary) = &self.temporary else { return Ok(()) };
        fs::rename(temporary, &self.path).map_err(|e| unwritten(&self.path, &e))?;
        self.temporary = None;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // What cannot be removed does no harm: a run that goes on removes it.
            let _ = fs::remove_file(temporary);
        }
    }
}

/// The error of a file that cannot be written.
pub(super) fn unwritten(path: &Path, e: &std::io::Error) -> Error {
    refused(path, "could not be written", e)
}

fn is_run(path: &Path) -> bool {
    path.join(ENVIRONMENT_FILE).is_file()
}

fn not_made(path: &Path, e: &std::io::Error) -> Error {
    refused(path, "the folder of the run could not be made", e)
}

/// A place where nothing may or can be written is wrong input; a full or broken disk is a failure.
fn refused(path: &Path, what: &str, e: &std::io::Error) -> Error {
    let message = format!("{what}: {e}");
    match e.kind() {
        ErrorKind::NotFound
        | ErrorKind::PermissionDenied
        | ErrorKind::AlreadyExists
        | ErrorKind::NotADirectory
        | ErrorKind::IsADirectory
        | ErrorKind::ReadOnlyFilesystem
        | ErrorKind::InvalidFilename => Error::input(path.display(), message),
        _ => Error::failure(path.display(), message),
    }
}

/// The name with everything but letters, digits, `.`, `_` and `-` replaced: one folder on every system.
fn plain_name(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = name.chars().map(plain).collect();
    let name = name.trim_matches(['.', '-']);
    if name.is_empty() { "run".into() } else { name.into() }
}

/// `YYYYMMDD-HHMMSS` in UTC.
fn utc_stamp(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = civil(seconds / 86_400);
    let second = seconds % 86_400;
    format!("{year:04}{month:02}{day:02}-{:02}{:02}{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// The Gregorian date of a day counted from 1970-01-01 (H. Hinnant's algorithm: years begin in March, so that the leap day
/// is the last of a year).
fn civil(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + u64::from(month <= 2), month, date)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_utc() {
        for (seconds, stamp) in [
            (0, "19700101-000000"),
            (951_782_399, "20000228-235959"),
            (951_868_800, "20000301-000000"),
            (951_782_400, "20000229-000000"),
            (1_709_210_096, "20240229-123456"),
            (4_107_542_400, "21000301-000000"),
        ] {
            assert_eq!(utc_stamp(UNIX_EPOCH + Duration::from_secs(seconds)), stamp, "{seconds}");
        }
    }

    #[test]
    fn folders_are_named_by_time_and_name_and_never_shared() {
        let base = tempfile::tempdir().unwrap();
        let runs = base.path().join("runs");
        let paths: Vec<_> = (0..3).map(|_| RunFolder::create_in(&runs, "20240229-123456-mlp").unwrap().path).collect();
        let names: Vec<_> = paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["20240229-123456-mlp", "20240229-123456-mlp-2", "20240229-123456-mlp-3"]);
        let made = RunFolder::create(None, &runs, "../a b").unwrap();
        let name = made.path().file_name().unwrap().to_str().unwrap();
        assert!(made.path().parent() == Some(&runs) && name.len() == 19 && name.ends_with("-a-b"), "{name}");
        assert_eq!(plain_name("//"), "run");
    }

    #[test]
    fn a_folder_with_files_is_refused_with_the_reason() {
        let base = tempfile::tempdir().unwrap();
        let out = base.path().join("deep/out");
        let create = || RunFolder::create(Some(&out), Path::new("unused"), "x");
        let folder = create().unwrap();
        assert_eq!(create().unwrap(), folder, "an empty one is taken");
        fs::write(out.join("thesis.txt"), "x").unwrap();
        let error = create().unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("empty or does not exist"), "{error}");
        assert!(RunFolder::open(&out).unwrap_err().to_string().contains(ENVIRONMENT_FILE));
        folder.write_environment([("seed".to_string(), 7.into()), ("os".to_string(), "other".into())]).unwrap();
        let error = create().unwrap_err().to_string();
        assert!(error.contains("resume that one"), "{error}");
        assert_eq!(RunFolder::open(&out).unwrap(), folder);
        let environment: Value = serde_json::from_slice(&fs::read(folder.file(ENVIRONMENT_FILE)).unwrap()).unwrap();
        assert_eq!((&environment["seed"], &environment["os"]), (&7.into(), &"other".into()));
        assert!(environment["steepest"].is_string() && environment["command"].is_array());
        for step in [3, 9] {
            folder.note_resumed([("step".to_string(), step.into())]).unwrap();
        }
        let environment: Value = serde_json::from_slice(&fs::read(folder.file(ENVIRONMENT_FILE)).unwrap()).unwrap();
        assert_eq!((&environment["seed"], &environment["resumed"][1]["step"]), (&7.into(), &9.into()));
        assert!(environment["resumed"][0]["started_utc"].is_string());
        assert!(RunFolder::open(&out.join("none")).unwrap_err().to_string().contains("no such folder"));
        let file = RunFolder::create(Some(&out.join("thesis.txt")), Path::new("unused"), "x");
        assert!(file.unwrap_err().to_string().contains("is a file"));
    }

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let base = tempfile::tempdir().unwrap();
        let folder = RunFolder { path: base.path().to_path_buf() };
        folder.write_atomic("a/summary.json", b"old").unwrap();
        folder.write_atomic("a/summary.json", b"new").unwrap();
        assert_eq!(fs::read(folder.file("a/summary.json")).unwrap(), b"new");
        fs::write(folder.file(format!("summary.json{UNFINISHED}1")), b"ne").unwrap();
        folder.remove_unfinished();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "what was begun is gone");
        // A folder in the way makes the rename fail.
        fs::create_dir_all(folder.file("b/summary.json/in the way")).unwrap();
        let error = folder.write_atomic("b/summary.json", b"new").unwrap_err();
        assert!(error.place().ends_with("summary.json") && error.exit_code() == 2, "{error}");
        for (name, files) in [("a", 1), ("b", 1)] {
            assert_eq!(fs::read_dir(folder.file(name)).unwrap().count(), files, "no temporary file is left");
        }
    }
}

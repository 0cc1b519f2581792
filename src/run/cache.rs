//! Where this program keeps what it can make again: compiled kernels.

use std::ffi::OsString;
use std::path::PathBuf;

/// The environment variable that names the folder; `off` keeps nothing.
pub const CACHE_DIR: &str = "STEEPEST_CACHE_DIR";

/// The folder: the one that [`CACHE_DIR`] names, else `steepest` in the user's folder for such files (`XDG_CACHE_HOME`,
/// `~/.cache`, on Windows `LOCALAPPDATA`). None where that is turned off, or nobody knows of one.
pub fn cache_folder() -> Option<PathBuf> {
    folder(|name| std::env::var_os(name))
}

fn folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    match set(CACHE_DIR) {
        Some(off) if off == "off" => None,
        Some(folder) => Some(PathBuf::from(folder)),
        None => {
            let home = || set("HOME").map(|home| PathBuf::from(home).join(".cache"));
            let caches = set("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
            let caches = caches.or_else(home).or_else(|| set("LOCALAPPDATA").map(PathBuf::from));
            caches.map(|caches| caches.join("steepest"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_the_one_that_is_named_or_the_users() {
        let with = |set: &[(&str, &str)]| {
            let set: Vec<(String, OsString)> = set.iter().map(|(name, value)| ((*name).into(), value.into())).collect();
            folder(|name| set.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()))
        };
        let home = ("HOME", "/u/a");
        for (set, expected) in [
            (&[home][..], Some("/u/a/.cache/steepest")),
            (&[home, ("XDG_CACHE_HOME", "/t/caches")], Some("/t/caches/steepest")),
            // The specification has relative paths ignored.
            (&[home, ("XDG_CACHE_HOME", "caches")], Some("/u/a/.cache/steepest")),
            (&[home, ("XDG_CACHE_HOME", "/t/caches"), (CACHE_DIR, "/t/own")], Some("/t/own")),
            (&[home, (CACHE_DIR, "")], Some("/u/a/.cache/steepest")),
            (&[home, (CACHE_DIR, "off")], None),
            (&[("LOCALAPPDATA", "/local")], Some("/local/steepest")),
            (&[], None),
        ] {
            assert_eq!(with(set), expected.map(PathBuf::from), "{set:?}");
        }
    }
}

//! Which kernels were found the fastest on a device: written by `steepest tune`, read when a device is opened.
//!
//! A file holds for one device. Its key is whatever may change how fast a kernel is, or what its name stands for: the adapter, its
//! driver, the version of the GPU's library, and the text of all shaders. A file of another key, or one that cannot be read, is as good as none.

use super::folder::{json_text, write_atomic};
use crate::base::{Error, Result};
use crate::exec::AdapterInfo;
use crate::exec::gpu::VERSION;
use crate::ops::{matmul, shaders};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Kernels by problem, as [`crate::graph::Ways`] names both.
pub type Choices = BTreeMap<String, String>;

/// What choices hold for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChoicesKey {
    adapter: String,
    backend: String,
    driver: String,
    /// The version of the GPU's library.
    library: String,
    /// The hash of all kernels.
    kernels: String,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(flatten)]
    key: ChoicesKey,
    choices: Choices,
}

/// FNV-1a, in 64 bits.
fn hash<'a>(texts: impl IntoIterator<Item = &'a str>) -> u64 {
    let bytes = texts.into_iter().flat_map(|text| text.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

impl ChoicesKey {
    /// The key of an adapter.
    pub fn of(adapter: &AdapterInfo) -> Self {
        let table = matmul::kernels();
        let mut texts: Vec<&str> = shaders::texts().collect();
        texts.push(&table);
        Self {
            adapter: adapter.name.clone(),
            backend: adapter.backend.clone(),
            driver: format!("{} {}", adapter.driver, adapter.driver_info).trim().to_owned(),
            library: VERSION.to_owned(),
            kernels: format!("{:016x}", hash(texts)),
        }
    }

    /// The file's name: one for each adapter and driver, so that a new version takes the place of the old one.
    fn file(&self, folder: &Path) -> PathBuf {
        folder.join(format!("kernels-{:016x}.json", hash([&*self.adapter, &*self.backend, &*self.driver])))
    }

    /// The choices in this folder, and a note if there is a file that does not count.
    pub fn read(&self, folder: &Path) -> (Choices, Option<String>) {
        let path = self.file(folder);
        let ignored = |why: String| (Choices::new(), Some(format!("{} is ignored: {why}", path.display())));
        match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (Choices::new(), None),
            Err(error) => ignored(error.to_string()),
            Ok(bytes) => match serde_json::from_slice::<Stored>(&bytes) {
                Err(error) => ignored(error.to_string()),
                Ok(stored) if stored.key != *self => {
                    ignored("it was measured with another version; `steepest tune` measures again".to_owned())
                }
                Ok(stored) => (stored.choices, None),
            },
        }
    }

    /// Adds choices to those in the folder, which is made if it is not there. Gives the file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, folder: &Path, choices: &Choices) -> Result<PathBuf> {
        let (mut all, _) = self.read(folder);
        all.extend(choices.iter().map(|(problem, way)| (problem.clone(), way.clone())));
        std::fs::create_dir_all(folder).map_err(|error| Error::failure(folder.display(), error))?;
        let path = self.file(folder);
        let stored = Stored { key: self.clone(), choices: all };
        write_atomic(&path, &json_text(&path.display().to_string(), &stored)?)?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::AdapterKind;

    fn adapter() -> AdapterInfo {
        AdapterInfo {
            index: 0,
            name: "card".into(),
            backend: "vulkan".into(),
            driver: "driver".into(),
            driver_info: "1.2".into(),
            kind: AdapterKind::Discrete,
            compute: true,
            buffer_bytes_max: 1 << 28,
            binding_bytes_max: 1 << 27,
            storage_buffers_max: 8,
            workgroup_bytes_max: 16384,
            workgroup_threads_max: 256,
            features: Vec::new(),
        }
    }

    fn choices(of: &[(&str, &str)]) -> Choices {
        of.iter().map(|(problem, way)| ((*problem).to_owned(), (*way).to_owned())).collect()
    }

    #[test]
    fn choices_are_kept_and_added_to() {
        let folder = tempfile::tempdir().unwrap();
        let (key, folder) = (ChoicesKey::of(&adapter()), folder.path().join("below"));
        assert_eq!(key.read(&folder), (Choices::new(), None));
        key.write(&folder, &choices(&[("a", "x"), ("b", "x")])).unwrap();
        key.write(&folder, &choices(&[("b", "y"), ("c", "z")])).unwrap();
        assert_eq!(key.read(&folder), (choices(&[("a", "x"), ("b", "y"), ("c", "z")]), None));
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_is_broken_or_of_another_version_is_ignored_with_a_note() {
        let folder = tempfile::tempdir().unwrap();
        let (key, folder) = (ChoicesKey::of(&adapter()), folder.path());
        let path = key.write(folder, &choices(&[("a", "x")])).unwrap();
        for other in
            [ChoicesKey { kernels: "0".into(), ..key.clone() }, ChoicesKey { library: "29.0.0".into(), ..key.clone() }]
        {
            let (found, note) = other.read(folder);
            assert!(found.is_empty() && note.unwrap().contains("another version"));
        }
        let driver = AdapterInfo { driver_info: "1.3".into(), ..adapter() };
        assert_eq!(ChoicesKey::of(&driver).read(folder), (Choices::new(), None), "another driver has another file");
        let whole = std::fs::read(&path).unwrap();
        for broken in [&whole[..whole.len() / 2], b"", b"[]", b"{}"] {
            std::fs::write(&path, broken).unwrap();
            let (found, note) = key.read(folder);
            assert!(found.is_empty() && note.unwrap().contains("is ignored"), "{broken:?}");
        }
        key.write(folder, &choices(&[("b", "y")])).unwrap();
        assert_eq!(key.read(folder), (choices(&[("b", "y")]), None), "a new one takes its place");
    }
}

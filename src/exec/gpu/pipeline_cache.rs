//! Compiled kernels on the disk, where a backend hands them out (Vulkan does): the next run does not compile them again.
//!
//! The file is one of adapter, driver, and the versions of wgpu and this crate. It is replaced as a whole, so that runs side by
//! side do no harm, and one that is broken, cut short, or of another program is as good as none. Nothing here ever fails a run.

use super::device::Device;
use std::path::{Path, PathBuf};

/// The version of wgpu, whose data it is; a test compares it with what the crate is built with.
const WGPU: &str = "30.0.1";

/// What the file begins with, before eight bytes of [`checksum`].
const MAGIC: &[u8; 16] = b"steepest kernels";

/// The kernels of one adapter, in memory and in a file.
#[derive(Debug)]
pub(super) struct PipelineCache {
    cache: wgpu::PipelineCache,
    file: PathBuf,
    /// The checksum of what the file holds.
    stored: Option<u64>,
}

/// FNV-1a of 64 bits.
fn checksum(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// The data of a file, if it is whole.
fn unpack(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (sum, data) = rest.split_first_chunk()?;
    (u64::from_le_bytes(*sum) == checksum(data)).then_some(data)
}

fn pack(data: &[u8]) -> Vec<u8> {
    [MAGIC.as_slice(), &checksum(data).to_le_bytes(), data].concat()
}

/// The file's name: what other adapters, drivers and versions have no use for has another one.
fn file_name(key: &str, driver: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let name = format!("{key}_{driver}_wgpu-{WGPU}_steepest-{version}");
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    name.chars().map(plain).collect::<String>() + ".kernels"
}

impl PipelineCache {
    /// What there is for this adapter; none where the backend hands out nothing.
    pub fn open(device: &Device, adapter: &wgpu::Adapter, folder: &Path) -> Option<Self> {
        if !device.device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let info = adapter.get_info();
        let key = wgpu::util::pipeline_cache_key(&info)?;
        let file = folder.join(file_name(&key, &format!("{} {}", info.driver, info.driver_info)));
        let bytes = std::fs::read(&file).unwrap_or_default();
        let data = unpack(&bytes);
        let stored = data.map(checksum);
        let scope = device.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let descriptor = wgpu::PipelineCacheDescriptor { label: Some("kernels"), data, fallback: true };
        // SAFETY: the data is what `get_data` gave, since the file has this program's mark and the checksum of what was written;
        // wgpu checks that it was for this adapter and driver.
        let cache = unsafe { device.device.create_pipeline_cache(&descriptor) };
        pollster::block_on(scope.pop()).is_none().then_some(Self { cache, file, stored })
    }

    /// What pipelines are made with.
    pub fn handle(&self) -> &wgpu::PipelineCache {
        &self.cache
    }

    /// Writes what has come to the file.
    pub fn save(&mut self) {
        let Some(data) = self.cache.get_data() else { return };
        let sum = checksum(&data);
        if self.stored != Some(sum) && replace(&self.file, &pack(&data)).is_ok() {
            self.stored = Some(sum);
        }
    }
}

/// Replaces a file as a whole.
fn replace(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let temporary = file.with_extension(format!("{}.tmp", std::process::id()));
    let written = std::fs::write(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, file));
    if written.is_err() {
        // What is left of it is of no use.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_file_of_this_program_is_taken() {
        let whole = pack(b"compiled");
        assert_eq!(unpack(&whole), Some(b"compiled".as_slice()));
        assert_eq!(unpack(&pack(b"")), Some(b"".as_slice()));
        for len in 0..whole.len() {
            assert_eq!(unpack(&whole[..len]), None, "cut after {len} bytes");
        }
        for i in 0..whole.len() {
            let mut broken = whole.clone();
            broken[i] ^= 4;
            assert_eq!(unpack(&broken), None, "byte {i} is another");
        }
    }

    #[test]
    fn names_are_file_names_and_tell_drivers_apart() {
        let name = file_name("wgpu_pipeline_cache_vulkan_1_2", "Mesa 22.3.6 (LLVM 15/a)");
        assert!(name.starts_with("wgpu_pipeline_cache_vulkan_1_2_Mesa-22.3.6--LLVM-15-a-_wgpu-"), "{name}");
        assert_ne!(name, file_name("wgpu_pipeline_cache_vulkan_1_2", "Mesa 22.3.7 (LLVM 15/a)"));
    }

    #[test]
    fn the_version_of_wgpu_is_the_one_in_use() {
        let lock = include_str!("../../../Cargo.lock");
        assert!(lock.contains(&format!("name = \"wgpu\"\nversion = \"{WGPU}\"\n")), "{WGPU}");
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deep/kernels");
        for text in ["first", "second"] {
            replace(&file, text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        }
        assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "nothing else is left");
        // Where a folder stands in the way, nothing is replaced and nothing is left.
        let blocked = folder.path().join("blocked");
        std::fs::create_dir(&blocked).unwrap();
        std::fs::write(blocked.join("x"), "x").unwrap();
        assert!(replace(&blocked, b"first").is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}

//! From settings to an executor.

use super::cache::cache_folder;
use super::choices::{Choices, ChoicesKey};
use crate::base::{Result, Threads};
use crate::config::{Config, Precision};
use crate::exec::{AdapterInfo, Choice, Cpu, DeviceRequest, Devices, Executor, Float, Gpu, GpuOptions, choose};
use std::sync::{Arc, OnceLock};

/// A device, opened.
pub struct Device {
    /// The executor on it.
    pub executor: Box<dyn Executor + Send>,
    /// The threads of a CPU.
    pub threads: Option<Arc<Threads>>,
    /// Why this device.
    pub reason: String,
}

/// Opens the device that a config asks for. The CPU by name is opened without a look at the GPUs, which takes time.
///
/// # Errors
/// If there is no such device, or it does not open.
pub fn open_device(config: &Config) -> Result<Device> {
    let (found, reason) = find(config)?;
    let reason = match (config.train.precision, &found) {
        (Precision::Mixed, Some(_)) => format!("{reason}; mixed precision: products read halves and add in f32"),
        (Precision::Mixed, None) => {
            format!("{reason}; mixed precision is played: it rounds as a GPU would, and is not faster")
        }
        _ => reason,
    };
    match found {
        None => cpu(config, reason),
        Some((devices, adapter)) => {
            let (choices, note) = choices(config, &adapter);
            let gpu = devices.open(&adapter, &GpuOptions { choices, ..options(config) })?;
            let reason = note.map_or(reason.clone(), |note| format!("{reason}; {note}"));
            Ok(Device { executor: Box::new(gpu), threads: None, reason })
        }
    }
}

/// Opens the GPU that a config asks for, with no kernel chosen by timing, and says which adapter it is; none if it is the CPU.
///
/// # Errors
/// If there is no such device, or it does not open.
pub(super) fn open_gpu(config: &Config) -> Result<Option<(Gpu, AdapterInfo)>> {
    let (Some((devices, adapter)), _) = find(config)? else { return Ok(None) };
    Ok(Some((devices.open(&adapter, &options(config))?, adapter)))
}

fn options(config: &Config) -> GpuOptions {
    let memory_bytes = config.device.memory_limit.map(|bytes| bytes.0);
    GpuOptions { memory_bytes, cache: cache_folder(), ..GpuOptions::default() }
}

/// The kernels that were found the fastest on this adapter, and a note if there are some that do not count.
fn choices(config: &Config, adapter: &AdapterInfo) -> (Choices, Option<String>) {
    match cache_folder() {
        Some(folder) if !config.device.deterministic => ChoicesKey::of(adapter).read(&folder),
        _ => Default::default(),
    }
}

/// The adapter that a config asks for, among those that are there; none for the CPU. And why this one.
fn find(config: &Config) -> Result<(Option<(Devices, AdapterInfo)>, String)> {
    let request: DeviceRequest = config.device.device.parse().unwrap_or_default();
    let float = match config.train.precision {
        Precision::F32 => Float::F32,
        Precision::F64 => Float::F64,
        Precision::Mixed => Float::Mixed,
    };
    if request == DeviceRequest::Cpu {
        return Ok((None, "it was asked for".into()));
    }
    // Drivers take their time to tell what is there, and some write to the terminal: they are asked once, and again only by who
    // opens one.
    static KNOWN: OnceLock<Vec<AdapterInfo>> = OnceLock::new();
    let mut devices = None;
    let known = KNOWN.get_or_init(|| devices.insert(Devices::find()).list().to_vec());
    let Choice { adapter, reason } = choose(&request, float, known)?;
    Ok((adapter.map(|adapter| (devices.unwrap_or_else(Devices::find), adapter)), reason))
}

fn cpu(config: &Config, reason: String) -> Result<Device> {
    let limit = config.device.memory_limit.map(|bytes| bytes.0);
    let threads = Arc::new(Threads::new(config.device.threads.unwrap_or(0))?);
    let executor: Box<dyn Executor + Send> = match config.train.precision {
        Precision::F32 | Precision::Mixed => Box::new(Cpu::<f32>::new(threads.clone(), limit)),
        Precision::F64 => Box::new(Cpu::<f64>::new(threads.clone(), limit)),
    };
    Ok(Device { executor, threads: Some(threads), reason })
}

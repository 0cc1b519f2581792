//! From settings to an executor.

use super::cache::cache_folder;
use crate::base::{Result, Threads};
use crate::config::{Config, Precision};
use crate::exec::{Cpu, DeviceRequest, Devices, Executor, Float, GpuOptions};
use std::sync::Arc;

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
    let request: DeviceRequest = config.device.device.parse().unwrap_or_default();
    let limit = config.device.memory_limit.map(|bytes| bytes.0);
    let float = match config.train.precision {
        Precision::F32 => Float::F32,
        Precision::F64 => Float::F64,
    };
    if request == DeviceRequest::Cpu {
        return cpu(config, limit, "it was asked for".into());
    }
    let devices = Devices::find();
    let choice = devices.choose(&request, float)?;
    match &choice.adapter {
        None => cpu(config, limit, choice.reason),
        Some(adapter) => {
            let options = GpuOptions { memory_bytes: limit, cache: cache_folder(), ..GpuOptions::default() };
            let gpu = devices.open(adapter, &options)?;
            Ok(Device { executor: Box::new(gpu), threads: None, reason: choice.reason })
        }
    }
}

fn cpu(config: &Config, limit: Option<u64>, reason: String) -> Result<Device> {
    let threads = Arc::new(Threads::new(config.device.threads.unwrap_or(0))?);
    let executor: Box<dyn Executor + Send> = match config.train.precision {
        Precision::F32 => Box::new(Cpu::<f32>::new(threads.clone(), limit)),
        Precision::F64 => Box::new(Cpu::<f64>::new(threads.clone(), limit)),
    };
    Ok(Device { executor, threads: Some(threads), reason })
}

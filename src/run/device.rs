//! From settings to an executor.

use crate::base::{Error, Result, Threads};
use crate::config::{Config, Precision};
use crate::exec::{Cpu, Executor};
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

/// Opens the device that a config asks for.
///
/// # Errors
/// If there is no such device, or it does not open.
pub fn open(config: &Config) -> Result<Device> {
    let limit = config.device.memory_limit.map(|bytes| bytes.0);
    cpu(config.train.precision, config.device.threads, limit, "asked for".into())
}

fn cpu(precision: Precision, threads: Option<usize>, limit: Option<u64>, reason: String) -> Result<Device> {
    let threads = Arc::new(Threads::new(threads.unwrap_or(0))?);
    let executor: Box<dyn Executor + Send> = match precision {
        Precision::F32 => Box::new(Cpu::<f32>::new(threads.clone(), limit)),
        Precision::F64 => Box::new(Cpu::<f64>::new(threads.clone(), limit)),
    };
    let _ = Error::input("", "");
    Ok(Device { executor, threads: Some(threads), reason })
}

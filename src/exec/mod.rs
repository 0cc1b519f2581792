//! Executors: they interpret plans. Upload, run, download, wait.
//!
//! An executor owns no thread and never blocks in [`Executor::submit`]: it gives a ticket, and [`Executor::poll`] delivers
//! what was asked to be read back, a few steps later.

mod choose;
mod cpu;
pub mod gpu;
mod numbers;
mod profile;

pub use choose::{AdapterInfo, AdapterKind, Choice, DeviceRequest, Float, choose};
pub use cpu::Cpu;
pub use gpu::{Devices, Gpu, GpuOptions};
pub use profile::{Clock, PlanTimes, Times};

use crate::base::Result;
use crate::graph::StepScalars;
use crate::plan::Plan;

/// A plan that an executor holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanId(pub(crate) usize);

/// A shared buffer of an executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferId(pub(crate) usize);

/// Numbers on their way to a buffer; the executor rounds them to its own precision.
#[derive(Clone, Copy, Debug)]
pub enum Host<'a> {
    /// Real numbers in single precision.
    F32(&'a [f32]),
    /// Real numbers in double precision.
    F64(&'a [f64]),
    /// Indices.
    U32(&'a [u32]),
}

impl Host<'_> {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(data) => data.len(),
            Self::F64(data) => data.len(),
            Self::U32(data) => data.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What one submission does: uploads, plans in order, and one buffer to read back.
#[derive(Clone, Copy, Debug)]
pub struct Submission<'a> {
    /// What is written first, each to the start of its buffer.
    pub uploads: &'a [(BufferId, Host<'a>)],
    /// The plans to replay, in order.
    pub plans: &'a [PlanId],
    /// The numbers of this step.
    pub scalars: StepScalars,
    /// The buffer that [`Executor::poll`] delivers, as it is after the plans.
    pub readback: Option<BufferId>,
    /// Delivered with the buffer: which step it is.
    pub tag: u64,
}

/// Counters that prove what the hot path does not do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Submissions.
    pub submissions: u64,
    /// Command buffers that they went in.
    pub command_buffers: u64,
    /// Device buffers created.
    pub buffers: u64,
    /// Bind groups created.
    pub bind_groups: u64,
    /// Pipelines created.
    pub pipelines: u64,
    /// How often the host waited for the device while that had no further submission to work on.
    pub stalls: u64,
}

/// What a device is, for records and reports.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct DeviceInfo {
    /// `cpu`, or the adapter's name.
    pub name: String,
    /// `cpu`, `vulkan`, `metal`, `dx12`, `gl`.
    pub backend: String,
    /// The driver and its version; for a CPU the instruction sets in use.
    pub driver: String,
    /// `discrete`, `integrated`, `virtual`, `software`, `cpu`.
    pub kind: String,
    /// The scalar type: `f32` or `f64`.
    pub precision: String,
    /// Threads of a CPU executor.
    pub threads: Option<usize>,
    /// The most elements of one binding: arenas are cut there.
    pub binding_len_max: usize,
    /// The memory that plans may take, in bytes, where it is known.
    pub memory_bytes: Option<u64>,
    /// How kernels are chosen that make the same result up to rounding: `table` by shape and class of device, `tuned` if some were
    /// chosen by timings of `steepest tune`. None where no plan has such kernels, as on a CPU.
    pub kernels: Option<String>,
}

/// An executor: a device with the plans and buffers on it.
pub trait Executor {
    /// What it runs on.
    fn info(&self) -> &DeviceInfo;

    /// Compiles the kernels of plans that are to be loaded, side by side. What it leaves out, loading does.
    ///
    /// # Errors
    /// If a kernel does not compile.
    fn prepare(&mut self, _plans: &[&Plan]) -> Result<()> {
        Ok(())
    }

    /// Takes a plan: shared buffers that are new are made (zero-filled), kernels are compiled, scratch memory is set aside.
    ///
    /// # Errors
    /// If it does not fit into the device's memory, or a kernel does not compile.
    fn load(&mut self, plan: &Plan) -> Result<PlanId>;

    /// The shared buffer with this name, once a plan has named it.
    fn buffer(&self, name: &str) -> Option<BufferId>;

    /// Writes to a shared buffer from element `offset` on.
    ///
    /// # Errors
    /// If the device is lost.
    fn write(&mut self, buffer: BufferId, offset: usize, data: Host<'_>) -> Result<()>;

    /// Reads `len` real numbers of a shared buffer from element `offset` on: waits for all that was submitted.
    ///
    /// # Errors
    /// If the device is lost.
    fn read(&mut self, buffer: BufferId, offset: usize, len: usize) -> Result<Vec<f64>>;

    /// Starts the work and returns at once.
    ///
    /// # Errors
    /// If the device is lost, or more submissions with a reading are in flight than [`Executor::in_flight_max`].
    fn submit(&mut self, submission: &Submission<'_>) -> Result<()>;

    /// Delivers the oldest reading that is ready into `reading` (whose room is reused) and returns its tag. With `wait`, it
    /// waits for the oldest one in flight.
    ///
    /// # Errors
    /// If the device is lost.
    fn poll(&mut self, reading: &mut Vec<f64>, wait: bool) -> Result<Option<u64>>;

    /// How many submissions with a reading have not been delivered.
    fn in_flight(&self) -> usize;

    /// How many may be, at present: a device that takes several at once has more under way.
    fn in_flight_max(&self) -> usize;

    /// Waits until all that was submitted is done.
    ///
    /// # Errors
    /// If the device is lost.
    fn finish(&mut self) -> Result<()>;

    /// Takes times from here on: each submission is slower, and on a GPU it is waited for. Without it no clock is read.
    ///
    /// # Errors
    /// If a plan is loaded already.
    fn profile(&mut self) -> Result<()>;

    /// The times so far, if they are taken.
    fn times(&self) -> Option<&Times>;

    /// The counters so far.
    fn counters(&self) -> Counters;
}

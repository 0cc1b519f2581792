//! The GPU executor: plans replayed through wgpu. Nothing outside of this folder names wgpu.
//!
//! A submission is copies out of a ring of upload buffers, one compute pass for the dispatches of all its plans, and a copy
//! into a ring of buffers for readings; several submissions share a command buffer where they are short (`pending.rs`). A run
//! that has started makes no buffer, bind group or pipeline, and waits for nothing but readings.

mod buffers;
mod device;
mod devices;
mod pending;
mod pipeline_cache;
mod pipelines;
mod profile;
mod readings;
mod replay;
mod ring;
mod step;
#[cfg(test)]
mod tests;
mod transfer;
mod uploads;

pub use devices::{Devices, list};

use super::choose::{AdapterInfo, AdapterKind};
use super::profile::Times;
use super::{BufferId, Counters, DeviceInfo, Executor, Host, PlanId, Submission};
use crate::base::{Error, Result};
use crate::graph::{Class, GpuWork, Target};
use crate::plan::{Bundle, Limits, Plan, Step};
use buffers::{Buffers, WORD};
use device::Device;
use pending::Pending;
use pipeline_cache::PipelineCache;
use pipelines::Pipelines;
use profile::Profiler;
use readings::Readings;
use replay::{Loader, Replay};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;
use uploads::Uploads;

/// How a GPU is opened.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Only what WebGPU promises on every adapter: 8 storage buffers, 16 KiB of workgroup memory, no optional feature.
    pub downlevel: bool,
    /// Shaders check every index and loop at run time, and workgroup memory starts at zero: slower, for tests.
    pub checked: bool,
    /// Whether dispatches that need nothing of each other run as one kernel. If it is not said they do on hardware; a software
    /// adapter runs every workgroup through all parts of a kernel.
    pub bundled: Option<bool>,
    /// How many submissions share a command buffer; found from the time that they take if it is not said.
    pub grouped: Option<usize>,
    /// The folder in which compiled kernels are kept for the next run.
    pub cache: Option<PathBuf>,
    /// The memory that plans may take, in bytes.
    pub memory_bytes: Option<u64>,
    /// Ways by problem that were found the fastest on this device; see [`Target`].
    pub choices: BTreeMap<String, String>,
}

/// The version of wgpu: kernels that were timed with another one are timed again.
pub const VERSION: &str = "30.0.1";

/// A GPU as an executor, in f32.
#[derive(Debug)]
pub struct Gpu {
    info: DeviceInfo,
    target: Target,
    buffers: Buffers,
    pipelines: Pipelines,
    plans: Vec<Replay>,
    uploads: Uploads,
    readings: Readings,
    pending: Pending,
    bundled: bool,
    /// Where times are taken.
    profiler: Option<Profiler>,
    /// The last of the fields, so that everything made by the device is gone before it.
    device: Device,
}

impl Gpu {
    fn new(adapter: &wgpu::Adapter, listed: &AdapterInfo, options: &GpuOptions) -> Result<Self> {
        let device = Device::open(adapter, options.downlevel)?;
        let binding_bytes = device.limits.max_storage_buffer_binding_size.min(device.limits.max_buffer_size);
        let info = DeviceInfo {
            name: listed.name.clone(),
            backend: listed.backend.clone(),
            driver: format!("{} {}", listed.driver, listed.driver_info).trim().to_owned(),
            kind: listed.kind.to_string(),
            precision: "f32".into(),
            threads: None,
            binding_len_max: usize::try_from(binding_bytes).unwrap_or(usize::MAX) / WORD,
            memory_bytes: options.memory_bytes,
            kernels: None,
        };
        let target = device.target(class(listed.kind), options.choices.clone());
        let cache = options.cache.as_deref().and_then(|folder| PipelineCache::open(&device, adapter, folder));
        let pipelines = Pipelines::new(&device, options.checked, cache);
        let uploads = Uploads::new(&device, pipelines.step_layout())?;
        let (buffers, plans, readings) = (Buffers::default(), Vec::new(), Readings::new());
        let bundled = options.bundled.unwrap_or(listed.kind != AdapterKind::Software);
        let pending = Pending::new(options.grouped);
        let profiler = None;
        Ok(Self { info, target, buffers, pipelines, plans, uploads, readings, pending, bundled, profiler, device })
    }

    /// From now on plans are loaded with these ways, by problem.
    pub fn choose(&mut self, choices: BTreeMap<String, String>) {
        self.target.choices = choices;
    }

    /// What work is picked for.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Notes in the device's description how the kernels of work that has several ways are chosen.
    fn note_kernels(&mut self, plan: &Plan) {
        if self.info.kernels.as_deref() == Some(TUNED) {
            return;
        }
        let work: Vec<GpuWork> = plan.steps.iter().map(Step::work).collect();
        let mut ways = work.iter().filter_map(|work| work.ways.as_deref()).peekable();
        if ways.peek().is_some() {
            let is_tuned = ways.any(|ways| self.target.by_choice(ways).is_some());
            self.info.kernels = Some(if is_tuned { TUNED } else { TABLE }.to_owned());
        }
    }

    fn check_memory(&self, plan: &Plan, work: &[GpuWork]) -> Result<()> {
        let Some(limit) = self.info.memory_bytes else { return Ok(()) };
        let needed = self.buffers.needed(plan, work);
        if needed <= limit {
            return Ok(());
        }
        let message = format!("it needs {needed} bytes, the limit is {limit}");
        Err(Error::input(format!("plan {}", plan.name), message)
            .help("use a smaller micro_batch, or raise device.memory_limit"))
    }

    /// The dispatches of a plan, bundled for this device.
    fn bundles(&self, plan: &Plan) -> Result<Vec<Bundle>> {
        let buffers = self.device.limits.max_storage_buffers_per_shader_stage as usize;
        // More workgroup memory than every adapter has would leave a compute unit fewer workgroups to go on with.
        let limits = Limits { buffers, ..Limits::LEAST };
        // Times are those of steps, so each is by itself where they are taken.
        let bundled = self.bundled && self.profiler.is_none();
        if bundled { plan.bundles(&self.target, limits) } else { plan.dispatches(&self.target) }
    }

    /// Encodes a submission whose numbers are staged, behind those that wait to leave.
    fn encode(&mut self, submission: &Submission<'_>) -> Result<()> {
        let encoder = self.pending.encoder(&self.device);
        let slot = self.uploads.encode(&self.device, &self.buffers, submission, encoder)?;
        if !submission.plans.is_empty() {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_bind_group(1, slot.group, &[slot.offset]);
            submission.plans.iter().for_each(|plan| self.plans[plan.0].encode(&mut pass));
        }
        if let Some(buffer) = submission.readback {
            self.readings.encode(&self.device, self.buffers.get(buffer.0), submission.tag, encoder)?;
        }
        Ok(())
    }

    /// Sends off what waits to leave.
    fn flush(&mut self) -> Result<()> {
        if let Some(submitted) = self.pending.flush(&self.device) {
            self.uploads.submitted(submitted.clone());
            self.readings.submitted(&submitted);
        }
        self.device.check()
    }
}

/// How kernels are chosen: [`DeviceInfo::kernels`].
const TUNED: &str = "tuned";
const TABLE: &str = "table";

/// The class of an adapter.
fn class(kind: AdapterKind) -> Class {
    match kind {
        AdapterKind::Software => Class::Software,
        AdapterKind::Integrated => Class::Integrated,
        AdapterKind::Discrete | AdapterKind::Virtual | AdapterKind::Unknown => Class::Discrete,
    }
}

impl Executor for Gpu {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn prepare(&mut self, plans: &[&Plan]) -> Result<()> {
        self.device.check()?;
        let mut bundles = Vec::new();
        for plan in plans {
            bundles.extend(self.bundles(plan)?);
        }
        self.pipelines.prepare(&self.device, &bundles)
    }

    fn load(&mut self, plan: &Plan) -> Result<PlanId> {
        self.flush()?;
        self.note_kernels(plan);
        let work: Vec<GpuWork> = plan.steps.iter().map(|step| step.gpu(&self.target)).collect();
        self.check_memory(plan, &work)?;
        let bundles = self.bundles(plan)?;
        let Self { device, buffers, pipelines, plans, .. } = self;
        pipelines.prepare(device, &bundles).map_err(|error| error.within(format!("plan {}", plan.name)))?;
        let places = buffers.provide(device, plan, &work)?;
        for known in plans.iter_mut() {
            known.rebind(device, buffers, &places.replaced);
        }
        let replay = Loader { device, pipelines, buffers, places: &places }.load(plan, &work, &bundles)?;
        plans.push(replay);
        if let Some(profiler) = &mut self.profiler {
            profiler.push(plan, &work);
        }
        Ok(PlanId(plans.len() - 1))
    }

    fn buffer(&self, name: &str) -> Option<BufferId> {
        self.buffers.find(name).map(BufferId)
    }

    fn write(&mut self, buffer: BufferId, offset: usize, data: Host<'_>) -> Result<()> {
        // What was submitted before comes before.
        self.flush()?;
        let memory = self.buffers.target(&self.device, buffer.0, offset, &data)?;
        transfer::write(&self.device, memory, offset, data)
    }

    fn read(&mut self, buffer: BufferId, offset: usize, len: usize) -> Result<Vec<f64>> {
        self.flush()?;
        let memory = self.buffers.range(&self.device, buffer.0, offset, len)?;
        transfer::read(&self.device, memory, offset, len)
    }

    fn submit(&mut self, submission: &Submission<'_>) -> Result<()> {
        self.device.check()?;
        let readback = submission.readback.map(|buffer| self.buffers.get(buffer.0));
        self.readings.make_room(&self.device, readback, self.in_flight_max())?;
        let bytes = self.uploads.prepare(&self.device, &self.buffers, submission)?;
        if !self.uploads.has_room() {
            // The one to be waited for may be among those that wait to leave.
            self.flush()?;
        }
        let start = self.profiler.is_some().then(Instant::now);
        self.uploads.stage(&self.device, submission, bytes)?;
        self.device.count_submission();
        if let Some(start) = start {
            return self.submit_profiled(submission, start.elapsed().as_secs_f64());
        }
        self.encode(submission)?;
        if self.pending.is_full() { self.flush() } else { Ok(()) }
    }

    fn poll(&mut self, reading: &mut Vec<f64>, wait: bool) -> Result<Option<u64>> {
        if wait && self.readings.awaits_last(self.pending.last()) {
            self.flush()?;
        }
        let delivered = self.readings.poll(&self.device, reading, wait)?;
        self.pending.learn();
        Ok(delivered)
    }

    fn in_flight(&self) -> usize {
        self.readings.count()
    }

    fn in_flight_max(&self) -> usize {
        // While the device has one command buffer to work on, the next one is filled.
        (2 * self.pending.most()).clamp(ring::LEAST, ring::RING)
    }

    fn finish(&mut self) -> Result<()> {
        self.flush()?;
        self.device.wait(None)
    }

    fn profile(&mut self) -> Result<()> {
        self.profiler = Some(Profiler::new(&self.device, self.plans.len())?);
        Ok(())
    }

    fn times(&self) -> Option<&Times> {
        self.profiler.as_ref().map(|profiler| &profiler.times)
    }

    fn counters(&self) -> Counters {
        self.device.counters()
    }
}

//! The GPU executor: plans replayed through wgpu. Nothing outside of this folder names wgpu.
//!
//! A submission is one command buffer: copies out of a ring of upload buffers, one compute pass for the dispatches of all
//! its plans, and a copy into a ring of buffers for readings. A run that has started makes no buffer, bind group or
//! pipeline, and waits for nothing but readings.

mod buffers;
mod device;
mod devices;
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

use super::choose::AdapterInfo;
use super::profile::Times;
use super::{BufferId, Counters, DeviceInfo, Executor, Host, PlanId, Submission};
use crate::base::{Error, Result};
use crate::graph::GpuWork;
use crate::plan::Plan;
use buffers::{Buffers, WORD};
use device::Device;
use pipelines::Pipelines;
use profile::Profiler;
use readings::Readings;
use replay::{Loader, Replay};
use std::time::Instant;
use uploads::Uploads;

/// How a GPU is opened.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Only what WebGPU promises on every adapter: 8 storage buffers, 16 KiB of workgroup memory, no optional feature.
    pub downlevel: bool,
    /// Shaders check every index and loop at run time, and workgroup memory starts at zero: slower, for tests.
    pub checked: bool,
    /// The memory that plans may take, in bytes.
    pub memory_bytes: Option<u64>,
}

/// A GPU as an executor, in f32.
#[derive(Debug)]
pub struct Gpu {
    info: DeviceInfo,
    buffers: Buffers,
    pipelines: Pipelines,
    plans: Vec<Replay>,
    uploads: Uploads,
    readings: Readings,
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
        };
        let pipelines = Pipelines::new(&device, options.checked);
        let uploads = Uploads::new(&device, pipelines.step_layout())?;
        let (buffers, plans, readings) = (Buffers::default(), Vec::new(), Readings::new());
        Ok(Self { info, buffers, pipelines, plans, uploads, readings, profiler: None, device })
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

    /// Encodes and starts a submission whose numbers are staged.
    fn start(&mut self, submission: &Submission<'_>) -> Result<()> {
        let mut encoder = self.device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let slot = self.uploads.encode(&self.device, &self.buffers, submission, &mut encoder)?;
        if !submission.plans.is_empty() {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_bind_group(1, slot.group, &[slot.offset]);
            submission.plans.iter().for_each(|plan| self.plans[plan.0].encode(&mut pass));
        }
        if let Some(buffer) = submission.readback {
            self.readings.encode(&self.device, self.buffers.get(buffer.0), submission.tag, &mut encoder)?;
        }
        let submitted = self.device.submit(encoder.finish());
        self.uploads.submitted(submitted.clone());
        self.readings.submitted(submitted);
        self.device.check()
    }
}

impl Executor for Gpu {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn load(&mut self, plan: &Plan) -> Result<PlanId> {
        self.device.check()?;
        let work: Vec<GpuWork> =
            plan.steps.iter().map(|step| step.op.gpu(&step.input_types(), &step.output_types())).collect();
        self.check_memory(plan, &work)?;
        let Self { device, buffers, pipelines, plans, .. } = self;
        let places = buffers.provide(device, plan, &work)?;
        for known in plans.iter_mut() {
            known.rebind(device, buffers, &places.replaced);
        }
        let replay = Loader { device, pipelines, buffers, places: &places }.load(plan, &work)?;
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
        self.device.check()?;
        let memory = self.buffers.target(&self.device, buffer.0, offset, &data)?;
        transfer::write(&self.device, memory, offset, data)
    }

    fn read(&mut self, buffer: BufferId, offset: usize, len: usize) -> Result<Vec<f64>> {
        self.device.check()?;
        let memory = self.buffers.range(&self.device, buffer.0, offset, len)?;
        transfer::read(&self.device, memory, offset, len)
    }

    fn submit(&mut self, submission: &Submission<'_>) -> Result<()> {
        self.device.check()?;
        let readback = submission.readback.map(|buffer| self.buffers.get(buffer.0));
        self.readings.make_room(&self.device, readback)?;
        let start = self.profiler.is_some().then(Instant::now);
        self.uploads.stage(&self.device, &self.buffers, submission)?;
        match start {
            Some(start) => self.start_profiled(submission, start.elapsed().as_secs_f64()),
            None => self.start(submission),
        }
    }

    fn poll(&mut self, reading: &mut Vec<f64>, wait: bool) -> Result<Option<u64>> {
        self.readings.poll(&self.device, reading, wait)
    }

    fn in_flight(&self) -> usize {
        self.readings.count()
    }

    fn in_flight_max(&self) -> usize {
        ring::RING
    }

    fn finish(&mut self) -> Result<()> {
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

//! The device and its queue. What goes wrong there arrives through callbacks and error scopes and leaves as [`Error`]s.

use super::devices::FEATURES;
use crate::base::{Error, Result};
use crate::exec::Counters;
use crate::graph::{Class, Target};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A logical device.
#[derive(Debug)]
pub(super) struct Device {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub limits: wgpu::Limits,
    name: String,
    /// The smallest and the largest subgroup, where kernels may use them.
    subgroups: Option<[u32; 2]>,
    /// The first thing that went wrong outside of an error scope; nothing works after it.
    fault: Arc<Mutex<Option<String>>>,
    counts: Counts,
}

/// What the device was made to do. Whatever is made or waited for goes through it, so that nothing can be missed.
#[derive(Debug, Default)]
struct Counts {
    submissions: AtomicU64,
    command_buffers: AtomicU64,
    buffers: AtomicU64,
    bind_groups: AtomicU64,
    pipelines: AtomicU64,
    stalls: AtomicU64,
}

/// A command buffer that was submitted: the device's index and our number of it.
#[derive(Clone, Debug)]
pub(super) struct Submitted {
    index: wgpu::SubmissionIndex,
    pub number: u64,
}

impl Device {
    /// Opens the adapter with its own limits, or with the least that WebGPU promises everywhere.
    pub fn open(adapter: &wgpu::Adapter, downlevel: bool) -> Result<Self> {
        let info = adapter.get_info();
        let name = info.name;
        let wanted = FEATURES.iter().fold(wgpu::Features::empty(), |all, (_, feature)| all | *feature);
        let (limits, features) = if downlevel {
            let promised = wgpu::Limits::defaults().or_worse_values_from(&adapter.limits());
            (promised, wgpu::Features::empty())
        } else {
            (adapter.limits(), adapter.features() & (wanted | wgpu::Features::PIPELINE_CACHE))
        };
        let with_subgroups = features.contains(wgpu::Features::SUBGROUP);
        let subgroups = with_subgroups.then_some([info.subgroup_min_size, info.subgroup_max_size]);
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("steepest"),
            required_features: features,
            required_limits: limits.clone(),
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).map_err(|error| {
            Error::failure(&name, format!("the driver gives no device: {error}"))
                .help("close other programs that use the GPU, update the driver, or use --device cpu")
        })?;
        let fault = Arc::new(Mutex::new(None));
        let note = |fault: &Arc<Mutex<Option<String>>>| {
            let fault = fault.clone();
            move |text: String| {
                fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(text);
            }
        };
        let (on_error, on_loss) = (note(&fault), note(&fault));
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| on_error(error.to_string())));
        device.set_device_lost_callback(move |_, message| {
            on_loss(format!("the device was lost: {message}").trim_end_matches(": ").to_owned());
        });
        Ok(Self { device, queue, limits, name, subgroups, fault, counts: Counts::default() })
    }

    /// The adapter's name: the place of its errors.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What work is picked for.
    pub fn target(&self, class: Class, choices: BTreeMap<String, String>) -> Target {
        Target {
            class,
            workgroup_bytes: self.limits.max_compute_workgroup_storage_size,
            threads: self.limits.max_compute_invocations_per_workgroup,
            subgroups: self.subgroups,
            choices,
        }
    }

    /// An error about this device.
    pub fn failure(&self, message: impl std::fmt::Display) -> Error {
        Error::failure(&self.name, message)
    }

    /// Nothing, or what went wrong so far.
    pub fn check(&self) -> Result<()> {
        match &*self.fault.lock().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(fault) => Err(self.failure(fault).help(
                "resume from the last checkpoint; if it happens again, use a smaller micro_batch, update the driver, \
                 or use --device cpu",
            )),
        }
    }

    /// A buffer; zero until written.
    pub fn buffer(&self, label: &str, bytes: u64, usage: wgpu::BufferUsages, mapped: bool) -> Result<wgpu::Buffer> {
        self.fits(label, bytes)?;
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        self.counts.buffers.fetch_add(1, Ordering::Relaxed);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes,
            usage,
            mapped_at_creation: mapped,
        });
        if pollster::block_on(scope.pop()).is_some() {
            let message = format!("no memory is left for buffer {label}, which takes {bytes} bytes");
            return Err(self.failure(message).help("use a smaller micro_batch, or --device cpu"));
        }
        self.check()?;
        Ok(buffer)
    }

    /// A bind group.
    pub fn bind_group(&self, descriptor: &wgpu::BindGroupDescriptor<'_>) -> wgpu::BindGroup {
        self.counts.bind_groups.fetch_add(1, Ordering::Relaxed);
        self.device.create_bind_group(descriptor)
    }

    /// A pipeline.
    pub fn pipeline(&self, descriptor: &wgpu::ComputePipelineDescriptor<'_>) -> wgpu::ComputePipeline {
        self.counts.pipelines.fetch_add(1, Ordering::Relaxed);
        self.device.create_compute_pipeline(descriptor)
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        let so_far = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Counters {
            submissions: so_far(&self.counts.submissions),
            command_buffers: so_far(&self.counts.command_buffers),
            buffers: so_far(&self.counts.buffers),
            bind_groups: so_far(&self.counts.bind_groups),
            pipelines: so_far(&self.counts.pipelines),
            stalls: so_far(&self.counts.stalls),
        }
    }

    /// Starts what was encoded.
    pub fn submit(&self, commands: wgpu::CommandBuffer) -> Submitted {
        let number = self.counts.command_buffers.fetch_add(1, Ordering::Relaxed) + 1;
        Submitted { index: self.queue.submit([commands]), number }
    }

    /// Counts a submission of the executor's, whatever command buffer it goes in.
    pub fn count_submission(&self) {
        self.counts.submissions.fetch_add(1, Ordering::Relaxed);
    }

    /// Refuses a buffer that is larger than the device has any.
    pub fn fits(&self, label: &str, bytes: u64) -> Result<()> {
        let there = self.limits.max_buffer_size;
        if bytes <= there {
            return Ok(());
        }
        let message = format!("buffer {label} takes {bytes} bytes, the largest that {} has takes {there}", self.name);
        Err(Error::input("device", message).help("use a smaller micro_batch or layer, or --device cpu"))
    }

    /// Runs callbacks of what is done, without waiting.
    pub fn poll(&self) -> Result<()> {
        self.turn(wgpu::PollType::Poll)
    }

    /// Waits for a submission, or for all of them, and runs the callbacks of what is done. That it waits for the last one is
    /// counted: the device is idle afterwards.
    pub fn wait(&self, submission: Option<&Submitted>) -> Result<()> {
        let last = self.counts.command_buffers.load(Ordering::Relaxed);
        let idle = submission.is_none_or(|submitted| submitted.number == last);
        self.counts.stalls.fetch_add(u64::from(idle), Ordering::Relaxed);
        let submission_index = submission.map(|submitted| submitted.index.clone());
        self.turn(wgpu::PollType::Wait { submission_index, timeout: None })
    }

    fn turn(&self, how: wgpu::PollType) -> Result<()> {
        let turned = self.device.poll(how);
        self.check()?;
        turned.map(|_| ()).map_err(|error| self.failure(error))
    }
}

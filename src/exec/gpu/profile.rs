//! The time that each step of a plan takes on the device. A pass for each, since timestamps at the ends of passes are what the least
//! feature of adapters allows; where there is none, a submission for each. Either way the host waits for every submission.

use super::Gpu;
use super::device::Device;
use crate::base::Result;
use crate::exec::profile::{Clock, Times};
use crate::exec::{PlanId, Submission};
use crate::graph::GpuWork;
use crate::plan::Plan;
use std::time::Instant;

/// Passes of a set of queries, each with a timestamp at either end.
const PASSES: usize = wgpu::QUERY_SET_MAX_QUERIES as usize / 2;

/// Bytes of a timestamp.
const STAMP: u64 = wgpu::QUERY_SIZE as u64;

/// What is kept beside an executor that takes times.
#[derive(Debug)]
pub(super) struct Profiler {
    pub times: Times,
    /// The dispatches of each step of each plan end there.
    ends: Vec<Vec<usize>>,
    queries: Queries,
}

/// Timestamps of a submission. There are more of them only when a submission with more passes comes.
#[derive(Debug, Default)]
struct Queries {
    sets: Vec<wgpu::QuerySet>,
    /// Where they are written by the device, and where the host reads them.
    buffers: Option<[wgpu::Buffer; 2]>,
}

impl Profiler {
    pub fn new(device: &Device, loaded: usize) -> Result<Self> {
        let stamps = device.device.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        let clock = if stamps { Clock::Device } else { Clock::HostAlone };
        Ok(Self { times: Times::new(clock, loaded)?, ends: Vec::new(), queries: Queries::default() })
    }

    /// Takes note of a plan that was loaded.
    pub fn push(&mut self, plan: &Plan, work: &[GpuWork]) {
        self.times.push(plan);
        let mut end = 0;
        let ends = work.iter().map(|work| {
            end += work.dispatches.len();
            end
        });
        self.ends.push(ends.collect());
    }

    /// The steps of a submission: plan, number, its dispatches.
    fn steps(&self, plans: &[PlanId]) -> Vec<(usize, usize, std::ops::Range<usize>)> {
        let of = |plan: &PlanId| {
            let ends = &self.ends[plan.0];
            let starts = std::iter::once(0).chain(ends.iter().copied());
            starts.zip(ends).enumerate().map(|(i, (start, &end))| (plan.0, i, start..end)).collect::<Vec<_>>()
        };
        plans.iter().flat_map(of).collect()
    }
}

impl Queries {
    fn grow(&mut self, device: &Device, passes: usize) -> Result<()> {
        let sets = passes.div_ceil(PASSES);
        if sets <= self.sets.len() {
            return Ok(());
        }
        let descriptor =
            wgpu::QuerySetDescriptor { label: Some("times"), ty: wgpu::QueryType::Timestamp, count: 2 * PASSES as u32 };
        self.sets.resize_with(sets, || device.device.create_query_set(&descriptor));
        let bytes = (sets * 2 * PASSES) as u64 * STAMP;
        let usages = [
            wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        ];
        let [stamps, read] = usages.map(|usage| device.buffer("times", bytes, usage, false));
        self.buffers = Some([stamps?, read?]);
        Ok(())
    }

    /// A pass whose ends are timed.
    fn pass<'e>(&self, encoder: &'e mut wgpu::CommandEncoder, pass: usize) -> wgpu::ComputePass<'e> {
        let at = 2 * (pass % PASSES) as u32;
        encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: None,
            timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                query_set: &self.sets[pass / PASSES],
                beginning_of_pass_write_index: Some(at),
                end_of_pass_write_index: Some(at + 1),
            }),
        })
    }

    /// Brings the timestamps of so many passes to where the host can read them.
    fn resolve(&self, encoder: &mut wgpu::CommandEncoder, passes: usize) {
        let Some([stamps, read]) = &self.buffers else { return };
        for (i, set) in self.sets.iter().enumerate().take(passes.div_ceil(PASSES)) {
            let count = 2 * (passes - i * PASSES).min(PASSES) as u32;
            encoder.resolve_query_set(set, 0..count, stamps, (i * 2 * PASSES) as u64 * STAMP);
        }
        encoder.copy_buffer_to_buffer(stamps, 0, read, 0, 2 * passes as u64 * STAMP);
        encoder.map_buffer_on_submit(read, wgpu::MapMode::Read, .., |_| {});
    }

    /// Seconds from a point of time on of beginning and end of each pass, once the submission is done.
    fn read(&self, device: &Device, passes: usize) -> Result<Vec<[f64; 2]>> {
        let Some([_, read]) = &self.buffers else { return Ok(Vec::new()) };
        let view = read.slice(..2 * passes as u64 * STAMP).get_mapped_range().map_err(|error| device.failure(error))?;
        let stamps: Vec<u64> = view
            .chunks_exact(STAMP as usize)
            .map(|bytes| u64::from_ne_bytes(bytes.try_into().expect("chunks of a timestamp")))
            .collect();
        drop(view);
        read.unmap();
        let first = stamps.iter().copied().min().unwrap_or(0);
        let tick = f64::from(device.queue.get_timestamp_period()) * 1e-9;
        let seconds = |pair: &[u64]| [pair[0], pair[1]].map(|stamp| (stamp - first) as f64 * tick);
        Ok(stamps.chunks_exact(2).map(seconds).collect())
    }
}

impl Gpu {
    /// Starts a submission whose numbers are staged, which took so many seconds, alone, and waits for the times of its steps.
    pub(super) fn submit_profiled(&mut self, submission: &Submission<'_>, staged: f64) -> Result<()> {
        let Some(mut profiler) = self.profiler.take() else { return Ok(()) };
        submission.plans.iter().for_each(|plan| profiler.times.plans[plan.0].replays += 1);
        let done = match profiler.times.clock {
            Clock::Device => self.with_timestamps(&mut profiler, submission, staged),
            Clock::Host | Clock::HostAlone => self.step_by_step(&mut profiler, submission, staged),
        };
        self.profiler = Some(profiler);
        done?;
        self.device.check()
    }

    /// One command buffer: an empty pass, uploads, a pass for each step, the reading, an empty pass.
    fn with_timestamps(&mut self, profiler: &mut Profiler, submission: &Submission<'_>, staged: f64) -> Result<()> {
        let steps = profiler.steps(submission.plans);
        let passes = steps.len() + 2;
        let queries = &mut profiler.queries;
        queries.grow(&self.device, passes)?;
        let mut encoder = self.device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        drop(queries.pass(&mut encoder, 0));
        let slot = self.uploads.encode(&self.device, &self.buffers, submission, &mut encoder)?;
        for (i, (plan, _, dispatches)) in steps.iter().enumerate() {
            let mut pass = queries.pass(&mut encoder, i + 1);
            pass.set_bind_group(1, slot.group, &[slot.offset]);
            self.plans[*plan].encode_part(&mut pass, dispatches.clone());
        }
        if let Some(buffer) = submission.readback {
            self.readings.encode(&self.device, self.buffers.get(buffer.0), submission.tag, &mut encoder)?;
        }
        drop(queries.pass(&mut encoder, passes - 1));
        queries.resolve(&mut encoder, passes);
        let submitted = self.device.submit(encoder.finish());
        self.uploads.submitted(submitted.clone());
        self.readings.submitted(&submitted);
        self.device.wait(Some(&submitted))?;
        let stamps = queries.read(&self.device, passes)?;
        for ((plan, i, _), [begin, end]) in steps.iter().zip(&stamps[1..]) {
            profiler.times.plans[*plan].steps[*i] += (end - begin).max(0.0);
        }
        let between = |end: usize, begin: usize| (stamps[begin][0] - stamps[end][1]).max(0.0);
        let readback = if submission.readback.is_some() { between(passes - 2, passes - 1) } else { 0.0 };
        profiler.times.add(submission.plans, staged + between(0, 1), readback);
        Ok(())
    }

    /// Uploads, each step and the reading as submissions of their own, each waited for.
    fn step_by_step(&mut self, profiler: &mut Profiler, submission: &Submission<'_>, staged: f64) -> Result<()> {
        let fresh = |device: &Device| device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let finish = |device: &Device, encoder: wgpu::CommandEncoder, start: Instant| {
            let submitted = device.submit(encoder.finish());
            device.wait(Some(&submitted))?;
            Ok((submitted, start.elapsed().as_secs_f64()))
        };
        let start = Instant::now();
        let mut encoder = fresh(&self.device);
        let slot = self.uploads.encode(&self.device, &self.buffers, submission, &mut encoder)?;
        let (uploaded, upload) = finish(&self.device, encoder, start)?;
        for (plan, i, dispatches) in profiler.steps(submission.plans) {
            let start = Instant::now();
            let mut encoder = fresh(&self.device);
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_bind_group(1, slot.group, &[slot.offset]);
            self.plans[plan].encode_part(&mut pass, dispatches);
            drop(pass);
            profiler.times.plans[plan].steps[i] += finish(&self.device, encoder, start)?.1;
        }
        self.uploads.submitted(uploaded);
        let mut readback = 0.0;
        if let Some(buffer) = submission.readback {
            let start = Instant::now();
            let mut encoder = fresh(&self.device);
            self.readings.encode(&self.device, self.buffers.get(buffer.0), submission.tag, &mut encoder)?;
            let (submitted, seconds) = finish(&self.device, encoder, start)?;
            self.readings.submitted(&submitted);
            readback = seconds;
        }
        profiler.times.add(submission.plans, staged + upload, readback);
        Ok(())
    }
}

//! What a submission brings along: the step's scalars and the uploads, staged in one buffer of a ring.

use super::buffers::{Buffers, WORD};
use super::device::{Device, Submitted};
use super::replay::ALIGNMENT;
use super::ring::{RING, Ring};
use super::step::{STEP_BYTES, words};
use super::transfer::scalar_bytes;
use crate::base::Result;
use crate::exec::{Host, Submission};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

/// The upload side of an executor.
#[derive(Debug)]
pub(super) struct Uploads {
    ring: Ring,
    /// Buffers come back here, mapped, when the device has copied from them.
    sender: Sender<wgpu::Buffer>,
    /// In a mutex only so that an executor may be shared between threads: nothing contends for it.
    returned: Mutex<Receiver<wgpu::Buffer>>,
    /// The last command buffers, the oldest first: each of the ring's buffers belongs to one of them.
    recent: VecDeque<Submitted>,
    /// Staged for the submission that comes next.
    staged: Option<wgpu::Buffer>,
    /// The step's scalars on the device, a slot for each submission under way.
    steps: wgpu::Buffer,
    group: wgpu::BindGroup,
    next_slot: u64,
}

/// The step's scalars of one submission.
pub(super) struct StepSlot<'a> {
    pub group: &'a wgpu::BindGroup,
    pub offset: u32,
}

impl Uploads {
    pub fn new(device: &Device, step_layout: &wgpu::BindGroupLayout) -> Result<Self> {
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let steps = device.buffer("steps", RING as u64 * ALIGNMENT, usage, false)?;
        let block = wgpu::BufferBinding { buffer: &steps, offset: 0, size: wgpu::BufferSize::new(STEP_BYTES) };
        let group = device.bind_group(&wgpu::BindGroupDescriptor {
            label: Some("step"),
            layout: step_layout,
            entries: &[wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(block) }],
        });
        let (sender, returned) = channel();
        let (returned, recent) = (Mutex::new(returned), VecDeque::with_capacity(RING + 1));
        Ok(Self { ring: Ring::uploads(), sender, returned, recent, staged: None, steps, group, next_slot: 0 })
    }

    /// Makes sure that the ring's buffers are large enough, and gives the bytes of a submission.
    pub fn prepare(&mut self, device: &Device, buffers: &Buffers, submission: &Submission<'_>) -> Result<u64> {
        let mut bytes = STEP_BYTES;
        for (buffer, data) in submission.uploads {
            buffers.target(device, buffer.0, 0, data)?;
            bytes += (data.len() * WORD) as u64;
        }
        self.ring.grow(device, bytes)?;
        Ok(bytes)
    }

    /// Whether a buffer is free.
    pub fn has_room(&mut self) -> bool {
        self.collect();
        !self.ring.is_empty()
    }

    /// Writes the scalars and uploads of a submission, of so many bytes, into a buffer of the ring.
    pub fn stage(&mut self, device: &Device, submission: &Submission<'_>, bytes: u64) -> Result<()> {
        let staging = self.take(device)?;
        let mut view = staging.slice(..bytes).get_mapped_range_mut().map_err(|error| device.failure(error))?;
        let mut at = STEP_BYTES as usize;
        put(&mut view, 0..at, words(&submission.scalars).map(u32::to_ne_bytes));
        for (_, data) in submission.uploads {
            let range = at..at + data.len() * WORD;
            at = range.end;
            match data {
                Host::F32(data) => view.slice(range).copy_from_slice(bytemuck::cast_slice(data)),
                Host::U32(data) => view.slice(range).copy_from_slice(bytemuck::cast_slice(data)),
                Host::F64(data) => put(&mut view, range, data.iter().map(|&x| scalar_bytes(x))),
            }
        }
        drop(view);
        staging.unmap();
        self.staged = Some(staging);
        Ok(())
    }

    /// A mapped buffer. Where the device has yet to begin with as many submissions as the ring has buffers, this waits for
    /// the oldest of them: the host is ahead, the device has work.
    fn take(&mut self, device: &Device) -> Result<wgpu::Buffer> {
        loop {
            self.collect();
            if let Some(buffer) = self.ring.take() {
                return Ok(buffer);
            }
            let Some(oldest) = self.recent.pop_front() else {
                return Err(device.failure("the driver kept an upload buffer of a submission that is done"));
            };
            device.wait(Some(&oldest))?;
        }
    }

    fn collect(&mut self) {
        let returned = self.returned.get_mut().unwrap_or_else(PoisonError::into_inner);
        while let Ok(buffer) = returned.try_recv() {
            self.ring.give(buffer);
        }
    }

    /// Copies what is staged to where it belongs, ahead of the kernels in the same command buffer.
    pub fn encode(
        &mut self,
        device: &Device,
        buffers: &Buffers,
        submission: &Submission<'_>,
        encoder: &mut wgpu::CommandEncoder,
    ) -> Result<StepSlot<'_>> {
        let staging = self.staged.take().ok_or_else(|| device.failure("nothing is staged"))?;
        let offset = self.next_slot * ALIGNMENT;
        self.next_slot = (self.next_slot + 1) % RING as u64;
        encoder.copy_buffer_to_buffer(&staging, 0, &self.steps, offset, STEP_BYTES);
        let mut at = STEP_BYTES;
        for (buffer, data) in submission.uploads.iter().filter(|(_, data)| !data.is_empty()) {
            let bytes = (data.len() * WORD) as u64;
            encoder.copy_buffer_to_buffer(&staging, at, &buffers.get(buffer.0).buffer, 0, bytes);
            at += bytes;
        }
        let (sender, buffer) = (self.sender.clone(), staging.clone());
        encoder.map_buffer_on_submit(&staging, wgpu::MapMode::Write, .., move |mapped| {
            if mapped.is_ok() {
                // The receiver is gone only when the executor is.
                let _ = sender.send(buffer);
            }
        });
        Ok(StepSlot { group: &self.group, offset: offset as u32 })
    }

    /// Takes note of the submission that carries what was encoded.
    pub fn submitted(&mut self, submitted: Submitted) {
        self.recent.push_back(submitted);
        if self.recent.len() > RING {
            self.recent.pop_front();
        }
    }
}

fn put(view: &mut wgpu::BufferViewMut, range: std::ops::Range<usize>, words: impl Iterator<Item = [u8; WORD]>) {
    let (chunks, _) = view.slice(range).into_chunks::<WORD>();
    chunks.write_iter(words);
}

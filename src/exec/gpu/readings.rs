//! What submissions give back: copies in a ring of mappable buffers, delivered in order a few steps later.

use super::buffers::{Memory, WORD};
use super::device::{Device, Submitted};
use super::ring::{RING, Ring};
use super::transfer::take;
use crate::base::{DType, Result};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const PENDING: u8 = 0;
const MAPPED: u8 = 1;
const FAILED: u8 = 2;

/// The reading side of an executor.
#[derive(Debug)]
pub(super) struct Readings {
    ring: Ring,
    under_way: VecDeque<Reading>,
}

#[derive(Debug)]
struct Reading {
    tag: u64,
    buffer: wgpu::Buffer,
    bytes: u64,
    dtype: DType,
    state: Arc<AtomicU8>,
    /// The submission that it comes with.
    submission: Option<Submitted>,
}

impl Readings {
    pub fn new() -> Self {
        Self { ring: Ring::readings(), under_way: VecDeque::with_capacity(RING) }
    }

    /// How many have not been delivered.
    pub fn count(&self) -> usize {
        self.under_way.len()
    }

    /// Makes sure that a buffer of the ring is free for what is to be read back.
    pub fn make_room(&mut self, device: &Device, readback: Option<&Memory>, most: usize) -> Result<()> {
        let Some(memory) = readback else { return Ok(()) };
        if self.under_way.len() >= most {
            return Err(device.failure(format!("{most} readings wait to be collected")));
        }
        self.ring.grow(device, (memory.len * WORD) as u64)
    }

    /// Copies a buffer into the ring, to be mapped when the submission is done.
    pub fn encode(
        &mut self,
        device: &Device,
        memory: &Memory,
        tag: u64,
        encoder: &mut wgpu::CommandEncoder,
    ) -> Result<()> {
        let buffer = self.ring.take().ok_or_else(|| device.failure("no buffer is free for a reading"))?;
        let bytes = (memory.len * WORD) as u64;
        let state = Arc::new(AtomicU8::new(PENDING));
        if bytes > 0 {
            encoder.copy_buffer_to_buffer(&memory.buffer, 0, &buffer, 0, bytes);
        }
        let mapped_state = state.clone();
        encoder.map_buffer_on_submit(&buffer, wgpu::MapMode::Read, .., move |mapped| {
            mapped_state.store(if mapped.is_ok() { MAPPED } else { FAILED }, Ordering::Release);
        });
        self.under_way.push_back(Reading { tag, buffer, bytes, dtype: memory.dtype, state, submission: None });
        Ok(())
    }

    /// Takes note of the command buffer that carries what was encoded.
    pub fn submitted(&mut self, submitted: &Submitted) {
        let fresh = self.under_way.iter_mut().rev().take_while(|reading| reading.submission.is_none());
        fresh.for_each(|reading| reading.submission = Some(submitted.clone()));
    }

    /// Whether to wait for the oldest one is to wait for all that the device has, the last command buffer having this number.
    pub fn awaits_last(&self, last: u64) -> bool {
        let oldest = self.under_way.front().filter(|oldest| oldest.state() == PENDING);
        oldest.is_some_and(|oldest| oldest.submission.as_ref().is_none_or(|submitted| submitted.number >= last))
    }

    /// Delivers the oldest one, if it is there; with `wait`, waits for it.
    pub fn poll(&mut self, device: &Device, values: &mut Vec<f64>, wait: bool) -> Result<Option<u64>> {
        device.poll()?;
        let Some(oldest) = self.under_way.front() else { return Ok(None) };
        if oldest.state() == PENDING {
            if !wait {
                return Ok(None);
            }
            if let Some(submitted) = &oldest.submission {
                device.wait(Some(submitted))?;
            }
        }
        if oldest.state() != MAPPED {
            return Err(device.failure("a reading could not be mapped").help("resume from the last checkpoint"));
        }
        values.clear();
        take(device, &oldest.buffer, oldest.bytes, oldest.dtype, values)?;
        let delivered = self.under_way.pop_front();
        Ok(delivered.map(|reading| {
            self.ring.give(reading.buffer);
            reading.tag
        }))
    }
}

impl Reading {
    fn state(&self) -> u8 {
        self.state.load(Ordering::Acquire)
    }
}

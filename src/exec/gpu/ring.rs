//! Rings of mappable buffers: the only memory that the host and the device share. All of a ring's buffers are made at
//! once, so that a run that has started makes none.

use super::device::Device;
use crate::base::Result;

/// How many buffers a ring has, and how many submissions with a reading may be under way, at most and at least: a ring of large
/// buffers has fewer.
pub(super) const RING: usize = 32;
pub(super) const LEAST: usize = 4;

/// Bytes of a ring, unless fewer than [`LEAST`] of its buffers would be left.
const RING_BYTES: u64 = 1 << 26;

/// Buffers of one size for one direction.
#[derive(Debug)]
pub(super) struct Ring {
    label: &'static str,
    usage: wgpu::BufferUsages,
    bytes: u64,
    free: Vec<wgpu::Buffer>,
}

impl Ring {
    /// A ring for uploads: its free buffers are mapped.
    pub fn uploads() -> Self {
        let usage = wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC;
        Self { label: "upload", usage, bytes: 0, free: Vec::new() }
    }

    /// A ring for readings: its free buffers are not mapped.
    pub fn readings() -> Self {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        Self { label: "reading", usage, bytes: 0, free: Vec::new() }
    }

    /// Makes every buffer anew where `bytes` is more than they hold. Those under way are dropped when they come back.
    pub fn grow(&mut self, device: &Device, bytes: u64) -> Result<()> {
        if bytes <= self.bytes {
            return Ok(());
        }
        let mapped = self.usage.contains(wgpu::BufferUsages::MAP_WRITE);
        let bytes = bytes.next_multiple_of(256);
        let depth = usize::try_from(RING_BYTES / bytes).unwrap_or(RING).clamp(LEAST, RING);
        let fresh: Result<Vec<_>> = (0..depth).map(|_| device.buffer(self.label, bytes, self.usage, mapped)).collect();
        self.free = fresh?;
        self.bytes = bytes;
        Ok(())
    }

    /// A free buffer of at least the size that the ring has grown to.
    pub fn take(&mut self) -> Option<wgpu::Buffer> {
        self.free.pop()
    }

    /// Whether none is free.
    pub fn is_empty(&self) -> bool {
        self.free.is_empty()
    }

    /// Gives a buffer back, as [`Ring::take`] gave it.
    pub fn give(&mut self, buffer: wgpu::Buffer) {
        if buffer.size() == self.bytes {
            self.free.push(buffer);
        }
    }
}

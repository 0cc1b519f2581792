//! Numbers to and from the device outside of submissions: weights, tables, checkpoints. Not for the hot path.

use super::buffers::{Memory, WORD, element_bytes};
use super::device::Device;
use crate::base::{DType, Result, half_from_bits};
use crate::exec::Host;

/// Bytes that go over at once: the staging memory of a large tensor stays small.
const CHUNK_BYTES: usize = 1 << 24;

/// The bytes of a number as the device has it.
pub(super) fn scalar_bytes(x: f64) -> [u8; WORD] {
    (x as f32).to_ne_bytes()
}

/// Writes to a buffer from element `offset` on.
pub(super) fn write(device: &Device, memory: &Memory, offset: usize, data: Host<'_>) -> Result<()> {
    let mut rounded = Vec::new();
    let bytes: &[u8] = match data {
        Host::F32(data) => bytemuck::cast_slice(data),
        Host::U32(data) => bytemuck::cast_slice(data),
        Host::F64(data) => {
            rounded.extend(data.iter().map(|&x| x as f32));
            bytemuck::cast_slice(&rounded)
        }
    };
    for (i, chunk) in bytes.chunks(CHUNK_BYTES).enumerate() {
        let at = offset * WORD + i * CHUNK_BYTES;
        device.queue.write_buffer(&memory.buffer, at as u64, chunk);
        // The chunk leaves for the device now, so that its staging memory is freed before the next submission.
        device.queue.submit([]);
    }
    device.check()
}

/// Reads elements of a buffer, after all that was submitted.
pub(super) fn read(device: &Device, memory: &Memory, offset: usize, len: usize) -> Result<Vec<f64>> {
    let mut values = Vec::with_capacity(len);
    if len == 0 {
        return Ok(values);
    }
    // In whole words, of which halves have two.
    let each = WORD / element_bytes(memory.dtype);
    let (first, last) = (offset / each, (offset + len).div_ceil(each));
    let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
    let staging = device.buffer("download", ((last - first) * WORD).min(CHUNK_BYTES) as u64, usage, false)?;
    for word in (first..last).step_by(CHUNK_BYTES / WORD) {
        let bytes = ((last - word) * WORD).min(CHUNK_BYTES) as u64;
        let mut encoder = device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(&memory.buffer, (word * WORD) as u64, &staging, 0, bytes);
        encoder.map_buffer_on_submit(&staging, wgpu::MapMode::Read, ..bytes, |_| {});
        let submitted = device.submit(encoder.finish());
        device.wait(Some(&submitted))?;
        take(device, &staging, bytes, memory.dtype, &mut values)?;
    }
    values.drain(..offset - first * each);
    values.truncate(len);
    Ok(values)
}

/// Appends the numbers of a mapped buffer and unmaps it.
pub(super) fn take(
    device: &Device,
    mapped: &wgpu::Buffer,
    bytes: u64,
    dtype: DType,
    values: &mut Vec<f64>,
) -> Result<()> {
    if bytes > 0 {
        let view = mapped.slice(..bytes).get_mapped_range().map_err(|error| device.failure(error))?;
        let words = view.chunks_exact(WORD).map(|word| <[u8; WORD]>::try_from(word).expect("chunks of a word"));
        match dtype {
            DType::Real => values.extend(words.map(|word| f64::from(f32::from_ne_bytes(word)))),
            DType::Half => {
                let halves = words.flat_map(|[a, b, c, d]| [[a, b], [c, d]]);
                values.extend(halves.map(|half| half_from_bits(u16::from_ne_bytes(half))));
            }
            DType::Index => values.extend(words.map(|word| f64::from(u32::from_ne_bytes(word)))),
        }
    }
    mapped.unmap();
    Ok(())
}

//! Device memory: shared buffers by name; private and scratch buffers pooled across plans, which run one at a time.

use super::device::Device;
use crate::base::{DType, Error, Result};
use crate::exec::Host;
use crate::graph::GpuWork;
use crate::plan::{Buffer, Plan};
use std::cmp::Reverse;
use std::collections::HashMap;

/// Bytes of a scalar on the device, real or index; half precision takes half of it.
pub(super) const WORD: usize = 4;

/// Bytes of an element.
pub(super) fn element_bytes(dtype: DType) -> usize {
    match dtype {
        DType::Real | DType::Index => WORD,
        DType::Half => WORD / 2,
    }
}

/// A buffer on the device.
#[derive(Debug)]
pub(super) struct Memory {
    pub buffer: wgpu::Buffer,
    pub dtype: DType,
    /// Elements, without padding.
    pub len: usize,
}

/// All buffers of an executor.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    all: Vec<Memory>,
    shared: HashMap<String, usize>,
    /// Private buffers in the order of falling size, and scratch buffers likewise.
    private: Vec<usize>,
    scratch: Vec<usize>,
}

/// Where a plan's buffers are.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// For each buffer of the plan.
    pub buffers: Vec<usize>,
    /// For each scratch buffer of a step, by its position.
    pub scratch: Vec<usize>,
    /// Buffers that were replaced by larger ones: plans that use them have to be bound again.
    pub replaced: Vec<usize>,
}

/// What a plan asks of the pools: lengths in words, private ones with their number in the plan, the largest first.
struct Demand {
    private: Vec<(usize, usize)>,
    scratch: Vec<usize>,
}

impl Demand {
    fn new(plan: &Plan, work: &[GpuWork]) -> Self {
        let buffers = plan.buffers.iter().enumerate().filter(|(_, buffer)| !buffer.shared);
        let words = |buffer: &Buffer| (buffer.len * element_bytes(buffer.dtype)).div_ceil(WORD);
        let mut private: Vec<_> = buffers.map(|(i, buffer)| (i, words(buffer))).collect();
        private.sort_by_key(|&(_, len)| Reverse(len));
        let mut scratch = Vec::new();
        for lens in work.iter().map(|work| &work.scratch) {
            scratch.resize(scratch.len().max(lens.len()), 0);
            scratch.iter_mut().zip(lens).for_each(|(most, &len)| *most = len.max(*most));
        }
        Self { private, scratch }
    }
}

/// Bytes of a buffer with `len` elements: at least one vector of four words, since no binding may be empty.
fn bytes(dtype: DType, len: usize) -> u64 {
    (len.max(1) * element_bytes(dtype)).next_multiple_of(4 * WORD) as u64
}

/// Bytes of so many words.
fn words(len: usize) -> u64 {
    bytes(DType::Real, len)
}

impl Buffers {
    /// The buffer with this number.
    pub fn get(&self, i: usize) -> &Memory {
        &self.all[i]
    }

    /// The shared buffer with this name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.shared.get(name).copied()
    }

    /// Bytes of all of them.
    pub fn total_bytes(&self) -> u64 {
        self.all.iter().map(|memory| bytes(memory.dtype, memory.len)).sum()
    }

    /// Checks that numbers of this type fit there, and gives the buffer.
    pub fn target(&self, device: &Device, i: usize, offset: usize, data: &Host<'_>) -> Result<&Memory> {
        let memory = &self.all[i];
        let index = matches!(data, Host::U32(_));
        if index != (memory.dtype == DType::Index) || memory.dtype == DType::Half {
            return Err(device.failure("a buffer of another element type was written"));
        }
        self.range(device, i, offset, data.len())
    }

    /// Checks that a range lies in a buffer, and gives the buffer.
    pub fn range(&self, device: &Device, i: usize, offset: usize, len: usize) -> Result<&Memory> {
        let memory = &self.all[i];
        if offset + len <= memory.len {
            return Ok(memory);
        }
        Err(device.failure(format!("elements {offset}..{} of a buffer of {}", offset + len, memory.len)))
    }

    /// The bytes that all buffers take once a plan is loaded beside those loaded before.
    pub fn needed(&self, plan: &Plan, work: &[GpuWork]) -> u64 {
        let demand = Demand::new(plan, work);
        let fresh = plan.buffers.iter().filter(|buffer| buffer.shared && !self.shared.contains_key(&buffer.name));
        let shared: u64 = fresh.map(|buffer| bytes(buffer.dtype, buffer.len)).sum();
        let growth = |pool: &[usize], lens: &mut dyn Iterator<Item = usize>| -> u64 {
            let there = |rank: usize| pool.get(rank).map_or(0, |&i| words(self.all[i].len));
            lens.enumerate().map(|(rank, len)| words(len).saturating_sub(there(rank))).sum()
        };
        let private = growth(&self.private, &mut demand.private.iter().map(|&(_, len)| len));
        let scratch = growth(&self.scratch, &mut demand.scratch.iter().copied());
        self.total_bytes() + shared + private + scratch
    }

    /// Gives every buffer of a plan a place.
    pub fn provide(&mut self, device: &Device, plan: &Plan, work: &[GpuWork]) -> Result<Places> {
        let demand = Demand::new(plan, work);
        let mut places =
            Places { buffers: vec![usize::MAX; plan.buffers.len()], scratch: Vec::new(), replaced: Vec::new() };
        for (rank, &(i, len)) in demand.private.iter().enumerate() {
            let label = &plan.buffers[i].name;
            let known = self.private.get(rank).copied();
            let place = self.at_least(device, known, label, len, &mut places.replaced)?;
            if known.is_none() {
                self.private.push(place);
            }
            places.buffers[i] = place;
        }
        for (rank, &len) in demand.scratch.iter().enumerate() {
            let known = self.scratch.get(rank).copied();
            let place = self.at_least(device, known, &format!("scratch.{rank}"), len, &mut places.replaced)?;
            if known.is_none() {
                self.scratch.push(place);
            }
            places.scratch.push(place);
        }
        for (i, buffer) in plan.buffers.iter().enumerate().filter(|(_, buffer)| buffer.shared) {
            places.buffers[i] = match self.shared.get(&buffer.name) {
                Some(&known) if self.all[known].len == buffer.len && self.all[known].dtype == buffer.dtype => known,
                Some(_) => return Err(Error::failure(&buffer.name, "two plans give it different sizes or types")),
                None => {
                    let place = self.make(device, &buffer.name, buffer.dtype, buffer.len)?;
                    self.shared.insert(buffer.name.clone(), place);
                    place
                }
            };
        }
        Ok(places)
    }

    /// A pooled buffer of at least this length: the known one, a larger one in its place, or a new one.
    fn at_least(
        &mut self,
        device: &Device,
        known: Option<usize>,
        label: &str,
        len: usize,
        replaced: &mut Vec<usize>,
    ) -> Result<usize> {
        match known {
            Some(known) if self.all[known].len >= len => Ok(known),
            Some(known) => {
                self.all[known] = create(device, label, DType::Real, len)?;
                replaced.push(known);
                Ok(known)
            }
            None => self.make(device, label, DType::Real, len),
        }
    }

    fn make(&mut self, device: &Device, label: &str, dtype: DType, len: usize) -> Result<usize> {
        self.all.push(create(device, label, dtype, len)?);
        Ok(self.all.len() - 1)
    }
}

fn create(device: &Device, label: &str, dtype: DType, len: usize) -> Result<Memory> {
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    Ok(Memory { buffer: device.buffer(label, bytes(dtype, len), usage, false)?, dtype, len })
}

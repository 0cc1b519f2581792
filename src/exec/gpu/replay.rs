//! A plan on the device: every dispatch resolved to its pipeline, bind group and workgroups once, encoded in each replay.

use super::buffers::{Buffers, Places, WORD, element_bytes};
use super::device::Device;
use super::pipelines::{Kernel, Pipelines};
use crate::base::{Error, Result};
use crate::graph::{Dispatch, GpuWork};
use crate::plan::{Bound, Bundle, Home, Plan, Step, View};

/// What offsets of bindings are multiples of, in bytes: the most that any adapter asks for, so that what runs on one
/// runs on all.
pub(super) const ALIGNMENT: u64 = 256;

/// A loaded plan.
#[derive(Debug)]
pub(super) struct Replay {
    /// The parameters of all dispatches, written once.
    params: wgpu::Buffer,
    dispatches: Vec<Resolved>,
}

#[derive(Debug)]
struct Resolved {
    kernel: Kernel,
    group: wgpu::BindGroup,
    workgroups: [u32; 3],
    label: String,
    /// What the group was made of, to make it again when a buffer grows.
    params: Part,
    storage: Vec<Part>,
}

/// A part of a buffer: the executor's number of it, and bytes.
#[derive(Clone, Copy, Debug)]
struct Part {
    place: usize,
    offset: u64,
    bytes: u64,
}

/// What resolving needs.
pub(super) struct Loader<'a> {
    pub device: &'a Device,
    pub pipelines: &'a Pipelines,
    pub buffers: &'a Buffers,
    pub places: &'a Places,
}

impl Loader<'_> {
    /// Resolves a plan, whose steps do this work, bundled so; its kernels are compiled.
    pub fn load(&self, plan: &Plan, work: &[GpuWork], bundles: &[Bundle]) -> Result<Replay> {
        for (i, (step, work)) in plan.steps.iter().zip(work).enumerate() {
            check_work(step, work, &place_of(plan, i))?;
        }
        let params = self.write_params(plan, bundles)?;
        let mut dispatches = Vec::new();
        let mut offset = 0;
        for bundle in bundles {
            let block = Part { place: usize::MAX, offset, bytes: params_bytes(bundle) };
            offset += slot(bundle);
            let storage: Result<Vec<Part>> = bundle.bounds.iter().map(|bound| self.part(plan, bundle, bound)).collect();
            let kernel = self.pipelines.get(bundle);
            let (storage, label) = (storage?, label_of(plan, bundle));
            let group = group(self.device, self.buffers, &params, &kernel, &label, block, &storage);
            let workgroups = bundle.workgroups();
            dispatches.push(Resolved { kernel, group, workgroups, label, params: block, storage });
        }
        self.device.check()?;
        Ok(Replay { params, dispatches })
    }

    /// One uniform buffer with a slot for each dispatch.
    fn write_params(&self, plan: &Plan, bundles: &[Bundle]) -> Result<wgpu::Buffer> {
        let total = bundles.iter().map(slot).sum::<u64>().max(ALIGNMENT);
        let mut words = Vec::with_capacity(total as usize / WORD);
        for bundle in bundles {
            let end = words.len() + slot(bundle) as usize / WORD;
            words.extend(bundle.params());
            words.resize(end, 0);
        }
        let label = format!("{}.params", plan.name);
        let buffer = self.device.buffer(&label, total, wgpu::BufferUsages::UNIFORM, true)?;
        if !words.is_empty() {
            let mapped = buffer.slice(..).get_mapped_range_mut();
            mapped.map_err(|error| self.device.failure(error))?.copy_from_slice(bytemuck::cast_slice(&words));
        }
        buffer.unmap();
        Ok(buffer)
    }

    /// What a storage binding covers.
    fn part(&self, plan: &Plan, bundle: &Bundle, bound: &Bound) -> Result<Part> {
        let (at, each) = match bound.home {
            Home::Buffer(buffer) => (self.places.buffers[buffer], element_bytes(plan.buffers[buffer].dtype)),
            Home::Scratch(i) => (self.places.scratch[i], WORD),
        };
        let part = Part {
            place: at,
            offset: (bound.range.start * each) as u64,
            // Whole words: what lies behind an odd number of halves is padding.
            bytes: (bound.range.len().max(1) * each).next_multiple_of(WORD) as u64,
        };
        if !part.offset.is_multiple_of(ALIGNMENT) {
            let (place, what) = bound_of(plan, bundle, bound);
            let message = format!("{what} lies at byte {}, which is no multiple of {ALIGNMENT}", part.offset);
            return Err(Error::failure(place, message).help("this is an error in the plan: please report it"));
        }
        let there = self.device.limits.max_storage_buffer_binding_size;
        if part.bytes > there {
            let (place, what) = bound_of(plan, bundle, bound);
            let message = format!("{what} takes {} bytes, {} binds {there} at most", part.bytes, self.device.name());
            return Err(Error::input(place, message).help("use a smaller micro_batch or layer, or --device cpu"));
        }
        Ok(part)
    }
}

/// A step of a plan, for messages.
fn place_of(plan: &Plan, step: usize) -> String {
    let Step { op, scope, .. } = &plan.steps[step];
    let of = if scope.is_empty() { String::new() } else { format!(" of {scope}") };
    format!("plan {}, step {step} ({}{of})", plan.name, op.name())
}

/// The first step of a bundle that binds this, and what it is to that step, for messages.
fn bound_of(plan: &Plan, bundle: &Bundle, bound: &Bound) -> (String, String) {
    let is_it = |view: &&View| Home::Buffer(view.buffer) == bound.home && view.range() == bound.range;
    let found = bundle.parts.iter().find_map(|part| {
        let step = &plan.steps[part.step];
        let output = step.outputs.iter().find(is_it).map(|view| ("output", view));
        let (word, view) = output.or_else(|| step.inputs.iter().find(is_it).map(|view| ("input", view)))?;
        Some((place_of(plan, part.step), format!("the {word} {}", view.ty.shape)))
    });
    found.unwrap_or_else(|| (place_of(plan, bundle.parts[0].step), "the scratch buffer".to_owned()))
}

/// The ops of a bundle.
fn label_of(plan: &Plan, bundle: &Bundle) -> String {
    let names: Vec<&str> = bundle.parts.iter().map(|part| plan.steps[part.step].op.name()).collect();
    names.join(" + ")
}

/// A step that writes something has to dispatch something: work that is missing would leave old numbers in its place.
fn check_work(step: &Step, work: &GpuWork, place: &str) -> Result<()> {
    let writes = step.outputs.iter().any(|view| !view.ty.shape.is_empty());
    if writes && work.dispatches.is_empty() {
        return Err(Error::failure(place, "the op has no GPU kernel").help("use --device cpu; please report it"));
    }
    let most = Dispatch::MAX_WORKGROUPS;
    match work.dispatches.iter().find(|dispatch| dispatch.workgroups.iter().any(|&n| n > most)) {
        Some(dispatch) => {
            let message = format!("{:?} workgroups, where {most} along an axis are the most", dispatch.workgroups);
            Err(Error::failure(place, message).help("use a smaller micro_batch; please report it"))
        }
        None => Ok(()),
    }
}

/// Bytes of a dispatch's parameters; never none, since every layout has the block.
fn params_bytes(bundle: &Bundle) -> u64 {
    (bundle.params().len().max(1) * WORD).next_multiple_of(16) as u64
}

fn slot(bundle: &Bundle) -> u64 {
    params_bytes(bundle).next_multiple_of(ALIGNMENT)
}

fn group(
    device: &Device,
    buffers: &Buffers,
    params: &wgpu::Buffer,
    kernel: &Kernel,
    label: &str,
    block: Part,
    storage: &[Part],
) -> wgpu::BindGroup {
    let entry = |binding: usize, buffer, part: Part| wgpu::BindGroupEntry {
        binding: binding as u32,
        resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer,
            offset: part.offset,
            size: wgpu::BufferSize::new(part.bytes),
        }),
    };
    let storage = storage.iter().enumerate();
    let entries: Vec<_> = std::iter::once(entry(0, params, block))
        .chain(storage.map(|(i, &part)| entry(i + 1, &buffers.get(part.place).buffer, part)))
        .collect();
    let descriptor = wgpu::BindGroupDescriptor { label: Some(label), layout: &kernel.layout, entries: &entries };
    device.bind_group(&descriptor)
}

impl Replay {
    /// Binds anew what used buffers that were replaced.
    pub fn rebind(&mut self, device: &Device, buffers: &Buffers, replaced: &[usize]) {
        for resolved in &mut self.dispatches {
            if resolved.storage.iter().any(|part| replaced.contains(&part.place)) {
                let Resolved { kernel, label, params, storage, .. } = &*resolved;
                resolved.group = group(device, buffers, &self.params, kernel, label, *params, storage);
            }
        }
    }

    /// Writes the dispatches into a pass.
    pub fn encode(&self, pass: &mut wgpu::ComputePass<'_>) {
        self.encode_part(pass, 0..self.dispatches.len());
    }

    /// Writes some of the dispatches into a pass.
    pub fn encode_part(&self, pass: &mut wgpu::ComputePass<'_>, part: std::ops::Range<usize>) {
        let mut current = None;
        for resolved in &self.dispatches[part] {
            let pipeline = &resolved.kernel.pipeline;
            if current != Some(pipeline) {
                pass.set_pipeline(pipeline);
                current = Some(pipeline);
            }
            pass.set_bind_group(0, &resolved.group, &[]);
            let [x, y, z] = resolved.workgroups;
            pass.dispatch_workgroups(x, y, z);
        }
    }
}

//! The dispatches of a plan on a GPU, and which of them run as one: those that need nothing of each other.
//!
//! A dispatch costs a device a few microseconds of its own, and often a wait for the one before; a small network is little else.
//! Each dispatch runs as late as it can, beside others that can too: gradients of weights, sums and measurements gather at the
//! end of the backward pass. What a dispatch computes, and in which order, stays as it is.

use super::{Plan, Step, View};
use crate::base::Result;
use crate::graph::{Bind, Dispatch, GpuWork, Target};
use crate::ops::merge::{self, Traits};
use std::ops::Range;

/// What a kernel can have on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Storage buffers.
    pub buffers: usize,
    /// Bytes of workgroup memory.
    pub workgroup_bytes: usize,
}

impl Limits {
    /// What every adapter offers.
    pub const LEAST: Self = Self { buffers: 8, workgroup_bytes: 16 * 1024 };
}

/// The most parts of a bundle: each makes every workgroup's way to its own part longer.
const PARTS_MAX: usize = 8;

/// Workgroups of one dispatch from which on it fills a device by itself.
const WORKGROUPS_MAX: u32 = 256;

/// Memory that a dispatch touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Whose it is.
    pub home: Home,
    /// The elements.
    pub range: Range<usize>,
    /// Whether it is written.
    pub written: bool,
}

/// A buffer that a dispatch touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// A buffer of the plan.
    Buffer(usize),
    /// A scratch buffer, by its position; all steps have the same ones.
    Scratch(usize),
}

/// A dispatch in a bundle.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its step in the plan.
    pub step: usize,
    /// What is dispatched.
    pub dispatch: Dispatch,
    /// For each of its storage buffers, which one of the bundle's it is.
    pub slots: Vec<usize>,
}

/// Dispatches that run as one.
#[derive(Clone, Debug, Default)]
pub struct Bundle {
    /// The dispatches.
    pub parts: Vec<Part>,
    /// The storage buffers.
    pub bounds: Vec<Bound>,
    /// What is known of the kernels; empty for one that can have no company.
    traits: Vec<Traits>,
    /// Declared types of the storage buffers.
    types: Vec<String>,
}

impl Step {
    /// What the step does on GPUs, in all ways.
    pub fn work(&self) -> GpuWork {
        self.op.gpu(&self.input_types(), &self.output_types())
    }

    /// What it does on such a device.
    pub fn gpu(&self, target: &Target) -> GpuWork {
        target.pick(self.work())
    }

    fn bound(&self, work: &GpuWork, bind: Bind) -> Bound {
        let of = |view: &View| (Home::Buffer(view.buffer), view.range());
        let (home, range) = match bind {
            Bind::In(i) => of(&self.inputs[i]),
            Bind::Out(i) => of(&self.outputs[i]),
            Bind::Scratch(i) => (Home::Scratch(i), 0..work.scratch[i]),
        };
        Bound { home, range, written: !matches!(bind, Bind::In(_)) }
    }
}

impl Bound {
    /// Whether one of the two has to come first.
    fn meets(&self, other: &Self) -> bool {
        let apart = self.range.end <= other.range.start || other.range.end <= self.range.start;
        self.home == other.home && !apart && (self.written || other.written)
    }
}

impl Plan {
    /// The dispatches of a replay in order, bundled for a device of these limits.
    ///
    /// # Errors
    /// If a shader has no text.
    pub fn bundles(&self, target: &Target, limits: Limits) -> Result<Vec<Bundle>> {
        let mut bundles: Vec<Bundle> = Vec::new();
        // From the last to the first: where it may stand follows from what comes behind it.
        for (i, step) in self.steps.iter().enumerate().rev() {
            let work = step.gpu(target);
            for dispatch in work.dispatches.iter().rev() {
                let bounds: Vec<Bound> = dispatch.binds.iter().map(|&bind| step.bound(&work, bind)).collect();
                let alone = Bundle::new(i, dispatch, bounds)?;
                let after = bundles.iter().rposition(|bundle| bundle.meets(&alone)).map_or(0, |last| last + 1);
                let joined = bundles[after..].iter().enumerate().find_map(|(at, bundle)| {
                    let joined = bundle.with(&alone)?;
                    joined.fits(limits).then_some((after + at, joined))
                });
                match joined {
                    Some((at, joined)) => bundles[at] = joined,
                    None => bundles.push(alone),
                }
            }
        }
        bundles.reverse();
        Ok(bundles)
    }

    /// The dispatches of a replay in order, each by itself.
    ///
    /// # Errors
    /// If a shader has no text.
    pub fn dispatches(&self, target: &Target) -> Result<Vec<Bundle>> {
        let mut all = Vec::new();
        for (i, step) in self.steps.iter().enumerate() {
            let work = step.gpu(target);
            for dispatch in &work.dispatches {
                let bounds = dispatch.binds.iter().map(|&bind| step.bound(&work, bind)).collect();
                all.push(Bundle::new(i, dispatch, bounds)?);
            }
        }
        Ok(all)
    }
}

impl Bundle {
    fn new(step: usize, dispatch: &Dispatch, bounds: Vec<Bound>) -> Result<Self> {
        let [x, y, z] = dispatch.workgroups;
        let small = y == 1 && z == 1 && x <= WORKGROUPS_MAX;
        let traits = if small { merge::traits(&dispatch.shader)? } else { None };
        let types = traits.as_ref().map_or_else(Vec::new, |traits| traits.buffers.clone());
        let slots = (0..bounds.len()).collect();
        let part = Part { step, dispatch: dispatch.clone(), slots };
        Ok(Self { parts: vec![part], bounds, traits: traits.into_iter().collect(), types })
    }

    fn meets(&self, other: &Self) -> bool {
        self.bounds.iter().any(|own| other.bounds.iter().any(|bound| own.meets(bound)))
    }

    /// This one with a single dispatch more; none if they cannot run as one.
    fn with(&self, alone: &Self) -> Option<Self> {
        let (part, traits) = (alone.parts.first()?, alone.traits.first()?);
        let threads = |traits: &[Traits]| traits.iter().find(|it| it.waits).map(|it| it.threads);
        let same_size = threads(&self.traits).is_none_or(|threads| !traits.waits || threads == traits.threads);
        // A device takes a buffer for reading or for writing.
        let clash = |own: &Bound| alone.bounds.iter().any(|it| it.home == own.home && it.written != own.written);
        let room = !self.traits.is_empty() && self.parts.len() < PARTS_MAX;
        if !same_size || !room || self.bounds.iter().any(clash) {
            return None;
        }
        let mut joined = self.clone();
        let mut slots = Vec::new();
        for (bound, ty) in alone.bounds.iter().zip(&alone.types) {
            let known = joined.bounds.iter().zip(&joined.types).position(|(own, own_ty)| own == bound && own_ty == ty);
            slots.push(known.unwrap_or(joined.bounds.len()));
            if known.is_none() {
                joined.bounds.push(bound.clone());
                joined.types.push(ty.clone());
            }
        }
        joined.parts.push(Part { slots, ..part.clone() });
        joined.traits.push(traits.clone());
        Some(joined)
    }

    fn fits(&self, limits: Limits) -> bool {
        let mut memory: Vec<&(String, usize)> = self.traits.iter().flat_map(|traits| &traits.memory).collect();
        memory.sort_unstable();
        memory.dedup();
        let bytes: usize = memory.iter().map(|(_, bytes)| bytes.next_multiple_of(16)).sum();
        self.bounds.len() <= limits.buffers && bytes <= limits.workgroup_bytes
    }

    /// Which storage buffers are written.
    pub fn written(&self) -> Vec<bool> {
        self.bounds.iter().map(|bound| bound.written).collect()
    }

    /// The words of the parameter block.
    pub fn params(&self) -> Vec<u32> {
        match self.parts.as_slice() {
            [part] => part.dispatch.params.iter().map(|(_, scalar)| scalar.bits()).collect(),
            parts => {
                merge::params(parts.iter().map(|part| (part.dispatch.workgroups[0], part.dispatch.params.as_slice())))
            }
        }
    }

    /// The workgroups along x, y, z.
    pub fn workgroups(&self) -> [u32; 3] {
        match self.parts.as_slice() {
            [part] => part.dispatch.workgroups,
            parts => [parts.iter().map(|part| part.dispatch.workgroups[0]).sum(), 1, 1],
        }
    }

    /// The shader's text and its entry point.
    ///
    /// # Errors
    /// If a shader has no text.
    pub fn source(&self) -> Result<(String, &'static str)> {
        if let [part] = self.parts.as_slice() {
            return Ok((crate::ops::shaders::source(&part.dispatch.shader)?, part.dispatch.shader.entry));
        }
        let parts: Vec<merge::Part<'_>> =
            self.parts.iter().map(|part| merge::Part { shader: &part.dispatch.shader, slots: &part.slots }).collect();
        Ok((merge::source(&parts)?, merge::ENTRY))
    }

    /// What tells its kernel from others, together with [`Self::written`].
    pub fn kernel(&self) -> Vec<(crate::graph::Shader, Vec<usize>)> {
        self.parts.iter().map(|part| (part.dispatch.shader.clone(), part.slots.clone())).collect()
    }
}

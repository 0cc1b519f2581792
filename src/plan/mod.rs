//! From a graph to steps over numbered buffers: dead code out, fusion, order, buffer lifetimes. Pure data, computed once.
//!
//! A plan is what executors interpret. Several plans (gradients, update, evaluation, inspection) work over the same shared
//! buffers, which they know by name.

mod arena;
mod bundle;
mod compile;
mod fuse;
mod memory;
mod mixed;
mod print;
mod work;

pub use arena::{Arena, CHUNK, Tensor};
pub use bundle::{Bound, Bundle, Home, Limits, Part};
pub use compile::{Place, compile};
pub use mixed::halve;

use crate::base::{DType, Type};
use crate::graph::{Op, Phase};
use std::sync::Arc;

/// A flat list of steps over numbered buffers.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it is for: `gradients`, `update`, `evaluate`.
    pub name: String,
    /// The buffers that its steps work on.
    pub buffers: Vec<Buffer>,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// A buffer of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// Its name; a shared buffer is the same in every plan that names it.
    pub name: String,
    /// What its elements are.
    pub dtype: DType,
    /// How many elements.
    pub len: usize,
    /// Whether it outlives a replay of the plan and is known to others by its name. The contents of the others mean
    /// nothing between two replays, so plans share their memory too.
    pub shared: bool,
    /// The first and the last step that touch it.
    pub lifetime: (usize, usize),
}

/// One op on views of buffers. No buffer is read and written by one step, save by an op that works in place, which names
/// the same view among its inputs and outputs; and each output lies in a buffer of its own.
#[derive(Clone, Debug)]
pub struct Step {
    /// What is done.
    pub op: Arc<dyn Op>,
    /// What is read.
    pub inputs: Vec<View>,
    /// What is written.
    pub outputs: Vec<View>,
    /// The layer or purpose.
    pub scope: Arc<str>,
    /// What part of a training step it is.
    pub phase: Phase,
}

/// A contiguous part of a buffer under a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The buffer's number in the plan.
    pub buffer: usize,
    /// The first element.
    pub offset: usize,
    /// The type: its shape says how many elements.
    pub ty: Type,
}

impl View {
    /// The elements of the buffer that the view covers.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.ty.shape.len()
    }
}

impl Step {
    /// The types of the inputs.
    pub fn input_types(&self) -> Vec<Type> {
        self.inputs.iter().map(|view| view.ty).collect()
    }

    /// The types of the outputs.
    pub fn output_types(&self) -> Vec<Type> {
        self.outputs.iter().map(|view| view.ty).collect()
    }
}

impl Plan {
    /// Bytes of the private buffers: what the plan needs beside what is shared. `scalar_bytes` is 4 for f32, 8 for f64.
    pub fn private_bytes(&self, scalar_bytes: usize) -> usize {
        self.bytes(scalar_bytes, false)
    }

    /// Bytes of the shared buffers that the plan names.
    pub fn shared_bytes(&self, scalar_bytes: usize) -> usize {
        self.bytes(scalar_bytes, true)
    }

    fn bytes(&self, scalar_bytes: usize, shared: bool) -> usize {
        self.buffers.iter().filter(|buffer| buffer.shared == shared).map(|buffer| buffer.bytes(scalar_bytes)).sum()
    }
}

impl Buffer {
    /// Its size on a device that stores half precision in 2 bytes; indices take 4 in every precision.
    pub fn bytes(&self, scalar_bytes: usize) -> usize {
        self.len
            * match self.dtype {
                DType::Real => scalar_bytes,
                DType::Half => 2,
                DType::Index => 4,
            }
    }
}

//! The closed set of questions that an op answers. None has a default, so a missing answer does not compile.

use super::{GpuWork, Graph, ValueId};
use crate::base::{Real, Result, Threads, Type};
use std::any::Any;
use std::fmt::Debug;

/// An operation: what a node does with its inputs.
///
/// Two ops with the same `Debug` text are the same operation: the graph keeps one node for equal ops on equal inputs.
pub trait Op: Any + Debug + Send + Sync {
    /// The name in print-outs, lower case.
    fn name(&self) -> &'static str;

    /// The types of the outputs for these input types, or what does not fit.
    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>>;

    /// Pairs (output, input) that share one buffer: the op updates the input in place.
    fn in_place(&self) -> &[(usize, usize)];

    /// The derivative as graph nodes, given ∂L/∂output for the outputs that L depends on.
    fn derivative(&self, graph: &mut Graph, node: NodeView<'_>, grads: &[Option<ValueId>]) -> Result<Derivative>;

    /// The graph of simpler ops that this op equals, for ops that are a composition; `None` for primitives.
    fn composition(&self, graph: &mut Graph, inputs: &[ValueId]) -> Option<Result<ValueId>>;

    /// How many scalars of scratch memory the CPU kernel needs for these input types and this many threads.
    fn scratch(&self, inputs: &[Type], threads: usize) -> usize;

    /// The CPU kernel in f32: see [`crate::kernel`].
    fn run_f32(&self, io: &mut Io<'_, f32>);

    /// The CPU kernel in f64.
    fn run_f64(&self, io: &mut Io<'_, f64>);

    /// The GPU dispatches for these types, as plain data.
    fn gpu(&self, inputs: &[Type], outputs: &[Type]) -> GpuWork;
}

/// A node as its op sees it while it is differentiated.
#[derive(Clone, Copy, Debug)]
pub struct NodeView<'a> {
    /// The values that go in.
    pub inputs: &'a [ValueId],
    /// The values that come out.
    pub outputs: &'a [ValueId],
}

/// What an op answers when it is asked for its derivative.
#[derive(Clone, Debug)]
pub enum Derivative {
    /// ∂L/∂input for each input; `None` where it is zero or the input is an index.
    Inputs(Vec<Option<ValueId>>),
    /// Differentiate the composition that this op equals.
    OfComposition,
    /// It has none, for this reason.
    Undefined(&'static str),
}

/// The numbers that change from step to step. They reach every kernel, on the GPU as one small uniform block.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepScalars {
    /// The number of this training step, from 0.
    pub step: u32,
    /// Which micro-batch of the logical batch this is; accumulators start afresh at 0.
    pub micro: u32,
    /// The position of the first row in the logical batch: random bits are keyed by it.
    pub first_row: u32,
    /// How many rows are real; the rows behind them are padding.
    pub rows: u32,
    /// The learning rate η of this step.
    pub lr: f64,
    /// The number of this update, from 1, as the optimizers count.
    pub t: u32,
    /// 1 − β₁ᵗ, computed in f64.
    pub bias_correction1: f64,
    /// 1 − β₂ᵗ, computed in f64.
    pub bias_correction2: f64,
}

/// A buffer as a kernel reads it.
#[derive(Clone, Copy, Debug)]
pub enum Data<'a, R> {
    /// Real numbers.
    Real(&'a [R]),
    /// Indices.
    Index(&'a [u32]),
}

/// What a CPU kernel gets: inputs, outputs, their types, scratch memory, the step's scalars and the threads.
#[derive(Debug)]
pub struct Io<'a, R> {
    /// The inputs, in the op's order.
    pub inputs: &'a [Data<'a, R>],
    /// Their types.
    pub input_types: &'a [Type],
    /// The outputs; one that is updated in place holds the old values.
    pub outputs: &'a mut [&'a mut [R]],
    /// Their types.
    pub output_types: &'a [Type],
    /// As many scalars as [`Op::scratch`] asked for, with any content.
    pub scratch: &'a mut [R],
    /// The numbers of this step.
    pub step: &'a StepScalars,
    /// The threads to work with.
    pub threads: &'a Threads,
}

impl<'a, R: Real> Io<'a, R> {
    /// Input `i` as real numbers.
    ///
    /// # Panics
    /// If it holds indices: the type-check makes that impossible.
    pub fn real(&self, i: usize) -> &'a [R] {
        match self.inputs[i] {
            Data::Real(data) => data,
            Data::Index(_) => panic!("input {i} holds indices"),
        }
    }

    /// Input `i` as indices.
    ///
    /// # Panics
    /// If it holds real numbers: the type-check makes that impossible.
    #[expect(clippy::should_implement_trait, reason = "it stands beside `real`, and has nothing to do with brackets")]
    pub fn index(&self, i: usize) -> &'a [u32] {
        match self.inputs[i] {
            Data::Index(data) => data,
            Data::Real(_) => panic!("input {i} holds real numbers"),
        }
    }

    /// Output `j`.
    pub fn out(&mut self, j: usize) -> &mut [R] {
        self.outputs[j]
    }
}

/// The scalar types that ops have kernels for.
pub trait Precision: Real {
    /// Runs the kernel of `op` in this precision.
    fn run(op: &dyn Op, io: &mut Io<'_, Self>);
}

impl Precision for f32 {
    fn run(op: &dyn Op, io: &mut Io<'_, Self>) {
        op.run_f32(io);
    }
}

impl Precision for f64 {
    fn run(op: &dyn Op, io: &mut Io<'_, Self>) {
        op.run_f64(io);
    }
}

//! A blueprint on an executor: plans loaded, parameters and data uploaded, micro-batches submitted, readings collected.

use super::blueprint::{Blueprint, names};
use super::evaluator::{Evaluator, Outputs};
use super::tensors::{self, HostTensor, read_arena, write_arena};
use crate::base::{Error, Result};
use crate::config::Optimizer;
use crate::data::{MicroBatch, RowSource, TargetKind};
use crate::exec::{BufferId, Executor, Host, PlanId, Submission};
use crate::graph::StepScalars;
use crate::ops::stats::{CLIP, CONTROL};
use crate::optim;
use crate::plan::Arena;

/// The plans and buffers of a run on a device.
pub struct Engine {
    executor: Box<dyn Executor + Send>,
    arena: Arena,
    gradients: Vec<PlanId>,
    last: Vec<PlanId>,
    evaluator: Evaluator,
    buffers: Buffers,
}

struct Buffers {
    table: BufferId,
    weights: BufferId,
    index: Option<BufferId>,
    x: Option<BufferId>,
    labels: Option<BufferId>,
    targets: Option<BufferId>,
}

impl Engine {
    /// Loads the plans and uploads what does not change: segments, chunk lengths, resident data.
    ///
    /// # Errors
    /// If the plans do not fit into the device's memory, or the device fails.
    pub fn new(
        mut executor: Box<dyn Executor + Send>,
        blueprint: &Blueprint,
        resident: Option<&dyn RowSource>,
        evaluation_rows: usize,
        outputs: usize,
        optimizer: &Optimizer,
    ) -> Result<Self> {
        let mut micro = vec![executor.load(&blueprint.gradients)?, executor.load(&blueprint.measure)?];
        if let Some(accumulate) = &blueprint.accumulate {
            micro.push(executor.load(accumulate)?);
        }
        let mut last = micro.clone();
        last.push(executor.load(&blueprint.update)?);
        let evaluator = Evaluator::load(executor.as_mut(), &blueprint.evaluate, evaluation_rows, outputs)?;
        let need = |name: &str| executor.buffer(name).ok_or_else(|| Error::failure(name, "no plan names this buffer"));
        let buffers = Buffers {
            table: need(names::TABLE)?,
            weights: need(names::WEIGHTS)?,
            index: executor.buffer(names::INDEX),
            x: executor.buffer(names::X),
            labels: executor.buffer(names::LABELS),
            targets: executor.buffer(names::TARGETS),
        };
        let arena = blueprint.arena.clone();
        let mut engine = Self { executor, arena, gradients: micro, last, evaluator, buffers };
        engine.upload_constants(blueprint, optimizer)?;
        if let Some(source) = resident {
            engine.upload_data(source)?;
        }
        Ok(engine)
    }

    fn upload_constants(&mut self, blueprint: &Blueprint, optimizer: &Optimizer) -> Result<()> {
        let mut control = [0.0; CONTROL];
        control[CLIP] = 1.0;
        self.write(names::CONTROL, 0, Host::F64(&control))?;
        self.write(names::TAP_SEGMENTS, 0, Host::U32(&blueprint.layout.segments()))?;
        if blueprint.layout.tensors > 0 {
            self.write(names::PARAM_SEGMENTS, 0, Host::U32(&optim::segments(&self.arena)))?;
        }
        for (part, &len) in blueprint.arena.parts.iter().enumerate() {
            let lengths = optim::lengths(&blueprint.arena, part);
            self.write(&Arena::buffer(names::LENGTHS, part), 0, Host::U32(&lengths))?;
            for state in optim::states(optimizer).iter().filter(|state| state.initial != 0.0) {
                self.write(&Arena::buffer(&state.arena, part), 0, Host::F64(&vec![state.initial; len]))?;
            }
        }
        Ok(())
    }

    fn upload_data(&mut self, source: &dyn RowSource) -> Result<()> {
        // By blocks, so that the host never holds a second copy of the data.
        const BLOCK: usize = 1024;
        let width = source.features();
        let targets = match source.target_kind() {
            TargetKind::Classes(_) => 0,
            TargetKind::Values(width) => width,
        };
        let (mut x, mut t) = (vec![0.0; BLOCK * width], vec![0.0; BLOCK * targets]);
        for first in (0..source.rows()).step_by(BLOCK) {
            let rows = BLOCK.min(source.rows() - first);
            let index: Vec<u32> = (first..first + rows).map(|row| row as u32).collect();
            source.fill_rows(&index, &mut x[..rows * width])?;
            self.write(names::DATA_X, first * width, Host::F32(&x[..rows * width]))?;
            if targets > 0 {
                source.fill_values(&index, &mut t[..rows * targets])?;
                self.write(names::DATA_T, first * targets, Host::F32(&t[..rows * targets]))?;
            }
        }
        Ok(())
    }

    fn write(&mut self, name: &str, offset: usize, data: Host<'_>) -> Result<()> {
        tensors::write(self.executor.as_mut(), name, offset, data)
    }

    /// The executor.
    pub fn executor(&self) -> &(dyn Executor + Send) {
        self.executor.as_ref()
    }

    /// The executor, to poll it.
    pub fn executor_mut(&mut self) -> &mut (dyn Executor + Send) {
        self.executor.as_mut()
    }

    /// Uploads parameter values; names and shapes were checked.
    ///
    /// # Errors
    /// If the device fails.
    pub fn set_params(&mut self, tensors: &[HostTensor]) -> Result<()> {
        self.set_arena_values(names::PARAMS, tensors)
    }

    /// Uploads values of an arena; names and shapes were checked.
    ///
    /// # Errors
    /// If the device fails.
    pub fn set_arena_values(&mut self, kind: &str, tensors: &[HostTensor]) -> Result<()> {
        write_arena(self.executor.as_mut(), &self.arena, kind, tensors)
    }

    /// The control block: clip factor, halt flag, norm.
    ///
    /// # Errors
    /// If the device fails.
    pub fn control(&mut self) -> Result<Vec<f64>> {
        tensors::read(self.executor.as_mut(), names::CONTROL, 0, CONTROL)
    }

    /// Replaces the control block.
    ///
    /// # Errors
    /// If the device fails.
    pub fn set_control(&mut self, control: &[f64; CONTROL]) -> Result<()> {
        self.write(names::CONTROL, 0, Host::F64(control))
    }

    /// The parameters as they are after all that was submitted.
    ///
    /// # Errors
    /// If the device fails.
    pub fn params(&mut self) -> Result<Vec<HostTensor>> {
        self.arena_values(names::PARAMS)
    }

    /// The values of an arena, tensor by tensor.
    ///
    /// # Errors
    /// If there is no such arena, or the device fails.
    pub fn arena_values(&mut self, kind: &str) -> Result<Vec<HostTensor>> {
        read_arena(self.executor.as_mut(), &self.arena, kind)
    }

    /// Submits a micro-batch; with the last one of a logical batch goes the update, and a reading of the table.
    ///
    /// # Errors
    /// If the device fails.
    pub fn submit(&mut self, batch: &Batch<'_>, scalars: StepScalars) -> Result<()> {
        let mut uploads = [(self.buffers.weights, Host::F64(&batch.micro.weights)); 4];
        let mut count = 1;
        let mut push = |buffer: Option<BufferId>, data| {
            if let Some(buffer) = buffer {
                uploads[count] = (buffer, data);
                count += 1;
            }
        };
        push(self.buffers.index, Host::U32(&batch.micro.indices));
        push(self.buffers.labels, Host::U32(batch.labels));
        push(self.buffers.x, Host::F32(batch.x));
        if self.buffers.x.is_some() {
            push(self.buffers.targets, Host::F32(batch.values));
        }
        let last = batch.micro.last;
        self.executor.submit(&Submission {
            uploads: &uploads[..count],
            plans: if last { &self.last } else { &self.gradients },
            scalars,
            readback: last.then_some(self.buffers.table),
            tag: u64::from(scalars.step),
        })
    }

    /// The outputs and losses of the rows `index` of a source.
    ///
    /// # Errors
    /// If the device fails.
    pub fn evaluate(&mut self, source: &dyn RowSource, index: &[u32]) -> Result<Outputs> {
        self.evaluator.evaluate(self.executor.as_mut(), source, index)
    }
}

/// A micro-batch with what goes up with it.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Rows and weights.
    pub micro: &'a MicroBatch,
    /// Inputs, where they are streamed.
    pub x: &'a [f32],
    /// Class labels; empty for real targets.
    pub labels: &'a [u32],
    /// Real targets, where they are streamed.
    pub values: &'a [f32],
}

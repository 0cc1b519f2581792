//! A blueprint on an executor: plans loaded, parameters and data uploaded, micro-batches submitted, readings collected.

use super::blueprint::{Blueprint, names, segments_name};
use super::evaluator::{Evaluator, Outputs};
use super::tensors::{self, HostTensor, read_arena, write_arena};
use crate::base::{Error, Result};
use crate::config::Optimizer;
use crate::data::{MicroBatch, RowSource, TargetKind};
use crate::exec::{BufferId, Executor, Host, PlanId, Submission};
use crate::graph::StepScalars;
use crate::ops::stats::{CLIP, CONTROL, SCALED, SCALING};
use crate::optim::{self, LOSS_SCALE, LOSS_UNSCALE};
use crate::plan::{Arena, Tensor};
use crate::probe::{Due, Need};

/// The plans and buffers of a run on a device.
pub struct Engine {
    executor: Box<dyn Executor + Send>,
    arena: Arena,
    /// What a step replays, for each combination of cadences that can be due ([`Due::index`]).
    replays: Vec<Replay>,
    evaluator: Evaluator,
    buffers: Buffers,
}

/// The plans of a step.
struct Replay {
    /// Of each micro-batch but the last.
    micro: Vec<PlanId>,
    /// Of the last: the update too.
    last: Vec<PlanId>,
    /// Of the last, where the step after needs the gradient and the update of this one.
    last_retaining: Vec<PlanId>,
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
        executor.prepare(&blueprint.plans().collect::<Vec<_>>())?;
        let replays = load(executor.as_mut(), blueprint)?;
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
        let mut engine = Self { executor, arena, replays, evaluator, buffers };
        engine.upload_constants(blueprint, optimizer)?;
        if let Some(source) = resident {
            engine.upload_data(source)?;
        }
        Ok(engine)
    }

    fn upload_constants(&mut self, blueprint: &Blueprint, optimizer: &Optimizer) -> Result<()> {
        let mut control = [0.0; CONTROL];
        control[CLIP] = 1.0;
        if let Some(scaling) = blueprint.scaling {
            control[SCALING] = SCALED;
            self.set_loss_scale(scaling.start)?;
        }
        self.write(names::CONTROL, 0, Host::F64(&control))?;
        let segments = optim::segments(&self.arena);
        self.write(names::PARAM_SEGMENTS, 0, Host::U32(&segments))?;
        self.write(names::LAYER_SEGMENTS, 0, Host::U32(&of_layers(&segments, &blueprint.tensor_layers)))?;
        for (i, fold) in blueprint.layout.folds.iter().enumerate() {
            self.write(&segments_name(i), 0, Host::U32(&fold.segments()))?;
        }
        let counts = blueprint.layout.counts.iter().flat_map(|span| [span.first, span.first + span.count]);
        self.write(names::COUNT_SEGMENTS, 0, Host::U32(&counts.map(|at| at as u32).collect::<Vec<_>>()))?;
        let signals = blueprint.layout.signal_counts.iter().flat_map(|span| [span.first, span.first + span.count]);
        self.write(names::SIGNAL_SEGMENTS, 0, Host::U32(&signals.map(|at| at as u32).collect::<Vec<_>>()))?;
        let mut lengths = vec![0.0; blueprint.layers.len()];
        let tensors = self.arena.tensors.iter().zip(&blueprint.tensor_layers);
        tensors.for_each(|(tensor, &layer)| lengths[layer] += tensor.shape.len() as f64);
        self.write(names::LAYER_LENGTHS, 0, Host::F64(&lengths))?;
        for (part, &len) in blueprint.arena.parts.iter().enumerate() {
            let lengths = optim::lengths(&blueprint.arena, part);
            self.write(&Arena::buffer(names::LENGTHS, part), 0, Host::U32(&lengths))?;
            let owners = optim::owners(&blueprint.arena, part);
            let owners: Vec<u32> = owners.iter().map(|&tensor| blueprint.tensor_layers[tensor] as u32).collect();
            self.write(&Arena::buffer(names::OWNERS, part), 0, Host::U32(&owners))?;
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

    /// Uploads values of one tensor of an arena, by its place there, from its element `first` on.
    ///
    /// # Errors
    /// If the device fails.
    pub fn set_part(&mut self, kind: &str, tensor: usize, first: usize, values: &[f64]) -> Result<()> {
        let Tensor { part, offset, .. } = self.arena.tensors[tensor];
        self.write(&Arena::buffer(kind, part), offset + first, Host::F64(values))
    }

    /// The control block: clip factor, halt flag, norm, what loss scaling keeps.
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

    /// The scale of the loss of the next step; none where it is not scaled.
    ///
    /// # Errors
    /// If the device fails.
    pub fn loss_scale(&mut self) -> Result<Option<f64>> {
        match self.executor.buffer(LOSS_SCALE) {
            Some(_) => Ok(tensors::read(self.executor.as_mut(), LOSS_SCALE, 0, 1)?.first().copied()),
            None => Ok(None),
        }
    }

    /// Replaces it.
    ///
    /// # Errors
    /// If the loss is not scaled, or the device fails.
    pub fn set_loss_scale(&mut self, scale: f64) -> Result<()> {
        self.write(LOSS_SCALE, 0, Host::F64(&[scale]))?;
        self.write(LOSS_UNSCALE, 0, Host::F64(&[1.0 / scale]))
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

    /// For how many steps each unit has given nothing, tap by tap; empty where that is not measured.
    ///
    /// # Errors
    /// If the device fails.
    pub fn ages(&mut self, units: &[usize]) -> Result<Vec<f64>> {
        let mut ages = Vec::new();
        for (i, &units) in units.iter().enumerate() {
            let name = format!("{}.{i}", names::AGES);
            if self.executor.buffer(&name).is_some() {
                ages.extend(tensors::read(self.executor.as_mut(), &name, 0, units)?);
            }
        }
        Ok(ages)
    }

    /// Replaces them; false if there are not as many.
    ///
    /// # Errors
    /// If the device fails.
    pub fn set_ages(&mut self, units: &[usize], mut ages: &[f64]) -> Result<bool> {
        for (i, &units) in units.iter().enumerate() {
            let name = format!("{}.{i}", names::AGES);
            if self.executor.buffer(&name).is_some() {
                let Some((own, rest)) = ages.split_at_checked(units) else { return Ok(false) };
                self.write(&name, 0, Host::F64(own))?;
                ages = rest;
            }
        }
        Ok(ages.is_empty())
    }

    /// Submits a micro-batch; with the last one of a logical batch goes the update, and a reading of the table. `due` says
    /// what is measured, `retain` whether the step after needs this one's gradient and update.
    ///
    /// # Errors
    /// If the device fails.
    pub fn submit(&mut self, batch: &Batch<'_>, scalars: StepScalars, due: Due, retain: bool) -> Result<()> {
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
        let (last, replay) = (batch.micro.last, &self.replays[due.index()]);
        self.executor.submit(&Submission {
            uploads: &uploads[..count],
            plans: match (last, retain) {
                (false, _) => &replay.micro,
                (true, false) => &replay.last,
                (true, true) => &replay.last_retaining,
            },
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

/// Loads what the steps replay.
fn load(executor: &mut (dyn Executor + Send), blueprint: &Blueprint) -> Result<Vec<Replay>> {
    let mut load = |plan| executor.load(plan);
    let mut measuring = Vec::new();
    for it in &blueprint.measuring {
        measuring.push([load(&it.gradients)?, load(&it.measure)?]);
    }
    let accumulate = blueprint.accumulate.as_ref().map(&mut load).transpose()?;
    let squares = blueprint.arenas.squares.as_ref().map(&mut load).transpose()?;
    let mut arenas = Vec::new();
    for (need, plan) in &blueprint.arenas.measure {
        arenas.push((*need, load(plan)?));
    }
    let retain = blueprint.arenas.retain.as_ref().map(&mut load).transpose()?;
    let moved = blueprint.arenas.moved.as_ref().map(&mut load).transpose()?;
    let update = load(&blueprint.update)?;
    let replay = |due: Due| {
        let needs = blueprint.agenda.needs(due);
        let mut micro = measuring[blueprint.combinations[due.index()]].to_vec();
        micro.extend(accumulate);
        micro.extend(squares.filter(|_| needs.has(Need::Squares)));
        let mut last = micro.clone();
        last.extend(arenas.iter().filter(|(need, _)| needs.has(*need)).map(|&(_, plan)| plan));
        let mut last_retaining = last.clone();
        last_retaining.extend(retain);
        last.push(update);
        last_retaining.push(update);
        last_retaining.extend(moved);
        Replay { micro, last, last_retaining }
    };
    Ok(blueprint.agenda.each_due().map(replay).collect())
}

/// Segments of tensors, which are those of neighbouring layers, to segments of layers.
fn of_layers(tensors: &[u32], layers: &[usize]) -> Vec<u32> {
    let mut segments: Vec<u32> = Vec::new();
    for (i, ends) in tensors.chunks_exact(2).enumerate() {
        if i > 0 && layers[i] == layers[i - 1] {
            segments.pop();
            segments.push(ends[1]);
        } else {
            segments.extend(ends);
        }
    }
    segments
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

//! The trainer: joins data, plans, executor, probe and verdict, one step at a time.

use super::blueprint::{Blueprint, Request, TappedLayer, names::PARAMS};
use super::engine::{Batch, Engine};
use super::evaluator::{Outputs, evaluation_rows};
use super::evidence::{Places, facts, origin, verdict_ids};
use super::feed::{Feed, batching, class_weights, resident, total_steps};
use super::objective::Objective;
use super::schema::Schema;
use super::tensors::{HostTensor, fit, named};
use super::weights::Tensors;
use crate::base::{Error, Result, Threads};
use crate::config::{Config, Layer};
use crate::data::{Batching, MicroBatch, RowSource, Schedule, Splits};
use crate::exec::Executor;
use crate::graph::StepScalars;
use crate::nn::{Description, Model};
use crate::ops::optimize::Rule;
use crate::optim;
use crate::probe::{Measured, NoiseReader, NonFinite, Reader, Taken, Values};
use crate::verdict::{Evidence, Facts, History, LayerVerdict, Verdict, by_layer, judge};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// One step as it was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// Its number, from 0.
    pub step: u64,
    /// Passes over the training part at its end.
    pub epoch: f64,
    /// Examples seen at its end.
    pub examples: u64,
    /// The quantities of [`crate::probe::QUANTITIES`].
    pub values: Values,
    /// Where the first non-finite value was, if there was one.
    pub non_finite: Option<NonFinite>,
}

/// What belongs to a step in flight.
#[derive(Clone, Copy, Debug)]
struct Meta {
    step: u64,
    epoch: f64,
    examples: u64,
    taken: Taken,
}

/// A trainer between two steps: all that the steps to come depend on beside config and data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainerState {
    /// Steps done; the position in the data follows from it.
    pub steps: u64,
    /// Examples seen.
    pub examples: u64,
    /// The arenas by name, tensor by tensor, in the precision of the device: `params`, and each state of the optimizer as
    /// `torch.optim` calls it.
    pub arenas: BTreeMap<String, Tensors>,
    /// Clip factor, halt flag and norm, as in [`crate::ops::stats`].
    pub control: Vec<f64>,
    /// The readings that verdicts are made from.
    pub history: Vec<f64>,
    /// The noise of the gradient, smoothed, as [`crate::probe::NoiseReader::to_numbers`] gives it.
    pub noise: Vec<f64>,
}

/// A training run, step by step.
pub struct Trainer {
    engine: Engine,
    feed: Feed,
    batching: Batching,
    source: Arc<dyn RowSource>,
    schedule: optim::Schedule,
    lr: f64,
    rule: Rule,
    states: Vec<optim::State>,
    reader: Reader,
    blueprint: Blueprint,
    facts: Facts,
    history: History,
    places: Places,
    silenced: Vec<String>,
    in_flight: VecDeque<Meta>,
    table: Vec<f64>,
    step: Step,
    next_step: u64,
    examples: u64,
    threads: Option<Arc<Threads>>,
}

/// What a trainer is made of beside its config.
pub struct Setup {
    /// The data.
    pub splits: Splits,
    /// The device.
    pub executor: Box<dyn Executor + Send>,
    /// The threads of a CPU executor: a loop over steps is best run inside them.
    pub threads: Option<Arc<Threads>>,
    /// A loss of the user's in place of the config's.
    pub objective: Option<Objective>,
}

impl Trainer {
    /// Prepares a run: shapes are checked, plans made and loaded, parameters initialized, data put where it belongs.
    ///
    /// # Errors
    /// If the config does not fit the data (the error names key or layer), or the plans do not fit the device.
    pub fn new(config: &Config, setup: Setup) -> Result<Self> {
        Self::at_step(config, setup, 0)
    }

    /// Prepares a run that goes on where [`Trainer::state`] was taken: with the same config and data its steps are those
    /// that would have followed there, bit for bit on the same device.
    ///
    /// # Errors
    /// As [`Trainer::new`], or if the state is of another model or optimizer: the error names what does not fit.
    pub fn resume(config: &Config, setup: Setup, state: TrainerState) -> Result<Self> {
        let mut trainer = Self::at_step(config, setup, state.steps)?;
        trainer.restore(state).map_err(|error| error.within("checkpoint"))?;
        Ok(trainer)
    }

    /// A trainer whose data begins with this step, and whose parameters are the initial ones.
    fn at_step(config: &Config, setup: Setup, step: u64) -> Result<Self> {
        let train = Arc::new(setup.splits.train);
        let batching = batching(config, train.len())?;
        let model = Model::from(config.model.clone()).describe(train.sample_shape())?;
        let objective = match setup.objective {
            Some(objective) => objective,
            None => Objective::of(config, train.target_kind(), model.output)?,
        };
        let info = setup.executor.info().clone();
        let resident = resident(config, &train, info.binding_len_max)?;
        let blueprint = Blueprint::new(&Request {
            model: &model,
            objective: &objective,
            reduction: config.loss.reduction,
            features: train.features(),
            targets: train.target_kind(),
            resident_rows: resident.then_some(train.len()),
            micro: batching.micro,
            accumulates: batching.batch_rows() > batching.micro,
            evaluation_rows: evaluation_rows(train.len()),
            optimizer: &config.train.optimizer,
            clip_norm: config.train.clip_norm,
            clip_value: config.train.clip_value,
            statistics: config.record.statistics,
            noise: config.probes.noise && batching.batch_rows() > 1,
            seed: config.train.seed,
            part_len_max: info.binding_len_max,
        })?;
        let (rule, _) = optim::rule(&config.train.optimizer);
        let rows = evaluation_rows(train.len());
        let data: Option<&dyn RowSource> = if resident { Some(train.as_ref()) } else { None };
        let mut engine = Engine::new(setup.executor, &blueprint, data, rows, model.output, &config.train.optimizer)?;
        let params = initial(&model, config.train.seed);
        engine.set_params(&params)?;
        let [silenced, _] = verdict_ids(&config.verdicts)?;
        let facts = facts(config, &model, &objective, &train, &params, batching.batch_rows());
        let mut schedule = Schedule::new(batching, class_weights(config, &train)?.as_deref())?;
        schedule.seek_step(step)?;
        let per_epoch = batching.batches_per_epoch() as u64;
        let total = total_steps(config, per_epoch);
        let lr_schedule = optim::Schedule::new(&config.train.schedule, per_epoch, Some(total))?;
        let reader = reader(&blueprint, info.precision == "f32", population(config, train.len()));
        let source: Arc<dyn RowSource> = train;
        let feed = Feed::new(&source, schedule, resident)?;
        Ok(Self {
            engine,
            feed,
            batching,
            source,
            schedule: lr_schedule,
            lr: config.train.optimizer.lr(),
            rule,
            states: optim::states(&config.train.optimizer),
            facts,
            history: History::new(blueprint.layout.layers),
            places: Places::new(reader.sizes()),
            silenced,
            in_flight: VecDeque::with_capacity(8),
            table: Vec::with_capacity(blueprint.layout.table_len()),
            step: Step { values: reader.values(), ..Step::default() },
            reader,
            blueprint,
            next_step: step,
            examples: 0,
            threads: setup.threads,
        })
    }

    /// What [`Trainer::resume`] goes on from.
    ///
    /// # Errors
    /// If the device fails.
    ///
    /// # Panics
    /// If steps are in flight: what their readings say would be missing.
    pub fn state(&mut self) -> Result<TrainerState> {
        assert!(self.in_flight.is_empty(), "steps in flight are collected before the state is taken");
        let double = self.executor().info().precision == "f64";
        let mut arenas = BTreeMap::new();
        for (name, kind) in self.arenas() {
            let tensors = self.engine.arena_values(&kind)?.into_iter();
            arenas.insert(name, tensors.map(|tensor| named(tensor, double)).collect());
        }
        Ok(TrainerState {
            steps: self.next_step,
            examples: self.examples,
            arenas,
            control: self.engine.control()?,
            history: self.history.to_numbers(),
            noise: self.reader.noise().to_numbers(),
        })
    }

    fn restore(&mut self, mut state: TrainerState) -> Result<()> {
        for (name, kind) in self.arenas() {
            let tensors = state.arenas.remove(&name);
            let tensors = tensors.ok_or_else(|| Error::input(&name, "the state of the trainer has no such arena"))?;
            let tensors = fit(&name, &self.blueprint.arena, tensors)?;
            self.engine.set_arena_values(&kind, &tensors)?;
        }
        if let Some(name) = state.arenas.keys().next() {
            return Err(Error::input(name, "the optimizer keeps no such state"));
        }
        let control = state.control.as_slice().try_into();
        let control = control.map_err(|_| Error::input("control", format!("{} numbers", state.control.len())))?;
        self.engine.set_control(control)?;
        let history = History::from_numbers(self.blueprint.layout.layers, &state.history);
        self.history = history.ok_or_else(|| Error::input("history", format!("{} numbers", state.history.len())))?;
        if !self.reader.noise_mut().restore(&state.noise) {
            return Err(Error::input("noise", format!("{} numbers", state.noise.len())));
        }
        self.examples = state.examples;
        Ok(())
    }

    /// Name and kind of each arena that outlives a step.
    fn arenas(&self) -> Vec<(String, String)> {
        let states = self.states.iter().map(|state| (state.name.to_owned(), state.arena.clone()));
        std::iter::once((PARAMS.to_owned(), PARAMS.to_owned())).chain(states).collect()
    }

    /// Runs `f` where steps are cheapest: on the threads of a CPU executor.
    pub fn within<T: Send>(&mut self, f: impl FnOnce(&mut Self) -> T + Send) -> T {
        match self.threads.clone() {
            Some(threads) => threads.install(|| f(self)),
            None => f(self),
        }
    }

    /// Submits the next step: forward and backward of each micro-batch, then the update. Does not wait for the device.
    ///
    /// # Errors
    /// If the device or the loader fails, or too many steps are in flight: collect some first.
    pub fn submit(&mut self) -> Result<()> {
        let step = self.next_step;
        let lr = self.lr * self.schedule.factor(step);
        let t = u32::try_from(step + 1).map_err(|_| Error::failure("trainer", "more than 2³² steps"))?;
        let [bias_correction1, bias_correction2] = self.rule.bias_corrections(t);
        let scalars = StepScalars { step: t - 1, t, lr, bias_correction1, bias_correction2, ..StepScalars::default() };
        let mut taken = Taken { lr, ..Taken::default() };
        loop {
            let staged = self.feed.next(self.source.as_ref())?;
            let micro: &MicroBatch = &staged.batch;
            let scalars = StepScalars {
                micro: micro.micro as u32,
                first_row: micro.first_row as u32,
                rows: micro.rows as u32,
                ..scalars
            };
            taken.signal_rows += micro.weights.iter().filter(|&&w| w != 0.0).count();
            taken.weight += micro.weights.iter().sum::<f64>();
            let batch = Batch { micro, x: &staged.x, labels: &staged.labels, values: &staged.values };
            self.engine.submit(&batch, scalars)?;
            if micro.last {
                taken.rows = micro.batch_rows;
                let epoch =
                    f64::from(micro.epoch) + (micro.batch + 1) as f64 / self.batching.batches_per_epoch() as f64;
                self.examples += taken.rows as u64;
                self.in_flight.push_back(Meta { step, epoch, examples: self.examples, taken });
                break;
            }
        }
        self.next_step += 1;
        Ok(())
    }

    /// Collects the oldest step whose readings are there, or, with `wait`, the oldest in flight. Readings come in the order
    /// of the steps.
    ///
    /// # Errors
    /// If the device fails.
    pub fn collect(&mut self, wait: bool) -> Result<Option<&Step>> {
        let Some(tag) = self.engine.executor_mut().poll(&mut self.table, wait)? else { return Ok(None) };
        let meta = self.in_flight.pop_front().expect("every reading belongs to a step");
        debug_assert_eq!(tag, u64::from(meta.step as u32));
        self.reader.read(&self.table, meta.taken, &mut self.step.values);
        self.step.step = meta.step;
        self.step.epoch = meta.epoch;
        self.step.examples = meta.examples;
        self.step.non_finite = self.reader.non_finite(&self.table);
        self.history.push(&self.places.measured(&self.step.values));
        if let Some(what) = self.step.non_finite {
            self.history.push_non_finite(meta.step + 1, origin(what, &self.blueprint.tensor_layers));
        }
        Ok(Some(&self.step))
    }

    /// One step and its readings: submits, and waits. For a loop that keeps the device busy, see [`Trainer::submit`] and
    /// [`Trainer::collect`].
    ///
    /// # Errors
    /// If the device or the loader fails.
    pub fn step(&mut self) -> Result<&Step> {
        self.submit()?;
        while self.in_flight.len() > 1 {
            self.collect(true)?;
        }
        match self.collect(true)? {
            Some(_) => Ok(&self.step),
            None => Err(Error::failure("trainer", "the device gave no reading")),
        }
    }

    /// Whether another step can be submitted before one is collected.
    pub fn has_room(&self) -> bool {
        self.in_flight.len() < self.engine.executor().in_flight_max()
    }

    /// Steps submitted and not collected.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The number of the next step.
    pub fn next_step(&self) -> u64 {
        self.next_step
    }

    /// Steps to an epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        self.batching.batches_per_epoch() as u64
    }

    /// Steps until training ends, where the config bounds them.
    pub fn steps_total(&self, config: &Config) -> u64 {
        total_steps(config, self.steps_per_epoch())
    }

    /// Examples of a full logical batch.
    pub fn batch_rows(&self) -> usize {
        self.batching.batch_rows()
    }

    /// About how many rows a micro-batch can have: what a row takes, in the memory that this run leaves free. `None` where the
    /// device does not tell its memory.
    pub fn micro_batch_max(&self) -> Option<u64> {
        let info = self.executor().info();
        let limit = info.memory_bytes? as f64;
        let scalar = if info.precision == "f64" { 8 } else { 4 };
        let row = self.blueprint.gradients.private_bytes(scalar) as f64 / self.batching.micro as f64;
        let free = limit - self.blueprint.memory_bytes(scalar) as f64;
        Some((self.batching.micro as f64 + free / row.max(1.0)).max(1.0) as u64)
    }

    /// How often training waited for the loader.
    pub fn loader_waits(&self) -> u64 {
        self.feed.waits()
    }

    /// The plans.
    pub fn blueprint(&self) -> &Blueprint {
        &self.blueprint
    }

    /// The layers whose signal is tapped.
    pub fn layers(&self) -> &[TappedLayer] {
        &self.blueprint.layers
    }

    /// The executor.
    pub fn executor(&self) -> &(dyn Executor + Send) {
        self.engine.executor()
    }

    /// The columns of the step record: the values of a step are a row of it.
    pub fn schema(&self) -> Schema {
        let tensors: Vec<String> = self.blueprint.arena.tensors.iter().map(|tensor| tensor.name.clone()).collect();
        Schema::of(&self.blueprint.layers, &tensors, self.reader.sizes())
    }

    /// The noise of the gradient in the steps so far.
    pub fn noise(&self) -> &NoiseReader {
        self.reader.noise()
    }

    /// What verdicts rest on: facts of the run, readings so far.
    pub fn evidence(&self) -> Evidence {
        let mut readings = self.history.readings().clone();
        readings.noise_scale = self.noise().scale();
        Evidence { facts: self.facts.clone(), readings }
    }

    /// What the readings so far say, the gravest first, without those that `verdicts.silence` names.
    pub fn verdicts(&self) -> Vec<Verdict> {
        judge(&self.evidence(), &self.silenced)
    }

    /// A word for each layer, from these verdicts.
    pub fn layer_verdicts(&self, verdicts: &[Verdict]) -> Vec<LayerVerdict> {
        by_layer(&self.evidence(), verdicts)
    }

    /// Lets verdicts know the loss of a validation.
    pub fn note_validation(&mut self, loss: f64) {
        self.history.push_validation(loss);
    }

    /// The parameters.
    ///
    /// # Errors
    /// If the device fails.
    pub fn params(&mut self) -> Result<Vec<HostTensor>> {
        self.engine.params()
    }

    /// Replaces the parameters.
    ///
    /// # Errors
    /// If a name is no parameter's, a shape differs, or the device fails.
    pub fn set_params(&mut self, tensors: &[HostTensor]) -> Result<()> {
        for tensor in tensors {
            let expected = self.blueprint.arena.find(&tensor.name).map(|known| known.shape);
            if expected != Some(tensor.shape) {
                let expected = expected.map_or("no such parameter".to_owned(), |shape| shape.to_string());
                return Err(Error::input(&tensor.name, format!("expected {expected}, found {}", tensor.shape)));
            }
        }
        self.engine.set_params(tensors)
    }

    /// The gradient of the last step's logical batch, raw.
    ///
    /// # Errors
    /// If the device fails.
    pub fn gradients(&mut self) -> Result<Vec<HostTensor>> {
        let summed = self.blueprint.accumulate.is_some();
        self.engine.arena_values(if summed { super::names::SUMS } else { super::names::GRADIENTS })
    }

    /// Outputs and losses of all rows of a source, with the parameters as they are.
    ///
    /// # Errors
    /// If the device fails.
    pub fn evaluate(&mut self, source: &dyn RowSource) -> Result<Outputs> {
        let rows: Vec<u32> = (0..source.rows() as u32).collect();
        self.engine.evaluate(source, &rows)
    }
}

/// What reads the tables of these plans.
fn reader(blueprint: &Blueprint, single_precision: bool, population: f64) -> Reader {
    let layers = blueprint.layers.iter().enumerate();
    let of = Measured {
        single_precision,
        activation_widths: blueprint.layers.iter().map(|layer| layer.activation_width).collect(),
        tensor_lens: blueprint.arena.tensors.iter().map(|tensor| tensor.shape.len()).collect(),
        tensor_layers: blueprint.tensor_layers.clone(),
        dense: layers.filter(|(_, layer)| layer.dense).map(|(i, _)| i).collect(),
        population,
    };
    Reader::new(blueprint.layout.clone(), &of)
}

/// How many examples batches are drawn from: dropout makes no two draws of one alike.
fn population(config: &Config, examples: usize) -> f64 {
    let drops = |layer: &Layer| matches!(layer, Layer::Dropout { p } if *p > 0.0);
    if config.model.layers.iter().any(drops) { f64::INFINITY } else { examples as f64 }
}

/// The initial parameters of a model.
pub(super) fn initial(model: &Description, seed: u64) -> Vec<HostTensor> {
    let tensors = model.initial(seed).into_iter();
    tensors.map(|(name, shape, values)| HostTensor { name, shape, values }).collect()
}

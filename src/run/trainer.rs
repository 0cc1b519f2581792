//! The trainer: joins data, plans, executor, probe and verdict, one step at a time.

mod advance;
mod state;

pub use state::TrainerState;

use super::adaptive::Adaptive;
use super::blueprint::{Blueprint, Request, TappedLayer};
use super::engine::Engine;
use super::evaluator::{Outputs, evaluation_rows};
use super::evidence::{Places, Start, facts, origin, verdict_ids};
use super::feed::{Feed, batching, class_weights, rate_schedule, resident, total_steps};
use super::names::{INITIAL_PARAMS, PARAMS};
use super::objective::Objective;
use super::probing::{agenda, window};
use super::schema::Schema;
use super::tensors::{HostTensor, OnDevice};
use super::weights::{BLOCK, NamedTensor, Tensors, blocks};
use crate::base::{Error, Result, Threads};
use crate::config::{Config, Layer};
use crate::data::{Batching, Cursor, RowSource, Splits};
use crate::exec::Executor;
use crate::nn::{Description, Model};
use crate::ops::optimize::Rule;
use crate::optim::{self, Plateau, Scaling};
use crate::probe::{Agenda, Due, Measured, NoiseReader, NonFinite, ProbeId, Reader, Taken, Values};
use crate::verdict::{Evidence, Facts, History, LayerVerdict, Verdict, by_layer, judge};
use std::collections::VecDeque;
use std::ops::Range;
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
    /// The quantities of [`crate::probe::QUANTITIES`] that are measured.
    pub values: Values,
    /// Which of them are this step's: those of group 0 always.
    pub due: Due,
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

/// A training run, step by step.
pub struct Trainer {
    engine: Engine,
    feed: Feed,
    batching: Batching,
    adaptive: Option<Adaptive>,
    source: Arc<dyn RowSource>,
    schedule: optim::Schedule,
    plateau: Option<Plateau>,
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
    cursor: Cursor,
    examples: u64,
    threads: Option<Arc<Threads>>,
    /// Seconds that it waited for examples, where times are taken.
    data_seconds: Option<f64>,
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
        let model = described(config, &setup)?;
        Self::with_model(config, model, setup)
    }

    /// The same for a model that is described already, whatever the config says of it.
    ///
    /// # Errors
    /// As [`Trainer::new`].
    pub fn with_model(config: &Config, model: Description, setup: Setup) -> Result<Self> {
        Self::at(config, model, setup, None)
    }

    /// Prepares a run that goes on where [`Trainer::state`] was taken: with the same config and data its steps are those
    /// that would have followed there, bit for bit on the same device.
    ///
    /// # Errors
    /// As [`Trainer::new`], or if the state is of another model or optimizer: the error names what does not fit.
    pub fn resume(config: &Config, setup: Setup, state: TrainerState) -> Result<Self> {
        let model = described(config, &setup)?;
        let mut trainer = Self::at(config, model, setup, Some(state.cursor))?;
        trainer.restore(state).map_err(|error| error.within("checkpoint"))?;
        Ok(trainer)
    }

    /// A trainer whose data begins there, or at the beginning, and whose parameters are the initial ones.
    fn at(config: &Config, model: Description, setup: Setup, cursor: Option<Cursor>) -> Result<Self> {
        let train = Arc::new(setup.splits.train);
        let (batching, population) = (batching(config, train.len())?, population(config, train.len()));
        let adaptive = Adaptive::new(config, &batching, population)?;
        let objective = match setup.objective {
            Some(objective) => objective,
            None => Objective::of(config, train.target_kind(), model.output)?,
        };
        let agenda = agenda(&config.probes, batching.batch_rows(), config.train.precision)?;
        let info = setup.executor.info().clone();
        let resident = resident(config, &train, info.binding_len_max)?;
        let (rows, window) = (evaluation_rows(train.len()), window(batching.batches_per_epoch()));
        let optimizer = &config.train.optimizer;
        let blueprint = Blueprint::new(&Request {
            model: &model,
            objective: &objective,
            reduction: config.loss.reduction,
            features: train.features(),
            targets: train.target_kind(),
            resident_rows: resident.then_some(train.len()),
            micro: batching.micro,
            accumulates: adaptive.is_some() || batching.batch_rows() > batching.micro,
            always_accumulates: batching.batch_rows() > batching.micro,
            evaluation_rows: rows,
            optimizer,
            clip_norm: config.train.clip_norm,
            clip_value: config.train.clip_value,
            scaling: Scaling::of(&config.train),
            agenda: &agenda,
            window,
            seed: config.train.seed,
            part_len_max: info.binding_len_max,
        })?;
        let data = resident.then_some(train.as_ref() as &dyn RowSource);
        let mut engine = Engine::new(setup.executor, &blueprint, data, rows, model.output, optimizer)?;
        let starts = initialize(&mut engine, &model, config.train.seed)?;
        let [silenced, _] = verdict_ids(&config.verdicts)?;
        let facts = facts(config, &model, &objective, &train, &starts, batching.batch_rows());
        let reader = reader(&blueprint, info.precision == "f32", population, window);
        if adaptive.is_some() {
            Adaptive::check(&agenda, reader.noise())?;
        }
        let (weights, source): (_, Arc<dyn RowSource>) = (class_weights(config, &train)?, train);
        let (feed, cursor) = Feed::open(&source, batching, weights.as_deref(), resident, adaptive.is_some(), cursor)?;
        Ok(Self {
            data_seconds: engine.executor().times().map(|_| 0.0),
            engine,
            feed,
            schedule: rate_schedule(config, &batching, adaptive.as_ref())?,
            batching,
            adaptive,
            source,
            plateau: Plateau::of(&config.train.schedule),
            lr: optimizer.lr(),
            rule: optim::rule(optimizer).0,
            states: optim::states(optimizer),
            facts,
            history: History::new(reader.columns().range("signal").len()),
            places: Places::new(reader.columns()),
            silenced,
            in_flight: VecDeque::with_capacity(8),
            table: Vec::with_capacity(blueprint.layout.table_len()),
            step: Step { values: reader.values(), ..Step::default() },
            reader,
            blueprint,
            cursor,
            examples: 0,
            threads: setup.threads,
        })
    }

    /// Runs `f` where steps are cheapest: on the threads of a CPU executor.
    pub fn within<T: Send>(&mut self, f: impl FnOnce(&mut Self) -> T + Send) -> T {
        match self.threads.clone() {
            Some(threads) => threads.install(|| f(self)),
            None => f(self),
        }
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
        self.step.due = meta.taken.due;
        self.step.non_finite = self.reader.non_finite(&self.table);
        if !self.reader.is_skipped(&self.table) {
            self.history.push(&self.places.measured(&self.step.values));
            if self.blueprint.agenda.group(ProbeId::Underflow).is_some_and(|group| meta.taken.due.has(group)) {
                self.history.push_lost(meta.step + 1, self.step.values.get("signal_lost"));
            }
        }
        if let Some(plateau) = &mut self.plateau {
            plateau.push_step(self.step.values.loss());
        }
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

    /// Steps submitted and not collected.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The number of the next step.
    pub fn next_step(&self) -> u64 {
        self.cursor.step
    }

    /// Where the next step begins in the data.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Steps to an epoch; where batches grow, to one of the smallest batches.
    pub fn steps_per_epoch(&self) -> u64 {
        self.batching.batches_per_epoch() as u64
    }

    /// Steps until training ends, where the config bounds them; where batches grow, there are fewer.
    pub fn steps_total(&self, config: &Config) -> u64 {
        total_steps(config, self.steps_per_epoch())
    }

    /// Whether the run has all steps that the config allows it.
    pub fn is_done(&self, config: &Config) -> bool {
        let Cursor { step, epoch, .. } = self.cursor;
        u64::from(epoch) >= config.train.epochs || config.train.max_steps.is_some_and(|most| step >= most)
    }

    /// Examples of a full logical batch; where batches grow, of the next one.
    pub fn batch_rows(&self) -> usize {
        self.cursor.rows
    }

    /// Examples of a full logical batch at least and at most, where batches grow.
    pub fn batch_bounds(&self) -> Option<[usize; 2]> {
        self.adaptive.as_ref().map(Adaptive::bounds)
    }

    /// About how many rows a micro-batch can have: what a row takes, in the memory that this run leaves free. `None` where the
    /// device does not tell its memory.
    pub fn micro_batch_max(&self) -> Option<u64> {
        let info = self.executor().info();
        let limit = info.memory_bytes? as f64;
        let scalar = if info.precision == "f64" { 8 } else { 4 };
        let row = self.blueprint.gradients().private_bytes(scalar) as f64 / self.batching.micro as f64;
        let free = limit - self.blueprint.memory_bytes(scalar) as f64;
        Some((self.batching.micro as f64 + free / row.max(1.0)).max(1.0) as u64)
    }

    /// How often training waited for the loader.
    pub fn loader_waits(&self) -> u64 {
        self.feed.waits()
    }

    /// Seconds that training waited for its examples, where times are taken.
    pub fn data_seconds(&self) -> Option<f64> {
        self.data_seconds
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

    /// The columns of the record of a group of probes: the values of a step at which it is due are a row of it.
    pub fn schema(&self, group: usize) -> Schema {
        let tensors: Vec<String> = self.blueprint.arena.tensors.iter().map(|tensor| tensor.name.clone()).collect();
        Schema::of(&self.blueprint.layers, &tensors, self.reader.columns().quantities(group))
    }

    /// What is measured, and when.
    pub fn agenda(&self) -> &Agenda {
        &self.blueprint.agenda
    }

    /// The noise of the gradient in the steps so far.
    pub fn noise(&self) -> &NoiseReader {
        self.reader.noise()
    }

    /// What verdicts rest on: facts of the run, readings so far.
    pub fn evidence(&self) -> Evidence {
        let mut readings = self.history.readings().clone();
        readings.noise_scale = self.noise().scale();
        let tapped = &self.blueprint.layout.tapped;
        let units = self.reader.units();
        for (&layer, &share) in tapped.rectified.iter().zip(units.dead().into_iter().flatten()) {
            readings.layers[layer].dead_share = Some(share);
        }
        for (&layer, &share) in tapped.bounded.iter().zip(units.saturated().into_iter().flatten()) {
            readings.layers[layer].saturated_share = Some(share);
        }
        let facts = Facts { batch: self.cursor.rows, ..self.facts.clone() };
        Evidence { facts, readings }
    }

    /// What the readings so far say, the gravest first, without those that `verdicts.silence` names.
    pub fn verdicts(&self) -> Vec<Verdict> {
        judge(&self.evidence(), &self.silenced)
    }

    /// A word for each layer, from these verdicts.
    pub fn layer_verdicts(&self, verdicts: &[Verdict]) -> Vec<LayerVerdict> {
        by_layer(&self.evidence(), verdicts)
    }

    /// Lets verdicts and schedule know the losses of the examples of a validation.
    pub fn note_validation(&mut self, losses: &[f64]) {
        self.history.push_validation(losses.iter().sum::<f64>() / losses.len().max(1) as f64);
        if let Some(plateau) = &mut self.plateau {
            plateau.push_validation(losses);
        }
    }

    /// The parameters.
    ///
    /// # Errors
    /// If the device fails.
    pub fn params(&mut self) -> Result<Vec<HostTensor>> {
        self.engine.params()
    }

    /// The parameters as a file holds them, in the precision of the device.
    ///
    /// # Errors
    /// If the device fails.
    pub(super) fn kept_params(&mut self) -> Result<Tensors> {
        let tensors = OnDevice::of_arena(&self.blueprint.arena, PARAMS, "", self.is_double());
        tensors.iter().map(|tensor| tensor.fetch(self.engine.executor_mut())).collect()
    }

    /// Puts them back: they are those of [`Trainer::kept_params`], in that order.
    ///
    /// # Errors
    /// If the device fails.
    pub(super) fn put_back(&mut self, tensors: &[NamedTensor]) -> Result<()> {
        for (i, tensor) in tensors.iter().enumerate() {
            for part in blocks(tensor.data.len()) {
                self.engine.set_part(PARAMS, i, part.start, &tensor.data.part(part))?;
            }
        }
        Ok(())
    }

    /// Some elements of a tensor on the device.
    pub(super) fn read(&mut self, tensor: &OnDevice, part: Range<usize>) -> Result<Vec<f64>> {
        tensor.read(self.engine.executor_mut(), part)
    }

    /// Replaces the parameters; before the first step, those too that distances are measured from.
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
        if self.cursor.step == 0 {
            self.engine.set_arena_values(INITIAL_PARAMS, tensors)?;
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
fn reader(blueprint: &Blueprint, single_precision: bool, population: f64, window: u32) -> Reader {
    let of = Measured {
        single_precision,
        tensor_lens: blueprint.arena.tensors.iter().map(|tensor| tensor.shape.len()).collect(),
        tensor_layers: blueprint.tensor_layers.clone(),
        population,
        window,
    };
    Reader::new(blueprint.layout.clone(), &blueprint.agenda, &of)
}

/// The config's model for the shape of its examples.
fn described(config: &Config, setup: &Setup) -> Result<Description> {
    Model::from(config.model.clone()).describe(setup.splits.train.sample_shape())
}

/// How many examples batches are drawn from: dropout makes no two draws of one alike.
fn population(config: &Config, examples: usize) -> f64 {
    let drops = |layer: &Layer| matches!(layer, Layer::Dropout { p } if *p > 0.0);
    if config.model.layers.iter().any(drops) { f64::INFINITY } else { examples as f64 }
}

/// Draws and uploads the initial parameters block by block, so that the host never holds them; and what verdicts rest on of them.
fn initialize(engine: &mut Engine, model: &Description, seed: u64) -> Result<Vec<Start>> {
    let tensors = (0..model.params.len()).map(|i| {
        let mut start = Start::default();
        model.each_initial(i, seed, BLOCK, |first, values| {
            start.add(values);
            [PARAMS, INITIAL_PARAMS].iter().try_for_each(|arena| engine.set_part(arena, i, first, values))
        })?;
        Ok(start)
    });
    tensors.collect()
}

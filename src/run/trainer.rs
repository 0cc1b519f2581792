//! The trainer: joins data, plans, executor, probe and verdict, one step at a time.

use super::blueprint::{Blueprint, Request, TappedLayer};
use super::engine::{Batch, Engine};
use super::evaluator::{Outputs, evaluation_rows};
use super::objective::Objective;
use super::tensors::HostTensor;
use crate::base::{Error, Result, Threads};
use crate::config::{self, Config};
use crate::data::{Batching, Dataset, Loader, MicroBatch, RowSource, Schedule, Splits, Staged, TargetKind};
use crate::exec::Executor;
use crate::graph::StepScalars;
use crate::nn::{Description, Model};
use crate::ops::optimize::Rule;
use crate::optim;
use crate::probe::{NonFinite, Reader, Values};
use crate::verdict::{History, Verdict};
use std::collections::VecDeque;
use std::sync::Arc;

/// Rows computed at once where a config does not say: larger batches are accumulated.
const MICRO_ROWS_MAX: usize = 1024;

/// Micro-batches that a loader keeps ready.
const RING: usize = 4;

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
    lr: f64,
    rows: usize,
    signal_rows: usize,
}

/// Where micro-batches come from: gathered on the device by row number, or streamed.
enum Feed {
    Resident { schedule: Schedule, staged: Staged },
    Streamed { loader: Loader },
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
    reader: Reader,
    blueprint: Blueprint,
    history: History,
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
            seed: config.train.seed,
            part_len_max: info.binding_len_max,
        })?;
        let (rule, _) = optim::rule(&config.train.optimizer);
        let rows = evaluation_rows(train.len());
        let data: Option<&dyn RowSource> = if resident { Some(train.as_ref()) } else { None };
        let mut engine = Engine::new(setup.executor, &blueprint, data, rows, model.output, &config.train.optimizer)?;
        engine.set_params(&initial(&model, config.train.seed))?;
        let schedule = Schedule::new(batching, class_weights(config, &train)?.as_deref())?;
        let per_epoch = batching.batches_per_epoch() as u64;
        let total = total_steps(config, per_epoch);
        let lr_schedule = optim::Schedule::new(&config.train.schedule, per_epoch, Some(total))?;
        let reader = reader(&blueprint, info.precision == "f32");
        let source: Arc<dyn RowSource> = train;
        let feed = if resident {
            let staged = Staged::new(source.as_ref(), &schedule);
            Feed::Resident { schedule, staged }
        } else {
            Feed::Streamed { loader: Loader::new(source.clone(), schedule, RING)? }
        };
        let statistics = config.record.statistics;
        let names = blueprint.layers.iter().filter(|_| statistics).map(|layer| layer.name.clone()).collect();
        Ok(Self {
            engine,
            feed,
            batching,
            source,
            schedule: lr_schedule,
            lr: config.train.optimizer.lr(),
            rule,
            history: History::new(names),
            in_flight: VecDeque::with_capacity(8),
            table: Vec::with_capacity(blueprint.layout.table_len()),
            step: Step { values: reader.values(), ..Step::default() },
            reader,
            blueprint,
            next_step: 0,
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
        let mut signal_rows = 0;
        loop {
            let staged = match &mut self.feed {
                Feed::Resident { schedule, staged } => {
                    schedule.fill(&mut staged.batch);
                    if !staged.labels.is_empty() {
                        self.source.fill_labels(&staged.batch.indices, &mut staged.labels)?;
                    }
                    &*staged
                }
                Feed::Streamed { loader } => loader.next()?,
            };
            let micro: &MicroBatch = &staged.batch;
            let scalars = StepScalars {
                micro: micro.micro as u32,
                first_row: micro.first_row as u32,
                rows: micro.rows as u32,
                ..scalars
            };
            signal_rows += micro.weights.iter().filter(|&&w| w != 0.0).count();
            let batch = Batch { micro, x: &staged.x, labels: &staged.labels, values: &staged.values };
            self.engine.submit(&batch, scalars)?;
            if micro.last {
                let rows = micro.batch_rows;
                let epoch =
                    f64::from(micro.epoch) + (micro.batch + 1) as f64 / self.batching.batches_per_epoch() as f64;
                self.examples += rows as u64;
                self.in_flight.push_back(Meta { step, epoch, examples: self.examples, lr, rows, signal_rows });
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
        self.reader.read(&self.table, meta.lr, meta.rows, meta.signal_rows, &mut self.step.values);
        self.step.step = meta.step;
        self.step.epoch = meta.epoch;
        self.step.examples = meta.examples;
        self.step.non_finite = self.reader.non_finite(&self.table);
        self.history.push(self.step.values.loss(), self.step.values.signal());
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

    /// How often training waited for the loader.
    pub fn loader_waits(&self) -> u64 {
        match &self.feed {
            Feed::Resident { .. } => 0,
            Feed::Streamed { loader } => loader.waits(),
        }
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

    /// What the readings so far say about each layer.
    pub fn verdicts(&self) -> Vec<Verdict> {
        self.history.verdicts()
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

fn batching(config: &Config, examples: usize) -> Result<Batching> {
    let train = &config.train;
    let batch = match train.batch {
        config::Batch::Full => examples,
        config::Batch::Size(batch) => batch,
    };
    if batch > examples {
        let message = format!("a batch of {batch} is larger than the {examples} training examples");
        return Err(Error::input("train.batch", message).help("use \"full\" for all of them"));
    }
    let micro = train.micro_batch.unwrap_or(batch.min(MICRO_ROWS_MAX));
    if micro > batch {
        let message = format!("{micro} is larger than the batch of {batch}");
        return Err(Error::input("train.micro_batch", message).help("leave it out, or make it smaller"));
    }
    let reduction = match config.loss.reduction {
        config::Reduction::Mean => crate::data::Reduction::Mean,
        config::Reduction::Sum => crate::data::Reduction::Sum,
    };
    // A full batch in another order is the same batch up to rounding: it keeps the order of the data.
    let shuffle = train.shuffle && batch < examples;
    Ok(Batching { examples, batch, micro, shuffle, drop_last: train.drop_last, reduction, seed: train.seed })
}

/// What reads the tables of these plans.
fn reader(blueprint: &Blueprint, single_precision: bool) -> Reader {
    let widths: Vec<usize> = blueprint.layers.iter().map(|layer| layer.activation_width).collect();
    let lens: Vec<usize> = blueprint.arena.tensors.iter().map(|tensor| tensor.shape.len()).collect();
    Reader::new(blueprint.layout.clone(), single_precision, &widths, &lens, &blueprint.tensor_layers)
}

/// Whether the training data stays on the device: it must fit into one binding.
fn resident(config: &Config, train: &Dataset, binding_len_max: usize) -> Result<bool> {
    let len = train.len() * train.features();
    let fits = len <= binding_len_max;
    match config.data.resident {
        config::Resident::No => Ok(false),
        config::Resident::Auto => Ok(fits),
        config::Resident::Yes if fits => Ok(true),
        config::Resident::Yes => {
            let message = format!("the data has {len} numbers, the device binds {binding_len_max} at most");
            Err(Error::input("data.resident", message).help("use \"auto\": the data is streamed then"))
        }
    }
}

fn class_weights(config: &Config, train: &Dataset) -> Result<Option<Vec<f64>>> {
    let weights = match &config.data.class_weights {
        config::ClassWeights::None => return Ok(None),
        config::ClassWeights::Balanced => train.balanced_class_weights(),
        config::ClassWeights::Given(weights) => weights.clone(),
    };
    if let TargetKind::Values(_) = train.target_kind() {
        return Err(Error::input("data.class_weights", "the targets are values, not classes").help("leave it out"));
    }
    train.row_weights(&weights).map(Some)
}

/// Steps until training ends, where a config bounds them.
pub(super) fn total_steps(config: &Config, per_epoch: u64) -> u64 {
    let by_epochs = config.train.epochs.saturating_mul(per_epoch);
    config.train.max_steps.map_or(by_epochs, |max| max.min(by_epochs))
}

/// The initial parameters of a model.
pub(super) fn initial(model: &Description, seed: u64) -> Vec<HostTensor> {
    let tensors = model.initial(seed).into_iter();
    tensors.map(|(name, shape, values)| HostTensor { name, shape, values }).collect()
}

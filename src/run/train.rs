//! A training run from config to run folder: steps, validation, stopping, record, weights, summary.

use super::evaluate::{Evaluation, evaluate_part};
use super::folder::RunFolder;
use super::observer::{LayerRow, Observer, RunInfo, Validation};
use super::record::{Record, RecordSettings};
use super::schema::{Column, Schema};
use super::summary::{BestSummary, Summary};
use super::thinning::Every;
use super::trainer::{Setup, Step, Trainer, total_steps};
use super::weights::{NamedTensor, TensorData, write_tensors};
use super::{HostTensor, load, open_device};
use crate::base::{Error, Result};
use crate::config::{Config, Precision, RecordEvery, ValidateEvery};
use crate::data::{Dataset, Optimum, Preprocessing};
use crate::probe::{NonFinite, QUANTITIES, Scope};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What a caller decides beside the config.
#[derive(Clone, Debug, Default)]
pub struct TrainOptions {
    /// The run folder; `<record.dir>/<time>-<name>` if not given.
    pub out: Option<PathBuf>,
    /// The command line, for the record.
    pub command: Vec<String>,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct RunEnd {
    /// The summary, as `summary.json` holds it.
    pub summary: Summary,
    /// The run folder.
    pub folder: PathBuf,
    /// The layers at the end.
    pub layers: Vec<LayerRow>,
    /// The evaluation on the test part.
    pub test: Option<Evaluation>,
}

/// Trains as the config says and writes a run folder.
///
/// # Errors
/// If config, data or device do not fit (nothing was written then), if the device fails, or if a value becomes
/// non-finite: then record, flight recorder and summary are in the run folder, and the error names step and layer.
pub fn train(config: &Config, options: &TrainOptions, observer: &mut dyn Observer) -> Result<RunEnd> {
    config.check()?;
    let splits = load(config)?;
    let device = open_device(config)?;
    let parts = Parts {
        validation: splits.validation.clone(),
        test: splits.test.clone(),
        optimum: splits.optimum.clone(),
        preprocessing: splits.preprocessing.clone(),
    };
    let train_rows = splits.train.len();
    let setup = Setup { splits, executor: device.executor, threads: device.threads, objective: None };
    let mut trainer = Trainer::new(config, setup)?;
    let folder = RunFolder::create(options.out.as_deref(), &config.record.dir, &config.name)?;
    let info = run_info(config, &trainer, &parts, train_rows, &device.reason, &folder);
    write_setting(config, options, &info, &folder, &parts.preprocessing)?;
    let record = open_record(config, &trainer, &folder)?;
    observer.start(&info);
    let run = Run { config, folder: &folder, parts, info };
    trainer.within(|trainer| run.drive(trainer, record, observer))
}

/// The data beside the training part.
struct Parts {
    validation: Option<Dataset>,
    test: Option<Dataset>,
    optimum: Option<Optimum>,
    preprocessing: Preprocessing,
}

fn run_info(
    config: &Config,
    trainer: &Trainer,
    parts: &Parts,
    train_rows: usize,
    reason: &str,
    folder: &RunFolder,
) -> RunInfo {
    let per_epoch = trainer.steps_per_epoch();
    let scalar = if config.train.precision == Precision::F64 { 8 } else { 4 };
    RunInfo {
        name: config.name.clone(),
        device: trainer.executor().info().clone(),
        device_reason: reason.to_owned(),
        parameters: trainer.blueprint().arena.element_count(),
        layers: trainer.layers().iter().map(|layer| (layer.name.clone(), layer.kind.clone())).collect(),
        train_rows,
        validation_rows: parts.validation.as_ref().map_or(0, Dataset::len),
        test_rows: parts.test.as_ref().map_or(0, Dataset::len),
        steps_total: total_steps(config, per_epoch),
        steps_per_epoch: per_epoch,
        memory_bytes: trainer.blueprint().memory_bytes(scalar),
        folder: folder.path().to_owned(),
    }
}

fn write_setting(
    config: &Config,
    options: &TrainOptions,
    info: &RunInfo,
    folder: &RunFolder,
    preprocessing: &Preprocessing,
) -> Result<()> {
    folder.write_atomic("config.toml", config.to_toml().as_bytes())?;
    let preprocessing =
        serde_json::to_vec_pretty(preprocessing).map_err(|e| Error::failure("preprocessing.json", e))?;
    folder.write_atomic("preprocessing.json", &preprocessing)?;
    let device = serde_json::to_value(&info.device).map_err(|e| Error::failure("environment.json", e))?;
    folder.write_environment([
        ("device".to_owned(), device),
        ("device_reason".to_owned(), info.device_reason.clone().into()),
        ("seed".to_owned(), config.train.seed.into()),
        ("command".to_owned(), options.command.clone().into()),
    ])
}

fn open_record(config: &Config, trainer: &Trainer, folder: &RunFolder) -> Result<Record> {
    let blueprint = trainer.blueprint();
    let statistics = config.record.statistics;
    let layers: Vec<String> = blueprint.layers.iter().filter(|_| statistics).map(|layer| layer.name.clone()).collect();
    let tensors: Vec<String> =
        blueprint.arena.tensors.iter().filter(|_| statistics).map(|tensor| tensor.name.clone()).collect();
    let measured = QUANTITIES.iter().filter(|quantity| statistics || quantity.scope == Scope::Step);
    let columns = measured.map(|quantity| match quantity.scope {
        Scope::Step => Column::scalar(quantity.id, quantity.doc, quantity.formula),
        Scope::Layer => Column::list(quantity.id, quantity.doc, quantity.formula, layers.clone()),
        Scope::Tensor => Column::list(quantity.id, quantity.doc, quantity.formula, tensors.clone()),
    });
    let schema = Schema { columns: columns.collect() };
    let every = match config.record.every {
        RecordEvery::Auto => Every::Auto,
        RecordEvery::Steps(n) => Every::Steps(n),
    };
    Record::create(
        folder.path(),
        &schema,
        &RecordSettings { every, flight_steps: config.record.flight, ..RecordSettings::default() },
    )
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Epochs,
    MaxSteps,
    MaxTime,
    Patience,
    NonFinite,
}

impl Stop {
    fn word(self) -> &'static str {
        match self {
            Self::Epochs => "epochs",
            Self::MaxSteps => "max_steps",
            Self::MaxTime => "max_time",
            Self::Patience => "patience",
            Self::NonFinite => "non_finite",
        }
    }
}

struct Best {
    loss: f64,
    step: u64,
    epoch: f64,
    params: Option<Vec<HostTensor>>,
}

struct Run<'a> {
    config: &'a Config,
    folder: &'a RunFolder,
    parts: Parts,
    info: RunInfo,
}

/// What changes while a run goes on.
struct Progress<'a> {
    record: Record,
    observer: &'a mut dyn Observer,
    best: Option<Best>,
    without_better: u64,
    last: Step,
    last_table: Instant,
    started: Instant,
    trained: Duration,
    non_finite: Option<(u64, NonFinite)>,
    epoch_loss: EpochLoss,
}

/// The mean loss of the steps of the last epoch, whole or, before the first ends, begun.
#[derive(Clone, Copy, Debug, Default)]
struct EpochLoss {
    epoch: u64,
    sum: f64,
    steps: u64,
    whole: Option<f64>,
}

impl EpochLoss {
    fn push(&mut self, step: u64, per_epoch: u64, loss: f64) {
        let epoch = step / per_epoch;
        if epoch != self.epoch {
            *self = Self { epoch, whole: Some(self.sum / self.steps as f64), ..Self::default() };
        }
        self.sum += loss;
        self.steps += 1;
    }

    fn mean(&self, per_epoch: u64) -> Option<f64> {
        let begun = (self.steps > 0).then(|| self.sum / self.steps as f64);
        if self.steps == per_epoch { begun } else { self.whole.or(begun) }
    }
}

impl Run<'_> {
    fn drive(&self, trainer: &mut Trainer, record: Record, observer: &mut dyn Observer) -> Result<RunEnd> {
        let now = Instant::now();
        let mut progress = Progress {
            record,
            observer,
            best: None,
            without_better: 0,
            last: Step::default(),
            last_table: now,
            started: now,
            trained: Duration::ZERO,
            non_finite: None,
            epoch_loss: EpochLoss::default(),
        };
        let stop = self.steps(trainer, &mut progress)?;
        self.end(trainer, progress, stop)
    }

    fn steps(&self, trainer: &mut Trainer, progress: &mut Progress<'_>) -> Result<Stop> {
        let validate_every = match self.config.validate.every {
            ValidateEvery::Epoch => trainer.steps_per_epoch(),
            ValidateEvery::Steps(n) => n,
            ValidateEvery::Never => u64::MAX,
        };
        loop {
            let stretch = Instant::now();
            while trainer.next_step() < self.info.steps_total {
                if !trainer.has_room() {
                    self.collect(trainer, progress, true)?;
                }
                trainer.submit()?;
                self.collect(trainer, progress, false)?;
                let late = self.config.train.max_time.is_some_and(|max| progress.started.elapsed() >= max);
                if late || progress.non_finite.is_some() || trainer.next_step().is_multiple_of(validate_every) {
                    break;
                }
            }
            while trainer.in_flight() > 0 {
                self.collect(trainer, progress, true)?;
            }
            progress.trained += stretch.elapsed();
            if progress.non_finite.is_some() {
                return Ok(Stop::NonFinite);
            }
            let done = trainer.next_step() >= self.info.steps_total;
            let late = self.config.train.max_time.is_some_and(|max| progress.started.elapsed() >= max);
            let due =
                trainer.next_step().is_multiple_of(validate_every) || (validate_every != u64::MAX && (done || late));
            if due && self.validate(trainer, progress)? {
                return Ok(Stop::Patience);
            }
            if done {
                let by_epochs = self.config.train.epochs * self.info.steps_per_epoch;
                return Ok(if self.info.steps_total < by_epochs { Stop::MaxSteps } else { Stop::Epochs });
            }
            if late {
                return Ok(Stop::MaxTime);
            }
        }
    }

    /// Takes in the readings that are there; with `wait`, at least one.
    fn collect(&self, trainer: &mut Trainer, progress: &mut Progress<'_>, wait: bool) -> Result<()> {
        let mut wait = wait;
        while let Some(step) = trainer.collect(wait)? {
            wait = false;
            // The trainer counts from 0, people and records from 1.
            progress.record.push(step.step + 1, step.epoch, step.examples, step.values.flat())?;
            progress.observer.step(step);
            progress.last.clone_from(step);
            progress.epoch_loss.push(step.step, self.info.steps_per_epoch, step.values.scalar("loss"));
            if let (Some(what), None) = (step.non_finite, progress.non_finite) {
                progress.non_finite = Some((step.step + 1, what));
            }
        }
        // The clock is asked only now and then: a step of a small network takes a few microseconds.
        if progress.last.step.is_multiple_of(64) && progress.last_table.elapsed() > Duration::from_secs(1) {
            progress.last_table = Instant::now();
            let rows = layer_rows(trainer, &progress.last);
            progress.observer.layers(&rows);
        }
        Ok(())
    }

    /// Judges the model on the validation part; true if patience has run out.
    fn validate(&self, trainer: &mut Trainer, progress: &mut Progress<'_>) -> Result<bool> {
        let Some(data) = &self.parts.validation else { return Ok(false) };
        let evaluation = evaluate_part(trainer, data, self.config)?;
        let better = progress.best.as_ref().is_none_or(|best| evaluation.loss < best.loss);
        let (step, epoch) = (trainer.next_step(), progress.last.epoch);
        progress.observer.validation(&Validation {
            step,
            epoch,
            loss: evaluation.loss,
            accuracy: evaluation.accuracy(),
            best: better,
        });
        progress.without_better = if better { 0 } else { progress.without_better + 1 };
        if better {
            let params = if self.config.validate.keep_best { Some(trainer.params()?) } else { None };
            progress.best = Some(Best { loss: evaluation.loss, step, epoch, params });
        }
        Ok(self.config.validate.patience.is_some_and(|patience| progress.without_better >= patience))
    }

    fn end(&self, trainer: &mut Trainer, progress: Progress<'_>, stop: Stop) -> Result<RunEnd> {
        let Progress { record, best, last, trained, started, non_finite, epoch_loss, .. } = progress;
        let layers = layer_rows(trainer, &last);
        let report = record.finish(stop.word())?;
        if let Some(params) = best.as_ref().and_then(|best| best.params.as_ref()) {
            trainer.set_params(params)?;
        }
        let finite = non_finite.is_none();
        if finite {
            self.write_weights(trainer)?;
        }
        let judge = |trainer: &mut Trainer, data: &Option<Dataset>| {
            data.as_ref().filter(|_| finite).map(|data| evaluate_part(trainer, data, self.config)).transpose()
        };
        let test = judge(trainer, &self.parts.test)?;
        let validation = judge(trainer, &self.parts.validation)?;
        let seconds = trained.as_secs_f64();
        let mut summary = Summary {
            name: self.info.name.clone(),
            train: Some(super::summary::PartSummary {
                loss: epoch_loss.mean(self.info.steps_per_epoch),
                ..Default::default()
            }),
            validation: validation.as_ref().map(|part| part.summary()),
            test: test.as_ref().map(|part| part.summary()),
            best: best.as_ref().map(|best| BestSummary {
                metric: "validation.loss".into(),
                value: Some(best.loss),
                step: best.step,
                epoch: best.epoch,
                kept: best.params.is_some(),
            }),
            steps: report.steps,
            epochs: last.epoch,
            examples_per_second: (seconds > 0.0).then(|| last.examples as f64 / seconds),
            seconds: started.elapsed().as_secs_f64(),
            verdicts: layers.iter().map(|row| serde_json::to_value(&row.verdict).unwrap_or_default()).collect(),
            device: self.info.device.name.clone(),
            seed: self.config.train.seed,
            stopped_by: stop.word().into(),
            ..Default::default()
        };
        summary.more.insert("record_waits".into(), report.record_waits.into());
        summary.more.insert("loader_waits".into(), trainer.loader_waits().into());
        if let Some(optimum) = &self.parts.optimum {
            summary.more.insert("optimum_loss".into(), optimum.loss.into());
        }
        summary.write(self.folder)?;
        let folder = self.folder.path().to_owned();
        match non_finite {
            Some((step, what)) => Err(self.non_finite_error(trainer, step, what)),
            None => Ok(RunEnd { summary, folder, layers, test }),
        }
    }

    fn write_weights(&self, trainer: &mut Trainer) -> Result<()> {
        let double = self.config.train.precision == Precision::F64;
        let tensors: Vec<NamedTensor> = trainer.params()?.into_iter().map(|tensor| named(tensor, double)).collect();
        write_tensors(&self.folder.file("model.safetensors"), &tensors, &[])
    }

    fn non_finite_error(&self, trainer: &Trainer, step: u64, what: NonFinite) -> Error {
        let layer = |i: usize| {
            let layer = &trainer.layers()[i];
            format!("layer {} ({})", layer.name, layer.kind)
        };
        let where_ = match what {
            NonFinite::Activation(i) => format!("first in the activations of {}", layer(i)),
            NonFinite::Loss => "first in the loss, all activations were finite".to_owned(),
            NonFinite::Signal(i) => format!("first in the backpropagated signal at {}", layer(i)),
            NonFinite::Gradient(i) => format!("first in the gradient of {}", trainer.blueprint().arena.tensors[i].name),
        };
        let place = format!("training, step {step}");
        Error::failure(place, format!("a value is not finite any more, {where_}")).help(format!(
            "lower train.lr or set train.clip_norm; the last steps are in {}",
            self.folder.file("flight.jsonl").display()
        ))
    }
}

/// A tensor as it goes into a file.
pub(super) fn named(tensor: HostTensor, double: bool) -> NamedTensor {
    let data = if double {
        TensorData::F64(tensor.values)
    } else {
        TensorData::F32(tensor.values.iter().map(|&x| x as f32).collect())
    };
    NamedTensor { name: tensor.name, shape: tensor.shape.to_vec(), data }
}

fn layer_rows(trainer: &Trainer, last: &Step) -> Vec<LayerRow> {
    let verdicts = trainer.verdicts();
    let rows = trainer.layers().iter().zip(verdicts).enumerate().map(|(i, (layer, verdict))| LayerRow {
        name: layer.name.clone(),
        kind: layer.kind.clone(),
        grad_norm: last.values.get("layer_grad_norm")[i],
        signal: last.values.get("signal")[i],
        factor: verdict.factor,
        update_ratio: last.values.get("layer_update_ratio")[i],
        verdict,
    });
    rows.collect()
}

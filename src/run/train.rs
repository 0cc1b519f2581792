//! A training run from config to run folder: data, device, trainer, folder, record; [`super::drive`] does the rest.

use super::checkpoint::RunState;
use super::drive::Run;
use super::evaluate::Evaluation;
use super::evidence::verdict_ids;
use super::feed::total_steps;
use super::folder::RunFolder;
use super::observer::{LayerRow, Observer, RunInfo};
use super::record::RecordSettings;
use super::records::Records;
use super::summary::Summary;
use super::thinning::Every;
use super::trainer::{Setup, Trainer, TrainerState};
use super::{load, open_device};
use crate::base::{Error, Result};
use crate::config::{Auto, Config, Precision};
use crate::data::{Dataset, Optimum, Preprocessing, Splits};
use crate::verdict::{Grade, Verdict};
use std::path::PathBuf;

/// What a caller decides beside the config.
#[derive(Clone, Debug, Default)]
pub struct TrainOptions {
    /// The run folder; `<record.dir>/<time>-<name>` if not given.
    pub out: Option<PathBuf>,
    /// The command line, for the record.
    pub command: Vec<String>,
    /// Whether the summary is to say where the time of a step goes: the run is slower for it.
    pub profile: bool,
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
    /// What was found, the gravest first.
    pub verdicts: Vec<Verdict>,
    /// The evaluation on the test part.
    pub test: Option<Evaluation>,
}

impl RunEnd {
    /// Whether a fault that `verdicts.stop_on` names ended it.
    pub fn is_ended_by_fault(&self) -> bool {
        let is_it = |verdict: &Verdict| verdict.grade == Grade::Fault && verdict.id == self.summary.stopped_by;
        self.verdicts.iter().any(is_it)
    }
}

/// Trains as the config says and writes a run folder.
///
/// # Errors
/// If config, data or device do not fit (nothing was written then), if the device fails, or if a value becomes
/// non-finite: then record, flight recorder and summary are in the run folder, and the error names step and layer.
pub fn train(config: &Config, options: &TrainOptions, observer: &mut dyn Observer) -> Result<RunEnd> {
    config.check()?;
    let [_, stop_on] = verdict_ids(&config.verdicts)?;
    let splits = load(config)?;
    let parts = Parts::of(&splits);
    let (mut trainer, reason) = open_trainer(config, splits, None, options.profile)?;
    let folder = RunFolder::create(options.out.as_deref(), &config.record.dir, &config.name)?;
    let info = run_info(config, &trainer, &parts, &reason, &folder);
    write_setting(config, options, &info, &folder, &parts.preprocessing)?;
    let records = Records::create(folder.path(), &trainer, &record_settings(config))?;
    observer.start(&info);
    let state = RunState { data: parts.fingerprint, ..RunState::default() };
    let run = Run { config, folder: &folder, parts, info, stop_on };
    trainer.within(|trainer| run.drive(trainer, records, state, observer))
}

/// The data beside the training part.
pub(super) struct Parts {
    pub train_rows: usize,
    /// Of all parts.
    pub fingerprint: u64,
    pub validation: Option<Dataset>,
    pub test: Option<Dataset>,
    pub optimum: Option<Optimum>,
    pub preprocessing: Preprocessing,
}

impl Parts {
    pub fn of(splits: &Splits) -> Self {
        let parts = [Some(&splits.train), splits.validation.as_ref(), splits.test.as_ref()];
        Self {
            train_rows: splits.train.len(),
            fingerprint: parts.into_iter().flatten().fold(0, |hash, part| part.fingerprint(hash)),
            validation: splits.validation.clone(),
            test: splits.test.clone(),
            optimum: splits.optimum.clone(),
            preprocessing: splits.preprocessing.clone(),
        }
    }
}

/// Opens the device and puts a trainer on it, which goes on from `state` if there is one; and why this device.
pub(super) fn open_trainer(
    config: &Config,
    splits: Splits,
    state: Option<TrainerState>,
    profile: bool,
) -> Result<(Trainer, String)> {
    let mut device = open_device(config)?;
    if profile {
        device.executor.profile()?;
    }
    let setup = Setup { splits, executor: device.executor, threads: device.threads, objective: None };
    let trainer = match state {
        Some(state) => Trainer::resume(config, setup, state)?,
        None => Trainer::new(config, setup)?,
    };
    Ok((trainer, device.reason))
}

pub(super) fn run_info(config: &Config, trainer: &Trainer, parts: &Parts, reason: &str, folder: &RunFolder) -> RunInfo {
    let per_epoch = trainer.steps_per_epoch();
    let scalar = if config.train.precision == Precision::F64 { 8 } else { 4 };
    RunInfo {
        name: config.name.clone(),
        device: trainer.executor().info().clone(),
        device_reason: reason.to_owned(),
        parameters: trainer.blueprint().arena.element_count(),
        layers: trainer.layers().iter().map(|layer| (layer.name.clone(), layer.kind.clone())).collect(),
        train_rows: parts.train_rows,
        validation_rows: parts.validation.as_ref().map_or(0, Dataset::len),
        test_rows: parts.test.as_ref().map_or(0, Dataset::len),
        steps_done: trainer.next_step(),
        steps_total: total_steps(config, per_epoch),
        steps_per_epoch: per_epoch,
        batch_bounds: trainer.batch_bounds(),
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

/// How the step record of a run is kept.
pub(super) fn record_settings(config: &Config) -> RecordSettings {
    let every = match config.record.every {
        Auto::Auto => Every::Auto,
        Auto::Set(n) => Every::Steps(n),
    };
    RecordSettings { every, flight_steps: config.record.flight, ..RecordSettings::default() }
}

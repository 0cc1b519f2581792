//! A run that was killed, or whose end is put off, goes on from its checkpoint.

use super::adaptive::Adaptive;
use super::checkpoint::{Checkpoint, RunState};
use super::drive::{Run, Stop};
use super::evidence::verdict_ids;
use super::feed::{batching, rate_schedule};
use super::folder::RunFolder;
use super::load;
use super::observer::Observer;
use super::records::Records;
use super::saved::read_preprocessing;
use super::summary::{SUMMARY_FILE, Summary};
use super::train::{Parts, RunEnd, TrainOptions, open_trainer, record_settings, run_info};
use crate::base::{Error, Result};
use crate::config::Config;
use std::path::Path;

/// The settings that may differ from those of the checkpoint: when training ends, where it runs, what is kept beside the
/// record. All others decide what is computed, or what stands in the record already.
const MAY_CHANGE: [&str; 12] = [
    "train.epochs",
    "train.max_steps",
    "train.max_time",
    "validate.patience",
    "verdicts.silence",
    "verdicts.stop_on",
    "record.checkpoint",
    "record.flight",
    "device.device",
    "device.threads",
    "device.memory_limit",
    "data.resident",
];

/// Goes on with the run in `folder` from its checkpoint to the end that `config` says: the `config.toml` of the folder, or
/// one that differs in when training ends and where it runs. Of the options, `out` has no part in it.
///
/// On the same device, weights, step record and scores become those of a run that was not interrupted, bit for bit.
///
/// # Errors
/// If it is not the folder of a run, its checkpoint is missing, damaged or does not fit, another setting differs, the data
/// has changed, the run is over or another process is at it: then nothing was changed. Else as [`super::train`].
pub fn resume(config: &Config, folder: &Path, options: &TrainOptions, observer: &mut dyn Observer) -> Result<RunEnd> {
    config.check()?;
    let [_, stop_on] = verdict_ids(&config.verdicts)?;
    let folder = RunFolder::open(folder)?;
    let mut checkpoint = Checkpoint::read(&folder)?;
    check_settings(config, &checkpoint.config)?;
    check_finite(&folder)?;
    let splits = load(config)?;
    let parts = Parts::of(&splits);
    check_data(&folder, &parts, &checkpoint.run)?;
    check_unfinished(config, &folder, &checkpoint)?;
    check_schedule(config, &checkpoint.config, parts.train_rows)?;
    let steps = checkpoint.trainer.cursor.step;
    let state = std::mem::take(&mut checkpoint.trainer);
    let (mut trainer, reason) = open_trainer(config, splits, Some(state), options.profile)?;
    let state = checkpoint.run_state(&trainer.blueprint().arena)?;
    let records = Records::resume(folder.path(), &trainer, &record_settings(config), steps, &checkpoint.pending)?;
    drop(checkpoint);
    folder.remove_unfinished();
    let info = run_info(config, &trainer, &parts, &reason, &folder);
    folder.write_atomic("config.toml", config.to_toml().as_bytes())?;
    folder.note_resumed([
        ("step".to_owned(), steps.into()),
        ("device".to_owned(), serde_json::to_value(&info.device).map_err(|e| Error::failure("environment.json", e))?),
        ("device_reason".to_owned(), info.device_reason.clone().into()),
        ("command".to_owned(), options.command.clone().into()),
    ])?;
    observer.start(&info);
    let run = Run { config, folder: &folder, parts, info, stop_on };
    trainer.within(|trainer| run.drive(trainer, records, state, observer))
}

fn check_settings(config: &Config, written: &Config) -> Result<()> {
    let differences = config.differences(written);
    let Some(pair) = differences.iter().find(|pair| !MAY_CHANGE.contains(&pair.key.as_str())) else { return Ok(()) };
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".into());
    let message = format!(
        "it is {} now and was {} when the checkpoint was written; a run that goes on keeps it",
        text(&pair.here),
        text(&pair.there)
    );
    Err(Error::input(&pair.key, message).help(format!("what may change: {}", MAY_CHANGE.join(", "))))
}

/// From its checkpoint a run would come to the same value again.
fn check_finite(folder: &RunFolder) -> Result<()> {
    let path = folder.file(SUMMARY_FILE);
    if path.exists() && Summary::read(&path)?.stopped_by == Stop::NonFinite.word() {
        let message = "the run ended because a value was not finite, and it would come to that again";
        return Err(Error::input(folder.path().display(), message)
            .help("train again into another folder, with a lower train.lr or with train.clip_norm"));
    }
    Ok(())
}

fn check_data(folder: &RunFolder, parts: &Parts, run: &RunState) -> Result<()> {
    let before = read_preprocessing(&folder.file("preprocessing.json"))?;
    if parts.preprocessing == before && parts.fingerprint == run.data {
        return Ok(());
    }
    Err(Error::input("data", "the data is no longer what the run was trained on")
        .help("restore it, or train again into another folder"))
}

fn check_unfinished(config: &Config, folder: &RunFolder, checkpoint: &Checkpoint) -> Result<()> {
    let at = checkpoint.trainer.cursor;
    let Some(stop) = Stop::of(config, &checkpoint.run, at) else { return Ok(()) };
    let (why, key) = match stop {
        Stop::Epochs => (format!("train.epochs = {} is reached", config.train.epochs), "train.epochs (--epochs)"),
        Stop::MaxSteps => ("train.max_steps is reached".to_owned(), "train.max_steps (--max-steps)"),
        Stop::MaxTime => ("train.max_time is over".to_owned(), "train.max_time (--max-time)"),
        Stop::Patience => ("the validation loss did not get better any more".to_owned(), "validate.patience"),
        Stop::NonFinite | Stop::Observer(_) | Stop::Verdict(_) | Stop::Failure => {
            unreachable!("these do not follow from the state of a run")
        }
    };
    let message = format!("the run is finished: {why}, it is at step {}", at.step);
    Err(Error::input(folder.path().display(), message).help(format!("raise {key} to go on, or leave it as it is")))
}

/// A cosine without a length ends with the training: put off, it would have had other rates in the steps that are done.
fn check_schedule(config: &Config, written: &Config, rows: usize) -> Result<()> {
    let resolved = |config: &Config| {
        let batching = batching(config, rows)?;
        let adaptive = Adaptive::new(config, &batching, f64::INFINITY)?;
        rate_schedule(config, &batching, adaptive.as_ref())
    };
    if resolved(config)? == resolved(written)? {
        return Ok(());
    }
    let message = "the schedule ends with the training, so that another end would change the steps that are done";
    Err(Error::input("train.schedule", message).help(
        "leave train.epochs and train.max_steps as they were; a run to be prolonged needs a cosine with a length",
    ))
}

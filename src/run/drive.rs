//! The loop of a run: steps, their readings, validation, checkpoints, and what ends it.

use super::checkpoint::{Best, Checkpoint, RunState, rhythm};
use super::ending::layer_rows;
use super::evaluate::validate;
use super::folder::{RunFolder, Staged};
use super::observer::{Observer, RunInfo, Validation};
use super::records::Records;
use super::train::{Parts, RunEnd};
use super::trainer::{Step, Trainer};
use crate::base::Result;
use crate::config::{Config, Rhythm};
use crate::data::Cursor;
use crate::probe::NonFinite;
use std::time::{Duration, Instant};

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Epochs,
    MaxSteps,
    MaxTime,
    Patience,
    NonFinite,
    /// The observer, for this reason.
    Observer(&'static str),
    /// The verdict of this id.
    Verdict(&'static str),
    /// An error: a device that was lost, a disk that was full.
    Failure,
}

impl Stop {
    /// The word for it in a summary.
    pub fn word(self) -> &'static str {
        match self {
            Self::Epochs => "epochs",
            Self::MaxSteps => "max_steps",
            Self::MaxTime => "max_time",
            Self::Patience => "patience",
            Self::NonFinite => "non_finite",
            Self::Observer(why) => why,
            Self::Verdict(id) => id,
            Self::Failure => "failure",
        }
    }

    /// What ends a run that has come so far, if anything does.
    pub fn of(config: &Config, run: &RunState, at: Cursor) -> Option<Self> {
        let max_steps = config.train.max_steps.unwrap_or(u64::MAX);
        let late = config.train.max_time.is_some_and(|max| run.seconds >= max.as_secs_f64());
        let patient = config.validate.patience.is_none_or(|patience| run.without_better < patience);
        if !patient {
            Some(Self::Patience)
        } else if u64::from(at.epoch) >= config.train.epochs {
            Some(Self::Epochs)
        } else if at.step >= max_steps {
            Some(Self::MaxSteps)
        } else {
            late.then_some(Self::MaxTime)
        }
    }
}

/// Steps between two looks for verdicts that end a run: the device is waited for then, as at a validation.
const JUDGE_EVERY: u64 = 32;

/// A run that is under way: what does not change.
pub(super) struct Run<'a> {
    pub config: &'a Config,
    pub folder: &'a RunFolder,
    pub parts: Parts,
    pub info: RunInfo,
    /// Ids of the verdicts that end it.
    pub stop_on: Vec<String>,
}

/// What changes while a run goes on.
pub(super) struct Progress<'a> {
    pub records: Records,
    pub observer: &'a mut dyn Observer,
    /// Its times are those before this process.
    pub state: RunState,
    pub last: Step,
    pub last_table: Instant,
    pub started: Instant,
    pub trained: Duration,
    pub non_finite: Option<(u64, NonFinite)>,
    /// What the run can go on from if its end is put off: written, to have its name when everything else is there.
    pub checkpoint: Option<Staged>,
}

impl Progress<'_> {
    /// The state with the times up to now.
    pub fn state(&self) -> RunState {
        RunState {
            seconds: self.state.seconds + self.started.elapsed().as_secs_f64(),
            train_seconds: self.state.train_seconds + self.trained.as_secs_f64(),
            ..self.state.clone()
        }
    }
}

impl Run<'_> {
    /// Trains from where `state` says to the end, and writes what is left of the run; of one that fails, what is known.
    pub fn drive(
        &self,
        trainer: &mut Trainer,
        records: Records,
        state: RunState,
        observer: &mut dyn Observer,
    ) -> Result<RunEnd> {
        let now = Instant::now();
        let mut progress = Progress {
            records,
            observer,
            state,
            last: Step::default(),
            last_table: now,
            started: now,
            trained: Duration::ZERO,
            non_finite: None,
            checkpoint: None,
        };
        match self.steps(trainer, &mut progress) {
            Ok(stop) => self.end(trainer, progress, stop),
            Err(error) => Err(self.fail(trainer, progress, error)),
        }
    }

    fn steps(&self, trainer: &mut Trainer, progress: &mut Progress<'_>) -> Result<Stop> {
        let validation = self.config.validate.every;
        let rows = trainer.batch_bounds().map_or(trainer.batch_rows(), |[_, most]| most);
        let checkpoint = rhythm(self.config.record.checkpoint, self.info.parameters, rows, &self.info.device);
        let judgement = if self.stop_on.is_empty() { Rhythm::Never } else { Rhythm::Steps(JUDGE_EVERY) };
        let look = |trainer: &mut Trainer, observer: &mut dyn Observer| -> Result<Option<Stop>> {
            Ok(observer.look(trainer)?.break_value().map(Stop::Observer))
        };
        look(trainer, progress.observer)?;
        loop {
            self.stretch(trainer, progress, [validation, checkpoint, judgement])?;
            if progress.non_finite.is_some() {
                return Ok(Stop::NonFinite);
            }
            let at = trainer.cursor();
            if validation.is_due(at) {
                self.validate(trainer, progress)?;
            }
            let judged = if judgement.is_due(at) { self.judge(trainer) } else { None };
            let mut stop = Stop::of(self.config, &progress.state(), at).or(judged);
            if stop.is_some() || progress.observer.wants_look(trainer.next_step()) {
                let asked = look(trainer, progress.observer)?;
                stop = stop.or(asked);
            }
            if stop.is_some() && checkpoint != Rhythm::Never {
                // It takes its name last of all files, when the record has been ended.
                progress.checkpoint = Some(self.checkpoint(trainer, progress)?);
            } else if checkpoint.is_due(at) {
                // It counts on the rows up to here.
                progress.records.sync()?;
                self.checkpoint(trainer, progress)?.commit()?;
            }
            let Some(stop) = stop else { continue };
            // The end is judged too. A run that goes on later does not come by here, so its checkpoint is from before.
            if !validation.is_due(at) && validation != Rhythm::Never {
                self.validate(trainer, progress)?;
            }
            return Ok(stop);
        }
    }

    /// The first of the verdicts that end the run, if there is one. All readings of the steps so far are in, and none of
    /// later ones, so that the same run ends at the same step.
    fn judge(&self, trainer: &Trainer) -> Option<Stop> {
        let verdicts = trainer.verdicts();
        let ends = verdicts.iter().find(|verdict| self.stop_on.iter().any(|id| id == verdict.id));
        ends.map(|verdict| Stop::Verdict(verdict.id))
    }

    /// Trains until one of `pauses` is due, a look that the observer wants, the end, or a value that is not finite, and
    /// takes in all readings.
    fn stretch(&self, trainer: &mut Trainer, progress: &mut Progress<'_>, pauses: [Rhythm; 3]) -> Result<()> {
        let began = Instant::now();
        let done = self.until(trainer, progress, pauses).and_then(|()| {
            while trainer.in_flight() > 0 {
                self.collect(trainer, progress, true)?;
            }
            Ok(())
        });
        progress.trained += began.elapsed();
        done
    }

    /// Submits steps until then; readings may be under way.
    fn until(&self, trainer: &mut Trainer, progress: &mut Progress<'_>, pauses: [Rhythm; 3]) -> Result<()> {
        let before = Duration::try_from_secs_f64(progress.state.seconds).unwrap_or_default();
        let time = self.config.train.max_time.map(|max| max.saturating_sub(before));
        while !trainer.is_done(self.config) {
            while !trainer.has_room() {
                self.collect(trainer, progress, true)?;
            }
            trainer.submit()?;
            self.collect(trainer, progress, false)?;
            let late = time.is_some_and(|time| progress.started.elapsed() >= time);
            let pause = pauses.iter().any(|pause| pause.is_due(trainer.cursor()));
            let look = progress.observer.wants_look(trainer.next_step());
            if late || progress.non_finite.is_some() || pause || look {
                break;
            }
        }
        Ok(())
    }

    /// Takes in the readings that are there; with `wait`, at least one.
    fn collect(&self, trainer: &mut Trainer, progress: &mut Progress<'_>, wait: bool) -> Result<()> {
        let mut wait = wait;
        while let Some(step) = trainer.collect(wait)? {
            wait = false;
            // The trainer counts from 0, people and records from 1.
            progress.records.push(step)?;
            progress.observer.step(step);
            progress.last.clone_from(step);
            progress.state.epoch_loss.push(step.epoch, step.values.loss());
            if let (Some(what), None) = (step.non_finite, progress.non_finite) {
                progress.non_finite = Some((step.step + 1, what));
            }
        }
        // The clock is asked only now and then: a step of a small network takes a few microseconds.
        if progress.last.step.is_multiple_of(64) && progress.last_table.elapsed() > Duration::from_secs(1) {
            progress.last_table = Instant::now();
            let rows = layer_rows(trainer, &progress.last, &trainer.verdicts());
            if let Some(scale) = trainer.noise().settled_scale() {
                progress.observer.noise(scale, trainer.batch_rows());
            }
            progress.observer.layers(&rows);
        }
        Ok(())
    }

    /// Judges the model on the validation part.
    fn validate(&self, trainer: &mut Trainer, progress: &mut Progress<'_>) -> Result<()> {
        let Some(data) = &self.parts.validation else { return Ok(()) };
        let evaluation = validate(trainer, data, self.config)?;
        let better = progress.state.best.as_ref().is_none_or(|best| evaluation.loss < best.loss);
        let (step, epoch) = (trainer.next_step(), progress.last.epoch);
        progress.observer.validation(&Validation {
            step,
            epoch,
            loss: evaluation.loss,
            accuracy: evaluation.accuracy(),
            best: better,
        });
        progress.state.without_better = if better { 0 } else { progress.state.without_better + 1 };
        if better {
            // Those before go first, so that the host never holds both.
            progress.state.best = None;
            let params = if self.config.validate.keep_best { Some(trainer.kept_params()?.into()) } else { None };
            progress.state.best = Some(Best { loss: evaluation.loss, step, epoch, params });
        }
        Ok(())
    }

    /// The run as it is now, in a file that has yet to be given its name.
    fn checkpoint(&self, trainer: &mut Trainer, progress: &Progress<'_>) -> Result<Staged> {
        let checkpoint = Checkpoint {
            config: self.config.clone(),
            trainer: trainer.state_beside_arenas()?,
            // It is among what the run knows.
            best: None,
            pending: progress.records.pending(),
            run: progress.state(),
        };
        checkpoint.stage_from(self.folder, trainer)
    }
}

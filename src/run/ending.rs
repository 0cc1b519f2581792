//! What is left of a run: weights, scores, summary, the checkpoint of its end.

#[cfg(test)]
mod tests;

use super::checkpoint::RunState;
use super::drive::{Progress, Run, Stop};
use super::evaluate::{Evaluation, evaluate_part};
use super::names::PARAMS;
use super::observer::LayerRow;
use super::profile::Profile;
use super::record::RecordReport;
use super::summary::{BestSummary, NoiseSummary, PartSummary, ScalingSummary, Summary};
use super::tensors::OnDevice;
use super::train::RunEnd;
use super::trainer::{Step, Trainer};
use super::weights::{Head, NamedTensor, stage_tensors};
use crate::base::{Error, Result};
use crate::config::Precision;
use crate::data::Dataset;
use crate::probe::NonFinite;
use crate::verdict::Verdict;

impl Run<'_> {
    /// Ends the record, judges the best weights, and writes what is left. The checkpoint gets its name last: where it says that the
    /// run is over, everything else is there.
    ///
    /// # Errors
    /// If a value was not finite, a file cannot be written or the device fails; the summary is there then, where it can be written.
    pub fn end(&self, trainer: &mut Trainer, progress: Progress<'_>, stop: Stop) -> Result<RunEnd> {
        let profile = Profile::of(trainer, progress.trained.as_secs_f64(), trainer.next_step() - self.info.steps_done);
        let state = progress.state();
        let before = progress.state.seconds;
        let Progress { records, last, non_finite, checkpoint, started, .. } = progress;
        let verdicts = trainer.verdicts();
        let layers = layer_rows(trainer, &last, &verdicts);
        let report = match records.finish(stop.word()) {
            Ok(report) => report,
            Err(error) => {
                let summary = self.summary(trainer, &state, &last, stop, &RecordReport::default(), &verdicts);
                return Err(self.failed(summary, error));
            }
        };
        let summary = Summary { profile, ..self.summary(trainer, &state, &last, stop, &report, &verdicts) };
        if let Some((step, what)) = non_finite {
            summary.write(self.folder)?;
            return Err(self.non_finite_error(trainer, step, what, &verdicts));
        }
        let seconds = || before + started.elapsed().as_secs_f64();
        let best = state.best.and_then(|best| best.params);
        match self.finish(trainer, best.as_deref(), summary.clone(), &seconds) {
            Ok((summary, test)) => {
                if let Some(checkpoint) = checkpoint {
                    checkpoint.commit()?;
                }
                Ok(RunEnd { summary, folder: self.folder.path().to_owned(), layers, verdicts, test })
            }
            Err(error) => Err(self.failed(summary, error)),
        }
    }

    /// Puts the best weights back, judges them, and writes them and the summary.
    fn finish(
        &self,
        trainer: &mut Trainer,
        best: Option<&[NamedTensor]>,
        summary: Summary,
        seconds: &dyn Fn() -> f64,
    ) -> Result<(Summary, Option<Evaluation>)> {
        if let Some(params) = best {
            trainer.put_back(params)?;
        }
        self.write_weights(trainer)?;
        let judge = |trainer: &mut Trainer, data: &Option<Dataset>| {
            data.as_ref().map(|data| evaluate_part(trainer, data, self.config)).transpose()
        };
        let test = judge(trainer, &self.parts.test)?;
        let validation = judge(trainer, &self.parts.validation)?;
        let summary = Summary {
            validation: validation.as_ref().map(Evaluation::summary),
            test: test.as_ref().map(Evaluation::summary),
            seconds: seconds(),
            ..summary
        };
        summary.write(self.folder)?;
        Ok((summary, test))
    }

    /// Ends the record of a run that failed on its way and writes what is known of it. Gives the error back.
    pub fn fail(&self, trainer: &Trainer, progress: Progress<'_>, error: Error) -> Error {
        let state = progress.state();
        // What failed may be the record itself; then as much of it is left as was written.
        let report = progress.records.finish(Stop::Failure.word()).unwrap_or_default();
        let summary = self.summary(trainer, &state, &progress.last, Stop::Failure, &report, &trainer.verdicts());
        // Of steps in flight nothing is known.
        let steps = trainer.next_step() - trainer.in_flight() as u64;
        self.failed(Summary { steps, ..summary }, error)
    }

    /// Writes the summary of a run that ends with an error, which it names. Where that fails too, the error is the one that came first.
    fn failed(&self, summary: Summary, error: Error) -> Error {
        let best = summary.best.map(|best| BestSummary { kept: false, ..best });
        let mut summary = Summary { best, stopped_by: Stop::Failure.word().into(), ..summary };
        summary.more.insert("error".into(), error.to_string().into());
        let _ = summary.write(self.folder);
        error
    }

    /// The summary without what the final model is worth.
    fn summary(
        &self,
        trainer: &Trainer,
        state: &RunState,
        last: &Step,
        stop: Stop,
        report: &RecordReport,
        verdicts: &[Verdict],
    ) -> Summary {
        let loss = state.epoch_loss.mean();
        let seconds = state.train_seconds;
        let mut summary = Summary {
            name: self.info.name.clone(),
            train: Some(PartSummary { loss, ..PartSummary::default() }),
            best: state.best.as_ref().map(|best| BestSummary {
                metric: "validation.loss".into(),
                value: Some(best.loss),
                step: best.step,
                epoch: best.epoch,
                kept: best.params.is_some(),
            }),
            steps: trainer.next_step(),
            epochs: last.epoch,
            examples_per_second: (seconds > 0.0).then(|| last.examples as f64 / seconds),
            seconds: state.seconds,
            verdicts: verdicts.iter().map(|verdict| serde_json::to_value(verdict).unwrap_or_default()).collect(),
            noise: NoiseSummary::of(trainer.noise(), trainer.batch_rows()),
            scaling: last
                .values
                .get("loss_scale")
                .first()
                .map(|&loss_scale| ScalingSummary { loss_scale, skipped: last.values.scalar("skipped_steps") as u64 }),
            device: self.info.device.name.clone(),
            seed: self.config.train.seed,
            stopped_by: stop.word().into(),
            ..Summary::default()
        };
        summary.more.insert("record_waits".into(), report.record_waits.into());
        summary.more.insert("loader_waits".into(), trainer.loader_waits().into());
        if let Some(optimum) = &self.parts.optimum {
            summary.more.insert("optimum_loss".into(), optimum.loss.into());
        }
        summary
    }

    /// Writes the parameters as they are, block by block from the device.
    fn write_weights(&self, trainer: &mut Trainer) -> Result<()> {
        let double = self.config.train.precision == Precision::F64;
        let tensors = OnDevice::of_arena(&trainer.blueprint().arena, PARAMS, "", double);
        let heads: Vec<Head> = tensors.iter().map(|tensor| tensor.head.clone()).collect();
        let path = self.folder.file("model.safetensors");
        stage_tensors(&path, &heads, &[], &mut |i, part| trainer.read(&tensors[i], part))?.commit()
    }

    fn non_finite_error(&self, trainer: &Trainer, step: u64, what: NonFinite, verdicts: &[Verdict]) -> Error {
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
        let before = verdicts.iter().find(|verdict| verdict.id == "non_finite");
        let before = before.and_then(|verdict| verdict.because.split_once("; ")).map_or("", |(_, before)| before);
        let before = if before.is_empty() { String::new() } else { format!("; {before}") };
        Error::failure(place, format!("a value is not finite any more, {where_}{before}")).help(format!(
            "lower train.lr or set train.clip_norm; the last steps are in {}",
            self.folder.file("flight.jsonl").display()
        ))
    }
}

/// The layers at a step, with what the readings so far say of them.
pub(super) fn layer_rows(trainer: &Trainer, last: &Step, verdicts: &[Verdict]) -> Vec<LayerRow> {
    let rows =
        trainer.layers().iter().zip(trainer.layer_verdicts(verdicts)).enumerate().map(|(i, (layer, verdict))| {
            LayerRow {
                name: layer.name.clone(),
                kind: layer.kind.clone(),
                grad_norm: last.values.get("layer_grad_norm")[i],
                signal: last.values.get("signal")[i],
                factor: verdict.factor,
                update_ratio: last.values.get("layer_update_ratio")[i],
                verdict,
            }
        });
    rows.collect()
}

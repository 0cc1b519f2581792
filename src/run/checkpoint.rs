//! `checkpoint.safetensors`: all that a run needs to go on as if nothing had happened.
//!
//! | tensor | what it holds | type |
//! |---|---|---|
//! | `params/<name>` | the parameters | that of the run |
//! | `<state>/<name>` | each state of the optimizer, as `torch.optim` calls it: `exp_avg/0.weight` | that of the run |
//! | `best/<name>` | the parameters with the lowest validation loss, where they are kept | that of the run |
//! | `host/control` | clip factor, halt flag, norm, counts of loss scaling | F64 |
//! | `host/scale` | the scale of the loss, in mixed precision | F64 |
//! | `host/history` | the readings that verdicts are made from, smoothed | F64 |
//! | `last.gradients/<name>`, `last.update/<name>`, `initial.params/<name>` | gradient and update of the step before, parameters before the first, where a probe needs them | that of the run |
//! | `host/reader` | what readings rest on beside their step: the noise of the gradient, smoothed | F64 |
//! | `host/ages` | for how many steps each unit has given nothing | F64 |
//! | `host/plateau` | what a plateau rule of the schedule remembers | F64 |
//! | `host/row`, `host/row.<i>` | the rows of the step record, and of the records of other cadences, that had not ended | F64 |
//!
//! Numbers beside them are JSON in the metadata of the file, under the key `run`, and the settings are TOML under `config`.
//! The place in the data is among them ([`crate::data::Cursor`]): each epoch's order follows from the seed and the epoch, but how
//! many examples so many steps took does not follow from anything else where batches grow.

use super::folder::{RunFolder, Staged};
use super::tensors::in_order;
use super::trainer::{Trainer, TrainerState};
use super::weights::{Elements, Head, NamedTensor, TensorData, Tensors, read_tensors_and_facts, stage_tensors};
use crate::base::{Error, Result};
use crate::config::{Auto, Config, Rhythm};
use crate::data::Cursor;
use crate::exec::DeviceInfo;
use crate::plan::Arena;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The name of the file.
pub const CHECKPOINT_FILE: &str = "checkpoint.safetensors";

/// The version of the format, which a file names under the key `steepest_checkpoint`.
const VERSION: &str = "4";
const VERSION_KEY: &str = "steepest_checkpoint";

/// Arenas that are no trainer's.
const BEST: &str = "best";
const HOST: &str = "host";

/// A run between two steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The settings.
    pub config: Config,
    /// Parameters, optimizer, position.
    pub trainer: TrainerState,
    /// What stops it, and what its summary tells.
    pub run: RunState,
    /// The parameters with the lowest validation loss, where they are kept.
    pub best: Option<Tensors>,
    /// The row that has not ended of each record, as [`super::record::Record::pending`] gives it: of the step record, then of
    /// those of other cadences.
    pub pending: Vec<Vec<f64>>,
}

/// What a run knows of itself beside its trainer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// The fingerprint of all parts of the data, which must stay the same.
    pub data: u64,
    /// The validation with the lowest loss.
    pub best: Option<Best>,
    /// Validations since then.
    pub without_better: u64,
    /// The mean loss of an epoch, in the making.
    pub epoch_loss: EpochLoss,
    /// How long the run has taken, in seconds, interruptions left out.
    pub seconds: f64,
    /// How much of it was training, in seconds.
    pub train_seconds: f64,
}

/// The validation with the lowest loss so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Its loss.
    #[serde(with = "exact")]
    pub loss: f64,
    /// The step after which it was reached.
    pub step: u64,
    /// The epochs done by then.
    pub epoch: f64,
    /// The parameters, where they are kept; in a file they are tensors.
    #[serde(skip)]
    pub params: Option<Arc<[NamedTensor]>>,
}

/// The mean loss of the steps of the last epoch, whole or, before the first ends, begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochLoss {
    #[serde(with = "exact")]
    sum: f64,
    steps: u64,
    ended: bool,
    whole: Option<f64>,
}

impl EpochLoss {
    /// Takes in the loss of a step, behind which so many epochs were done.
    pub fn push(&mut self, epochs: f64, loss: f64) {
        if self.ended {
            *self = Self { whole: Some(self.sum / self.steps as f64), ..Self::default() };
        }
        self.sum += loss;
        self.steps += 1;
        self.ended = epochs.fract() == 0.0;
    }

    /// The mean, if there was a step.
    pub fn mean(&self) -> Option<f64> {
        let begun = (self.steps > 0).then(|| self.sum / self.steps as f64);
        if self.ended { begun } else { self.whole.or(begun) }
    }
}

/// Numbers that need not be finite as texts that give them back exactly.
mod exact {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(x: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(x)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The numbers of the metadata.
#[derive(Serialize, Deserialize)]
struct Numbers {
    cursor: Cursor,
    examples: u64,
    #[serde(flatten)]
    run: RunState,
}

impl Checkpoint {
    /// Writes the checkpoint into a run folder in place of the one before, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, folder: &RunFolder) -> Result<()> {
        self.stage(folder, &[], &mut |_, _| Ok(Vec::new()))?.commit()
    }

    /// Writes the checkpoint with the arenas that are on the trainer's device and the best parameters that the run holds, none
    /// of which is copied whole; it does not have its name yet.
    ///
    /// # Errors
    /// The device fails, or the file cannot be written.
    pub(super) fn stage_from(&self, folder: &RunFolder, trainer: &mut Trainer) -> Result<Staged> {
        let arenas = trainer.on_device();
        let best = self.run.best.as_ref().and_then(|best| best.params.clone());
        let best: &[NamedTensor] = best.as_deref().unwrap_or_default();
        let best_heads = best.iter().map(|tensor| {
            let head = tensor.head();
            Head { name: format!("{BEST}/{}", head.name), ..head }
        });
        let heads: Vec<Head> = arenas.iter().map(|tensor| tensor.head.clone()).chain(best_heads).collect();
        self.stage(folder, &heads, &mut |i, part| match arenas.get(i) {
            Some(tensor) => trainer.read(tensor, part),
            None => Ok(best[i - arenas.len()].data.part(part)),
        })
    }

    /// The file with these tensors beside those that are in memory.
    fn stage(&self, folder: &RunFolder, more: &[Head], elements: &mut Elements<'_>) -> Result<Staged> {
        let best = self.best.iter().map(|tensors| (BEST, tensors));
        let arenas = self.trainer.arenas.iter().map(|(name, tensors)| (name.as_str(), tensors)).chain(best);
        let mut tensors: Tensors = arenas
            .flat_map(|(arena, tensors)| {
                tensors
                    .iter()
                    .map(move |tensor| NamedTensor { name: format!("{arena}/{}", tensor.name), ..tensor.clone() })
            })
            .collect();
        let host = [
            ("control", &self.trainer.control),
            ("scale", &self.trainer.scale),
            ("history", &self.trainer.history),
            ("reader", &self.trainer.reader),
            ("ages", &self.trainer.ages),
            ("plateau", &self.trainer.plateau),
        ];
        let host = host.map(|(name, numbers)| (name.to_owned(), numbers)).into_iter();
        let rows = self.pending.iter().enumerate().map(|(i, numbers)| (row_name(i), numbers));
        tensors.extend(host.chain(rows).map(|(name, numbers)| NamedTensor {
            name: format!("{HOST}/{name}"),
            shape: vec![numbers.len()],
            data: TensorData::F64(numbers.clone()),
        }));
        let TrainerState { cursor, examples, .. } = self.trainer;
        let numbers = Numbers { cursor, examples, run: self.run.clone() };
        let numbers = serde_json::to_string(&numbers).map_err(|e| Error::failure(CHECKPOINT_FILE, e))?;
        let facts = [(VERSION_KEY, VERSION.to_owned()), ("config", self.config.to_toml()), ("run", numbers)];
        let heads: Vec<Head> = more.iter().cloned().chain(tensors.iter().map(NamedTensor::head)).collect();
        stage_tensors(&folder.file(CHECKPOINT_FILE), &heads, &facts, &mut |i, part| match i.checked_sub(more.len()) {
            Some(i) => Ok(tensors[i].data.part(part)),
            None => elements(i, part),
        })
    }

    /// Reads the checkpoint of a run folder.
    ///
    /// # Errors
    /// There is none, it was cut off, or it is no checkpoint of this format.
    pub fn read(folder: &RunFolder) -> Result<Self> {
        let path = folder.file(CHECKPOINT_FILE);
        let place = path.display().to_string();
        if !path.exists() {
            let message = "the run has no checkpoint: it ended before the first one was due, or by an error";
            return Err(Error::input(place, message)
                .help("train again into another folder; record.checkpoint says when checkpoints are written"));
        }
        let no_way =
            |error: Error| error.help("restore the file that the run wrote, or train again into another folder");
        let foreign = |what: String| no_way(Error::input(&place, format!("is no checkpoint of a run: {what}")));
        let (tensors, facts) = read_tensors_and_facts(&path).map_err(no_way)?;
        let fact = |key: &str| facts.get(key).ok_or_else(|| foreign(format!("it lacks `{key}`")));
        let version = fact(VERSION_KEY)?;
        if version != VERSION {
            return Err(foreign(format!(
                "its format is {version}, {VERSION} is read: another version of steepest wrote it"
            )));
        }
        let config = Config::from_toml_str(fact("config")?, &place).map_err(|e| foreign(e.to_string()))?;
        let numbers: Numbers = serde_json::from_str(fact("run")?).map_err(|e| foreign(e.to_string()))?;
        let mut arenas = by_arena(tensors).map_err(|name| foreign(format!("a tensor is called {name}")))?;
        let mut host: HashMap<String, TensorData> =
            arenas.remove(HOST).into_iter().flatten().map(|tensor| (tensor.name, tensor.data)).collect();
        let mut take = |name: &str| {
            let data = host.remove(name).ok_or_else(|| foreign(format!("it lacks {HOST}/{name}")))?;
            Ok(data.to_f64())
        };
        let (control, scale, history) = (take("control")?, take("scale")?, take("history")?);
        let (reader, ages, plateau) = (take("reader")?, take("ages")?, take("plateau")?);
        let mut pending = vec![take(&row_name(0))?];
        while let Ok(row) = take(&row_name(pending.len())) {
            pending.push(row);
        }
        let best = arenas.remove(BEST);
        let Numbers { cursor, examples, run } = numbers;
        let trainer = TrainerState { cursor, examples, arenas, control, scale, history, reader, ages, plateau };
        Ok(Self { config, trainer, run, best, pending })
    }

    /// What the run knew of itself, with the best parameters where they belong.
    ///
    /// # Errors
    /// The best parameters are not those of a model with this arena.
    pub(super) fn run_state(&self, arena: &Arena) -> Result<RunState> {
        let mut run = self.run.clone();
        if let (Some(best), Some(tensors)) = (&mut run.best, &self.best) {
            best.params = Some(in_order("checkpoint: best", arena, tensors.clone())?.into());
        }
        Ok(run)
    }
}

/// The tensor of the pending row of record number i.
fn row_name(i: usize) -> String {
    if i == 0 { "row".to_owned() } else { format!("row.{i}") }
}

/// Tensors by what stands before the first `/` of their names, without it; or the name of one that has none.
fn by_arena(tensors: Tensors) -> Result<BTreeMap<String, Tensors>, String> {
    let mut arenas: BTreeMap<String, Tensors> = BTreeMap::new();
    for tensor in tensors {
        let Some((arena, name)) = tensor.name.split_once('/') else { return Err(tensor.name) };
        let tensor = NamedTensor { name: name.to_owned(), ..tensor.clone() };
        arenas.entry(arena.to_owned()).or_default().push(tensor);
    }
    Ok(arenas)
}

/// Steps between two checkpoints where no other number is larger: of a small network they take a second or more, beside
/// which a few milliseconds for the file are little.
const STEPS_MAX: u64 = 1 << 14;

/// Products of parameters and examples between two checkpoints on a CPU. The gradient takes six operations for each: minutes
/// on a small machine, where the file of a large network takes seconds.
const WORK_CPU: u64 = 1 << 42;

/// The same on a GPU, which computes faster and writes no faster.
const WORK_GPU: u64 = 1 << 48;

/// After which steps a checkpoint is written. It follows from counts, never the clock.
pub(super) fn rhythm(every: Auto<Rhythm>, parameters: usize, batch_rows: usize, device: &DeviceInfo) -> Rhythm {
    match every {
        Auto::Set(rhythm) => rhythm,
        Auto::Auto => {
            let is_cpu = matches!(device.kind.as_str(), "cpu" | "software");
            let step = (parameters as u64).saturating_mul(batch_rows as u64).max(1);
            Rhythm::Steps((if is_cpu { WORK_CPU } else { WORK_GPU } / step).clamp(1, STEPS_MAX))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::weights::write_tensors;
    use super::*;
    use std::path::Path;

    fn checkpoint() -> Checkpoint {
        let tensor = |name: &str, data| NamedTensor { name: name.into(), shape: vec![2], data };
        let tensors = |x: f32| vec![tensor("0.weight", TensorData::F32(vec![x, f32::MIN_POSITIVE / 4.0]))];
        let best = Best { loss: f64::NAN, step: 3, epoch: 0.1 + 0.2, params: None };
        let mut epoch_loss = EpochLoss::default();
        (1..8).for_each(|step| epoch_loss.push(f64::from(step) / 4.0, 1.0 / f64::from(step)));
        Checkpoint {
            config: Config::builtin_digits(),
            trainer: TrainerState {
                cursor: Cursor { step: 7, epoch: 1, batch: 2, start: 64, rows: 32 },
                examples: 224,
                arenas: [("params".into(), tensors(0.1)), ("exp_avg".into(), tensors(-0.0))].into(),
                control: vec![1.0, 0.0, 0.3, 0.0],
                scale: vec![2048.0],
                history: vec![7.0, f64::NEG_INFINITY],
                reader: vec![1.0],
                ages: vec![0.0, 7.0],
                plateau: vec![f64::INFINITY],
            },
            run: RunState {
                data: u64::MAX,
                best: Some(best),
                without_better: 2,
                epoch_loss,
                seconds: 0.1,
                train_seconds: 0.05,
            },
            best: Some(tensors(7.0)),
            pending: vec![vec![0.0, f64::INFINITY, f64::NAN], vec![1.0]],
        }
    }

    fn folder() -> (tempfile::TempDir, RunFolder) {
        let base = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(Some(&base.path().join("run")), Path::new("unused"), "x").unwrap();
        (base, folder)
    }

    #[test]
    fn what_is_written_is_read_bit_for_bit() {
        let (_base, folder) = folder();
        let written = checkpoint();
        written.write(&folder).unwrap();
        let read = Checkpoint::read(&folder).unwrap();
        // NaN is not equal to itself, so texts are compared.
        assert_eq!(format!("{read:?}"), format!("{written:?}"));
        let zero = read.trainer.arenas["exp_avg"][0].data.to_f64()[0];
        assert!(zero == 0.0 && zero.is_sign_negative());
    }

    #[test]
    fn what_is_no_checkpoint_is_an_error_of_the_input() {
        let (_base, folder) = folder();
        let path = folder.file(CHECKPOINT_FILE);
        let refusal = || {
            let error = Checkpoint::read(&folder).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains("train again"), "{error}");
            error.to_string()
        };
        assert!(refusal().contains("has no checkpoint"));
        checkpoint().write(&folder).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for len in [0, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..len]).unwrap();
            assert!(refusal().contains("cut off"), "{len} bytes");
        }
        let tensors = [NamedTensor { name: "0.weight".into(), shape: vec![1], data: TensorData::F32(vec![1.0]) }];
        let config = Config::builtin_digits().to_toml();
        let run = r#"{"cursor":{"step":1,"epoch":0,"batch":1,"start":1,"rows":1},"examples":1,"data":1,"best":null,
            "without_better":0,"epoch_loss":{"sum":"0","steps":0,"ended":false,"whole":null},"seconds":0.0,
            "train_seconds":0.0}"#;
        let version = (VERSION_KEY, VERSION.to_owned());
        for (facts, expected) in [
            (vec![], "it lacks `steepest_checkpoint`"),
            (vec![(VERSION_KEY, "7".to_owned())], "its format is 7"),
            (vec![(VERSION_KEY, "2".to_owned())], "its format is 2, 4 is read: another version of steepest wrote it"),
            (vec![version.clone()], "it lacks `config`"),
            (vec![version.clone(), ("config", config.clone())], "it lacks `run`"),
            (vec![version.clone(), ("config", config.clone()), ("run", "{}".into())], "missing field"),
            (vec![version, ("config", config), ("run", run.into())], "a tensor is called 0.weight"),
        ] {
            write_tensors(&path, &tensors, &facts).unwrap();
            let error = refusal();
            assert!(error.contains("is no checkpoint of a run") && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn checkpoints_come_by_count() {
        let rhythm = |every, parameters, kind: &str| {
            super::rhythm(every, parameters, 32, &DeviceInfo { kind: kind.into(), ..DeviceInfo::default() })
        };
        for set in [Rhythm::Never, Rhythm::Epoch, Rhythm::Steps(5)] {
            assert_eq!(rhythm(Auto::Set(set), 1, "cpu"), set);
        }
        let auto = |parameters, kind| match rhythm(Auto::Auto, parameters, kind) {
            Rhythm::Steps(steps) => steps,
            other => panic!("{other:?}"),
        };
        assert_eq!((auto(17_000, "cpu"), auto(17_000, "discrete")), (STEPS_MAX, STEPS_MAX));
        assert_eq!(
            (auto(1 << 27, "cpu"), auto(1 << 27, "software"), auto(1 << 30, "discrete")),
            (1 << 10, 1 << 10, 1 << 13)
        );
        assert_eq!(auto(usize::MAX, "cpu"), 1);
    }
}

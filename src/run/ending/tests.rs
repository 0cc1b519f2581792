//! A device that fails in the middle of a run, at each of its calls.

use super::super::folder::RunFolder;
use super::super::observer::Silent;
use super::super::record::STEPS_FILE;
use super::super::records::Records;
use super::super::summary::SUMMARY_FILE;
use super::super::train::{Parts, record_settings, run_info};
use super::super::trainer::Setup;
use super::*;
use crate::base::Threads;
use crate::config::Config;
use crate::exec::{BufferId, Counters, Cpu, DeviceInfo, Executor, Host, PlanId, Submission, Times};
use crate::plan::Plan;
use crate::run::load;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A device that is lost after so many calls.
struct Mortal {
    device: Cpu<f32>,
    calls_left: Arc<AtomicUsize>,
}

impl Mortal {
    fn call(&self) -> Result<()> {
        match self.calls_left.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1)) {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::failure("cpu", "the device was lost")),
        }
    }
}

impl Executor for Mortal {
    fn info(&self) -> &DeviceInfo {
        self.device.info()
    }
    fn load(&mut self, plan: &Plan) -> Result<PlanId> {
        self.device.load(plan)
    }
    fn buffer(&self, name: &str) -> Option<BufferId> {
        self.device.buffer(name)
    }
    fn write(&mut self, buffer: BufferId, offset: usize, data: Host<'_>) -> Result<()> {
        self.call()?;
        self.device.write(buffer, offset, data)
    }
    fn read(&mut self, buffer: BufferId, offset: usize, len: usize) -> Result<Vec<f64>> {
        self.call()?;
        self.device.read(buffer, offset, len)
    }
    fn submit(&mut self, submission: &Submission<'_>) -> Result<()> {
        self.call()?;
        self.device.submit(submission)
    }
    fn poll(&mut self, reading: &mut Vec<f64>, wait: bool) -> Result<Option<u64>> {
        self.call()?;
        self.device.poll(reading, wait)
    }
    fn in_flight(&self) -> usize {
        self.device.in_flight()
    }
    fn in_flight_max(&self) -> usize {
        self.device.in_flight_max()
    }
    fn finish(&mut self) -> Result<()> {
        self.call()?;
        self.device.finish()
    }
    fn profile(&mut self) -> Result<()> {
        self.device.profile()
    }
    fn times(&self) -> Option<&Times> {
        self.device.times()
    }
    fn counters(&self) -> Counters {
        self.device.counters()
    }
}

/// Four epochs of five steps, validated, on a device that is lost after so many calls.
fn run(path: &Path, calls: usize) -> Result<RunEnd> {
    let text = "model.layers = [{ kind = 'linear', out = 4 }, 'relu', { kind = 'linear', out = 3 }]\n\
                data = { source = 'blobs', examples = 60, split = 0.2 }\ntrain = { epochs = 4, batch = 10 }\n\
                record = { every = 1, checkpoint = 'epoch' }\n";
    let config = Config::from_toml_str(text, "test")?;
    let splits = load(&config)?;
    let parts = Parts::of(&splits);
    let calls_left = Arc::new(AtomicUsize::new(usize::MAX));
    let device = Cpu::new(Arc::new(Threads::new(1)?), None);
    let executor = Box::new(Mortal { device, calls_left: calls_left.clone() });
    let mut trainer = Trainer::new(&config, Setup { splits, executor, threads: None, objective: None })?;
    let folder = RunFolder::create(Some(path), Path::new("unused"), "test")?;
    let info = run_info(&config, &trainer, &parts, "a test", &folder);
    let records = Records::create(folder.path(), &trainer, &record_settings(&config))?;
    calls_left.store(calls, Relaxed);
    let state = RunState { data: parts.fingerprint, ..RunState::default() };
    let run = Run { config: &config, folder: &folder, parts, info, stop_on: Vec::new() };
    run.drive(&mut trainer, records, state, &mut Silent)
}

#[test]
fn a_run_whose_device_is_lost_leaves_a_summary() {
    let place = tempfile::tempdir().unwrap();
    let mut known = 0;
    let mut weights = 0;
    for calls in 0.. {
        let path = place.path().join(calls.to_string());
        let end = run(&path, calls);
        let summary = Summary::read(&path.join(SUMMARY_FILE)).unwrap_or_else(|e| panic!("{calls} calls: {e}"));
        let names: Vec<String> = std::fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        assert!(!names.iter().any(|name| name.contains(".part-")), "{calls} calls: {names:?}");
        let rows = std::fs::read_to_string(path.join(STEPS_FILE)).unwrap().lines().count() as u64;
        assert_eq!(
            (summary.steps, summary.device.is_empty()),
            (rows, false),
            "{calls} calls: the steps that are known"
        );
        assert!(rows == known || rows == known + 1, "{calls} calls: {known} steps, then {rows}");
        known = rows;
        assert_eq!(summary.epochs, rows as f64 / 5.0, "{calls} calls");
        weights += usize::from(names.iter().any(|name| name == "model.safetensors"));
        let Err(error) = end else {
            assert_eq!((summary.stopped_by.as_str(), summary.steps, summary.get("error")), ("epochs", 20, None));
            assert!(summary.test.is_some() && summary.best.unwrap().kept);
            break;
        };
        assert_eq!((error.exit_code(), error.to_string().as_str()), (1, "cpu: the device was lost"));
        assert_eq!((summary.stopped_by.as_str(), summary.get("error")), ("failure", Some(error.to_string().into())));
        assert!(summary.test.is_none() && summary.validation.is_none(), "{calls} calls: the end was not judged");
        assert!(!summary.best.is_some_and(|best| best.kept), "{calls} calls");
        assert_eq!(summary.train.unwrap().loss.is_some(), rows > 0, "{calls} calls");
    }
    assert!(known == 20 && weights > 1, "the device was lost after the weights were written, too");
}

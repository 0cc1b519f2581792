//! What a caller sees while a run goes on.

use super::trainer::{Step, Trainer};
use crate::base::Result;
use crate::exec::DeviceInfo;
use crate::verdict::LayerVerdict;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// What a caller sees while a run goes on.
pub trait Observer: Send {
    /// Before the first step.
    fn start(&mut self, info: &RunInfo);
    /// Every step, in order, once its readings are there. It is on the hot path.
    fn step(&mut self, step: &Step);
    /// After each validation.
    fn validation(&mut self, validation: &Validation);
    /// The layers so far, about once a second.
    fn layers(&mut self, rows: &[LayerRow]);
    /// The noise scale so far, in examples, and the examples of a batch, about once a second; infinite where noise hides the
    /// gradient.
    fn noise(&mut self, _scale: f64, _batch: usize) {}
    /// Whether it wants to look at the trainer after so many steps. It is asked after each step, and is on the hot path.
    fn wants_look(&self, _steps: u64) -> bool {
        false
    }
    /// A look at the trainer: before the first step, wherever [`Observer::wants_look`] said so, and at the end; no step is in
    /// flight. Breaking ends the run, for the reason given, one word as in [`super::summary::Summary::stopped_by`].
    ///
    /// # Errors
    /// Whatever the look meets; the run ends with it.
    fn look(&mut self, _: &mut Trainer) -> Result<ControlFlow<&'static str>> {
        Ok(ControlFlow::Continue(()))
    }
}

/// An observer that looks away.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn start(&mut self, _: &RunInfo) {}
    fn step(&mut self, _: &Step) {}
    fn validation(&mut self, _: &Validation) {}
    fn layers(&mut self, _: &[LayerRow]) {}
}

/// What is known before the first step.
#[derive(Clone, Debug)]
pub struct RunInfo {
    /// The run's name.
    pub name: String,
    /// The device.
    pub device: DeviceInfo,
    /// Why this one.
    pub device_reason: String,
    /// How many parameters the model has.
    pub parameters: usize,
    /// Name and kind of each tapped layer.
    pub layers: Vec<(String, String)>,
    /// Training examples.
    pub train_rows: usize,
    /// Validation examples.
    pub validation_rows: usize,
    /// Test examples.
    pub test_rows: usize,
    /// Steps that were done before: not 0 if the run goes on from a checkpoint.
    pub steps_done: u64,
    /// Steps until the end, if nothing ends it before; where batches grow, there are fewer.
    pub steps_total: u64,
    /// Steps to an epoch; where batches grow, of the smallest batches.
    pub steps_per_epoch: u64,
    /// Examples of a batch at least and at most, where batches grow.
    pub batch_bounds: Option<[usize; 2]>,
    /// Bytes that the plans take on the device.
    pub memory_bytes: usize,
    /// The run folder.
    pub folder: PathBuf,
}

/// The result of a validation.
#[derive(Clone, Debug, PartialEq)]
pub struct Validation {
    /// Steps done.
    pub step: u64,
    /// Epochs done.
    pub epoch: f64,
    /// The loss.
    pub loss: f64,
    /// The accuracy, of a classifier.
    pub accuracy: Option<f64>,
    /// Whether it is the lowest loss so far.
    pub best: bool,
}

/// A row of the table of layers.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerRow {
    /// The layer's name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// The norm of its gradient at the last step.
    pub grad_norm: f64,
    /// The backpropagated signal at the last step.
    pub signal: f64,
    /// What the signal is multiplied with from the next layer to this one, averaged.
    pub factor: f64,
    /// ‖Δw‖/‖w‖ of the last step.
    pub update_ratio: f64,
    /// What is the matter with it.
    pub verdict: LayerVerdict,
}

//! Where the time of submissions goes, step of plan by step of plan.

use super::PlanId;
use crate::base::{Error, Result};
use crate::plan::Plan;

/// What times were taken with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The host's, around each step that it computes itself.
    Host,
    /// The device's own.
    Device,
    /// The host's, around each step as a submission of its own that is waited for: the device has no clock to be asked for.
    HostAlone,
}

impl Clock {
    /// The clock in a word or two.
    pub fn word(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Device => "device",
            Self::HostAlone => "host, steps alone",
        }
    }
}

/// What a plan took so far, in seconds.
#[derive(Clone, Debug)]
pub struct PlanTimes {
    /// The plan.
    pub plan: Plan,
    /// How often it was replayed.
    pub replays: u64,
    /// Each of its steps, over all replays.
    pub steps: Vec<f64>,
    /// The uploads of submissions that it was the first plan of.
    pub upload: f64,
    /// Their readings.
    pub readback: f64,
}

/// What submissions took since [`super::Executor::profile`].
#[derive(Clone, Debug)]
pub struct Times {
    /// How it was measured.
    pub clock: Clock,
    /// The plans in the order in which they were loaded.
    pub plans: Vec<PlanTimes>,
}

impl Times {
    /// No times, for an executor with so many plans: those that were loaded before would have none.
    pub(super) fn new(clock: Clock, loaded: usize) -> Result<Self> {
        match loaded {
            0 => Ok(Self { clock, plans: Vec::new() }),
            _ => Err(Error::failure("profile", format!("{loaded} plans are loaded, of which no times can be taken"))),
        }
    }

    /// Takes note of a plan that was loaded.
    pub(super) fn push(&mut self, plan: &Plan) {
        let steps = vec![0.0; plan.steps.len()];
        self.plans.push(PlanTimes { plan: plan.clone(), replays: 0, steps, upload: 0.0, readback: 0.0 });
    }

    /// Takes note of what a submission of these plans took beside its steps.
    pub(super) fn add(&mut self, plans: &[PlanId], upload: f64, readback: f64) {
        if let Some(first) = plans.first() {
            self.plans[first.0].upload += upload;
            self.plans[first.0].readback += readback;
        }
    }
}

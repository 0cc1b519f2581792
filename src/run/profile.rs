//! Where the time of a training step goes: what `train --profile` asks for.

use super::trainer::Trainer;
use crate::exec::{PlanTimes, Times};
use crate::graph::Phase;
use serde::{Deserialize, Serialize};

/// How many steps of plans are listed.
const DEAREST: usize = 10;

/// Where the time of a training step went, on average over the steps of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Whose clock the steps of plans were timed with: the `host`'s around each; the `device`'s own; `host, steps alone`
    /// around each as a submission that is waited for, which takes its time too.
    pub clock: String,
    /// Training steps.
    pub steps: u64,
    /// Seconds of one, from its examples to its record, as it was while times were taken.
    pub step_seconds: f64,
    /// What they went into, in the order of a step; `other` is what the host did beside.
    pub phases: Vec<PhaseTime>,
    /// The steps of plans that took the most, dearest first.
    pub dearest: Vec<PlanStepTime>,
}

/// A part of a training step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PhaseTime {
    /// `data wait`, `upload`, `forward`, `backward`, `statistics`, `update`, `read-back`, `other`.
    pub name: String,
    /// Seconds in a training step.
    pub seconds: f64,
    /// Of the whole step.
    pub share: f64,
}

/// A step of a plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanStepTime {
    /// The plan.
    pub plan: String,
    /// Its number in the plan.
    pub index: usize,
    /// What it does.
    pub op: String,
    /// The layer or purpose.
    pub scope: String,
    /// The phase that it belongs to.
    pub phase: String,
    /// Seconds in a training step.
    pub seconds: f64,
    /// Of the whole training step.
    pub share: f64,
    /// Floating-point operations in 10⁹ a second, of matrix products.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gflops: Option<f64>,
    /// Bytes read and written in 10⁹ a second, of all others; those of a cache count too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gbytes_per_second: Option<f64>,
}

impl Profile {
    /// Where the time went of so many steps, which took so many seconds with everything; none if no times were taken.
    pub fn of(trainer: &Trainer, seconds: f64, steps: u64) -> Option<Self> {
        let (times, data) = (trainer.executor().times()?, trainer.data_seconds()?);
        let scalar_bytes = if trainer.executor().info().precision == "f64" { 8 } else { 4 };
        // An evaluation is no training step.
        let judges = &trainer.blueprint().evaluate.name;
        Some(Self::new(times, |plan| plan.plan.name != *judges, data, seconds, steps.max(1), scalar_bytes))
    }

    fn new(
        times: &Times,
        counts: impl Fn(&PlanTimes) -> bool,
        data: f64,
        seconds: f64,
        steps: u64,
        scalar_bytes: usize,
    ) -> Self {
        let plans: Vec<&PlanTimes> = times.plans.iter().filter(|plan| counts(plan)).collect();
        let sum = |of: fn(&PlanTimes) -> f64| plans.iter().map(|plan| of(plan)).sum::<f64>();
        let in_phase = |phase: Phase| -> f64 {
            let steps = plans.iter().flat_map(|plan| plan.plan.steps.iter().zip(&plan.steps));
            steps.filter(|(step, _)| step.phase == phase).map(|(_, seconds)| seconds).sum()
        };
        let mut phases = vec![("data wait", data), ("upload", sum(|plan| plan.upload))];
        phases.extend(Phase::ALL.map(|phase| (phase.word(), in_phase(phase))));
        phases.push(("read-back", sum(|plan| plan.readback)));
        let known: f64 = phases.iter().map(|(_, seconds)| seconds).sum();
        phases.push(("other", (seconds - known).max(0.0)));
        let phase = |(name, of): (&str, f64)| PhaseTime {
            name: name.to_owned(),
            seconds: of / steps as f64,
            share: of / seconds,
        };
        let mut dearest: Vec<PlanStepTime> =
            plans.iter().flat_map(|plan| plan_steps(plan, seconds, steps, scalar_bytes)).collect();
        dearest.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        dearest.truncate(DEAREST);
        Self {
            clock: times.clock.word().to_owned(),
            steps,
            step_seconds: seconds / steps as f64,
            phases: phases.into_iter().map(phase).collect(),
            dearest,
        }
    }
}

/// Every step of a plan, where the run took so many seconds and training steps.
fn plan_steps(plan: &PlanTimes, all: f64, steps: u64, scalar_bytes: usize) -> impl Iterator<Item = PlanStepTime> {
    plan.plan.steps.iter().zip(&plan.steps).enumerate().filter(|(_, (_, seconds))| **seconds > 0.0).map(
        move |(index, (step, &seconds))| {
            let rate = |work: f64| work * plan.replays as f64 / seconds / 1e9;
            let gflops = step.flops().map(rate);
            PlanStepTime {
                plan: plan.plan.name.clone(),
                index,
                op: step.op.name().to_owned(),
                scope: step.scope.to_string(),
                phase: step.phase.word().to_owned(),
                seconds: seconds / steps as f64,
                share: seconds / all,
                gflops,
                gbytes_per_second: gflops.is_none().then(|| rate(step.bytes(scalar_bytes))),
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Type;
    use crate::exec::Clock;
    use crate::graph::Graph;
    use crate::plan::{Place, compile};

    #[test]
    fn times_are_those_of_a_step_and_rates_those_of_a_replay() {
        let mut g = Graph::new();
        let x = g.input("x", Type::real([4, 4])).unwrap();
        let y = g.matmul(x, x).unwrap();
        g.set_phase(Phase::Statistics);
        let sum = g.sum(y).unwrap();
        let places = [(y, Place::whole("y", g.ty(y))), (sum, Place::whole("sum", g.ty(sum)))];
        let plan = compile("gradients", &g, &places).unwrap();
        let of = |name: &str| {
            let plan = crate::plan::Plan { name: name.into(), ..plan.clone() };
            PlanTimes { plan, replays: 10, steps: vec![2e-6, 1e-6], upload: 3e-6, readback: 4e-6 }
        };
        let times = Times { clock: Clock::Device, plans: vec![of("gradients"), of("evaluate")] };
        let found = Profile::new(&times, |plan| plan.plan.name != "evaluate", 5e-6, 20e-6, 5, 4);
        let seconds: Vec<f64> = found.phases.iter().map(|phase| phase.seconds * 5e6).collect();
        let expected = [5.0, 3.0, 2.0, 0.0, 1.0, 0.0, 4.0, 5.0];
        assert!(seconds.iter().zip(expected).all(|(found, it)| (found - it).abs() < 1e-9), "{seconds:?}");
        assert!((found.phases.iter().map(|phase| phase.share).sum::<f64>() - 1.0).abs() < 1e-12);
        assert_eq!((found.dearest.len(), found.dearest[0].op.as_str(), found.clock.as_str()), (2, "matmul", "device"));
        let [product, sum] = &found.dearest[..] else { panic!("{found:?}") };
        assert!((product.gflops.unwrap() - 128.0 * 10.0 / 2e-6 / 1e9).abs() < 1e-9 && sum.gflops.is_none());
        assert!((sum.gbytes_per_second.unwrap() - 4.0 * 17.0 * 10.0 / 1e-6 / 1e9).abs() < 1e-9);
        assert!((product.share - 0.1).abs() < 1e-12 && sum.phase == "statistics");
    }
}

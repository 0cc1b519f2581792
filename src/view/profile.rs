//! Where the time of a training step went.

use super::number::{count, percent, significant, time};
use super::style::{Paint, Style};
use super::table::{Align, Cell, Table};
use crate::run::profile::Profile;

/// Phases, then the steps of plans that took the most.
pub fn text(profile: &Profile, style: Style) -> String {
    let mut phases = Table::new([("phase", Align::Left), ("a step", Align::Right), ("share", Align::Right)]);
    for phase in &profile.phases {
        phases.row([phase.name.as_str().into(), time(phase.seconds).into(), percent(phase.share).into()]);
    }
    phases.row(["all", &time(profile.step_seconds), ""].map(|text| Cell::painted(text, Paint::Bold)));
    let mut dearest = Table::new([
        ("step of a plan", Align::Left),
        ("op", Align::Left),
        ("of", Align::Left),
        ("phase", Align::Left),
        ("a step", Align::Right),
        ("share", Align::Right),
        ("speed", Align::Right),
    ]);
    for step in &profile.dearest {
        let rate = |unit: &str, rate: Option<f64>| rate.map(|rate| format!("{} {unit}", significant(rate)));
        let speed = rate("GFLOP/s", step.gflops).or(rate("GB/s", step.gbytes_per_second));
        dearest.row([
            Cell::from(format!("{} {}", step.plan, step.index)),
            step.op.as_str().into(),
            step.scope.as_str().into(),
            step.phase.as_str().into(),
            time(step.seconds).into(),
            percent(step.share).into(),
            speed.unwrap_or_default().into(),
        ]);
    }
    let of = format!(" over {} steps, by the clock of the {}", count(profile.steps), profile.clock);
    format!(
        "{}{}\n{}\n{}  Steps are slower while times are taken. What the update measures in passing counts as update.\n",
        style.paint("where the time went", Paint::Bold),
        style.paint(&of, Paint::Dim),
        phases.render(style),
        dearest.render(style)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::profile::{PhaseTime, PlanStepTime};

    #[test]
    fn phases_and_steps_have_lines() {
        let phase = PhaseTime { name: "forward".into(), seconds: 2e-6, share: 0.5 };
        let step = PlanStepTime {
            plan: "gradients".into(),
            index: 3,
            op: "matmul".into(),
            scope: "0 linear".into(),
            phase: "forward".into(),
            seconds: 1e-6,
            share: 0.25,
            gflops: Some(12.0),
            gbytes_per_second: None,
        };
        let profile =
            Profile { clock: "host".into(), steps: 1000, step_seconds: 4e-6, phases: vec![phase], dearest: vec![step] };
        let text = text(&profile, Style::PLAIN);
        for part in [
            "where the time went over 1,000 steps, by the clock of the host\n",
            "  forward  2.00 µs  50.00 %\n",
            "  all      4.00 µs\n",
            "  gradients 3     matmul  0 linear  forward  1.00 µs  25.00 %  12.0 GFLOP/s\n",
        ] {
            assert!(text.contains(part), "no `{part}` in\n{text}");
        }
    }
}

//! `steepest plan`.

use super::args::PlanArgs;
use super::{print, settings};
use crate::base::Result;
use crate::run::{self, Setup, Trainer};
use crate::view::number::{bytes, counted};
use crate::view::style::{Paint, Style};
use std::fmt::Write as _;

/// Makes the plans of a run as a training would, on the device it would take, and prints them.
pub fn run(args: &PlanArgs) -> Result<()> {
    let mut config = settings::resolve(&args.config)?;
    settings::set_device(&mut config, &args.device)?;
    let splits = run::load(&config)?;
    let device = run::open_device(&config)?;
    let setup = Setup { splits, executor: device.executor, threads: device.threads, objective: None };
    let trainer = Trainer::new(&config, setup)?;
    print(&text(&trainer, Style::of(&std::io::stdout())))
}

fn text(trainer: &Trainer, style: Style) -> String {
    let blueprint = trainer.blueprint();
    let info = trainer.executor().info();
    let scalar_bytes = if info.precision == "f64" { 8 } else { 4 };
    let heading = |text: &str| style.paint(text, Paint::Bold);
    let mut text = format!("{}\n{}\n", heading("graph of a micro-batch"), blueprint.graph);
    for plan in blueprint.plans() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{plan}");
    }
    let parameters = counted(blueprint.arena.element_count() as u64, "parameter");
    let memory = bytes(blueprint.memory_bytes(scalar_bytes) as u64);
    let _ = writeln!(text, "{}: {parameters}, {memory} at the peak, on {}", heading("all plans"), info.name);
    text
}

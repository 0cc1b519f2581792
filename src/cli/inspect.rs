//! `steepest inspect`.

use super::args::{ConfigArgs, DataPart, DeviceArgs, InspectArgs};
use super::{print, print_json, settings};
use crate::base::{Error, Result};
use crate::run::{self, BOUND, Check, Inspection, Inspector, Part};
use crate::view::number::{count, counted, significant};
use crate::view::style::{Paint, Style};
use crate::view::table::{Align, Cell, Table};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// Writes the gradients at chosen rows, and checks them if asked.
pub fn run(args: &InspectArgs) -> Result<()> {
    let mut config = settings::resolve(&ConfigArgs { config: Some(args.config.clone()), set: args.set.clone() })?;
    settings::set_device(&mut config, &DeviceArgs { device: args.device.clone(), precision: None })?;
    let device = args.device.as_ref().map(|_| run::open_device(&config)).transpose()?;
    let part = match args.part {
        DataPart::Train => Part::Train,
        DataPart::Validation => Part::Validation,
        DataPart::Test => Part::Test,
    };
    let mut inspector = Inspector::new(&config, &args.weights, part, device)?;
    let inspection = inspector.inspect(args.rows.clone())?;
    inspection.write(&args.out)?;
    let check = args.check.map(|n| run::check(&mut inspector, &inspection, args.rows.clone(), n.max(1))).transpose()?;
    if args.json {
        print_json(&to_json(args, part, &inspection, check.as_ref()))?;
    } else {
        print(&text(args, part, &inspection, check.as_ref(), Style::of(&std::io::stdout())))?;
    }
    match check.as_ref().filter(|check| !check.passes()).and_then(Check::worst) {
        None => Ok(()),
        Some(worst) => Err(Error::failure(
            worst.place(),
            format!(
                "the derivative is {:e}, differences give {:e}: a relative error of {}, the bound is {BOUND:e}",
                worst.exact,
                worst.difference,
                significant(worst.error)
            ),
        )),
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |max: f64, x| if x.is_nan() { f64::NAN } else { max.max(x.abs()) })
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// The largest error among the entries of a tensor, and how many there are.
fn checked(check: &Check, name: &str) -> (u64, f64) {
    let errors = check.entries.iter().filter(|entry| entry.name == name).map(|entry| entry.error);
    errors.fold((0, 0.0), |(n, max), error| (n + 1, f64::max(max, error)))
}

fn text(args: &InspectArgs, part: Part, found: &Inspection, check: Option<&Check>, style: Style) -> String {
    let rows = counted(found.losses.len() as u64, "row");
    let heading = format!("{rows} of the {} part, from {}", part.word(), args.rows.start);
    let mut text = format!("{}\n", style.paint(&heading, Paint::Bold));
    let norms = &found.example_grad_norm;
    let smallest = norms.iter().copied().fold(f64::INFINITY, f64::min);
    let mut overall = Table::new([("", Align::Left), ("", Align::Left)]);
    let mut row = |name: &str, value: String| overall.row([Cell::painted(name, Paint::Dim), value.into()]);
    row("loss", significant(found.loss));
    row("‖gradient‖", significant(found.grad_norm()));
    row("‖gradient‖ of one row", format!("{} to {}", significant(smallest), significant(largest(norms))));
    row("written to", args.out.display().to_string());
    text += &overall.render(style);
    let mut headings =
        vec![("tensor", Align::Left), ("shape", Align::Left), ("norm", Align::Right), ("largest", Align::Right)];
    if check.is_some() {
        headings.extend([("checked", Align::Right), ("worst error", Align::Right)]);
    }
    let mut table = Table::new(headings);
    for (tensor, is_param) in
        found.gradients.iter().map(|tensor| (tensor, true)).chain(found.z_gradients.iter().map(|z| (z, false)))
    {
        let numbers = [norm(&tensor.values), largest(&tensor.values)].map(|x| Cell::from(significant(x)));
        let mut cells: Vec<Cell> = vec![tensor.name.clone().into(), tensor.shape.to_string().into()];
        cells.extend(numbers);
        if let Some(check) = check {
            let (n, worst) = checked(check, &tensor.name);
            let paint = if worst <= BOUND { Paint::Green } else { Paint::Red };
            let error = if is_param { Cell::painted(significant(worst), paint) } else { "".into() };
            cells.extend([if is_param { count(n).into() } else { "".into() }, error]);
        }
        table.row(cells);
    }
    text.push('\n');
    text += &table.render(style);
    if let Some(worst) = check.and_then(Check::worst) {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "\n  worst: {}, derivative {:e}, difference {:e}, relative error {} (bound {BOUND:e})",
            worst.place(),
            worst.exact,
            worst.difference,
            significant(worst.error)
        );
    }
    text
}

fn to_json(args: &InspectArgs, part: Part, found: &Inspection, check: Option<&Check>) -> Value {
    let tensors = found.gradients.iter().chain(&found.z_gradients).map(|tensor| {
        let entry =
            json!({ "shape": tensor.shape.to_vec(), "norm": norm(&tensor.values), "largest": largest(&tensor.values) });
        (tensor.name.clone(), entry)
    });
    let mut all = json!({
        "part": part.word(),
        "rows": [args.rows.start, args.rows.end],
        "out": args.out,
        "loss": found.loss,
        "losses": found.losses,
        "grad_norm": found.grad_norm(),
        "example_grad_norm": found.example_grad_norm,
        "tensors": tensors.collect::<Map<String, Value>>(),
    });
    if let Some(check) = check {
        let worst = check.worst().map(|worst| {
            json!({
                "name": worst.name, "index": worst.index, "derivative": worst.exact, "difference": worst.difference,
                "step": worst.step, "error": worst.error,
            })
        });
        all["check"] =
            json!({ "passes": check.passes(), "bound": BOUND, "entries": check.entries.len(), "worst": worst });
    }
    all
}

//! `steepest inspect`.

use super::args::{ConfigArgs, DataPart, DeviceArgs, InspectArgs};
use super::input_gradient::Target;
use super::{print, print_json, settings};
use crate::base::{Error, Result};
use crate::run::{self, BOUND, Check, Conflicts, Inspection, Inspector, Moments, Noise, Part, Partials, RankedExample};
use crate::view::instruments;
use crate::view::number::{count, counted, significant};
use crate::view::style::{Paint, Style};
use crate::view::table::{Align, Cell, Table};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::ops::Range;
use std::path::PathBuf;

/// What was found, and how it was asked for.
struct Findings {
    part: Part,
    rows: Range<usize>,
    class_names: Option<Vec<String>>,
    inspection: Inspection,
    check: Option<Check>,
    partials: Option<Partials>,
    noise: Option<Noise>,
    worst: Option<Vec<RankedExample>>,
    conflicts: Option<Conflicts>,
    input_files: Vec<PathBuf>,
}

/// Looks at the gradients of chosen rows with the instruments that are asked for.
pub fn run(args: &InspectArgs) -> Result<()> {
    let found = look(args)?;
    if args.json {
        print_json(&to_json(args, &found))?;
    } else {
        print(&text(args, &found, Style::of(&std::io::stdout())))?;
    }
    match found.check.as_ref().filter(|check| !check.passes()).and_then(Check::worst) {
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

/// Computes everything before it writes anything.
fn look(args: &InspectArgs) -> Result<Findings> {
    let mut config = settings::resolve(&ConfigArgs { config: Some(args.config.clone()), set: args.set.clone() })?;
    settings::set_device(&mut config, &DeviceArgs { device: args.device.clone(), precision: None })?;
    let device = args.device.as_ref().map(|_| run::open_device(&config)).transpose()?;
    let part = match args.part {
        DataPart::Train => Part::Train,
        DataPart::Validation => Part::Validation,
        DataPart::Test => Part::Test,
    };
    let mut inspector = Inspector::new(&config, &weights(args)?, part, device)?;
    let rows = args.rows.clone().unwrap_or(0..inspector.data().len());
    let target = args.input_gradient.as_deref().map(|path| Target::of(path, inspector.data().sample_shape()));
    let target = target.transpose()?;
    let conflicts = args.conflicts.then(|| run::conflicts(&mut inspector, rows.clone())).transpose()?;
    let moments = (args.noise || args.partials.is_some()).then(|| Moments::of(&mut inspector, rows.clone()));
    let moments = moments.transpose()?;
    let inspection = inspector.inspect(rows.clone())?;
    let check = args.check.map(|n| run::check(&mut inspector, &inspection, rows.clone(), n.max(1))).transpose()?;
    let partials = args.partials.zip(moments.as_ref());
    let partials = partials.map(|(n, moments)| run::partials(&mut inspector, &inspection, moments, n)).transpose()?;
    let noise = moments.as_ref().filter(|_| args.noise);
    let noise = noise.map(|moments| run::noise(&mut inspector, moments)).transpose()?;
    let worst = args.worst.map(|n| run::worst(&inspector, &inspection, rows.clone(), n)).transpose()?;
    let input_files = match target {
        Some(target) => target.write(&inspector.input_gradients(rows.clone())?)?,
        None => Vec::new(),
    };
    if let Some(out) = &args.out {
        inspection.write(out)?;
    }
    let class_names = inspector.data().class_names().map(<[String]>::to_vec);
    Ok(Findings { part, rows, class_names, inspection, check, partials, noise, worst, conflicts, input_files })
}

/// The file of weights that is named, or that of the run.
fn weights(args: &InspectArgs) -> Result<PathBuf> {
    match &args.weights {
        Some(weights) => Ok(weights.clone()),
        None if args.config.is_dir() => Ok(args.config.join("model.safetensors")),
        None => Err(Error::input("--weights", format!("{} has no weights", args.config.display()))
            .help("give a safetensors file, or the folder of a run in place of the config")),
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

/// What all instruments say, one after the other.
fn text(args: &InspectArgs, all: &Findings, style: Style) -> String {
    let names = all.class_names.as_deref();
    let mut text = overview(args, all, style);
    text.extend(all.partials.as_ref().map(|found| instruments::partials::text(found, style)));
    text.extend(all.noise.as_ref().map(|found| instruments::noise::text(found, style)));
    text.extend(all.worst.as_ref().map(|found| instruments::worst::text(found, names, style)));
    text.extend(all.conflicts.as_ref().map(|found| instruments::conflicts::text(found, names, style)));
    if let [first, rest @ ..] = all.input_files.as_slice() {
        let others = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n  gradients with respect to inputs: {}{others}", first.display());
    }
    text
}

fn overview(args: &InspectArgs, all: &Findings, style: Style) -> String {
    let (found, check) = (&all.inspection, all.check.as_ref());
    let rows = counted(found.losses.len() as u64, "row");
    let heading = format!("{rows} of the {} part, from {}", all.part.word(), all.rows.start);
    let mut text = format!("{}\n", style.paint(&heading, Paint::Bold));
    let norms = &found.example_grad_norm;
    let smallest = norms.iter().copied().fold(f64::INFINITY, f64::min);
    let mut overall = Table::new([("", Align::Left), ("", Align::Left)]);
    let mut row = |name: &str, value: String| overall.row([Cell::painted(name, Paint::Dim), value.into()]);
    row("loss", significant(found.loss));
    row("‖gradient‖", significant(found.grad_norm()));
    row("‖gradient‖ of one row", format!("{} to {}", significant(smallest), significant(largest(norms))));
    if let Some(out) = &args.out {
        row("written to", out.display().to_string());
    }
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

fn to_json(args: &InspectArgs, all: &Findings) -> Value {
    let found = &all.inspection;
    let tensors = found.gradients.iter().chain(&found.z_gradients).map(|tensor| {
        let entry =
            json!({ "shape": tensor.shape.to_vec(), "norm": norm(&tensor.values), "largest": largest(&tensor.values) });
        (tensor.name.clone(), entry)
    });
    let mut json = json!({
        "part": all.part.word(),
        "rows": [all.rows.start, all.rows.end],
        "out": args.out,
        "loss": found.loss,
        "losses": found.losses,
        "grad_norm": found.grad_norm(),
        "example_grad_norm": found.example_grad_norm,
        "tensors": tensors.collect::<Map<String, Value>>(),
    });
    if let Some(check) = &all.check {
        let worst = check.worst().map(|worst| {
            json!({
                "name": worst.name, "index": worst.index, "derivative": worst.exact, "difference": worst.difference,
                "step": worst.step, "error": worst.error,
            })
        });
        json["check"] =
            json!({ "passes": check.passes(), "bound": BOUND, "entries": check.entries.len(), "worst": worst });
    }
    let instruments = [
        ("partials", all.partials.as_ref().map(instruments::partials::json)),
        ("noise", all.noise.as_ref().map(instruments::noise::json)),
        ("worst", all.worst.as_deref().map(instruments::worst::json)),
        ("conflicts", all.conflicts.as_ref().map(instruments::conflicts::json)),
        ("input_gradient", args.input_gradient.as_ref().map(|_| json!(all.input_files))),
    ];
    for (name, value) in instruments {
        if let Some(value) = value {
            json[name] = value;
        }
    }
    json
}

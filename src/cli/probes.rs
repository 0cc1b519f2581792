//! `steepest probes`.

use super::args::ProbesArgs;
use super::{print, print_json, progress, settings};
use crate::base::{Cadence, Result};
use crate::probe::{PROBES, Probe, QUANTITIES, Quantity, Scope};
use crate::run::cadence;
use crate::study::{self, ProbeCosts};
use crate::view::number::{significant, time};
use crate::view::style::{Paint, Style};
use crate::view::table::{Align, Cell, Table};
use serde_json::json;
use std::fmt::Write as _;

/// Lists the probes: what they measure, when, and what that costs here.
pub fn run(args: &ProbesArgs) -> Result<()> {
    let mut config = settings::resolve(&args.config)?;
    settings::set_device(&mut config, &args.device)?;
    config.check()?;
    let costs = if args.no_cost { None } else { Some(study::costs(&config, &mut progress("comparison"))?) };
    let when: Vec<Cadence> =
        PROBES.iter().map(|probe| cadence(&config.probes, config.train.precision, probe)).collect();
    if args.json {
        let probes = PROBES.iter().zip(&when).enumerate();
        let probes: Vec<_> = probes.map(|(i, (probe, when))| json_of(i, probe, when, costs.as_ref())).collect();
        let presets = costs.as_ref().map(|costs| json!({ "default": costs.presets[0], "full": costs.presets[1] }));
        return print_json(&json!({
            "device": costs.as_ref().map(|costs| &costs.device),
            "step_seconds": costs.as_ref().map(|costs| costs.step_seconds),
            "probes": probes,
            "presets": presets,
        }));
    }
    print(&text(&when, costs.as_ref(), Style::of(&std::io::stdout())))
}

fn quantities(probe: &Probe) -> impl Iterator<Item = &'static Quantity> {
    let id = probe.id;
    QUANTITIES.iter().filter(move |quantity| quantity.probe == id)
}

fn json_of(i: usize, probe: &Probe, when: &Cadence, costs: Option<&ProbeCosts>) -> serde_json::Value {
    let quantities: Vec<_> = quantities(probe)
        .map(|it| json!({ "id": it.id, "of": of(it.scope), "formula": it.formula, "doc": it.doc }))
        .collect();
    json!({
        "name": probe.name,
        "doc": probe.doc,
        "here": when.to_string(),
        "default": probe.usual,
        "full": probe.full,
        "cost": cost(i, costs),
        "quantities": quantities,
    })
}

/// What a probe in every step adds to a step, as a share.
fn cost(i: usize, costs: Option<&ProbeCosts>) -> Option<f64> {
    i.checked_sub(1).and_then(|i| costs?.probes[i])
}

fn of(scope: Scope) -> &'static str {
    match scope {
        Scope::Step => "step",
        Scope::Scaled => "step in mixed precision",
        Scope::Noise => "step, over layers whose noise is measured",
        Scope::Layer => "layer",
        Scope::Noisy => "layer whose noise is measured",
        Scope::Resolved => "layer where gradients of single examples are known",
        Scope::Rectified => "layer before ReLU, ELU, GELU or SiLU",
        Scope::Bounded => "layer before sigmoid or tanh",
        Scope::Tensor => "tensor",
        Scope::Bins => "layer and bin",
    }
}

fn text(when: &[Cadence], costs: Option<&ProbeCosts>, style: Style) -> String {
    let heading = |text: &str| style.paint(text, Paint::Bold);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{}\n{}", heading("probes"), overview(when, costs).render(style));
    if let Some(costs) = costs {
        let [default, full] = costs.presets.map(added);
        let step = time(costs.step_seconds);
        let _ = writeln!(
            text,
            "  A step that measures nothing takes {step} on {}; the costs are those of each\n  probe in every step, \
             beside it. The preset default adds {default}, full {full}.\n  Of small networks these move by a tenth of a step and more from call to call.\n",
            costs.device
        );
    }
    for probe in &PROBES {
        let _ = writeln!(text, "{}: {}", heading(probe.name), probe.doc);
        for quantity in quantities(probe) {
            let _ = writeln!(text, "  {} ({}): {}", quantity.id, of(quantity.scope), quantity.formula);
            for line in wrapped(quantity.doc, 74) {
                let _ = writeln!(text, "      {}", style.paint(&line, Paint::Dim));
            }
        }
        text.push('\n');
    }
    text.push_str("When each is due: [probes] in a config, such as --set probes.preset=full,\n--set probes.histograms=50, --set 'probes.variance=[1, 100]', --set probes.units=0,\n--set probes.distance=geometric.\n");
    text
}

/// Lines of whole words, none longer than so many columns unless a word is.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// What is added, with its sign.
fn added(share: f64) -> String {
    format!("{}{} %", if share >= 0.0 { "+" } else { "−" }, significant((share * 1000.0).round().abs() / 10.0))
}

fn overview(when: &[Cadence], costs: Option<&ProbeCosts>) -> Table {
    let mut columns =
        vec![("probe", Align::Left), ("here", Align::Left), ("default", Align::Left), ("full", Align::Left)];
    columns.extend(costs.map(|_| ("cost", Align::Right)));
    let mut table = Table::new(columns);
    for (i, (probe, when)) in PROBES.iter().zip(when).enumerate() {
        let mut cells: Vec<Cell> =
            vec![probe.name.into(), steps(when).into(), preset(probe.usual).into(), preset(probe.full).into()];
        cells.extend(costs.map(|_| cost(i, costs).map_or(Cell::from("–"), |cost| added(cost).into())));
        table.row(cells);
    }
    table
}

fn preset(every: u64) -> String {
    steps(&if every == 0 { Cadence::Never } else { Cadence::Every(every) })
}

fn steps(cadence: &Cadence) -> String {
    match cadence {
        Cadence::Never => "never".into(),
        Cadence::Every(1) => "every step".into(),
        Cadence::Every(n) => format!("every {n} steps"),
        Cadence::At(steps) => match steps.as_slice() {
            [step] => format!("at step {step}"),
            steps => format!("at {} steps", steps.len()),
        },
        Cadence::Geometric => "at 1, 2, 4, 8, …".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_wrapped_between_words() {
        assert_eq!(wrapped("a bb ccc dddd", 6), ["a bb", "ccc", "dddd"]);
        assert_eq!(wrapped("ééé é longer", 5), ["ééé é", "longer"]);
        assert!(wrapped("", 5).is_empty());
    }

    #[test]
    fn costs_and_cadences_are_said_in_words() {
        assert_eq!([0.0412, -0.001, 1.0].map(added), ["+4.10 %", "−0.100 %", "+100 %"]);
        assert_eq!(steps(&Cadence::At(vec![3])), "at step 3");
        assert_eq!(steps(&Cadence::Every(10)), "every 10 steps");
    }
}

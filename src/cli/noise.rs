//! `steepest noise`.

use super::args::NoiseArgs;
use super::{print, print_json, progress, settings};
use crate::base::Result;
use crate::probe::{Against, Quotient};
use crate::study::{self, LrRule, NoiseStudy};
use crate::view::number::{count, counted, significant};
use crate::view::style::{Paint, Style};
use crate::view::table::{Align, Cell, Table};
use std::fmt::Write as _;

/// Measures the noise of the gradient, and says what it advises.
pub fn run(args: &NoiseArgs) -> Result<()> {
    let mut config = settings::resolve(&args.config)?;
    settings::set_numbers(&mut config, args.seed, args.epochs, args.max_steps)?;
    settings::set_device(&mut config, &args.device)?;
    let study = study::noise(&config, &mut progress("step"))?;
    if args.json {
        return print_json(&study);
    }
    print(&text(&study, Style::of(&std::io::stdout())))
}

fn text(study: &NoiseStudy, style: Style) -> String {
    let heading = |text: &str| style.paint(text, Paint::Bold);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{}: {} in batches of {} on {}\n",
        heading(&study.name),
        counted(study.steps as u64, "step"),
        count(study.batch as u64),
        study.device
    );
    let _ = writeln!(text, "{}\n{}", heading("noise scale over the run, in examples"), stretches(study).render(style));
    let _ = writeln!(text, "{}\n{}", heading("by layer"), layers(study).render(style));
    if study.advice.is_empty() {
        let _ = writeln!(text, "  Noise hides the gradient in this run: take larger batches, or more steps.");
        return text;
    }
    let heads = heading("what a batch size costs, relative to the least there can be");
    let _ = writeln!(text, "{heads}\n{}", advice(study).render(style));
    let _ = writeln!(text, "  {}", range(study));
    let rate = match study.lr_rule {
        LrRule::Saturating => "lr = lr_max / (1 + noise scale / batch): McCandlish et al. 2018, eq. 2.6",
        LrRule::SquareRoot => {
            "lr grows with the square root of the batch: Malladi et al. 2022, for optimizers like Adam"
        }
    };
    let _ = writeln!(text, "  The learning rates follow {rate}.");
    if let Some(rows) = study.micro_batch_max {
        let rows = count(rows);
        let _ = writeln!(
            text,
            "  About {rows} rows fit this device at once; larger batches are accumulated from smaller ones."
        );
    }
    text
}

/// What the interval of the noise scale says of the batch in use.
fn range(study: &NoiseStudy) -> String {
    let (batch, scale) = (study.batch as f64, study.noise_scale);
    let [low, high] = [scale.low, scale.high].map(|x| if x.is_finite() { count(x.round() as u64) } else { "∞".into() });
    let judgement = match Against::of(batch, scale.low, scale.high) {
        Against::Below => "is far below: a larger one saves steps almost in proportion, where the hardware has room",
        Against::Above => "is far above: a smaller one saves examples at nearly as many steps",
        Against::About => "is of that size: a fair trade of steps and examples",
    };
    format!("Batches of {low} to {high} are worth their steps and examples; the batch of {} {judgement}.", study.batch)
}

fn interval(quotient: &Quotient) -> [Cell; 3] {
    [quotient.value, quotient.low, quotient.high]
        .map(|x| if x.is_finite() { significant(x).into() } else { "∞".into() })
}

fn stretches(study: &NoiseStudy) -> Table {
    let columns = ["steps", "loss", "noise scale", "95 % from", "to"];
    let mut table = Table::new(columns.map(|name| (name, Align::Right)));
    for stretch in &study.stretches {
        let steps = format!("{} to {}", count(stretch.first as u64), count(stretch.last as u64));
        table.row([steps.into(), significant(stretch.loss).into()].into_iter().chain(interval(&stretch.noise_scale)));
    }
    table.row(["all".into(), "".into()].into_iter().chain(interval(&study.noise_scale)));
    table
}

fn layers(study: &NoiseStudy) -> Table {
    let columns =
        [("layer", Align::Left), ("noise scale", Align::Right), ("95 % from", Align::Right), ("to", Align::Right)];
    let mut table = Table::new(columns);
    for layer in &study.layers {
        table.row(std::iter::once(layer.name.as_str().into()).chain(interval(&layer.noise_scale)));
    }
    table
}

fn advice(study: &NoiseStudy) -> Table {
    let mut table = Table::new(["batch", "of the scale", "steps", "examples", "lr"].map(|name| (name, Align::Right)));
    for (advice, times) in study.advice.iter().zip(["½×", "1×", "2×", "4×"]) {
        table.row([
            count(advice.batch as u64).into(),
            times.into(),
            format!("{}×", significant(advice.steps)).into(),
            format!("{}×", significant(advice.examples)).into(),
            significant(advice.lr).into(),
        ]);
    }
    table
}

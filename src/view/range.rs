//! What a range test of learning rates found: text, table, picture.

use super::number::{count, counted, significant};
use super::plot::{Chart, Panel, Series, png};
use super::style::{Paint, Style};
use super::table::{Align, Cell, Table};
use crate::base::{Error, Result};
use crate::run::folder::RunFolder;
use crate::study::range::{Point, RangeStudy};
use std::fmt::Write as _;

/// Rows of the table, about.
const ROWS: usize = 20;

/// The table of losses and the advice.
pub fn text(study: &RangeStudy, style: Style) -> String {
    let mut text = String::new();
    let seeds = counted(study.seeds.len() as u64, "seed");
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(
        text,
        "{}: {} in batches of {}, {seeds}, on {}\n",
        style.paint(&study.name, Paint::Bold),
        study.optimizer,
        count(study.batch as u64),
        study.device
    );
    let _ = writeln!(
        text,
        "{}\n{}",
        style.paint("loss as the learning rate rises", Paint::Bold),
        table(study).render(style)
    );
    if study.diverged {
        let last = study.points.last().map_or("the first step".into(), |point| significant(point.rate));
        let _ = writeln!(text, "  It diverged at {last}.");
    }
    let _ = write!(text, "{}", advice(study));
    text
}

fn advice(study: &RangeStudy) -> String {
    let mut text = String::new();
    let Some(fall) = study.steepest else {
        return "  No fall of the loss stands out of its noise: try other rates (--from, --to), more --steps or more --seeds.\n".into();
    };
    let [before, after] = fall.losses.map(significant);
    let (rate, error) = (significant(fall.rate), significant(fall.error));
    let _ = writeln!(text, "  Steepest fall:        {rate}, from {before} to {after} (standard error {error})");
    let _ = writeln!(text, "  Lowest loss:          {}", study.lowest.map_or("none".into(), significant));
    let held = counted(study.trials.iter().map(|trial| trial.losses.len() as u64).sum(), "run");
    let _ = match study.stable {
        Some(stable) => {
            let next = stable
                .next
                .map_or("no larger one was tried".to_owned(), |next| format!("{} is not", significant(next)));
            writeln!(text, "  Largest stable rate:  {} when it is held; {next} ({held})", significant(stable.rate))
        }
        None => writeln!(text, "  Largest stable rate:  none when it is held ({held}); try a smaller --from"),
    };
    let _ = writeln!(
        text,
        "  A constant rate is best sought from the first of them on; a schedule that rises and falls goes up to the second (Smith 2017)."
    );
    text
}

fn table(study: &RangeStudy) -> Table {
    let columns = ["rate", "loss", "standard error"];
    let mut table = Table::new(columns.map(|name| (name, Align::Right)));
    let stride = study.points.len().div_ceil(ROWS).max(1);
    let last = study.points.len().saturating_sub(1);
    for (_, point) in study.points.iter().enumerate().filter(|(i, _)| i % stride == 0 || *i == last) {
        table.row([point.rate, point.smooth, point.error].map(|x| Cell::from(significant(x))));
    }
    table
}

/// The curve, and where the two rates lie, as SVG.
pub fn picture(study: &RangeStudy) -> String {
    let several = study.seeds.len() > 1;
    let point = |point: &Point| {
        let [low, high] =
            if several { [point.low, point.high] } else { [point.smooth - point.error, point.smooth + point.error] };
        [point.rate, point.smooth, low.min(point.smooth), high.max(point.smooth)]
    };
    let points: Vec<[f64; 4]> = study.points.iter().map(point).collect();
    let [least, most] = [f64::min as fn(f64, f64) -> f64, f64::max]
        .map(|pick| points.iter().map(|point| point[1]).reduce(pick).unwrap_or(1.0));
    let marks = [study.steepest.map(|fall| fall.rate), study.stable.map(|stable| stable.rate)];
    let mark =
        |rate: f64| Series { index: 0, points: [least, most].map(|y| [rate, y, y, y]).to_vec(), is_theory: true };
    let mut series = vec![Series { index: 0, points, is_theory: false }];
    series.extend(marks.into_iter().flatten().map(mark));
    let shade = if several { format!("range of {} seeds", study.seeds.len()) } else { "standard error".into() };
    let chart = Chart {
        title: format!("{}: loss as the learning rate rises", study.name),
        label: "training loss".into(),
        names: vec![study.optimizer.into()],
        panels: vec![Panel { label: "learning rate".into(), series }],
        note: format!(
            "line: mean of {} steps; shade: {shade}; dashed: steepest fall, largest stable rate",
            study.window
        ),
    };
    chart.draw()
}

/// A row for each step.
pub fn csv(study: &RangeStudy) -> String {
    let mut text = "rate,loss,low,high,smooth,error\n".to_owned();
    for point in &study.points {
        let Point { rate, loss, low, high, smooth, error } = point;
        let _ = writeln!(text, "{rate:?},{loss:?},{low:?},{high:?},{smooth:?},{error:?}");
    }
    text
}

/// Writes `range.json`, `range.csv`, `range.svg` and `range.png` to a folder that is there. Gives their names.
///
/// # Errors
/// If a file cannot be written.
pub fn write(study: &RangeStudy, folder: &RunFolder) -> Result<Vec<&'static str>> {
    let svg = picture(study);
    let json = serde_json::to_vec_pretty(study).map_err(|error| Error::failure("range.json", error))?;
    let files = [
        ("range.json", json),
        ("range.csv", csv(study).into_bytes()),
        ("range.png", png(&svg)?),
        ("range.svg", svg.into_bytes()),
    ];
    for (name, bytes) in &files {
        folder.write_atomic(name, bytes)?;
    }
    Ok(files.map(|(name, _)| name).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::range::{Fall, Stable, Trial};

    fn study() -> RangeStudy {
        let point = |i: i32| {
            let rate = 10f64.powi(i - 5);
            Point { rate, loss: 2.0, low: 1.5, high: 2.5, smooth: 2.0 - 0.1 * f64::from(i), error: 0.1 }
        };
        RangeStudy {
            name: "net".into(),
            device: "cpu".into(),
            optimizer: "sgd",
            batch: 32,
            seeds: vec![0],
            ratio: 10.0,
            window: 5,
            points: (0..6).map(point).collect(),
            diverged: true,
            start: 2.0,
            start_error: 0.1,
            steepest: Some(Fall { rate: 0.01, losses: [2.0, 1.5], error: 0.05 }),
            lowest: Some(0.03),
            stable: Some(Stable { rate: 0.1, next: Some(1.0) }),
            trials: vec![Trial { rate: 0.1, losses: vec![Some(1.0)], is_stable: true }],
        }
    }

    #[test]
    fn people_get_a_table_and_two_rates() {
        let shown = text(&study(), Style::PLAIN);
        for part in [
            "net: sgd in batches of 32, 1 seed, on cpu",
            "  1.00e-5  2.00           0.100\n",
            "It diverged at 1.00.",
            "Steepest fall:        0.0100, from 2.00 to 1.50 (standard error 0.0500)",
            "Lowest loss:          0.0300",
            "Largest stable rate:  0.100 when it is held; 1.00 is not (1 run)",
        ] {
            assert!(shown.contains(part), "no `{part}` in\n{shown}");
        }
        let open = RangeStudy { stable: Some(Stable { rate: 1.0, next: None }), ..study() };
        assert!(text(&open, Style::PLAIN).contains("1.00 when it is held; no larger one was tried"));
        let none = RangeStudy { stable: None, ..study() };
        assert!(text(&none, Style::PLAIN).contains("none when it is held (1 run); try a smaller --from"));
        let flat = RangeStudy { steepest: None, ..study() };
        assert!(text(&flat, Style::PLAIN).contains("No fall of the loss stands out of its noise"));
    }

    #[test]
    fn pictures_and_files_hold_every_step() {
        assert_eq!(csv(&study()).lines().count(), 7);
        assert!(csv(&study()).contains("\n0.01,2.0,1.5,2.5,1.7,0.1\n"), "{}", csv(&study()));
        let svg = picture(&study());
        assert!(svg.contains("learning rate") && svg.contains("shade: standard error") && svg.contains("<polygon"));
        assert_eq!(svg.matches("stroke-dasharray=\"5 3\"").count(), 2, "{svg}");
        let nothing = RangeStudy { points: Vec::new(), steepest: None, stable: None, ..study() };
        assert!(!picture(&nothing).contains("NaN"));
    }
}

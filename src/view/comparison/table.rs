//! The tables of a comparison.

use crate::study::compare::{Comparison, Run, Share, Spread, Variant};
use crate::view::number::{count, percent, significant};
use crate::view::style::{Paint, Style};
use crate::view::table::{Align, Cell, Table};

/// What came of a comparison: the variants, then what is known of an optimum or of valleys, where it is.
pub fn text(comparison: &Comparison, style: Style) -> String {
    let heading = |text: &str| style.paint(text, Paint::Bold);
    let seeds = comparison.seeds.len();
    let over = if seeds == 1 { String::new() } else { format!(", median of {seeds} seeds, range below") };
    let mut text =
        format!("{}\n", heading(&format!("{}: {} variants{over}", comparison.name, comparison.variants.len())));
    text.push_str(&main_table(comparison).render(style));
    if let Some(target) = comparison.target {
        let how = if comparison.target_given { "as asked for" } else { "the highest of the variants' lowest losses" };
        text.push_str(&format!("  target: loss {}, {how}\n", significant(target)));
    }
    if comparison.is_convex() {
        text.push_str(&format!(
            "\n{}\n{}",
            heading("distance to the known optimum"),
            convex_table(comparison).render(style)
        ));
    }
    if comparison.surface().is_some() {
        let head = heading("valleys, with Wilson's intervals at 95 %");
        text.push_str(&format!("\n{head}\n{}", basin_table(comparison).render(style)));
    }
    text
}

/// How a quantity is written.
type Format = fn(f64) -> String;

fn whole(x: f64) -> String {
    count(x.round().max(0.0) as u64)
}

fn seconds(x: f64) -> String {
    format!("{} s", significant(x))
}

fn factor(x: f64) -> String {
    format!("{x:.5}")
}

fn two(x: f64) -> String {
    format!("{x:.2}")
}

/// The columns of the main table: heading, quantity, format.
const COLUMNS: [(&str, &str, Format); 10] = [
    ("loss", "loss", significant),
    ("accuracy", "accuracy", percent),
    ("steps", "steps", whole),
    ("examples", "examples", whole),
    ("time", "seconds", seconds),
    ("to target", "to_target", seconds),
    ("noise", "noise_trace", significant),
    ("cosine", "cosine", two),
    ("straight", "straightness", two),
    ("rises", "rises", percent_short),
];

fn percent_short(x: f64) -> String {
    format!("{:.0} %", 100.0 * x)
}

fn main_table(comparison: &Comparison) -> Table {
    table(comparison, &COLUMNS, "verdicts", |variant| {
        if variant.non_finite_runs > 0 {
            let of = if variant.runs.len() == 1 { String::new() } else { format!(" in {}", variant.non_finite_runs) };
            return Cell::painted(format!("not finite{of}"), Paint::Red);
        }
        verdicts(&variant.runs).into()
    })
}

fn convex_table(comparison: &Comparison) -> Table {
    let columns: [(&str, &str, Format); 5] = [
        ("distance", "distance", significant),
        ("rate", "rate", factor),
        ("in theory", "rate_theory", factor),
        ("plateau", "plateau", significant),
        ("in theory", "plateau_theory", significant),
    ];
    table(comparison, &columns, "", |variant| {
        let best = variant.runs.iter().filter_map(|run| run.convex?.rate_best).next();
        best.map_or(String::new(), |best| format!("the best rate is {}", factor(best))).into()
    })
}

/// A table of the quantities that any variant has, with a last column of words.
fn table(
    comparison: &Comparison,
    columns: &[(&str, &str, Format)],
    heading: &str,
    last: impl Fn(&Variant) -> Cell,
) -> Table {
    let has = |id: &str| comparison.variants.iter().any(|variant| variant.over_seeds.contains_key(id));
    let columns: Vec<_> = columns.iter().filter(|(_, id, _)| has(id)).collect();
    let heads = columns.iter().map(|(heading, ..)| (*heading, Align::Right));
    let mut table = Table::new([("variant", Align::Left)].into_iter().chain(heads).chain([(heading, Align::Left)]));
    for variant in &comparison.variants {
        let cells = |write: &dyn Fn(&Spread, Format) -> String| -> Vec<String> {
            let cell = |(_, id, format): &&(&str, &str, Format)| {
                variant.over_seeds.get(id).map_or("-".into(), |spread| write(spread, *format))
            };
            columns.iter().map(cell).collect()
        };
        let medians = cells(&|spread, format| format(spread.median)).into_iter().map(Cell::from);
        table.row([Cell::from(variant.name.as_str())].into_iter().chain(medians).chain([last(variant)]));
        if variant.runs.len() > 1 {
            let range = |spread: &Spread, format: Format| {
                let (low, high) = (format(spread.min), format(spread.max));
                if low == high { String::new() } else { format!("{}–{high}", bare(&low)) }
            };
            let ranges = cells(&range)
                .into_iter()
                .map(|text| Cell::painted(if text == "-" { String::new() } else { text }, Paint::Dim));
            table.row([Cell::from("")].into_iter().chain(ranges).chain([Cell::from("")]));
        }
    }
    table
}

/// A number without its unit.
fn bare(text: &str) -> &str {
    text.split(' ').next().unwrap_or(text)
}

/// How often the layers had each verdict, over all runs.
fn verdicts(runs: &[Run]) -> String {
    let mut words: Vec<(&str, usize)> = Vec::new();
    for (word, n) in runs.iter().flat_map(|run| &run.verdicts) {
        match words.iter_mut().find(|(known, _)| known == word) {
            Some((_, total)) => *total += n,
            None => words.push((word, *n)),
        }
    }
    words.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    words.iter().map(|(word, n)| format!("{n} {word}")).collect::<Vec<_>>().join(", ")
}

fn basin_table(comparison: &Comparison) -> Table {
    let heads = [("variant", Align::Left), ("runs", Align::Right), ("left theirs", Align::Right), ("", Align::Left)];
    let mut table = Table::new(heads.into_iter().chain([("in the deepest", Align::Right), ("", Align::Left)]));
    for variant in &comparison.variants {
        let Some(basins) = &variant.basins else { continue };
        let share = |share: &Share| [format!("{} of {}", share.hits, basins.runs), interval(share)];
        let [left, left_interval] = share(&basins.left);
        let [deepest, deepest_interval] = share(&basins.deepest);
        let dim = |text: String| Cell::painted(text, Paint::Dim);
        table.row([
            Cell::from(variant.name.as_str()),
            basins.runs.to_string().into(),
            left.into(),
            dim(left_interval),
            deepest.into(),
            dim(deepest_interval),
        ]);
    }
    table
}

fn interval(share: &Share) -> String {
    let [low, high] = share.interval.map(|x| (100.0 * x).round());
    format!("{low}–{high} %")
}

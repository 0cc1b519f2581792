//! The pictures of a comparison: loss, distance to the optimum, paths over a surface.

use crate::base::Result;
use crate::nn::Wells;
use crate::run::folder::write_atomic;
use crate::study::compare::{Comparison, Place, Run, Spread, Variant};
use crate::view::number::significant;
use crate::view::plot::{Anchor, Axis, Chart, Frame, INK, PALE, Panel, Series, Svg, contours, png, stroke_of};

/// Each picture by its name, as SVG.
pub fn pictures(comparison: &Comparison) -> Vec<(&'static str, String)> {
    let mut all = vec![("loss", loss(comparison))];
    if comparison.is_convex() {
        all.push(("distance", distance(comparison)));
    }
    if let Some(wells) = comparison.surface() {
        all.push(("paths", paths(comparison, wells)));
    }
    all
}

/// Writes each picture into the folder of the comparison, as SVG and as PNG. Gives the names of the files.
///
/// # Errors
/// If a file cannot be written.
pub fn write_pictures(comparison: &Comparison) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for (name, svg) in pictures(comparison) {
        for (end, bytes) in [("svg", svg.clone().into_bytes()), ("png", png(&svg)?)] {
            let name = format!("{name}.{end}");
            write_atomic(&comparison.folder.join(&name), &bytes)?;
            names.push(name);
        }
    }
    Ok(names)
}

fn names(comparison: &Comparison) -> Vec<String> {
    comparison.variants.iter().map(|variant| variant.name.clone()).collect()
}

/// What the seeds are shown as.
fn note(comparison: &Comparison) -> String {
    match comparison.seeds.len() {
        1 => String::new(),
        n => format!("line: median of {n} seeds; shade: their range"),
    }
}

fn loss(comparison: &Comparison) -> String {
    let panel = |label: &str, x: fn(&Place) -> f64| {
        let series = comparison.variants.iter().enumerate();
        let series = series.map(|(index, variant)| Series { index, points: places(variant, x), is_theory: false });
        Panel { label: label.into(), series: series.collect() }
    };
    let chart = Chart {
        title: format!("{}: kinds of descent", comparison.name),
        label: "training loss".into(),
        names: names(comparison),
        panels: vec![
            panel("steps", |place| place.step as f64),
            panel("examples seen", |place| place.examples as f64),
            panel("seconds of training", |place| place.seconds),
        ],
        note: note(comparison),
    };
    chart.draw()
}

/// The places that all runs of a variant came by, with median and range of their losses. The start has no place on
/// logarithmic axes.
fn places(variant: &Variant, x: fn(&Place) -> f64) -> Vec<[f64; 4]> {
    let Some(first) = variant.runs.first() else { return Vec::new() };
    let at = |step: u64| -> Vec<&Place> {
        let find = |run: &'_ Run| run.places.iter().position(|place| place.step == step);
        variant.runs.iter().filter_map(|run| find(run).map(|i| &run.places[i])).collect()
    };
    let point = |place: &Place| {
        let here = at(place.step);
        let x = Spread::of(here.iter().map(|place| x(place)))?.median;
        let loss = Spread::of(here.iter().map(|place| place.loss))?;
        Some([x, loss.median, loss.min, loss.max])
    };
    first.places.iter().filter(|place| place.step > 0).filter_map(point).collect()
}

fn distance(comparison: &Comparison) -> String {
    let mut series = Vec::new();
    for (index, variant) in comparison.variants.iter().enumerate() {
        let Some(run) = variant.runs.first() else { continue };
        let points = run.distances.iter().filter(|(step, _)| *step > 0).map(|&(step, d)| [step as f64, d, d, d]);
        series.push(Series { index, points: points.collect(), is_theory: false });
        let end = run.steps as f64;
        if let Some(level) = run.convex.and_then(|convex| convex.plateau_theory) {
            let points = vec![[end / 30.0, level, level, level], [end, level, level, level]];
            series.push(Series { index, points, is_theory: true });
        }
        if let Some((rate, lowest)) = run.convex.and_then(|convex| Some((convex.rate_theory?, convex.distance))) {
            // Along the slowest direction alone, from where the run was halfway down.
            let anchor = run.distances.iter().find(|(_, d)| *d < (run.distances[0].1 * lowest).sqrt());
            let Some(&(from, d)) = anchor else { continue };
            let steps = (1..=200).map(|k| from as f64 + (end - from as f64) * f64::from(k) / 200.0);
            let points = steps.map(|step| (step, d * rate.powf(step - from as f64)));
            let points = points.filter(|(_, d)| *d >= lowest).map(|(step, d)| [step, d, d, d]);
            series.push(Series { index, points: points.collect(), is_theory: true });
        }
    }
    let chart = Chart {
        title: format!("{}: distance to the optimum", comparison.name),
        label: "distance to the optimum".into(),
        names: names(comparison),
        panels: vec![Panel { label: "steps".into(), series }],
        note: format!("seed {}; dashed: theory", comparison.seeds[0]),
    };
    chart.draw()
}

const MAP: f64 = 300.0;
const COLUMNS: usize = 3;

/// Heights whose contours are drawn.
const LEVELS: [f64; 10] = [0.03, 0.1, 0.2, 0.32, 0.42, 0.54, 0.65, 0.8, 1.2, 2.0];

/// Points of a path that are drawn, at most.
const POINTS: usize = 400;

/// A map for each variant, with the paths of all seeds.
fn paths(comparison: &Comparison, wells: Wells) -> String {
    let range = [-1.7, 1.7];
    let rows = comparison.variants.len().div_ceil(COLUMNS);
    let columns = comparison.variants.len().min(COLUMNS);
    let (width, height) = (54.0 + (MAP + 48.0) * columns as f64, 84.0 + (MAP + 80.0) * rows as f64);
    let mut svg = Svg::new(width, height);
    let title = format!("{}: paths of {} seeds over the surface", comparison.name, comparison.seeds.len());
    svg.text([46.0, 28.0], &title, 17.0, Anchor::Start, INK);
    let levels: Vec<_> = LEVELS.iter().map(|&level| contours(|p| wells.height(&p), level, range, range, 120)).collect();
    for (i, variant) in comparison.variants.iter().enumerate() {
        let corner = [46.0 + (MAP + 48.0) * (i % COLUMNS) as f64, 74.0 + (MAP + 80.0) * (i / COLUMNS) as f64];
        let frame = Frame { x: corner[0], y: corner[1], width: MAP, height: MAP };
        let x = Axis::linear(range, [frame.x, frame.right()]);
        let y = Axis::linear(range, [frame.bottom(), frame.y]);
        let place = |point: &[f64; 2]| Some([x.at(point[0])?, y.at(point[1])?]);
        let mut head = variant.name.clone();
        if let Some(basins) = &variant.basins {
            head.push_str(&format!(": {} of {} left", basins.left.hits, basins.runs));
        }
        svg.text([frame.x, frame.y - 10.0], &head, 14.0, Anchor::Start, INK);
        svg.within(frame, |svg| {
            for piece in levels.iter().flatten() {
                let piece: Vec<[f64; 2]> = piece.iter().filter_map(place).collect();
                svg.line(&piece, "#B8B8B8", 0.8, "", 1.0);
            }
            draw_runs(svg, variant, i, place);
        });
        marks(&mut svg, frame, &x, &y);
        svg.outline(frame, INK);
    }
    let barrier = significant(wells.barrier());
    let note =
        format!("dots: where a run ended; square: where all began; the pass out of that valley is {barrier} high");
    svg.text([46.0, height - 14.0], &note, 12.0, Anchor::Start, PALE);
    svg.finish()
}

fn draw_runs(svg: &mut Svg, variant: &Variant, index: usize, place: impl Fn(&[f64; 2]) -> Option<[f64; 2]>) {
    let colour = stroke_of(index).0;
    for run in &variant.runs {
        let stride = run.path.len().div_ceil(POINTS).max(1);
        let points: Vec<[f64; 2]> = run.path.iter().step_by(stride).filter_map(&place).collect();
        svg.line(&points, colour, 0.7, "", 0.35);
    }
    for run in &variant.runs {
        if let Some(end) = run.path.last().and_then(&place) {
            svg.dot(end, 4.5, colour);
        }
    }
    if let Some([x, y]) = variant.runs.first().and_then(|run| run.path.first()).and_then(place) {
        svg.area(&[[x - 4.0, y - 4.0], [x + 4.0, y - 4.0], [x + 4.0, y + 4.0], [x - 4.0, y + 4.0]], "#000000", 1.0);
    }
}

fn marks(svg: &mut Svg, frame: Frame, x: &Axis, y: &Axis) {
    for (value, label) in x.ticks() {
        let Some(at) = x.at(value) else { continue };
        svg.text([at, frame.bottom() + 17.0], &label, 12.0, Anchor::Middle, INK);
    }
    svg.text([frame.x + MAP / 2.0, frame.bottom() + 35.0], "first parameter", 12.0, Anchor::Middle, PALE);
    svg.text_upwards([frame.x - 24.0, frame.y + MAP / 2.0], "second parameter", 12.0, Anchor::Middle, PALE);
    for (value, label) in y.ticks() {
        let Some(at) = y.at(value) else { continue };
        svg.text([frame.x - 7.0, at + 4.0], &label, 12.0, Anchor::End, INK);
    }
}

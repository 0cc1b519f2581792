//! Charts of lines: panels side by side that share their vertical axis and a legend.

use super::svg::{Anchor, Frame, Svg};
use super::{Axis, GRID, INK, stroke_of};

/// A line with a range around it.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Which colour it has.
    pub index: usize,
    /// x, and the median, least and greatest y.
    pub points: Vec<[f64; 4]>,
    /// Whether it is what theory says: thin and dashed.
    pub is_theory: bool,
}

/// A part of a chart with a horizontal axis of its own.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What the horizontal axis shows.
    pub label: String,
    /// What is drawn.
    pub series: Vec<Series>,
}

/// A whole picture.
#[derive(Clone, Debug)]
pub struct Chart {
    /// The line on top.
    pub title: String,
    /// What the vertical axis shows.
    pub label: String,
    /// The names of the series, by their index.
    pub names: Vec<String>,
    /// Side by side.
    pub panels: Vec<Panel>,
    /// A line of small text below.
    pub note: String,
}

/// Height of a panel, and widths of one of several and of a single one.
const HEIGHT: f64 = 300.0;
const WIDTHS: [f64; 2] = [330.0, 620.0];
const LEFT: f64 = 74.0;
const GAP: f64 = 26.0;

impl Chart {
    /// Draws it. All axes are logarithmic; values that are not above 0 have no place.
    pub fn draw(&self) -> String {
        let count = self.panels.len() as f64;
        let panel_width = WIDTHS[usize::from(self.panels.len() == 1)];
        let width = LEFT + count * panel_width + (count - 1.0) * GAP + 24.0;
        let rows = legend_rows(&self.names, width - LEFT - 24.0);
        let top = 44.0 + 20.0 * rows.len() as f64 + 12.0;
        let note_room = if self.note.is_empty() { 0.0 } else { 24.0 };
        let height = top + HEIGHT + 52.0 + note_room;
        let mut svg = Svg::new(width, height);
        svg.text([LEFT, 28.0], &self.title, 17.0, Anchor::Start, INK);
        legend(&mut svg, [LEFT, 52.0], &self.names, width - LEFT - 24.0);
        let all = self.panels.iter().flat_map(|panel| &panel.series).flat_map(|series| &series.points);
        let y = Axis::log(all.flat_map(|point| [point[1], point[2], point[3]]), [top + HEIGHT, top]);
        for (i, panel) in self.panels.iter().enumerate() {
            let frame = Frame { x: LEFT + i as f64 * (panel_width + GAP), y: top, width: panel_width, height: HEIGHT };
            panel.draw(&mut svg, frame, y.as_ref(), i == 0);
        }
        svg.text_upwards([20.0, top + HEIGHT / 2.0], &self.label, 14.0, Anchor::Middle, INK);
        if !self.note.is_empty() {
            svg.text([LEFT, height - 12.0], &self.note, 12.0, Anchor::Start, super::PALE);
        }
        svg.finish()
    }
}

impl Panel {
    fn draw(&self, svg: &mut Svg, frame: Frame, y: Option<&Axis>, has_labels: bool) {
        let all = self.series.iter().flat_map(|series| &series.points);
        let x = Axis::log(all.map(|point| point[0]), [frame.x, frame.right()]);
        let middle = frame.x + frame.width / 2.0;
        svg.text([middle, frame.bottom() + 42.0], &self.label, 14.0, Anchor::Middle, INK);
        let (Some(x), Some(y)) = (x, y) else {
            svg.outline(frame, INK);
            return;
        };
        for (value, label) in x.ticks() {
            let Some(at) = x.at(value) else { continue };
            svg.line(&[[at, frame.y], [at, frame.bottom()]], GRID, 1.0, "", 1.0);
            svg.text([at, frame.bottom() + 19.0], &label, 12.0, Anchor::Middle, INK);
        }
        for (value, label) in y.ticks() {
            let Some(at) = y.at(value) else { continue };
            svg.line(&[[frame.x, at], [frame.right(), at]], GRID, 1.0, "", 1.0);
            if has_labels {
                svg.text([frame.x - 8.0, at + 4.0], &label, 12.0, Anchor::End, INK);
            }
        }
        svg.within(frame, |svg| {
            self.series.iter().for_each(|series| series.draw_range(svg, &x, y));
            let (theory, found): (Vec<&Series>, Vec<&Series>) = self.series.iter().partition(|series| series.is_theory);
            found.into_iter().chain(theory).for_each(|series| series.draw_line(svg, &x, y));
        });
        svg.outline(frame, INK);
    }
}

impl Series {
    fn draw_range(&self, svg: &mut Svg, x: &Axis, y: &Axis) {
        if self.points.iter().all(|point| point[2] == point[3]) {
            return;
        }
        let edge = |k: usize| self.points.iter().filter_map(move |point| Some([x.at(point[0])?, y.at(point[k])?]));
        let mut upper: Vec<[f64; 2]> = edge(3).collect();
        let mut lower: Vec<[f64; 2]> = edge(2).collect();
        lower.reverse();
        upper.extend(lower);
        svg.area(&upper, stroke_of(self.index).0, 0.15);
    }

    fn draw_line(&self, svg: &mut Svg, x: &Axis, y: &Axis) {
        let mut points: Vec<[f64; 2]> = Vec::new();
        for point in &self.points {
            let (Some(at_x), Some(at_y)) = (x.at(point[0]), y.at(point[1])) else { continue };
            // Closer than this nothing more can be seen.
            if points.last().is_none_or(|last| (at_x - last[0]).abs() > 0.5 || (at_y - last[1]).abs() > 20.0) {
                points.push([at_x, at_y]);
            }
        }
        let (colour, dash) = stroke_of(self.index);
        if self.is_theory {
            svg.line(&points, "#FFFFFF", 3.5, "", 0.9);
            svg.line(&points, INK, 1.5, "5 3", 1.0);
        } else {
            svg.line(&points, colour, 2.0, dash, 1.0);
            if let Some(&end) = points.last() {
                svg.dot(end, 3.5, colour);
            }
        }
    }
}

/// How wide a text of 13 pixels about is.
fn text_width(text: &str) -> f64 {
    7.0 * text.chars().count() as f64
}

/// The entries of each line of a legend that may be so wide.
fn legend_rows(names: &[String], room: f64) -> Vec<Vec<usize>> {
    let mut rows: Vec<Vec<usize>> = vec![Vec::new()];
    let mut used = 0.0;
    for (i, name) in names.iter().enumerate() {
        let width = text_width(name) + 58.0;
        if used > 0.0 && used + width > room {
            rows.push(Vec::new());
            used = 0.0;
        }
        used += width;
        rows.last_mut().expect("there is a row always").push(i);
    }
    rows
}

/// A legend of lines.
pub fn legend(svg: &mut Svg, at: [f64; 2], names: &[String], room: f64) {
    for (row, entries) in legend_rows(names, room).iter().enumerate() {
        let (mut x, y) = (at[0], at[1] + 20.0 * row as f64);
        for &i in entries {
            let (colour, dash) = stroke_of(i);
            svg.line(&[[x, y - 4.0], [x + 26.0, y - 4.0]], colour, 2.5, dash, 1.0);
            svg.text([x + 33.0, y], &names[i], 13.0, Anchor::Start, INK);
            x += text_width(&names[i]) + 58.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: Vec<[f64; 4]>) -> String {
        let series = vec![Series { points, ..Series::default() }];
        let panels = vec![Panel { label: "steps".into(), series }];
        Chart { title: "a & b".into(), label: "loss".into(), names: vec!["one".into()], panels, note: String::new() }
            .draw()
    }

    #[test]
    fn a_chart_has_its_line_axes_and_names() {
        let svg = chart(vec![[1.0, 2.0, 2.0, 2.0], [10.0, 1.0, 1.0, 1.0], [100.0, 0.5, 0.5, 0.5]]);
        for part in ["a &amp; b", ">loss<", ">steps<", ">one<", ">10<", "<circle"] {
            assert!(svg.contains(part), "no {part} in\n{svg}");
        }
        assert!(!svg.contains("<polygon"), "one seed has no range");
        assert!(chart(vec![[1.0, 2.0, 1.0, 3.0], [10.0, 1.0, 0.5, 2.0]]).contains("<polygon"));
    }

    #[test]
    fn what_has_no_place_is_left_out() {
        for points in [vec![], vec![[0.0, 1.0, 1.0, 1.0]], vec![[1.0, f64::NAN, f64::NAN, f64::NAN]]] {
            let svg = chart(points);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn long_legends_take_several_lines() {
        let names: Vec<String> = (0..6).map(|i| format!("batch {i}, optimizer adam")).collect();
        let rows = legend_rows(&names, 700.0);
        assert_eq!(rows, [vec![0, 1, 2], vec![3, 4, 5]]);
    }
}

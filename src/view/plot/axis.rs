//! From values to pixels, and the marks on the way.

/// An axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    /// Whether equal ratios are equal lengths.
    is_log: bool,
    /// The range of values.
    range: [f64; 2],
    /// The pixels of both ends.
    pixels: [f64; 2],
}

impl Axis {
    /// A logarithmic axis over all values above 0, with some room; none if there is no such value.
    pub fn log(values: impl IntoIterator<Item = f64>, pixels: [f64; 2]) -> Option<Self> {
        let values = values.into_iter().filter(|x| x.is_finite() && *x > 0.0);
        let (low, high) = bounds(values)?;
        let room = (high / low).powf(0.04).max(1.02);
        Some(Self { is_log: true, range: [low / room, high * room], pixels })
    }

    /// A linear axis over exactly this range.
    pub fn linear(range: [f64; 2], pixels: [f64; 2]) -> Self {
        Self { is_log: false, range, pixels }
    }

    /// Where a value lies; none if it has no place on the axis.
    pub fn at(&self, x: f64) -> Option<f64> {
        let scale = |x: f64| if self.is_log { x.ln() } else { x };
        let [low, high] = self.range.map(scale);
        let place = self.pixels[0] + (self.pixels[1] - self.pixels[0]) * (scale(x) - low) / (high - low);
        place.is_finite().then_some(place)
    }

    /// Values to be marked, with their labels; the label is empty where only a line is wanted.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        let [low, high] = self.range;
        if !self.is_log {
            let step = nice((high - low) / 4.0);
            let first = (low / step).ceil() as i64;
            let marks = (first..).map(|k| k as f64 * step).take_while(|&x| x <= high);
            return marks.map(|x| (x, label(x))).collect();
        }
        let decades = high.log10() - low.log10();
        let [from, to] = [low.log10().floor() as i32, high.log10().ceil() as i32];
        // Few decades need marks between, many can do without some.
        let stride = (decades / 5.0).ceil().max(1.0) as i32;
        let between: &[f64] = match decades {
            d if d < 0.8 => &[1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0],
            d if d < 2.0 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let all = (from..=to).filter(|k| k.rem_euclid(stride) == 0);
        let all = all.flat_map(|k| between.iter().map(move |m| m * 10f64.powi(k)));
        all.filter(|x| (low..=high).contains(x)).map(|x| (x, label(x))).collect()
    }
}

fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |all: Option<(f64, f64)>, x| Some(all.map_or((x, x), |(low, high)| (low.min(x), high.max(x)))))
}

/// 1, 2 or 5 times a power of ten, at least `step`.
fn nice(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0].iter().map(|m| m * power).find(|x| *x >= step * (1.0 - 1e-9)).unwrap_or(step)
}

/// A short text for a round number: `0.001`, `20`, `5k`, `1M`, `1e-7`.
fn label(x: f64) -> String {
    let short = |x: f64| {
        let text = format!("{x:.4}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match x.abs() {
        0.0 => "0".into(),
        a if a >= 1e9 => format!("{x:.0e}"),
        a if a >= 1e6 => format!("{}M", short(x / 1e6)),
        a if a >= 1e4 => format!("{}k", short(x / 1e3)),
        a if a >= 0.000_999 => short(x),
        _ => format!("{x:.1e}").replace(".0e", "e"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithmic_places_are_equal_for_equal_ratios() {
        let axis = Axis { is_log: true, range: [0.01, 100.0], pixels: [0.0, 400.0] };
        assert!((axis.at(1.0).unwrap() - 200.0).abs() < 1e-9 && (axis.at(10.0).unwrap() - 300.0).abs() < 1e-9);
        assert_eq!((axis.at(0.0), axis.at(f64::NAN)), (None, None));
        let labels: Vec<String> = axis.ticks().into_iter().map(|tick| tick.1).collect();
        assert_eq!(labels, ["0.01", "0.1", "1", "10", "100"]);
        assert_eq!(Axis::log([0.0, f64::NAN], [0.0, 1.0]), None);
    }

    #[test]
    fn marks_are_neither_few_nor_many() {
        for (low, high) in [(0.3, 2.3), (1e-12, 1.0), (1.0, 1.2), (1.0, 38_790.0), (0.9, 0.91), (2.0, 2.0)] {
            let axis = Axis::log([low, high], [0.0, 1.0]).unwrap();
            assert!((1..=9).contains(&axis.ticks().len()) || high / low < 1.1, "{low} {high}: {:?}", axis.ticks());
        }
        let linear: Vec<String> =
            Axis::linear([-1.5, 1.5], [0.0, 1.0]).ticks().into_iter().map(|tick| tick.1).collect();
        assert_eq!(linear, ["-1", "0", "1"]);
    }

    #[test]
    fn labels_are_short() {
        let labels = [0.001, 20.0, 5000.0, 50_000.0, 1e6, 1e-7].map(label);
        assert_eq!(labels, ["0.001", "20", "5000", "50k", "1M", "1e-7"]);
    }
}

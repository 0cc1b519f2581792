//! SVG as text.

use std::fmt::Write as _;

/// A picture that is being drawn. Lengths are pixels, y goes down.
#[derive(Clone, Debug)]
pub struct Svg {
    size: [f64; 2],
    body: String,
    clips: usize,
}

/// A rectangle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    /// The left edge.
    pub x: f64,
    /// The upper edge.
    pub y: f64,
    /// From left to right.
    pub width: f64,
    /// From top to bottom.
    pub height: f64,
}

/// Which point of a text is put at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// Its start.
    Start,
    /// Its middle.
    Middle,
    /// Its end.
    End,
}

impl Svg {
    /// An empty picture.
    pub fn new(width: f64, height: f64) -> Self {
        Self { size: [width, height], body: String::new(), clips: 0 }
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.body.write_fmt(text);
        self.body.push('\n');
    }

    /// A line through points. `dash` is empty for a whole line.
    pub fn line(&mut self, points: &[[f64; 2]], colour: &str, width: f64, dash: &str, opacity: f64) {
        if points.len() < 2 {
            return;
        }
        let dash = if dash.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dash}\"") };
        let opacity = if opacity < 1.0 { format!(" stroke-opacity=\"{opacity}\"") } else { String::new() };
        let points = joined(points);
        self.push(format_args!(
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" stroke-linejoin=\"round\"{dash}{opacity} points=\"{points}\"/>"
        ));
    }

    /// A filled area.
    pub fn area(&mut self, points: &[[f64; 2]], colour: &str, opacity: f64) {
        let points = joined(points);
        self.push(format_args!(
            "<polygon fill=\"{colour}\" fill-opacity=\"{opacity}\" stroke=\"none\" points=\"{points}\"/>"
        ));
    }

    /// A dot with a white rim.
    pub fn dot(&mut self, at: [f64; 2], radius: f64, colour: &str) {
        let [x, y] = at;
        self.push(format_args!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\" stroke=\"#FFFFFF\" stroke-width=\"1\"/>"
        ));
    }

    /// The outline of a rectangle.
    pub fn outline(&mut self, frame: Frame, colour: &str) {
        let Frame { x, y, width, height } = frame;
        self.push(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"none\" stroke=\"{colour}\"/>"
        ));
    }

    /// Text.
    pub fn text(&mut self, at: [f64; 2], text: &str, size: f64, anchor: Anchor, colour: &str) {
        self.write(at, text, size, anchor, colour, "");
    }

    /// Text that runs upwards.
    pub fn text_upwards(&mut self, at: [f64; 2], text: &str, size: f64, anchor: Anchor, colour: &str) {
        let turn = format!(" transform=\"rotate(-90 {:.1} {:.1})\"", at[0], at[1]);
        self.write(at, text, size, anchor, colour, &turn);
    }

    fn write(&mut self, [x, y]: [f64; 2], text: &str, size: f64, anchor: Anchor, colour: &str, more: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        self.push(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" text-anchor=\"{anchor}\" fill=\"{colour}\"{more}>{text}</text>"
        ));
    }

    /// Draws so that nothing leaves the frame.
    pub fn within(&mut self, frame: Frame, draw: impl FnOnce(&mut Self)) {
        let Frame { x, y, width, height } = frame;
        let clip = self.clips;
        self.clips += 1;
        self.push(format_args!(
            "<clipPath id=\"c{clip}\"><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/></clipPath>"
        ));
        self.push(format_args!("<g clip-path=\"url(#c{clip})\">"));
        draw(self);
        self.push(format_args!("</g>"));
    }

    /// The file.
    pub fn finish(self) -> String {
        let [width, height] = self.size;
        let fonts = "Ubuntu, 'Helvetica Neue', Helvetica, Arial, sans-serif";
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"{fonts}\">\n<rect width=\"100%\" height=\"100%\" fill=\"#FFFFFF\"/>\n{}</svg>\n",
            self.body
        )
    }
}

impl Frame {
    /// The right edge.
    pub fn right(&self) -> f64 {
        self.x + self.width
    }

    /// The lower edge.
    pub fn bottom(&self) -> f64 {
        self.y + self.height
    }
}

fn joined(points: &[[f64; 2]]) -> String {
    points.iter().map(|[x, y]| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ")
}

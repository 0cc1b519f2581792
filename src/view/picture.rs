//! Pictures of inputs beside the gradients of their losses.

use crate::base::{Error, Result};
use crate::run::InputGradients;

/// A side of a picture is scaled up to about this many pixels: an 8 × 8 digit is seen.
const SIDE: usize = 128;

/// Pixels between panels.
const GAP: usize = 8;

/// The longest side of a grid: what viewers and browsers still open.
const GRID_MAX: usize = 16_384;

const BACKGROUND: [u8; 3] = [64, 64, 64];

/// The ends of the diverging colours (ColorBrewer's RdBu), which meet in white.
const NEGATIVE: [f64; 3] = [33.0, 102.0, 172.0];
const POSITIVE: [f64; 3] = [178.0, 24.0, 43.0];

/// What is not a number.
const NO_NUMBER: [u8; 3] = [255, 220, 0];

/// Pixels, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels of a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Red, green and blue of each.
    pub pixels: Vec<[u8; 3]>,
}

/// How the numbers of an example make a picture: where a channel of a pixel lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Form {
    height: usize,
    width: usize,
    channels: usize,
    channels_first: bool,
}

impl Form {
    fn of(shape: &[usize]) -> Option<Self> {
        let (height, width, channels, channels_first) = match *shape {
            [h, w] => (h, w, 1, false),
            [h, w, c @ (1 | 3)] => (h, w, c, false),
            [c @ (1 | 3), h, w] => (h, w, c, true),
            _ => return None,
        };
        (height > 1 && width > 1).then_some(Self { height, width, channels, channels_first })
    }

    fn at(&self, y: usize, x: usize, channel: usize) -> usize {
        let pixel = y * self.width + x;
        if self.channels_first { channel * self.height * self.width + pixel } else { pixel * self.channels + channel }
    }

    /// How many pixels stand for one.
    fn scale(&self) -> usize {
        SIDE.div_ceil(self.height.max(self.width))
    }
}

/// Whether examples of this shape are pictures: `[height, width]`, or with 1 or 3 channels in front or behind.
pub fn is_image(shape: &[usize]) -> bool {
    Form::of(shape).is_some()
}

/// The examples with these places, each input beside its gradient, in a grid that is about as high as wide. Inputs are grey or
/// coloured, from their smallest to their largest number; gradients are white where 0, red where a larger input would raise
/// the loss and blue where it would lower it, up to the largest magnitude of the example. The gradients of three channels
/// are added: it is the derivative with respect to brightness. What is not a number is yellow.
///
/// # Errors
/// If examples are no pictures, or too many or too large for one.
pub fn grid(found: &InputGradients, places: std::ops::Range<usize>) -> Result<Picture> {
    let shape = &found.sample_shape;
    let form = Form::of(shape).ok_or_else(|| {
        Error::input("input gradient", format!("examples of shape {shape:?} are no pictures"))
            .help("give a file that ends in .npy")
    })?;
    let scale = form.scale();
    let (tile_w, tile_h) = (2 * form.width * scale + 2 * GAP, form.height * scale + GAP);
    let columns = ((places.len() * tile_h) as f64 / tile_w as f64).sqrt().ceil().max(1.0) as usize;
    let rows = places.len().div_ceil(columns);
    let (width, height) = (columns * tile_w + GAP, rows * tile_h + GAP);
    if width.max(height) > GRID_MAX {
        let message = format!("a grid of {} pictures has {width} × {height} pixels", places.len());
        return Err(Error::input("input gradient", message)
            .help(format!("choose fewer rows (up to {GRID_MAX} pixels are drawn), or a file that ends in .npy")));
    }
    let mut picture = Picture { width, height, pixels: vec![BACKGROUND; width * height] };
    let range = found.inputs.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &x| (a.min(x), b.max(x)));
    for (i, place) in places.enumerate() {
        let (input, gradient) = found.example(place);
        let summed = |y, x| (0..form.channels).map(|c| gradient[form.at(y, x, c)]).sum::<f64>();
        let pixels = (0..form.height).flat_map(|y| (0..form.width).map(move |x| (y, x)));
        let largest = pixels.map(|(y, x)| summed(y, x).abs()).fold(0.0, f64::max);
        let (left, top) = (GAP + i % columns * tile_w, GAP + i / columns * tile_h);
        picture.panel(left, top, form, |y, x| {
            let channel = |c: usize| shade(input[form.at(y, x, c.min(form.channels - 1))], range);
            [channel(0), channel(1), channel(2)]
        });
        picture.panel(left + form.width * scale + GAP / 2, top, form, |y, x| diverging(summed(y, x), largest));
    }
    Ok(picture)
}

/// A number between the ends of a range as a shade.
fn shade(x: f64, (low, high): (f64, f64)) -> u8 {
    if high > low { (255.0 * (x - low) / (high - low)).round() as u8 } else { 0 }
}

/// A number as a colour between those of −largest and largest.
fn diverging(x: f64, largest: f64) -> [u8; 3] {
    if !x.is_finite() {
        return NO_NUMBER;
    }
    let t = if largest > 0.0 { (x / largest).clamp(-1.0, 1.0) } else { 0.0 };
    let end = if t < 0.0 { NEGATIVE } else { POSITIVE };
    end.map(|end| (255.0 + (end - 255.0) * t.abs()).round() as u8)
}

impl Picture {
    fn panel(&mut self, left: usize, top: usize, form: Form, colour: impl Fn(usize, usize) -> [u8; 3]) {
        let scale = form.scale();
        for y in 0..form.height * scale {
            for x in 0..form.width * scale {
                self.pixels[(top + y) * self.width + left + x] = colour(y / scale, x / scale);
            }
        }
    }

    /// The bytes of a PNG file.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn png(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let written = encoder.write_header().and_then(|mut writer| {
            writer.write_image_data(self.pixels.as_flattened())?;
            writer.finish()
        });
        written.map_err(|error| Error::failure("png", error))?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(shape: &[usize], inputs: &[f64], gradients: &[f64]) -> InputGradients {
        let rows = 0..inputs.len() / shape.iter().product::<usize>();
        InputGradients { rows, sample_shape: shape.to_vec(), inputs: inputs.to_vec(), gradients: gradients.to_vec() }
    }

    #[test]
    fn signs_have_colours_and_pixels_their_places() {
        let picture = grid(&found(&[2, 2], &[0.0, 1.0, 2.0, 4.0], &[0.0, -2.0, 1.0, f64::NAN]), 0..1).unwrap();
        let (scale, step) = (64, 64 * 2);
        let at = |x: usize, y: usize| picture.pixels[(GAP + y * scale + 1) * picture.width + GAP + x];
        assert_eq!((at(1, 0), at(scale + 1, 0), at(scale + 1, 1)), ([0; 3], [64; 3], [255; 3]));
        let second = step + GAP / 2;
        assert_eq!((at(second + 1, 0), at(second + scale + 1, 0)), ([255; 3], NEGATIVE.map(|c| c as u8)));
        assert_eq!((at(second + 1, 1), at(second + scale + 1, 1)), ([217, 140, 149], NO_NUMBER));
        assert_eq!(at(step + 1, 0), BACKGROUND);
    }

    #[test]
    fn channels_lie_in_front_or_behind() {
        let last: Vec<f64> = (0..12).map(f64::from).collect();
        let first: Vec<f64> = (0..3).flat_map(|c| (0..4).map(move |p| f64::from(3 * p + c))).collect();
        let of = |shape: &[usize], x: &[f64]| grid(&found(shape, x, x), 0..1).unwrap();
        assert_eq!(of(&[2, 2, 3], &last), of(&[3, 2, 2], &first));
        assert_ne!(of(&[2, 2, 3], &last), of(&[2, 2, 3], &first));
        assert!(
            is_image(&[8, 8])
                && is_image(&[1, 8, 8])
                && !is_image(&[8])
                && !is_image(&[1, 64])
                && !is_image(&[2, 8, 8])
        );
    }

    #[test]
    fn a_png_gives_its_pixels_back_and_a_grid_has_an_end() {
        let many = vec![0.5; 4 * 20_000];
        let grid_of = |n: usize| grid(&found(&[2, 2], &many[..4 * n], &many[..4 * n]), 0..n);
        let picture = grid_of(6).unwrap();
        let bytes = picture.png().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width as usize, info.height as usize), (picture.width, picture.height));
        assert_eq!(pixels, picture.pixels.as_flattened());
        let Err(error) = grid_of(20_000).map(|picture| picture.width) else { panic!("too many") };
        let error = error.to_string();
        assert!(error.contains("choose fewer rows"), "{error}");
    }
}

//! One picture in a PNG file, to features in [0, 1].
//!
//! Grey or in colour, with a palette or without, interlaced or not, of 1, 2, 4, 8 or 16 bits a channel: a channel of b bits is divided
//! by 2ᵇ − 1, so that bytes become the same numbers as those of an IDX file. Alpha is dropped, and colours are taken as they
//! stand; gamma and colour profiles are not looked at.

use crate::base::{Error, Result};
use png::{BitDepth, Decoder, Reader, Transformations};
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// What every PNG file begins with.
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The most bytes that a byte of a deflate stream can stand for: 258 for two bits, in the limit.
const EXPANSION_MAX: u64 = 1032;

/// What the pictures of a set have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    /// Rows of pixels.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
    /// Whether a pixel has three numbers, red, green and blue; else it has one.
    pub colour: bool,
}

impl Format {
    /// The shape of one example: `[height, width]`, in colour `[3, height, width]`, the order of torchvision's `ToTensor`.
    pub fn shape(self) -> Vec<usize> {
        let plane = [self.height, self.width];
        if self.colour { [&[3], &plane[..]].concat() } else { plane.to_vec() }
    }

    /// The format of pictures whose features have this shape; none if it is not that of pictures.
    pub fn of_shape(shape: &[usize]) -> Option<Self> {
        match *shape {
            [height, width] | [1, height, width] => Some(Self { height, width, colour: false }),
            [3, height, width] => Some(Self { height, width, colour: true }),
            _ => None,
        }
    }

    /// How many features a picture has.
    pub fn features(self) -> usize {
        self.height * self.width * if self.colour { 3 } else { 1 }
    }

    /// Whether a picture of format `found` can be read as one of this: of the same size, and not in colour where this is grey.
    /// (Three equal channels say the same as one.)
    pub fn check(self, found: Self, path: &Path) -> Result<()> {
        let (size, expected) = ((found.height, found.width), (self.height, self.width));
        if size != expected {
            let message = format!("a picture of {found}, expected {self}: all have one size");
            return Err(
                Error::input(path.display(), message).help("scale or crop all pictures to one size before training")
            );
        }
        if found.colour && !self.colour {
            let message = format!("a picture of {found} in colour, those that the model was trained on are grey");
            return Err(Error::input(path.display(), message).help("convert it to grey"));
        }
        Ok(())
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{} pixels (width×height)", self.width, self.height)
    }
}

/// What the head of a file says.
///
/// # Errors
/// The file cannot be read, is no PNG, or its head is broken.
pub(super) fn format_of(path: &Path) -> Result<Format> {
    let reader = open(path)?;
    Ok(format(&reader))
}

/// Reads a picture of format `expected` into `features`: rows of pixels, in colour a plane for each channel.
///
/// # Errors
/// The file cannot be read, is no PNG, is broken, or does not fit ([`Format::check`]).
pub(super) fn read(path: &Path, expected: Format, features: &mut [f32]) -> Result<()> {
    let mut reader = open(path)?;
    expected.check(format(&reader), path)?;
    let (kind, depth) = reader.output_color_type();
    let mut bytes = vec![0; reader.output_buffer_size()];
    reader.next_frame(&mut bytes).map_err(|error| broken(path, error))?;
    reader.finish().map_err(|error| broken(path, error))?;
    let channels = kind.samples();
    let grey = channels < 3;
    let pixels = expected.height * expected.width;
    for (channel, plane) in features.chunks_exact_mut(pixels).enumerate() {
        let channel = if grey { 0 } else { channel };
        if depth == BitDepth::Sixteen {
            let (words, _) = bytes.as_chunks::<2>();
            let samples = words.iter().skip(channel).step_by(channels);
            plane.iter_mut().zip(samples).for_each(|(x, &word)| *x = f32::from(u16::from_be_bytes(word)) / 65_535.0);
        } else {
            let samples = bytes.iter().skip(channel).step_by(channels);
            plane.iter_mut().zip(samples).for_each(|(x, &byte)| *x = f32::from(byte) / 255.0);
        }
    }
    Ok(())
}

/// A reader behind the head of a file. Palettes and fewer bits than 8 are expanded to bytes, which is exact: 255 is a multiple
/// of 1, 3 and 15.
fn open(path: &Path) -> Result<Reader<BufReader<File>>> {
    let unreadable = |error: std::io::Error| Error::input(path.display(), error);
    let file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    let mut file = BufReader::new(file);
    if !file.fill_buf().map_err(unreadable)?.starts_with(SIGNATURE) {
        return Err(Error::input(path.display(), "the file is no PNG: it does not begin with the signature of one")
            .help("convert it to PNG, or take it out of the folder; hidden files, whose names begin with a dot, are left out"));
    }
    let mut decoder = Decoder::new(file);
    decoder.set_transformations(Transformations::EXPAND);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let reader = decoder.read_info().map_err(|error| broken(path, error))?;
    let info = reader.info();
    let row = (u64::from(info.width) * info.bits_per_pixel() as u64).div_ceil(8);
    // What is asked for is allocated before it is decoded.
    if row * u64::from(info.height) > length * EXPANSION_MAX {
        let (width, height) = info.size();
        return Err(broken(path, format!("{length} bytes cannot hold {width}×{height} pixels")));
    }
    Ok(reader)
}

fn format(reader: &Reader<BufReader<File>>) -> Format {
    let (width, height) = reader.info().size();
    let (kind, _) = reader.output_color_type();
    Format { height: height as usize, width: width as usize, colour: kind.samples() >= 3 }
}

fn broken(path: &Path, error: impl fmt::Display) -> Error {
    Error::input(path.display(), format!("a broken PNG: {error}"))
        .help("fetch or write the file again, or leave it out")
}

#[cfg(test)]
mod tests {
    use super::*;
    use png::{ColorType, Encoder};

    /// Writes a PNG file of `rows` × `width` pixels; a palette is red, green, blue.
    fn write(path: &Path, (width, height): (u32, u32), kind: ColorType, depth: BitDepth, data: &[u8]) {
        let mut encoder = Encoder::new(File::create(path).unwrap(), width, height);
        encoder.set_color(kind);
        encoder.set_depth(depth);
        if kind == ColorType::Indexed {
            encoder.set_palette(vec![255, 0, 0, 0, 255, 0, 0, 0, 51]);
        }
        encoder.write_header().unwrap().write_image_data(data).unwrap();
    }

    fn features(path: &Path, colour: bool) -> Vec<f32> {
        let format = Format { colour, ..format_of(path).unwrap() };
        let mut x = vec![-1.0; format.features()];
        read(path, format, &mut x).unwrap();
        x
    }

    #[test]
    fn every_depth_and_kind_becomes_numbers_from_0_to_1() {
        use BitDepth::{Eight, Four, One, Sixteen, Two};
        use ColorType::{Grayscale, GrayscaleAlpha, Indexed, Rgb, Rgba};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let check = |size, kind, depth, data: &[u8], colour: bool, expected: &[f32]| {
            write(&path, size, kind, depth, data);
            assert_eq!(format_of(&path).unwrap().colour, colour, "{kind:?} {depth:?}");
            assert_eq!(features(&path, colour), expected, "{kind:?} {depth:?}");
        };
        check((3, 1), Grayscale, One, &[0b1010_0000], false, &[1.0, 0.0, 1.0]);
        check((3, 1), Grayscale, Two, &[0b0001_1100], false, &[0.0, 1.0 / 3.0, 1.0]);
        check((3, 1), Grayscale, Four, &[0x07, 0xf0], false, &[0.0, 7.0 / 15.0, 1.0]);
        check((1, 3), Grayscale, Eight, &[0, 7, 255], false, &[0.0, 7.0 / 255.0, 1.0]);
        check((2, 1), Grayscale, Sixteen, &[0x01, 0x02, 0xff, 0xff], false, &[258.0 / 65_535.0, 1.0]);
        check((2, 1), GrayscaleAlpha, Eight, &[51, 0, 102, 255], false, &[0.2, 0.4]);
        let planes = [1.0, 0.2, 0.0, 0.4, 0.6, 0.0];
        check((2, 1), Rgb, Eight, &[255, 0, 153, 51, 102, 0], true, &planes);
        check((2, 1), Rgba, Eight, &[255, 0, 153, 0, 51, 102, 0, 9], true, &planes);
        let wide = [255u16, 0, 153, 51, 102, 0].map(|v| (v * 257).to_be_bytes()).concat();
        check((2, 1), Rgb, Sixteen, &wide, true, &planes);
        check((3, 1), Indexed, Two, &[0b1000_0100], true, &[0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.2, 0.0, 0.0]);
    }

    #[test]
    fn grey_becomes_three_equal_channels_and_colour_never_grey() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        write(&path, (2, 1), ColorType::GrayscaleAlpha, BitDepth::Eight, &[51, 0, 102, 255]);
        assert_eq!(features(&path, true), [0.2, 0.4, 0.2, 0.4, 0.2, 0.4]);
        write(&path, (2, 1), ColorType::Rgb, BitDepth::Eight, &[0; 6]);
        let grey = Format { height: 1, width: 2, colour: false };
        let error = read(&path, grey, &mut [0.0; 2]).unwrap_err().to_string();
        assert!(error.contains("a.png: a picture of 2×1 pixels (width×height) in colour"), "{error}");
    }

    #[test]
    fn broken_files_are_refused_wherever_they_are_cut_or_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let pixels: Vec<u8> = (0..64u8).map(|i| i.wrapping_mul(37)).collect();
        write(&path, (8, 8), ColorType::Grayscale, BitDepth::Eight, &pixels);
        let format = format_of(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let outcome = || read(&path, format, &mut [0.0; 64]);
        outcome().unwrap();
        // The last twelve bytes are the chunk that says that the file is whole.
        for cut in 0..whole.len() - 4 {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let error = outcome().unwrap_err().to_string();
            let expected = if cut < SIGNATURE.len() { "the file is no PNG" } else { "a broken PNG" };
            assert!(error.contains("a.png: ") && error.contains(expected), "{cut} bytes: {error}");
        }
        for at in 0..whole.len() - 12 {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            std::fs::write(&path, &changed).unwrap();
            assert!(outcome().is_err(), "byte {at}");
        }
        let mut huge = whole;
        huge[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
        let head = crc(&huge[12..29]).to_be_bytes();
        huge[29..33].copy_from_slice(&head);
        std::fs::write(&path, &huge).unwrap();
        let error = format_of(&path).unwrap_err().to_string();
        assert!(error.contains("bytes cannot hold 65535×65535 pixels"), "{error}");
    }

    /// The checksum of a chunk: CRC-32 of its name and data (ISO 3309).
    fn crc(bytes: &[u8]) -> u32 {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum()
    }
}

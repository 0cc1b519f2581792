//! Numbers as JSON text: a chosen count of significant digits, compact, and always a float to the reader.

use std::fmt::Write;

/// Significant digits of a value in `steps.jsonl`: finer than any plot, and half the bytes of an exact f64.
pub const DIGITS: usize = 6;
/// Significant digits of a value in `flight.jsonl`: enough to give an f32 back exactly.
pub const DIGITS_EXACT_F32: usize = 9;
/// The longest number of [`DIGITS`] digits: `-1.23456e-308`.
pub const MAX_LEN: usize = DIGITS + 7;

/// Exponents that are written without one: 0.00123456 to 123456.0.
const PLAIN: std::ops::RangeInclusive<i32> = -3..=5;

/// Appends `x` with at most `digits` significant digits (1 to 17), rounded to nearest; a non-finite number as `null`.
///
/// There is always a point or an exponent, since readers that infer types from the first rows would take a column that
/// begins with `1` for integers and refuse `0.5` later.
pub fn write(out: &mut Vec<u8>, x: f64, digits: usize) {
    if !x.is_finite() {
        out.extend_from_slice(b"null");
        return;
    }
    if x == 0.0 {
        out.extend_from_slice(b"0.0");
        return;
    }
    if x < 0.0 {
        out.push(b'-');
    }
    let mut text = Scratch::default();
    // The scratch holds any f64 with 17 digits, so this cannot fail.
    let _ = write!(text, "{:.*e}", digits.clamp(1, 17) - 1, x.abs());
    let (digits, count, exponent) = text.parts();
    let significant = digits[..count].iter().rposition(|&d| d != b'0').map_or(1, |last| last + 1);
    place_point(out, &digits[..significant], exponent);
}

/// Appends an integer.
pub fn write_integer(out: &mut Vec<u8>, n: u64) {
    let mut text = Scratch::default();
    let _ = write!(text, "{n}");
    out.extend_from_slice(&text.bytes[..text.len]);
}

/// Writes d.ddd·10ᵉ in the plain or the exponential form.
fn place_point(out: &mut Vec<u8>, digits: &[u8], exponent: i32) {
    if !PLAIN.contains(&exponent) {
        out.push(digits[0]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.push(b'e');
        if exponent < 0 {
            out.push(b'-');
        }
        write_integer(out, u64::from(exponent.unsigned_abs()));
    } else if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.extend((1..-exponent).map(|_| b'0'));
        out.extend_from_slice(digits);
    } else {
        let whole = exponent as usize + 1;
        out.extend_from_slice(&digits[..whole.min(digits.len())]);
        out.extend((digits.len()..whole).map(|_| b'0'));
        out.push(b'.');
        out.extend_from_slice(if digits.len() > whole { &digits[whole..] } else { b"0" });
    }
}

/// A line of text on the stack, so that writing a number makes no heap allocation.
#[derive(Default)]
struct Scratch {
    bytes: [u8; 32],
    len: usize,
}

impl Scratch {
    /// The digits of `d.ddde±x` without the point, how many, and the exponent.
    fn parts(&self) -> ([u8; 32], usize, i32) {
        let text = &self.bytes[..self.len];
        let e = text.iter().position(|&b| b == b'e').unwrap_or(text.len());
        let (mut digits, mut count) = ([b'0'; 32], 0);
        for &b in text[..e].iter().filter(|&&b| b != b'.') {
            digits[count] = b;
            count += 1;
        }
        let tail = text.get(e + 1..).unwrap_or_default();
        let magnitude =
            tail.iter().filter(|b| b.is_ascii_digit()).fold(0, |value, &b| value * 10 + i32::from(b - b'0'));
        (digits, count, if tail.first() == Some(&b'-') { -magnitude } else { magnitude })
    }
}

impl Write for Scratch {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        let end = self.len + s.len();
        self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?.copy_from_slice(s.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Stream, StreamId};

    fn text(x: f64, digits: usize) -> String {
        let mut out = Vec::new();
        write(&mut out, x, digits);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_short_and_always_floats() {
        for (x, expected) in [
            (0.0, "0.0"),
            (-0.0, "0.0"),
            (1.0, "1.0"),
            (-2.5, "-2.5"),
            (10.0, "10.0"),
            (123456.0, "123456.0"),
            (1234567.0, "1.23457e6"),
            (1e5, "100000.0"),
            (1e6, "1e6"),
            (999999.5, "1e6"),
            (0.1, "0.1"),
            (1.0 / 3.0, "0.333333"),
            (0.001, "0.001"),
            (0.0001, "1e-4"),
            (4.0e-20, "4e-20"),
            (-1.234565e-308, "-1.23456e-308"),
            (f64::MAX, "1.79769e308"),
            (f64::NAN, "null"),
            (f64::INFINITY, "null"),
            (f64::NEG_INFINITY, "null"),
        ] {
            assert_eq!(text(x, DIGITS), expected, "{x:e}");
        }
    }

    #[test]
    fn what_is_read_back_is_the_number_rounded() {
        let mut stream = Stream::new(3, StreamId::Data(0));
        for _ in 0..20_000 {
            let x = stream.normal() * 10f64.powf(stream.uniform() * 600.0 - 300.0);
            let short = text(x, DIGITS);
            assert!(short.len() <= MAX_LEN, "{short}");
            let json: serde_json::Value = serde_json::from_str(&short).unwrap();
            assert!(json.is_f64() && ((json.as_f64().unwrap() - x) / x).abs() <= 0.5e-5, "{x:e} as {short}");
            let single = (stream.normal() * 10f64.powf(stream.uniform() * 60.0 - 30.0)) as f32;
            assert_eq!(text(f64::from(single), DIGITS_EXACT_F32).parse::<f32>().unwrap(), single);
            assert_eq!(text(x, 17).parse::<f64>().unwrap(), x);
        }
    }
}

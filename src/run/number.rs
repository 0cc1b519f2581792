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
    let digits = digits.clamp(1, 17);
    let (digits, count, exponent) = fast(x.abs(), digits).unwrap_or_else(|| exact(x.abs(), digits));
    let significant = digits[..count].iter().rposition(|&d| d != b'0').map_or(1, |last| last + 1);
    place_point(out, &digits[..significant], exponent);
}

/// Decimal digits, how many, and the exponent of the first.
type Decimal = ([u8; 32], usize, i32);

/// The digits by the standard library: right for every number, and several times slower than [`fast`].
fn exact(x: f64, digits: usize) -> Decimal {
    let mut text = Scratch::default();
    // The scratch holds any f64 with 17 digits, so this cannot fail.
    let _ = write!(text, "{:.*e}", digits - 1, x);
    text.parts()
}

/// The same digits by one or two multiplications with powers of ten that an f64 holds exactly. None where the roundings of
/// those could matter: far numbers, many digits, and numbers so near to the middle of two decimals that they could decide.
fn fast(x: f64, digits: usize) -> Option<Decimal> {
    if digits > DIGITS_EXACT_F32 || !(1e-35..1e22).contains(&x) {
        return None;
    }
    // log₁₀ 2 times the binary exponent, rounded down: the decimal exponent or one below.
    let mut exponent = (f64::from((x.to_bits() >> 52) as i32 - 1023) * std::f64::consts::LOG10_2).floor() as i32;
    let limit = POWERS[digits];
    let mut scaled = scale(x, digits as i32 - 1 - exponent);
    if scaled >= limit {
        exponent += 1;
        scaled = scale(x, digits as i32 - 1 - exponent);
    }
    let below = scaled.floor();
    if (scaled - below - 0.5).abs() < 1e-4 {
        return None;
    }
    let mut rounded = (if scaled - below < 0.5 { below } else { below + 1.0 }) as u32;
    if f64::from(rounded) >= limit {
        (rounded, exponent) = (rounded / 10, exponent + 1);
    }
    let mut decimal = [b'0'; 32];
    for digit in decimal[..digits].iter_mut().rev() {
        *digit = b'0' + (rounded % 10) as u8;
        rounded /= 10;
    }
    Some((decimal, digits, exponent))
}

/// Powers of ten that an f64 holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// x·10ᵖ for p of −22 to 44, rounded once, or twice above 22.
fn scale(x: f64, p: i32) -> f64 {
    match p {
        ..0 => x / POWERS[p.unsigned_abs() as usize],
        0..=22 => x * POWERS[p as usize],
        _ => x * POWERS[22] * POWERS[p as usize - 22],
    }
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
    fn parts(&self) -> Decimal {
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
    fn the_fast_digits_are_the_exact_ones() {
        let mut stream = Stream::new(4, StreamId::Data(0));
        let mut fast_ones = 0;
        let mut check = |x: f64| {
            for digits in 1..=10 {
                let found = fast(x, digits);
                fast_ones += usize::from(found.is_some());
                assert!(found.is_none_or(|found| found == exact(x, digits)), "{x:e} with {digits} digits");
            }
        };
        for p in -40..=25 {
            let power = 10f64.powi(p);
            for x in [power, power.next_down(), power.next_up(), 1.5 * power, 9.999995 * power, 1.000005 * power] {
                check(x);
            }
        }
        for _ in 0..20_000 {
            let magnitude = 10f64.powf(stream.uniform() * 62.0 - 38.0);
            check(magnitude);
            check(f64::from(stream.below(2_000_000)) / 128.0);
            check(f64::from(magnitude as f32));
        }
        assert!(fast_ones > 400_000, "{fast_ones}");
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

//! Settings with units: times, amounts of memory, stretches of training.

use super::setting::{Detail, Range, Setting, wrong_type};
use crate::base::Result;
use std::time::Duration;
use toml::Value;

/// A number and the unit right after it, and what remains of the text.
fn quantity(text: &str) -> Option<(f64, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    let rest = rest.trim_start();
    let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(letters);
    Some((number.parse().ok()?, unit, rest.trim_start()))
}

/// A length of time: seconds, or a text such as `"90s"`, `"10m"`, `"1h30m"`.
impl Setting for Duration {
    fn type_name() -> String {
        "seconds or \"1h30m\"".into()
    }
    fn parse(value: &Value, place: &str) -> Result<Self> {
        let seconds = match value {
            Value::String(text) => seconds(text),
            _ => Some(f64::parse(value, place).map_err(|_| wrong_type(place, Self::type_name(), value))?),
        };
        seconds
            .and_then(|s| Duration::try_from_secs_f64(s).ok())
            .ok_or_else(|| wrong_type(place, Self::type_name(), value))
    }
    fn to_toml(&self, _: Detail) -> Option<Value> {
        Some(match (self.subsec_nanos(), i64::try_from(self.as_secs())) {
            (0, Ok(seconds)) => Value::Integer(seconds),
            _ => Value::Float(self.as_secs_f64()),
        })
    }
    fn numbers(&self) -> Vec<f64> {
        vec![self.as_secs_f64()]
    }
}

fn seconds(text: &str) -> Option<f64> {
    let mut rest = text.trim();
    let mut sum = 0.0;
    while !rest.is_empty() {
        let (number, unit, after) = quantity(rest)?;
        sum += number
            * match unit {
                "ms" => 1e-3,
                "s" | "" => 1.0,
                "m" | "min" => 60.0,
                "h" => 3600.0,
                "d" => 86400.0,
                _ => return None,
            };
        rest = after;
    }
    (!text.trim().is_empty()).then_some(sum)
}

/// An amount of memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(
    /// How many.
    pub u64,
);

impl Setting for Bytes {
    const RANGE: Range = Range::POSITIVE;
    fn type_name() -> String {
        "bytes or \"8GB\"".into()
    }
    fn parse(value: &Value, place: &str) -> Result<Self> {
        let error = || wrong_type(place, Self::type_name(), value);
        match value {
            Value::Integer(_) => u64::parse(value, place).map(Self),
            Value::String(text) => bytes(text).map(Self).ok_or_else(error),
            _ => Err(error()),
        }
    }
    fn to_toml(&self, detail: Detail) -> Option<Value> {
        self.0.to_toml(detail)
    }
    fn numbers(&self) -> Vec<f64> {
        vec![self.0 as f64]
    }
}

fn bytes(text: &str) -> Option<u64> {
    let (number, unit, rest) = quantity(text.trim())?;
    let factor: f64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "tb" => 1e12,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let bytes = (number * factor).round();
    (rest.is_empty() && bytes < i64::MAX as f64).then_some(bytes as u64)
}

/// A stretch of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// So many optimizer steps.
    Steps(u64),
    /// So many passes over the training part.
    Epochs(u64),
}

impl Setting for Span {
    const RANGE: Range = Range::AT_LEAST_1;
    fn type_name() -> String {
        "steps or \"2 epochs\"".into()
    }
    fn parse(value: &Value, place: &str) -> Result<Self> {
        let text = match value {
            Value::Integer(_) => return u64::parse(value, place).map(Self::Steps),
            Value::String(text) => text,
            _ => return Err(wrong_type(place, Self::type_name(), value)),
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let span = match words.as_slice() {
            [number, "epoch" | "epochs"] => number.parse().ok().map(Self::Epochs),
            [number, "step" | "steps"] => number.parse().ok().map(Self::Steps),
            _ => None,
        };
        span.ok_or_else(|| wrong_type(place, Self::type_name(), value).help("write 100, \"100 steps\" or \"2 epochs\""))
    }
    fn to_toml(&self, detail: Detail) -> Option<Value> {
        match self {
            Self::Steps(steps) => steps.to_toml(detail),
            Self::Epochs(1) => Some(Value::String("1 epoch".into())),
            Self::Epochs(epochs) => Some(Value::String(format!("{epochs} epochs"))),
        }
    }
    fn numbers(&self) -> Vec<f64> {
        match self {
            Self::Steps(count) | Self::Epochs(count) => vec![*count as f64],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_sums_of_quantities() {
        for (text, expected) in [("90s", 90.0), ("10m", 600.0), ("1h30m", 5400.0), ("1.5 h", 5400.0), ("250ms", 0.25)] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        for text in ["", "m", "10 lightyears", "1h-3m", "1.2.3s"] {
            assert_eq!(seconds(text), None, "{text}");
        }
        assert!(Duration::parse(&Value::Float(-1.0), "t").is_err());
        assert!(Duration::parse(&Value::Float(1e300), "t").is_err());
    }

    #[test]
    fn memory_has_decimal_and_binary_units() {
        for (text, expected) in [("8GB", 8_000_000_000), ("512 MiB", 512 << 20), ("1.5kib", 1536), ("7", 7)] {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
        for text in ["", "GB", "8 GB more", "8 bits", "99999999TB"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    #[test]
    fn spans_are_steps_or_epochs() {
        let parse = |text: &str| Span::parse(&Value::String(text.into()), "every");
        assert_eq!(parse("2 epochs").unwrap(), Span::Epochs(2));
        assert_eq!(parse("1 step").unwrap(), Span::Steps(1));
        assert!(parse("2 weeks").is_err() && parse("epochs").is_err() && parse("-1 epochs").is_err());
        assert_eq!(parse("3 epochs").unwrap().to_toml(Detail::Full), Some(Value::String("3 epochs".into())));
    }
}

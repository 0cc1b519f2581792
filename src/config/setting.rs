//! What a value of the config is: parsed from TOML, written back, named, and bounded.

use super::keys::Keys;
use super::nearest::suggestion;
use crate::base::{Error, Result};
use std::path::PathBuf;
use toml::Value;

/// How much is written out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Every key that applies, defaults too.
    Full,
    /// Only the keys that differ from their defaults.
    Changed,
}

/// A type that a key can have.
pub trait Setting: Sized {
    /// The numbers that are possible where a key states no range of its own.
    const RANGE: Range = Range::ANY;
    /// What an error or the reference calls the type: `number`, `"mean" | "sum"`.
    fn type_name() -> String;
    /// The value, or an error that names `place`, what was expected and what was found.
    fn parse(value: &Value, place: &str) -> Result<Self>;
    /// The value as TOML; none where it is not set.
    fn to_toml(&self, detail: Detail) -> Option<Value>;
    /// The numbers in the value, which the range of a key bounds.
    fn numbers(&self) -> Vec<f64> {
        Vec::new()
    }
    /// The words that are possible, with what they mean, where the type is a choice.
    fn choices() -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }
    /// The keys of the tables that the value is made of, where it is a list of tables.
    fn keys(_keys: &mut Keys) {}
}

/// An interval of numbers, open or closed at each end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    low: f64,
    low_is_open: bool,
    high: f64,
    high_is_open: bool,
}

impl Range {
    /// All numbers.
    pub const ANY: Self = Self { low: f64::NEG_INFINITY, low_is_open: false, high: f64::INFINITY, high_is_open: false };
    /// Above zero.
    pub const POSITIVE: Self = Self { low: 0.0, low_is_open: true, ..Self::ANY };
    /// Zero or above.
    pub const NON_NEGATIVE: Self = Self { low: 0.0, ..Self::ANY };
    /// One or above.
    pub const AT_LEAST_1: Self = Self { low: 1.0, ..Self::ANY };
    /// One to 1024: threads beyond that the system may not have.
    pub const THREADS: Self = Self { low: 1.0, high: 1024.0, ..Self::ANY };
    /// Two or above.
    pub const AT_LEAST_2: Self = Self { low: 2.0, ..Self::ANY };
    /// Zero to one, both possible.
    pub const UNIT: Self = Self { low: 0.0, high: 1.0, ..Self::ANY };
    /// Above zero and below one.
    pub const INSIDE_UNIT: Self = Self { low_is_open: true, high_is_open: true, ..Self::UNIT };
    /// Zero, or below one.
    pub const BELOW_1: Self = Self { high_is_open: true, ..Self::UNIT };

    /// Whether the number lies within.
    pub fn contains(&self, x: f64) -> bool {
        let above = if self.low_is_open { x > self.low } else { x >= self.low };
        let below = if self.high_is_open { x < self.high } else { x <= self.high };
        above && below
    }
}

impl std::fmt::Display for Range {
    /// A phrase to put after the name of a type: ` > 0`, ` in [0, 1)`; nothing for all numbers.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.low.is_finite(), self.high.is_finite()) {
            (false, false) => Ok(()),
            (true, false) => write!(f, " {} {}", if self.low_is_open { ">" } else { "≥" }, self.low),
            (false, true) => write!(f, " {} {}", if self.high_is_open { "<" } else { "≤" }, self.high),
            (true, true) => {
                let (open, close) =
                    (if self.low_is_open { '(' } else { '[' }, if self.high_is_open { ')' } else { ']' });
                write!(f, " in {open}{}, {}{close}", self.low, self.high)
            }
        }
    }
}

/// The error for a value of another type than the key has.
pub(super) fn wrong_type(place: &str, expected: impl std::fmt::Display, found: &Value) -> Error {
    let found = match found {
        Value::Array(_) => "an array".into(),
        Value::Table(_) => "a table".into(),
        Value::Integer(_) => format!("the integer {found}"),
        Value::String(_) => format!("the string {found}"),
        Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => found.to_string(),
    };
    Error::input(place, format!("expected {expected}, found {found}"))
}

/// The one of `words` that the value is, or an error that suggests one.
pub(super) fn one_of(value: &Value, place: &str, words: &[&'static str]) -> Result<&'static str> {
    let expected = quoted(words);
    let word = value.as_str().ok_or_else(|| wrong_type(place, &expected, value))?;
    words.iter().copied().find(|w| *w == word).ok_or_else(|| {
        let help = suggestion(word, "possible", words.iter().copied());
        Error::input(place, format!("expected {expected}, found {value}")).help(help)
    })
}

/// A value as it is written in one line of TOML, small and large numbers with an exponent.
pub(super) fn inline(value: &Value) -> String {
    match value {
        Value::Float(x) if *x != 0.0 && !(1e-4..1e15).contains(&x.abs()) => format!("{x:e}"),
        Value::Array(entries) => format!("[{}]", entries.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Table(table) => {
            let entries: Vec<_> = table.iter().map(|(key, value)| format!("{key} = {}", inline(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        _ => value.to_string(),
    }
}

/// Words as they are written in TOML, with bars between.
pub(super) fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" | ")
}

impl Setting for bool {
    fn type_name() -> String {
        "true | false".into()
    }
    fn parse(value: &Value, place: &str) -> Result<Self> {
        value.as_bool().ok_or_else(|| wrong_type(place, Self::type_name(), value))
    }
    fn to_toml(&self, _: Detail) -> Option<Value> {
        Some(Value::Boolean(*self))
    }
}

impl Setting for f64 {
    fn type_name() -> String {
        "number".into()
    }
    fn parse(value: &Value, place: &str) -> Result<Self> {
        let number = match value {
            Value::Integer(i) => *i as f64,
            Value::Float(x) => *x,
            _ => return Err(wrong_type(place, "a number", value)),
        };
        if number.is_finite() { Ok(number) } else { Err(wrong_type(place, "a finite number", value)) }
    }
    fn to_toml(&self, _: Detail) -> Option<Value> {
        Some(Value::Float(*self))
    }
    fn numbers(&self) -> Vec<f64> {
        vec![*self]
    }
}

impl Setting for u64 {
    const RANGE: Range = Range::NON_NEGATIVE;
    fn type_name() -> String {
        "integer".into()
    }
    fn parse(value: &Value, place: &str) -> Result<Self> {
        match value {
            Value::Integer(integer) => Self::try_from(*integer).map_err(|_| wrong_type(place, "an integer ≥ 0", value)),
            Value::String(digits) => match digits.parse() {
                Ok(integer) if i64::try_from(integer).is_err() => Ok(integer),
                _ => Err(wrong_type(place, "an integer", value)),
            },
            _ => Err(wrong_type(place, "an integer", value)),
        }
    }
    /// TOML ends at 2⁶³ − 1; a larger seed is written in quotes.
    fn to_toml(&self, _: Detail) -> Option<Value> {
        Some(i64::try_from(*self).map_or_else(|_| Value::String(self.to_string()), Value::Integer))
    }
    fn numbers(&self) -> Vec<f64> {
        vec![*self as f64]
    }
}

impl Setting for usize {
    const RANGE: Range = Range::NON_NEGATIVE;
    fn type_name() -> String {
        u64::type_name()
    }
    fn parse(value: &Value, place: &str) -> Result<Self> {
        Self::try_from(u64::parse(value, place)?).map_err(|_| wrong_type(place, "a smaller integer", value))
    }
    fn to_toml(&self, detail: Detail) -> Option<Value> {
        (*self as u64).to_toml(detail)
    }
    fn numbers(&self) -> Vec<f64> {
        vec![*self as f64]
    }
}

impl Setting for String {
    fn type_name() -> String {
        "string".into()
    }
    fn parse(value: &Value, place: &str) -> Result<Self> {
        value.as_str().map(str::to_owned).ok_or_else(|| wrong_type(place, "a string", value))
    }
    fn to_toml(&self, _: Detail) -> Option<Value> {
        Some(Value::String(self.clone()))
    }
}

impl Setting for char {
    fn type_name() -> String {
        "character".into()
    }
    fn parse(value: &Value, place: &str) -> Result<Self> {
        let mut characters = value.as_str().unwrap_or_default().chars();
        match (characters.next(), characters.next()) {
            (Some(character), None) => Ok(character),
            _ => Err(wrong_type(place, "one character in quotes", value)),
        }
    }
    fn to_toml(&self, _: Detail) -> Option<Value> {
        Some(Value::String(self.to_string()))
    }
}

impl Setting for PathBuf {
    fn type_name() -> String {
        "path".into()
    }
    fn parse(value: &Value, place: &str) -> Result<Self> {
        match value.as_str() {
            Some("") => Err(Error::input(place, "expected a path, found an empty string")),
            Some(path) => Ok(path.into()),
            None => Err(wrong_type(place, "a path as a string", value)),
        }
    }
    fn to_toml(&self, _: Detail) -> Option<Value> {
        Some(Value::String(self.to_string_lossy().into_owned()))
    }
}

impl<T: Setting> Setting for Option<T> {
    const RANGE: Range = T::RANGE;
    fn type_name() -> String {
        T::type_name()
    }
    fn parse(value: &Value, place: &str) -> Result<Self> {
        T::parse(value, place).map(Some)
    }
    fn to_toml(&self, detail: Detail) -> Option<Value> {
        self.as_ref().and_then(|value| value.to_toml(detail))
    }
    fn numbers(&self) -> Vec<f64> {
        self.as_ref().map(T::numbers).unwrap_or_default()
    }
    fn choices() -> Vec<(&'static str, &'static str)> {
        T::choices()
    }
    fn keys(keys: &mut Keys) {
        T::keys(keys);
    }
}

impl<T: Setting> Setting for Vec<T> {
    const RANGE: Range = T::RANGE;
    fn type_name() -> String {
        format!("list of {}", T::type_name())
    }
    fn parse(value: &Value, place: &str) -> Result<Self> {
        let entries = value.as_array().ok_or_else(|| wrong_type(place, "a list in brackets", value))?;
        entries.iter().enumerate().map(|(i, entry)| T::parse(entry, &format!("{place}[{i}]"))).collect()
    }
    fn to_toml(&self, detail: Detail) -> Option<Value> {
        Some(Value::Array(self.iter().filter_map(|entry| entry.to_toml(detail)).collect()))
    }
    fn numbers(&self) -> Vec<f64> {
        self.iter().flat_map(T::numbers).collect()
    }
    fn keys(keys: &mut Keys) {
        T::keys(keys);
    }
}

/// A pair, such as the two decay rates of Adam.
impl Setting for [f64; 2] {
    fn type_name() -> String {
        "two numbers".into()
    }
    fn parse(value: &Value, place: &str) -> Result<Self> {
        let entries = value.as_array().ok_or_else(|| wrong_type(place, "two numbers in brackets", value))?;
        match entries.as_slice() {
            [a, b] => Ok([f64::parse(a, &format!("{place}[0]"))?, f64::parse(b, &format!("{place}[1]"))?]),
            _ => Err(Error::input(place, format!("expected two numbers, found {}", entries.len()))),
        }
    }
    fn to_toml(&self, _: Detail) -> Option<Value> {
        Some(Value::Array(self.iter().map(|&x| Value::Float(x)).collect()))
    }
    fn numbers(&self) -> Vec<f64> {
        self.to_vec()
    }
}

//! Numbers as people read them: three significant digits, counts with separators, units.

use std::time::Duration;

/// Three significant digits: `0.0123`, `1.23`, `123`, `1.23e-7`.
pub fn significant(x: f64) -> String {
    if x.is_nan() {
        return "NaN".into();
    }
    if x.is_infinite() {
        return if x > 0.0 { "∞".into() } else { "-∞".into() };
    }
    if x == 0.0 {
        return "0".into();
    }
    // The exponent after rounding: 999.7 is written 1000, and counts as such.
    let scientific = format!("{x:.2e}");
    let (mantissa, exponent) = scientific.split_once('e').expect("the exponent is always written");
    let exponent: i32 = exponent.parse().expect("the exponent is an integer");
    match exponent {
        -3..=2 => format!("{x:.*}", (2 - exponent) as usize),
        3 => format!("{x:.0}"),
        _ => format!("{mantissa}e{exponent}"),
    }
}

/// A share in percent with two decimals: `97.22 %`. Only all is 100 %.
pub fn percent(share: f64) -> String {
    if !share.is_finite() {
        return significant(share);
    }
    let percent = 100.0 * share;
    let shown = if share < 1.0 { percent.min(99.99) } else { percent };
    format!("{shown:.2} %")
}

/// A count with separators: `17,226`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The name of a class, or its number where classes have no names.
pub fn class_name(class: usize, names: Option<&[String]>) -> String {
    names.and_then(|names| names.get(class)).cloned().unwrap_or_else(|| class.to_string())
}

/// A count and its noun: `1 layer`, `3 layers`.
pub fn counted(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(n), if n == 1 { "" } else { "s" })
}

/// An amount of memory: `512 B`, `1.94 MiB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let mut amount = n as f64 / 1024.0;
    let mut unit = 0;
    while amount >= 1000.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    format!("{} {}", significant(amount), UNITS[unit])
}

/// A short time in the unit that fits it: `250 ns`, `6.50 µs`.
pub fn time(seconds: f64) -> String {
    let nanoseconds = Duration::from_secs_f64(seconds.max(0.0)).as_nanos() as f64;
    match nanoseconds {
        ..1e3 => format!("{} ns", significant(1e9 * seconds)),
        ..1e6 => format!("{} µs", significant(1e6 * seconds)),
        ..1e9 => format!("{} ms", significant(1e3 * seconds)),
        _ => format!("{} s", significant(seconds)),
    }
}

/// A length of time: `850 ms`, `3.42 s`, `2 min 05 s`, `1 h 12 min`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let whole = seconds.round() as u64;
    match seconds {
        s if s < 1.0 => format!("{} ms", significant(1000.0 * s)),
        s if s < 99.5 => format!("{} s", significant(s)),
        _ if whole < 3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_count() {
        for (x, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1.00"),
            (-0.012345, "-0.0123"),
            (0.00099996, "0.00100"),
            (0.000999, "9.99e-4"),
            (9.996, "10.0"),
            (999.7, "1000"),
            (1234.4, "1234"),
            (9999.6, "1.00e4"),
            (4e-20, "4.00e-20"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-∞"),
        ] {
            assert_eq!(significant(x), text, "{x}");
        }
    }

    #[test]
    fn only_all_is_a_hundred_percent() {
        assert_eq!(percent(0.97222), "97.22 %");
        assert_eq!(percent(0.999_999), "99.99 %");
        assert_eq!((percent(1.0), percent(0.0), percent(f64::NAN)), ("100.00 %".into(), "0.00 %".into(), "NaN".into()));
    }

    #[test]
    fn counts_and_units() {
        assert_eq!((count(0), count(999), count(17_226), count(1_000_000)), {
            ("0".into(), "999".into(), "17,226".into(), "1,000,000".into())
        });
        assert_eq!((counted(1, "layer"), counted(2, "layer")), ("1 layer".into(), "2 layers".into()));
        assert_eq!((bytes(512), bytes(2_034_237)), ("512 B".into(), "1.94 MiB".into()));
        assert_eq!(bytes(1023 * 1024), "0.999 MiB", "never four digits");
        let times = [(0.0123, "12.3 ms"), (3.4167, "3.42 s"), (125.2, "2 min 05 s"), (4330.0, "1 h 12 min")];
        for (seconds, text) in times {
            assert_eq!(duration(Duration::from_secs_f64(seconds)), text);
        }
    }

    #[test]
    fn times_have_units() {
        assert_eq!([2.5e-8, 6.5e-6, 1.2e-3, 2.0].map(time), ["25.0 ns", "6.50 µs", "1.20 ms", "2.00 s"]);
    }
}

//! Colour, where there is a terminal that wants it.

use std::io::IsTerminal;

/// How a piece of text stands out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paint {
    /// Not at all.
    #[default]
    Plain,
    /// A heading, a result.
    Bold,
    /// What is read second.
    Dim,
    /// A fault.
    Red,
    /// All is well.
    Green,
    /// Worth a look.
    Yellow,
}

impl Paint {
    /// The parameter of ANSI's "select graphic rendition".
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Bold => Some("1"),
            Self::Dim => Some("2"),
            Self::Red => Some("31"),
            Self::Green => Some("32"),
            Self::Yellow => Some("33"),
        }
    }
}

/// Whether text is painted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    colour: bool,
}

impl Style {
    /// No colour.
    pub const PLAIN: Self = Self { colour: false };
    /// Colour.
    pub const COLOUR: Self = Self { colour: true };

    /// Colour if the stream is a terminal that understands it, and the environment does not refuse it (`NO_COLOR`, see
    /// no-color.org).
    pub fn of(stream: &impl IsTerminal) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { colour: stream.is_terminal() && !refused && !dumb }
    }

    /// The text, painted.
    pub fn paint(self, text: &str, paint: Paint) -> String {
        match paint.code().filter(|_| self.colour && !text.is_empty()) {
            Some(code) => format!("\x1b[{code}m{text}\x1b[0m"),
            None => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_painted_only_with_colour() {
        assert_eq!(Style::COLOUR.paint("no", Paint::Red), "\x1b[31mno\x1b[0m");
        assert_eq!(Style::COLOUR.paint("no", Paint::Plain), "no");
        assert_eq!(Style::PLAIN.paint("no", Paint::Red), "no");
    }
}

//! The one error type: what is wrong, where, and what to do about it.

use std::fmt;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who has to act: the exit code of the binary follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Usage or input was wrong: the caller mends it. Exit code 2.
    Input,
    /// The run itself failed: a device was lost, a disk was full, a loss became non-finite. Exit code 1.
    Failure,
}

/// An error that names its place (file, key, layer, tensor, device), what was expected and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    place: String,
    message: String,
    help: Option<String>,
}

impl Error {
    /// Wrong usage or input at `place` (a file, a key, a layer, a tensor).
    pub fn input(place: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Input, place, message)
    }

    /// A failure at `place` that the input did not cause.
    pub fn failure(place: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Failure, place, message)
    }

    fn new(kind: ErrorKind, place: impl fmt::Display, message: impl fmt::Display) -> Self {
        Self { kind, place: place.to_string(), message: message.to_string(), help: None }
    }

    /// Adds what to do about it: one sentence.
    #[must_use]
    pub fn help(mut self, help: impl fmt::Display) -> Self {
        self.help = Some(help.to_string());
        self
    }

    /// Puts a wider place before the one named: `layers[2]` becomes `net.toml: layers[2]`.
    #[must_use]
    pub fn within(mut self, outer: impl fmt::Display) -> Self {
        self.place = format!("{outer}: {}", self.place);
        self
    }

    /// Who has to act.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The place that the error names.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// What was expected and found there.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The exit code of a program that ends with this error: 2 for usage and input, 1 for failures.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            ErrorKind::Input => 2,
            ErrorKind::Failure => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

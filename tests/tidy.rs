//! The house is kept tidy: floors, lengths, words and tables, read from the sources as text.
//!
//! Each check is a function over given texts, and beside each stands a test that feeds it a bad text and sees it fail.

#[path = "tidy/floors.rs"]
mod floors;
#[path = "tidy/lengths.rs"]
mod lengths;
#[path = "tidy/tables.rs"]
mod tables;
#[path = "tidy/text.rs"]
mod text;
#[path = "tidy/words.rs"]
mod words;

/// Fails with everything that is wrong.
fn expect_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
}

//! The table of keys, derived from the definitions of the settings, and the reference that is generated from it.

use super::Config;
use super::group::Group;
use super::setting::Range;
use std::fmt::Write as _;
use std::sync::LazyLock;

/// One key of the config, for one choice where it has several meanings: `train.lr` has one entry for each optimizer.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Where it stands: `train.lr`, `model.layers[].out`.
    pub path: String,
    /// What its value is: `number ≥ 0`.
    pub type_name: String,
    /// Its default as TOML; none where it is required or simply not set.
    pub default: Option<String>,
    /// Whether it must be given.
    pub is_required: bool,
    /// The numbers that its value may hold.
    pub range: Range,
    /// What it does.
    pub doc: String,
    /// The words that are possible and what they mean, where it is a choice.
    pub choices: Vec<(&'static str, &'static str)>,
    /// Whether the choice decides which other keys apply, as `train.optimizer` does.
    pub is_tag: bool,
    /// The choice with which alone it applies.
    pub when: Option<When>,
}

/// A choice that makes a key apply: `optimizer = "adam"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    /// The name of the key that chooses, beside this one.
    pub tag: &'static str,
    /// The word chosen.
    pub word: &'static str,
}

impl Key {
    /// The last part of the path.
    pub fn name(&self) -> &str {
        split(&self.path).1
    }

    /// All of the path before the last part; empty at the top.
    pub fn section(&self) -> &str {
        split(&self.path).0
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

/// Collects the keys of a group and of all within it.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    prefix: String,
    when: Option<When>,
    /// What was collected.
    pub(super) list: Vec<Key>,
    /// Path and description of the sections met.
    pub(super) sections: Vec<(String, String)>,
}

impl Keys {
    /// The keys of `T` with paths that begin there.
    pub(super) fn of<T: Group>() -> Self {
        let mut keys = Self::default();
        T::keys(&mut keys);
        keys
    }

    /// Adds a key; its path and condition are completed from where the collection stands.
    pub(super) fn push(&mut self, key: Key) {
        self.list.push(Key { path: format!("{}{}", self.prefix, key.path), when: self.when, ..key });
    }

    /// Adds a described section, and its keys.
    pub(super) fn section<T: Group>(&mut self, name: &str, doc: &str) {
        self.sections.push((format!("{}{name}", self.prefix), squeeze(doc)));
        self.below(&format!("{name}."), T::keys);
    }

    /// Collects what `inner` adds under a longer prefix.
    pub(super) fn below(&mut self, prefix: &str, inner: impl FnOnce(&mut Self)) {
        let length = self.prefix.len();
        self.prefix.push_str(prefix);
        let when = self.when.take();
        inner(self);
        self.when = when;
        self.prefix.truncate(length);
    }

    /// Collects what `inner` adds as applying to one choice only.
    pub(super) fn only(&mut self, tag: &'static str, word: &'static str, inner: impl FnOnce(&mut Self)) {
        let outer = self.when.replace(When { tag, word });
        inner(self);
        self.when = outer;
    }

    /// The names possible directly in the group, keys and sections, each once.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        let paths =
            self.list.iter().map(|key| key.path.as_str()).chain(self.sections.iter().map(|(path, _)| path.as_str()));
        for name in paths.filter(|path| !path.contains('.')) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

/// Doc comment lines as one line of text.
pub(super) fn squeeze(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

static ALL: LazyLock<Keys> = LazyLock::new(Keys::of::<Config>);

/// Every key of the config, in the order of the file.
pub fn keys() -> &'static [Key] {
    &ALL.list
}

/// The reference of all keys in Markdown: a table for each section, then what each word of a choice means.
pub fn reference() -> String {
    let mut sections: Vec<&str> = Vec::new();
    for key in keys() {
        if !sections.contains(&key.section()) {
            sections.push(key.section());
        }
    }
    let mut text = String::new();
    for section in sections {
        write_section(&mut text, section);
    }
    text
}

fn write_section(text: &mut String, section: &str) {
    let doc = ALL.sections.iter().find(|(path, _)| path == section).map(|(_, doc)| doc.as_str());
    let heading = match (section, section.ends_with("[]")) {
        ("", _) => "At the top of the file".into(),
        (_, true) => format!("Tables in `{}`", section.trim_end_matches("[]")),
        _ => format!("`[{section}]`"),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(text, "## {heading}\n");
    if let Some(doc) = doc {
        let _ = writeln!(text, "{doc}\n");
    }
    let _ = writeln!(text, "| key | type | default | applies to | meaning |\n|---|---|---|---|---|");
    let here: Vec<&Key> = keys().iter().filter(|key| key.section() == section).collect();
    for (key, words) in merged(&here) {
        let default = match &key.default {
            Some(default) => format!("`{default}`"),
            None if key.is_required => "required".into(),
            None => "not set".into(),
        };
        let words = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        let type_name = key.type_name.replace('|', "\\|");
        let _ = writeln!(text, "| `{}` | {type_name} | {default} | {words} | {} |", key.name(), key.doc);
    }
    let _ = writeln!(text);
    write_choices(text, &here);
}

/// What the words of each choice mean, once for all keys that share them.
fn write_choices(text: &mut String, here: &[&Key]) {
    let mut choices: Vec<(&[_], Vec<String>)> = Vec::new();
    for key in here.iter().filter(|key| !key.choices.is_empty()) {
        let name = format!("`{}`", key.name());
        match choices.iter_mut().find(|(words, _)| *words == key.choices) {
            Some((_, names)) if names.contains(&name) => {}
            Some((_, names)) => names.push(name),
            None => choices.push((&key.choices, vec![name])),
        }
    }
    for (words, names) in choices {
        let _ = writeln!(text, "{}:\n", names.join(", "));
        for (word, doc) in words {
            let _ = writeln!(text, "- `\"{word}\"`: {}", squeeze(doc));
        }
        let _ = writeln!(text);
    }
}

/// Keys that differ in nothing but the choice they apply to, joined, each with its words.
fn merged<'a>(here: &[&'a Key]) -> Vec<(&'a Key, Vec<&'static str>)> {
    let mut rows: Vec<(&Key, Vec<&'static str>)> = Vec::new();
    for &key in here {
        let word = key.when.map(|when| when.word);
        let same = |row: &&mut (&Key, Vec<_>)| Key { when: key.when, ..row.0.clone() } == *key;
        match (rows.iter_mut().find(same), word) {
            (Some(row), Some(word)) => row.1.push(word),
            _ => rows.push((key, word.into_iter().collect())),
        }
    }
    rows
}

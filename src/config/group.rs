//! Groups of keys: the macros that define a section, a set of kinds or a plain choice once, and derive everything from it.

use super::keys::{Key, Keys, keys, squeeze};
use super::nearest::{nearest, suggestion};
use super::setting::{Detail, Range, Setting, inline, one_of, quoted, wrong_type};
use crate::base::{Error, Result};
use toml::{Table, Value};

/// Keys that are read from one table and written to one.
pub trait Group: Sized {
    /// The key whose word decides which others apply, if there is one.
    const TAG: Option<&'static str>;
    /// Takes its keys out of the entries.
    fn take(entries: &mut Entries) -> Result<Self>;
    /// Writes its keys to the table.
    fn put(&self, table: &mut Table, detail: Detail);
    /// Lists its keys.
    fn keys(keys: &mut Keys);
}

/// The entries of a table that are yet to be read.
pub struct Entries {
    place: String,
    table: Table,
    tags: Vec<(&'static str, &'static str)>,
}

impl Entries {
    /// The entries of the table at `place`; empty for the top of the file.
    pub(super) fn open(table: Table, place: &str) -> Self {
        Self { place: place.to_owned(), table, tags: Vec::new() }
    }

    fn at(&self, name: &str) -> String {
        if self.place.is_empty() { name.to_owned() } else { format!("{}.{name}", self.place) }
    }

    fn take<T: Setting>(&mut self, name: &'static str, leaf: Leaf<T>) -> Result<T> {
        let place = self.at(name);
        let Some(value) = self.table.remove(name) else { return leaf.default.ok_or_else(|| self.missing(name, &[])) };
        let setting = T::parse(&value, &place)?;
        match setting.numbers().into_iter().find(|&x| !leaf.range.contains(x)) {
            Some(x) => {
                let expected = format!("{}{}", T::type_name(), leaf.range);
                Err(Error::input(place, format!("{x} is out of range: expected {expected}")))
            }
            None => Ok(setting),
        }
    }

    /// The error for a key that must be given; `words` are those possible, if it is a choice.
    fn missing(&self, name: &'static str, words: &[&str]) -> Error {
        let error = Error::input(self.at(name), "this key is required, and it is missing");
        match self.table.keys().find(|&found| nearest(found, [name]).is_some()) {
            Some(found) => error.help(format!("`{found}` is no key here: did you mean `{name}`?")),
            None if !words.is_empty() => error.help(format!("give one of {}", quoted(words))),
            None => error,
        }
    }

    /// The word of the key that decides which others apply.
    pub(super) fn tag(
        &mut self,
        tag: &'static str,
        words: &[&'static str],
        default: Option<&'static str>,
    ) -> Result<&'static str> {
        let word = match self.table.remove(tag) {
            Some(value) => one_of(&value, &self.at(tag), words)?,
            None => default.ok_or_else(|| self.missing(tag, words))?,
        };
        self.tags.push((tag, word));
        Ok(word)
    }

    /// Ends the reading: whatever was not taken is an error that names the nearest key.
    pub(super) fn finish<T: Group>(self) -> Result<()> {
        let Some(name) = self.table.keys().next() else { return Ok(()) };
        let group = Keys::of::<T>();
        let elsewhere: Vec<_> = group.list.iter().filter(|key| key.path == *name).filter_map(|key| key.when).collect();
        if let Some(first) = elsewhere.first() {
            let chosen = self.tags.iter().find(|(tag, _)| *tag == first.tag).map_or("", |&(_, word)| word);
            let words: Vec<_> = elsewhere.iter().map(|when| when.word).collect();
            let message = format!("`{name}` does not apply to {} = \"{chosen}\"", first.tag);
            return Err(Error::input(self.at(name), message).help(format!("it applies to {}", quoted(&words))));
        }
        let applying = |key: &&str| {
            let mut conditions =
                group.list.iter().filter(|known| known.path == **key).map(|known| known.when).peekable();
            let holds = |when| self.tags.contains(&when);
            conditions.peek().is_none() || conditions.any(|c| c.is_none_or(|c| holds((c.tag, c.word))))
        };
        let names: Vec<&str> = group.names().into_iter().filter(applying).collect();
        let error = Error::input(self.at(name), format!("there is no key `{name}` here"));
        let help = match keys().iter().find(|key| key.name() == name) {
            Some(key) if nearest(name, names.iter().copied()).is_none() => format!("did you mean `{}`?", key.path),
            _ => suggestion(name, "possible keys", names.iter().copied()),
        };
        Err(error.help(help))
    }
}

/// How a field is read from the entries of its group, written back and listed.
pub trait Part<T> {
    /// Reads it.
    fn take(self, entries: &mut Entries, name: &'static str) -> Result<T>;
    /// Writes it.
    fn put(self, value: &T, name: &'static str, table: &mut Table, detail: Detail);
    /// Lists it.
    fn keys(self, keys: &mut Keys, name: &'static str, doc: &str);
}

/// A field that is one key: its default and the numbers it may hold.
pub struct Leaf<T> {
    default: Option<T>,
    range: Range,
}

/// A key that may be left out.
pub(super) fn default<T: Setting>(value: T) -> Leaf<T> {
    Leaf { default: Some(value), range: T::RANGE }
}

/// A key that must be given.
pub(super) fn required<T: Setting>() -> Leaf<T> {
    Leaf { default: None, range: T::RANGE }
}

impl<T> Leaf<T> {
    /// The same key with numbers of this range only.
    pub(super) fn within(self, range: Range) -> Self {
        Self { range, ..self }
    }
}

impl<T: Setting> Part<T> for Leaf<T> {
    fn take(self, entries: &mut Entries, name: &'static str) -> Result<T> {
        entries.take(name, self)
    }

    fn put(self, value: &T, name: &'static str, table: &mut Table, detail: Detail) {
        let is_default = self.default.is_some_and(|own| own.to_toml(Detail::Full) == value.to_toml(Detail::Full));
        if is_default && detail == Detail::Changed {
            return;
        }
        if let Some(value) = value.to_toml(detail) {
            table.insert(name.into(), value);
        }
    }

    fn keys(self, keys: &mut Keys, name: &'static str, doc: &str) {
        keys.push(Key {
            path: name.into(),
            type_name: format!("{}{}", T::type_name(), self.range),
            is_required: self.default.is_none(),
            default: self.default.and_then(|value| value.to_toml(Detail::Full)).map(|value| inline(&value)),
            range: self.range,
            doc: squeeze(doc),
            choices: T::choices(),
            is_tag: false,
            when: None,
        });
        keys.below(&format!("{name}[]."), T::keys);
    }
}

/// A field whose keys stand among those of its own group.
pub(super) struct Flat;

impl<T: Group> Part<T> for Flat {
    fn take(self, entries: &mut Entries, _: &'static str) -> Result<T> {
        T::take(entries)
    }

    fn put(self, value: &T, _: &'static str, table: &mut Table, detail: Detail) {
        value.put(table, detail);
    }

    fn keys(self, keys: &mut Keys, _: &'static str, _: &str) {
        T::keys(keys);
    }
}

/// A field that is a table of its own.
pub(super) struct Section;

impl<T: Group> Part<T> for Section {
    fn take(self, entries: &mut Entries, name: &'static str) -> Result<T> {
        let value = entries.table.remove(name).unwrap_or_else(|| Value::Table(Table::new()));
        read(value, &entries.at(name))
    }

    fn put(self, value: &T, name: &'static str, table: &mut Table, detail: Detail) {
        let mut inner = Table::new();
        value.put(&mut inner, detail);
        if !inner.is_empty() {
            table.insert(name.into(), Value::Table(inner));
        }
    }

    fn keys(self, keys: &mut Keys, name: &'static str, doc: &str) {
        keys.section::<T>(name, doc);
    }
}

/// Reads a group from all of the table at `place`.
pub(super) fn read<T: Group>(value: Value, place: &str) -> Result<T> {
    match value {
        Value::Table(table) => {
            let mut entries = Entries::open(table, place);
            let group = T::take(&mut entries)?;
            entries.finish::<T>()?;
            Ok(group)
        }
        other => Err(wrong_type(place, "a table", &other)),
    }
}

/// Reads an entry of a list: a table, or the bare word of a kind that needs nothing else.
pub(super) fn read_entry<T: Group>(value: &Value, place: &str) -> Result<T> {
    match (value, T::TAG) {
        (Value::String(_), Some(tag)) => read(Value::Table(Table::from_iter([(tag.to_owned(), value.clone())])), place),
        (Value::Table(_), _) => read(value.clone(), place),
        _ => Err(wrong_type(place, "a kind in quotes or a table in braces", value)),
    }
}

/// Writes an entry of a list, as a bare word where that says all.
pub(super) fn write_entry<T: Group>(entry: &T, detail: Detail) -> Value {
    let mut table = Table::new();
    entry.put(&mut table, detail);
    match T::TAG.and_then(|tag| table.get(tag)) {
        Some(word) if table.len() == 1 => word.clone(),
        _ => Value::Table(table),
    }
}

/// Writes the word that decides which other keys apply.
pub(super) fn put_tag(
    (tag, word): (&'static str, &'static str),
    default: Option<&'static str>,
    table: &mut Table,
    detail: Detail,
) {
    if detail == Detail::Full || default != Some(word) {
        table.insert(tag.into(), Value::String(word.into()));
    }
}

/// The key that decides which other keys apply.
pub(super) fn tag_key(
    tag: &'static str,
    choices: Vec<(&'static str, &'static str)>,
    default: Option<&'static str>,
    doc: &str,
) -> Key {
    Key {
        path: tag.into(),
        type_name: quoted(&choices.iter().map(|(word, _)| *word).collect::<Vec<_>>()),
        default: default.map(|word| format!("\"{word}\"")),
        is_required: default.is_none(),
        range: Range::ANY,
        doc: squeeze(doc),
        choices,
        is_tag: true,
        when: None,
    }
}

/// Defines a struct whose fields are keys, each with its documentation, type and rule.
macro_rules! section {
    ($(#[doc = $doc:literal])* pub struct $name:ident {
        $( $(#[doc = $field_doc:literal])* $field:ident: $type:ty = $rule:expr; )*
    }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $( $(#[doc = $field_doc])* pub $field: $type, )*
        }

        impl $crate::config::group::Group for $name {
            const TAG: Option<&'static str> = None;

            fn take(entries: &mut $crate::config::group::Entries) -> $crate::base::Result<Self> {
                Ok(Self { $( $field: $crate::config::group::Part::<$type>::take($rule, entries, stringify!($field))?, )* })
            }

            fn put(&self, table: &mut toml::Table, detail: $crate::config::setting::Detail) {
                $( $crate::config::group::Part::<$type>::put($rule, &self.$field, stringify!($field), table, detail); )*
            }

            fn keys(keys: &mut $crate::config::keys::Keys) {
                $( $crate::config::group::Part::<$type>::keys(
                    $rule, keys, stringify!($field), concat!($($field_doc, "\n"),*),
                ); )*
            }
        }
    };
}

/// Defines an enum of which one key, the tag, tells the variant; the fields of the variant are keys beside it.
macro_rules! kinds {
    ($(#[doc = $doc:literal])* pub enum $name:ident by $tag:literal, default $default:expr => {
        $( $(#[doc = $kind_doc:literal])* $kind:ident = $word:literal $({
            $( $(#[doc = $field_doc:literal])* $field:ident: $type:ty = $rule:expr; )*
        })?, )*
    }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $name {
            $( $(#[doc = $kind_doc])* $kind $({ $( $(#[doc = $field_doc])* $field: $type, )* })?, )*
        }

        impl $name {
            /// The word that names the kind.
            pub fn word(&self) -> &'static str {
                match self {
                    $( Self::$kind { .. } => $word, )*
                }
            }
        }

        impl $crate::config::group::Group for $name {
            const TAG: Option<&'static str> = Some($tag);

            fn take(entries: &mut $crate::config::group::Entries) -> $crate::base::Result<Self> {
                Ok(match entries.tag($tag, &[$($word),*], $default)? {
                    $( $word => Self::$kind $({ $(
                        $field: $crate::config::group::Part::<$type>::take($rule, entries, stringify!($field))?,
                    )* })?, )*
                    _ => unreachable!("the word is one of those given"),
                })
            }

            fn put(&self, table: &mut toml::Table, detail: $crate::config::setting::Detail) {
                $crate::config::group::put_tag(($tag, self.word()), $default, table, detail);
                match self {
                    $( Self::$kind $({ $($field),* })? => { $( $(
                        $crate::config::group::Part::<$type>::put($rule, $field, stringify!($field), table, detail);
                    )* )? } )*
                }
            }

            fn keys(keys: &mut $crate::config::keys::Keys) {
                let choices = vec![ $( ($word, concat!($($kind_doc, "\n"),*)), )* ];
                keys.push($crate::config::group::tag_key($tag, choices, $default, concat!($($doc, "\n"),*)));
                $( $( keys.only($tag, $word, |keys| { $(
                    $crate::config::group::Part::<$type>::keys(
                        $rule, keys, stringify!($field), concat!($($field_doc, "\n"),*),
                    );
                )* }); )? )*
            }
        }
    };
}

/// Makes kinds usable as entries of a list.
macro_rules! entries {
    ($name:ident, $type_name:literal) => {
        impl $crate::config::setting::Setting for $name {
            fn type_name() -> String {
                $type_name.into()
            }
            fn parse(value: &toml::Value, place: &str) -> $crate::base::Result<Self> {
                $crate::config::group::read_entry(value, place)
            }
            fn to_toml(&self, detail: $crate::config::setting::Detail) -> Option<toml::Value> {
                Some($crate::config::group::write_entry(self, detail))
            }
            fn keys(keys: &mut $crate::config::keys::Keys) {
                <Self as $crate::config::group::Group>::keys(keys);
            }
        }
    };
}

/// Defines an enum of plain words.
macro_rules! choice {
    ($(#[doc = $doc:literal])* pub enum $name:ident {
        $( $(#[doc = $word_doc:literal])* $variant:ident = $word:literal, )*
    }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $( $(#[doc = $word_doc])* $variant, )*
        }

        impl $name {
            /// The word that stands for it in a config.
            pub fn word(self) -> &'static str {
                match self {
                    $( Self::$variant => $word, )*
                }
            }
        }

        impl $crate::config::setting::Setting for $name {
            fn type_name() -> String {
                $crate::config::setting::quoted(&[$($word),*])
            }
            fn parse(value: &toml::Value, place: &str) -> $crate::base::Result<Self> {
                Ok(match $crate::config::setting::one_of(value, place, &[$($word),*])? {
                    $( $word => Self::$variant, )*
                    _ => unreachable!("the word is one of those given"),
                })
            }
            fn to_toml(&self, _: $crate::config::setting::Detail) -> Option<toml::Value> {
                Some(toml::Value::String(self.word().into()))
            }
            fn choices() -> Vec<(&'static str, &'static str)> {
                vec![ $( ($word, concat!($($word_doc, "\n"),*)), )* ]
            }
        }
    };
}

pub(super) use {choice, entries, kinds, section};

//! Overrides: `train.lr=0.1`, `model.layers[0].out=64`.

use super::Config;
use super::keys::{Key, keys};
use super::setting::Detail;
use crate::base::{Error, Result};
use toml::{Table, Value};

/// What errors name as the place of an override.
const PLACE: &str = "--set";

/// One step of the path to a value.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    Key(String),
    Index(usize),
}

/// A path, and the value to put there; no value puts the default back.
struct Edit {
    parts: Vec<Part>,
    value: Option<Value>,
}

impl Config {
    /// Changes one setting, given as `section.key=value`; see [`Config::set_all`].
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        self.set_all([assignment])
    }

    /// Changes several settings at once, each given as `section.key=value`. All are made or, with an error, none.
    ///
    /// Values are TOML; a bare word is a string, and nothing after the `=` puts the default back. A changed choice (another
    /// optimizer, source, layer kind) takes along the keys that still apply and were not at their defaults; the others
    /// start from the defaults of the new choice.
    pub fn set_all<S: AsRef<str>>(&mut self, assignments: impl IntoIterator<Item = S>) -> Result<()> {
        self.set_all_for(PLACE, assignments)
    }

    /// The same, where not `--set` but something else is what errors name as the place of the changes.
    pub fn set_all_for<S: AsRef<str>>(&mut self, place: &str, assignments: impl IntoIterator<Item = S>) -> Result<()> {
        let edits = assignments.into_iter().map(|text| Edit::parse(text.as_ref())).collect::<Result<Vec<_>>>();
        let edits = edits.map_err(|error| error.within(place))?;
        let mut root = Value::Table(self.to_table(Detail::Changed));
        let changed = (|| {
            for edit in &edits {
                edit.apply(&mut root)?;
            }
            for edit in &edits {
                edit.drop_what_no_longer_applies(&mut root, &edits);
            }
            match root {
                Value::Table(table) => Self::from_table(table, &self.name),
                _ => Err(Error::input("", "the config is no table")),
            }
        })();
        *self = changed.map_err(|error| error.within(place))?;
        Ok(())
    }
}

impl Edit {
    fn parse(text: &str) -> Result<Self> {
        let Some((path, value)) = text.split_once('=') else {
            return Err(Error::input(text, "expected section.key=value, found no `=`"));
        };
        let path = path.trim();
        Ok(Self { parts: parts(path)?, value: parse_value(path, value.trim())? })
    }

    /// The path as a user writes it.
    fn path(&self, length: usize) -> String {
        let mut path = String::new();
        for part in &self.parts[..length] {
            match part {
                Part::Key(key) if path.is_empty() => path.push_str(key),
                Part::Key(key) => path.push_str(&format!(".{key}")),
                Part::Index(i) => path.push_str(&format!("[{i}]")),
            }
        }
        path
    }

    fn apply(&self, root: &mut Value) -> Result<()> {
        let Some((last, way)) = self.parts.split_last() else { return Ok(()) };
        let mut here = root;
        for (depth, part) in way.iter().enumerate() {
            here = match part {
                Part::Key(key) => {
                    self.table(here, depth)?.entry(key.as_str()).or_insert_with(|| Value::Table(Table::new()))
                }
                Part::Index(i) => self.entry(here, *i, depth)?,
            };
        }
        match (last, &self.value) {
            (Part::Key(key), Some(value)) => {
                self.table(here, way.len())?.insert(key.clone(), value.clone());
            }
            (Part::Key(key), None) => {
                self.table(here, way.len())?.remove(key);
            }
            (Part::Index(i), Some(value)) => *self.entry(here, *i, way.len())? = value.clone(),
            (Part::Index(_), None) => {
                return Err(Error::input(
                    self.path(self.parts.len()),
                    "an entry of a list has no default: give a value",
                ));
            }
        }
        Ok(())
    }

    /// The table that the first parts of the path lead to. A bare word there stands for a table with a kind alone.
    fn table<'a>(&self, here: &'a mut Value, depth: usize) -> Result<&'a mut Table> {
        if let Value::String(word) = here {
            *here = Value::Table(Table::from_iter([("kind".to_owned(), Value::String(std::mem::take(word)))]));
        }
        match here {
            Value::Table(table) => Ok(table),
            _ => {
                let message = format!("there are no keys below {}", self.path(depth));
                Err(Error::input(self.path(self.parts.len()), message))
            }
        }
    }

    fn entry<'a>(&self, here: &'a mut Value, i: usize, depth: usize) -> Result<&'a mut Value> {
        let Value::Array(entries) = here else {
            let message = format!("`{}` is not set to a list", self.path(depth));
            return Err(Error::input(self.path(self.parts.len()), message).help("set the whole value"));
        };
        let n = entries.len();
        entries.get_mut(i).ok_or_else(|| {
            let message = format!("there is no entry {i}: `{}` has {n}, counted from 0", self.path(depth));
            Error::input(self.path(self.parts.len()), message)
        })
    }

    /// After a choice was changed, removes the keys beside it that belong to other choices, but for those just set.
    fn drop_what_no_longer_applies(&self, root: &mut Value, edits: &[Self]) {
        let path = general(&self.path(self.parts.len()));
        let Some(tag) = keys().iter().find(|key| key.is_tag && key.path == path) else { return };
        let Some((_, way)) = self.parts.split_last() else { return };
        let Some(Value::Table(table)) = way.iter().try_fold(root, |here, part| match part {
            Part::Key(key) => here.get_mut(key.as_str()),
            Part::Index(i) => here.get_mut(*i),
        }) else {
            return;
        };
        let word = match (&self.value, &tag.default) {
            (Some(Value::String(word)), _) => word.clone(),
            (None, Some(default)) => default.trim_matches('"').to_owned(),
            // No word: reading the config will say so.
            _ => return,
        };
        let is_foreign = |name: &str| {
            let mut beside =
                keys().iter().filter(|key| key.section() == tag.section() && key.name() == name).peekable();
            let applies = |key: &Key| key.when.is_none_or(|when| when.tag != tag.name() || when.word == word);
            beside.peek().is_some() && !beside.any(applies)
        };
        let just_set =
            |name: &str| edits.iter().any(|edit| edit.parts == [way, &[Part::Key(name.to_owned())]].concat());
        table.retain(|name, _| just_set(name) || !is_foreign(name));
    }
}

/// The path of a key as the table of keys has it: `model.layers[3].out` becomes `model.layers[].out`. A single table in
/// place of a list counts as its entry.
fn general(path: &str) -> String {
    let mut general = String::new();
    let mut is_inside = false;
    for c in path.chars() {
        is_inside = (is_inside || c == '[') && c != ']';
        if !is_inside || c == '[' {
            general.push(c);
        }
    }
    general.replace("train.schedule.", "train.schedule[].")
}

fn parts(path: &str) -> Result<Vec<Part>> {
    let malformed = || Error::input(path, "expected a path such as train.lr or model.layers[0].out");
    let mut parts = Vec::new();
    for piece in path.split('.') {
        let (key, indices) = piece.split_at(piece.find('[').unwrap_or(piece.len()));
        if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
            return Err(malformed());
        }
        parts.push(Part::Key(key.to_owned()));
        let mut rest = indices;
        while !rest.is_empty() {
            let (index, after) = rest.strip_prefix('[').and_then(|r| r.split_once(']')).ok_or_else(malformed)?;
            parts.push(Part::Index(index.trim().parse().map_err(|_| malformed())?));
            rest = after;
        }
    }
    Ok(parts)
}

/// The value of an assignment: TOML, or a bare word.
fn parse_value(path: &str, text: &str) -> Result<Option<Value>> {
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<Value>() {
        Ok(value) => Ok(Some(value)),
        Err(_) if !text.starts_with(['[', '{', '"', '\'']) => Ok(Some(Value::String(text.to_owned()))),
        Err(error) => Err(Error::input(path, error.message().trim()).help("quote it for the shell as 'key=[1, 2]'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Init, Layer, LossKind, Optimizer, Piece, Span};

    fn changed(assignments: &[&str]) -> Result<Config> {
        let mut config = Config::builtin_digits();
        config.set_all(assignments).map(|()| config)
    }

    #[test]
    fn values_are_toml_or_bare_words() {
        let config =
            changed(&["train.max_steps = 7", "train.betas=[0.8, 0.9]", "name=other", "data.standardize=center"])
                .unwrap();
        assert_eq!(config.train.max_steps, Some(7));
        assert!(matches!(config.train.optimizer, Optimizer::Adam { lr: 0.003, betas: [0.8, 0.9], .. }));
        assert_eq!((config.name.as_str(), config.data.standardize.word()), ("other", "center"));
        assert_eq!(config.data.split, 0.1, "what was not named stays");
        assert_eq!(changed(&["train.lr="]).unwrap().train.optimizer.lr(), 0.001, "nothing is the default");
        assert_eq!(changed(&["train.max_time=10m"]).unwrap().train.max_time.map(|t| t.as_secs()), Some(600));
    }

    #[test]
    fn layers_are_reached_by_index() {
        let config =
            changed(&["model.layers[0].out=64", "model.layers[0].init={ normal = 0.1 }", "model.layers[3]=tanh"])
                .unwrap();
        assert!(matches!(config.model.layers[0], Layer::Linear { out: 64, init: Some(Init::Normal(0.1)), .. }));
        assert_eq!((&config.model.layers[1], &config.model.layers[3]), (&Layer::Relu, &Layer::Tanh));
        let config = changed(&["model.layers[1].kind=leaky_relu", "model.layers[1].slope=0.3"]).unwrap();
        assert_eq!(config.model.layers[1], Layer::LeakyRelu { slope: 0.3 });
        let config = changed(&["model.layers[2].kind=relu"]).unwrap();
        assert_eq!(config.model.layers[2], Layer::Relu, "what belonged to the linear layer is gone");
    }

    #[test]
    fn another_choice_keeps_what_applies_and_was_not_the_default() {
        let mut config = changed(&["train.optimizer=momentum", "train.momentum=0.5"]).unwrap();
        assert!(matches!(config.train.optimizer, Optimizer::Momentum { lr: 0.003, momentum: 0.5, .. }));
        config.set("train.lr=0.01").unwrap();
        config.set("train.optimizer=nesterov").unwrap();
        assert!(matches!(config.train.optimizer, Optimizer::Nesterov { lr: 0.01, momentum: 0.5, .. }));
        config.set("train.optimizer=adamw").unwrap();
        assert_eq!(config.train.optimizer.lr(), 0.001, "the rate was the old default, so it is the new one");
        config.set_all(["loss.kind=huber", "loss.delta=3"]).unwrap();
        config.set("loss.kind=").unwrap();
        assert_eq!(config.loss.kind, LossKind::Auto { label_smoothing: 0.0 });
        config.set("train.schedule={ kind = \"step\", every = 5 }").unwrap();
        config.set("train.schedule.kind=cosine").unwrap();
        assert_eq!(config.train.schedule.pieces, [Piece::Cosine { steps: None, epochs: None, min: 0.0 }]);
        config.set("train.schedule={ kind = \"exponential\", factor = 0.5, every = \"3 epochs\" }").unwrap();
        config.set("train.schedule.kind=step").unwrap();
        assert_eq!(config.train.schedule.pieces, [Piece::Step { every: Span::Epochs(3), factor: 0.5 }]);
    }

    #[test]
    fn errors_name_the_override_and_change_nothing() {
        let cases = [
            ("train.lr=-1", "--set: train.lr: -1 is out of range"),
            ("train.lrr=1", "--set: train.lrr: there is no key `lrr` here\n  help: did you mean `lr`?"),
            ("trian.lr=1", "--set: trian: there is no key `trian` here\n  help: did you mean `train`?"),
            ("train.momentum=0.1", "--set: train.momentum: `momentum` does not apply to optimizer = \"adam\""),
            ("train.lr", "--set: train.lr: expected section.key=value"),
            ("train..lr=1", "--set: train..lr: expected a path"),
            ("model.layers[x].out=1", "--set: model.layers[x].out: expected a path"),
            ("model.layers[9].out=1", "--set: model.layers[9].out: there is no entry 9: `model.layers` has 5"),
            ("model.layers[9]=relu", "--set: model.layers[9]: there is no entry 9"),
            ("model.layers[0]=", "--set: model.layers[0]: an entry of a list has no default"),
            ("model.layers[0].out[1]=1", "--set: model.layers[0].out[1]: `model.layers[0].out` is not set to a list"),
            ("data.split.x=1", "--set: data.split.x: there are no keys below data.split"),
            ("train.betas=[1", "--set: train.betas: "),
            ("data.source=csv", "--set: data.path: this key is required"),
        ];
        for (assignment, expected) in cases {
            let mut config = Config::builtin_digits();
            let error = config.set(assignment).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{assignment}\n{error}");
            assert_eq!(config, Config::builtin_digits());
        }
    }

    #[test]
    fn the_order_within_one_call_does_not_matter() {
        let one = changed(&["train.momentum=0.5", "train.optimizer=momentum"]).unwrap();
        assert_eq!(one, changed(&["train.optimizer=momentum", "train.momentum=0.5"]).unwrap());
        assert!(changed(&["train.optimizer=sgd", "train.momentum=0.5"]).is_err(), "what was just set is not dropped");
    }
}

//! Where two configs differ.

use super::Config;
use super::setting::{Detail, inline};
use toml::Value;

/// A key that two configs disagree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its path: `train.lr`.
    pub key: String,
    /// Its value in the one, as TOML; none where it is not set or does not apply.
    pub here: Option<String>,
    /// Its value in the other.
    pub there: Option<String>,
}

impl Config {
    /// The keys whose values differ from those of `other`. A list is one value, and so is a table in a section.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let [here, there] = [self.leaves(), other.leaves()];
        let find = |leaves: &[(String, String)], key: &str| {
            leaves.iter().find(|(known, _)| known == key).map(|(_, value)| value.clone())
        };
        let only_there = there.iter().filter(|(key, _)| find(&here, key).is_none());
        let keys = here.iter().chain(only_there).map(|(key, _)| key);
        let pairs = keys.map(|key| Difference { key: key.clone(), here: find(&here, key), there: find(&there, key) });
        pairs.filter(|pair| pair.here != pair.there).collect()
    }

    /// Path and text of every value, in the order of the file.
    fn leaves(&self) -> Vec<(String, String)> {
        let mut leaves = Vec::new();
        for (name, value) in self.to_table(Detail::Full) {
            match value {
                Value::Table(section) => {
                    leaves.extend(section.iter().map(|(key, value)| (format!("{name}.{key}"), inline(value))));
                }
                _ => leaves.push((name, inline(&value))),
            }
        }
        leaves
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named_with_both_values() {
        let config = Config::builtin_digits();
        assert_eq!(config.differences(&config.clone()), []);
        let mut other = config.clone();
        other.set_all(["name=x", "train.lr=0.5", "train.max_steps=9", "model.layers[1]=tanh"]).unwrap();
        let found = other.differences(&config);
        let keys: Vec<&str> = found.iter().map(|pair| pair.key.as_str()).collect();
        assert_eq!(keys, ["name", "model.layers", "train.max_steps", "train.lr"]);
        assert_eq!((found[3].here.as_deref(), found[3].there.as_deref()), (Some("0.5"), Some("0.003")));
        assert_eq!((found[2].here.as_deref(), &found[2].there), (Some("9"), &None));
        let back = config.differences(&other);
        assert_eq!((back.len(), &back[3].here, back[3].there.as_deref()), (4, &None, Some("9")));
    }
}

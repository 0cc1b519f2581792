//! What the columns of the step record are.

use super::blueprint::TappedLayer;
use super::thinning::Thinning;
use crate::base::{Error, Result};
use crate::ops::histogram::BINS;
use crate::probe::{Quantity, Scope};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// The name of the file that explains the columns of `steps.jsonl`.
pub const SCHEMA_FILE: &str = "steps.schema.json";

/// The columns that every row has, before those of the schema.
pub const ROW_COLUMNS: [(&str, &str, &str); 5] = [
    ("step", "the last step that the row stands for; steps count from 1", ""),
    ("steps", "how many steps the row stands for", ""),
    ("epoch", "epochs done after the last step of the row", "epochs"),
    ("examples", "examples seen after the last step of the row", "examples"),
    ("non_finite_steps", "how many steps of the row had a non-finite value; means over them are null", "steps"),
];

/// A quantity that every step has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its key in `steps.jsonl`; `<name>_min` and `<name>_max` stand beside it.
    pub name: String,
    /// What it is and where it was measured, in a sentence.
    pub doc: String,
    /// Its unit; empty for a pure number.
    pub unit: String,
    /// Empty for a number; else the column is a list, and these name its entries: layers or tensors.
    pub labels: Vec<String>,
}

impl Column {
    /// A column of numbers.
    pub fn scalar(name: impl Into<String>, doc: impl Into<String>, unit: impl Into<String>) -> Self {
        Self { name: name.into(), doc: doc.into(), unit: unit.into(), labels: Vec::new() }
    }

    /// A column of lists, with an entry for each label.
    pub fn list(
        name: impl Into<String>,
        doc: impl Into<String>,
        unit: impl Into<String>,
        labels: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self { labels: labels.into_iter().map(Into::into).collect(), ..Self::scalar(name, doc, unit) }
    }

    /// How many values of a step belong to it.
    pub fn width(&self) -> usize {
        self.labels.len().max(1)
    }

    /// Whether its values are lists.
    pub fn is_list(&self) -> bool {
        !self.labels.is_empty()
    }
}

/// The columns of a step record. The values of a step are one flat slice in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// The columns, in the order of the values.
    pub columns: Vec<Column>,
}

/// `steps.schema.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SchemaFile {
    /// The columns of every row that are no quantity.
    row: Vec<Column>,
    /// The quantities.
    pub(super) columns: Vec<Column>,
    /// Which steps end a row.
    pub(super) thinning: Thinning,
    /// How many significant digits a number has.
    digits: usize,
}

/// The bins of each layer: `0:3` is bin 3 of layer `0`.
fn bins(layers: &[TappedLayer]) -> impl Iterator<Item = String> {
    layers.iter().flat_map(|layer| (0..BINS).map(move |bin| format!("{}:{bin}", layer.name)))
}

impl Schema {
    /// The columns of these quantities, in a run with these layers and tensors.
    pub fn of(layers: &[TappedLayer], tensors: &[String], quantities: impl Iterator<Item = &'static Quantity>) -> Self {
        let names = |wanted: fn(&TappedLayer) -> bool| -> Vec<&str> {
            layers.iter().filter(|layer| wanted(layer)).map(|layer| layer.name.as_str()).collect()
        };
        let column = |quantity: &Quantity| {
            let list = |labels: &[&str]| Column::list(quantity.id, quantity.doc, quantity.formula, labels.to_vec());
            match quantity.scope {
                Scope::Step | Scope::Noise | Scope::Scaled => {
                    Column::scalar(quantity.id, quantity.doc, quantity.formula)
                }
                Scope::Layer => list(&names(|_| true)),
                Scope::Noisy => list(&names(|layer| layer.has_noise)),
                Scope::Resolved => list(&names(|layer| layer.is_resolved)),
                Scope::Rectified => list(&names(|layer| layer.is_rectified)),
                Scope::Bounded => list(&names(|layer| layer.is_bounded)),
                Scope::Bins => Column::list(quantity.id, quantity.doc, quantity.formula, bins(layers)),
                Scope::Tensor => list(&tensors.iter().map(String::as_str).collect::<Vec<_>>()),
            }
        };
        Self { columns: quantities.map(column).collect() }
    }

    /// How many values a step has.
    pub fn width(&self) -> usize {
        self.columns.iter().map(Column::width).sum()
    }

    /// The name of each value in order: `loss`, `signal[0.weight]`.
    pub fn value_names(&self) -> impl Iterator<Item = String> + '_ {
        self.columns.iter().flat_map(|column| {
            let single = (!column.is_list()).then(|| column.name.clone());
            single.into_iter().chain(column.labels.iter().map(|label| format!("{}[{label}]", column.name)))
        })
    }

    /// Checks that no two keys of a row are equal and that each is read as what it is.
    ///
    /// # Errors
    /// An empty name, one that is taken, or one that pandas reads as a date.
    pub fn check(&self) -> Result<()> {
        let mut taken: HashSet<String> = ROW_COLUMNS.iter().map(|(name, ..)| (*name).to_string()).collect();
        for Column { name, .. } in &self.columns {
            let place = format!("record column `{name}`");
            if name.is_empty() {
                return Err(Error::input(place, "a column needs a name"));
            }
            for key in [name.clone(), format!("{name}_min"), format!("{name}_max")] {
                if !taken.insert(key.clone()) {
                    return Err(Error::input(place, format!("the key `{key}` is taken by another column")));
                }
            }
            let dated = |key: &str| ["timestamp", "modified", "date"].iter().any(|start| key.starts_with(start));
            if dated(&name.to_lowercase()) || name.ends_with("_at") || name.ends_with("_time") {
                return Err(Error::input(place, "pandas reads a column of this name as dates")
                    .help("a duration is better named by its unit, such as `step_seconds`"));
            }
        }
        Ok(())
    }

    /// The text of `steps.schema.json`.
    pub(super) fn to_json(&self, thinning: Thinning) -> Result<Vec<u8>> {
        let row = ROW_COLUMNS.iter().map(|&(name, doc, unit)| Column::scalar(name, doc, unit)).collect();
        let file = SchemaFile { row, columns: self.columns.clone(), thinning, digits: super::number::DIGITS };
        let mut text = serde_json::to_vec_pretty(&file).map_err(|e| Error::failure(SCHEMA_FILE, e))?;
        text.push(b'\n');
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_unique_and_no_dates() {
        let check = |names: &[&str]| {
            let columns = names.iter().map(|name| Column::scalar(*name, "", "")).collect();
            Schema { columns }.check().map_err(|e| e.to_string())
        };
        check(&["loss", "rate", "signal"]).unwrap();
        assert!(check(&["loss", "loss_max"]).unwrap_err().contains("`loss_max` is taken"));
        assert!(check(&["steps"]).unwrap_err().contains("`steps` is taken"));
        assert!(check(&["timestamp"]).unwrap_err().contains("dates"));
        assert!(check(&["step_time"]).unwrap_err().contains("dates"));
        assert!(check(&[""]).unwrap_err().contains("needs a name"));
    }

    #[test]
    fn values_are_named_in_order() {
        let columns = vec![Column::scalar("loss", "", ""), Column::list("signal", "", "", ["a", "b"])];
        let schema = Schema { columns };
        assert_eq!(schema.width(), 3);
        assert_eq!(schema.value_names().collect::<Vec<_>>(), ["loss", "signal[a]", "signal[b]"]);
    }
}

//! Tables: a header, columns of numbers, columns of categories, and the columns that are predicted.

use super::table::Table;
use super::{Dataset, Splits, Targets, Task};
use crate::base::{Error, Result, Threads};
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// So many rows become numbers in one go on one thread.
const ENCODED_TOGETHER: usize = 1024;

/// A table in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvSource {
    /// The file; its first line names the columns.
    pub path: PathBuf,
    /// A file with the same columns, to test.
    pub test: Option<PathBuf>,
    /// The names of the columns that are predicted: one of classes, or any number of values; the last column if none is named.
    pub targets: Vec<String>,
    /// What the target is. If unsaid: values if there are several columns, or if a cell is a number that is not whole;
    /// classes if a cell is no number.
    pub task: Option<Task>,
    /// Columns that are left out.
    pub ignore: Vec<String>,
    /// Columns that are categories although their cells are numbers.
    pub categorical: Vec<String>,
    /// What separates cells: an ASCII character.
    pub delimiter: char,
}

impl CsvSource {
    /// A comma-separated table with these targets.
    pub fn new<S: Into<String>>(path: impl Into<PathBuf>, targets: impl IntoIterator<Item = S>) -> Self {
        Self {
            path: path.into(),
            test: None,
            targets: targets.into_iter().map(Into::into).collect(),
            task: None,
            ignore: Vec::new(),
            categorical: Vec::new(),
            delimiter: ',',
        }
    }

    /// Reads the table. A column of categories becomes a feature for each category, 1 where a row has it. Categories and
    /// classes are those of the training file (a validation part held out of it later included), sorted.
    ///
    /// # Errors
    /// A file is missing or malformed; a column is missing or named twice; a cell is empty, no number in a column of
    /// numbers, or a category that the training file does not have. A bad cell is named by row, line and column.
    pub fn load(&self) -> Result<Splits> {
        self.load_on(&Threads::new(0)?)
    }

    pub(super) fn load_on(&self, threads: &Threads) -> Result<Splits> {
        let table = Table::read(&self.path, self.delimiter, threads)?;
        let columns = self.fit(&table)?;
        let part = |table: &Table, encoded: Encoded| -> Result<Dataset> {
            let missing = || table.no_column(columns.targets.missing(table));
            let targets = encoded.targets.ok_or_else(missing)?;
            let data = Dataset::new(&table.place, encoded.x, targets)?.with_feature_names(columns.feature_names())?;
            match &columns.targets.classes {
                Some(classes) => data.with_class_names(classes.clone()),
                None => Ok(data),
            }
        };
        let train = part(&table, columns.encode(&table, threads)?)?;
        let test = self.test.as_ref().map(|path| {
            let table = Table::read(path, self.delimiter, threads)?;
            part(&table, columns.encode(&table, threads)?)
        });
        let mut splits = Splits::new("a table", train, test.transpose()?)?;
        splits.preprocessing.columns = Some(columns);
        Ok(splits)
    }

    /// Which columns there are, of what kind, with which categories.
    fn fit(&self, table: &Table) -> Result<Columns> {
        for name in self.targets.iter().chain(&self.ignore).chain(&self.categorical) {
            table.column(name).ok_or_else(|| table.no_column(name))?;
        }
        let targets = self.fit_targets(table)?;
        let mut inputs = Vec::new();
        for (at, name) in table.header.iter().enumerate() {
            if targets.names.contains(name) || self.ignore.contains(name) {
                continue;
            }
            let named = self.categorical.contains(name);
            let categories = if named || !table.has_number(at) { Some(table.categories(at)?) } else { None };
            inputs.push(Column { name: name.clone(), categories });
        }
        if inputs.is_empty() {
            let header = table.header.join(", ");
            let message = format!("no column is left to predict from: the header names {header}");
            return Err(Error::input(&table.place, message)
                .help(format!("cells are separated by `{}`; `delimiter` can say otherwise", self.delimiter)));
        }
        Ok(Columns { inputs, targets, delimiter: self.delimiter })
    }

    /// Which columns are predicted, and their classes if that is what they hold.
    fn fit_targets(&self, table: &Table) -> Result<TargetColumns> {
        let last = table.header.last().ok_or_else(|| Error::input(&table.place, "the file has no header"))?;
        let names = if self.targets.is_empty() { vec![last.clone()] } else { self.targets.clone() };
        let [name] = names.as_slice() else {
            if self.task == Some(Task::Classification) {
                let message = format!("classes come from one column, {} are named as targets", names.len());
                return Err(Error::input(&table.place, message));
            }
            return Ok(TargetColumns { names, classes: None });
        };
        let at = table.column(name).ok_or_else(|| table.no_column(name))?;
        let classification = match self.task {
            Some(task) => task == Task::Classification,
            None => Self::infer(table, at)?,
        };
        let classes = if classification { Some(table.categories(at)?) } else { None };
        Ok(TargetColumns { names, classes })
    }

    /// Whether an undeclared target is classes.
    fn infer(table: &Table, target: usize) -> Result<bool> {
        let cells = || table.rows.iter().map(|row| row[target].parse::<f64>());
        if cells().any(|cell| cell.is_err()) {
            return Ok(true);
        }
        if cells().flatten().any(|value| value.fract() != 0.0) {
            return Ok(false);
        }
        Err(Error::input(
            &table.place,
            format!("column `{}` holds whole numbers only: classes or values?", table.header[target]),
        )
        .help("say which: set `task` to classification or regression"))
    }
}

/// The columns of a table, as they were in the training data: what it takes to read new rows the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Columns {
    /// The columns that features come from, in the order of the features.
    pub inputs: Vec<Column>,
    /// The columns that are predicted.
    pub targets: TargetColumns,
    /// What separates cells.
    pub delimiter: char,
}

/// A column that features come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name in the header.
    pub name: String,
    /// Its categories, sorted, each of which is a feature; absent for a column of numbers, which is one feature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<String>>,
}

/// The columns that are predicted: one of classes, or one or more of values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetColumns {
    /// Their names in the header, in the order of the outputs.
    pub names: Vec<String>,
    /// The classes, sorted (as numbers if all are), for classification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
}

impl TargetColumns {
    /// The first of them that a table lacks.
    fn missing(&self, table: &Table) -> &str {
        self.names.iter().find(|name| table.column(name).is_none()).map_or("", String::as_str)
    }
}

/// Rows of a table as numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    /// `[rows, features]`.
    pub x: Array2<f32>,
    /// The targets, if the table has their column.
    pub targets: Option<Targets>,
}

impl Columns {
    /// The name of each feature: a column's, or `column=category`.
    pub fn feature_names(&self) -> Vec<String> {
        let names = |column: &Column| match &column.categories {
            Some(categories) => categories.iter().map(|category| format!("{}={category}", column.name)).collect(),
            None => vec![column.name.clone()],
        };
        self.inputs.iter().flat_map(names).collect()
    }

    /// Reads new rows. Columns are found by their name; others than those of the training data are not looked at, and
    /// targets may be absent.
    ///
    /// # Errors
    /// As [`CsvSource::load`].
    pub fn read(&self, path: &Path) -> Result<Encoded> {
        let threads = Threads::new(0)?;
        self.encode(&Table::read(path, self.delimiter, &threads)?, &threads)
    }

    fn encode(&self, table: &Table, threads: &Threads) -> Result<Encoded> {
        let find = |column: &Column| table.column(&column.name).ok_or_else(|| table.no_column(&column.name));
        let places = self.inputs.iter().map(find).collect::<Result<Vec<_>>>()?;
        let (rows, features) = (table.rows.len(), self.feature_names().len());
        let mut x = vec![0.0; rows * features];
        let mut outcomes: Vec<Result<()>> = vec![Ok(()); rows.div_ceil(ENCODED_TOGETHER)];
        threads.zip_chunks(&mut x, ENCODED_TOGETHER * features, &mut outcomes, 1, |part, x, outcome| {
            let mut rows = x.chunks_exact_mut(features).enumerate();
            outcome[0] =
                rows.try_for_each(|(row, x)| self.encode_row(table, part * ENCODED_TOGETHER + row, &places, x));
        });
        outcomes.into_iter().collect::<Result<()>>()?;
        let x = Array2::from_shape_vec((rows, features), x).expect("each row made all features");
        Ok(Encoded { x, targets: self.encode_targets(table)? })
    }

    /// The features of one row; `places` are the columns of the inputs, `x` is 0.
    fn encode_row(&self, table: &Table, row: usize, places: &[usize], x: &mut [f32]) -> Result<()> {
        let mut first = 0;
        for (column, &at) in self.inputs.iter().zip(places) {
            match &column.categories {
                None => x[first] = table.number(row, at)?,
                Some(categories) => x[first + table.category(row, at, categories)?] = 1.0,
            }
            first += column.categories.as_ref().map_or(1, Vec::len);
        }
        Ok(())
    }

    /// The targets; none where the table lacks a column of them.
    fn encode_targets(&self, table: &Table) -> Result<Option<Targets>> {
        let columns = self.targets.names.iter().map(|name| table.column(name)).collect::<Option<Vec<_>>>();
        let Some(columns) = columns else { return Ok(None) };
        let rows = 0..table.rows.len();
        let Some(classes) = &self.targets.classes else {
            let cells = rows.flat_map(|row| columns.iter().map(move |&at| (row, at)));
            let values = cells.map(|(row, at)| table.number(row, at)).collect::<Result<_>>()?;
            return Ok(Some(Targets::Values { values, width: columns.len() }));
        };
        let label = |row| table.category(row, columns[0], classes).map(|label| label as u32);
        let labels = rows.map(label).collect::<Result<_>>()?;
        Ok(Some(Targets::Classes { labels, classes: classes.len() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::{TempDir, tempdir};

    const HOUSES: &str = "size, colour,id,age,price\n1.5,red,a,3,10.5\n2,\"blue\",b,4,20\n\n3.25,red,c,4,30\n";

    fn write(text: &str) -> (TempDir, PathBuf) {
        let folder = tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn source(path: &Path, target: &str) -> CsvSource {
        CsvSource { ignore: vec!["id".into()], ..CsvSource::new(path, [target]) }
    }

    fn error(text: &str, target: &str) -> String {
        let (_folder, path) = write(text);
        CsvSource::new(&path, [target]).load().unwrap_err().to_string()
    }

    #[test]
    fn numbers_and_categories_become_features() {
        let (_folder, path) = write(HOUSES);
        let categorical = CsvSource { categorical: vec!["age".into()], ..source(&path, "price") };
        let splits = categorical.load().unwrap();
        let names = splits.train.feature_names().unwrap();
        assert_eq!(names, ["size", "colour=blue", "colour=red", "age=3", "age=4"]);
        assert_eq!(splits.train.row(0), [1.5, 0.0, 1.0, 1.0, 0.0]);
        assert_eq!(splits.train.row(1), [2.0, 1.0, 0.0, 0.0, 1.0]);
        assert_eq!(splits.train.targets(), &Targets::Values { values: vec![10.5, 20.0, 30.0], width: 1 });
        assert_eq!(source(&path, "price").load().unwrap().train.features(), 4);
    }

    #[test]
    fn classes_are_sorted_by_value_or_as_text() {
        let (_folder, path) = write("x,y\n1,10\n2,9\n3,10\n");
        assert!(CsvSource::new(&path, ["y"]).load().unwrap_err().to_string().contains("classes or values?"));
        let declared = CsvSource { task: Some(Task::Classification), ..CsvSource::new(&path, ["y"]) };
        let splits = declared.load().unwrap();
        assert_eq!(splits.train.class_names().unwrap(), ["9", "10"]);
        assert_eq!(splits.train.targets(), &Targets::Classes { labels: vec![1, 0, 1], classes: 2 });
        let (_folder, path) = write(HOUSES);
        assert_eq!(source(&path, "colour").load().unwrap().train.class_names().unwrap(), ["blue", "red"]);
    }

    #[test]
    fn several_columns_are_values_and_the_last_is_the_target_if_none_is_named() {
        let (folder, path) = write("a, b,c, y\n1,2,3,4.5\n5,6,7,8.5\n");
        let splits = CsvSource::new(&path, ["y", "a"]).load().unwrap();
        assert_eq!(splits.train.feature_names().unwrap(), ["b", "c"]);
        assert_eq!(splits.train.targets(), &Targets::Values { values: vec![4.5, 1.0, 8.5, 5.0], width: 2 });
        let columns = splits.preprocessing.columns.unwrap();
        let new = folder.path().join("new.csv");
        std::fs::write(&new, "c,b,a\n1,2,3\n").unwrap();
        assert_eq!(columns.read(&new).unwrap().targets, None, "one of the two is not enough");
        let task = Some(Task::Classification);
        let error = CsvSource { task, ..CsvSource::new(&path, ["y", "a"]) }.load().unwrap_err().to_string();
        assert!(error.contains("classes come from one column, 2 are named"), "{error}");
        let last = CsvSource::new(&path, [""; 0]).load().unwrap();
        assert_eq!(last.train.targets(), &Targets::Values { values: vec![4.5, 8.5], width: 1 });
    }

    /// More rows than one thread encodes in one go, and more bytes than a piece.
    #[test]
    fn long_tables_are_the_same_on_any_number_of_threads() {
        let rows: String = (0..30_000).map(|i| format!("{i},{},k{}\n", i * 3, i % 4)).collect();
        let (_folder, path) = write(&format!("a,b,y\n{rows}"));
        let load = |threads| CsvSource::new(&path, ["y"]).load_on(&Threads::new(threads).unwrap());
        let splits = load(1).unwrap();
        assert!((0..30_000).all(|i| splits.train.row(i) == [i as f32, i as f32 * 3.0]));
        assert_eq!(load(3).unwrap(), splits);
        let bad = rows.replace("\n29000,", "\nx,").replace("\n20000,", "\n,");
        std::fs::write(&path, format!("a,b,y\n{bad}")).unwrap();
        let error = load(3).unwrap_err();
        assert!(error.to_string().contains("row 20001 (line 20002), column `a`: the cell is empty"), "{error}");
        assert_eq!(load(1).unwrap_err(), error);
    }

    #[test]
    fn cells_can_be_separated_otherwise() {
        let (_folder, path) = write("a;b;y\n1;2;x\n3;4;z\n");
        let source = CsvSource { delimiter: ';', ..CsvSource::new(&path, ["y"]) };
        assert_eq!(source.load().unwrap().train.row(1), [3.0, 4.0]);
        let error = CsvSource { delimiter: ',', targets: vec![], ..source.clone() }.load().unwrap_err().to_string();
        assert!(error.contains("the header names a;b;y\n  help: cells are separated by `,`"), "{error}");
        assert!(CsvSource { delimiter: '→', ..source }.load().is_err());
    }

    #[test]
    fn bad_cells_are_named_by_row_line_and_column() {
        assert!(error("a,y\n1,2.5\n\n,3\n", "y").contains("row 2 (line 4), column `a`: the cell is empty"));
        assert!(error("a,y\r\n1,2.5\r\n\r\n,3\r\n", "y").contains("row 2 (line 4), column `a`: the cell is empty"));
        assert!(error("a,y\n1,\"2.5\n\"\n,3\n", "y").contains("row 2 (line 4), column `a`: the cell is empty"));
        assert!(error("a,y\n1,2.5\nabc,3\n", "y").contains("row 2 (line 3), column `a`: `abc` is not a number"));
        assert!(error("a,y\n1,2.5\nNaN,3\n", "y").contains("row 2 (line 3), column `a`: `NaN` is not a finite"));
        assert!(error("a,y\n1,2.5\n1e39,3\n", "y").contains("`1e39` is not a finite"));
        assert!(error("a,y\n1,2.5\n2,inf\n", "y").contains("row 2 (line 3), column `y`"));
        assert!(error("a,y\n1,2.5\n2,3,4\n", "y").contains("line 3 has 3 cells, the header has 2"));
        assert!(error("a,y\n1,2.5\n", "z").contains("no column `z`\n  help: the header names: a, y"));
        let open = "line 3: a quote begins a cell and nothing ends it";
        assert!(error("a,y\n1,2.5\n3,\"4.5\n5,6.5\n7,8.5\n", "y").contains(open));
        assert!(error("\u{feff}\"a\",y\n1,\"2\"\"\n5\"\n\"3,4.5", "y").contains("line 4: a quote begins"));
        assert!(error("a,a\n1,2.5\n", "a").contains("two columns are named `a`"));
        assert!(error("a,y\n", "y").contains("no rows"));
        assert!(error("y\n1.5\n", "y").contains("no column is left"));
    }

    #[test]
    fn new_rows_are_read_with_the_columns_of_the_training_data() {
        let (folder, path) = write(HOUSES);
        let splits = source(&path, "price").load().unwrap();
        let text = serde_json::to_string(&splits.preprocessing).unwrap();
        let kept: super::super::Preprocessing = serde_json::from_str(&text).unwrap();
        let new = folder.path().join("new.csv");
        std::fs::write(&new, "\u{feff}age,extra,colour,size\n7,zzz,red,9\n").unwrap();
        assert_eq!(kept.read_inputs(&new).unwrap().as_slice().unwrap(), [9.0, 0.0, 1.0, 7.0]);
        std::fs::write(&new, "age,colour,size\n7,green,9\n").unwrap();
        let error = kept.read_inputs(&new).unwrap_err().to_string();
        assert!(error.contains("row 1 (line 2), column `colour`: `green` does not occur"), "{error}");
        assert!(error.contains("known there: blue, red"));
        std::fs::write(&new, "age,colour\n7,red\n").unwrap();
        assert!(kept.read_inputs(&new).unwrap_err().to_string().contains("no column `size`"));
    }
}

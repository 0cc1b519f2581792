//! `steepest eval` and `steepest predict` on runs that were trained for a few steps.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use steepest::config::Config;
use steepest::run::{RunEnd, SavedModel, Silent, TrainOptions, train};
use tempfile::TempDir;

const DIGITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits");

fn trained(folder: &TempDir, toml: &str) -> (PathBuf, RunEnd) {
    let file = folder.path().join("net.toml");
    std::fs::write(&file, toml).unwrap();
    let out = folder.path().join("run");
    let options = TrainOptions { out: Some(out.clone()), ..TrainOptions::default() };
    let end = train(&Config::from_file(&file).unwrap(), &options, &mut Silent).unwrap();
    (out, end)
}

fn digits(folder: &TempDir) -> (PathBuf, RunEnd) {
    let toml = "[data]\nsource = \"digits\"\nstandardize = \"standardize\"\n[model]\nlayers = [{ kind = \"linear\", out = 16 }, \"relu\", \
                { kind = \"dropout\", p = 0.2 }, { kind = \"linear\", out = 10 }]\n[train]\nmax_steps = 60\n[device]\ndevice = \"cpu\"\n";
    trained(folder, toml)
}

/// A table of a linear law with two categories, and of classes by sign.
fn table(folder: &TempDir, name: &str, classes: bool, targets: bool) -> PathBuf {
    let mut text = String::from(if targets { "a,colour,y\n" } else { "colour,a\n" });
    for i in 0..80 {
        let (a, colour) = (f64::from(i % 16) / 4.0 - 2.1, ["red", "blue"][i as usize % 3 % 2]);
        let value = 2.0 * a + if colour == "red" { 1.5 } else { -0.25 };
        let target = if classes { ["low", "high"][usize::from(value > 0.0)].to_owned() } else { value.to_string() };
        text += &if targets { format!("{a},{colour},{target}\n") } else { format!("{colour},{a}\n") };
    }
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn table_config(classes: bool) -> String {
    let out = if classes { 2 } else { 1 };
    format!(
        "[data]\nsource = \"csv\"\npath = \"train.csv\"\ntest_split = 0.25\n[model]\nlayers = [{{ kind = \"linear\", out = {out} }}]\n\
         [train]\nepochs = 60\nbatch = 20\noptimizer = \"adam\"\nlr = 0.1\n[device]\ndevice = \"cpu\"\n"
    )
}

fn steepest(command: &str, run: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_steepest")).arg(command).arg(run).args(more).output().unwrap()
}

fn text(output: Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}

fn json(output: Output) -> serde_json::Value {
    serde_json::from_str(&text(output)).unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// F1 of each class, 2·tp / (2·tp + fp + fn), from the cells of a confusion matrix: its mean, and its mean by the classes' sizes.
fn means_of_f1(confusion: &[Vec<f64>]) -> [f64; 2] {
    let sizes: Vec<f64> = confusion.iter().map(|row| row.iter().sum()).collect();
    let predicted = |class: usize| confusion.iter().map(|row| row[class]).sum::<f64>();
    let f1 = |class: usize| 2.0 * confusion[class][class] / (predicted(class) + sizes[class]);
    let plain = (0..sizes.len()).map(f1).sum::<f64>() / sizes.len() as f64;
    let weighted = (0..sizes.len()).map(|class| sizes[class] * f1(class)).sum::<f64>() / sizes.iter().sum::<f64>();
    [plain, weighted]
}

#[test]
fn digits_are_judged_as_training_judged_them() {
    let folder = tempfile::tempdir().unwrap();
    let (run, end) = digits(&folder);
    let test = end.test.unwrap();
    let own = json(steepest("eval", &run, &["--json"]));
    assert!((own["loss"].as_f64().unwrap() - test.loss).abs() <= 1e-6 * test.loss);
    assert_eq!(own["accuracy"].as_f64(), test.accuracy());
    assert_eq!(own["confusion"].as_array().unwrap().len(), 10);
    let summary: serde_json::Value = serde_json::from_slice(&std::fs::read(run.join("summary.json")).unwrap()).unwrap();
    let found = ["macro_f1", "weighted_f1"].map(|key| summary["test"][key].as_f64().unwrap());
    let expected = means_of_f1(&serde_json::from_value::<Vec<Vec<f64>>>(own["confusion"].clone()).unwrap());
    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}, expected {expected:?}");
    let pictures = format!("{DIGITS}/test-images-idx3-ubyte.gz");
    for data in [DIGITS, &pictures] {
        assert_eq!(json(steepest("eval", &run, &["--json", "--data", data])), own, "{data}");
    }
    let weights = run.join("model.safetensors");
    let config = folder.path().join("net.toml");
    assert_eq!(json(steepest("eval", &config, &["--json", "--weights", path(&weights)])), own);
    let scores = folder.path().join("scores.csv");
    let shown = text(steepest("eval", &run, &["--csv", path(&scores)]));
    assert!(shown.contains("accuracy") && shown.contains("macro F1") && shown.contains("true \\ predicted"), "{shown}");
    assert_eq!(std::fs::read_to_string(scores).unwrap().lines().count(), 11);
}

#[test]
fn digits_are_predicted() {
    let folder = tempfile::tempdir().unwrap();
    let (run, end) = digits(&folder);
    let pictures = format!("{DIGITS}/test-images-idx3-ubyte.gz");
    let shown = text(steepest("predict", &run, &["--data", &pictures]));
    assert_eq!(shown.lines().count(), 361);
    let (lines, array) = (folder.path().join("p.csv"), folder.path().join("p.npy"));
    text(steepest("predict", &run, &["--data", &pictures, "--out", path(&lines)]));
    text(steepest("predict", &run, &["--data", &pictures, "--out", path(&array)]));
    let array = npyz::NpyFile::new(std::fs::File::open(array).unwrap()).unwrap();
    assert_eq!(array.shape(), [360, 10]);
    let shares: Vec<f64> = array.into_vec().unwrap();
    let test = steepest::data::digits().unwrap().test.unwrap();
    let steepest::data::Targets::Classes { labels, .. } = test.targets().clone() else { panic!("digits are classes") };
    let mut right = 0;
    let mut reader = csv::Reader::from_path(lines).unwrap();
    assert_eq!(&reader.headers().unwrap()[10], "probability 9");
    for ((line, row), label) in reader.records().zip(shares.chunks_exact(10)).zip(labels) {
        let line = line.unwrap();
        assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        for (cell, share) in line.iter().skip(1).zip(row) {
            assert_eq!(cell.parse::<f64>().unwrap(), *share);
        }
        let class: usize = line[0].parse().unwrap();
        assert!(row.iter().all(|share| *share <= row[class]));
        right += u32::from(class == label as usize);
    }
    assert_eq!(Some(f64::from(right) / 360.0), end.test.unwrap().accuracy());
}

#[test]
fn tables_of_classes_keep_their_names() {
    let folder = tempfile::tempdir().unwrap();
    table(&folder, "train.csv", true, true);
    let (run, end) = trained(&folder, &table_config(true));
    let own = json(steepest("eval", &run, &["--json"]));
    assert_eq!(own["class_names"], serde_json::json!(["high", "low"]));
    assert_eq!(own["accuracy"].as_f64(), end.test.unwrap().accuracy());
    let all = json(steepest("eval", &run, &["--json", "--data", path(&folder.path().join("train.csv"))]));
    assert_eq!(all["examples"], 80);
    let new = table(&folder, "new.csv", true, false);
    let shown = text(steepest("predict", &run, &["--data", path(&new)]));
    assert!(shown.starts_with("  row  class  probability\n    0  low "), "{shown}");
    let error = steepest("eval", &run, &["--data", path(&new)]);
    assert!(String::from_utf8_lossy(&error.stderr).contains("no column `y`") && error.status.code() == Some(2));
}

#[test]
fn tables_of_values_are_judged_and_predicted() {
    let folder = tempfile::tempdir().unwrap();
    table(&folder, "train.csv", false, true);
    let (run, _) = trained(&folder, &table_config(false));
    let own = json(steepest("eval", &run, &["--json"]));
    assert!(own["overall"]["r2"].as_f64().unwrap() > 0.9, "{own}");
    assert!(text(steepest("eval", &run, &[])).contains("RMSE"));
    let (new, out) = (table(&folder, "new.csv", false, false), folder.path().join("out.csv"));
    text(steepest("predict", &run, &["--data", path(&new), "--out", path(&out)]));
    let lines: Vec<String> = std::fs::read_to_string(out).unwrap().lines().map(str::to_owned).collect();
    assert_eq!((lines.len(), lines[0].as_str()), (81, "y"));
    assert!(lines[1].parse::<f64>().unwrap() < 0.0);
}

#[test]
fn folders_and_files_that_do_not_fit_are_errors_of_the_input() {
    let folder = tempfile::tempdir().unwrap();
    let (run, _) = digits(&folder);
    let fails = |command: &str, path: &Path, more: &[&str], expected: &str| {
        let done = steepest(command, path, more);
        let error = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.code() == Some(2) && error.contains(expected), "{command} {more:?}: {error}");
    };
    let config = folder.path().join("net.toml");
    fails("eval", &config, &[], "a config has no weights");
    fails("eval", folder.path(), &[], "is not the folder of a run");
    fails("predict", &run, &["--data", "x.npy", "--out", "p.txt"], "ends in .csv or .npy");
    fails("predict", &run, &["--data", "nowhere.csv"], "not on a table");
    fails("eval", &run, &["--weights", "nowhere.safetensors"], "nowhere.safetensors: could not be read");
    std::fs::remove_file(run.join("preprocessing.json")).unwrap();
    fails("eval", &run, &[], "preprocessing.json: could not be read");
    assert_eq!(SavedModel::open(&run).unwrap_err().exit_code(), 2);
}

//! Training on folders of PNG files, which a test writes from the built-in digits, and what comes after training.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use steepest::config::Config;
use steepest::data::{Dataset, FolderSource, Preprocessing, Source, Targets, digits};
use steepest::run::{RunEnd, Silent, TrainOptions, train};
use tempfile::TempDir;

const PICTURES: &str = "source = \"folder\"\npath = \"train\"\ntest_path = \"test\"\n";

/// The byte of a pixel of the digits, which are sixteenths.
fn byte(pixel: f32) -> u8 {
    (pixel * 255.0).round() as u8
}

/// Rows in the order of their class, and within one in their own: that of folders.
fn by_class(data: &Dataset) -> Vec<(u32, &[f32])> {
    let Targets::Classes { labels, .. } = data.targets() else { panic!("digits are classes") };
    let mut rows: Vec<(u32, &[f32])> = labels.iter().enumerate().map(|(row, &label)| (label, data.row(row))).collect();
    rows.sort_by_key(|row| row.0);
    rows
}

fn write_png(path: &Path, kind: png::ColorType, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut encoder = png::Encoder::new(fs::File::create(path).unwrap(), 8, 8);
    encoder.set_color(kind);
    encoder.write_header().unwrap().write_image_data(bytes).unwrap();
}

fn write_idx(path: &Path, extents: &[u32], bytes: &[u8]) {
    let mut file = vec![0, 0, 8, extents.len() as u8];
    extents.iter().for_each(|extent| file.extend(extent.to_be_bytes()));
    fs::write(path, [&file, bytes].concat()).unwrap();
}

/// The digits as folders of PNG files, `train/0/0000.png`, and the same bytes in the same order as IDX files.
fn digits_in_files() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let splits = digits().unwrap();
    for (part, idx, data) in [("train", "train", &splits.train), ("test", "t10k", splits.test.as_ref().unwrap())] {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for (row, (label, x)) in by_class(data).into_iter().enumerate() {
            let bytes: Vec<u8> = x.iter().map(|&pixel| byte(pixel)).collect();
            write_png(&folder.path().join(format!("{part}/{label}/{row:04}.png")), png::ColorType::Grayscale, &bytes);
            pixels.extend(bytes);
            labels.push(label as u8);
        }
        let rows = labels.len() as u32;
        write_idx(&folder.path().join(format!("{idx}-images-idx3-ubyte")), &[rows, 8, 8], &pixels);
        write_idx(&folder.path().join(format!("{idx}-labels-idx1-ubyte")), &[rows], &labels);
    }
    folder
}

fn trained(folder: &TempDir, name: &str, data: &str, threads: usize) -> (PathBuf, RunEnd) {
    let file = folder.path().join(format!("{name}.toml"));
    let toml = format!(
        "[data]\n{data}split = 0.1\nstandardize = \"standardize\"\n[model]\n\
         layers = [{{ kind = \"linear\", out = 32 }}, \"relu\", {{ kind = \"linear\", out = 10 }}]\n\
         [train]\nepochs = 4\n[device]\ndevice = \"cpu\"\nthreads = {threads}\n"
    );
    fs::write(&file, toml).unwrap();
    let out = folder.path().join(name);
    let options = TrainOptions { out: Some(out.clone()), ..TrainOptions::default() };
    let end = train(&Config::from_file(&file).unwrap(), &options, &mut Silent).unwrap();
    (out, end)
}

fn steepest(line: &[&str], folder: &TempDir) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_steepest")).args(line).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn folders_train_to_the_weights_of_idx_files_with_the_same_bytes() {
    let folder = digits_in_files();
    let weights = |run: &Path| fs::read(run.join("model.safetensors")).unwrap();
    let (pictures, end) = trained(&folder, "pictures", PICTURES, 2);
    let (idx, _) = trained(&folder, "idx", "source = \"idx\"\npath = \".\"\n", 2);
    let (single, _) = trained(&folder, "single", PICTURES, 1);
    assert!(weights(&pictures) == weights(&idx), "PNG and IDX files of the same bytes");
    assert!(weights(&pictures) == weights(&single), "two threads and one");
    let accuracy = end.test.unwrap().accuracy().unwrap();
    println!("accuracy on the test part: {accuracy}");
    assert!(accuracy > 0.9, "{accuracy}");

    let data = digits().unwrap().test.unwrap();
    let json = |line: &[&str]| serde_json::from_str::<serde_json::Value>(&steepest(line, &folder)).unwrap();
    let own = json(&["eval", "pictures", "--json"]);
    assert_eq!(own["accuracy"].as_f64(), Some(accuracy));
    assert_eq!(json(&["eval", "pictures", "--json", "--data", "test"]), own);
    assert_eq!(json(&["eval", "pictures", "--json", "--data", "t10k-images-idx3-ubyte"]), own, "bytes in IDX files");
    // A model that knows no names of classes takes their numbers.
    assert_eq!(json(&["eval", "idx", "--json", "--data", "test"])["accuracy"], own["accuracy"]);

    // Without folders of classes, in the order of names, which is that of rows here.
    for (row, (_, x)) in by_class(&data).iter().enumerate() {
        let bytes: Vec<u8> = x.iter().map(|&pixel| byte(pixel)).collect();
        write_png(&folder.path().join(format!("new/{row:04}.png")), png::ColorType::Grayscale, &bytes);
    }
    let shares = |data: &str| {
        steepest(&["predict", "pictures", "--data", data, "--out", "p.npy"], &folder);
        fs::read(folder.path().join("p.npy")).unwrap()
    };
    assert!(shares("new") == shares("test") && shares("new") == shares("t10k-images-idx3-ubyte"));
    steepest(&["predict", "pictures", "--data", "new", "--out", "p.csv"], &folder);
    let mut lines = csv::Reader::from_path(folder.path().join("p.csv")).unwrap();
    assert_eq!(lines.headers().unwrap().iter().take(3).collect::<Vec<_>>(), ["file", "class", "probability 0"]);
    let found: Vec<[String; 2]> =
        lines.records().map(|line| line.unwrap()).map(|line| [line[0].into(), line[1].into()]).collect();
    let right = found.iter().zip(by_class(&data)).filter(|(line, (label, _))| line[1] == label.to_string()).count();
    assert_eq!((right as f64 / 360.0, found[7][0].as_str()), (accuracy, "0007.png"));
    let shown = steepest(&["predict", "pictures", "--data", "new/0007.png"], &folder);
    assert!(shown.lines().nth(1).unwrap().contains("new/0007.png") && shown.lines().count() == 2, "{shown}");
    assert!(steepest(&["predict", "pictures", "--data", "test"], &folder).contains("3/"), "names with their class");
}

/// Classes and files in the order of names, on any number of threads; colours by channel.
#[test]
fn the_order_is_that_of_names() {
    let folder = tempfile::tempdir().unwrap();
    let grey = |name: &str, value: u8| write_png(&folder.path().join(name), png::ColorType::Grayscale, &[value; 64]);
    [("set/b/2.png", 1), ("set/b/10.png", 2), ("set/Z/x.PNG", 3), ("set/a/é.png", 4), ("set/a/z.png", 5)]
        .into_iter()
        .for_each(|(name, value)| grey(name, value));
    let source = Source::Folder(FolderSource::new(folder.path().join("set")));
    let load = |threads| source.load_on(1, threads).unwrap();
    let splits = load(1);
    let firsts = |data: &Dataset| (0..data.len()).map(|row| byte(data.row(row)[0])).collect::<Vec<_>>();
    assert_eq!(splits.train.class_names().unwrap(), ["Z", "a", "b"]);
    assert_eq!(firsts(&splits.train), [3, 5, 4, 2, 1]);
    assert_eq!(splits.train.targets(), &Targets::Classes { labels: vec![0, 1, 1, 2, 2], classes: 3 });
    assert_eq!(splits.train.sample_shape(), [8, 8]);
    for threads in [0, 2, 3, 7] {
        assert_eq!(load(threads), splits, "{threads} threads");
    }
    let text = serde_json::to_string(&splits.preprocessing).unwrap();
    assert_eq!(serde_json::from_str::<Preprocessing>(&text).unwrap(), splits.preprocessing);

    let colours: Vec<u8> = (0..192).collect();
    write_png(&folder.path().join("set/b/3.png"), png::ColorType::Rgb, &colours);
    let splits = load(2);
    assert_eq!(splits.train.sample_shape(), [3, 8, 8]);
    let row: Vec<u8> = splits.train.row(5).iter().map(|&x| byte(x)).collect();
    let planes: Vec<u8> = (0..3).flat_map(|channel| colours.iter().skip(channel).step_by(3).copied()).collect();
    assert_eq!(row, planes);
    assert!(splits.train.row(4).iter().all(|&x| byte(x) == 1), "grey in three channels");
    let counts = by_class(&splits.train).iter().fold(BTreeMap::new(), |mut counts, (label, _)| {
        *counts.entry(*label).or_insert(0) += 1;
        counts
    });
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [1, 2, 3]);
}

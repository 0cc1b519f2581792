//! Whatever is wrong with the program's input: one clear error on standard error, the right exit code, and nothing
//! half-written.

mod place;

use place::{NET, Place, error_of, files, text};
use std::fs;

#[test]
fn misspelt_keys_and_wrong_types_are_named() {
    let place = Place::with_net(("epochs = 2", "epocs = 2"));
    place.fails(
        "train net.toml --out out",
        2,
        &["net.toml: train.epocs: there is no key `epocs`", "did you mean `epochs`?"],
    );
    let place = Place::with_net(("epochs = 2", "epochs = \"many\""));
    place.fails(
        "train net.toml --out out",
        2,
        &["net.toml: train.epochs: expected an integer, found the string \"many\""],
    );
    let place = Place::with_net(("[train]", "[trian]"));
    place.fails("train net.toml --out out", 2, &["did you mean `train`?"]);
    let place = Place::with_net(("\"relu\"", "\"rellu\""));
    place.fails("train net.toml --out out", 2, &["model.layers[1]", "`relu`"]);
    let place = Place::with_net(("epochs = 2", "epochs = "));
    place.fails("train net.toml --out out", 2, &["net.toml:11", "no valid TOML"]);
    let place = Place::new();
    place.fails(
        "train --set train.lrr=1 --out out",
        2,
        &["--set: train.lrr: there is no key `lrr`", "did you mean `lr`?"],
    );
    place.fails("train --set train.lr=-1 --out out", 2, &["--set: train.lr: -1 is out of range"]);
}

#[test]
fn numbers_that_are_out_of_range_are_refused() {
    let place = Place::with_net(("epochs = 2", "epochs = 2"));
    for (options, expected) in [
        ("--epochs 0", "train.epochs: 0 is out of range: expected integer ≥ 1"),
        ("--max-steps 0", "train.max_steps: 0 is out of range"),
        ("--max-time 0", "train.max_time: 0 is out of range"),
        ("--seed 18446744073709551616", "number too large"),
        ("--set train.batch=0", "train.batch: 0 is out of range"),
        ("--set train.micro_batch=11", "train.micro_batch: 11 examples are more than the batch of 10"),
        ("--set train.batch=adaptiv", "train.batch: expected \"full\" | \"adaptive\" | integer"),
        ("--set train.batch=adaptive --set train.adaptive.min=1", "train.adaptive.min: 1 is out of range"),
        (
            "--set train.adaptive.min=9 --set train.adaptive.max=8",
            "train.adaptive.max: 8 is less than train.adaptive.min = 9",
        ),
        (
            "--set train.batch=adaptive --set train.micro_batch=20 --set train.adaptive.max=19",
            "train.adaptive.max: there is no batch of whole micro-batches of 20 from 20 to 19",
        ),
        ("--set train.batch=adaptive --set train.micro_batch=49", "train.batch: a batch of 49 is larger than the 48"),
        ("--set train.adaptive.threshold=0.5", "`threshold` does not apply to criterion = \"noise_scale\""),
        (
            "--set train.adaptive.criterion=norm_test --set train.adaptive.threshold=1",
            "train.adaptive.threshold: 1 is out of range: expected number in (0, 1)",
        ),
        ("--set train.adaptive.every=0", "train.adaptive.every: 0 is out of range"),
        ("--set train.adaptive.rate=linear", "train.adaptive.rate: expected \"keep\" | \"scale\""),
        ("--set train.batch=adaptive --set probes.noise=0", "follows the noise of the gradient, which is not measured"),
        ("--set train.batch=adaptive --set probes.preset=off", "which is not measured"),
        ("--set data.split=1", "data.split: 1 is out of range: expected number in [0, 1)"),
        ("--set data.class_weights=[1,2]", "data.class_weights: 2 weights for 3 classes"),
        ("--set data.split=0 --set validate.patience=2", "validate.patience: there is no validation part"),
        ("--set model.layers[9].out=5", "model.layers[9].out: there is no entry 9"),
        ("--set model.layers=[]", "model.layers: at least one layer is needed"),
        ("--set model.layers=[\"relu\"]", "model.layers: no layer has parameters"),
        ("--set train.lr", "train.lr: expected section.key=value"),
        ("--precision f64 --device llvmpipe", "GPUs compute in f32 only"),
    ] {
        place.fails(&format!("train net.toml --out out {options}"), 2, &[expected]);
    }
}

#[test]
fn odd_numbers_that_make_sense_are_taken() {
    let place = Place::with_net(("epochs = 2", "epochs = 2"));
    let record = |out: &str| fs::read(place.path().join(out).join("steps.jsonl")).unwrap();
    place.succeeds("train net.toml --out still --set train.lr=0");
    place.succeeds("train net.toml --out uneven --set train.batch=full --set train.micro_batch=7");
    place.succeeds("train net.toml --out large --seed 18446744073709551615");
    place.succeeds("train large --out again");
    place.succeeds("train net.toml --out other --seed 18446744073709551614");
    assert!(record("large") == record("again"), "the config of the run folder gives the same run");
    assert!(record("large") != record("other"), "every bit of the seed counts");
    place.succeeds("train net.toml --out set --set model.layers=[\"relu\",{kind=\"linear\",out=3}] --set train.schedule=[{kind=\"warmup\",steps=3},{kind=\"cosine\"}]");
}

#[test]
fn a_model_that_does_not_fit_its_data_is_refused() {
    let place = Place::with_net(("out = 3", "out = 7"));
    place.fails("train net.toml --out out", 2, &["model.layers: the model has 7 outputs for 3 classes", "out = 3"]);
    let place = Place::with_net(("batch = 10", "batch = 1000"));
    place.fails(
        "train net.toml --out out",
        2,
        &["train.batch: a batch of 1000 is larger than the 48 training examples"],
    );
}

#[test]
fn data_files_that_are_wrong_are_named() {
    let csv = |text: &str| {
        let place = Place::with_net(("source = \"blobs\"\nexamples = 60", "source = \"csv\"\npath = \"data.csv\""));
        place.write("data.csv", text);
        place
    };
    let rows: String = (0..40).map(|i| format!("{i},{},c{}\n", i * 2, i % 3)).collect();
    let good = format!("a,b,class\n{rows}");
    assert!(csv(&good).succeeds("train net.toml --out out").contains("training"));
    let line = "train net.toml --out out";
    let place = csv(&good);
    fs::remove_file(place.path().join("data.csv")).unwrap();
    place.fails(line, 2, &["data.csv"]);
    csv("a,b,class\n").fails(line, 2, &["data.csv", "no rows"]);
    csv("").fails(line, 2, &["data.csv"]);
    csv(&good.replace("\n3,6,", "\n3,NaN,")).fails(line, 2, &["data.csv", "row 4 (line 5), column `b`"]);
    csv(&good.replace("\n3,6,", "\n3,")).fails(line, 2, &["data.csv: line 5 has 2 cells, the header has 3"]);
    csv(&good.replace("\n3,6,", "\n3,six,")).fails(line, 2, &["row 4 (line 5), column `b`: `six` is not a number"]);
    csv(&good.replace("\n3,6,", "\n3,,")).fails(line, 2, &["row 4 (line 5), column `b`: the cell is empty"]);
    csv(&good.replace(',', ";")).fails(line, 2, &["no column is left", "the header names a;b;class", "`delimiter`"]);
    csv(&good.replace(",c", ",").replace("lass\n", "class\n")).fails(
        line,
        2,
        &["column `class` holds whole numbers only", "set `task`"],
    );
    let place = csv(&good.lines().take(2).collect::<Vec<_>>().join("\n"));
    place.fails(line, 2, &["data.split: holding out 1 to validate and 0 to test of 1 rows leaves none"]);
    let place = csv(&good.replace(",c1", ",c0").replace(",c2", ",c0"));
    place.fails(line, 2, &["model.layers: the model has 3 outputs for 1 class\n"]);
    csv(&good).fails(&format!("{line} --set data.target=clas"), 2, &["data.csv: there is no column `clas`"]);
}

#[test]
fn tables_are_read_as_they_come() {
    let rows: String = (0..40).map(|i| format!("{i},{},c{}\n", i * 2, i % 3)).collect();
    let good = format!("a,b,class\n{rows}");
    let shown = |text: &str, options: &str| {
        let place = Place::with_net(("source = \"blobs\"\nexamples = 60", "source = \"csv\"\npath = \"data.csv\""));
        place.write("data.csv", text);
        let shown = place.succeeds(&format!("train net.toml --out out {options}"));
        shown.lines().filter(|line| line.starts_with("  step ")).collect::<Vec<_>>().join("\n")
    };
    let expected = shown(&good, "");
    assert_eq!(shown(&good.replace('\n', "\r\n"), ""), expected, "the ends of lines on Windows");
    assert_eq!(shown(&format!("\u{feff}{good}"), ""), expected, "a byte order mark");
    assert_eq!(shown(&good.replace(',', ", "), ""), expected, "spaces behind commas");
    assert_eq!(shown(&format!("{good}\n\n"), ""), expected, "empty lines at the end");
    assert_eq!(shown(&good.replace(',', ";"), "--set data.delimiter=;"), expected);
    assert_eq!(shown(&good, "--set data.target=[\"class\"]"), expected);
}

#[test]
fn new_examples_that_do_not_fit_are_refused() {
    let place = Place::with_net(("source = \"blobs\"\nexamples = 60", "source = \"csv\"\npath = \"data.csv\""));
    let row = |i: usize| format!("{i},{},c{}\n", ["red", "blue"][i % 2], i % 3);
    place.write("data.csv", format!("size,colour,class\n{}", (0..40).map(row).collect::<String>()));
    place.succeeds("train net.toml --out out --epochs 1");
    place.write("new.csv", "colour,extra,size\nred,1,2\n");
    place.write("new.txt", "size,colour\n2,red\n");
    let table = place.succeeds("predict out --data new.csv");
    assert_eq!(table, place.succeeds("predict out --data new.txt"), "a table by any name");
    place.fails("eval out --data new.csv", 2, &["new.csv: there is no column `class`, which holds the targets"]);
    place.write("bad.csv", "size,colour\n2,green\n");
    place.fails("predict out --data bad.csv", 2, &["row 1 (line 2), column `colour`: `green` does not occur"]);
    place.write("bad.csv", "size,colour,class\n2,red,c7\n");
    place.fails("eval out --data bad.csv", 2, &["column `class`: `c7` does not occur", "known there: c0, c1, c2"]);
    place.write("bad.csv", "size,colour\nNaN,red\n");
    place.fails("predict out --data bad.csv", 2, &["row 1 (line 2), column `size`: `NaN` is not a finite"]);
    place.write("bad.csv", "colour\nred\n");
    place.fails("predict out --data bad.csv", 2, &["bad.csv: there is no column `size`"]);
    place.fails("predict out --data none.csv", 2, &["none.csv"]);
    place.fails("predict out --data new.csv --out p.txt", 2, &["p.txt: ", ".csv or .npy"]);
    place.fails("predict out --data new.csv --out new.csv/p.csv", 2, &["new.csv/p.csv: could not be written"]);
    place.fails("predict net.toml --data new.csv", 2, &["net.toml: is a file, not the folder of a run"]);
}

/// An npy file of little-endian numbers of this type.
fn npy(kind: &str, fortran: bool, shape: &str, bytes: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let mut head = format!("{{'descr': '{kind}', 'fortran_order': {order}, 'shape': ({shape}), }}").into_bytes();
    head.resize((head.len() + 11).next_multiple_of(64) - 11, b' ');
    head.push(b'\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((head.len() as u16).to_le_bytes());
    file.extend(head);
    file.extend(bytes);
    file
}

#[test]
fn numpy_arrays_are_read_in_any_order_and_refused_by_name() {
    let x: Vec<f32> = (0..80).map(|i| (i as f32).sin()).collect();
    let bytes = |x: &[f32]| -> Vec<u8> { x.iter().flat_map(|v| v.to_le_bytes()).collect() };
    let by_columns: Vec<f32> =
        (0..2).flat_map(|column| (0..40).map(move |row| row * 2 + column)).map(|i| x[i]).collect();
    let labels: Vec<u8> = (0..40).map(|i| i % 3).collect();
    let place = |x: &[u8], y: &[u8]| {
        let place = Place::with_net(("source = \"blobs\"\nexamples = 60", "source = \"npy\"\npath = \"x.npy\""));
        place.write("x.npy", x);
        place.write("y.npy", y);
        place
    };
    let (line, good_x, good_y) =
        ("train net.toml --out out", npy("<f4", false, "40, 2", &bytes(&x)), npy("|u1", false, "40,", &labels));
    let steps = |x: &[u8], y: &[u8]| {
        let shown = place(x, y).succeeds(line);
        shown.lines().filter(|line| line.starts_with("  step ")).collect::<Vec<_>>().join("\n")
    };
    let expected = steps(&good_x, &good_y);
    assert_eq!(steps(&npy("<f4", true, "40, 2", &bytes(&by_columns)), &good_y), expected, "in Fortran's order");
    let wide: Vec<u8> = labels.iter().flat_map(|&label| i64::from(label).to_le_bytes()).collect();
    assert_eq!(steps(&good_x, &npy("<i8", false, "40, 1", &wide)), expected, "labels of 64 bits");

    let mut wrong = labels.clone();
    wrong[17] = 9;
    let out_of_range = "y.npy: row 17 (from 0): label 9, expected 0 to 2";
    place(&good_x, &npy("|u1", false, "40,", &wrong)).fails(line, 2, &[out_of_range]);
    wrong[17] = 255;
    place(&good_x, &npy("|i1", false, "40,", &wrong)).fails(line, 2, &["y.npy: row 17 (from 0): -1 is no label"]);
    let mut with_nan = x.clone();
    with_nan[7] = f32::NAN;
    let bad = npy("<f4", false, "40, 2", &bytes(&with_nan));
    place(&bad, &good_y).fails(line, 2, &["x.npy: row 3, column 1 (both from 0): NaN is not finite"]);
    place(&good_x[..200], &good_y).fails(line, 2, &["x.npy: expected 80 elements, found 18"]);
    place(b"no numpy", &good_y).fails(line, 2, &["x.npy: "]);
    place(&good_x, &npy("|u1", false, "39,", &labels[..39])).fails(line, 2, &["40 rows of features, but 39 targets"]);
    place(&npy("<f4", false, "0, 2", &[]), &npy("|u1", false, "0,", &[])).fails(line, 2, &["x.npy: 0 rows"]);
}

/// An IDX file of bytes.
fn idx(extents: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, extents.len() as u8];
    file.extend(extents.iter().flat_map(|extent| extent.to_be_bytes()));
    file.extend(bytes);
    file
}

#[test]
fn idx_files_that_are_wrong_are_named() {
    let (images, labels) = (idx(&[40, 2, 2], &[7; 160]), idx(&[40], &[0, 1, 2, 0].repeat(10)));
    let place = |images: &[u8], labels: &[u8], test_labels: &[u8]| {
        let place = Place::with_net(("source = \"blobs\"\nexamples = 60", "source = \"idx\"\npath = \"set\""));
        place.write("set/train-images-idx3-ubyte", images);
        place.write("set/train-labels-idx1-ubyte", labels);
        place.write("set/t10k-images-idx3-ubyte", idx(&[2, 2, 2], &[7; 8]));
        place.write("set/t10k-labels-idx1-ubyte", test_labels);
        place
    };
    let (line, good) = ("train net.toml --out out", idx(&[2], &[0, 1]));
    place(&images, &labels, &good).succeeds(line);
    place(&images[..100], &labels, &good).fails(line, 2, &["train-images-idx3-ubyte", "bytes, found 100"]);
    place(b"\x7fELF, not images", &labels, &good).fails(line, 2, &["train-images-idx3-ubyte", "magic number"]);
    place(&images, &idx(&[39], &[1; 39]), &good).fails(line, 2, &["40 images, but 39 labels"]);
    let out_of_range = "row 1 (from 0): label 9, expected 0 to 2\n  help: mend the label, or give the model an output";
    place(&images, &labels, &idx(&[2], &[0, 9])).fails(line, 2, &["t10k-labels-idx1-ubyte: ", out_of_range]);
    let labels_with_9 = idx(&[40], &[&[1, 9][..], &[0; 38]].concat());
    place(&images, &labels_with_9, &good).fails(line, 2, &["train-labels-idx1-ubyte: ", out_of_range]);
    place(&images, &images, &good).fails(line, 2, &["train-labels-idx1-ubyte: labels have one axis"]);
    let empty = place(&idx(&[0, 2, 2], &[]), &idx(&[0], &[]), &good);
    empty.fails(line, 2, &["0 rows"]);
    let missing = Place::with_net(("source = \"blobs\"\nexamples = 60", "source = \"idx\"\npath = \"set\""));
    missing.fails(line, 2, &["set", "train-images"]);
}

/// A grey picture of 8 bits.
fn picture(width: u32, height: u32, pixels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header().unwrap().write_image_data(pixels).unwrap();
    bytes
}

#[test]
fn folders_of_pictures_that_are_wrong_are_named() {
    let line = "train net.toml --out out";
    let place = |change: &dyn Fn(&Place)| {
        let data = "source = \"folder\"\npath = \"set\"\ntest_path = \"test\"";
        let place = Place::with_net(("source = \"blobs\"\nexamples = 60", data));
        for (class, name) in ["ant", "bee", "cat"].into_iter().enumerate() {
            for row in 0..10 {
                let good = picture(3, 2, &[class as u8 * 100, row, 3, 4, 5, 6]);
                place.write(&format!("set/{name}/{row}.png"), &good);
                place.write(&format!("test/{name}/{row}.png"), &good);
            }
        }
        place.write("set/.hidden/x.txt", "hidden");
        place.write("set/bee/.hidden", "hidden");
        place.write("set/README", "beside the folders of classes");
        change(&place);
        place
    };
    place(&|_| ()).succeeds(line);
    let remove = |folder: &'static str| move |place: &Place| fs::remove_dir_all(place.path().join(folder)).unwrap();
    let write = |name: &'static str, bytes: &[u8]| {
        let bytes = bytes.to_vec();
        move |place: &Place| place.write(name, &bytes)
    };
    place(&remove("set")).fails(line, 2, &["set: No such file"]);
    place(&remove("test")).fails(line, 2, &["test: No such file"]);
    let flat = |place: &Place| {
        remove("set")(place);
        place.write("set/1.png", picture(3, 2, &[0; 6]));
    };
    place(&flat).fails(line, 2, &["set: there are no folders of classes", "help: put the pictures of each class"]);
    place(&write("set/1.png", &picture(3, 2, &[0; 6]))).fails(line, 2, &["set/1.png: the picture lies beside"]);
    let empty = |place: &Place| fs::create_dir(place.path().join("set/dog")).unwrap();
    place(&empty).fails(line, 2, &["set/dog: the folder is empty"]);
    let single = |place: &Place| ["set/ant", "set/cat"].into_iter().for_each(|folder| remove(folder)(place));
    place(&single).fails(line, 2, &["set: there is one class only, `bee`"]);
    place(&write("set/bee/3.txt", b"text")).fails(line, 2, &["set/bee/3.txt: the file is no PNG"]);
    place(&write("set/bee/3.png", b"\xff\xd8\xff\xe0")).fails(line, 2, &["set/bee/3.png: the file is no PNG"]);
    place(&write("set/bee/3.png", b"")).fails(line, 2, &["set/bee/3.png: the file is no PNG"]);
    let good = picture(3, 2, &[0; 6]);
    place(&write("set/bee/3.png", &good[..50])).fails(line, 2, &["set/bee/3.png: a broken PNG: "]);
    place(&write("test/bee/3.png", &good[..good.len() - 20])).fails(line, 2, &["test/bee/3.png: a broken PNG: "]);
    let size = "a picture of 2×3 pixels (width×height), expected 3×2 pixels (width×height): all have one size";
    place(&write("set/bee/3.png", &picture(2, 3, &[0; 6]))).fails(line, 2, &["set/bee/3.png: ", size]);
    place(&write("test/bee/3.png", &picture(2, 3, &[0; 6]))).fails(line, 2, &["test/bee/3.png: ", size]);
    place(&write("test/dog/3.png", &good)).fails(
        line,
        2,
        &["test/dog: the class `dog` does not occur", "ant, bee, cat"],
    );
    place(&write("set/bee/more/3.png", &good)).fails(line, 2, &["set/bee/more: a folder where pictures are expected"]);
    place(&write("set/dog/3.png", &good)).fails(line, 2, &["4 classes"]);
    // Of several files the first is named, on any number of threads.
    let two = |place: &Place| {
        ["set/bee/9.png", "set/cat/0.png", "set/bee/5.png"].iter().for_each(|name| place.write(name, b"?"))
    };
    for threads in [1, 2, 7] {
        place(&two).fails(&format!("{line} --set device.threads={threads}"), 2, &["set/bee/5.png: the file is no PNG"]);
    }
}

#[test]
fn pictures_for_other_models_are_refused() {
    let data = "source = \"folder\"\npath = \"set\"";
    let place = Place::with_net(("source = \"blobs\"\nexamples = 60", data));
    for (class, row) in
        [("ant", 0), ("bee", 100), ("cat", 200)].into_iter().flat_map(|c| (0..10).map(move |row| (c, row)))
    {
        place.write(&format!("set/{}/{row}.png", class.0), picture(3, 2, &[class.1, row, 3, 4, 5, 6]));
    }
    place.succeeds("train net.toml --out out");
    place.write("new/1.png", picture(2, 3, &[0; 6]));
    place.fails("predict out --data new", 2, &["new/1.png: a picture of 2×3 pixels", "expected 3×2"]);
    place.write("new/1.png", "text");
    place.fails("predict out --data new", 2, &["new/1.png: the file is no PNG"]);
    place.fails("predict out --data new/2.png", 2, &["new/2.png: No such file"]);
    place.fails("eval out --data new", 2, &["new: there are no folders of classes"]);
    fs::create_dir(place.path().join("empty")).unwrap();
    place.fails("predict out --data empty", 2, &["empty: the folder is empty"]);
    fs::create_dir(place.path().join("new/inner")).unwrap();
    place.fails("predict out --data new", 2, &["new/1.png: the picture lies beside the folders of classes"]);
    let table = Place::with_net(("source = \"blobs\"\nexamples = 60", "source = \"csv\"\npath = \"data.csv\""));
    let rows: String = (0..40).map(|i| format!("{i},{},c{}\n", i * 2, i % 3)).collect();
    table.write("data.csv", format!("a,b,class\n{rows}"));
    table.succeeds("train net.toml --out out");
    table.write("new/1.png", picture(2, 1, &[0; 2]));
    table.fails("predict out --data new", 2, &["new: the model was trained on a table", "not on pictures"]);
    table.fails("predict out --data new/1.png", 2, &["new/1.png: the model was trained on a table"]);
}

#[test]
fn devices_that_are_not_there_are_refused() {
    let place = Place::with_net(("\n[device]\ndevice = \"cpu\"\n", ""));
    place.fails("train net.toml --out out --device nosuchdevice", 2, &["`nosuchdevice`", "cpu"]);
    place.fails("train net.toml --out out --device 99", 2, &["99", "cpu"]);
    // A backend of another system: no adapter is found.
    let elsewhere = if cfg!(target_os = "macos") { "dx12" } else { "metal" };
    for device in ["gpu", "0"] {
        let line = format!("train net.toml --out out --device {device}");
        let output = place.command(&line).env("WGPU_BACKEND", elsewhere).output().unwrap();
        error_of(&output, &line, 2, &["no adapter was found", "--device cpu"]);
    }
    let output = place.command("train net.toml --out out").env("WGPU_BACKEND", elsewhere).output().unwrap();
    assert!(text(&output.stdout).contains("there is no GPU"), "auto falls back to the CPU and says why");
    assert!(place.succeeds("devices").contains("--device auto takes"));
    let list: serde_json::Value = serde_json::from_str(&place.succeeds("devices --json")).unwrap();
    assert!(list["adapters"].is_array() && list["auto"]["reason"].is_string(), "{list}");
}

#[test]
fn a_plan_that_does_not_fit_is_refused_with_the_number() {
    let place = Place::with_net(("device = \"cpu\"", "device = \"cpu\"\nmemory_limit = 2000"));
    let error = place.fails("train net.toml --out out", 2, &["2000"]);
    assert!(error.contains("help: "), "{error}");
}

/// Runs under a limit of address space, in which the software adapter finds no memory. Where the driver itself crashes for
/// want of it, that limit tells nothing.
#[test]
#[cfg(target_os = "linux")]
fn a_device_without_memory_left_is_a_failure_with_the_buffer() {
    let place = Place::with_net(("out = 8", "out = 65536"));
    if !place.succeeds("devices").contains("llvmpipe") {
        assert!(std::env::var("STEEPEST_REQUIRE_GPU").as_deref() != Ok("1"), "STEEPEST_REQUIRE_GPU=1 and no adapter");
        println!("SKIPPED: no software adapter");
        return;
    }
    let line = "train net.toml --out out --device llvmpipe --set data.examples=4096 --set data.split=0 \
                --set train.batch=4096";
    let refused = (400..1600).step_by(50).any(|megabytes| {
        let mut limited = place.limited(line, megabytes);
        let output = limited.output().unwrap();
        output.status.code() == Some(1) && text(&output.stderr).contains("no memory is left for buffer ") && {
            error_of(&output, line, 1, &["which takes 268435456 bytes", "help: use a smaller micro_batch"]);
            assert_eq!(files(place.path()), ["net.toml"], "nothing is left behind");
            true
        }
    });
    assert!(refused, "no limit made the driver refuse a buffer");
    // All the memory there is, and buffers larger than the adapter binds.
    place.fails(line, 2, &["268435456 bytes", "binds 134217728 at most", "help: use a smaller micro_batch"]);
}

#[test]
fn a_loss_that_is_not_finite_ends_the_run_and_keeps_the_record() {
    let place = Place::with_net(("epochs = 2", "epochs = 20\noptimizer = \"sgd\"\nlr = 1e30"));
    place.fails("train net.toml --out out", 1, &["step ", "layer ", "not finite", "flight.jsonl"]);
    let left = files(&place.path().join("out"));
    for file in ["config.toml", "environment.json", "steps.jsonl", "steps.schema.json", "flight.jsonl", "summary.json"]
    {
        assert!(left.iter().any(|found| found == file), "no {file} in {left:?}");
    }
    assert!(!left.iter().any(|file| file.ends_with(".safetensors")), "weights that are not finite: {left:?}");
    let summary: serde_json::Value =
        serde_json::from_slice(&fs::read(place.path().join("out/summary.json")).unwrap()).unwrap();
    assert_eq!(summary["stopped_by"], "non_finite");
}

#[test]
fn weights_of_another_model_are_refused() {
    let place = Place::with_net(("epochs = 2", "epochs = 1"));
    place.succeeds("train net.toml --out out");
    place.write("other.toml", NET.replace("out = 8", "out = 9"));
    let weights = "--weights out/model.safetensors";
    place.fails(&format!("eval other.toml {weights}"), 2, &["out/model.safetensors", "0.weight", "[9, 2]", "[8, 2]"]);
    place.fails("eval net.toml --weights net.toml", 2, &["net.toml", "safetensors"]);
    place.fails("eval nowhere", 2, &["nowhere"]);
    let scores: serde_json::Value = serde_json::from_str(&place.succeeds("eval out --json")).unwrap();
    assert!(scores.to_string().contains("accuracy"), "{scores}");
}

#[test]
fn a_run_never_overwrites_files() {
    let place = Place::with_net(("epochs = 2", "epochs = 1"));
    place.write("out/thesis.txt", "precious");
    place.fails("train net.toml --out out", 2, &["out", "not empty"]);
    place.fails("train net.toml --out net.toml", 2, &["net.toml", "is a file"]);
    place.fails("train net.toml --out net.toml/run", 2, &["net.toml/run", "could not be made"]);
}

#[test]
fn reports_that_are_none_are_refused_before_anything_is_measured() {
    let place = Place::new();
    place.write("text.json", "no report");
    place.write("other.json", "{\"format\": \"steepest-bench-0\"}");
    place.write("summary.json", "{\"steps\": 3}");
    place.write("broken.json", "{\"format\": \"steepest-bench-1\", \"cells\": 3}");
    for (file, expected) in [
        ("nowhere.json", "nowhere.json: the report cannot be read"),
        ("text.json", "text.json: expected a report in JSON"),
        ("other.json", "other.json: expected the format steepest-bench-1, found steepest-bench-0"),
        ("summary.json", "summary.json: expected a report with \"format\": \"steepest-bench-1\", found none"),
        ("broken.json", "broken.json: expected a whole report of the format steepest-bench-1"),
    ] {
        place.fails(
            &format!("bench --device cpu --quick --against {file}"),
            2,
            &[expected, "steepest bench --out FILE"],
        );
    }
    place.fails("bench --quick --device cpu --out text.json", 2, &["text.json: there is a file already"]);
    place.fails("bench --quick --device nonesuch", 2, &["device: "]);
    place.fails("bench --quicker", 2, &["unexpected argument '--quicker'"]);
}

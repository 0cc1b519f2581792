//! Folders of pictures.

use super::place::Place;
use std::fs;

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

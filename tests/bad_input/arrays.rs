//! Arrays: numpy and IDX files.

use super::place::Place;

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

//! Tables: what is wrong with one is named by row, line and column.

use super::place::Place;
use std::fs;

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

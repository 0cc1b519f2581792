//! Words that have no place: unfinished work, paths of somebody's machine, `unsafe` where it is not listed.

use super::expect_none;
use super::text::{File, code, files, line_of, words};

/// Where `unsafe` stands: the file, how often, and why.
const UNSAFE: [(&str, usize, &str); 8] = [
    ("src/base/wide.rs", 2, "loads and stores by masks, of no more lanes than a slice has elements"),
    ("src/exec/gpu/pipeline_cache.rs", 1, "kernels from the disk; mark and checksum tell whose they are"),
    ("src/exec/gpu/pipelines.rs", 1, "shaders without run-time checks; tests run them with checks too"),
    ("tests/instances/gpu.rs", 1, "the same, to compare both ways"),
    ("tests/hot_path.rs", 5, "an allocator that counts"),
    ("tests/matmul_alloc.rs", 5, "an allocator that counts"),
    ("tests/record.rs", 5, "an allocator that counts"),
    ("benches/matmul.rs", 1, "the interface of the library that is measured against"),
];

/// What marks unfinished work. In parts, so that this file has none of them.
const UNFINISHED: [&str; 6] = [
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("db", "g!"),
    concat!("XX", "X"),
];

/// Every test is run.
const IGNORE: &str = concat!("#[ig", "nore");

/// How paths begin that exist on somebody's machine only. In parts, as above.
const MACHINE: [&str; 7] = [
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/ro", "ot/"),
    concat!("/tm", "p/"),
    concat!("/wo", "rk/"),
    concat!("/mn", "t/"),
    concat!(":\\", "Users"),
];

/// Everything that is tracked, target and runs left out.
const TRACKED: [&str; 11] = [
    "Cargo.toml",
    "README.md",
    "ARCHITECTURE.md",
    "src",
    "shaders",
    "tests",
    "benches",
    "data",
    "examples",
    ".ci",
    ".gitignore",
];

fn unlisted_unsafe(files: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files {
        let found = words(&code(&file.text), "unsafe").count();
        let listed = UNSAFE.iter().find(|(path, ..)| *path == file.path).map_or(0, |(_, count, _)| *count);
        if found != listed {
            wrong.push(format!("{}: unsafe stands there {found} times, {listed} are listed", file.path));
        }
    }
    wrong
}

fn unfinished(files: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files {
        for mark in UNFINISHED {
            let found = file.text.match_indices(mark);
            wrong.extend(found.map(|(at, _)| format!("{}:{}: {mark}", file.path, line_of(&file.text, at))));
        }
        for (at, _) in file.text.match_indices(IGNORE) {
            wrong.push(format!("{}:{}: a test that is not run", file.path, line_of(&file.text, at)));
        }
    }
    wrong
}

fn machine_paths(files: &[File]) -> Vec<String> {
    // What a word stands before, as in `target` and its folder, is a relative path.
    let relative = |text: &str| text.chars().next_back().is_some_and(|c| c.is_alphanumeric());
    let mut wrong = Vec::new();
    for file in files {
        for start in MACHINE {
            for (at, _) in file.text.match_indices(start) {
                if start.starts_with(':') || !relative(&file.text[..at]) {
                    wrong.push(format!("{}:{}: {start}", file.path, line_of(&file.text, at)));
                }
            }
        }
    }
    wrong
}

#[test]
fn unsafe_stands_where_it_is_listed() {
    let rust: Vec<File> = files(&["src", "tests", "benches"]).into_iter().filter(|f| f.path.ends_with(".rs")).collect();
    expect_none(&unlisted_unsafe(&rust));
    for (path, ..) in UNSAFE {
        assert!(rust.iter().any(|file| file.path == path), "{path} is listed and gone");
    }
}

#[test]
fn nothing_is_unfinished() {
    expect_none(&unfinished(&files(&["src", "tests", "benches", "shaders"])));
}

#[test]
fn no_path_of_a_machine_is_written_down() {
    expect_none(&machine_paths(&files(&TRACKED)));
}

#[test]
fn bad_words_are_seen() {
    let file = |text: &str| [File::new("src/a.rs", text)];
    assert_eq!(unlisted_unsafe(&file("fn f() { unsafe { g() } }")).len(), 1);
    assert!(unlisted_unsafe(&file("// unsafe\n\"unsafe\" unsafe_op")).is_empty());
    assert_eq!(unlisted_unsafe(&[File::new("src/exec/gpu/pipelines.rs", "")]).len(), 1);
    for mark in UNFINISHED {
        assert_eq!(unfinished(&file(&format!("fn f() {{\n    {mark}(x)\n}}"))), [format!("src/a.rs:2: {mark}")]);
    }
    assert_eq!(unfinished(&file(&format!("{IGNORE}]\n{IGNORE} = \"slow\"]"))).len(), 2);
    for start in MACHINE {
        assert_eq!(machine_paths(&file(&format!("a\n{start}me"))), [format!("src/a.rs:2: {start}")]);
        assert_eq!(machine_paths(&file(&format!("target{start}me"))).len(), usize::from(start.starts_with(':')));
    }
}

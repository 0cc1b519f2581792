//! Which folder may name which: inside one crate the compiler cannot tell.

use super::expect_none;
use super::text::{File, code, files, line_of};

/// The folders of `src/` from the ground up, and which others each may name. `graph` and `ops` are one floor: a node holds
/// an op, and an op is differentiated into nodes.
const FLOORS: [(&str, &[&str]); 16] = [
    ("base", &[]),
    ("graph", &["base", "ops"]),
    ("ops", &["base", "graph"]),
    ("autodiff", &["base", "graph", "ops"]),
    ("plan", &["base", "graph", "ops"]),
    ("exec", &["base", "graph", "ops", "plan"]),
    ("config", &["base"]),
    ("nn", &["base", "config", "graph"]),
    ("optim", &["base", "config", "graph", "ops", "plan"]),
    ("data", &["base"]),
    ("probe", &["base", "ops"]),
    ("verdict", &["base"]),
    ("run", &["base", "graph", "ops", "autodiff", "plan", "exec", "config", "nn", "optim", "data", "probe", "verdict"]),
    ("study", &["base", "config", "nn", "data", "probe", "verdict", "run"]),
    ("view", &["base", "nn", "probe", "verdict", "run", "study"]),
    ("cli", &["base", "exec", "config", "probe", "run", "study", "view"]),
];

/// Macros live at the root of the crate, wherever they are written.
const MACROS: [(&str, &str); 2] = [("kernel", "graph"), ("answers", "ops")];

/// The only folder that names the GPU's library.
const GPU_FOLDER: &str = "src/exec/gpu/";

fn folder_of(path: &str) -> Option<&str> {
    path.strip_prefix("src/")?.split_once('/').map(|(folder, _)| folder)
}

/// What `code` names of the crate's root, and in which line: `crate::x`, `crate::{x, y::z}`, and a `use` that climbs up to
/// the root by `super`.
fn named(path: &str, code: &str) -> Vec<(String, usize)> {
    let depth = path.split('/').count() - 1 - usize::from(path.ends_with("/mod.rs"));
    let climb = format!("\nuse {}", "super::".repeat(depth));
    let roots = code.match_indices("crate::").filter(|&(at, _)| !code[..at].ends_with('$'));
    let climbs = code.match_indices(climb.as_str());
    let mut found = Vec::new();
    for (at, root) in roots.chain(climbs) {
        let rest = &code[at + root.len()..];
        let line = line_of(code, at + root.len());
        match rest.strip_prefix('{') {
            None => found.push((first_word(rest), line)),
            Some(list) => found.extend(list_heads(list).into_iter().map(|name| (name, line))),
        }
    }
    found
}

fn first_word(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first word of each entry of a list in braces, whose opening brace is behind us.
fn list_heads(list: &str) -> Vec<String> {
    let (mut depth, mut heads, mut fresh) = (0usize, Vec::new(), true);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            _ if fresh && !c.is_whitespace() => {
                heads.push(first_word(&list[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    heads
}

/// Names that the table does not allow.
fn trespasses(files: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files {
        let Some(folder) = folder_of(&file.path) else { continue };
        let Some((_, allowed)) = FLOORS.iter().find(|(name, _)| *name == folder) else {
            wrong.push(format!("{}: the folder {folder} is on no floor", file.path));
            continue;
        };
        for (name, line) in named(&file.path, &code(&file.text)) {
            let owner = MACROS.iter().find(|(word, _)| *word == name).map_or(name.as_str(), |(_, owner)| owner);
            if owner != folder && !allowed.contains(&owner) {
                wrong.push(format!("{}:{line}: {folder} does not know {name}", file.path));
            }
        }
    }
    wrong
}

/// Sources outside of [`GPU_FOLDER`] that name the GPU's library in code.
fn gpu_names(files: &[File]) -> Vec<String> {
    let outside = files.iter().filter(|file| !file.path.starts_with(GPU_FOLDER));
    let named = outside.filter(|file| super::text::words(&code(&file.text), "wgpu").next().is_some());
    named.map(|file| format!("{}: only {GPU_FOLDER} names wgpu", file.path)).collect()
}

#[test]
fn folders_know_only_what_lies_below() {
    let files = files(&["src"]);
    expect_none(&trespasses(&files));
    expect_none(&gpu_names(&files));
}

#[test]
fn the_table_of_floors_is_an_order() {
    for (i, (folder, allowed)) in FLOORS.iter().enumerate() {
        for name in *allowed {
            let at =
                FLOORS.iter().position(|(other, _)| other == name).unwrap_or_else(|| panic!("{name} is no folder"));
            assert!(at < i || (*folder, *name) == ("graph", "ops"), "{folder} stands on {name}");
        }
    }
}

#[test]
fn a_trespass_is_seen() {
    let wrong = |path: &str, text: &str| trespasses(&[File::new(path, text)]);
    assert_eq!(wrong("src/nn/loss.rs", "use crate::exec::Cpu;"), ["src/nn/loss.rs:1: nn does not know exec"]);
    assert_eq!(wrong("src/data/a/b.rs", "\nuse crate::{base::Error, run::{self, graph}, view};").len(), 2);
    assert_eq!(
        wrong("src/config/mod.rs", "//!\nuse super::data::Source;"),
        ["src/config/mod.rs:2: config does not know data"]
    );
    assert_eq!(wrong("src/config/keys.rs", "//!\nuse super::super::data;").len(), 1);
    assert_eq!(wrong("src/base/x.rs", "fn f() { crate::kernel!(x); }").len(), 1);
    assert_eq!(wrong("src/attic/x.rs", "").len(), 1);
    assert!(
        wrong("src/nn/loss.rs", "// crate::exec\nuse super::build;\nuse crate::graph::Graph;\n\"crate::exec\"")
            .is_empty()
    );
    let gpu = |path: &str, text: &str| gpu_names(&[File::new(path, text)]).len();
    assert_eq!(gpu("src/ops/sum.rs", "fn f(_: wgpu::Buffer) {}"), 1);
    assert_eq!(gpu("src/ops/sum.rs", "// wgpu\n") + gpu("src/exec/gpu/a.rs", "wgpu::Buffer"), 0);
}

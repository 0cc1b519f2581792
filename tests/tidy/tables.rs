//! Every op, shader, quantity, rule, config key and dependency stands in its table, is explained and is tested.

use super::expect_none;
use super::text::{File, code, files, words};
use std::collections::BTreeSet;
use steepest::config;
use steepest::ops::OPS;
use steepest::probe::{QUANTITIES, Quantity, Scope};
use steepest::verdict::RULES;

/// The strings in a piece of Rust.
fn strings(text: &str) -> Vec<&str> {
    text.split('"').skip(1).step_by(2).collect()
}

/// The in-module tests of sources, and whole files below `tests/`.
fn tests_of(files: &[File]) -> String {
    let part = |file: &File| match file.text.find("#[cfg(test)]\nmod tests {") {
        _ if file.path.starts_with("tests/") || file.path.ends_with("/tests.rs") => file.text.clone(),
        Some(at) => file.text[at..].to_owned(),
        None => String::new(),
    };
    files.iter().map(part).collect()
}

/// The types that are ops: name, whether a comment explains it, and what its `fn name` may answer.
fn ops(file: &File) -> Vec<(String, bool, Vec<String>)> {
    let mut found = Vec::new();
    for (at, head) in file.text.match_indices("impl Op for ") {
        let rest = &file.text[at + head.len()..];
        let ty: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
        let from = rest.find("fn name(&self)").unwrap_or(0);
        let body = &rest[from..];
        let names = strings(&body[..body.find("\n    }").unwrap_or(body.len())]);
        let lines: Vec<&str> = file.text.lines().collect();
        let defined = lines
            .iter()
            .position(|line| *line == format!("pub struct {ty};") || *line == format!("pub struct {ty} {{"));
        let above = defined.and_then(|line| lines[..line].iter().rev().find(|line| !line.starts_with("#[")));
        let explained = above.is_some_and(|line| line.starts_with("///"));
        found.push((ty, explained, names.into_iter().map(str::to_owned).collect()));
    }
    found
}

fn bad_ops(files: &[File], table: &[&str], tests: &str) -> Vec<String> {
    let (mut wrong, mut seen) = (Vec::new(), BTreeSet::new());
    for file in files {
        for (ty, explained, names) in ops(file) {
            if !explained {
                wrong.push(format!("{}: {ty} has no comment", file.path));
            }
            if words(tests, &ty).next().is_none() && !names.iter().any(|name| tests.contains(&format!("\"{name}\""))) {
                wrong.push(format!("{}: no test names {ty}", file.path));
            }
            for name in names.iter().filter(|name| !table.contains(&name.as_str())) {
                // A program of one function goes by that function's name, which stands in a table of its own.
                wrong.push(format!("{}: {name} is not in OPS", file.path));
            }
            seen.extend(names);
        }
    }
    wrong.extend(
        table.iter().filter(|name| !seen.contains(**name)).map(|name| format!("{name} is in OPS and is no op")),
    );
    wrong
}

/// The entry points of a shader: those written out, and those that its template asks for.
fn entries(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("@compute") {
        let rest = &text[at..];
        let from = rest.find("\nfn ").map_or(rest.len(), |at| at + 4);
        let name: String = rest[from..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        found.extend((!name.is_empty()).then_some(name));
    }
    for (at, start) in text.match_indices("entry == \"") {
        found.extend(text[at + start.len()..].split('"').next().map(str::to_owned));
    }
    found
}

fn bad_shaders(shaders: &[File], ops: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    for shader in shaders {
        let stem = shader.path.trim_start_matches("shaders/").trim_end_matches(".wgsl");
        let (one, folder) = (format!("src/ops/{stem}.rs"), format!("src/ops/{stem}/"));
        let twin: Vec<&File> = ops.iter().filter(|f| f.path == one || f.path.starts_with(&folder)).collect();
        if twin.is_empty() {
            wrong.push(format!("{}: there is no {one}", shader.path));
        }
        let names = entries(&shader.text);
        if names.is_empty() {
            wrong.push(format!("{}: it has no entry point", shader.path));
        }
        let used = |name: &String| twin.iter().any(|file| file.text.contains(&format!("\"{name}\"")));
        wrong
            .extend(names.iter().filter(|name| !used(name)).map(|name| format!("{}: nobody uses {name}", shader.path)));
    }
    wrong
}

/// The line of the reference that a quantity has.
fn line_of_quantity(quantity: &Quantity) -> String {
    let scope = match quantity.scope {
        Scope::Step | Scope::Noise => "step",
        Scope::Scaled => "step in mixed precision",
        Scope::Layer => "layer",
        Scope::Noisy => "layer with noise",
        Scope::Resolved => "resolved layer",
        Scope::Rectified => "rectified layer",
        Scope::Bounded => "bounded layer",
        Scope::Bins => "bin of a layer",
        Scope::Tensor => "tensor",
    };
    let cell = |text: &str| text.replace('|', "\\|");
    format!("//! | `{}` | {scope} | {} | {} |", quantity.id, cell(quantity.formula), cell(quantity.doc))
}

fn bad_quantities(quantities: &[Quantity], reference: &str, tests: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for quantity in quantities {
        let line = line_of_quantity(quantity);
        if !reference.lines().any(|other| other == line) {
            wrong.push(format!("the reference lacks\n{line}"));
        }
        if !tests.contains(&format!("\"{}\"", quantity.id)) {
            wrong.push(format!("no test names {}", quantity.id));
        }
    }
    wrong
}

/// Rules as (id, grade, reasons of its thresholds, ids that it silences): the head of `src/verdict` explains each, its tests
/// name it, a sentence stands by each threshold, and what is silenced exists.
fn bad_rules(rules: &[(&str, &str, Vec<&str>, &[&str])], reference: &str, tests: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for (id, grade, reasons, silences) in rules {
        if !reference.lines().any(|line| line.starts_with(&format!("//! | `{id}` | {grade} | "))) {
            wrong.push(format!("the head of src/verdict does not explain {id}"));
        }
        if !tests.contains(&format!("\"{id}\"")) {
            wrong.push(format!("no test names {id}"));
        }
        if reasons.iter().any(|why| why.split(' ').count() < 3) {
            wrong.push(format!("a threshold of {id} does not say where it comes from"));
        }
        let known = |other: &&str| rules.iter().any(|(id, ..)| id == other);
        wrong.extend(
            silences.iter().filter(|id| !known(id)).map(|other| format!("{id} silences {other}, which is no rule")),
        );
    }
    wrong
}

/// Config keys as (name, doc): each is explained, and something outside of `src/config` reads it.
fn bad_keys(keys: &[(&str, &str)], readers: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, doc) in keys {
        let name = path.rsplit('.').next().expect("a last part");
        if doc.len() < 10 {
            wrong.push(format!("{path} is not explained"));
        }
        if words(readers, name).next().is_none() {
            wrong.push(format!("nothing outside of src/config reads {path}"));
        }
    }
    wrong
}

fn bad_dependencies(manifest: &str) -> Vec<String> {
    let (mut wrong, mut inside, mut above) = (Vec::new(), false, "");
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line.contains("dependencies");
        } else if inside && line.contains('=') && !above.starts_with('#') {
            wrong.push(format!("no reason stands above {line}"));
        }
        above = line;
    }
    wrong
}

#[test]
fn ops_stand_in_their_table_with_a_comment_and_a_test() {
    expect_none(&bad_ops(&files(&["src/ops"]), OPS, &tests_of(&files(&["tests/common", "tests/instances"]))));
}

#[test]
fn shaders_have_a_twin_that_uses_every_entry_point() {
    let shaders: Vec<File> = files(&["shaders"]).into_iter().filter(|f| !f.path.contains("/lib/")).collect();
    expect_none(&bad_shaders(&shaders, &files(&["src/ops"])));
}

#[test]
fn quantities_are_explained_and_tested() {
    let reference = &files(&["src/probe/mod.rs"])[0].text;
    expect_none(&bad_quantities(&QUANTITIES, reference, &tests_of(&files(&["src", "tests"]))));
}

#[test]
fn rules_are_explained_and_tested() {
    let rules: Vec<_> = RULES
        .iter()
        .map(|rule| {
            let reasons = rule.thresholds.iter().map(|threshold| threshold.why).collect();
            (rule.id, rule.grade.word(), reasons, rule.silences)
        })
        .collect();
    let tests = &files(&["src/verdict/rules/tests.rs"])[0].text;
    expect_none(&bad_rules(&rules, &files(&["src/verdict/mod.rs"])[0].text, tests));
}

#[test]
fn keys_are_explained_and_read() {
    let keys: Vec<(&str, &str)> = config::keys().iter().map(|key| (key.path.as_str(), key.doc.as_str())).collect();
    let outside = files(&["src"]).into_iter().filter(|file| !file.path.starts_with("src/config/"));
    let readers: String = outside.map(|file| code(&file.text)).collect();
    expect_none(&bad_keys(&keys, &readers));
}

#[test]
fn dependencies_have_reasons() {
    expect_none(&bad_dependencies(&files(&["Cargo.toml"])[0].text));
}

#[test]
fn gaps_in_tables_are_seen() {
    let op = "/// An op.\n#[derive(Debug)]\npub struct Turn;\nimpl Op for Turn {\n    fn name(&self) -> &str {\n        \"turn\"\n    }\n}";
    let bad =
        |text: &str, table: &[&str], tests: &str| bad_ops(&[File::new("src/ops/turn.rs", text)], table, tests).len();
    assert_eq!(bad(op, &["turn"], "Turn"), 0);
    assert_eq!((bad(op, &[], "Turn"), bad(op, &["turn"], ""), bad(op, &["roll", "turn"], "Turn")), (1, 1, 1));
    assert_eq!(bad(&op.replace("/// An op.", ""), &["turn"], "Turn"), 1);

    let shader = |text: &str| [File::new("shaders/turn.wgsl", text)];
    let turn = shader("{% if entry == \"left\" %}{% endif %}\n@compute @workgroup_size(1)\nfn {{ entry }}() {}");
    let twin = |text: &str| [File::new("src/ops/turn.rs", text)];
    assert!(bad_shaders(&turn, &twin("f(\"left\")")).is_empty());
    assert_eq!(bad_shaders(&turn, &twin("f(\"right\")")).len(), 1);
    assert_eq!(bad_shaders(&turn, &[File::new("src/ops/other.rs", "\"left\"")]).len(), 2);
    assert_eq!(bad_shaders(&shader("fn f() {}"), &twin("")).len(), 1);
    assert_eq!(bad_shaders(&shader("@compute @workgroup_size(1)\nfn spin() {}"), &twin("\"spins\"")).len(), 1);

    let line = line_of_quantity(&QUANTITIES[0]);
    assert!(bad_quantities(&QUANTITIES[..1], &line, "\"loss\"").is_empty());
    assert_eq!(bad_quantities(&QUANTITIES[..1], &line[1..], "loss").len(), 2);

    let rule = |silences: &'static [&'static str]| [("odd", "fault", vec!["as it is known"], silences)];
    assert!(bad_rules(&rule(&["odd"]), "//! | `odd` | fault | x |", "\"odd\"").is_empty());
    assert_eq!(bad_rules(&rule(&["even"]), "//! | `odd` | advice | x |", "odd").len(), 3);
    assert_eq!(bad_rules(&[("odd", "fault", vec!["felt"], &[])], "//! | `odd` | fault | x |", "\"odd\"").len(), 1);

    assert!(bad_keys(&[("train.lr", "how far a step goes")], "train.lr").is_empty());
    assert_eq!(bad_keys(&[("train.lr", "rate")], "lrs").len(), 2);
    assert!(bad_dependencies("[dependencies]\n# Why.\na = \"1\"\n[lints.rust]\nb = 1").is_empty());
    assert_eq!(bad_dependencies("[dev-dependencies]\n# Why.\na = \"1\"\nb = { version = \"1\" }").len(), 1);
}

#[test]
fn tests_are_told_from_sources() {
    let sources = [File::new("src/a.rs", "one\n#[cfg(test)]\nmod tests {\ntwo"), File::new("tests/b.rs", "three")];
    let text = tests_of(&sources);
    assert!(!text.contains("one") && text.contains("two") && text.contains("three"));
}

//! No file and no function is too long to be read in one go.

use super::expect_none;
use super::text::{File, code, files, line_of, words};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// Functions that may be longer, by file and name, with the reason. There is none.
const LONG: [(&str, &str, &str); 0] = [];

/// A template's own brackets are no blocks of the language around them.
fn without_tags(text: &str) -> String {
    let mut out = text.to_owned();
    for (open, close) in [("{{", "}}"), ("{%", "%}")] {
        while let Some(from) = out.find(open) {
            let to = out[from..].find(close).map_or(out.len(), |at| from + at + close.len());
            let blank: String = out[from..to].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
            out.replace_range(from..to, &blank);
        }
    }
    out
}

/// The name of each function with a body, its first line, and how many it has.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for at in words(code, "fn") {
        let name = code[at + 2..].trim_start();
        let name: String = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        // The type of a function has no name.
        if let Some(end) = end_of_body(&code[at..]).filter(|_| !name.is_empty()) {
            let (first, last) = (line_of(code, at), line_of(code, at + end));
            found.push((name, first, last - first + 1));
        }
    }
    found
}

/// Where the body ends of the function that `code` begins with; nothing for a declaration or a type.
fn end_of_body(code: &str) -> Option<usize> {
    let (mut braces, mut brackets) = (0usize, 0usize);
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' if braces == 0 => brackets += 1,
            ')' | ']' if braces == 0 => brackets = brackets.checked_sub(1)?,
            ';' if braces == 0 && brackets == 0 => return None,
            '{' => braces += 1,
            '}' => {
                braces = braces.checked_sub(1)?;
                if braces == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn too_long(files: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files {
        let lines = file.text.lines().count();
        if lines > FILE_LINES_MAX {
            wrong.push(format!("{}: {lines} lines, {FILE_LINES_MAX} at most", file.path));
        }
        let text = if file.path.ends_with(".wgsl") { without_tags(&file.text) } else { file.text.clone() };
        for (name, line, lines) in functions(&code(&text)) {
            let listed = LONG.iter().any(|(path, long, _)| *path == file.path && *long == name);
            if lines > FUNCTION_LINES_MAX && !listed {
                wrong.push(format!("{}:{line}: {name} has {lines} lines, {FUNCTION_LINES_MAX} at most", file.path));
            }
        }
    }
    wrong
}

#[test]
fn files_and_functions_are_short() {
    let files: Vec<File> = files(&["src", "tests", "benches", "shaders"])
        .into_iter()
        .filter(|file| [".rs", ".wgsl", ".py"].iter().any(|end| file.path.ends_with(end)))
        .collect();
    expect_none(&too_long(&files));
    let count: usize = files.iter().map(|file| functions(&code(&file.text)).len()).sum();
    assert!(count > 500, "only {count} functions were found");
}

#[test]
fn what_is_too_long_is_seen() {
    let body = |lines: usize| "    x();\n".repeat(lines);
    let function = |lines: usize| format!("fn long<T>(a: [u8; 3]) -> T\n{{\n{}}}\nfn short() {{}}\n", body(lines));
    let wrong = |path: &str, text: &str| too_long(&[File::new(path, text)]);
    assert!(wrong("src/a.rs", &function(67)).is_empty());
    assert_eq!(wrong("src/a.rs", &function(68)), ["src/a.rs:1: long has 71 lines, 70 at most"]);
    assert!(wrong("src/a.rs", &"// }\n".repeat(500)).is_empty());
    assert_eq!(wrong("src/a.rs", &"//\n".repeat(501)), ["src/a.rs: 501 lines, 500 at most"]);
    let shader = format!("fn {{{{ entry }}}}() {{\n{{% if a %}}\n{}{{% endif %}}}}\n", body(70));
    assert_eq!(wrong("shaders/a.wgsl", &shader).len(), 1);
    assert!(functions("trait T { fn declared(&self); }\ntype F = fn(u8) -> u8;").is_empty());
}

//! The files of the repository as text, and Rust or WGSL without what is not code.

use std::path::Path;

/// A file.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path in the repository, with slashes.
    pub path: String,
    /// What it says.
    pub text: String,
}

impl File {
    /// A file made up by a test.
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }
}

/// The text files below these folders (or these files), in order of their paths. What is no UTF-8 is no text.
pub fn files(roots: &[&str]) -> Vec<File> {
    let mut files = Vec::new();
    roots.iter().for_each(|root| walk(root, &mut files));
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!files.is_empty(), "the checks check something");
    files
}

/// Folders that git leaves out, wherever they stand.
const IGNORED: [&str; 3] = ["target", "runs", "__pycache__"];

fn walk(path: &str, files: &mut Vec<File>) {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if full.is_dir() {
        for entry in std::fs::read_dir(&full).expect("a folder") {
            let name = entry.expect("an entry").file_name().into_string().expect("a plain name");
            if !IGNORED.contains(&name.as_str()) {
                walk(&format!("{path}/{name}"), files);
            }
        }
    } else if let Ok(text) = std::fs::read_to_string(&full) {
        files.push(File { path: path.to_owned(), text });
    }
}

/// The text with comments, strings and characters blanked out; lines stay where they are.
pub fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    while i < chars.len() {
        let end = skipped(&chars, i);
        if end == i {
            out.push(chars[i]);
            i += 1;
        } else {
            out.extend(chars[i..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            i = end;
        }
    }
    out
}

/// Where the comment, string or character ends that begins at `i`; `i` if none does.
fn skipped(chars: &[char], i: usize) -> usize {
    let at = |k: usize| chars.get(k).copied().unwrap_or('\0');
    let until = |from: usize, end: &[char]| {
        (from..chars.len()).find(|&k| chars[k..].starts_with(end)).map_or(chars.len(), |k| k + end.len())
    };
    let inside_word = i > 0 && (at(i - 1).is_alphanumeric() || at(i - 1) == '_');
    match (at(i), at(i + 1)) {
        ('/', '/') => (i..chars.len()).find(|&k| chars[k] == '\n').unwrap_or(chars.len()),
        ('/', '*') => until(i + 2, &['*', '/']),
        ('r', '"' | '#') if !inside_word => {
            let hashes = chars[i + 1..].iter().take_while(|&&c| c == '#').count();
            if at(i + 1 + hashes) != '"' {
                return i;
            }
            let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            until(i + 2 + hashes, &end)
        }
        ('"', _) => {
            let mut k = i + 1;
            while k < chars.len() && chars[k] != '"' {
                k += if chars[k] == '\\' { 2 } else { 1 };
            }
            (k + 1).min(chars.len())
        }
        ('\'', '\\') => until(i + 3, &['\'']),
        ('\'', _) if at(i + 2) == '\'' => i + 3,
        _ => i,
    }
}

/// Where `word` stands in `text` as a whole word.
pub fn words<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        !text[..at].chars().next_back().is_some_and(part) && !text[at + word.len()..].chars().next().is_some_and(part)
    })
}

/// The number of the line that holds this byte, from 1.
pub fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

#[test]
fn only_code_is_left() {
    let text = "a /* b */ \"c{\\\"\" 'd' '\\n' r#\"e\"f\"# 'life g // h\ni";
    assert_eq!(code(text).split_whitespace().collect::<Vec<_>>(), ["a", "'life", "g", "i"]);
    assert_eq!(words("an anchor: an", "an").count(), 2);
    assert_eq!(line_of("a\nb", 2), 2);
}

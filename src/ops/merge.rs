//! Several shaders as one: kernels that need nothing of each other become parts of one kernel, so that a device starts them
//! together and waits once.
//!
//! Each part keeps its text. What it declares gets names of its own, but for what other parts declare word for word: functions,
//! and workgroup memory, of which each workgroup uses the part that it runs alone. The workgroups of the parts stand in a row;
//! which part a workgroup runs follows from its number. Parameters lie behind each other in one uniform block.

use super::shaders;
use crate::base::{Error, Result};
use crate::graph::{Scalar, Shader};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// What can be said of a kernel from its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traits {
    /// Threads of a workgroup.
    pub threads: usize,
    /// Whether its threads wait for each other or hand each other numbers. If not, they may be counted out to workgroups of any size.
    pub waits: bool,
    /// The workgroup memory that it declares: text and bytes.
    pub memory: Vec<(String, usize)>,
    /// The declared type of each storage buffer.
    pub buffers: Vec<String>,
}

/// A kernel in a merged one.
#[derive(Clone, Debug)]
pub struct Part<'a> {
    /// The kernel by itself.
    pub shader: &'a Shader,
    /// For each of its storage buffers, which one it is of the merged kernel.
    pub slots: &'a [usize],
}

/// What a merged kernel is called.
pub const ENTRY: &str = "merged";

/// The parameters of a merged kernel, from the workgroups of each part and its parameters: first, for each part, one past the
/// number of its last workgroup; then, each from a multiple of 16 bytes, the parameters.
pub fn params<'a>(parts: impl Iterator<Item = (u32, &'a [(&'static str, Scalar)])> + Clone) -> Vec<u32> {
    let ends = parts.clone().scan(0, |end, (workgroups, _)| {
        *end += workgroups;
        Some(*end)
    });
    let mut words: Vec<u32> = ends.collect();
    for (_, params) in parts {
        words.resize(words.len().next_multiple_of(4), 0);
        words.extend(params.iter().map(|(_, scalar)| scalar.bits()));
    }
    words
}

/// A declaration at the outermost level of a shader.
#[derive(Clone, Debug)]
struct Item {
    name: String,
    /// Its words and what stands between them, without comments.
    tokens: Vec<String>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Entry,
    Params,
    /// A storage buffer and its binding.
    Buffer(usize),
    Other,
}

impl Item {
    fn text(&self) -> String {
        self.tokens.concat()
    }

    /// Its tokens, and whether each may be the name of a declaration: members of structs are not.
    fn names(&self) -> impl Iterator<Item = (&str, bool)> {
        let is_struct = self.tokens.first().is_some_and(|token| token == "struct");
        self.tokens.iter().enumerate().map(move |(i, token)| {
            let is =
                |at: Option<usize>, other: &str| at.and_then(|at| self.tokens.get(at)).is_some_and(|it| it == other);
            let is_member = is(i.checked_sub(1), ".") || (is_struct && is(Some(i + 1), ":"));
            (token.as_str(), !is_member)
        })
    }
}

/// Traits of a kernel; none if it has something that a part of a merged one cannot have.
pub fn traits(shader: &Shader) -> Result<Option<Traits>> {
    Ok(traits_of(&items(&shaders::source(shader)?)))
}

fn traits_of(items: &[Item]) -> Option<Traits> {
    let entry = items.iter().find(|item| item.kind == Kind::Entry)?;
    arguments(entry)?;
    let text = entry.text();
    let threads = text.split_once("@workgroup_size(")?.1.split_once(')')?.0.trim().parse().ok()?;
    let mut memory = Vec::new();
    for item in items.iter().filter(|item| item.text().contains("var<workgroup>")) {
        memory.push((item.text(), workgroup_bytes(item)?));
    }
    let mut buffers = BTreeMap::new();
    for item in items {
        if let Kind::Buffer(binding) = item.kind {
            let text = item.text();
            let (_, ty) = text.rsplit_once(": ")?;
            buffers.insert(binding, ty.trim_end_matches(';').to_owned());
        }
    }
    // Either way all threads of a workgroup have to come there together: they do, since a workgroup runs one part alone.
    let together = |text: &str| text.contains("Barrier(") || text.contains("subgroup");
    let waits = items.iter().any(|item| together(&item.text()));
    Some(Traits { threads, waits, memory, buffers: buffers.into_values().collect() })
}

/// Bytes of an array in workgroup memory.
fn workgroup_bytes(item: &Item) -> Option<usize> {
    let text = item.text();
    let inner = text.split_once("array<")?.1.rsplit_once('>')?.0;
    let (element, len) = inner.rsplit_once(',')?;
    let bytes = match element.trim() {
        "f32" | "u32" => 4,
        "vec2<f32>" | "vec2<u32>" => 8,
        "vec4<f32>" | "vec4<u32>" => 16,
        "Record" => 32,
        _ => return None,
    };
    len.trim().trim_end_matches('u').parse::<usize>().ok().map(|len| len * bytes)
}

/// What an entry point can be told, and what the whole calls it. The last ones are of its subgroup.
const ARGUMENTS: [(&str, &str); 5] = [
    (GROUP, "id"),
    (THREAD, "thread"),
    ("@builtin(subgroup_id) ", "subgroup"),
    ("@builtin(subgroup_invocation_id) ", "place"),
    ("@builtin(subgroup_size) ", "subgroup_size"),
];
const GROUP: &str = "@builtin(workgroup_id) ";
const THREAD: &str = "@builtin(local_invocation_index) ";

/// The arguments of an entry point in order, each a row of [`ARGUMENTS`]. None if there are others.
fn arguments(entry: &Item) -> Option<Vec<(&'static str, &'static str)>> {
    let text = entry.text();
    let head = text.split_once('{')?.0;
    let list = head.split_once(&format!("fn {}(", entry.name))?.1.trim_end().strip_suffix(')')?;
    let of = |argument: &str| ARGUMENTS.into_iter().find(|(builtin, _)| argument.starts_with(builtin));
    list.split(',').map(str::trim).filter(|argument| !argument.is_empty()).map(of).collect()
}

/// Cuts a text into words, numbers and single other characters; comments go.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let len = if rest.starts_with("//") {
            let len = rest.find('\n').unwrap_or(rest.len());
            rest = &rest[len..];
            continue;
        } else if first.is_alphabetic() || first == '_' {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else if first.is_ascii_digit() {
            rest.find(|c: char| !c.is_alphanumeric() && c != '.').unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        tokens.push(rest[..len].to_owned());
        rest = &rest[len..];
    }
    tokens
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The declarations of a shader.
fn items(text: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let (mut own, mut depth) = (Vec::new(), 0_usize);
    for token in tokens(text) {
        if own.is_empty() && token.trim().is_empty() {
            continue;
        }
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        let ends = depth == 0 && (token == ";" || token == "}");
        own.push(token);
        if ends && own.concat() == shaders::HALF_EXTENSION {
            // It stands in front of the whole.
            own.clear();
        } else if ends && own != [";"] {
            items.push(item(std::mem::take(&mut own)));
        } else if ends {
            own.clear();
        }
    }
    items
}

fn item(tokens: Vec<String>) -> Item {
    let text = tokens.concat();
    let keyword = tokens.iter().position(|token| matches!(token.as_str(), "fn" | "struct" | "var" | "const" | "alias"));
    let mut from = keyword.map_or(0, |at| at + 1);
    if tokens.get(from).is_some_and(|token| token == "<") {
        from += tokens[from..].iter().position(|token| token == ">").map_or(0, |len| len + 1);
    }
    let name = tokens[from..].iter().find(|token| is_word(token)).cloned().unwrap_or_default();
    let kind = if text.starts_with("@compute") {
        Kind::Entry
    } else if text.starts_with("@group(0)") && text.contains("var<uniform>") {
        Kind::Params
    } else if text.starts_with("@group(0)") {
        let binding = text.split_once("@binding(").and_then(|(_, rest)| rest.split_once(')')?.0.parse().ok());
        Kind::Buffer(binding.unwrap_or(0))
    } else {
        Kind::Other
    };
    Item { name, tokens, kind }
}

/// The WGSL of kernels as one. Buffer `i` of the whole is bound at `i + 1`.
///
/// # Errors
/// If a shader has no text, or has something that a part cannot have ([`traits`] tells).
pub fn source(parts: &[Part<'_>]) -> Result<String> {
    let failure = |part: &Part<'_>| {
        Error::failure(format!("shaders/{}.wgsl", part.shader.stem), format!("{} is no part", part.shader.entry))
    };
    let all =
        parts.iter().map(|part| shaders::source(part.shader).map(|text| items(&text))).collect::<Result<Vec<_>>>()?;
    let traits = all.iter().zip(parts).map(|(items, part)| traits_of(items).ok_or_else(|| failure(part)));
    let traits = traits.collect::<Result<Vec<_>>>()?;
    let mut whole = Whole { threads: threads(&traits), ..Whole::default() };
    for (i, (items, part)) in all.iter().zip(parts).enumerate() {
        whole.add(i, items, part, &traits[i]);
    }
    Ok(shaders::with_extensions(whole.text()))
}

/// Threads of a workgroup of the whole: as many as those parts have whose threads wait for each other, else the most.
pub fn threads(parts: &[Traits]) -> usize {
    let waiting = parts.iter().find(|part| part.waits);
    waiting.map_or_else(|| parts.iter().map(|part| part.threads).max().unwrap_or(1), |part| part.threads)
}

/// A merged kernel while it is put together.
#[derive(Debug, Default)]
struct Whole {
    threads: usize,
    /// Declarations that are there already, by name.
    shared: BTreeMap<String, String>,
    /// The names of buffers that are declared, by slot.
    buffers: BTreeMap<usize, String>,
    /// What its parts are told, beside [`GROUP`] and [`THREAD`] whether they are or not.
    arguments: BTreeSet<(&'static str, &'static str)>,
    text: String,
    params: String,
    ends: String,
    calls: String,
}

impl Whole {
    fn add(&mut self, i: usize, items: &[Item], part: &Part<'_>, traits: &Traits) {
        let shared = self.sharable(items);
        let mut names: BTreeMap<&str, String> = BTreeMap::new();
        for item in items {
            let name = match item.kind {
                Kind::Params => format!("bundle.p{i}"),
                Kind::Buffer(binding) => {
                    let fresh = format!("{}_m{i}", item.name);
                    self.buffers.entry(part.slots[binding - 1]).or_insert(fresh).clone()
                }
                _ if shared.contains(item.name.as_str()) => item.name.clone(),
                _ => format!("{}_m{i}", item.name),
            };
            names.insert(&item.name, name);
        }
        for item in items {
            let body = renamed(item, &names);
            match item.kind {
                Kind::Params => {}
                Kind::Buffer(binding) => {
                    let slot = part.slots[binding - 1];
                    if self.buffers[&slot] == format!("{}_m{i}", item.name) {
                        let body = body.split_once("var<").map_or("", |(_, rest)| rest);
                        let _ = writeln!(self.text, "@group(0) @binding({}) var<{body}", slot + 1);
                    }
                }
                Kind::Entry => {
                    let body = body.split_once("fn ").map_or("", |(_, rest)| rest);
                    let body = ARGUMENTS.iter().fold(body.to_owned(), |body, (builtin, _)| body.replace(builtin, ""));
                    let _ = writeln!(self.text, "fn {body}");
                    self.call(i, item, traits);
                }
                Kind::Other if shared.contains(item.name.as_str()) => {
                    if self.shared.insert(item.name.clone(), item.text()).is_none() {
                        let _ = writeln!(self.text, "{body}");
                    }
                }
                Kind::Other => {
                    let _ = writeln!(self.text, "{body}");
                }
            }
        }
        let _ = writeln!(self.ends, "    end{i}: u32,");
        let _ = writeln!(self.params, "    @align(16) p{i}: {},", names["Params"]);
    }

    /// What of these declarations can serve all parts: whatever names nothing but what can, and does not stand for something else
    /// already.
    fn sharable<'a>(&self, items: &'a [Item]) -> BTreeSet<&'a str> {
        let other = |item: &Item| self.shared.get(&item.name).is_some_and(|text| *text != item.text());
        let mut shared: BTreeSet<&str> = items
            .iter()
            .filter(|item| item.kind == Kind::Other && item.name != "Params" && !other(item))
            .map(|item| item.name.as_str())
            .collect();
        let all: BTreeSet<&str> = items.iter().map(|item| item.name.as_str()).collect();
        loop {
            let lost = |item: &&Item| {
                let named = |token: &str| all.contains(token) && !shared.contains(token);
                shared.contains(item.name.as_str()) && item.names().any(|(token, free)| free && named(token))
            };
            let Some(item) = items.iter().find(lost) else { return shared };
            shared.remove(item.name.as_str());
        }
    }

    fn call(&mut self, i: usize, entry: &Item, traits: &Traits) {
        let start = if i == 0 { "0u".to_owned() } else { format!("bundle.end{}", i - 1) };
        let each = !traits.waits && traits.threads != self.threads;
        let arguments = arguments(entry).unwrap_or_default();
        self.arguments.extend(&arguments);
        let argument = |&(builtin, name): &(&str, &str)| match builtin {
            GROUP => format!("vec3<u32>(number - {start}, 0u, 0u)"),
            THREAD if each => "own".to_owned(),
            _ => name.to_owned(),
        };
        let list = arguments.iter().map(argument).collect::<Vec<_>>().join(", ");
        let call = format!("{}_m{i}({list});", entry.name);
        let call = if each {
            let (step, threads) = (self.threads, traits.threads);
            format!("for (var own = thread; own < {threads}u; own += {step}u) {{ {call} }}")
        } else {
            call
        };
        let otherwise = if i == 0 { "    " } else { " else " };
        let _ = write!(self.calls, "{otherwise}if (number < bundle.end{i}) {{\n        {call}\n    }}");
    }

    fn text(&self) -> String {
        let Self { threads, text, params, ends, calls, .. } = self;
        let is_told =
            |argument: &&(&str, &str)| [GROUP, THREAD].contains(&argument.0) || self.arguments.contains(argument);
        let told = |(builtin, name): &(&str, &str)| match *builtin {
            GROUP => format!("{builtin}{name}: vec3<u32>"),
            _ => format!("{builtin}{name}: u32"),
        };
        let arguments = ARGUMENTS.iter().filter(is_told).map(told).collect::<Vec<_>>().join(", ");
        format!(
            "struct Bundle {{\n{ends}{params}}}\n\n@group(0) @binding(0) var<uniform> bundle: Bundle;\n\n{text}\n\
             @compute @workgroup_size({threads})\n\
             fn {ENTRY}({arguments}) {{\n    \
             let number = id.x;\n{calls}\n}}\n"
        )
    }
}

/// The text of a declaration with other names.
fn renamed(item: &Item, names: &BTreeMap<&str, String>) -> String {
    let other = |(token, free)| if free { names.get(token).map_or(token, String::as_str) } else { token };
    item.names().map(other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "struct Params {\n    rows: u32,\n}\n\n@group(0) @binding(0) var<uniform> params: Params;\n\
        @group(0) @binding(1) var<storage, read> rows: array<f32>;\nstruct Pair { rows: u32, b: f32 }\n// fn gone() {}\n\
        var<workgroup> cells: array<vec2<f32>, 12>;\nfn plus(a: f32) -> f32 { return a + 1.0e-3; }\n\
        fn of(p: Pair) -> f32 { return plus(f32(p.rows + params.rows)) + rows[0]; }\n\
        @compute @workgroup_size(64)\nfn main(@builtin(workgroup_id) id: vec3<u32>, \
        @builtin(local_invocation_index) thread: u32) {\n    workgroupBarrier();\n}\n";

    #[test]
    fn a_text_is_cut_into_its_declarations() {
        let items = items(TEXT);
        let names: Vec<(&str, Kind)> = items.iter().map(|item| (item.name.as_str(), item.kind)).collect();
        assert_eq!(
            names,
            [
                ("Params", Kind::Other),
                ("params", Kind::Params),
                ("rows", Kind::Buffer(1)),
                ("Pair", Kind::Other),
                ("cells", Kind::Other),
                ("plus", Kind::Other),
                ("of", Kind::Other),
                ("main", Kind::Entry),
            ]
        );
        let traits = traits_of(&items).unwrap();
        assert_eq!((traits.threads, traits.waits, &traits.buffers[..]), (64, true, &["array<f32>".to_owned()][..]));
        assert_eq!(traits.memory[0].1, 12 * 8);
    }

    #[test]
    fn members_keep_their_names_and_what_names_nothing_else_is_shared() {
        let items = items(TEXT);
        let whole = Whole::default();
        assert_eq!(whole.sharable(&items), BTreeSet::from(["Pair", "cells", "plus"]));
        let names = BTreeMap::from([("rows", "rows_m1".to_owned()), ("params", "bundle.p1".to_owned())]);
        let of = |name: &str| items.iter().find(|item| item.name == name).unwrap();
        assert_eq!(renamed(of("Pair"), &names), "struct Pair { rows: u32, b: f32 }");
        let text = "fn of(p: Pair) -> f32 { return plus(f32(p.rows + bundle.p1.rows)) + rows_m1[0]; }";
        assert_eq!(renamed(of("of"), &names), text);
        let mut taken = Whole::default();
        taken.shared.insert("plus".into(), "fn plus(a: f32) -> f32 { return a; }".into());
        assert_eq!(taken.sharable(&items), BTreeSet::from(["Pair", "cells"]), "another function of that name");
    }

    #[test]
    fn what_a_part_cannot_have_makes_it_none() {
        for (from, to) in [
            ("@builtin(local_invocation_index) thread", "@builtin(num_subgroups) thread"),
            ("vec2<f32>, 12", "mat2x2<f32>, 12"),
            ("@workgroup_size(64)", "@workgroup_size(size)"),
        ] {
            let changed = TEXT.replace(from, to);
            assert_ne!(changed, TEXT);
            assert_eq!(traits_of(&items(&changed)), None, "{to}");
        }
    }

    #[test]
    fn parameters_lie_behind_each_other_from_whole_vectors() {
        let (one, two) = ([("a", Scalar::U32(7))], [("b", Scalar::U32(8)), ("c", Scalar::U32(9))]);
        let parts = [(3, one.as_slice()), (5, two.as_slice())];
        assert_eq!(params(parts.into_iter()), [3, 8, 0, 0, 7, 0, 0, 0, 8, 9]);
    }
}

//! The texts of the shaders: templates embedded in the library, rendered with the values that a [`Shader`] names.

use super::gpu::{RECORD_THREADS, ROW_THREADS, THREADS};
use super::{examples, histogram, record, scaling, stats, units};
use crate::base::{Error, Real, Result};
use crate::graph::{Dispatch, SUBGROUP, Shader};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, Value};
use std::collections::BTreeMap;
use std::sync::LazyLock;

macro_rules! templates {
    ($($name:literal)*) => {
        /// Every file under `shaders/` by its name there.
        const TEMPLATES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../shaders/", $name)))),*];
    };
}

templates! {
    "lib/grid.wgsl" "lib/lanes.wgsl" "lib/macros.wgsl" "lib/math.wgsl" "lib/matmul_direct.wgsl" "lib/matmul_tiled.wgsl" "lib/record.wgsl"
    "lib/record_macros.wgsl" "lib/rows.wgsl" "lib/softmax.wgsl" "lib/step.wgsl"
    "lib/threefry.wgsl"
    "arenas.wgsl" "dropout.wgsl" "examples.wgsl" "gather.wgsl" "histogram.wgsl" "layout.wgsl" "loss.wgsl" "matmul.wgsl" "noise.wgsl" "norm.wgsl" "optimize.wgsl" "pointwise.wgsl" "reduce.wgsl"
    "scaling.wgsl" "softmax.wgsl" "stats.wgsl" "units.wgsl" "variance.wgsl"
}

/// The numbers that shaders share with the host.
const NUMBERS: [(&str, usize); 30] = [
    ("SUBGROUP", SUBGROUP as usize),
    ("THREADS", THREADS),
    ("ROW_THREADS", ROW_THREADS),
    ("RECORD_THREADS", RECORD_THREADS),
    ("EXAMPLE_ROWS", examples::ROWS_EACH),
    ("UNITS_EACH", units::UNITS_EACH),
    ("CHUNK", record::CHUNK),
    ("RECORD", record::RECORD),
    ("MAX", record::MAX),
    ("SQUARES", record::SQUARES),
    ("MAGNITUDES", record::MAGNITUDES),
    ("SUM", record::SUM),
    ("ZEROS", record::ZEROS),
    ("NON_FINITE", record::NON_FINITE),
    ("WEIGHT_SQUARES", record::WEIGHT_SQUARES),
    ("STEP_SQUARES", record::STEP_SQUARES),
    ("CLIP", stats::CLIP),
    ("HALT", stats::HALT),
    ("NORM", stats::NORM),
    ("SCALING", stats::SCALING),
    ("GOOD_STEPS", stats::GOOD_STEPS),
    ("SKIPPED", stats::SKIPPED),
    ("CORRECTION1", stats::CORRECTION1),
    ("CORRECTION2", stats::CORRECTION2),
    ("ROW_SCALE", scaling::ROW_SCALE),
    ("ROW_SKIPPED", scaling::ROW_SKIPPED),
    ("ROW_HALTS", scaling::ROW_HALTS),
    ("ROW_SKIPS", scaling::ROW_SKIPS),
    ("BINS", histogram::BINS),
    ("BIN_OFFSET", histogram::BIN_OFFSET as usize),
];

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // A line with a block tag leaves no blank line.
    environment
        .set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().expect("a known syntax"));
    for (name, number) in NUMBERS {
        environment.add_global(name, number);
    }
    environment.add_global("STEP_SCALE", record::STEP_SCALE);
    for (name, number) in [("LEAST", f32::LEAST), ("TINY", f32::TINY), ("LN_LEAST", f32::LN_LEAST)] {
        environment.add_global(name, format!("{number:e}f"));
    }
    environment.add_global("SCALED", stats::SCALED);
    environment.add_global("SKIPPING", stats::SKIPPING);
    environment.add_global("SCALE_MIN", scaling::SCALE_MIN);
    environment.add_global("SCALE_MAX", scaling::SCALE_MAX);
    environment.add_global("MAX_WORKGROUPS", Dispatch::MAX_WORKGROUPS);
    for (name, text) in TEMPLATES {
        environment.add_template(name, text).expect("the shaders are well-formed templates");
    }
    environment
});

/// The texts of all templates: what compiled or timed kernels depend on.
pub fn texts() -> impl Iterator<Item = &'static str> {
    TEMPLATES.iter().map(|&(_, text)| text)
}

/// The WGSL of a shader. A template sees the shader's variables, those that are whole numbers as numbers, and its entry
/// point as `entry`: the text has that entry point alone.
///
/// # Errors
/// If there is no such file, or the template needs a variable that is not given.
pub fn source(shader: &Shader) -> Result<String> {
    let file = format!("{}.wgsl", shader.stem);
    let failure = |e: minijinja::Error| Error::failure(format!("shaders/{file}"), format!("{e:#}"));
    let mut vars: BTreeMap<&str, Value> = shader
        .vars
        .iter()
        .map(|(name, text)| (*name, text.parse::<u32>().map_or_else(|_| Value::from(text.as_str()), Value::from)))
        .collect();
    vars.insert("entry", Value::from(shader.entry));
    let text = ENVIRONMENT.get_template(&file).and_then(|template| template.render(vars)).map_err(failure)?;
    Ok(with_extensions(text))
}

/// A text with the directive in front that it needs if a buffer of it holds half precision.
pub(crate) fn with_extensions(text: String) -> String {
    if text.contains("f16>") { format!("{HALF_EXTENSION}\n{text}") } else { text }
}

/// What lets a shader have half precision.
pub(crate) const HALF_EXTENSION: &str = "enable f16;";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_or_variable_is_an_error_that_names_it() {
        let missing = source(&Shader::plain("nothing", "main")).unwrap_err();
        assert_eq!(missing.place(), "shaders/nothing.wgsl");
        let unset = source(&Shader::plain("softmax", "softmax")).unwrap_err();
        assert!(unset.to_string().contains("softmax.wgsl") || unset.to_string().contains("rows.wgsl"), "{unset}");
    }

    #[test]
    fn every_file_of_the_folder_is_embedded() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/shaders");
        let mut found = Vec::new();
        for (folder, prefix) in [(root.to_owned(), ""), (format!("{root}/lib"), "lib/")] {
            for entry in std::fs::read_dir(folder).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                if name.ends_with(".wgsl") {
                    found.push(format!("{prefix}{name}"));
                }
            }
        }
        found.sort_unstable();
        let mut embedded: Vec<&str> = TEMPLATES.iter().map(|&(name, _)| name).collect();
        embedded.sort_unstable();
        assert_eq!(found, embedded);
    }
}

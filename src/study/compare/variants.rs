//! Which variants there are: every combination of the settings that differ, each with its budget in steps.

use super::Options;
use crate::base::{Error, Result};
use crate::config::{Auto, Batch, Config, Train};
use crate::run;
use std::time::Duration;

/// A setting that differs between variants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vary {
    /// The key: `train.batch`.
    pub key: String,
    /// Its values, as in a config.
    pub values: Vec<String>,
}

/// When a variant ends: at the first of those that are given. Where none of the first three is, it is the examples of the
/// epochs of the config, or its `train.max_steps` if it has that.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Budget {
    /// Examples seen.
    pub examples: Option<u64>,
    /// Steps.
    pub steps: Option<u64>,
    /// Time spent in training.
    pub time: Option<Duration>,
    /// The loss at which a variant is done.
    pub target: Option<f64>,
}

/// Rows that the record of a variant has where `record.every` is `"auto"`: enough for a curve, and small.
const RECORD_ROWS: u64 = 1000;

/// Keys that a comparison sets itself, and what to use instead.
const OWN: [(&str, &str); 6] = [
    ("train.seed", "use --seeds for several seeds"),
    ("train.epochs", "the budget ends a variant: --examples, --steps, --time"),
    ("train.max_steps", "the budget ends a variant: --examples, --steps, --time"),
    ("train.max_time", "the budget ends a variant: --examples, --steps, --time"),
    ("record.dir", "use --out for the folder of the comparison"),
    ("name", "variants are named by what differs"),
];

impl Vary {
    /// Reads `train.batch=full,1,32`. Commas within brackets, braces or quotes do not separate values.
    ///
    /// # Errors
    /// There is no `=`, no value, or a value twice.
    pub fn parse(text: &str) -> Result<Self> {
        let place = format!("--vary: {text}");
        let Some((key, values)) = text.split_once('=') else {
            return Err(Error::input(place, "expected section.key=value,value,…, found no `=`"));
        };
        let values: Vec<String> = split(values).into_iter().map(|value| value.trim().to_owned()).collect();
        if values.iter().any(String::is_empty) {
            return Err(Error::input(place, "there is an empty value").help("write for example train.batch=full,1,32"));
        }
        if let Some(twice) = values.iter().enumerate().find(|(i, value)| values[..*i].contains(value)) {
            return Err(Error::input(place, format!("`{}` is given twice", twice.1)));
        }
        let key = key.trim().to_owned();
        if let Some((_, help)) = OWN.iter().find(|(own, _)| *own == key) {
            return Err(Error::input(place, format!("`{key}` cannot differ between variants")).help(help));
        }
        Ok(Self { key, values })
    }

    /// The last part of the key.
    fn word(&self) -> &str {
        self.key.rsplit('.').next().unwrap_or(&self.key)
    }
}

/// The parts of a list between the commas that are in no brackets, braces or quotes.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut from, mut depth, mut quote) = (Vec::new(), 0, 0i32, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth -= 1,
            (None, ',') if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

impl Budget {
    pub(super) fn check(&self) -> Result<()> {
        for (flag, count) in [("--examples", self.examples), ("--steps", self.steps)] {
            if count == Some(0) {
                return Err(Error::input(flag, "0 is out of range: expected 1 or more"));
            }
        }
        match self.target {
            Some(target) if !target.is_finite() => Err(Error::input("--target", format!("{target} is no loss"))),
            _ => Ok(()),
        }
    }
}

/// A variant before it is run.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    /// What differs, for people: `batch 32, sgd`.
    pub name: String,
    /// Its folder within that of the comparison.
    pub folder: String,
    /// The keys that differ, with their values.
    pub settings: Vec<(String, String)>,
    /// Its settings, with seed and end.
    pub config: Config,
}

impl Planned {
    /// The settings with the seed so many after the first.
    pub fn with_seed(&self, offset: u64) -> Config {
        let mut config = self.config.clone();
        config.train.seed = config.train.seed.wrapping_add(offset);
        config
    }
}

/// All variants, checked as far as that goes without a device.
pub(super) fn plan(config: &Config, options: &Options) -> Result<Vec<Planned>> {
    let rows = run::load(config)?.train.len();
    let vary = if options.vary.is_empty() { vec![batches(rows)] } else { options.vary.clone() };
    for (i, one) in vary.iter().enumerate() {
        if vary[..i].iter().any(|other| other.key == one.key) {
            return Err(Error::input("--vary", format!("`{}` is given twice", one.key))
                .help("give all its values in one --vary, with commas between"));
        }
    }
    let mut combinations: Vec<Vec<(&Vary, &String)>> = vec![Vec::new()];
    for one in &vary {
        let longer = |head: &Vec<_>| -> Vec<Vec<_>> {
            one.values.iter().map(|value| head.iter().copied().chain([(one, value)]).collect()).collect()
        };
        combinations = combinations.iter().flat_map(longer).collect();
    }
    combinations.iter().map(|settings| planned(config, settings, &options.budget)).collect()
}

fn planned(base: &Config, settings: &[(&Vary, &String)], budget: &Budget) -> Result<Planned> {
    let mut config = base.clone();
    let texts = settings.iter().map(|(vary, value)| format!("{}={value}", vary.key));
    config.set_all_for("--vary", texts)?;
    let here = std::env::current_dir().map_err(|error| Error::failure("the current folder", error))?;
    config.rebase(&here);
    let words: Vec<String> = settings.iter().map(|(vary, value)| format!("{} {value}", vary.word())).collect();
    let name = words.join(", ");
    let rows = run::load(&config)?.train.len();
    set_end(&mut config, rows, budget).map_err(|error| error.within(format!("variant {name}")))?;
    let folder: String =
        name.replace(", ", "-").chars().map(|c| if c.is_alphanumeric() || c == '.' { c } else { '-' }).collect();
    config.name.clone_from(&folder);
    let settings = settings.iter().map(|(vary, value)| (vary.key.clone(), (*value).clone())).collect();
    Ok(Planned { name, folder, settings, config })
}

/// All of the examples, one, and three sizes between, as powers of two: near the fourth root of their number, its square,
/// and its cube.
fn batches(rows: usize) -> Vary {
    let between = [0.25, 0.5, 0.75].map(|power| (rows as f64).powf(power).log2().round().exp2() as usize);
    let mut values = vec!["full".to_owned(), "1".to_owned()];
    for size in between.into_iter().filter(|&size| size > 1 && size < rows) {
        let size = size.to_string();
        if !values.contains(&size) {
            values.push(size);
        }
    }
    Vary { key: "train.batch".into(), values }
}

/// Turns the budget into an end in steps. A budget of time or a target ends the run by the observer.
fn set_end(config: &mut Config, rows: usize, budget: &Budget) -> Result<()> {
    let batch = match config.train.batch {
        Batch::Full => rows,
        Batch::Size(size) if size > rows => {
            let message = format!("a batch of {size} is larger than the {rows} training examples");
            return Err(Error::input("train.batch", message).help("use \"full\" for all of them"));
        }
        Batch::Size(size) => size,
        Batch::Adaptive => return set_adaptive_end(config, rows, budget),
    };
    let per_epoch = if config.train.drop_last { rows / batch } else { rows.div_ceil(batch) } as u64;
    let seen = if config.train.drop_last { per_epoch as usize * batch } else { rows } as u64;
    let steps_of = |examples: u64| examples / seen * per_epoch + (examples % seen).div_ceil(batch as u64);
    let by_config = config.train.max_steps.unwrap_or_else(|| steps_of(config.train.epochs.saturating_mul(seen)));
    let given = [budget.steps, budget.examples.map(steps_of)];
    // A budget of time alone ends nothing by steps.
    let unbounded = budget.time.map(|_| u64::from(u32::MAX));
    let steps = given.into_iter().flatten().min().or(unbounded).unwrap_or(by_config);
    config.train.max_steps = Some(steps);
    config.train.epochs = steps.div_ceil(per_epoch);
    config.train.max_time = None;
    if config.record.every == Auto::Auto {
        config.record.every = Auto::Set((steps / RECORD_ROWS).clamp(1, 1000));
    }
    Ok(())
}

/// The same where batches grow: how many steps so many examples take is not known, so a budget of examples ends with the epoch that
/// it ends in.
fn set_adaptive_end(config: &mut Config, rows: usize, budget: &Budget) -> Result<()> {
    let train = &mut config.train;
    if let Some(examples) = budget.examples {
        train.epochs = examples.div_ceil(rows as u64);
    } else if budget.steps.is_some() || budget.time.is_some() {
        train.epochs = u64::from(u32::MAX);
    }
    // As many as it would take with the smallest batches, which is never reached but shows how far a run is.
    let smallest = train.micro_batch.unwrap_or(Train::MICRO_ROWS_ADAPTIVE).max(train.adaptive.min.unwrap_or(1));
    let most = train.epochs.saturating_mul(rows.div_ceil(smallest) as u64).min(u64::from(u32::MAX));
    let of_config = train.max_steps.filter(|_| budget.examples.is_none() && budget.time.is_none());
    train.max_steps = Some(budget.steps.or(of_config).map_or(most, |steps| steps.min(most)));
    train.max_time = None;
    Ok(())
}

/// A comparison that needs no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Example {
    /// The handwritten digits.
    Digits,
    /// A quadratic whose optimum is known.
    Convex,
    /// A surface over the plane with four valleys, from the bottom of the shallowest.
    Surface,
}

const CONVEX: &str = r#"
name = "convex"

[data]
source = "quadratic"
examples = 16384
features = 4
noise = 0.1
condition = 10

[model]
layers = [{ kind = "linear", out = 1, bias = false }]

[train]
optimizer = "sgd"
lr = 0.05
max_steps = 20000

[record]
flight = 0
checkpoint = 0

[device]
threads = 1
"#;

const SURFACE: &str = r#"
name = "surface"

[data]
source = "plane"
examples = 1024
noise = 2.0

[model]
layers = [{ kind = "linear", out = 2, bias = false, init = { constant = 0.9 } }]

[loss]
kind = "wells"
tilt = 0.15

[train]
optimizer = "sgd"
lr = 0.05
max_steps = 2000

[record]
every = 50
flight = 0
checkpoint = 0

[device]
threads = 1
"#;

impl Example {
    /// Its settings.
    pub fn config(self) -> Config {
        let (text, name) = match self {
            Self::Digits => return Config::builtin_digits(),
            Self::Convex => (CONVEX, "convex.toml"),
            Self::Surface => (SURFACE, "surface.toml"),
        };
        Config::from_toml_str(text, name).expect("built-in settings are valid, as a test shows")
    }

    /// How many seeds it takes to answer what it asks.
    pub fn seeds(self) -> u64 {
        match self {
            Self::Digits | Self::Convex => 1,
            Self::Surface => 20,
        }
    }

    /// The batch sizes that show it, where the usual ones do not.
    pub fn vary(self) -> Vec<Vary> {
        let sizes = |text| {
            vec![Vary { key: "train.batch".into(), values: split(text).into_iter().map(str::to_owned).collect() }]
        };
        match self {
            Self::Digits => Vec::new(),
            Self::Convex => sizes("full,1,4,16,64"),
            Self::Surface => sizes("full,1,2,4,16"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(vary: &[&str], budget: Budget) -> Result<Vec<Planned>> {
        let vary = vary.iter().map(|text| Vary::parse(text)).collect::<Result<_>>()?;
        plan(&Config::builtin_digits(), &Options { vary, budget, seeds: 1, ..Options::default() })
    }

    #[test]
    fn by_default_batch_sizes_lie_between_one_and_all() {
        let names: Vec<String> = digits(&[], Budget::default()).unwrap().into_iter().map(|plan| plan.name).collect();
        assert_eq!(names, ["batch full", "batch 1", "batch 8", "batch 32", "batch 256"]);
        assert_eq!(batches(2).values, ["full", "1"]);
    }

    #[test]
    fn every_combination_is_a_variant_with_the_same_budget() {
        let budget = Budget { examples: Some(1293 * 2 + 10), ..Budget::default() };
        let plans = digits(&["train.batch=full,4", "train.optimizer=sgd,{a"], budget);
        assert!(plans.is_err());
        let plans = digits(&["train.batch=full,4", "train.optimizer=sgd,adam"], budget).unwrap();
        let names: Vec<&str> = plans.iter().map(|plan| plan.name.as_str()).collect();
        let all = [
            "batch full, optimizer sgd",
            "batch full, optimizer adam",
            "batch 4, optimizer sgd",
            "batch 4, optimizer adam",
        ];
        assert_eq!(names, all);
        let steps: Vec<Option<u64>> = plans.iter().map(|plan| plan.config.train.max_steps).collect();
        assert_eq!(steps, [Some(3), Some(3), Some(651), Some(651)], "1,293 examples are 324 steps of 4, and 10 are 3");
        assert_eq!(plans[2].config.train.epochs, 3);
        assert_eq!(plans[3].with_seed(2).train.seed, 2);
        assert_eq!(plans[0].folder, "batch-full-optimizer-sgd");
    }

    #[test]
    fn lists_are_split_outside_of_brackets() {
        let vary = Vary::parse("train.betas=[0.9, 0.99],[0.8, 0.9]").unwrap();
        assert_eq!(vary.values, ["[0.9, 0.99]", "[0.8, 0.9]"]);
        assert_eq!(split("a,'b,c',{d = 1, e = 2}"), ["a", "'b,c'", "{d = 1, e = 2}"]);
    }

    #[test]
    fn errors_name_flag_key_and_value() {
        for (vary, expected) in [
            ("train.batch", "--vary: train.batch: expected section.key=value"),
            ("train.batch=1,,2", "there is an empty value"),
            ("train.batch=1,2,1", "`1` is given twice"),
            ("train.seed=1,2", "`train.seed` cannot differ between variants\n  help: use --seeds"),
            ("train.lrr=1,2", "--vary: train.lrr: there is no key `lrr` here\n  help: did you mean `lr`?"),
            ("train.batch=0,2", "--vary: train.batch: 0 is out of range"),
            ("train.batch=5000", "variant batch 5000: train.batch: a batch of 5000 is larger than the 1293"),
        ] {
            let error = digits(&[vary], Budget::default()).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(expected), "{vary}: {error}");
        }
        let error = digits(&["train.batch=1", "train.batch=2"], Budget::default()).unwrap_err().to_string();
        assert!(error.contains("--vary: `train.batch` is given twice"), "{error}");
        let none = Budget { steps: Some(0), ..Budget::default() };
        assert!(none.check().unwrap_err().to_string().starts_with("--steps: 0"));
    }

    #[test]
    fn examples_are_valid() {
        for example in [Example::Digits, Example::Convex, Example::Surface] {
            let options = Options { vary: example.vary(), seeds: 1, ..Options::default() };
            assert_eq!(plan(&example.config(), &options).unwrap().len(), 5, "{example:?}");
        }
    }
}

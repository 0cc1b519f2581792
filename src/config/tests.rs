//! The table of keys is walked: every key takes its default, refuses what is wrong, and is suggested when misspelt.

use super::*;
use std::path::PathBuf;

const MODEL: &str = "[model]\nlayers = [{ kind = \"linear\", out = 3 }, \"relu\"]\n";

fn parse(text: &str) -> Result<Config> {
    Config::from_toml_str(text, "net.toml")
}

fn with(text: &str) -> Result<Config> {
    parse(&format!("{text}\n{MODEL}"))
}

/// The text of the error, which must be the user's to mend.
fn refusal(result: Result<Config>) -> String {
    let error = result.expect_err("an error");
    assert_eq!(error.exit_code(), 2, "{error}");
    error.to_string()
}

/// A config in which the key applies, with `entry` in the place of the key; and nothing there if `entry` is empty.
fn around(key: &Key, entry: &str) -> String {
    let tag = key.when.map(|when| format!("{} = \"{}\"", when.tag, when.word));
    let needed = keys().iter().filter(|other| {
        other.is_required
            && !other.is_tag
            && other.when == key.when
            && other.section() == key.section()
            && other.name() != key.name()
    });
    let example = |other: &Key| match other.name() {
        "out" | "every" => format!("{} = 3", other.name()),
        "factor" => "factor = 0.5".into(),
        "path" => "path = \"x\"".into(),
        "layers" => "layers = [\"relu\"]".into(),
        name => panic!("an example of {name} is needed here"),
    };
    let mut lines: Vec<String> = tag.into_iter().chain(needed.map(example)).collect();
    if key.when.is_some_and(|when| when.word == "warmup") && !matches!(key.name(), "steps" | "epochs") {
        lines.push("steps = 5".into());
    }
    if key.when.is_some_and(|when| when.word == "plateau") && key.name() != "of" {
        lines.push("of = \"train\"".into());
    }
    lines.extend((!entry.is_empty()).then(|| entry.to_owned()));
    match key.section() {
        "" => format!("{entry}\n{MODEL}"),
        "model" => format!("[model]\n{}", lines.join("\n")),
        "model.layers[]" => format!("[model]\nlayers = [{{ {} }}]", lines.join(", ")),
        "train.schedule[]" => format!("{MODEL}\n[train]\nschedule = {{ {} }}", lines.join(", ")),
        section => format!("{MODEL}\n[{section}]\n{}", lines.join("\n")),
    }
}

fn place(key: &Key) -> String {
    key.path.replace("layers[]", "layers[0]").replace("schedule[]", "schedule")
}

#[test]
fn every_key_takes_its_default_and_needs_it_not() {
    assert!(keys().len() > 100, "the walks walk over something");
    for key in keys().iter().filter(|key| !key.is_tag) {
        let Some(default) = &key.default else { continue };
        if key.path == "name" {
            continue;
        }
        let given = parse(&around(key, &format!("{} = {default}", key.name())));
        let left_out = parse(&around(key, ""));
        assert_eq!(given.unwrap_or_else(|error| panic!("{error}")), left_out.unwrap(), "{key:?}");
    }
}

#[test]
fn every_key_refuses_a_wrong_type_and_names_itself() {
    for key in keys() {
        for wrong in ["{ what = 1 }", "1979-05-27"] {
            let text = refusal(parse(&around(key, &format!("{} = {wrong}", key.name()))));
            // A tag that is given twice is refused by TOML already.
            assert!(text.starts_with(&format!("net.toml: {}", place(key))), "{key:?}\n{text}");
        }
    }
}

#[test]
fn every_key_is_suggested_when_misspelt() {
    for key in keys().iter().filter(|key| !key.is_required) {
        let misspelt = format!("{}x", key.name());
        let text = refusal(parse(&around(key, &format!("{misspelt} = 1"))));
        assert!(text.contains(&format!("did you mean `{}`?", key.name())), "{key:?}\n{text}");
        assert!(text.contains(&misspelt) && text.starts_with("net.toml: "), "{text}");
    }
    for key in keys().iter().filter(|key| key.is_required) {
        let misspelt = format!("{}x", key.name());
        let text = refusal(parse(&around(key, &format!("{misspelt} = 1"))));
        assert!(
            text.contains(&format!("`{misspelt}` is no key here: did you mean `{}`?", key.name())),
            "{key:?}\n{text}"
        );
    }
}

#[test]
fn every_range_is_enforced_and_every_number_has_one_or_needs_none() {
    let mut refused = 0;
    for key in keys() {
        for out in [-1.0, 0.0, 1.0, 1.5] {
            let is_pair = key.type_name.starts_with("two");
            let text = if is_pair { format!("[0.5, {out:?}]") } else { format!("{out}") };
            let result = parse(&around(key, &format!("{} = {text}", key.name())));
            if key.range != Range::ANY && !key.range.contains(out) && !key.type_name.starts_with("list") {
                let text = refusal(result);
                assert!(text.starts_with(&format!("net.toml: {}", place(key))), "{key:?}\n{text}");
                refused += 1;
            } else if key.type_name.starts_with("number") {
                result.unwrap_or_else(|error| panic!("{error} {key:?}"));
            }
        }
    }
    assert!(refused > 50, "{refused}");
}

#[test]
fn every_key_is_documented_and_in_the_reference() {
    let text = reference();
    for key in keys() {
        assert!(key.doc.ends_with('.'), "{key:?}");
        assert!(text.contains(&format!("| `{}` |", key.name())), "{key:?}");
        assert!(key.choices.iter().all(|(word, _)| text.contains(&format!("- `\"{word}\"`: "))), "{key:?}");
    }
    for section in ["data", "model", "loss", "train", "validate", "record", "device"] {
        assert!(text.contains(&format!("## `[{section}]`\n\n")), "{section}");
    }
    assert_eq!(text.matches("- `\"orthogonal\"`: ").count(), 2, "once for the model, once for its layers");
    let columns = |line: &str| line.replace("\\|", "").matches('|').count();
    assert!(text.lines().filter(|line| line.starts_with('|')).all(|line| columns(line) == 6));
}

/// A config in which no value is the default.
const RICH: &str = r#"
name = "rich"
[data]
source = "csv"
path = "a.csv"
test_path = "b.csv"
target = "y \"quoted\""
ignore = ["id", "note"]
task = "classification"
split = 0.25
standardize = "center"
class_weights = [1, 2.5]
resident = false
[model]
init = { normal = 0.02 }
bias_init = "zeros"
layers = [
  { kind = "linear", out = 32, bias = false, init = "he_normal", gain = 2 }, { kind = "leaky_relu", slope = 0.2 },
  { kind = "dropout", p = 0.1 }, "layer_norm", { kind = "gelu", approximate = "tanh" },
  { kind = "linear", out = 2, bias_init = { constant = 0.5 } },
]
[loss]
kind = "huber"
delta = 2
reduction = "sum"
[train]
epochs = 3
max_steps = 100
max_time = "1h30m"
batch = "full"
micro_batch = 16
optimizer = "adagrad"
lr = 1e-12
lr_decay = 0.1
clip_norm = 1
seed = 9223372036854775807
precision = "f64"
schedule = [{ kind = "warmup", steps = 10 }, { kind = "step", every = "2 epochs" }, "cosine"]
[validate]
every = 0
patience = 3
[record]
every = 10
dir = "out"
[device]
device = "cpu"
threads = 2
memory_limit = "8GB"
"#;

#[test]
fn what_is_written_reads_back_equal() {
    for config in [with("").unwrap(), parse(RICH).unwrap(), Config::builtin_digits()] {
        for text in [config.to_toml(), config.to_toml_changed()] {
            assert_eq!(parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}")), config, "{text}");
        }
        assert_eq!(parse(&config.to_toml()).unwrap().to_toml(), config.to_toml());
        let json = serde_json::to_value(&config).unwrap();
        assert_eq!(json["name"], config.name);
        config.check().unwrap();
    }
    assert!(parse(RICH).unwrap().to_toml().contains("\nlr = 1e-12\n"));
    let text = Config::builtin_digits().to_toml();
    assert!(text.contains("\nweight_decay = 0.0\n") && !text.contains("momentum"), "{text}");
    assert!(!Config::builtin_digits().to_toml_changed().contains("weight_decay"));
}

#[test]
fn what_is_read_has_the_types_meant() {
    let config = parse(RICH).unwrap();
    let Source::Csv { path, ignore, .. } = &config.data.source else { panic!("{:?}", config.data.source) };
    assert_eq!((path, ignore.len()), (&PathBuf::from("a.csv"), 2));
    assert_eq!(config.data.class_weights, ClassWeights::Given(vec![1.0, 2.5]));
    assert_eq!(config.train.batch, Batch::Full);
    assert_eq!(config.train.max_time.unwrap().as_secs(), 5400);
    assert_eq!(config.train.optimizer.lr(), 1e-12);
    assert_eq!(config.train.schedule.pieces[1], Piece::Step { every: Span::Epochs(2), factor: 0.1 });
    assert_eq!(config.train.schedule.pieces[0].span(), Some(Span::Steps(10)));
    assert_eq!(config.validate.every, Rhythm::Never);
    assert_eq!(config.device.memory_limit, Some(Bytes(8_000_000_000)));
    let first = config.model.linear_init(&config.model.layers[0]).unwrap();
    assert_eq!(first, LinearInit { weight: Init::HeNormal, gain: 2.0, bias: None });
    let last = config.model.linear_init(&config.model.layers[5]).unwrap();
    assert_eq!(last, LinearInit { weight: Init::Normal(0.02), gain: 1.0, bias: Some(Init::Constant(0.5)) });
    assert_eq!(config.model.linear_init(&config.model.layers[1]), None);
    assert_eq!(with("").unwrap().name, "net");
}

#[test]
fn defaults_depend_on_the_optimizer() {
    let of = |name: &str| with(&format!("[train]\noptimizer = \"{name}\"")).unwrap().train.optimizer;
    for (name, lr, weight_decay) in
        [("sgd", 0.01, 0.0), ("adam", 0.001, 0.0), ("adamw", 0.001, 0.01), ("rmsprop", 0.01, 0.0)]
    {
        assert_eq!((of(name).lr(), of(name).weight_decay(), of(name).word()), (lr, weight_decay, name));
    }
    assert!(matches!(of("adagrad"), Optimizer::Adagrad { eps: 1e-10, .. }));
}

#[test]
fn errors_name_the_place_and_what_to_do() {
    let cases = [
        (
            "[train]\nmomentum = 0.5",
            &["train.momentum: `momentum` does not apply to optimizer = \"adam\"", "\"nesterov\""][..],
        ),
        ("[train]\noptimizer = \"adan\"", &["train.optimizer: ", "did you mean `adam`?"]),
        ("[train]\nlearning_rate = 1", &["train.learning_rate: ", "did you mean `lr`?"]),
        ("[train]\nlr = \"fast\"", &["train.lr: expected a number, found the string \"fast\""]),
        ("[train]\nlr = -1", &["train.lr: -1 is out of range: expected number ≥ 0"]),
        ("[train]\nlr = nan", &["train.lr: expected a finite number"]),
        ("[train]\nbatch = 0", &["train.batch: 0 is out of range"]),
        ("[train]\nbetas = [0.9, 1]", &["train.betas: 1 is out of range: expected two numbers in [0, 1)"]),
        ("[train]\nbetas = [0.9]", &["train.betas: expected two numbers, found 1"]),
        ("[train]\nmicro_batch = 64", &["train.micro_batch: 64 examples are more than the batch of 32 has"]),
        ("[train]\nschedule = \"warmup\"", &["train.schedule: a warmup needs a length"]),
        (
            "[train]\nschedule = [{ kind = \"cosine\", steps = 1, epochs = 1 }, \"constant\"]",
            &["train.schedule[0]: `steps`"],
        ),
        ("[train]\nschedule = [\"plateau\", \"plateau\"]", &["train.schedule[1]: there is a plateau already"]),
        (
            "[train]\nschedule = { kind = \"plateau\", steps = 5 }",
            &["train.schedule: `steps` is for the training loss", "of = \"train\""],
        ),
        (
            "[train]\nadaptive = { min = 64, max = 32 }",
            &["train.adaptive.max: 32 is less than train.adaptive.min = 64"],
        ),
        ("[trian]\nlr = 1", &["trian: ", "did you mean `train`?"]),
        ("lr = 1", &["lr: ", "did you mean `train.lr`?"]),
        ("[loss]\nkind = \"mse\"\ndelta = 1", &["loss.delta: `delta` does not apply to kind = \"mse\"", "\"huber\""]),
        ("[data]\nsplit = 1", &["data.split: 1 is out of range: expected number in [0, 1)"]),
        ("[data]\nsource = \"csv\"", &["data.path: this key is required"]),
        ("[data]\nsource = \"quadratic\"\nspectrum = [1]", &["data.spectrum: 1 eigenvalues for 10 features"]),
        ("[data]\nclass_weights = [0, 0]", &["data.class_weights: "]),
        ("train = 3", &["train: expected a table, found the integer 3"]),
        ("name = \"a/b\"", &["name: '/'"]),
        ("[zzz]", &["zzz: ", "possible keys: name, data, model"]),
    ];
    for (text, parts) in cases {
        let error = refusal(with(text));
        assert!(error.starts_with(&format!("net.toml: {}", parts[0])), "{text}\n{error}");
        assert!(parts[1..].iter().all(|part| error.contains(part)), "{text}\n{error}");
    }
}

#[test]
fn errors_in_layers_name_the_layer() {
    let cases = [
        (
            "{ kind = \"relu\", slope = 1 }",
            &["model.layers[0].slope: `slope` does not apply to kind = \"relu\"", "\"leaky_relu\""][..],
        ),
        ("\"relo\"", &["model.layers[0].kind: ", "did you mean `relu`?"]),
        ("\"linear\"", &["model.layers[0].out: this key is required"]),
        ("{ kind = \"dropout\", p = 1 }", &["model.layers[0].p: 1 is out of range"]),
        ("{ out = 1 }", &["model.layers[0].kind: this key is required", "\"linear\""]),
        ("{ kind = \"linear\", out = 1, bias_init = \"orthogonal\" }", &["model.layers[0].bias_init: ", "\"zeros\""]),
        ("{ kind = \"linear\", out = 1, init = \"he\" }", &["model.layers[0].init: ", "did you mean `he_"]),
        ("{ kind = \"linear\", out = 1, init = \"normal\" }", &["model.layers[0].init: ", "{ normal = 0.01 }"]),
        (
            "{ kind = \"linear\", out = 1, init = { norma = 1 } }",
            &["model.layers[0].init.norma: ", "did you mean `normal`?"],
        ),
        ("{ kind = \"linear\", out = 1, init = { normal = -1 } }", &["model.layers[0].init.normal: -1"]),
        ("3", &["model.layers[0]: expected a kind in quotes or a table in braces"]),
        ("", &["model.layers: at least one layer"]),
    ];
    for (layer, parts) in cases {
        let error = refusal(parse(&format!("[model]\nlayers = [{layer}]")));
        assert!(error.starts_with(&format!("net.toml: {}", parts[0])), "{layer}\n{error}");
        assert!(parts[1..].iter().all(|part| error.contains(part)), "{layer}\n{error}");
    }
    assert!(refusal(parse("")).starts_with("net.toml: model.layers: this key is required"));
}

#[test]
fn broken_toml_is_refused_with_its_line() {
    let error = refusal(parse("[train]\nlr = 1\nepochs = = 2\n"));
    assert!(error.starts_with("net.toml:3: "), "{error}");
    assert!(refusal(parse("[train]\nlr = 1\n\nlr = 2\n")).starts_with("net.toml:4: "));
}

#[test]
fn files_are_read_and_their_paths_start_from_their_folder() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    std::fs::write(&file, format!("[data]\nsource = \"csv\"\npath = \"a.csv\"\n{MODEL}")).unwrap();
    let config = Config::from_file(&file).unwrap();
    assert_eq!(config.name, "mine");
    assert!(matches!(&config.data.source, Source::Csv { path, .. } if *path == folder.path().join("a.csv")));
    let error = Config::from_file(folder.path().join("none.toml")).unwrap_err();
    assert!(error.to_string().contains("none.toml") && error.exit_code() == 2);
}

#[test]
fn a_config_changed_in_code_can_be_checked() {
    let mut config = Config::builtin_digits();
    config.data.split = 2.0;
    assert_eq!(config.check().unwrap_err().place(), "data.split");
}

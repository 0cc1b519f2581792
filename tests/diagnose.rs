//! Diagnoses of real nets: each example shows its fault, known nets are found with layer and cause, remedies mend.

mod place;

use place::{Place, text};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use steepest::config::Config;
use steepest::study::{DiagnoseOptions, Diagnosis, diagnose};
use steepest::verdict::{Grade, Verdict};

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    files.sort();
    files
}

fn on_cpu(mut config: Config, steps: u64, tries: bool) -> Diagnosis {
    config.set("device.device=cpu").unwrap();
    diagnose(&config, &DiagnoseOptions { steps, tries }).unwrap_or_else(|error| panic!("{}: {error}", config.name))
}

fn ids(found: &Diagnosis) -> Vec<&str> {
    found.verdicts.iter().map(|verdict| verdict.id).collect()
}

/// The verdict that the first line of an example promises.
fn promised(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let line = text.lines().next().unwrap();
    let (_, id) = line.rsplit_once("Verdict: ").unwrap_or_else(|| panic!("{}: {line}", path.display()));
    id.trim_end_matches('.').to_owned()
}

#[test]
fn each_example_shows_what_it_says_first_of_all() {
    let examples = examples();
    assert!(examples.len() >= 15);
    for path in examples {
        let found = on_cpu(Config::from_file(&path).unwrap(), 300, false);
        assert_eq!(ids(&found)[0], promised(&path), "{}: {:?}", path.display(), found.verdicts);
        let faults = ids(&found).len() > 1 && found.verdicts[1].grade == Grade::Fault;
        assert!(!faults, "{}: one fault, one verdict: {:?}", path.display(), ids(&found));
    }
}

/// A net on the digits: hidden layers of `width`, biases zero.
fn net(hidden: usize, width: usize, activation: &str, init: &str, train: &str) -> Config {
    let layers = format!("{{ kind = 'linear', out = {width} }}, '{activation}', ").repeat(hidden);
    let text = format!(
        "data.split = 0.1\n[model]\nlayers = [{layers}{{ kind = 'linear', out = 10 }}]\ninit = '{init}'\n\
         bias_init = 'zeros'\n[train]\n{train}\nepochs = 100"
    );
    Config::from_toml_str(&text, "net.toml").unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Nets that are known to vanish (digits, width 32): hidden layers, activation, initializer, the cause, and the RMS of ∂L/∂z
/// of the first layer over that of the last, worked out in f64 elsewhere.
const VANISHING: [(usize, &str, &str, &str, f64); 4] = [
    (10, "relu", "uniform_fan_in", "initialization gain", 8e-5),
    (20, "relu", "uniform_fan_in", "initialization gain", 1e-8),
    (20, "tanh", "uniform_fan_in", "initialization gain", 7e-6),
    (5, "sigmoid", "glorot_uniform", "activation", 4e-4),
];

#[test]
fn vanishing_nets_are_found_with_layer_and_cause() {
    for (hidden, activation, init, cause, published) in VANISHING {
        for train in
            ["optimizer = 'sgd'\nlr = 0.1", "optimizer = 'momentum'\nlr = 0.01", "optimizer = 'adam'\nlr = 0.001"]
        {
            let found = on_cpu(net(hidden, 32, activation, init, train), 300, false);
            let what = format!("{hidden} × {activation}, {train}");
            let [verdict] = &found.verdicts[..] else { panic!("{what}: {:?}", found.verdicts) };
            let Verdict { id, grade, layer, cause: told, .. } = verdict;
            assert_eq!((*id, *grade, layer.as_deref()), ("vanishing", Grade::Fault, Some("0")), "{what}");
            assert!(told.starts_with(cause), "{what}: {told}");
            // Per element, as the published numbers are: ten outputs, 32 units.
            let ratio = found.layers[0].arriving * (10f64 / 32.0).sqrt();
            println!("{what}: {ratio:.1e}, published {published:.0e}");
            assert!((ratio / published).ln().abs() < 3f64.ln(), "{what}: {ratio:e}, published {published:e}");
        }
    }
}

#[test]
fn the_healthy_net_is_called_healthy_and_then_converged() {
    for train in ["optimizer = 'sgd'\nlr = 0.1", "optimizer = 'momentum'\nlr = 0.01"] {
        let config = net(3, 128, "relu", "he_normal", train);
        assert_eq!(ids(&on_cpu(config.clone(), 150, false)), ["healthy"], "{train}");
        let end = on_cpu(config, 2000, false);
        assert_eq!(ids(&end), ["converged", "healthy"], "{train}");
        assert!(end.outcome.score.unwrap() > 0.95 && end.outcome.loss < 0.01, "{:?}", end.outcome);
    }
    // Adam goes on until the validation loss rises, which is advice; it is no fault either.
    let end = on_cpu(net(3, 128, "relu", "he_normal", "optimizer = 'adam'\nlr = 0.001"), 2000, false);
    assert!(ids(&end).contains(&"converged") && !end.has_fault(), "{:?}", end.verdicts);
}

#[test]
fn tried_remedies_mend() {
    for name in ["vanishing-sigmoid", "exploding-gain", "symmetric-constant", "lr-too-high", "softmax-twice"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/{name}.toml"));
        let config = Config::from_file(&path).unwrap();
        let found = on_cpu(config.clone(), 300, true);
        let best = found.best.unwrap_or_else(|| panic!("{name}: none did better"));
        let (before, after) =
            (found.outcome.score.unwrap_or(0.0), found.attempts[best].outcome.as_ref().unwrap().score);
        println!("{name}: {before:.3} to {:.3} by {}", after.unwrap(), found.attempts[best].what);
        assert!(after.unwrap() > 0.85 && before < 0.5, "{name}: {before} to {after:?}");
        let named: Vec<&str> =
            found.attempts[best].changes.iter().map(|change| change.key.split('[').next().unwrap()).collect();
        let mended = found.mended(&config).unwrap().unwrap();
        // Another optimizer brings its own settings along, at their defaults.
        let follows = |key: &str| named.contains(&"train.optimizer") && key.starts_with("train.");
        for difference in mended.differences(&config) {
            let key = difference.key.as_str();
            assert!(named.iter().any(|name| key.starts_with(name)) || follows(key), "{name}: {key} was changed too");
        }
    }
}

#[test]
fn what_was_there_before_training_is_not_explained_by_what_came_of_it() {
    let mut config = net(8, 48, "relu", "he_normal", "optimizer = 'momentum'\nlr = 0.01");
    config.set("model.layers[16].gain=100").unwrap();
    let found = on_cpu(config, 300, false);
    assert!(ids(&found).contains(&"non_finite") && ids(&found).contains(&"poor_gain"), "{:?}", ids(&found));
    assert!(found.verdicts[0].cause.starts_with("initialization"), "{}", found.verdicts[0].cause);
    // Units that die under a signal that was lost from the start are no finding of their own.
    let vanishing = on_cpu(net(10, 32, "relu", "uniform_fan_in", "optimizer = 'sgd'\nlr = 0.1"), 300, false);
    assert_eq!(ids(&vanishing), ["vanishing"]);
}

#[test]
fn a_trial_has_the_patience_of_its_config() {
    let mut config = Config::from_file(example("overfitting.toml")).unwrap();
    let before = on_cpu(config.clone(), 300, false).outcome;
    config.set("validate.patience=2").unwrap();
    let after = on_cpu(config, 300, false).outcome;
    assert!(before.steps == 300 && after.steps < 300, "{before:?}, {after:?}");
}

fn example(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name).display().to_string()
}

#[test]
fn the_exit_code_tells_a_fault_from_advice() {
    let place = Place::new();
    let fault = place.run(&format!("diagnose {} --device cpu", example("vanishing-sigmoid.toml")));
    assert_eq!(fault.status.code(), Some(3));
    let shown = text(&fault.stdout);
    for part in
        ["signals before anything is learned", "vanishing (fault) in layer 0", "cause activation", "remedy ReLU"]
    {
        assert!(shown.contains(part), "no `{part}` in\n{shown}");
    }
    let advice = place.run(&format!("diagnose {} --device cpu --json", example("overfitting.toml")));
    assert_eq!(advice.status.code(), Some(0));
    let json: Value = serde_json::from_slice(&advice.stdout).unwrap();
    assert_eq!((&json["verdicts"][0]["id"], &json["verdicts"][0]["grade"]), (&"overfitting".into(), &"advice".into()));
    place.fails("diagnose nowhere.toml", 2, &["nowhere.toml"]);
    place.fails("diagnose --set verdicts.silence=[\"vanishin\"]", 2, &["verdicts.silence", "`vanishing`"]);
}

#[test]
fn a_verdict_can_be_silenced() {
    let mut config = Config::from_file(example("vanishing-sigmoid.toml")).unwrap();
    config.set("verdicts.silence=[\"vanishing\"]").unwrap();
    let found = on_cpu(config, 300, false);
    assert!(!ids(&found).contains(&"vanishing"), "{:?}", ids(&found));
}

#[test]
fn the_config_that_won_is_written_and_is_healthy() {
    let place = Place::new();
    let line = format!("diagnose {} --device cpu --apply mended.toml", example("softmax-twice.toml"));
    assert_eq!(place.run(&line).status.code(), Some(3), "the fault was there");
    assert!(place.succeeds("diagnose mended.toml").contains("healthy"));
    place.fails(&line, 2, &["mended.toml", "--apply"]);
}

#[test]
fn a_training_ends_where_a_verdict_says_so_and_again_at_the_same_step() {
    let place = Place::new();
    let steps = |out: &str| -> (Value, Value) {
        let line = format!(
            "train {} --device cpu --out {out} --stop-on exploding,vanishing,nan",
            example("vanishing-sigmoid.toml")
        );
        assert_eq!(place.run(&line).status.code(), Some(3));
        let summary = fs::read(place.path().join(out).join("summary.json")).unwrap();
        let summary: Value = serde_json::from_slice(&summary).unwrap();
        assert_eq!(summary["verdicts"][0]["id"], "vanishing");
        (summary["stopped_by"].clone(), summary["steps"].clone())
    };
    assert_eq!(steps("a"), ("vanishing".into(), 32.into()));
    assert_eq!(steps("b"), steps("c"));
    let weights = |out: &str| fs::read(place.path().join(out).join("model.safetensors")).unwrap();
    assert_eq!(weights("a"), weights("b"));
    place.fails("train --stop-on explodin", 2, &["verdicts.stop_on", "`exploding`"]);
    let nan = format!("train {} --device cpu --out nan --stop-on nan", example("non-finite.toml"));
    place.fails(&nan, 1, &["not finite", "before that", "had grown"]);
}

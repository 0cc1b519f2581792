//! `steepest range`.

use super::place::Place;
use serde_json::Value;
use std::fs;
use steepest::config::Config;
use steepest::run::load;
use steepest::study::range::{RangeOptions, RangeStudy, range};

/// Least squares on a quadratic with the full batch, in double precision.
fn quadratic(more: &str) -> Config {
    let text = "data.source = 'quadratic'\ndata.examples = 200\ndata.features = 4\ndata.spectrum = [3.0, 1.0, 0.5, 0.2]\n\
        model.layers = [{ kind = 'linear', out = 1, bias = false }]\nloss.kind = 'mse'\n\
        device.device = 'cpu'\n[train]\nbatch = 'full'\noptimizer = 'sgd'\nprecision = 'f64'\n";
    let mut config = super::training::config(text);
    config.set_all(more.split_whitespace()).unwrap_or_else(|e| panic!("{e}"));
    config
}

fn study(config: &Config, options: &RangeOptions) -> RangeStudy {
    range(config, options, &mut |_, _| ()).unwrap_or_else(|e| panic!("{e}"))
}

/// Gradient descent on a quadratic is stable up to 2/λ_max.
#[test]
fn the_largest_stable_rate_of_a_quadratic_is_two_over_lambda_max() {
    let linear = "data.source=linear data.examples=300 data.features=6";
    for (what, config) in [("quadratic", quadratic("")), ("linear", quadratic(linear))] {
        let optimum = load(&config).unwrap().optimum.expect("it has an optimum");
        let limit = 2.0 / optimum.lambda_max();
        for options in [
            RangeOptions { from: 1e-3, to: 10.0, steps: 100, seeds: 1 },
            RangeOptions { from: 3e-3, to: 4.0, steps: 250, seeds: 2 },
        ] {
            let found = study(&config, &options);
            let stable = found.stable.unwrap();
            let next = stable.next.unwrap();
            println!("{what}: {} to {next}, theory {limit}", stable.rate);
            // A rate barely above the limit grows too slowly to be seen: to the next rate of the grid, either way.
            assert!(stable.rate <= limit * found.ratio && next >= limit / found.ratio, "{stable:?} for {limit}");
            assert!((next / stable.rate / found.ratio - 1.0).abs() < 1e-9);
            // A single passing step hides what grows slowly: the rising run finds another, larger rate.
            assert!(found.diverged && found.points.last().unwrap().rate > limit, "{:?}", found.points.last());
            assert!(found.steepest.unwrap().rate < limit, "{:?}", found.steepest);
            assert_eq!(found.seeds.len() as u64, options.seeds);
        }
    }
}

/// Noise hides the fall of rates that are too small; more steps of the same say more.
#[test]
fn digits_have_rates_and_what_is_too_small_has_none() {
    let mut config = Config::builtin_digits();
    config.set("device.device=cpu").unwrap();
    let options = RangeOptions { steps: 120, ..RangeOptions::default() };
    let found = study(&config, &options);
    let (fall, stable) = (found.steepest.unwrap(), found.stable.unwrap());
    println!("steepest {}, stable {}", fall.rate, stable.rate);
    assert!((1e-4..0.1).contains(&fall.rate) && stable.rate >= fall.rate && stable.rate < 1.0, "{fall:?} {stable:?}");
    assert!(fall.losses[0] - fall.losses[1] > 2.0 * fall.error);
    assert_eq!(found, study(&config, &options), "a seed repeats a study");
    let small = study(&config, &RangeOptions { from: 1e-9, to: 1e-7, ..options });
    assert!(small.steepest.is_none() && small.stable.is_none() && !small.diverged && small.points.len() == 120);
}

#[test]
fn the_program_shows_and_leaves_what_was_found() {
    let place = Place::with_net(("epochs = 2", "epochs = 2"));
    let shown = place.succeeds("range net.toml --steps 60 --from 1e-4 --to 100 --seeds 2 --out rates");
    for part in ["adam in batches of 10, 2 seeds", "Steepest fall:", "Largest stable rate:", "Smith 2017", "range.png"]
    {
        assert!(shown.contains(part), "no `{part}` in\n{shown}");
    }
    let json: Value = serde_json::from_slice(&fs::read(place.path().join("rates/range.json")).unwrap()).unwrap();
    let points = json["points"].as_array().unwrap();
    let csv = fs::read_to_string(place.path().join("rates/range.csv")).unwrap();
    assert_eq!(csv.lines().count(), points.len() + 1);
    assert!(fs::read(place.path().join("rates/range.svg")).unwrap().starts_with(b"<svg"));
    assert!(fs::read(place.path().join("rates/range.png")).unwrap().starts_with(b"\x89PNG"));
    let output = place.run("range net.toml --steps 60 --from 1e-4 --to 100 --seeds 2 --json");
    let again: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(again, json);
    // The rates are those of the run, whatever schedule and length the config has.
    let other = place.run(
        "range net.toml --steps 60 --from 1e-4 --to 100 --seeds 2 --json --set train.lr=7 --set train.epochs=1 \
         --set train.schedule=cosine",
    );
    assert_eq!(serde_json::from_slice::<Value>(&other.stdout).unwrap()["points"], json["points"]);
}

#[test]
fn tests_that_make_no_sense_are_refused() {
    let place = Place::with_net(("epochs = 2", "epochs = 2"));
    for (options, expected) in [
        ("--from 0", "--from: 0 is no rate"),
        ("--from 1 --to 0.5", "--to: 0.5 is not above the first rate of 1"),
        ("--steps 10", "--steps: 10 steps are too few"),
        ("--seeds 0", "--seeds: 0 seeds are no test"),
        ("--set train.batch=adaptive", "train.batch: rates are tested with batches of one size"),
        ("--from fast", "--from"),
    ] {
        place.fails(&format!("range net.toml --out rates {options}"), 2, &[expected]);
    }
    place.fails("range net.toml --steps 60 --out net.toml", 2, &["net.toml: is a file"]);
}

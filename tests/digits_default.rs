//! The built-in example, as `steepest train` runs it without a file.

use steepest::config::Config;
use steepest::run::{Silent, TrainOptions, train};

fn accuracy(seed: u64) -> f64 {
    let mut config = Config::builtin_digits();
    let seed = format!("train.seed={seed}");
    config.set_all([seed.as_str(), "device.device=cpu"]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = TrainOptions { out: Some(folder.path().join("run")), ..TrainOptions::default() };
    let end = train(&config, &options, &mut Silent).unwrap();
    end.test.and_then(|test| test.accuracy()).expect("digits have a test part of classes")
}

#[test]
fn the_median_of_ten_seeds_reaches_98_percent() {
    let mut accuracies: Vec<f64> = (0..10).map(accuracy).collect();
    accuracies.sort_by(f64::total_cmp);
    println!("test accuracies {accuracies:.4?}");
    let median = (accuracies[4] + accuracies[5]) / 2.0;
    assert!(median >= 0.98, "median {median:.4} of {accuracies:.4?}");
}

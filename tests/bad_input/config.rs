//! Settings: keys, types, ranges, and models that do not fit their data.

use super::place::Place;
use std::fs;

#[test]
fn misspelt_keys_and_wrong_types_are_named() {
    let place = Place::with_net(("epochs = 2", "epocs = 2"));
    place.fails(
        "train net.toml --out out",
        2,
        &["net.toml: train.epocs: there is no key `epocs`", "did you mean `epochs`?"],
    );
    let place = Place::with_net(("epochs = 2", "epochs = \"many\""));
    place.fails(
        "train net.toml --out out",
        2,
        &["net.toml: train.epochs: expected an integer, found the string \"many\""],
    );
    let place = Place::with_net(("[train]", "[trian]"));
    place.fails("train net.toml --out out", 2, &["did you mean `train`?"]);
    let place = Place::with_net(("\"relu\"", "\"rellu\""));
    place.fails("train net.toml --out out", 2, &["model.layers[1]", "`relu`"]);
    let place = Place::with_net(("epochs = 2", "epochs = "));
    place.fails("train net.toml --out out", 2, &["net.toml:11", "no valid TOML"]);
    let place = Place::new();
    place.fails(
        "train --set train.lrr=1 --out out",
        2,
        &["--set: train.lrr: there is no key `lrr`", "did you mean `lr`?"],
    );
    place.fails("train --set train.lr=-1 --out out", 2, &["--set: train.lr: -1 is out of range"]);
}

#[test]
fn numbers_that_are_out_of_range_are_refused() {
    let place = Place::with_net(("epochs = 2", "epochs = 2"));
    for (options, expected) in [
        ("--epochs 0", "--epochs: train.epochs: 0 is out of range: expected integer ≥ 1"),
        ("--max-steps 0", "--max-steps: train.max_steps: 0 is out of range"),
        ("--max-time 0", "--max-time: train.max_time: 0 is out of range"),
        ("--seed 18446744073709551616", "number too large"),
        ("--set train.batch=0", "train.batch: 0 is out of range"),
        ("--set train.micro_batch=11", "train.micro_batch: 11 examples are more than the batch of 10"),
        ("--set train.batch=adaptiv", "train.batch: expected \"full\" | \"adaptive\" | integer"),
        ("--set train.batch=adaptive --set train.adaptive.min=1", "train.adaptive.min: 1 is out of range"),
        (
            "--set train.adaptive.min=9 --set train.adaptive.max=8",
            "train.adaptive.max: 8 is less than train.adaptive.min = 9",
        ),
        (
            "--set train.batch=adaptive --set train.micro_batch=20 --set train.adaptive.max=19",
            "train.adaptive.max: there is no batch of whole micro-batches of 20 from 20 to 19",
        ),
        ("--set train.batch=adaptive --set train.micro_batch=49", "train.batch: a batch of 49 is larger than the 48"),
        ("--set train.adaptive.threshold=0.5", "`threshold` does not apply to criterion = \"noise_scale\""),
        (
            "--set train.adaptive.criterion=norm_test --set train.adaptive.threshold=1",
            "train.adaptive.threshold: 1 is out of range: expected number in (0, 1)",
        ),
        ("--set train.adaptive.every=0", "train.adaptive.every: 0 is out of range"),
        ("--set train.adaptive.rate=linear", "train.adaptive.rate: expected \"keep\" | \"scale\""),
        ("--set train.batch=adaptive --set probes.noise=0", "follows the noise of the gradient, which is not measured"),
        ("--set train.batch=adaptive --set probes.preset=off", "which is not measured"),
        ("--set data.split=1", "data.split: 1 is out of range: expected number in [0, 1)"),
        ("--set data.class_weights=[1,2]", "data.class_weights: 2 weights for 3 classes"),
        ("--set data.split=0 --set validate.patience=2", "validate.patience: there is no validation part"),
        ("--set model.layers[9].out=5", "model.layers[9].out: there is no entry 9"),
        ("--set model.layers=[]", "model.layers: at least one layer is needed"),
        ("--set model.layers=[\"relu\"]", "model.layers: no layer has parameters"),
        ("--set device.threads=100000", "device.threads: 100000 is out of range: expected integer in [1, 1024]"),
        ("--set train.lr", "train.lr: expected section.key=value"),
        ("--precision f64 --device llvmpipe", "GPUs compute in f32 only"),
    ] {
        place.fails(&format!("train net.toml --out out {options}"), 2, &[expected]);
    }
}

#[test]
fn odd_numbers_that_make_sense_are_taken() {
    let place = Place::with_net(("epochs = 2", "epochs = 2"));
    let record = |out: &str| fs::read(place.path().join(out).join("steps.jsonl")).unwrap();
    place.succeeds("train net.toml --out still --set train.lr=0");
    place.succeeds("train net.toml --out uneven --set train.batch=full --set train.micro_batch=7");
    place.succeeds("train net.toml --out large --seed 18446744073709551615");
    place.succeeds("train large --out again");
    place.succeeds("train net.toml --out other --seed 18446744073709551614");
    assert!(record("large") == record("again"), "the config of the run folder gives the same run");
    assert!(record("large") != record("other"), "every bit of the seed counts");
    place.succeeds("train net.toml --out set --set model.layers=[\"relu\",{kind=\"linear\",out=3}] --set train.schedule=[{kind=\"warmup\",steps=3},{kind=\"cosine\"}]");
}

#[test]
fn a_model_that_does_not_fit_its_data_is_refused() {
    let place = Place::with_net(("out = 3", "out = 7"));
    place.fails("train net.toml --out out", 2, &["model.layers: the model has 7 outputs for 3 classes", "out = 3"]);
    let place = Place::with_net(("batch = 10", "batch = 1000"));
    place.fails(
        "train net.toml --out out",
        2,
        &["train.batch: a batch of 1000 is larger than the 48 training examples"],
    );
}

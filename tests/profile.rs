//! `train --profile`: where the time of a step goes, on CPU and GPU, and that nothing else changes.

mod place;
mod training;

use place::{Place, text};
use serde_json::Value;
use std::fs;
use std::sync::Arc;
use steepest::base::Threads;
use steepest::config::Config;
use steepest::exec::{Cpu, Devices, Executor, GpuOptions};
use steepest::run::profile::Profile;
use steepest::run::{HostTensor, Setup, Trainer, load};

const PHASES: [&str; 8] = ["data wait", "upload", "forward", "backward", "statistics", "update", "read-back", "other"];

/// What any profile of a whole run holds.
fn check(profile: &Profile) {
    let names: Vec<&str> = profile.phases.iter().map(|phase| phase.name.as_str()).collect();
    assert_eq!(names, PHASES);
    let of = |name: &str| profile.phases.iter().find(|phase| phase.name == name).unwrap().seconds;
    for name in ["upload", "forward", "backward", "statistics", "update", "read-back"] {
        assert!(of(name) > 0.0, "{name}: {profile:?}");
    }
    let sum: f64 = profile.phases.iter().map(|phase| phase.seconds).sum();
    assert!(sum >= profile.step_seconds * (1.0 - 1e-9), "phases leave out nothing: {profile:?}");
    assert!(profile.dearest.is_sorted_by(|a, b| a.seconds >= b.seconds) && profile.dearest.len() == 10, "{profile:?}");
    let product = profile.dearest.iter().find(|step| step.op == "matmul").expect("products are among the dearest");
    assert!(product.gflops.is_some_and(|speed| speed > 0.0) && product.gbytes_per_second.is_none());
    assert!(profile.dearest.iter().all(|step| step.gflops.is_some() != step.gbytes_per_second.is_some()));
    assert!(profile.dearest.iter().all(|step| step.plan != "evaluate"), "an evaluation is no training step");
}

/// Runs `net.toml` with and without `--profile`, compares what they leave, and gives the profile.
fn both(place: &Place, device: &str) -> Profile {
    place.succeeds(&format!("train net.toml --out plain --quiet --device {device}"));
    let shown = place.run(&format!("train net.toml --out timed --device {device} --profile"));
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
    let shown = text(&shown.stdout);
    for part in ["where the time went over 15 steps, by the clock of the ", "read-back", "GFLOP/s", "GB/s"] {
        assert!(shown.contains(part), "no `{part}` in\n{shown}");
    }
    let bytes = |run: &str, file: &str| fs::read(place.path().join(run).join(file)).unwrap();
    for file in ["model.safetensors", "steps.jsonl", "config.toml"] {
        assert!(bytes("plain", file) == bytes("timed", file), "{file} is another one");
    }
    let summary = |run: &str| -> Value { serde_json::from_slice(&bytes(run, "summary.json")).unwrap() };
    assert!(summary("plain").get("profile").is_none());
    let profile: Profile = serde_json::from_value(summary("timed")["profile"].clone()).unwrap();
    assert_eq!(profile.steps, 15);
    check(&profile);
    profile
}

#[test]
fn a_run_on_the_cpu_says_where_its_time_goes_and_has_the_same_weights() {
    let place = Place::with_net(("epochs = 2", "epochs = 3"));
    assert_eq!(both(&place, "cpu").clock, "host");
    place.fails("train net.toml --out more --profile=yes", 2, &["unexpected value 'yes' for '--profile'"]);
    // A run that goes on counts its own steps.
    place.succeeds("train --resume timed --epochs 4 --profile");
    let summary: Value = serde_json::from_slice(&fs::read(place.path().join("timed/summary.json")).unwrap()).unwrap();
    assert_eq!((&summary["profile"]["steps"], &summary["steps"]), (&5.into(), &20.into()));
}

/// The adapters, if there are any; that there are none `STEEPEST_REQUIRE_GPU=1` forbids.
fn adapter() -> Option<String> {
    let found = Devices::find().list().iter().find(|adapter| adapter.compute).map(|adapter| adapter.index.to_string());
    let required = std::env::var("STEEPEST_REQUIRE_GPU").is_ok_and(|value| value == "1");
    assert!(found.is_some() || !required, "STEEPEST_REQUIRE_GPU=1 and no adapter");
    if found.is_none() {
        println!("SKIPPED: no adapter");
    }
    found
}

#[test]
fn a_run_on_a_gpu_says_where_its_time_goes_and_has_the_same_weights() {
    let Some(device) = adapter() else { return };
    let place = Place::with_net(("epochs = 2", "epochs = 3"));
    let clock = both(&place, &device).clock;
    assert!(clock == "device" || clock == "host, steps alone", "{clock}");
}

fn config() -> Config {
    let mut config = training::config(place::NET);
    config.set_all(["train.micro_batch=4".to_owned(), "probes.preset=full".to_owned()]).unwrap();
    config
}

/// The weights after a few steps on an executor, and the profile if times were taken.
fn trained(config: &Config, executor: Box<dyn Executor + Send>) -> (Vec<HostTensor>, Option<Profile>) {
    let setup = Setup { splits: load(config).unwrap(), executor, threads: None, objective: None };
    let mut trainer = Trainer::new(config, setup).unwrap();
    let start = std::time::Instant::now();
    training::losses(&mut trainer, 12);
    let profile = Profile::of(&trainer, start.elapsed().as_secs_f64(), 12);
    (trainer.params().unwrap(), profile)
}

#[test]
fn an_adapter_without_timestamps_is_timed_from_outside() {
    if adapter().is_none() {
        return;
    }
    let open = |downlevel: bool| -> Box<dyn Executor + Send> {
        let devices = Devices::find();
        let adapter = devices.list().iter().find(|adapter| adapter.compute).cloned().expect("one was there");
        Box::new(devices.open(&adapter, &GpuOptions { downlevel, ..GpuOptions::default() }).unwrap())
    };
    let (expected, nothing) = trained(&config(), open(true));
    assert!(nothing.is_none(), "no times unless they are asked for");
    for downlevel in [true, false] {
        let mut executor = open(downlevel);
        executor.profile().unwrap();
        let (found, profile) = trained(&config(), executor);
        let profile = profile.expect("times were taken");
        assert!(!downlevel || profile.clock == "host, steps alone", "{}", profile.clock);
        check(&profile);
        assert!(found == expected, "weights are the same");
    }
}

#[test]
fn times_are_those_of_all_plans_or_of_none() {
    let mut cpu = Cpu::<f32>::new(Arc::new(Threads::single()), None);
    assert!(cpu.times().is_none());
    let (_, profile) = trained(&config(), {
        let mut cpu: Box<dyn Executor + Send> = Box::new(Cpu::<f32>::new(Arc::new(Threads::single()), None));
        cpu.profile().unwrap();
        cpu
    });
    check(&profile.unwrap());
    let mut g = steepest::graph::Graph::new();
    let x = g.input("x", steepest::base::Type::real([2])).unwrap();
    let y = g.scale(x, 2.0).unwrap();
    let plan = steepest::plan::compile("y", &g, &[(y, steepest::plan::Place::whole("y", g.ty(y)))]).unwrap();
    cpu.load(&plan).unwrap();
    assert!(cpu.profile().unwrap_err().to_string().contains("1 plans are loaded"));
}

//! A device that is lost: one error that says what happened and what to do. (That memory is used up, `tests/bad_input.rs`
//! provokes.)

use super::*;
use crate::base::Type;
use crate::graph::{Graph, StepScalars};
use crate::plan::{Place, compile};

/// The first usable adapter, opened; none where there is no adapter, which `STEEPEST_REQUIRE_GPU=1` forbids.
fn open() -> Option<Gpu> {
    let devices = Devices::find();
    let Some(adapter) = devices.list().iter().find(|adapter| adapter.compute).cloned() else {
        assert!(std::env::var("STEEPEST_REQUIRE_GPU").as_deref() != Ok("1"), "STEEPEST_REQUIRE_GPU=1 and no adapter");
        println!("SKIPPED: no adapter");
        return None;
    };
    Some(devices.open(&adapter, &GpuOptions::default()).unwrap())
}

fn plan() -> Plan {
    let mut g = Graph::new();
    let x = g.input("x", Type::real([8])).unwrap();
    let y = g.relu(x).unwrap();
    compile("small", &g, &[(y, Place::whole("y", g.ty(y)))]).unwrap()
}

#[test]
fn a_lost_device_fails_whatever_is_asked_of_it() {
    let Some(mut gpu) = open() else { return };
    let small = gpu.load(&plan()).unwrap();
    let (x, y) = (gpu.buffer("x").unwrap(), gpu.buffer("y").unwrap());
    let submission = Submission {
        uploads: &[(x, Host::F32(&[1.0; 8]))],
        plans: &[small],
        scalars: StepScalars::default(),
        readback: Some(y),
        tag: 7,
    };
    gpu.submit(&submission).unwrap();
    let mut reading = Vec::new();
    assert_eq!(gpu.poll(&mut reading, true), Ok(Some(7)));
    gpu.submit(&submission).unwrap();
    // As a driver that resets does, with a reading under way.
    gpu.device.device.destroy();
    let errors = [
        gpu.poll(&mut reading, true).unwrap_err(),
        gpu.submit(&submission).unwrap_err(),
        gpu.write(x, 0, Host::F32(&[1.0; 8])).unwrap_err(),
        gpu.read(y, 0, 8).unwrap_err(),
        gpu.load(&plan()).unwrap_err(),
        gpu.finish().unwrap_err(),
    ];
    for error in errors {
        let text = error.to_string();
        assert_eq!(error.exit_code(), 1, "{text}");
        assert!(text.starts_with(&format!("{}: the device was lost", gpu.info.name)), "{text}");
        assert!(text.contains("help: ") && text.contains("--device cpu"), "{text}");
    }
}

#[test]
fn the_version_of_wgpu_is_the_one_that_is_built() {
    let lock = include_str!("../../../Cargo.lock");
    let entry = lock.split("[[package]]").find(|entry| entry.contains("\nname = \"wgpu\"\n")).expect("wgpu is locked");
    assert!(entry.contains(&format!("version = \"{}\"", super::VERSION)), "{entry}");
}

//! Devices that are not there, or too small.

use super::place::{Place, error_of, files, text};

#[test]
fn devices_that_are_not_there_are_refused() {
    let place = Place::with_net(("\n[device]\ndevice = \"cpu\"\n", ""));
    place.fails("train net.toml --out out --device nosuchdevice", 2, &["`nosuchdevice`", "cpu"]);
    place.fails("train net.toml --out out --device 99", 2, &["99", "cpu"]);
    // A backend of another system: no adapter is found.
    let elsewhere = if cfg!(target_os = "macos") { "dx12" } else { "metal" };
    for device in ["gpu", "0"] {
        let line = format!("train net.toml --out out --device {device}");
        let output = place.command(&line).env("WGPU_BACKEND", elsewhere).output().unwrap();
        error_of(&output, &line, 2, &["no adapter was found", "--device cpu"]);
    }
    let output = place.command("train net.toml --out out").env("WGPU_BACKEND", elsewhere).output().unwrap();
    assert!(text(&output.stdout).contains("there is no GPU"), "auto falls back to the CPU and says why");
    assert!(place.succeeds("devices").contains("--device auto takes"));
    let list: serde_json::Value = serde_json::from_str(&place.succeeds("devices --json")).unwrap();
    assert!(list["adapters"].is_array() && list["auto"]["reason"].is_string(), "{list}");
}

#[test]
fn a_plan_that_does_not_fit_is_refused_with_the_number() {
    let place = Place::with_net(("device = \"cpu\"", "device = \"cpu\"\nmemory_limit = 2000"));
    let error = place.fails("train net.toml --out out", 2, &["2000"]);
    assert!(error.contains("help: "), "{error}");
}

/// Runs under a limit of address space, in which the software adapter finds no memory. Where the driver itself crashes for
/// want of it, that limit tells nothing.
#[test]
#[cfg(target_os = "linux")]
fn a_device_without_memory_left_is_a_failure_with_the_buffer() {
    let place = Place::with_net(("out = 8", "out = 65536"));
    if !place.succeeds("devices").contains("llvmpipe") {
        assert!(std::env::var("STEEPEST_REQUIRE_GPU").as_deref() != Ok("1"), "STEEPEST_REQUIRE_GPU=1 and no adapter");
        println!("SKIPPED: no software adapter");
        return;
    }
    let line = "train net.toml --out out --device llvmpipe --set data.examples=4096 --set data.split=0 \
                --set train.batch=4096";
    let refused = (400..1600).step_by(50).any(|megabytes| {
        let mut limited = place.limited(line, megabytes);
        let output = limited.output().unwrap();
        output.status.code() == Some(1) && text(&output.stderr).contains("no memory is left for buffer ") && {
            error_of(&output, line, 1, &["which takes 268435456 bytes", "help: use a smaller micro_batch"]);
            assert_eq!(files(place.path()), ["net.toml"], "nothing is left behind");
            true
        }
    });
    assert!(refused, "no limit made the driver refuse a buffer");
    // All the memory there is, and buffers larger than the adapter binds.
    let what = "(matmul of 1 relu): the output [1024, 65536] takes 268435456 bytes, ";
    place.fails(
        line,
        2,
        &["error: plan gradients, step ", what, "binds 134217728 at most", "help: use a smaller micro_batch"],
    );
}

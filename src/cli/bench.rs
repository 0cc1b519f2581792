//! `steepest bench`.

use super::args::{BenchArgs, DeviceArgs};
use super::{print, print_json, progress, settings};
use crate::base::{Error, Result};
use crate::config::Config;
use crate::run::folder::write_atomic;
use crate::study::bench::{Report, bench};
use crate::view::bench::text;
use crate::view::style::Style;

/// Measures what a device can do, and shows it beside another report.
pub fn run(args: &BenchArgs) -> Result<()> {
    let mut config = Config::builtin_digits();
    settings::set_device(&mut config, &DeviceArgs { device: args.device.clone(), precision: None })?;
    // What is wrong with the files is said before minutes are spent.
    let other = args.against.as_ref().map(|path| Report::read(path)).transpose()?;
    if let Some(path) = args.out.as_ref().filter(|path| path.exists()) {
        return Err(Error::input(path.display(), "there is a file already").help("give another name to --out"));
    }
    let report = bench(&config, args.quick, &mut progress("measurement"))?;
    if let Some(path) = &args.out {
        let json = serde_json::to_vec_pretty(&report).map_err(|error| Error::failure(path.display(), error))?;
        write_atomic(path, &json)?;
    }
    let other = args.against.as_ref().zip(other.as_ref());
    if !args.json {
        let other = other.map(|(path, other)| (path.display().to_string(), other));
        let other = other.as_ref().map(|(name, other)| (name.as_str(), *other));
        return print(&text(&report, other, Style::of(&std::io::stdout())));
    }
    let Some((path, other)) = other else { return print_json(&report) };
    let mut json = serde_json::to_value(&report).map_err(|error| Error::failure("--json", error))?;
    json["against"] = serde_json::json!({
        "file": path.display().to_string(),
        "environment": other.environment,
        "times_as_fast": report.against(other),
    });
    print_json(&json)
}

//! The machine that a run is on, as far as the system tells.

use std::process::Command;

/// The name of the CPU; none where the system does not tell.
pub fn cpu_model() -> Option<String> {
    let name = match std::env::consts::OS {
        "linux" => field(&std::fs::read_to_string("/proc/cpuinfo").ok()?, "model name")?.to_owned(),
        "macos" => {
            let asked = Command::new("sysctl").args(["-n", "machdep.cpu.brand_string"]).output().ok()?;
            String::from_utf8(asked.stdout).ok()?
        }
        _ => std::env::var("PROCESSOR_IDENTIFIER").ok()?,
    };
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    (!name.is_empty()).then_some(name)
}

/// Bytes that programs can take before the system swaps; none where it does not tell.
pub fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kibibytes: u64 = field(&text, "MemAvailable")?.split_whitespace().next()?.parse().ok()?;
    Some(1024 * kibibytes)
}

/// What stands behind a name and a colon at the start of a line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = |line: &'a str| line.strip_prefix(name)?.trim_start().strip_prefix(':').map(str::trim);
    text.lines().find_map(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "model\t\t: 17\nmodel name\t: Some  CPU @ 3 GHz\nMemAvailable:    2048 kB\n";
        assert_eq!(field(text, "model name"), Some("Some  CPU @ 3 GHz"));
        assert_eq!(field(text, "model"), Some("17"));
        assert_eq!((field(text, "MemAvailable"), field(text, "Mem")), (Some("2048 kB"), None));
    }
}

//! `steepest devices`.

use super::args::DevicesArgs;
use super::{print, print_json};
use crate::base::Result;
use crate::exec::{AdapterInfo, Choice, DeviceRequest, Devices, Float};
use crate::view::number::bytes;
use crate::view::style::{Paint, Style};
use crate::view::table::{Align, Cell, Table};
use serde_json::json;

/// Lists the CPU and all adapters, and says which one `auto` takes.
pub fn run(args: &DevicesArgs) -> Result<()> {
    let devices = Devices::find();
    let auto = devices.choose(&DeviceRequest::Auto, Float::F32)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    if args.json {
        let taken = auto.adapter.as_ref().map_or(json!("cpu"), |adapter| json!(adapter.index));
        return print_json(&json!({
            "cpu": { "threads": threads },
            "adapters": devices.list(),
            "auto": { "device": taken, "reason": auto.reason },
        }));
    }
    print(&text(devices.list(), &auto, threads, Style::of(&std::io::stdout())))
}

fn text(adapters: &[AdapterInfo], auto: &Choice, threads: usize, style: Style) -> String {
    let mut table = Table::new([
        ("device", Align::Right),
        ("name", Align::Left),
        ("kind", Align::Left),
        ("backend", Align::Left),
        ("driver", Align::Left),
        ("buffer", Align::Right),
        ("binding", Align::Right),
        ("abilities", Align::Left),
    ]);
    let plain = |text: &str| Cell::from(text);
    let threads = format!("{threads} threads");
    table.row([plain("cpu"), plain(&threads), plain("cpu")].into_iter().chain(["", "", "", "", "f64"].map(plain)));
    for adapter in adapters {
        let driver = [adapter.driver.as_str(), adapter.driver_info.as_str()].join(" ");
        let abilities = if adapter.compute {
            plain(&adapter.features.join(", "))
        } else {
            Cell::painted("no compute shaders: of no use here", Paint::Yellow)
        };
        table.row([
            adapter.index.to_string().into(),
            plain(&adapter.name),
            adapter.kind.to_string().into(),
            plain(&adapter.backend),
            plain(driver.trim()),
            bytes(adapter.buffer_bytes_max).into(),
            bytes(adapter.binding_bytes_max).into(),
            abilities,
        ]);
    }
    let taken = auto.adapter.as_ref().map_or("the CPU", |adapter| &adapter.name);
    format!("{}\n  --device auto takes {taken}: {}.\n", table.render(style), auto.reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::AdapterKind;

    #[test]
    fn each_device_has_a_line_and_the_choice_a_sentence() {
        let adapter = AdapterInfo {
            index: 0,
            name: "old".into(),
            backend: "gl".into(),
            driver: "driver".into(),
            driver_info: String::new(),
            kind: AdapterKind::Software,
            compute: false,
            buffer_bytes_max: 1 << 28,
            binding_bytes_max: 1 << 27,
            storage_buffers_max: 8,
            workgroup_bytes_max: 16384,
            workgroup_threads_max: 256,
            features: Vec::new(),
        };
        let auto = Choice { adapter: None, reason: "there is no GPU".into() };
        let text = text(&[adapter], &auto, 2, Style::PLAIN);
        let expected = "  device  name       kind      backend  driver   buffer  binding  abilities
     cpu  2 threads  cpu                                          f64
       0  old        software  gl       driver  256 MiB  128 MiB  no compute shaders: of no use here

  --device auto takes the CPU: there is no GPU.
";
        assert_eq!(text, expected);
    }
}

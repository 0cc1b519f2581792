//! Which device a run takes, and why. Decided on plain descriptions of adapters, so it is tested with none.

use crate::base::{Error, Result};
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// What the caller asks for: `auto`, `cpu`, `gpu`, an adapter's number, or part of its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeviceRequest {
    /// A real GPU where there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// Any real GPU, or an error.
    Gpu,
    /// The adapter whose name contains this, in any case; the way to a software adapter.
    Name(String),
    /// The adapter with this number in the list.
    Index(usize),
}

impl FromStr for DeviceRequest {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let text = text.trim();
        Ok(match text.to_ascii_lowercase().as_str() {
            "" | "auto" => Self::Auto,
            "cpu" => Self::Cpu,
            "gpu" => Self::Gpu,
            other => other.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Index),
        })
    }
}

impl fmt::Display for DeviceRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Gpu => f.write_str("gpu"),
            Self::Name(name) => f.write_str(name),
            Self::Index(index) => index.fmt(f),
        }
    }
}

/// The scalar type that a run computes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Float {
    /// Single precision, on every device.
    #[default]
    F32,
    /// Double precision, on the CPU alone: WGSL has none.
    F64,
    /// Single precision whose matrix products read half precision, on GPUs that have it and on the CPU, which plays it.
    Mixed,
}

/// The ability of an adapter to have half precision, by its name in WebGPU.
pub const SHADER_F16: &str = "shader-f16";

impl FromStr for Float {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "f32" => Ok(Self::F32),
            "f64" => Ok(Self::F64),
            "mixed" => Ok(Self::Mixed),
            _ => Err(Error::input("precision", format!("expected f32, f64 or mixed, found `{text}`"))),
        }
    }
}

/// What kind of device an adapter is, the most wanted first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AdapterKind {
    /// A GPU with memory of its own.
    Discrete,
    /// A GPU that shares the host's memory.
    Integrated,
    /// A GPU lent to a virtual machine.
    Virtual,
    /// The driver does not say.
    Unknown,
    /// A program on the CPU that plays a GPU.
    Software,
}

impl AdapterKind {
    /// Whether it is certainly hardware.
    pub fn is_real(self) -> bool {
        self <= Self::Virtual
    }
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Virtual => "virtual",
            Self::Unknown => "unknown",
            Self::Software => "software",
        })
    }
}

/// An adapter as it is listed: what it is and what it can do.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct AdapterInfo {
    /// Its number in the list.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// `vulkan`, `metal`, `dx12`, `gl`.
    pub backend: String,
    /// The driver's name.
    pub driver: String,
    /// The driver's version, as the driver puts it.
    pub driver_info: String,
    /// What kind of device.
    pub kind: AdapterKind,
    /// Whether it runs compute shaders with storage buffers, without which it is of no use here.
    pub compute: bool,
    /// The largest buffer, in bytes.
    pub buffer_bytes_max: u64,
    /// The largest part of a buffer that a kernel can be given, in bytes.
    pub binding_bytes_max: u64,
    /// Storage buffers that one kernel can be given.
    pub storage_buffers_max: u32,
    /// Memory that the threads of a workgroup share, in bytes.
    pub workgroup_bytes_max: u32,
    /// Threads of a workgroup.
    pub workgroup_threads_max: u32,
    /// Optional abilities, by their names in WebGPU.
    pub features: Vec<String>,
}

impl AdapterInfo {
    /// GL comes last among the backends: where a GPU is listed under two of them, the other one has more to offer.
    fn rank(&self) -> (AdapterKind, bool, usize) {
        (self.kind, self.backend == "gl", self.index)
    }
}

impl fmt::Display for AdapterInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({}, {})", self.index, self.name, self.backend, self.kind)?;
        if self.compute { Ok(()) } else { f.write_str(" without compute shaders") }
    }
}

/// The device that was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The adapter; none is the CPU.
    pub adapter: Option<AdapterInfo>,
    /// Why this one, for the record and the first line of a run.
    pub reason: String,
}

/// Chooses among these adapters.
///
/// `auto` takes the best real GPU, else the CPU; a software adapter is taken only when it is named.
///
/// # Errors
/// If nothing there meets the request; the error lists what is there.
pub fn choose(request: &DeviceRequest, float: Float, adapters: &[AdapterInfo]) -> Result<Choice> {
    if float == Float::F64 {
        return choose_f64(request);
    }
    let best = |wanted: &dyn Fn(&AdapterInfo) -> bool| {
        adapters.iter().filter(|adapter| wanted(adapter)).min_by_key(|adapter| adapter.rank())
    };
    let real = || best(&|adapter: &AdapterInfo| adapter.kind.is_real() && adapter.compute);
    let (found, reason) = match request {
        DeviceRequest::Cpu => return Ok(cpu("it was asked for")),
        DeviceRequest::Auto => match real() {
            Some(adapter) => (Some(adapter), format!("the first {} GPU", adapter.kind)),
            None => return Ok(cpu(&no_gpu(adapters))),
        },
        DeviceRequest::Gpu => {
            let found = real();
            (found, format!("a GPU was asked for{}", found.map_or(String::new(), |a| format!(", this is {}", a.kind))))
        }
        DeviceRequest::Name(name) => {
            let name = name.to_lowercase();
            let found = best(&|adapter: &AdapterInfo| adapter.compute && adapter.name.to_lowercase().contains(&name));
            (found, format!("its name was asked for: `{name}`"))
        }
        DeviceRequest::Index(index) => {
            let found = best(&|adapter: &AdapterInfo| adapter.compute && adapter.index == *index);
            (found, format!("number {index} was asked for"))
        }
    };
    match found {
        Some(adapter) if float == Float::Mixed && !adapter.features.iter().any(|name| name == SHADER_F16) => {
            let there = if adapter.features.is_empty() { "none".to_owned() } else { adapter.features.join(", ") };
            let message = format!("mixed precision needs {SHADER_F16}, the features of {adapter} are {there}");
            Err(Error::input("device", message)
                .help("use --precision f32, another device, or --device cpu, which plays it"))
        }
        Some(adapter) => Ok(Choice { adapter: Some(adapter.clone()), reason }),
        None => Err(nothing(request, adapters)),
    }
}

fn choose_f64(request: &DeviceRequest) -> Result<Choice> {
    match request {
        DeviceRequest::Auto => Ok(cpu("GPUs compute in f32, and f64 was asked for")),
        DeviceRequest::Cpu => Ok(cpu("it was asked for")),
        _ => Err(Error::input("device", format!("`{request}` was asked for with f64, and GPUs compute in f32 only"))
            .help("use --device cpu for f64, or --precision f32")),
    }
}

fn cpu(reason: &str) -> Choice {
    Choice { adapter: None, reason: reason.to_owned() }
}

fn no_gpu(adapters: &[AdapterInfo]) -> String {
    match adapters.iter().filter(|adapter| adapter.compute).min_by_key(|adapter| adapter.rank()) {
        Some(other) => format!("there is no GPU; the {} adapter {} has to be named", other.kind, other.name),
        None => "there is no GPU".to_owned(),
    }
}

fn nothing(request: &DeviceRequest, adapters: &[AdapterInfo]) -> Error {
    let what = match request {
        DeviceRequest::Name(name) => format!("no adapter has `{name}` in its name"),
        DeviceRequest::Index(index) => format!("there is no usable adapter with number {index}"),
        _ => "there is no GPU".to_owned(),
    };
    if adapters.is_empty() {
        let help = "install a Vulkan, Metal or DX12 driver, or use --device cpu";
        return Error::input("device", format!("{what}: no adapter was found")).help(help);
    }
    let there = adapters.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    Error::input("device", format!("{what}; there is {there}"))
        .help("use --device with a number or part of a name of these, or --device cpu")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(index: usize, name: &str, backend: &str, kind: AdapterKind) -> AdapterInfo {
        AdapterInfo {
            index,
            name: name.to_owned(),
            backend: backend.to_owned(),
            driver: String::new(),
            driver_info: String::new(),
            kind,
            compute: true,
            buffer_bytes_max: 1 << 28,
            binding_bytes_max: 1 << 27,
            storage_buffers_max: 8,
            workgroup_bytes_max: 16384,
            workgroup_threads_max: 256,
            features: Vec::new(),
        }
    }

    fn workstation() -> Vec<AdapterInfo> {
        vec![
            adapter(0, "UHD Graphics", "vulkan", AdapterKind::Integrated),
            adapter(1, "GeForce RTX", "gl", AdapterKind::Discrete),
            adapter(2, "GeForce RTX", "vulkan", AdapterKind::Discrete),
            adapter(3, "llvmpipe (LLVM 15)", "vulkan", AdapterKind::Software),
        ]
    }

    fn chosen(request: &str, adapters: &[AdapterInfo]) -> Result<Option<usize>> {
        let request = request.parse().unwrap();
        choose(&request, Float::F32, adapters).map(|choice| choice.adapter.map(|adapter| adapter.index))
    }

    #[test]
    fn requests_are_read_and_shown() {
        for (text, request) in [
            ("auto", DeviceRequest::Auto),
            ("CPU", DeviceRequest::Cpu),
            ("gpu", DeviceRequest::Gpu),
            ("2", DeviceRequest::Index(2)),
            ("RTX 4090", DeviceRequest::Name("RTX 4090".into())),
        ] {
            let read: DeviceRequest = text.parse().unwrap();
            assert_eq!(read, request);
            assert_eq!(read.to_string().to_lowercase(), text.to_lowercase());
        }
    }

    #[test]
    fn a_real_gpu_comes_first_and_gl_last() {
        let all = workstation();
        for request in ["auto", "gpu", "geforce"] {
            assert_eq!(chosen(request, &all).unwrap(), Some(2), "{request}");
        }
        assert_eq!(chosen("auto", &all[..1]).unwrap(), Some(0));
        assert_eq!(chosen("UHD", &all).unwrap(), Some(0));
        assert_eq!(chosen("1", &all).unwrap(), Some(1));
        assert_eq!(chosen("cpu", &all).unwrap(), None);
    }

    #[test]
    fn a_software_adapter_has_to_be_named() {
        let software = &workstation()[3..];
        assert_eq!(chosen("LLVMpipe", software).unwrap(), Some(3));
        assert_eq!(chosen("3", software).unwrap(), Some(3));
        assert_eq!(chosen("auto", software).unwrap(), None);
        let reason = choose(&DeviceRequest::Auto, Float::F32, software).unwrap().reason;
        assert!(reason.contains("llvmpipe (LLVM 15) has to be named"), "{reason}");
        let error = chosen("gpu", software).unwrap_err().to_string();
        assert!(error.contains("there is no GPU; there is 3: llvmpipe (LLVM 15) (vulkan, software)"), "{error}");
    }

    #[test]
    fn what_is_not_there_is_an_error_that_lists_what_is() {
        let error = chosen("radeon", &workstation()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.message().contains("no adapter has `radeon`"), "{error}");
        assert!(error.message().contains("0: UHD Graphics (vulkan, integrated)"), "{error}");
        assert!(chosen("7", &workstation()).is_err());
        assert!(chosen("gpu", &[]).unwrap_err().to_string().contains("no adapter was found"));
        let mut old = adapter(0, "old", "gl", AdapterKind::Integrated);
        old.compute = false;
        assert_eq!(chosen("auto", &[old.clone()]).unwrap(), None);
        assert!(chosen("old", &[old]).unwrap_err().to_string().contains("without compute shaders"));
    }

    #[test]
    fn double_precision_is_the_cpus() {
        let all = workstation();
        assert_eq!(choose(&DeviceRequest::Auto, Float::F64, &all).unwrap().adapter, None);
        for request in [DeviceRequest::Gpu, DeviceRequest::Index(2), DeviceRequest::Name("rtx".into())] {
            let error = choose(&request, Float::F64, &all).unwrap_err().to_string();
            assert!(error.contains("help: use --device cpu for f64"), "{error}");
        }
        assert!("f16".parse::<Float>().is_err());
    }

    #[test]
    fn mixed_precision_needs_an_adapter_that_has_half_precision() {
        let mut all = workstation();
        let choose = |request: &str, all: &[AdapterInfo]| choose(&request.parse().unwrap(), Float::Mixed, all);
        for request in ["auto", "gpu", "2", "rtx"] {
            let error = choose(request, &all).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let error = error.to_string();
            assert!(
                error.contains("needs shader-f16") && error.contains("GeForce RTX") && error.contains("help: "),
                "{error}"
            );
        }
        assert_eq!(choose("cpu", &all).unwrap().adapter, None);
        all[2].features = vec![SHADER_F16.to_owned()];
        assert_eq!(choose("gpu", &all).unwrap().adapter.unwrap().index, 2);
    }
}

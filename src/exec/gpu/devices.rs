//! The adapters of this machine, over all backends.

use super::{Gpu, GpuOptions};
use crate::base::Result;
use crate::exec::choose::{self, AdapterInfo, AdapterKind, Choice, DeviceRequest, Float};

/// The optional abilities that are listed and, where they exist, requested.
pub(super) const FEATURES: [(&str, wgpu::Features); 3] = [
    (choose::SHADER_F16, wgpu::Features::SHADER_F16),
    ("subgroups", wgpu::Features::SUBGROUP),
    ("timestamp-query", wgpu::Features::TIMESTAMP_QUERY),
];

/// How much of the memory that a driver tells of may be taken, in percent: past it, buffers are refused. To overcommit would be
/// to have the system end this program or another.
const MEMORY_PERCENT: u8 = 95;

/// The adapters that were found.
#[derive(Debug)]
pub struct Devices {
    adapters: Vec<wgpu::Adapter>,
    list: Vec<AdapterInfo>,
}

impl Devices {
    /// Looks for adapters: through Vulkan, Metal and DX12, and through GL where these have none, since GL shows the same
    /// hardware again and its libraries write to the terminal. `WGPU_BACKEND` says which backends instead, as in other
    /// programs that use wgpu.
    pub fn find() -> Self {
        match wgpu::Backends::from_env() {
            Some(backends) => Self::on(backends),
            None => {
                let devices = Self::on(wgpu::Backends::PRIMARY);
                if devices.list.is_empty() { Self::on(wgpu::Backends::GL) } else { devices }
            }
        }
    }

    fn on(backends: wgpu::Backends) -> Self {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends,
            // No validation layers unless WGPU_VALIDATION asks for them: they write to the terminal and cost time.
            flags: wgpu::InstanceFlags::empty().with_env(),
            memory_budget_thresholds: wgpu::MemoryBudgetThresholds {
                for_resource_creation: Some(MEMORY_PERCENT),
                for_device_loss: None,
            },
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let adapters = pollster::block_on(instance.enumerate_adapters(backends));
        let list = adapters.iter().enumerate().map(|(index, adapter)| describe(index, adapter)).collect();
        Self { adapters, list }
    }

    /// What they are.
    pub fn list(&self) -> &[AdapterInfo] {
        &self.list
    }

    /// Chooses one of them, or the CPU.
    ///
    /// # Errors
    /// If nothing there meets the request; the error lists what is there.
    pub fn choose(&self, request: &DeviceRequest, float: Float) -> Result<Choice> {
        choose::choose(request, float, &self.list)
    }

    /// Opens one of them. An adapter gives one device, so this takes the whole list; look again for a second one.
    ///
    /// # Errors
    /// If the driver gives no device.
    ///
    /// # Panics
    /// If the adapter is not of this list.
    pub fn open(self, adapter: &AdapterInfo, options: &GpuOptions) -> Result<Gpu> {
        Gpu::new(&self.adapters[adapter.index], adapter, options)
    }
}

/// The adapters of this machine.
pub fn list() -> Vec<AdapterInfo> {
    Devices::find().list
}

fn describe(index: usize, adapter: &wgpu::Adapter) -> AdapterInfo {
    let (info, limits) = (adapter.get_info(), adapter.limits());
    let has = |(_, feature): &&(&str, wgpu::Features)| adapter.features().contains(*feature);
    AdapterInfo {
        index,
        name: info.name,
        backend: info.backend.to_str().to_owned(),
        driver: info.driver,
        driver_info: info.driver_info,
        kind: match info.device_type {
            wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
            wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
            wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
            wgpu::DeviceType::Cpu => AdapterKind::Software,
            wgpu::DeviceType::Other => AdapterKind::Unknown,
        },
        compute: adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
            && limits.max_storage_buffers_per_shader_stage
                >= wgpu::Limits::defaults().max_storage_buffers_per_shader_stage,
        buffer_bytes_max: limits.max_buffer_size,
        binding_bytes_max: limits.max_storage_buffer_binding_size,
        storage_buffers_max: limits.max_storage_buffers_per_shader_stage,
        workgroup_bytes_max: limits.max_compute_workgroup_storage_size,
        workgroup_threads_max: limits.max_compute_invocations_per_workgroup,
        features: FEATURES.iter().filter(has).map(|(name, _)| (*name).to_owned()).collect(),
    }
}

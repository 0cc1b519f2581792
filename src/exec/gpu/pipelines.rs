//! Compute pipelines: each distinct shader is compiled once, under a layout that follows from its dispatch.

use super::device::Device;
use super::pipeline_cache::PipelineCache;
use crate::base::Result;
use crate::graph::Shader;
use crate::plan::Bundle;
use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a dispatch needs of its shader.
#[derive(Clone, Debug)]
pub(super) struct Kernel {
    pub pipeline: wgpu::ComputePipeline,
    /// The layout of group 0.
    pub layout: wgpu::BindGroupLayout,
}

/// The shaders of a bundle with the buffers that each takes, and which buffers are written.
type Key = (Vec<(Shader, Vec<usize>)>, Vec<bool>);

/// The compiled shaders.
#[derive(Debug)]
pub(super) struct Pipelines {
    /// The layout of group 1: the step's scalars.
    step: wgpu::BindGroupLayout,
    /// Group 0 and the whole layout, by the number of storage buffers and which of them are written.
    layouts: HashMap<Vec<bool>, (wgpu::BindGroupLayout, wgpu::PipelineLayout)>,
    kernels: HashMap<Key, Kernel>,
    /// Whether shaders check every index and loop at run time.
    checked: bool,
    cache: Option<PipelineCache>,
}

impl Pipelines {
    pub fn new(device: &Device, checked: bool, cache: Option<PipelineCache>) -> Self {
        let entry = uniform(0, true);
        let step = layout_of(device, "step", &[entry]);
        Self { step, layouts: HashMap::new(), kernels: HashMap::new(), checked, cache }
    }

    /// The layout of the step's group.
    pub fn step_layout(&self) -> &wgpu::BindGroupLayout {
        &self.step
    }

    /// Compiles the kernels of these bundles that are new, on as many threads as the machine has.
    pub fn prepare(&mut self, device: &Device, bundles: &[Bundle]) -> Result<()> {
        let mut fresh: Vec<(Key, &Bundle, wgpu::BindGroupLayout, wgpu::PipelineLayout)> = Vec::new();
        for bundle in bundles {
            let key = (bundle.kernel(), bundle.written());
            if !self.kernels.contains_key(&key) && fresh.iter().all(|(known, ..)| *known != key) {
                let (layout, whole) = self.layout(device, &key.1)?;
                fresh.push((key, bundle, layout, whole));
            }
        }
        if fresh.is_empty() {
            return Ok(());
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(fresh.len());
        let next = AtomicUsize::new(0);
        let compiled: Vec<OnceLock<Result<wgpu::ComputePipeline>>> = fresh.iter().map(|_| OnceLock::new()).collect();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(i) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&i| i < fresh.len()) {
                        let (_, bundle, _, whole) = &fresh[i];
                        // Each is one thread's alone.
                        let _ = compiled[i].set(self.compile(device, bundle, whole));
                    }
                });
            }
        });
        for ((key, _, layout, _), pipeline) in fresh.into_iter().zip(compiled) {
            let pipeline = pipeline.into_inner().expect("a thread came by")?;
            self.kernels.insert(key, Kernel { pipeline, layout });
        }
        if let Some(cache) = &mut self.cache {
            cache.save();
        }
        Ok(())
    }

    /// The kernel of a bundle that was prepared.
    pub fn get(&self, bundle: &Bundle) -> Kernel {
        self.kernels[&(bundle.kernel(), bundle.written())].clone()
    }

    fn layout(&mut self, device: &Device, written: &[bool]) -> Result<(wgpu::BindGroupLayout, wgpu::PipelineLayout)> {
        let there = device.limits.max_storage_buffers_per_shader_stage as usize;
        if written.len() > there {
            let message = format!("a kernel binds {} storage buffers, the device has room for {there}", written.len());
            return Err(device.failure(message).help("use --device cpu"));
        }
        let step = &self.step;
        let known = self.layouts.entry(written.to_vec()).or_insert_with(|| {
            let storage = |(i, &written): (usize, &bool)| storage(i as u32 + 1, written);
            let entries: Vec<_> =
                std::iter::once(uniform(0, false)).chain(written.iter().enumerate().map(storage)).collect();
            let group = layout_of(device, "op", &entries);
            let whole = device.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some("op"),
                bind_group_layouts: &[Some(&group), Some(step)],
                immediate_size: 0,
            });
            (group, whole)
        });
        Ok(known.clone())
    }

    fn compile(
        &self,
        device: &Device,
        bundle: &Bundle,
        layout: &wgpu::PipelineLayout,
    ) -> Result<wgpu::ComputePipeline> {
        let shaders = || bundle.parts.iter().map(|part| &part.dispatch.shader);
        let label = shaders().map(|shader| format!("{}:{}", shader.stem, shader.entry)).collect::<Vec<_>>().join(" + ");
        let (text, entry) = bundle.source()?;
        let checks =
            if self.checked { wgpu::ShaderRuntimeChecks::checked() } else { wgpu::ShaderRuntimeChecks::unchecked() };
        let descriptor =
            wgpu::ShaderModuleDescriptor { label: Some(&label), source: wgpu::ShaderSource::Wgsl(text.into()) };
        let scope = device.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let inner = device.device.push_error_scope(wgpu::ErrorFilter::Internal);
        // SAFETY: the text is one of this crate's own shaders, whose loops end and whose indices and divisors stay in
        // bounds for the parameters that the ops give them; the tests run them with the checks on as well.
        let module = unsafe { device.device.create_shader_module_trusted(descriptor, checks) };
        let pipeline = device.pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&label),
            layout: Some(layout),
            module: &module,
            entry_point: Some(entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &[],
                zero_initialize_workgroup_memory: self.checked,
            },
            cache: self.cache.as_ref().map(PipelineCache::handle),
        });
        let error = pollster::block_on(inner.pop()).or(pollster::block_on(scope.pop()));
        match error {
            None => device.check().map(|()| pipeline),
            Some(error) => Err(device
                .failure(format!(
                    "shader {label} with {:?} does not compile: {error}",
                    shaders().map(|shader| &shader.vars).collect::<Vec<_>>()
                ))
                .help("update the GPU's driver, or use --device cpu; please report it")),
        }
    }
}

fn layout_of(device: &Device, label: &str, entries: &[wgpu::BindGroupLayoutEntry]) -> wgpu::BindGroupLayout {
    let descriptor = wgpu::BindGroupLayoutDescriptor { label: Some(label), entries };
    device.device.create_bind_group_layout(&descriptor)
}

fn uniform(binding: u32, has_dynamic_offset: bool) -> wgpu::BindGroupLayoutEntry {
    entry(binding, wgpu::BufferBindingType::Uniform, has_dynamic_offset)
}

fn storage(binding: u32, written: bool) -> wgpu::BindGroupLayoutEntry {
    entry(binding, wgpu::BufferBindingType::Storage { read_only: !written }, false)
}

fn entry(binding: u32, ty: wgpu::BufferBindingType, has_dynamic_offset: bool) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset, min_binding_size: None },
        count: None,
    }
}

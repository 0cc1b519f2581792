//! A small runner of GPU work for tests: fresh buffers with guard words around each, one submission, everything read back.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use steepest::graph::{Bind, Dispatch, GpuWork, Shader, StepScalars, Target};
use steepest::ops::shaders;
use wgpu::util::DeviceExt;

/// Words before and behind every buffer's contents: a multiple of the alignment of storage bindings.
const GUARD: usize = 64;

/// What guards and fresh outputs hold: a NaN that no kernel makes.
const POISON: u32 = 0x7fc0_dead;

/// An adapter's device.
pub struct Gpu {
    pub name: String,
    /// What work is picked for: the limits that every adapter offers, and its subgroups.
    pub target: Target,
    /// Whether its kernels can have half precision.
    pub has_halves: bool,
    device: wgpu::Device,
    queue: wgpu::Queue,
    /// Pipelines by shader, access of the buffers and checks: many cases share them.
    pipelines: RefCell<HashMap<Key, Pipeline>>,
    /// What is done to the text of every shader.
    edit: Box<dyn Fn(String) -> String>,
}

/// A shader, which of its buffers are written, and how it is checked.
type Key = (Shader, Vec<bool>, Checks);
type Pipeline = ([wgpu::BindGroupLayout; 2], wgpu::ComputePipeline);

/// Whether shaders run with the checks that wgpu adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Checks {
    On,
    Off,
}

impl Gpu {
    /// The first adapter's device, with the limits that every adapter offers. Without one the test that asks is skipped, which
    /// is a failure where STEEPEST_REQUIRE_GPU is 1.
    pub fn or_skip(test: &str) -> Option<Self> {
        match Self::new() {
            Ok(gpu) => {
                println!("{test}: {}", gpu.name);
                Some(gpu)
            }
            Err(why) if std::env::var("STEEPEST_REQUIRE_GPU").is_ok_and(|value| value == "1") => {
                panic!("{test}: a GPU is required: {why}")
            }
            Err(why) => {
                println!("SKIPPED {test}: {why}");
                None
            }
        }
    }

    fn new() -> Result<Self, String> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()))
            .map_err(|e| e.to_string())?;
        let info = adapter.get_info();
        let descriptor = wgpu::DeviceDescriptor {
            required_limits: wgpu::Limits::downlevel_defaults().using_resolution(adapter.limits()),
            ..Default::default()
        };
        let limits = wgpu::Limits { max_storage_buffers_per_shader_stage: 8, ..descriptor.required_limits.clone() };
        let features = adapter.features() & (wgpu::Features::SUBGROUP | wgpu::Features::SHADER_F16);
        let descriptor = wgpu::DeviceDescriptor { required_limits: limits, required_features: features, ..descriptor };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).map_err(|e| e.to_string())?;
        let subgroups =
            features.contains(wgpu::Features::SUBGROUP).then_some([info.subgroup_min_size, info.subgroup_max_size]);
        let target = Target { subgroups, ..Target::default() };
        Ok(Self {
            name: format!("{} ({:?})", info.name, info.backend),
            has_halves: features.contains(wgpu::Features::SHADER_F16),
            target,
            device,
            queue,
            pipelines: RefCell::default(),
            edit: Box::new(|text| text),
        })
    }

    /// From now on the text of every shader is changed so.
    pub fn edit(&mut self, edit: impl Fn(String) -> String + 'static) {
        self.edit = Box::new(edit);
        self.pipelines.take();
    }

    /// Runs `work` and returns the outputs' words. `outputs` are their contents before, `None` for poison, with lengths.
    ///
    /// # Panics
    /// If a guard word was overwritten, or an input.
    pub fn run(
        &self,
        work: &GpuWork,
        inputs: &[Vec<u32>],
        outputs: &[(usize, Option<Vec<u32>>)],
        step: &StepScalars,
        checks: Checks,
    ) -> Vec<Vec<u32>> {
        let poisoned = |len: usize| vec![POISON; len];
        let buffers = Buffers {
            inputs: inputs.iter().map(|words| self.guarded(words)).collect(),
            outputs: outputs
                .iter()
                .map(|(len, old)| self.guarded(&old.clone().unwrap_or_else(|| poisoned(*len))))
                .collect(),
            scratch: work.scratch.iter().map(|&len| self.guarded(&poisoned(len))).collect(),
        };
        let mut encoder = self.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for dispatch in &work.dispatches {
                self.encode(&mut pass, dispatch, &buffers, step, checks);
            }
        }
        self.queue.submit([encoder.finish()]);
        for (buffer, words) in buffers.inputs.iter().zip(inputs) {
            assert_eq!(&self.contents(buffer), words, "an input was overwritten");
        }
        buffers.scratch.iter().for_each(|buffer| drop(self.contents(buffer)));
        buffers.outputs.iter().map(|buffer| self.contents(buffer)).collect()
    }

    fn encode(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        dispatch: &Dispatch,
        buffers: &Buffers,
        step: &StepScalars,
        checks: Checks,
    ) {
        let mut params: Vec<u32> = dispatch.params.iter().map(|(_, value)| value.bits()).collect();
        params.resize(params.len().next_multiple_of(4), 0);
        let params = self.uniform(&params);
        let step = self.uniform(&step_words(step));
        let written = dispatch.binds.iter().map(|bind| !matches!(bind, Bind::In(_))).collect();
        let mut pipelines = self.pipelines.borrow_mut();
        let (layouts, pipeline) = pipelines.entry((dispatch.shader.clone(), written, checks)).or_insert_with(|| {
            let layouts = self.layouts(dispatch);
            let pipeline = self.pipeline(dispatch, &layouts, checks);
            (layouts, pipeline)
        });
        let mut entries = vec![wgpu::BindGroupEntry { binding: 0, resource: params.as_entire_binding() }];
        for (i, &bind) in dispatch.binds.iter().enumerate() {
            entries.push(wgpu::BindGroupEntry { binding: i as u32 + 1, resource: buffers.binding(bind) });
        }
        let group = |layout, entries: &[_]| {
            self.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries })
        };
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, &group(&layouts[0], &entries), &[]);
        let step = [wgpu::BindGroupEntry { binding: 0, resource: step.as_entire_binding() }];
        pass.set_bind_group(1, &group(&layouts[1], &step), &[]);
        let [x, y, z] = dispatch.workgroups;
        pass.dispatch_workgroups(x, y, z);
    }

    fn layouts(&self, dispatch: &Dispatch) -> [wgpu::BindGroupLayout; 2] {
        let entry = |binding: usize, ty| wgpu::BindGroupLayoutEntry {
            binding: binding as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        };
        let mut entries = vec![entry(0, wgpu::BufferBindingType::Uniform)];
        for (i, bind) in dispatch.binds.iter().enumerate() {
            let read_only = matches!(bind, Bind::In(_));
            entries.push(entry(i + 1, wgpu::BufferBindingType::Storage { read_only }));
        }
        [entries, vec![entry(0, wgpu::BufferBindingType::Uniform)]].map(|entries| {
            self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries })
        })
    }

    fn pipeline(
        &self,
        dispatch: &Dispatch,
        layouts: &[wgpu::BindGroupLayout; 2],
        checks: Checks,
    ) -> wgpu::ComputePipeline {
        let source = (self.edit)(shaders::source(&dispatch.shader).expect("the shader renders"));
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(dispatch.shader.entry),
            source: wgpu::ShaderSource::Wgsl(Cow::Owned(source)),
        };
        let module = match checks {
            Checks::On => self.device.create_shader_module(descriptor),
            // SAFETY: the kernels keep within their buffers for the shapes they are given; the checked run and the guard
            // words test that.
            Checks::Off => unsafe {
                self.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
            },
        };
        let layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&layouts[0]), Some(&layouts[1])],
            immediate_size: 0,
        });
        self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(dispatch.shader.entry),
            layout: Some(&layout),
            module: &module,
            entry_point: Some(dispatch.shader.entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: None,
        })
    }

    fn uniform(&self, words: &[u32]) -> wgpu::Buffer {
        self.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: bytemuck::cast_slice(words),
            usage: wgpu::BufferUsages::UNIFORM,
        })
    }

    fn guarded(&self, words: &[u32]) -> wgpu::Buffer {
        let guard = [POISON; GUARD];
        let contents = [&guard, words, &guard].concat();
        self.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: bytemuck::cast_slice(&contents),
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        })
    }

    fn contents(&self, buffer: &wgpu::Buffer) -> Vec<u32> {
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: buffer.size(),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
        self.queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., |result| result.expect("the buffer maps"));
        self.device.poll(wgpu::PollType::wait_indefinitely()).expect("the device answers");
        let words: Vec<u32> = bytemuck::cast_slice(&staging.get_mapped_range(..).expect("it is mapped")).to_vec();
        let (before, rest) = words.split_at(GUARD);
        let (contents, behind) = rest.split_at(rest.len() - GUARD);
        assert!(before.iter().chain(behind).all(|&word| word == POISON), "a guard word was overwritten");
        contents.to_vec()
    }
}

struct Buffers {
    inputs: Vec<wgpu::Buffer>,
    outputs: Vec<wgpu::Buffer>,
    scratch: Vec<wgpu::Buffer>,
}

impl Buffers {
    fn binding(&self, bind: Bind) -> wgpu::BindingResource<'_> {
        let buffer = match bind {
            Bind::In(i) => &self.inputs[i],
            Bind::Out(i) => &self.outputs[i],
            Bind::Scratch(i) => &self.scratch[i],
        };
        let guard = GUARD as u64 * 4;
        let size = std::num::NonZeroU64::new(buffer.size() - 2 * guard);
        wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset: guard, size })
    }
}

/// The step's scalars as the uniform block holds them.
pub fn step_words(step: &StepScalars) -> [u32; 8] {
    let float = |x: f64| (x as f32).to_bits();
    let [lr, first, second] = [step.lr, step.bias_correction1, step.bias_correction2].map(float);
    [step.step, step.micro, step.first_row, step.rows, step.t, lr, first, second]
}

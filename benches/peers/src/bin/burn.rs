//! Burn: its backend `flex` on the cores, its wgpu backend, shaders in WGSL, on adapters.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, DeviceKind, Int, Tensor, TensorData};
use peers::{Dense, Peer, Place, Result, Task, serve};
use serde_json::{Value, json};
use std::time::Instant;

#[derive(Module, Debug)]
struct Net {
    layers: Vec<Linear>,
}

impl Net {
    fn new(layers: &[Dense], device: &Device) -> Self {
        let linear = |layer: &Dense| Linear {
            weight: Param::from_data(TensorData::new(layer.transposed(), [layer.inputs, layer.outputs]), device),
            bias: Some(Param::from_data(TensorData::new(layer.bias.clone(), [layer.outputs]), device)),
        };
        Self { layers: layers.iter().map(linear).collect() }
    }

    fn forward(&self, mut x: Tensor<2>) -> Tensor<2> {
        for (i, layer) in self.layers.iter().enumerate() {
            x = layer.forward(if i == 0 { x } else { relu(x) });
        }
        x
    }
}

struct Burn {
    device: Device,
    net: Option<Net>,
    loss: CrossEntropyLoss,
    optimizer: ModuleOptimizer,
    lr: f64,
    batches: Vec<(Tensor<2>, Tensor<1, Int>)>,
    next: usize,
}

fn load(task: Task) -> Result<(Burn, Value)> {
    let plain = match task.place {
        Place::Cpu => Device::flex(),
        Place::Software => Device::wgpu(DeviceKind::Cpu),
        Place::Gpu => Device::wgpu(DeviceKind::DefaultDevice),
    };
    let (name, is_card) =
        plain.identity().map_or(("flex".into(), false), |identity| (identity.name, identity.physical.is_some()));
    if is_card != (task.place == Place::Gpu) {
        return Err(format!("burn takes the adapter {name}"));
    }
    // Data are constants: gradients are those of the parameters alone.
    let batch = |(x, labels): (&[f32], &[u32])| {
        let labels: Vec<i32> = labels.iter().map(|&label| label as i32).collect();
        let (x, labels) =
            (TensorData::new(x.to_vec(), [task.batch, task.widths[0]]), TensorData::new(labels, [task.batch]));
        (Tensor::from_data(x, &plain.clone().autodiff()), Tensor::from_data(labels, &plain.clone().autodiff()))
    };
    let batches = task.batches().map(batch).collect();
    let optimizer = match task.optimizer.as_str() {
        "sgd" => SgdConfig::new().init(),
        "momentum" => SgdConfig::new().with_momentum(Some(MomentumConfig::new().with_dampening(0.0))).init(),
        "adam" => AdamConfig::new().with_epsilon(1e-8).init(),
        other => return Err(format!("burn: no optimizer {other} here")),
    };
    let device = plain.autodiff();
    let net = Some(Net::new(&task.inputs.layers, &device));
    let loss = CrossEntropyLossConfig::new().init(&device);
    let backend = if task.place == Place::Cpu { "flex" } else { "wgpu, WGSL" };
    let about = json!({ "device": name, "backend": backend });
    Ok((Burn { device, net, loss, optimizer, lr: task.lr, batches, next: 0 }, about))
}

impl Burn {
    /// One training step; the loss stays on the device.
    fn step(&mut self) -> Tensor<1> {
        let (x, labels) = self.batches[self.next].clone();
        self.next = (self.next + 1) % self.batches.len();
        let net = self.net.take().expect("every step puts it back");
        let loss = self.loss.forward(net.forward(x), labels);
        let gradients = GradientsParams::from_grads(loss.backward(), &net);
        self.net = Some(self.optimizer.step(self.lr, net, gradients));
        loss
    }
}

impl Peer for Burn {
    fn losses(&mut self, steps: usize) -> Result<Vec<f64>> {
        Ok((0..steps).map(|_| f64::from(self.step().into_scalar::<f32>())).collect())
    }

    fn run(&mut self, steps: usize) -> Result<f64> {
        let start = Instant::now();
        for _ in 0..steps {
            self.step();
        }
        self.device.sync().map_err(|error| format!("{error:?}"))?;
        Ok(start.elapsed().as_secs_f64())
    }
}

fn main() {
    serve(load);
}

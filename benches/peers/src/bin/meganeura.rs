//! Meganeura, through Vulkan. It has SGD and Adam, no momentum. Inputs are buffers that are written from the host: timed steps
//! leave the last batch where it is, so that no upload is timed.
//!
//! Variants: `default`, and `tuned`, which searches tiles of products when it is built.

use meganeura::{Graph, Session, SessionConfig};
use peers::{Peer, Place, Result, Task, serve};
use serde_json::{Value, json};
use std::time::Instant;

struct Meganeura {
    session: Session,
    /// Features and one-hot classes.
    batches: Vec<(Vec<f32>, Vec<f32>)>,
    next: usize,
}

/// The loss of a batch.
fn graph(widths: &[usize], batch: usize) -> Graph {
    let mut g = Graph::new();
    let classes = widths[widths.len() - 1];
    let (mut x, labels) = (g.input("x", &[batch, widths[0]]), g.input("labels", &[batch, classes]));
    for (i, pair) in widths.windows(2).enumerate() {
        let weight = g.parameter(&format!("{i}.weight"), pair);
        let bias = g.parameter(&format!("{i}.bias"), &pair[1..]);
        let product = g.matmul(x, weight);
        x = g.bias_add(product, bias);
        if i + 2 < widths.len() {
            x = g.relu(x);
        }
    }
    let loss = g.cross_entropy_loss(x, labels);
    g.set_outputs(vec![loss]);
    g
}

fn load(task: Task) -> Result<(Meganeura, Value)> {
    let classes = task.widths[task.widths.len() - 1];
    let config = SessionConfig { tune: task.variant == "tuned", ..SessionConfig::default() };
    let mut session = meganeura::build(&graph(&task.widths, task.batch), config).0;
    let info = session.device_information().clone();
    let wanted = match task.place {
        Place::Cpu => return Err("meganeura has no CPU backend".into()),
        Place::Software => true,
        Place::Gpu => false,
    };
    if info.is_software_emulated != wanted {
        return Err(format!("meganeura takes the adapter {}", info.device_name));
    }
    for (i, layer) in task.inputs.layers.iter().enumerate() {
        session.set_parameter(&format!("{i}.weight"), &layer.transposed());
        session.set_parameter(&format!("{i}.bias"), &layer.bias);
    }
    match task.optimizer.as_str() {
        "sgd" => session.set_learning_rate(task.lr as f32),
        "adam" => session.set_adam(task.lr as f32, 0.9, 0.999, 1e-8),
        other => return Err(format!("meganeura has no optimizer {other}")),
    }
    let one_hot = |labels: &[u32]| {
        let mut rows = vec![0.0; labels.len() * classes];
        for (row, &label) in labels.iter().enumerate() {
            rows[row * classes + label as usize] = 1.0;
        }
        rows
    };
    let batches = task.batches().map(|(x, labels)| (x.to_vec(), one_hot(labels))).collect();
    let about = json!({
        "device": info.device_name, "backend": "vulkan",
        "driver": format!("{} {}", info.driver_name, info.driver_info),
    });
    Ok((Meganeura { session, batches, next: 0 }, about))
}

impl Peer for Meganeura {
    fn losses(&mut self, steps: usize) -> Result<Vec<f64>> {
        let mut losses = Vec::new();
        for _ in 0..steps {
            let (x, labels) = &self.batches[self.next];
            self.session.set_input("x", x);
            self.session.set_input("labels", labels);
            self.next = (self.next + 1) % self.batches.len();
            self.session.step();
            self.session.wait();
            losses.push(f64::from(self.session.read_loss()));
        }
        Ok(losses)
    }

    fn run(&mut self, steps: usize) -> Result<f64> {
        let start = Instant::now();
        for _ in 0..steps {
            self.session.step();
        }
        self.session.wait();
        Ok(start.elapsed().as_secs_f64())
    }
}

fn main() {
    serve(load);
}

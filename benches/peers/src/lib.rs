//! What the programs speak with the driver: a line of JSON in, a line of JSON out.
//!
//! | line | what it asks for | answer |
//! |---|---|---|
//! | `{"load": {…}}` | a network with given weights and data, see [`Task`] | `{"loaded": {…}}`: the device |
//! | `{"losses": n}` | n training steps, untimed, and the loss of each before its update | `{"losses": […]}` |
//! | `{"run": n}` | n training steps, nothing read back, the device waited for at the end | `{"seconds": s}` |
//!
//! What goes wrong is answered with `{"error": "…"}`.

use serde_json::{Value, json};
use std::io::{BufRead, Write};
use steepest::run::weights::{NamedTensor, read_tensors};

/// Errors are words for the driver.
pub type Result<T> = std::result::Result<T, String>;

/// Where a program computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The cores.
    Cpu,
    /// An adapter that is a program on the CPU.
    Software,
    /// A real GPU.
    Gpu,
}

/// A network to be trained: linear layers with ReLU between them, the mean cross-entropy of softmax as loss.
#[derive(Clone, Debug)]
pub struct Task {
    /// The width of the input and of each layer.
    pub widths: Vec<usize>,
    /// Rows of a batch.
    pub batch: usize,
    /// `sgd`, `momentum` (0.9, no dampening) or `adam` (0.9, 0.999, ε 1e-8, as by default in PyTorch).
    pub optimizer: String,
    /// The learning rate.
    pub lr: f64,
    /// Where it runs.
    pub place: Place,
    /// What the program does otherwise than by default; each knows its own.
    pub variant: String,
    /// The initial weights and the data.
    pub inputs: Inputs,
}

/// A dense layer: z = Wx + b.
#[derive(Clone, Debug)]
pub struct Dense {
    /// Rows of W.
    pub outputs: usize,
    /// Columns of W.
    pub inputs: usize,
    /// W, row-major.
    pub weight: Vec<f32>,
    /// b.
    pub bias: Vec<f32>,
}

impl Dense {
    /// Wᵀ, row-major: what libraries hold that write xW.
    pub fn transposed(&self) -> Vec<f32> {
        let (rows, columns) = (self.outputs, self.inputs);
        (0..columns).flat_map(|j| (0..rows).map(move |i| self.weight[i * columns + j])).collect()
    }
}

/// The initial weights and all rows.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// The layers.
    pub layers: Vec<Dense>,
    /// The features, a row after the other.
    pub x: Vec<f32>,
    /// The class of each row.
    pub labels: Vec<u32>,
}

impl Inputs {
    fn read(path: &str, widths: &[usize]) -> Result<Self> {
        let tensors = read_tensors(path.as_ref()).map_err(|error| error.to_string())?;
        let find = |name: &str| -> Result<&NamedTensor> {
            tensors.iter().find(|tensor| tensor.name == name).ok_or(format!("the file has no tensor {name}"))
        };
        let dense = |(i, pair): (usize, &[usize])| -> Result<Dense> {
            // Activations stand between the layers and are counted, as in torch.nn.Sequential.
            let weight = find(&format!("{}.weight", 2 * i))?;
            let bias = find(&format!("{}.bias", 2 * i))?;
            if weight.shape != [pair[1], pair[0]] || bias.shape != [pair[1]] {
                return Err(format!("layer {i}: the file has {:?} and {:?}", weight.shape, bias.shape));
            }
            let (weight, bias) = (weight.data.to_f32(), bias.data.to_f32());
            Ok(Dense { outputs: pair[1], inputs: pair[0], weight, bias })
        };
        let layers = widths.windows(2).enumerate().map(dense).collect::<Result<_>>()?;
        let labels = find("labels")?.data.to_f32().iter().map(|&label| label as u32).collect();
        Ok(Self { layers, x: find("x")?.data.to_f32(), labels })
    }
}

impl Task {
    fn read(task: &Value) -> Result<Self> {
        let word = |key: &str| task[key].as_str().map(str::to_owned).ok_or(format!("load: {key} is missing"));
        let widths: Option<Vec<usize>> = task["network"]
            .as_array()
            .and_then(|widths| widths.iter().map(|width| width.as_u64().map(|width| width as usize)).collect());
        let widths = widths.ok_or("load: network is missing")?;
        let place = match word("place")?.as_str() {
            "cpu" => Place::Cpu,
            "software" => Place::Software,
            "gpu" => Place::Gpu,
            other => return Err(format!("load: there is no place {other}")),
        };
        if word("precision")? != "f32" {
            return Err("it trains in f32 alone".into());
        }
        let inputs = Inputs::read(&word("path")?, &widths)?;
        Ok(Self {
            batch: task["batch"].as_u64().ok_or("load: batch is missing")? as usize,
            optimizer: word("optimizer")?,
            lr: task["lr"].as_f64().ok_or("load: lr is missing")?,
            variant: word("variant")?,
            widths,
            place,
            inputs,
        })
    }

    /// The features and classes of each batch, in the order in which they are trained on, again and again.
    pub fn batches(&self) -> impl Iterator<Item = (&[f32], &[u32])> {
        let features = self.widths[0];
        self.inputs.x.chunks(self.batch * features).zip(self.inputs.labels.chunks(self.batch))
    }
}

/// A library with a network loaded.
pub trait Peer {
    /// Trains, and gives the loss of each step.
    fn losses(&mut self, steps: usize) -> Result<Vec<f64>>;

    /// Trains, reads nothing back, waits for the end, and gives the seconds that it took.
    fn run(&mut self, steps: usize) -> Result<f64>;
}

/// Answers the driver until it closes the pipe. `load` also says what is to be known of the device.
pub fn serve<P: Peer>(load: impl Fn(Task) -> Result<(P, Value)>) {
    let mut loaded: Option<P> = None;
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("the driver speaks UTF-8");
        let answer = answer(&line, &mut loaded, &load).unwrap_or_else(|error| json!({ "error": error }));
        let mut out = std::io::stdout().lock();
        writeln!(out, "{answer}").and_then(|()| out.flush()).expect("the driver listens");
    }
}

fn answer<P: Peer>(line: &str, loaded: &mut Option<P>, load: &impl Fn(Task) -> Result<(P, Value)>) -> Result<Value> {
    let request: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    if let Some(task) = request.get("load") {
        // What was loaded before makes room first.
        *loaded = None;
        let (peer, about) = load(Task::read(task)?)?;
        *loaded = Some(peer);
        return Ok(json!({ "loaded": about }));
    }
    let peer = loaded.as_mut().ok_or("nothing is loaded")?;
    if let Some(steps) = request["losses"].as_u64() {
        Ok(json!({ "losses": peer.losses(steps as usize)? }))
    } else if let Some(steps) = request["run"].as_u64() {
        Ok(json!({ "seconds": peer.run(steps as usize)? }))
    } else {
        Err(format!("there is no such request: {line}"))
    }
}

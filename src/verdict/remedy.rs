//! Remedies: changes of the config, as data.

use super::evidence::{Activation, Facts};
use serde::Serialize;

/// One changed setting, as `--set` takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The key: `train.lr`, `model.layers[0].init`.
    pub key: String,
    /// The value, in TOML.
    pub value: String,
}

impl Change {
    /// `key=value`.
    pub fn assignment(&self) -> String {
        format!("{}={}", self.key, self.value)
    }
}

/// What can be done about a finding: all of these changes together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remedy {
    /// What it does, for people.
    pub what: String,
    /// The changes.
    pub changes: Vec<Change>,
}

impl Remedy {
    /// A remedy of these changes.
    pub fn new<V: Into<String>>(what: &str, changes: impl IntoIterator<Item = (String, V)>) -> Self {
        let changes = changes.into_iter().map(|(key, value)| Change { key, value: value.into() });
        Self { what: what.into(), changes: changes.collect() }
    }

    /// One changed setting.
    pub fn set(what: &str, key: &str, value: impl Into<String>) -> Self {
        Self::new(what, [(key.to_owned(), value.into())])
    }

    /// Another learning rate, three digits of it.
    pub fn lr(lr: f64) -> Self {
        let lr: f64 = format!("{lr:.2e}").parse().unwrap_or(lr);
        Self::set(&format!("learning rate {lr}"), "train.lr", format!("{lr:?}"))
    }
}

/// The rate that is a good first try for an optimizer: PyTorch's default for the adaptive ones, 0.1 for plain descent
/// (LeCun et al. 1998 on normalized inputs), a tenth of it with momentum 0.9, which multiplies steps by ten.
pub fn usual_lr(optimizer: &str) -> f64 {
    match optimizer {
        "sgd" => 0.1,
        "momentum" | "nesterov" | "adagrad" => 0.01,
        _ => 0.001,
    }
}

/// A batch of 32 where it is less than half of that, by itself and with a third of the rate: the spread that the noise of
/// gradients leaves goes with rate / batch (a quadratic has ησ²/(B·h·(2 − ηh)) of it).
pub fn calmer(facts: &Facts) -> Vec<Remedy> {
    const BATCH: usize = 32;
    if 2 * facts.batch >= BATCH || facts.examples < BATCH {
        return Vec::new();
    }
    let batch = Remedy::set("a batch of 32, with less noise", "train.batch", BATCH.to_string());
    let rate = Remedy::lr(facts.lr / 3.0);
    let both = Remedy {
        what: format!("{}; and {}", batch.what, rate.what),
        changes: batch.changes.iter().chain(&rate.changes).cloned().collect(),
    };
    vec![batch, both]
}

/// The initializer that keeps signals their size through layers of this activation.
fn fitting_init(activation: Activation) -> &'static str {
    // He's variance for tanh too: its factor is 1.05 in depth, where Glorot's decays like 1/√depth.
    match activation {
        Activation::Identity | Activation::Softmax => "lecun_normal",
        _ => "he_normal",
    }
}

/// Every linear layer initialized to keep signals their size.
pub fn reinitialize(facts: &Facts) -> Remedy {
    let hidden = facts.layers.iter().find(|layer| layer.is_linear()).map_or(Activation::Identity, |l| l.activation);
    let init = fitting_init(hidden);
    Remedy::new(&format!("initialize with {init}, biases 0"), init_changes(facts, init))
}

fn init_changes(facts: &Facts, init: &str) -> Vec<(String, String)> {
    let quoted = format!("\"{init}\"");
    let mut changes = vec![
        ("model.init".to_owned(), quoted.clone()),
        ("model.gain".to_owned(), "1.0".to_owned()),
        ("model.bias_init".to_owned(), "\"zeros\"".to_owned()),
    ];
    for layer in facts.layers.iter().filter(|layer| layer.has_own_init) {
        changes.push((format!("model.layers[{}].init", layer.position), quoted.clone()));
        changes.push((format!("model.layers[{}].gain", layer.position), "1.0".to_owned()));
        changes.push((format!("model.layers[{}].bias_init", layer.position), "\"zeros\"".to_owned()));
    }
    changes
}

/// The last layer started at the size of the targets and at their mean: outputs and errors are then as with targets of size
/// 1, and so is what an adaptive optimizer makes of them.
pub fn fit_head(facts: &Facts) -> Remedy {
    let (mean, std) = (facts.data.target_mean, facts.data.target_std);
    let last = facts.layers.iter().rev().find(|layer| layer.is_linear());
    let changes = last.into_iter().flat_map(|layer| {
        let key = |name: &str| format!("model.layers[{}].{name}", layer.position);
        let gain = if std > 0.0 { std } else { 1.0 };
        [(key("gain"), format!("{gain:.3e}")), (key("bias_init"), format!("{{ constant = {mean:.6e} }}"))]
    });
    Remedy::new("the last layer started at the size and the mean of the targets", changes)
}

/// Every activation that `from` accepts replaced by ReLU, with the initializer that goes with it.
pub fn use_relu(facts: &Facts, from: impl Fn(Activation) -> bool) -> Option<Remedy> {
    let places: Vec<usize> = facts
        .layers
        .iter()
        .filter(|layer| from(layer.activation))
        .filter_map(|layer| layer.activation_position)
        .collect();
    if places.is_empty() {
        return None;
    }
    let mut changes = init_changes(facts, "he_normal");
    changes.extend(places.iter().map(|at| (format!("model.layers[{at}]"), "\"relu\"".to_owned())));
    Some(Remedy::new("ReLU in place of what shrinks the signal, initialized with he_normal", changes))
}

/// A ReLU behind each linear layer that another follows directly.
pub fn insert_relu(facts: &Facts) -> Remedy {
    let mut entries = facts.entries.clone();
    for layer in facts.layers.iter().rev().skip(1) {
        if layer.is_linear() && layer.activation == Activation::Identity {
            entries.insert(layer.position + 1, "\"relu\"".to_owned());
        }
    }
    Remedy::set("ReLU between linear layers", "model.layers", format!("[{}]", entries.join(", ")))
}

/// A layer normalization behind each hidden linear layer.
pub fn insert_norm(facts: &Facts) -> Remedy {
    let mut entries = facts.entries.clone();
    for layer in facts.layers.iter().rev().skip(1).filter(|layer| layer.is_linear()) {
        entries.insert(layer.position + 1, "\"layer_norm\"".to_owned());
    }
    Remedy::set("layer normalization behind hidden layers", "model.layers", format!("[{}]", entries.join(", ")))
}

/// Another remedy, and Adam with it, for gradients whose sizes differ by layer however layers start.
pub fn with_adam(facts: &Facts, remedy: &Remedy) -> Option<Remedy> {
    let adam = use_adam(facts)?;
    let changes = remedy.changes.iter().cloned().chain(adam.changes).collect();
    Some(Remedy { what: format!("{}; and Adam", remedy.what), changes })
}

/// Adam at its usual rate: its steps do not depend on the size of gradients.
pub fn use_adam(facts: &Facts) -> Option<Remedy> {
    let changes = [("train.optimizer".to_owned(), "\"adam\""), ("train.lr".to_owned(), "0.001")];
    matches!(facts.optimizer.as_str(), "sgd" | "momentum" | "nesterov")
        .then(|| Remedy::new("Adam, whose steps do not depend on the size of gradients", changes))
}

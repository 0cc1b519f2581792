//! The GPU dispatch of the update: a workgroup to each chunk, the rule chosen when the shader's text is made.

use super::{Rule, Update};
use crate::base::Type;
use crate::graph::{Bind, Dispatch, GpuWork, Shader};
use crate::ops::gpu;

/// The dispatch of an update of these inputs.
pub(super) fn work(op: &Update, inputs: &[Type]) -> GpuWork {
    let chunks = inputs[3].shape.dim(0);
    if chunks == 0 {
        return GpuWork::default();
    }
    let (a, b, c, epsilon) = constants(&op.rule);
    let states = op.rule.states();
    let outputs = 1 + states + usize::from(op.measure);
    let work = GpuWork::one(Dispatch {
        shader: Shader { stem: "optimize", entry: "update", vars: vars(op) },
        binds: [Bind::In(1), Bind::In(2), Bind::In(3)].into_iter().chain((0..outputs).map(Bind::Out)).collect(),
        params: vec![
            ("chunks", chunks.into()),
            ("a", a.into()),
            ("b", b.into()),
            ("c", c.into()),
            ("epsilon", epsilon.into()),
            ("limit", op.clip_value.unwrap_or(f64::from(f32::MAX)).into()),
            ("decay", op.weight_decay.into()),
            ("root", op.rule.root_of_least::<f32>().into()),
        ],
        workgroups: Dispatch::fold(chunks),
    });
    if op.measure { gpu::recording(work, 0) } else { work }
}

/// The constants a, b, c and ε of a rule's formula in the shader.
fn constants(rule: &Rule) -> (f64, f64, f64, f64) {
    match *rule {
        Rule::Sgd => (0.0, 0.0, 0.0, 0.0),
        Rule::Momentum { momentum, dampening, .. } => (momentum, 1.0 - dampening, 0.0, 0.0),
        Rule::Adagrad { lr_decay, epsilon } => (lr_decay, 0.0, 0.0, epsilon),
        Rule::RmsProp { alpha, epsilon, momentum, .. } => (alpha, 1.0 - alpha, momentum, epsilon),
        Rule::Adam { betas, epsilon, .. } => (1.0 - betas[0], betas[1], 1.0 - betas[1], epsilon),
    }
}

/// The variables of the template.
fn vars(op: &Update) -> Vec<(&'static str, String)> {
    let (mut nesterov, mut centered, mut velocity, mut decoupled) = (false, false, false, false);
    let rule = match op.rule {
        Rule::Sgd => "sgd",
        Rule::Momentum { nesterov: ahead, .. } => {
            nesterov = ahead;
            "momentum"
        }
        Rule::Adagrad { .. } => "adagrad",
        Rule::RmsProp { momentum, centered: centred, .. } => {
            (centered, velocity) = (centred, momentum != 0.0);
            "rms_prop"
        }
        Rule::Adam { decoupled: apart, .. } => {
            decoupled = apart;
            "adam"
        }
    };
    let flag = |set: bool| u8::from(set).to_string();
    vec![
        ("rule", rule.to_owned()),
        ("states", op.rule.states().to_string()),
        ("nesterov", flag(nesterov)),
        ("centered", flag(centered)),
        ("velocity", flag(velocity)),
        ("decoupled", flag(decoupled)),
        ("clip_norm", flag(op.clip_norm)),
        ("measure", flag(op.measure)),
        gpu::in_memory(),
    ]
}

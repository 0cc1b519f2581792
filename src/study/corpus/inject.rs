//! How each fault is put into a healthy config, in three severities.

use super::altered::Alteration;
use super::architecture::Architecture;
use super::fault::Fault;
use crate::base::Stream;

/// Severities of a fault: mild, strong, extreme.
pub const SEVERITIES: usize = 3;

/// A fault as changes of a config.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Injection {
    /// Changes, as `--set` takes them.
    pub changes: Vec<String>,
    /// What is done to the data.
    pub alteration: Option<Alteration>,
    /// The layer where it is, of those with parameters; none if it is in all or in none.
    pub layer: Option<usize>,
}

impl Injection {
    fn of(changes: impl IntoIterator<Item = String>, layer: Option<usize>) -> Option<Self> {
        Some(Self { changes: changes.into_iter().collect(), alteration: None, layer })
    }

    fn data(alteration: Alteration) -> Option<Self> {
        Some(Self { changes: Vec::new(), alteration: Some(alteration), layer: None })
    }
}

/// Whether signals pass an activation without bounds.
fn is_open(activation: &str) -> bool {
    !matches!(activation, "tanh" | "sigmoid")
}

/// The key of a setting of the k-th linear layer.
fn linear(k: usize, key: &str) -> String {
    format!("model.layers[{}].{key}", 2 * k)
}

/// All layers of an architecture, with this activation behind hidden ones, and perhaps one at the end.
fn layers(one: &Architecture, activation: &str, head: Option<&str>) -> String {
    let hidden = format!("{{ kind = 'linear', out = {} }}, '{activation}', ", one.width).repeat(one.hidden);
    let head = head.map_or(String::new(), |head| format!(", '{head}'"));
    format!("model.layers=[{hidden}{{ kind = 'linear', out = {} }}{head}]", one.data_set().outputs)
}

/// A fault in an architecture, at a severity below [`SEVERITIES`]; none where it makes no sense there.
pub(super) fn inject(
    fault: Fault,
    one: &Architecture,
    severity: usize,
    draw: &mut impl FnMut(usize) -> usize,
) -> Option<Injection> {
    let (hidden, depth) = (one.hidden, one.hidden as f64);
    let data = one.data_set();
    let pick = |values: [f64; SEVERITIES]| values[severity];
    // What the signal is multiplied by on its way through all hidden layers, for which each has to give the root.
    let gain = |all: f64| format!("model.gain={:e}", all.powf(1.0 / depth));
    let open = is_open(one.activation);
    match fault {
        Fault::VanishingGain if hidden >= 3 && one.activation != "sigmoid" => {
            Injection::of([gain(pick([1e-4, 1e-6, 1e-9]))], Some(0))
        }
        Fault::VanishingSigmoid if hidden >= 5 => {
            let init = ["glorot_uniform", "lecun_normal", "uniform_fan_in"][severity];
            Injection::of([layers(one, "sigmoid", None), format!("model.init={init}")], Some(0))
        }
        Fault::VanishingLayers if hidden >= 4 => {
            // Two in a row: a single one gets its weights back in a few steps, as its gradient is as large as ever.
            let k = 1 + draw(hidden - 2);
            let gain = pick([1e-3, 1e-4, 1e-6]);
            Injection::of([k, k + 1].map(|k| format!("{}={gain:e}", linear(k, "gain"))), Some(k))
        }
        Fault::ExplodingGain if hidden >= 4 && open => Injection::of([gain(pick([1e4, 1e6, 1e9]))], None),
        Fault::PoorGain if hidden <= 3 && open => {
            let each = [pick([6.0, 20.0, 60.0]), pick([0.05, 0.02, 0.005])][draw(2)];
            Injection::of([format!("model.gain={each:e}")], None)
        }
        Fault::PoorHead if data.is_classes => {
            Injection::of([format!("{}={:e}", linear(hidden, "gain"), pick([30.0, 100.0, 400.0]))], Some(hidden))
        }
        Fault::DeadUnits if one.activation == "relu" => {
            let k = draw(hidden);
            let bias = format!("{{ constant = {:?} }}", pick([-10.0, -30.0, -100.0]));
            Injection::of([format!("{}={bias}", linear(k, "bias_init"))], Some(k))
        }
        Fault::SaturatedLayer if !open => {
            let k = draw(hidden);
            Injection::of([format!("{}={:e}", linear(k, "gain"), pick([30.0, 100.0, 500.0]))], Some(k))
        }
        Fault::SaturatedAll if !open => Injection::of([format!("model.gain={:e}", pick([10.0, 30.0, 100.0]))], None),
        Fault::SymmetricInit => {
            Injection::of([format!("model.init={{ constant = {:?} }}", pick([0.01, 0.05, 0.2]))], None)
        }
        Fault::FrozenLayers if one.activation == "relu" => {
            let k = draw(hidden);
            Injection::of([format!("{}=zeros", linear(k, "init"))], Some(k))
        }
        _ => inject_in_settings(fault, one, severity),
    }
}

/// Faults of training, loss and data.
fn inject_in_settings(fault: Fault, one: &Architecture, severity: usize) -> Option<Injection> {
    let data = one.data_set();
    let pick = |values: [f64; SEVERITIES]| values[severity];
    let lr = |lr: f64| format!("train.lr={lr:e}");
    match fault {
        Fault::LrTooHigh => Injection::of([lr(one.lr() * pick([20.0, 100.0, 1000.0]))], None),
        Fault::LrTooLow => Injection::of([lr(one.lr() * pick([1e-3, 1e-4, 1e-5]))], None),
        Fault::Underflow => Injection::of([lr(pick([1e-9, 1e-10, 1e-12]))], None),
        Fault::NoisyBatch => {
            let times = pick([2.0, 4.0, 8.0]);
            Injection::of(["train.batch=2".to_owned(), lr(one.lr() * times)], None)
        }
        Fault::InputScale => Injection::data(Alteration::Scale(pick([100.0, 3000.0, 1e-3]))),
        Fault::InputShift => Injection::data(Alteration::Shift(pick([30.0, 100.0, 1000.0]))),
        Fault::InputSpread => Injection::data(Alteration::Spread(pick([100.0, 300.0, 3000.0]))),
        Fault::TargetScale if !data.is_classes => Injection::data(Alteration::Targets(pick([100.0, 1000.0, 1e-3]))),
        Fault::TargetShift if !data.is_classes => {
            Injection::data(Alteration::ShiftTargets(pick([100.0, 300.0, 3000.0])))
        }
        Fault::OneSidedHead if !data.is_classes => {
            let head = ["relu", "tanh", "sigmoid"][severity];
            Injection::of([layers(one, one.activation, Some(head))], Some(one.hidden))
        }
        Fault::SoftmaxTwice if data.is_classes => {
            let head = ["softmax", "sigmoid", "softmax"][severity];
            Injection::of([layers(one, one.activation, Some(head))], Some(one.hidden))
        }
        Fault::WrongLoss if data.is_classes => Injection::of(["loss.kind=mse".to_owned()], None),
        Fault::NoActivations => Injection::of([layers(one, "identity", None)], None),
        Fault::NonFinite if is_open(one.activation) => {
            let gain = pick([1e50, 1e65, 1e80]).powf(1.0 / one.layers() as f64).min(1e36);
            Injection::of([format!("model.gain={gain:e}")], None)
        }
        _ => None,
    }
}

/// Healthy variants of an architecture: changes that keep it healthy.
pub(super) fn healthy_variants(one: &Architecture) -> Vec<(&'static str, Vec<String>)> {
    let with = |what: &str| {
        let hidden = format!("{{ kind = 'linear', out = {} }}, {what}, ", one.width).repeat(one.hidden);
        vec![format!("model.layers=[{hidden}{{ kind = 'linear', out = {} }}]", one.data_set().outputs)]
    };
    let other = match one.activation {
        "tanh" => "lecun_normal",
        "sigmoid" => "glorot_normal",
        _ => "he_uniform",
    };
    let mut found = vec![
        ("layer norm", with(&format!("'layer_norm', '{}'", one.activation))),
        ("half the rate", vec![format!("train.lr={:e}", one.lr() / 2.0)]),
        ("standardized", vec!["data.standardize=standardize".to_owned()]),
        ("clipped", vec!["train.clip_norm=1.0".to_owned()]),
        ("other init", vec![format!("model.init={other}")]),
        ("dropout", with(&format!("'{}', {{ kind = 'dropout', p = 0.05 }}", one.activation))),
        ("decay", vec!["train.weight_decay=1e-4".to_owned()]),
        ("batch 64", vec!["train.batch=64".to_owned()]),
        ("batch 16", vec!["train.batch=16".to_owned()]),
    ];
    if one.hidden <= 2 {
        let init = vec!["model.init=uniform_fan_in".to_owned(), "model.bias_init=uniform_fan_in".to_owned()];
        found.push(("PyTorch's init", init));
    }
    found
}

/// A draw below a number from a stream.
pub(super) fn drawing(stream: &mut Stream) -> impl FnMut(usize) -> usize + '_ {
    |below| stream.below(u32::try_from(below).expect("a few layers")) as usize
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Set, cases};
    use super::*;
    use crate::config::Layer;

    /// The layers with parameters, counted as cases count them.
    fn linear_layers(layers: &[Layer]) -> Vec<&Layer> {
        layers.iter().filter(|layer| matches!(layer, Layer::Linear { .. })).collect()
    }

    #[test]
    fn a_fault_of_a_layer_is_in_the_layer_that_its_case_names() {
        let mut deepest = 0;
        for set in [Set::Tuned, Set::Scored] {
            let all = cases(set, 48, 1).unwrap();
            for case in &all {
                let Kind::Faulty { fault, layer: Some(named), .. } = case.kind else { continue };
                // How many layers in a row have it.
                let count = match fault {
                    Fault::VanishingLayers => 2,
                    Fault::PoorHead | Fault::DeadUnits | Fault::SaturatedLayer | Fault::FrozenLayers => 1,
                    _ => continue,
                };
                let (own, control) = (&case.config.model.layers, &all[case.control].config.model.layers);
                let differ = |i: usize| own[i] != control[i];
                assert!(
                    (0..own.len()).all(|i| matches!(own[i], Layer::Linear { .. }) || !differ(i)),
                    "{}",
                    case.name()
                );
                let pairs = linear_layers(own).into_iter().zip(linear_layers(control));
                let changed: Vec<usize> = pairs.enumerate().filter(|(_, (a, b))| a != b).map(|(k, _)| k).collect();
                assert_eq!(changed, (named..named + count).collect::<Vec<_>>(), "{}", case.name());
                deepest = deepest.max(named);
            }
        }
        assert_eq!(deepest, 10, "the last layer of the deepest network has one too");
    }
}

//! From a described model to graph nodes.

use super::describe::{ByExample, Description, LayerInfo};
use crate::base::{Error, Result, Stream, StreamId};
use crate::config::{Approximate, Layer};
use crate::graph::{Graph, ValueId};

/// What the graph is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Training: dropout drops, by masks that follow from the seed.
    Train {
        /// The seed of the run.
        seed: u64,
    },
    /// Judging and predicting: dropout does nothing.
    Evaluate,
}

/// A model in a graph.
#[derive(Clone, Debug)]
pub struct Built {
    /// What the model gives: [rows, outputs].
    pub output: ValueId,
    /// Where the layers with parameters can be measured, one for each.
    pub taps: Vec<Tap>,
}

/// Where a layer with parameters can be measured. The tap point of every such layer is what it gives before any activation:
/// for `linear` x·Wᵀ + b, for `layer_norm` the scaled and shifted rows.
#[derive(Clone, Debug)]
pub struct Tap {
    /// The position of the layer in [`Description::layers`].
    pub layer: usize,
    /// The name of the layer, as `torch.nn.Sequential` has it: `0`.
    pub name: String,
    /// The word that names the kind of the layer: `linear`.
    pub kind: &'static str,
    /// How gradients of single examples follow from those of a batch.
    pub by_example: ByExample,
    /// What the layer's parameters are applied to [rows, inputs]: for `linear` what comes in, dropout applied; for `layer_norm`
    /// the normalized rows.
    pub input: ValueId,
    /// The tap point [rows, outputs]: ∂ℓ/∂z is the backpropagated signal.
    pub z: ValueId,
    /// What becomes of z before the next layer with parameters, the last dropout left out; [rows, outputs]. For the last
    /// tap, what becomes of it before the end.
    pub activation: ValueId,
    /// The first layer behind it that is an activation, if there is one before the next tap.
    pub activation_layer: Option<Layer>,
    /// The names of the layer's parameters.
    pub params: Vec<String>,
}

impl Description {
    /// Writes the layers into `g`, from `x` [rows, features] on. Nodes bear the scope of their layer, such as `0 linear`;
    /// parameters are [`Graph::param`]s of their names.
    ///
    /// # Errors
    /// If `x` has no rows of as many numbers as the model takes.
    pub fn build(&self, g: &mut Graph, x: ValueId, mode: Mode) -> Result<Built> {
        let shape = g.shape(x);
        let rows = shape.dim(0);
        if shape.rank() < 2 || shape.len() != rows * self.input {
            let message = format!("it takes [rows, {}], {shape} comes in", self.input);
            return Err(Error::input("model", message));
        }
        let outer = g.scope();
        let mut h = g.reshape(x, [rows, self.input])?;
        let mut taps: Vec<Tap> = Vec::new();
        for layer in &self.layers {
            g.set_scope(&layer.title());
            // What parameters are applied to.
            let x = match &layer.spec {
                Layer::LayerNorm { eps, .. } => g.layer_norm(h, *eps)?,
                _ => h,
            };
            h = self.apply(layer, g, x, mode)?;
            if !layer.params.is_empty() {
                taps.push(self.tap(layer, x, h));
            } else if let (Some(tap), false) = (taps.last_mut(), matches!(layer.spec, Layer::Dropout { .. })) {
                tap.activation = h;
                if is_activation(&layer.spec) && tap.activation_layer.is_none() {
                    tap.activation_layer = Some(layer.spec.clone());
                }
            }
        }
        g.set_scope(&outer);
        Ok(Built { output: h, taps })
    }

    fn tap(&self, layer: &LayerInfo, x: ValueId, z: ValueId) -> Tap {
        Tap {
            layer: layer.index,
            name: layer.name.clone(),
            kind: layer.kind,
            by_example: layer.by_example,
            input: x,
            z,
            activation: z,
            activation_layer: None,
            params: layer.params.iter().map(|&i| self.params[i].name.clone()).collect(),
        }
    }

    /// One layer, from what its parameters are applied to [rows, inputs] to what it gives [rows, outputs].
    fn apply(&self, layer: &LayerInfo, g: &mut Graph, x: ValueId, mode: Mode) -> Result<ValueId> {
        let params = layer.params.iter().map(|&i| &self.params[i]);
        let params = params.map(|param| g.param(&param.name, param.shape)).collect::<Result<Vec<_>>>()?;
        match &layer.spec {
            Layer::Linear { .. } => {
                let y = g.matmul_t(x, params[0], false, true)?;
                params.get(1).map_or(Ok(y), |&bias| g.add(y, bias))
            }
            Layer::LayerNorm { .. } => {
                let [weight, bias] = params[..] else { return Ok(x) };
                let scaled = g.mul(x, weight)?;
                g.add(scaled, bias)
            }
            Layer::Identity | Layer::Flatten => Ok(x),
            Layer::Relu => g.relu(x),
            Layer::LeakyRelu { slope } => g.leaky_relu(x, *slope),
            Layer::Elu { alpha } => g.elu(x, *alpha),
            Layer::Gelu { approximate: Approximate::None } => g.gelu(x),
            Layer::Gelu { approximate: Approximate::Tanh } => g.gelu_tanh(x),
            Layer::Silu => g.silu(x),
            Layer::Sigmoid => g.sigmoid(x),
            Layer::Tanh => g.tanh(x),
            Layer::Softplus => g.softplus(x),
            Layer::Softmax => g.softmax(x),
            Layer::Dropout { p } => match mode {
                Mode::Train { seed } => g.dropout(x, *p, Stream::key(seed, StreamId::Dropout(layer.index as u32))),
                Mode::Evaluate => Ok(x),
            },
        }
    }
}

/// Whether a layer without parameters is an elementwise nonlinearity.
fn is_activation(layer: &Layer) -> bool {
    !matches!(
        layer,
        Layer::Identity
            | Layer::Flatten
            | Layer::Softmax
            | Layer::Dropout { .. }
            | Layer::Linear { .. }
            | Layer::LayerNorm { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Type;
    use crate::nn::Model;

    fn built(model: Model, mode: Mode) -> (Graph, Built) {
        let mut g = Graph::new();
        let x = g.input("x", Type::real([3, 5])).unwrap();
        let built = model.describe(&[5]).unwrap().build(&mut g, x, mode).unwrap();
        (g, built)
    }

    #[test]
    fn every_layer_with_parameters_has_a_tap_before_its_activation() {
        let model = Model::new().linear(4).relu().dropout(0.5).layer_norm().tanh().linear(2).softmax();
        let (g, built) = built(model, Mode::Train { seed: 1 });
        let kinds: Vec<_> = built.taps.iter().map(|tap| (tap.layer, tap.kind, tap.params.len())).collect();
        assert_eq!(kinds, [(0, "linear", 2), (3, "layer_norm", 2), (5, "linear", 2)]);
        let names = |id| g.maker(id).map(|node| (node.op.name(), node.scope.to_string()));
        let owned = |name, scope: &str| Some((name, scope.to_owned()));
        assert_eq!(names(built.taps[0].z), owned("add", "0 linear"));
        assert_eq!(names(built.taps[0].activation), owned("relu", "1 relu"));
        assert_eq!(names(built.taps[1].activation), owned("tanh", "4 tanh"));
        assert_eq!(built.taps[1].activation_layer, Some(Layer::Tanh));
        assert_eq!(built.taps[2].activation, built.output);
        assert_eq!(built.taps[2].activation_layer, None);
        let inputs: Vec<_> = built.taps.iter().map(|tap| (tap.by_example, g.shape(tap.input).to_vec())).collect();
        let [dense, normed] = [ByExample::Dense, ByExample::Elementwise];
        assert_eq!(inputs, [(dense, vec![3, 5]), (normed, vec![3, 4]), (dense, vec![3, 4])]);
        assert_eq!(names(built.taps[1].input), owned("layer_norm", "3 layer_norm"));
        assert!(g.scope().is_empty());
        g.type_check().unwrap();
    }

    #[test]
    fn dropout_is_there_in_training_only() {
        let dropouts = |mode| {
            let (g, _) = built(Model::new().dropout(0.5).linear(4).dropout(0.5).linear(2), mode);
            g.nodes()
                .iter()
                .filter(|node| node.op.name() == "dropout")
                .map(|n| format!("{:?}", n.op))
                .collect::<Vec<_>>()
        };
        assert!(dropouts(Mode::Evaluate).is_empty());
        let ops = dropouts(Mode::Train { seed: 1 });
        assert!(ops.len() == 2 && ops[0] != ops[1], "layers have streams of their own: {ops:?}");
        assert_ne!(ops, dropouts(Mode::Train { seed: 2 }));
    }

    #[test]
    fn every_kind_gives_its_shape() {
        let model =
            Model::new().flatten().identity().linear(4).relu().leaky_relu(0.1).elu(1.0).gelu().gelu_tanh().silu();
        let model = model.sigmoid().tanh().softplus().layer_norm().dropout(0.2).softmax().linear_without_bias(7);
        let (g, built) = built(model, Mode::Train { seed: 0 });
        assert_eq!(g.shape(built.output).to_vec(), [3, 7]);
    }

    #[test]
    fn examples_with_axes_come_in_flat() {
        let description = Model::new().linear(2).describe(&[4, 4]).unwrap();
        let mut g = Graph::new();
        let x = g.input("x", Type::real([3, 4, 4])).unwrap();
        assert!(description.build(&mut g, x, Mode::Evaluate).is_ok());
        let narrow = g.input("narrow", Type::real([3, 15])).unwrap();
        let error = description.build(&mut g, narrow, Mode::Evaluate).unwrap_err().to_string();
        assert_eq!(error, "model: it takes [rows, 16], [3, 15] comes in");
    }
}

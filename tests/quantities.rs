//! Every quantity of a step against the same number worked out by hand, from weights and examples, for a net of two layers
//! and a batch in three micro-batches, the last of them padded.

use ndarray::{Array1, Array2, Axis};
use steepest::config::{self, Config, LossKind, Optimizer, Precision, Preset};
use steepest::data::{Dataset, Splits, Targets};
use steepest::nn::Model;
use steepest::probe::{Noise, PROBES, QUANTITIES, Quantity};
use steepest::run::{HostTensor, Setup, Trainer, open_device};

const EXAMPLES: usize = 5;
const FEATURES: usize = 3;
const HIDDEN: usize = 4;
const OUTPUTS: usize = 2;
const LR: f64 = 0.25;

fn inputs() -> Array2<f32> {
    Array2::from_shape_fn((EXAMPLES, FEATURES), |(i, j)| ((3 * i + j) as f32 * 0.7).sin())
}

fn targets() -> Array2<f32> {
    Array2::from_shape_fn((EXAMPLES, OUTPUTS), |(i, j)| ((2 * i + j) as f32 * 1.3).cos())
}

fn trainer(statistics: bool) -> Trainer {
    let mut config = Config::builtin_digits();
    config.model = Model::new().linear(HIDDEN).sigmoid().linear(OUTPUTS).into();
    config.loss.kind = LossKind::Mse;
    config.device.device = "cpu".into();
    config.probes.preset = if statistics { Preset::Default } else { Preset::Off };
    let train = &mut config.train;
    train.optimizer = Optimizer::Sgd { lr: LR, weight_decay: 0.0 };
    (train.precision, train.shuffle) = (Precision::F64, false);
    (train.batch, train.micro_batch) = (config::Batch::Size(EXAMPLES), Some(2));
    let values = targets().into_raw_vec_and_offset().0;
    let data = Dataset::new("made up", inputs(), Targets::Values { values, width: OUTPUTS }).unwrap();
    let device = open_device(&config).unwrap();
    let splits = Splits::new("made up", data, None).unwrap();
    Trainer::new(&config, Setup { splits, executor: device.executor, threads: device.threads, objective: None })
        .unwrap()
}

/// What a step measures, by hand.
struct ByHand {
    loss: f64,
    /// ∂ℓᵢ/∂z of each layer, an example a row.
    signals: [Array2<f64>; 2],
    /// What each layer gives the next.
    activations: [Array2<f64>; 2],
    /// The gradients in the order of the parameters.
    gradients: [Vec<f64>; 4],
}

fn by_hand(params: &[HostTensor]) -> ByHand {
    let matrix = |i: usize, rows, columns| Array2::from_shape_vec((rows, columns), params[i].values.clone()).unwrap();
    let vector = |i: usize| Array1::from(params[i].values.clone());
    let (x, t) = (inputs().mapv(f64::from), targets().mapv(f64::from));
    let (w1, w2) = (matrix(0, HIDDEN, FEATURES), matrix(2, OUTPUTS, HIDDEN));
    let a1 = (x.dot(&w1.t()) + vector(1)).mapv(|z| 1.0 / (1.0 + (-z).exp()));
    let y = a1.dot(&w2.t()) + vector(3);
    let error = &y - &t;
    let d2 = &error * (2.0 / OUTPUTS as f64);
    let d1 = d2.dot(&w2) * a1.mapv(|a| a * (1.0 - a));
    let mean = |sum: Array2<f64>| (sum / EXAMPLES as f64).iter().copied().collect::<Vec<f64>>();
    let gradients = [
        mean(d1.t().dot(&x)),
        mean(d1.sum_axis(Axis(0)).insert_axis(Axis(0))),
        mean(d2.t().dot(&a1)),
        mean(d2.sum_axis(Axis(0)).insert_axis(Axis(0))),
    ];
    let loss = error.mapv(|e| e * e).mean().unwrap();
    ByHand { loss, signals: [d1, d2], activations: [a1, y], gradients }
}

fn norm<'a>(xs: impl IntoIterator<Item = &'a f64>) -> f64 {
    xs.into_iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// Norms of parts to the norms of neighbouring pairs: tensors to layers.
fn pairs(norms: &[f64]) -> Vec<f64> {
    norms.chunks(2).map(norm).collect()
}

fn ratios(steps: &[f64], weights: &[f64]) -> Vec<f64> {
    steps.iter().zip(weights).map(|(step, weight)| step / weight).collect()
}

/// S and |G|² of each layer, from the gradient of each example formed on its own. The batch is all there is, so that
/// |G|² is ‖ḡ‖².
fn noise(hand: &ByHand) -> [Noise; 2] {
    let x = inputs().mapv(f64::from);
    [(&x, 0), (&hand.activations[0], 1)].map(|(x, layer)| {
        let example = |i: usize| -> Vec<f64> {
            let d = hand.signals[layer].row(i);
            let weights = d.iter().flat_map(|d| x.row(i).iter().map(move |x| d * x).collect::<Vec<_>>());
            weights.chain(d.iter().copied()).collect()
        };
        let all: Vec<Vec<f64>> = (0..EXAMPLES).map(example).collect();
        let mean: Vec<f64> =
            (0..all[0].len()).map(|j| all.iter().map(|g| g[j]).sum::<f64>() / EXAMPLES as f64).collect();
        let scatter = |g: &Vec<f64>| g.iter().zip(&mean).map(|(g, mean)| (g - mean).powi(2)).sum::<f64>();
        let trace = all.iter().map(scatter).sum::<f64>() / (EXAMPLES - 1) as f64;
        Noise { trace, signal: mean.iter().map(|g| g * g).sum() }
    })
}

/// The values of a quantity.
fn expected(id: &str, hand: &ByHand, params: &[HostTensor]) -> Vec<f64> {
    let grads: Vec<f64> = hand.gradients.iter().map(norm).collect();
    let weights: Vec<f64> = params.iter().map(|tensor| norm(&tensor.values)).collect();
    let steps: Vec<f64> = grads.iter().map(|g| LR * g).collect();
    let of_tensors = |f: fn(&[f64]) -> f64| hand.gradients.iter().map(|g| f(g)).collect();
    let of_activations = |f: fn(&Array2<f64>) -> f64| hand.activations.iter().map(f).collect();
    match id {
        "loss" => vec![hand.loss],
        "lr" => vec![LR],
        "batch" => vec![EXAMPLES as f64],
        "grad_norm" => vec![norm(&grads)],
        "weight_norm" => vec![norm(&weights)],
        "update_ratio" => vec![norm(&steps) / norm(&weights)],
        "noise_trace" => vec![noise(hand).iter().map(|n| n.trace).sum()],
        "noise_signal" => vec![noise(hand).iter().map(|n| n.signal).sum()],
        "layer_noise_trace" => noise(hand).iter().map(|n| n.trace).collect(),
        "layer_noise_signal" => noise(hand).iter().map(|n| n.signal).collect(),
        "signal" => hand.signals.iter().map(|d| norm(d) / (EXAMPLES as f64).sqrt()).collect(),
        "activation_rms" => of_activations(|a| norm(a) / (a.len() as f64).sqrt()),
        "activation_mean" => of_activations(|a| a.mean().unwrap()),
        "activation_max" => of_activations(|a| a.iter().fold(0.0, |max, x| x.abs().max(max))),
        "layer_grad_norm" => pairs(&grads),
        "layer_update_ratio" => ratios(&pairs(&steps), &pairs(&weights)),
        "tensor_grad_norm" => grads,
        "tensor_grad_mean" => of_tensors(|g| g.iter().map(|x| x.abs()).sum::<f64>() / g.len() as f64),
        "tensor_grad_max" => of_tensors(|g| g.iter().fold(0.0, |max, x| x.abs().max(max))),
        "tensor_grad_zeros" | "tensor_grad_non_finite" => vec![0.0; 4],
        "tensor_weight_norm" => weights,
        "tensor_update_norm" => steps,
        "tensor_update_ratio" => ratios(&steps, &weights),
        // A slope below a twentieth of the largest, which is 1/4.
        "saturated" => vec![share(&hand.activations[0], |a| a * (1.0 - a) < 0.05 / 4.0)],
        // Nothing is scaled in double precision.
        "loss_scale" | "skipped_steps" => Vec::new(),
        other => panic!("{other} is not worked out here"),
    }
}

fn share(xs: &Array2<f64>, of: impl Fn(f64) -> bool) -> f64 {
    xs.iter().filter(|&&x| of(x)).count() as f64 / xs.len() as f64
}

fn wrong(found: &[f64], expected: &[f64]) -> bool {
    let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-12 * b.abs();
    found.len() != expected.len() || !found.iter().zip(expected).all(close)
}

#[test]
fn quantities_are_what_their_formulas_say() {
    let mut trainer = trainer(true);
    let (mut noises, mut scales) = (Vec::new(), [f64::NAN; 3]);
    for step in 0..3 {
        let params = trainer.params().unwrap();
        let values = trainer.step().unwrap().values.clone();
        let hand = by_hand(&params);
        noises.push(noise(&hand));
        // The scales are quotients of means over all steps so far.
        let mean = |f: fn(&[Noise; 2]) -> f64| noises.iter().map(f).sum::<f64>();
        scales[0] = mean(|n| n[0].trace) / mean(|n| n[0].signal);
        scales[1] = mean(|n| n[1].trace) / mean(|n| n[1].signal);
        scales[2] = mean(|n| n[0].trace + n[1].trace) / mean(|n| n[0].signal + n[1].signal);
        // The rest is tests/probes.rs: what is seldom due, and dead units, which a sigmoid does not have.
        let is_usual = |quantity: &&Quantity| PROBES[quantity.probe as usize].usual == 1 && quantity.id != "dead_units";
        for quantity in QUANTITIES.iter().filter(is_usual) {
            let found = values.get(quantity.id);
            let expected = match quantity.id {
                "noise_scale" => scales[2..].to_vec(),
                "layer_noise_scale" => scales[..2].to_vec(),
                id => expected(id, &hand, &params),
            };
            assert!(!wrong(found, &expected), "step {step}, {}: {found:?} {expected:?}", quantity.id);
        }
    }
}

#[test]
fn a_number_that_is_off_is_seen() {
    assert!(wrong(&[1.0 + 1e-11], &[1.0]) && wrong(&[], &[1.0]) && wrong(&[f64::NAN], &[1.0]));
}

#[test]
fn statistics_change_no_weight() {
    let weights = |statistics: bool| {
        let mut trainer = trainer(statistics);
        for _ in 0..10 {
            trainer.step().unwrap();
        }
        trainer.params().unwrap()
    };
    assert_eq!(weights(true), weights(false));
}

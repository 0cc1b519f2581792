//! Every optimizer against trajectories of `torch.optim` (goldens/optimizers.py), through the compiled plan.

use safetensors::SafeTensors;
use std::sync::Arc;
use steepest::base::{Shape, Threads, Type};
use steepest::config::Optimizer;
use steepest::exec::{Cpu, Executor, Host, Submission};
use steepest::graph::{Precision, StepScalars};
use steepest::ops::record::{
    MAX, NON_FINITE, RECORD, SQUARES, STEP_SCALE, STEP_SQUARES, WEIGHT_SQUARES, ZEROS, scale_of,
};
use steepest::ops::stats::{CLIP, CONTROL, HALT, NORM};
use steepest::optim::{lengths, rule, segments, states, update_graph};
use steepest::plan::{Arena, CHUNK, Place, compile};

const PATTERN: usize = 31;
const KEPT: [usize; 3] = [1, 2, 20];
const LENGTHS: [usize; 3] = [21, 7, 1031];

struct Case {
    name: &'static str,
    optimizer: Optimizer,
    clip_norm: Option<f64>,
    clip_value: Option<f64>,
}

fn cases() -> Vec<Case> {
    let (lr, eps, betas) = (0.05, 1e-8, [0.9, 0.999]);
    let momentum = Optimizer::Momentum { lr, momentum: 0.9, dampening: 0.0, weight_decay: 0.0 };
    let adam = Optimizer::Adam { lr: 0.01, betas, eps, weight_decay: 0.0 };
    let decayed = Optimizer::Sgd { lr, weight_decay: 0.1 };
    let adagrad = |lr_decay, initial_accumulator_value, weight_decay| Optimizer::Adagrad {
        lr: 0.1,
        lr_decay,
        initial_accumulator_value,
        eps: 1e-10,
        weight_decay,
    };
    let rmsprop = |alpha, momentum, centered, weight_decay| Optimizer::Rmsprop {
        lr: 0.01,
        alpha,
        momentum,
        centered,
        eps,
        weight_decay,
    };
    let plain = |name, optimizer| Case { name, optimizer, clip_norm: None, clip_value: None };
    vec![
        plain("sgd", Optimizer::Sgd { lr, weight_decay: 0.0 }),
        plain("sgd_decay", decayed.clone()),
        plain("momentum", momentum.clone()),
        plain("momentum_dampening", Optimizer::Momentum { lr, momentum: 0.8, dampening: 0.3, weight_decay: 0.02 }),
        plain("nesterov", Optimizer::Nesterov { lr, momentum: 0.9, weight_decay: 0.01 }),
        plain("adagrad", adagrad(0.0, 0.0, 0.0)),
        plain("adagrad_decay", adagrad(0.05, 0.3, 0.02)),
        plain("rmsprop", rmsprop(0.99, 0.0, false, 0.02)),
        plain("rmsprop_centered", rmsprop(0.9, 0.0, true, 0.0)),
        plain("rmsprop_momentum", rmsprop(0.9, 0.8, true, 0.02)),
        plain("adam", adam.clone()),
        plain("adam_decay", Optimizer::Adam { lr: 0.01, betas: [0.8, 0.95], eps: 1e-6, weight_decay: 0.1 }),
        plain("adamw", Optimizer::Adamw { lr: 0.01, betas, eps, weight_decay: 0.1 }),
        Case { clip_norm: Some(2.0), ..plain("clip_norm", momentum.clone()) },
        Case { clip_norm: Some(2.0), ..plain("clip_norm_adam", adam) },
        Case { clip_value: Some(0.5), ..plain("clip_value", momentum) },
        Case { clip_norm: Some(2.0), clip_value: Some(0.5), ..plain("clip_both", decayed) },
    ]
}

/// The arena of the three tensors, in two parts.
fn arena() -> Arena {
    let names = ["0.weight", "0.bias", "2.weight"];
    Arena::new(names.into_iter().zip(LENGTHS.map(|len| Shape::from([len]))), 2 * CHUNK).unwrap()
}

/// The parts of an arena whose tensors repeat the pattern.
fn spread(arena: &Arena, pattern: &[f64]) -> Vec<Vec<f64>> {
    let mut parts: Vec<Vec<f64>> = arena.parts.iter().map(|&len| vec![0.0; len]).collect();
    let mut numbers = pattern.iter().cycle();
    for tensor in &arena.tensors {
        let values = &mut parts[tensor.part][tensor.offset..][..tensor.shape.len()];
        values.fill_with(|| *numbers.next().expect("a cycle does not end"));
    }
    parts
}

/// The tensors, one behind the other.
fn gather(arena: &Arena, parts: &[Vec<f64>]) -> Vec<f64> {
    let values = |t: &steepest::plan::Tensor| parts[t.part][t.offset..][..t.shape.len()].to_vec();
    arena.tensors.iter().flat_map(values).collect()
}

struct Runner<R> {
    cpu: Cpu<R>,
    plan: steepest::exec::PlanId,
    arena: Arena,
    optimizer: Optimizer,
    t: u32,
}

impl<R: Precision> Runner<R> {
    fn new(case: &Case, start: &[f64], measure: bool, threads: usize) -> Self {
        let arena = arena();
        let place = Place { buffer: "table".into(), offset: RECORD, len: (arena.tensors.len() + 2) * RECORD };
        let measure = measure.then_some(&place);
        let update =
            update_graph(&arena, &case.optimizer, case.clip_norm, case.clip_value, "grads", measure, None).unwrap();
        let plan = compile("update", &update.graph, &update.places).unwrap();
        let mut cpu = Cpu::<R>::new(Arc::new(Threads::new(threads).unwrap()), None);
        let plan = cpu.load(&plan).unwrap();
        let mut runner = Self { cpu, plan, arena, optimizer: case.optimizer.clone(), t: 0 };
        runner.write("params", start);
        for part in 0..runner.arena.parts.len() {
            let buffer = runner.cpu.buffer(&format!("lengths.{part}")).unwrap();
            runner.cpu.write(buffer, 0, Host::U32(&lengths(&runner.arena, part))).unwrap();
            for state in states(&case.optimizer) {
                let buffer = runner.cpu.buffer(&Arena::buffer(&state.arena, part)).unwrap();
                let initial = vec![state.initial; runner.arena.parts[part]];
                runner.cpu.write(buffer, 0, Host::F64(&initial)).unwrap();
            }
        }
        if measure.is_some() {
            let buffer = runner.cpu.buffer("segments.params").unwrap();
            runner.cpu.write(buffer, 0, Host::U32(&segments(&runner.arena))).unwrap();
        }
        runner
    }

    fn write(&mut self, kind: &str, pattern: &[f64]) {
        for (part, values) in spread(&self.arena, pattern).iter().enumerate() {
            let buffer = self.cpu.buffer(&Arena::buffer(kind, part)).unwrap();
            self.cpu.write(buffer, 0, Host::F64(values)).unwrap();
        }
    }

    fn read(&mut self, name: &str, len: usize) -> Vec<f64> {
        let buffer = self.cpu.buffer(name).unwrap();
        self.cpu.read(buffer, 0, len).unwrap()
    }

    fn params(&mut self) -> Vec<f64> {
        self.kind("params")
    }

    /// A state by its name, or the parameters.
    fn kind(&mut self, kind: &str) -> Vec<f64> {
        let state = states(&self.optimizer).into_iter().find(|state| state.name == kind);
        let kind = state.map_or(kind.to_owned(), |state| state.arena);
        let lens = self.arena.parts.clone();
        let parts: Vec<_> = lens.iter().enumerate().map(|(p, &len)| self.read(&Arena::buffer(&kind, p), len)).collect();
        gather(&self.arena, &parts)
    }

    /// One update; the rate falls as in the script.
    fn step(&mut self, gradients: &[f64]) {
        self.step_at(self.optimizer.lr() * (1.0 - 0.03 * f64::from(self.t)), gradients);
    }

    fn step_at(&mut self, lr: f64, gradients: &[f64]) {
        self.write("grads", gradients);
        self.t += 1;
        let [bias_correction1, bias_correction2] = rule(&self.optimizer).0.bias_corrections(self.t);
        let t = self.t;
        let scalars = StepScalars { step: t - 1, lr, t, bias_correction1, bias_correction2, ..Default::default() };
        let submission = Submission { uploads: &[], plans: &[self.plan], scalars, readback: None, tag: 0 };
        self.cpu.submit(&submission).unwrap();
    }
}

struct Goldens {
    bytes: Vec<u8>,
}

impl Goldens {
    fn load() -> Self {
        Self { bytes: include_bytes!("goldens/optimizers.safetensors").to_vec() }
    }

    fn rows(&self, name: &str) -> Vec<Vec<f64>> {
        let file = SafeTensors::deserialize(&self.bytes).unwrap();
        let data = file.tensor(name).unwrap();
        let numbers: Vec<f64> =
            data.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect();
        numbers.chunks(PATTERN).map(<[f64]>::to_vec).collect()
    }
}

fn check<R: Precision>(tolerance: f64) {
    let goldens = Goldens::load();
    let (start, gradients) = (&goldens.rows("start")[0], goldens.rows("gradients"));
    for case in cases() {
        let mut expected = goldens.rows(case.name).into_iter();
        let mut runner = Runner::<R>::new(&case, start, false, 1);
        for (step, gradient) in gradients.iter().enumerate() {
            runner.step(gradient);
            if KEPT.contains(&(step + 1)) {
                let pattern = expected.next().unwrap();
                for (i, (found, expected)) in runner.params().iter().zip(pattern.iter().cycle()).enumerate() {
                    assert!(
                        (found - expected).abs() <= tolerance * expected.abs(),
                        "{} in {}, step {step}, element {i}: {found}, PyTorch has {expected}",
                        case.name,
                        R::NAME,
                    );
                }
            }
        }
    }
}

#[test]
fn trajectories_are_those_of_pytorch_in_f64() {
    check::<f64>(1e-12);
}

#[test]
fn trajectories_are_those_of_pytorch_in_f32() {
    check::<f32>(1e-5);
}

#[test]
fn results_do_not_depend_on_threads_or_measuring() {
    let goldens = Goldens::load();
    let (start, gradients) = (&goldens.rows("start")[0], goldens.rows("gradients"));
    for case in cases() {
        let run = |measure, threads| {
            let mut runner = Runner::<f32>::new(&case, start, measure, threads);
            gradients.iter().for_each(|gradient| runner.step(gradient));
            runner.params()
        };
        let first = run(false, 1);
        for (measure, threads) in [(true, 1), (false, 3), (true, 2)] {
            assert_eq!(first, run(measure, threads), "{}: measure {measure}, {threads} threads", case.name);
        }
    }
}

#[test]
fn the_table_holds_what_the_tensors_hold() {
    let goldens = Goldens::load();
    let (start, gradients) = (&goldens.rows("start")[0], goldens.rows("gradients"));
    let squares = |xs: &[f64]| xs.iter().map(|x| x * x).sum::<f64>();
    for case in cases() {
        let mut runner = Runner::<f64>::new(&case, start, true, 2);
        let before = runner.params();
        runner.step(&gradients[0]);
        let after = runner.params();
        let table = runner.read("table", 5 * RECORD);
        assert!(
            table[..RECORD].iter().chain(&table[4 * RECORD..]).all(|&x| x == 0.0),
            "rows around it are as they were"
        );
        let arena = arena();
        let all = gather(&arena, &spread(&arena, &gradients[0]));
        let mut first = 0;
        for (row, len) in table[RECORD..].chunks(RECORD).zip(LENGTHS) {
            let own = first..first + len;
            first += len;
            let g = &all[own.clone()];
            let moved: Vec<f64> = own.clone().map(|i| (after[i] - before[i]) * STEP_SCALE).collect();
            let scale = scale_of(row[MAX]);
            let close = |found: f64, expected: f64| (found / expected - 1.0).abs() < 1e-9;
            assert_eq!(row[MAX], g.iter().fold(0.0, |max: f64, x| max.max(x.abs())), "raw gradients are measured");
            assert!(close(row[SQUARES] / (scale * scale), squares(g)), "{}", case.name);
            assert!(close(row[WEIGHT_SQUARES], squares(&before[own])), "{}", case.name);
            assert!(
                close(row[STEP_SQUARES], squares(&moved)),
                "{}: {} {}",
                case.name,
                row[STEP_SQUARES],
                squares(&moved)
            );
            assert_eq!((row[ZEROS], row[NON_FINITE]), (g.iter().filter(|&&x| x == 0.0).count() as f64, 0.0));
        }
    }
}

#[test]
fn clipping_leaves_norm_and_factor_in_the_control_block() {
    let goldens = Goldens::load();
    let (start, gradients) = (&goldens.rows("start")[0], goldens.rows("gradients"));
    let case = cases().into_iter().find(|case| case.name == "clip_norm").unwrap();
    let mut runner = Runner::<f64>::new(&case, start, false, 1);
    runner.step(&gradients[0]);
    let arena = arena();
    let norm = gather(&arena, &spread(&arena, &gradients[0])).iter().map(|x| x * x).sum::<f64>().sqrt();
    let control = runner.read("control", CONTROL);
    assert!((control[NORM] / norm - 1.0).abs() < 1e-13 && (control[CLIP] - 2.0 / (norm + 1e-6)).abs() < 1e-13);
    runner.step(&vec![1e-9; PATTERN]);
    assert_eq!(runner.read("control", CONTROL)[CLIP], 1.0);
}

#[test]
fn a_non_finite_gradient_halts_what_comes_after_it() {
    let goldens = Goldens::load();
    let (start, gradients) = (&goldens.rows("start")[0], goldens.rows("gradients"));
    for case in cases() {
        let mut runner = Runner::<f32>::new(&case, start, true, 1);
        runner.step(&gradients[0]);
        let before = runner.params();
        let mut broken = gradients[1].clone();
        broken[5] = f64::NAN;
        runner.step(&broken);
        let after = runner.params();
        assert_eq!(runner.read("control", CONTROL)[HALT], 1.0, "{}", case.name);
        assert!(after.iter().all(|x| x.is_finite()), "{}", case.name);
        assert_eq!(before[5], after[5], "{}: where there is no gradient nothing moves", case.name);
        runner.step(&gradients[2]);
        assert_eq!(after, runner.params(), "{}", case.name);
    }
}

#[test]
fn a_table_that_does_not_fit_is_an_error() {
    let place = Place::whole("table", Type::real([2, RECORD]));
    let optimizer = &cases()[0].optimizer;
    let update = update_graph(&arena(), optimizer, None, None, "grads", Some(&place), None).unwrap();
    assert!(compile("update", &update.graph, &update.places).unwrap_err().to_string().contains("does not fit"));
}

const LR: f64 = 0.01;

/// One element in f32 without the rule on tiny numbers: weight and states.
#[derive(Clone, Copy)]
struct Literal {
    weight: f32,
    states: [f32; 2],
}

impl Literal {
    /// As PyTorch computes it, at update `t`.
    fn step(&mut self, optimizer: &Optimizer, t: i32, g: f32) {
        let [s0, s1] = &mut self.states;
        match *optimizer {
            Optimizer::Momentum { momentum, .. } => {
                *s0 = if t == 1 { g } else { momentum as f32 * *s0 + g };
                self.weight += -(LR as f32 * *s0);
            }
            Optimizer::Rmsprop { alpha, eps, .. } => {
                *s0 = alpha as f32 * *s0 + (1.0 - alpha) as f32 * (g * g);
                self.weight += -(LR as f32 * (g / (s0.sqrt() + eps as f32)));
            }
            Optimizer::Adam { betas: [first, second], eps, .. } => {
                *s0 += (1.0 - first) as f32 * (g - *s0);
                *s1 = second as f32 * *s1 + (1.0 - second) as f32 * (g * g);
                let [one, two] = [first, second].map(|beta| 1.0 - beta.powi(t));
                let root = s1.sqrt() / two.sqrt() as f32 + eps as f32;
                self.weight += -((LR / one) as f32 * (*s0 / root));
            }
            _ => unreachable!("none of the cases here"),
        }
    }
}

/// Optimizers whose states fall below the normal numbers within 2,000 steps, and the names of these states.
fn forgetful() -> [(Optimizer, &'static [&'static str]); 3] {
    let momentum = Optimizer::Momentum { lr: LR, momentum: 0.9, dampening: 0.0, weight_decay: 0.0 };
    let adam = Optimizer::Adam { lr: LR, betas: [0.8, 0.9], eps: 1e-8, weight_decay: 0.0 };
    let rmsprop =
        Optimizer::Rmsprop { lr: LR, alpha: 0.9, momentum: 0.0, centered: false, eps: 1e-8, weight_decay: 0.0 };
    [(momentum, &["momentum_buffer"]), (adam, &["exp_avg", "exp_avg_sq"]), (rmsprop, &["square_avg"])]
}

/// The engine beside the literal optimizer, both from these weights, over gradients that `of` gives for each step.
fn beside_literal<'a>(
    optimizer: &Optimizer,
    start: &[f64],
    steps: i32,
    of: impl Fn(i32) -> &'a [f64],
) -> (Runner<f32>, Vec<Literal>) {
    let case = Case { name: "literal", optimizer: optimizer.clone(), clip_norm: None, clip_value: None };
    let mut runner = Runner::<f32>::new(&case, start, true, 1);
    let mut literal: Vec<Literal> = start.iter().map(|&w| Literal { weight: w as f32, states: [0.0; 2] }).collect();
    for step in 0..steps {
        let gradients = of(step);
        runner.step_at(LR, gradients);
        literal.iter_mut().zip(gradients).for_each(|(element, &g)| element.step(optimizer, step + 1, g as f32));
    }
    (runner, literal)
}

fn weights_are_the_same(runner: &mut Runner<f32>, literal: &[Literal]) {
    for (i, (found, expected)) in runner.params().iter().zip(literal.iter().cycle()).enumerate() {
        assert_eq!(*found as f32, expected.weight, "{:?}, element {i}", runner.optimizer);
    }
}

#[test]
fn states_without_gradients_vanish_and_weights_do_not_feel_it() {
    let goldens = Goldens::load();
    let (start, gradients) = (&goldens.rows("start")[0], goldens.rows("gradients"));
    for (optimizer, names) in forgetful() {
        let none = vec![0.0; PATTERN];
        let of = |step: i32| gradients.get(step as usize).unwrap_or(&none).as_slice();
        let (mut runner, literal) = beside_literal(&optimizer, start, 2000, of);
        weights_are_the_same(&mut runner, &literal);
        for (k, name) in names.iter().enumerate() {
            assert!(runner.kind(name).iter().all(|&x| x == 0.0), "{name} of {optimizer:?}");
            let left = literal.iter().filter(|element| element.states[k] != 0.0).count();
            assert!(left > PATTERN / 2, "{name} of {optimizer:?}: {left} would be left, so that nothing is shown here");
        }
    }
}

#[test]
fn gradients_of_4e_20_move_weights_and_those_of_1e_35_have_a_norm() {
    let gradients = Goldens::load().rows("gradients");
    for (optimizer, names) in forgetful() {
        for (size, is_felt) in [(4e-20, true), (1e-35, false)] {
            let tiny: Vec<Vec<f64>> =
                gradients.iter().map(|row| row.iter().map(|g| f64::from((g * size) as f32)).collect()).collect();
            // Weights of 0 feel any step.
            let (mut runner, literal) = beside_literal(&optimizer, &[0.0; PATTERN], 3, |step| &tiny[step as usize]);
            let moved = runner.params().iter().filter(|&&w| w != 0.0).count();
            assert_eq!(moved > 0, is_felt, "{size:e}, {optimizer:?}: {moved} weights");
            assert!(runner.kind(names[0]).iter().all(|&x| is_felt || x == 0.0), "{size:e}, {optimizer:?}");
            if is_felt && !matches!(optimizer, Optimizer::Rmsprop { .. }) {
                let first: Vec<f64> = literal.iter().map(|element| f64::from(element.states[0])).collect();
                assert_eq!(runner.kind(names[0])[..PATTERN], first[..], "{optimizer:?}");
            }
            let row = runner.read("table", 2 * RECORD).split_off(RECORD);
            let found = row[SQUARES].sqrt() / scale_of(row[MAX] as f32) as f64;
            let own: Vec<f64> = tiny[2].iter().cycle().take(LENGTHS[0]).copied().collect();
            let norm = own.iter().map(|g| (g / size) * (g / size)).sum::<f64>().sqrt() * size;
            assert!((found / norm - 1.0).abs() < 1e-5, "{size:e}, {optimizer:?}: {found:e}, expected {norm:e}");
        }
    }
}

//! A training engine that shows what gradients do: every step comes with the norm of each layer's gradient, the size of
//! the signal that is propagated back to it, and how far its weights moved.
//!
//! A model, its loss, its backward pass, its optimizer and every statistic are nodes of one static [`graph`]. The graph is
//! type-checked, differentiated ([`autodiff`]: graph in, graph out), fused and given buffers once, which makes a [`plan`]: a
//! flat list of steps. Executors ([`exec`]) replay plans, on a GPU through wgpu or on a CPU in f32 or f64. The statistics of
//! a step are computed where the step is, in the passes that it makes anyway, and come back as one small table.
//!
//! # A model, some steps, its gradients
//!
//! ```
//! use steepest::config::Config;
//! use steepest::nn::Model;
//! use steepest::run::{Setup, Trainer, load, open_device};
//!
//! let mut config = Config::builtin_digits();
//! config.model = Model::new().linear(32).sigmoid().linear(32).relu().linear(10).into();
//! config.device.device = "cpu".into();
//! let device = open_device(&config)?;
//! let setup = Setup {
//!     splits: load(&config)?,
//!     executor: device.executor,
//!     threads: device.threads,
//!     objective: None,
//! };
//! let mut trainer = Trainer::new(&config, setup)?;
//! for _ in 0..5 {
//!     let step = trainer.step()?;
//!     println!("step {}: loss {:.3}", step.step, step.values.scalar("loss"));
//! }
//! let values = trainer.step()?.values.clone();
//! let (norms, signals) = (values.get("layer_grad_norm"), values.get("signal"));
//! for ((layer, norm), signal) in trainer.layers().iter().zip(norms).zip(signals) {
//!     println!("{} {}: gradient {norm:.2e}, signal {signal:.2e}", layer.name, layer.kind);
//! }
//! assert!(norms.len() == 3 && norms.iter().chain(signals).all(|&x| x > 0.0));
//! # Ok::<(), steepest::base::Error>(())
//! ```
//!
//! [`probe`] lists all quantities. [`run::train`] does the whole of it from a config, and leaves a run folder.
//!
//! # A loss of one's own
//!
//! A loss is a function that writes graph nodes: from the model's output and the targets to one number for each example. Its
//! derivative follows.
//!
//! ```
//! use steepest::config::Config;
//! use steepest::nn::TargetValues;
//! use steepest::run::{Objective, Setup, Trainer, load, open_device};
//!
//! // Σ √(1 + (y − t)²) − 1 over the outputs: squares near 0, absolute values far from it.
//! let rounded = Objective::Custom(Box::new(|g, output, targets| {
//!     let target = match *targets {
//!         TargetValues::Index(labels) => g.one_hot(labels, 10)?,
//!         TargetValues::Real(values) => values,
//!     };
//!     let error = g.sub(output, target)?;
//!     let square = g.mul(error, error)?;
//!     let above = g.add_scalar(square, 1.0)?;
//!     let root = g.sqrt(above)?;
//!     let each = g.add_scalar(root, -1.0)?;
//!     let sum = g.sum_axes(each, &[1])?;
//!     let rows = g.shape(output).dim(0);
//!     g.reshape(sum, [rows])
//! }));
//! let mut config = Config::builtin_digits();
//! config.device.device = "cpu".into();
//! let device = open_device(&config)?;
//! let setup = Setup {
//!     splits: load(&config)?,
//!     executor: device.executor,
//!     threads: device.threads,
//!     objective: Some(rounded),
//! };
//! let mut trainer = Trainer::new(&config, setup)?;
//! let first = trainer.step()?.values.scalar("loss");
//! for _ in 0..30 {
//!     trainer.step()?;
//! }
//! assert!(trainer.step()?.values.scalar("loss") < first);
//! # Ok::<(), steepest::base::Error>(())
//! ```
//!
//! # The graph by itself
//!
//! The lower floors work without the upper ones: here a layer x·σ(a·x) with a learned slope a, the derivative of its sum
//! with respect to a, and both on a CPU.
//!
//! ```
//! use std::sync::Arc;
//! use steepest::base::{Threads, Type};
//! use steepest::exec::{Cpu, Executor, Host, Submission};
//! use steepest::graph::{Graph, StepScalars};
//! use steepest::plan::{Place, compile};
//!
//! let mut g = Graph::new();
//! let x = g.input("x", Type::real([2]))?;
//! let a = g.param("a", [1])?;
//! let scaled = g.mul(a, x)?;
//! let gate = g.sigmoid(scaled)?;
//! let y = g.mul(x, gate)?;
//! let sum = g.sum(y)?;
//! let slope = steepest::autodiff::gradient(&mut g, sum, &[a])?[0];
//! let plan = compile("slope", &g, &[(slope, Place::whole("slope", g.ty(slope)))])?;
//!
//! let mut cpu = Cpu::<f64>::new(Arc::new(Threads::new(1)?), None);
//! let id = cpu.load(&plan)?;
//! let [x, a, slope] = ["x", "a", "slope"].map(|name| cpu.buffer(name).expect("the plan names it"));
//! cpu.submit(&Submission {
//!     uploads: &[(x, Host::F64(&[1.0, -2.0])), (a, Host::F64(&[0.5]))],
//!     plans: &[id],
//!     scalars: StepScalars::default(),
//!     readback: None,
//!     tag: 0,
//! })?;
//! let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
//! let expected = |x: f64| x * x * sigmoid(0.5 * x) * (1.0 - sigmoid(0.5 * x));
//! assert!((cpu.read(slope, 0, 1)?[0] - expected(1.0) - expected(-2.0)).abs() < 1e-14);
//! # Ok::<(), steepest::base::Error>(())
//! ```
//!
//! # The house, from the ground up
//!
//! A folder names only folders below its own; `tests/tidy` holds the table.
//!
//! | floor | what lives there |
//! |---|---|
//! | [`base`] | shapes, scalar types, seeded random streams, threads, the error type |
//! | [`graph`], [`ops`] | values, nodes, type-check; each op with its shape rule, derivative, CPU kernel and GPU dispatches |
//! | [`autodiff`] | reverse mode |
//! | [`plan`] | fusion, arenas, buffer lifetimes: graph to steps over numbered buffers |
//! | [`exec`] | executors; `exec/gpu` alone names wgpu |
//! | [`config`] | all settings, each defined once; knows [`base`] only |
//! | [`nn`] | models, initializers, losses |
//! | [`optim`] | optimizers and schedules |
//! | [`data`] | sources, preparation, batching, the loader; knows [`base`] only |
//! | [`probe`] | the quantities |
//! | [`verdict`] | what the readings say: faults with cause, evidence and remedy |
//! | [`run`] | trainer, step record, run folder: joins all of the above |
//! | [`study`] | many steps or runs with one question |
//! | [`view`] | text and pictures for people |
//! | [`cli`] | the command line |

pub mod autodiff;
pub mod base;
pub mod cli;
pub mod config;
pub mod data;
pub mod exec;
pub mod graph;
pub mod nn;
pub mod ops;
pub mod optim;
pub mod plan;
pub mod probe;
pub mod run;
pub mod study;
pub mod verdict;
pub mod view;

/// The examples of the README, run as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

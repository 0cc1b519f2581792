//! The exact gradients of chosen examples, in double precision unless a device is asked for.
//!
//! The loss is the mean of the rows' losses without class weights, and dropout drops nothing. A plan over all rows gives
//! loss, logits, parameter gradients and ∂L/∂z; single examples' gradients come from a plan over one row that is replayed
//! for each. Instruments stand on these: [`Moments`] with [`noise`] and [`partials`], [`worst`], [`conflicts`],
//! [`Inspector::input_gradients`]. None of them ever holds rows × parameters: what spans rows is a running sum, or one more
//! pass over the rows.

mod conflicts;
mod input;
mod moments;
mod noise;
mod partials;
mod worst;

pub use conflicts::{ClassConflict, Conflicts, LayerCosines, conflicts};
pub use input::InputGradients;
pub use moments::Moments;
pub use noise::{EARLY_STOPPING_EPSILON, LayerNoise, Noise, NoiseFigures, noise};
pub use partials::{LayerSnr, Partial, Partials, partials};
pub use worst::{Answer, RankedExample, worst};

use super::evaluator::{replay, target_inputs, upload};
use super::names;
use super::objective::Objective;
use super::tensors::{
    HostTensor, arena_of, arena_place, named, param_places, read, read_arena, read_params, write, write_params,
};
use super::weights::{NamedTensor, TensorData, write_tensors};
use super::{Device, load};
use crate::autodiff;
use crate::base::{Error, Result, Shape, Threads, Type};
use crate::config::{Config, Reduction};
use crate::data::{Dataset, RowSource};
use crate::exec::{Cpu, Executor, Host, PlanId};
use crate::graph::Graph;
use crate::nn::{Description, LayerInfo, Mode, Model, total};
use crate::plan::{Arena, Place, Plan, compile};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// A part of the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// What is trained on.
    #[default]
    Train,
    /// What training is judged by while it runs.
    Validation,
    /// What the result is judged by.
    Test,
}

impl Part {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// What was found at some rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Inspection {
    /// The mean of the rows' losses.
    pub loss: f64,
    /// The loss of each row.
    pub losses: Vec<f64>,
    /// The model's outputs [n, c].
    pub logits: HostTensor,
    /// The gradient of the loss with respect to each parameter, under the parameter's name.
    pub gradients: Vec<HostTensor>,
    /// The norm of the gradient of each row's own loss, over all parameters.
    pub example_grad_norm: Vec<f64>,
    /// ∂L/∂z [n, units] for each layer with parameters, called `0.z_grad`: z is what the layer gives before its activation,
    /// and L the mean, so a row of it is 1/n of the signal of that example.
    pub z_gradients: Vec<HostTensor>,
}

impl Inspection {
    /// Writes all of it, in double precision, as a safetensors file: gradients under the names of their parameters, `loss`,
    /// `losses`, `logits`, `example_grad_norm`, and `0.z_grad` for each tapped layer.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let list = |name: &str, shape: Vec<usize>, values: &[f64]| NamedTensor {
            name: name.into(),
            shape,
            data: TensorData::F64(values.to_vec()),
        };
        let n = self.losses.len();
        let mut tensors = vec![
            list("loss", vec![], &[self.loss]),
            list("losses", vec![n], &self.losses),
            list("example_grad_norm", vec![n], &self.example_grad_norm),
        ];
        let rest = std::iter::once(&self.logits).chain(&self.gradients).chain(&self.z_gradients);
        tensors.extend(rest.map(|tensor| named(tensor.clone())));
        write_tensors(path, &tensors, &[])
    }

    /// The norm of the whole gradient.
    pub fn grad_norm(&self) -> f64 {
        norm(self.gradients.iter().flat_map(|tensor| &tensor.values))
    }
}

/// √Σx².
pub(in crate::run) fn norm<'a>(values: impl IntoIterator<Item = &'a f64>) -> f64 {
    values.into_iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// The names of a plan's buffers: two plans of different row counts share nothing but the parameters.
struct Names {
    x: String,
    labels: String,
    values: String,
    weights: String,
    loss: String,
    losses: String,
    logits: String,
    gradients: String,
    z: Vec<String>,
}

impl Names {
    fn new(rows: usize) -> Self {
        let name = |what: &str| format!("inspect{rows}.{what}");
        Self {
            x: name("x"),
            labels: name("labels"),
            values: name("values"),
            weights: name("weights"),
            loss: name("loss"),
            losses: name("losses"),
            logits: name("logits"),
            gradients: name("gradients"),
            z: Vec::new(),
        }
    }
}

/// A plan over some rows.
struct RowsPlan {
    plan: PlanId,
    names: Names,
    z: Vec<(String, Shape)>,
    rows: usize,
}

/// A model at fixed weights on a device, to be differentiated at chosen rows.
pub struct Inspector {
    executor: Box<dyn Executor + Send>,
    threads: Option<Arc<Threads>>,
    model: Description,
    objective: Objective,
    reduction: Reduction,
    arena: Arena,
    data: Dataset,
    params: Vec<HostTensor>,
    seed: u64,
}

impl Inspector {
    /// Loads the data of a config and the weights of a file. Without a device it computes in double precision on the CPU.
    ///
    /// # Errors
    /// If data or weights are missing or do not fit the config.
    pub fn new(config: &Config, weights: &Path, part: Part, device: Option<Device>) -> Result<Self> {
        config.check()?;
        let splits = load(config)?;
        let data = match part {
            Part::Train => Some(splits.train),
            Part::Validation => splits.validation,
            Part::Test => splits.test,
        };
        let data = data.ok_or_else(|| Error::input("part", format!("the data has no {} part", part.word())))?;
        let model = Model::from(config.model.clone()).describe(data.sample_shape())?;
        let params = read_params(weights, &model)?;
        Self::of(config, data, params, device)
    }

    /// The model of a config with these weights, for these data. Without a device it computes in double precision on the CPU.
    ///
    /// # Errors
    /// If data or weights do not fit the config.
    pub fn of(config: &Config, data: Dataset, params: Vec<HostTensor>, device: Option<Device>) -> Result<Self> {
        let model = Model::from(config.model.clone()).describe(data.sample_shape())?;
        let shapes = |found: &[HostTensor]| found.iter().map(|p| (p.name.clone(), p.shape)).collect::<Vec<_>>();
        if shapes(&params) != model.params.iter().map(|p| (p.name.clone(), p.shape)).collect::<Vec<_>>() {
            return Err(Error::input("weights", "they are not those of the config's model"));
        }
        let objective = Objective::of(config, data.target_kind(), model.output)?;
        let (executor, threads) = match device {
            Some(device) => (device.executor, device.threads),
            None => {
                let threads = Arc::new(Threads::new(config.device.threads.unwrap_or(0))?);
                let cpu: Box<dyn Executor + Send> = Box::new(Cpu::<f64>::new(threads.clone(), None));
                (cpu, Some(threads))
            }
        };
        let arena = arena_of(&model, executor.info().binding_len_max)?;
        let (reduction, seed) = (config.loss.reduction, config.train.seed);
        Ok(Self { executor, threads, model, objective, reduction, arena, data, params, seed })
    }

    /// The seed of the run: choices of a check follow from it.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The weights.
    pub fn params(&self) -> &[HostTensor] {
        &self.params
    }

    /// The executor.
    pub fn executor(&self) -> &(dyn Executor + Send) {
        self.executor.as_ref()
    }

    /// The examples.
    pub fn data(&self) -> &Dataset {
        &self.data
    }

    /// The layers with parameters, first layer first, each with the places of its tensors in [`Inspector::params`].
    pub fn layers(&self) -> impl Iterator<Item = &LayerInfo> {
        self.model.layers.iter().filter(|layer| !layer.params.is_empty())
    }

    /// Loss, outputs and gradients at these rows.
    ///
    /// # Errors
    /// If a row is none of the part's, or the device fails.
    pub fn inspect(&mut self, rows: Range<usize>) -> Result<Inspection> {
        let chosen = self.rows(rows.clone())?;
        let mut inspection = self.within(|this| {
            let all = this.load(chosen.len())?;
            write_params(this.executor.as_mut(), &this.arena, &this.params)?;
            this.all(&all, &chosen)
        })?;
        self.each(rows, |_, gradients| {
            inspection.example_grad_norm.push(norm(gradients.iter().flat_map(|tensor| &tensor.values)));
            Ok(())
        })?;
        Ok(inspection)
    }

    /// Calls `visit` for each of these rows in turn, with its number and the gradient of its own loss with respect to each
    /// parameter, in the order of [`Inspector::params`].
    ///
    /// # Errors
    /// If a row is none of the part's, the device fails, or `visit` does.
    pub fn each(
        &mut self,
        rows: Range<usize>,
        mut visit: impl FnMut(usize, &[HostTensor]) -> Result<()> + Send,
    ) -> Result<()> {
        let rows = self.rows(rows)?;
        self.within(|this| {
            let single = this.load(1)?;
            write_params(this.executor.as_mut(), &this.arena, &this.params)?;
            for row in rows {
                this.replay(&single, &[row], &[1.0])?;
                visit(row as usize, &read_arena(this.executor.as_mut(), &this.arena, &single.names.gradients)?)?;
            }
            Ok(())
        })
    }

    /// The gradient of the mean loss of any rows, in batches of the plan's.
    fn mean_gradient(&mut self, plan: &RowsPlan, rows: &[u32]) -> Result<Vec<HostTensor>> {
        let mut sums: Vec<HostTensor> = Vec::new();
        for chunk in rows.chunks(plan.rows) {
            // A short batch is filled up with rows that it has, whose share of the loss is 0.
            let batch: Vec<u32> = (0..plan.rows).map(|i| chunk[i % chunk.len()]).collect();
            let share = 1.0 / rows.len() as f64;
            let weights: Vec<f64> = (0..plan.rows).map(|i| if i < chunk.len() { share } else { 0.0 }).collect();
            self.replay(plan, &batch, &weights)?;
            let gradients = read_arena(self.executor.as_mut(), &self.arena, &plan.names.gradients)?;
            if sums.is_empty() {
                sums = gradients;
            } else {
                for (sum, gradient) in sums.iter_mut().zip(&gradients) {
                    sum.values.iter_mut().zip(&gradient.values).for_each(|(sum, g)| *sum += g);
                }
            }
        }
        Ok(sums)
    }

    /// The rows, checked.
    fn rows(&self, rows: Range<usize>) -> Result<Vec<u32>> {
        if rows.is_empty() || rows.end > self.data.len() {
            let message =
                format!("{}..{} of {}, which has {} rows", rows.start, rows.end, self.data.name(), self.data.len());
            return Err(Error::input("rows", message).help("the first row is 0, and the end is excluded"));
        }
        Ok(rows.map(|row| row as u32).collect())
    }

    fn within<T: Send>(&mut self, f: impl FnOnce(&mut Self) -> T + Send) -> T {
        match self.threads.clone() {
            Some(threads) => threads.install(|| f(self)),
            None => f(self),
        }
    }

    /// Makes and loads the plan over `rows` rows.
    fn load(&mut self, rows: usize) -> Result<RowsPlan> {
        let mut names = Names::new(rows);
        let (plan, z) = self.plan(&mut names, rows)?;
        Ok(RowsPlan { plan: self.executor.load(&plan)?, names, z, rows })
    }

    fn plan(&self, names: &mut Names, rows: usize) -> Result<(Plan, Vec<(String, Shape)>)> {
        let mut g = Graph::new();
        let x = g.input(&names.x, Type::real([rows, self.model.input]))?;
        let targets = target_inputs(&mut g, self.data.target_kind(), rows, &names.labels, &names.values)?;
        let weights = g.input(&names.weights, Type::real([rows]))?;
        let built = self.model.build(&mut g, x, Mode::Evaluate)?;
        let losses = self.objective.per_example(&mut g, built.output, &targets, self.reduction)?;
        let loss = total(&mut g, losses, weights)?;
        let mut wanted = Vec::new();
        for param in &self.model.params {
            wanted.push(g.param(&param.name, param.shape)?);
        }
        wanted.extend(built.taps.iter().map(|tap| tap.z));
        let gradients = autodiff::gradient(&mut g, loss, &wanted)?;
        let (by_param, by_z) = gradients.split_at(self.model.params.len());
        let mut places = param_places(&g, &self.arena);
        for (param, &gradient) in self.model.params.iter().zip(by_param) {
            places.push((gradient, arena_place(&self.arena, &names.gradients, &param.name)));
        }
        let mut z = Vec::new();
        for (tap, &gradient) in built.taps.iter().zip(by_z) {
            let buffer = format!("{}.{}.z", names.gradients, tap.name);
            places.push((gradient, Place::whole(&buffer, g.ty(gradient))));
            names.z.push(buffer);
            z.push((format!("{}.z_grad", tap.name), g.shape(gradient)));
        }
        for (value, name) in [(loss, &names.loss), (losses, &names.losses), (built.output, &names.logits)] {
            places.push((value, Place::whole(name, g.ty(value))));
        }
        Ok((compile("inspect", &g, &places)?, z))
    }

    /// Uploads rows, each with its share of the loss, and replays.
    fn replay(&mut self, plan: &RowsPlan, rows: &[u32], shares: &[f64]) -> Result<()> {
        let executor = self.executor.as_mut();
        let RowsPlan { names, .. } = plan;
        upload(executor, &self.data, rows, [&names.x, &names.labels, &names.values])?;
        write(executor, &names.weights, 0, Host::F64(shares))?;
        replay(executor, plan.plan, plan.rows)
    }

    fn all(&mut self, plan: &RowsPlan, rows: &[u32]) -> Result<Inspection> {
        let (n, width) = (rows.len(), self.model.output);
        self.replay(plan, rows, &vec![1.0 / n as f64; n])?;
        let executor = self.executor.as_mut();
        let gradients = read_arena(executor, &self.arena, &plan.names.gradients)?;
        let mut z_gradients = Vec::new();
        for (buffer, (name, shape)) in plan.names.z.iter().zip(&plan.z) {
            let values = read(executor, buffer, 0, shape.len())?;
            z_gradients.push(HostTensor { name: name.clone(), shape: *shape, values });
        }
        let logits = read(executor, &plan.names.logits, 0, n * width)?;
        Ok(Inspection {
            loss: read(executor, &plan.names.loss, 0, 1)?[0],
            losses: read(executor, &plan.names.losses, 0, n)?,
            logits: HostTensor { name: "logits".into(), shape: Shape::from([n, width]), values: logits },
            gradients,
            example_grad_norm: Vec::with_capacity(n),
            z_gradients,
        })
    }

    /// Calls `f` with the loss as a function of single weights: tensor, element and value to the mean loss of these rows.
    /// Whatever `f` sets is put back by it or not at all: the weights on the device are written anew before an inspection.
    pub(in crate::run) fn with_loss<T: Send>(
        &mut self,
        rows: Range<usize>,
        f: impl FnOnce(&mut dyn FnMut(usize, usize, f64) -> Result<f64>) -> Result<T> + Send,
    ) -> Result<T> {
        let rows = self.rows(rows)?;
        self.within(|this| {
            let names = Names::new(rows.len());
            let plan = this.forward(&names, rows.len())?;
            write_params(this.executor.as_mut(), &this.arena, &this.params)?;
            upload(this.executor.as_mut(), &this.data, &rows, [&names.x, &names.labels, &names.values])?;
            let (executor, arena) = (this.executor.as_mut(), &this.arena);
            f(&mut |tensor, element, value| {
                let place = &arena.tensors[tensor];
                let buffer = Arena::buffer(names::PARAMS, place.part);
                write(executor, &buffer, place.offset + element, Host::F64(&[value]))?;
                replay(executor, plan, rows.len())?;
                let losses = read(executor, &names.losses, 0, rows.len())?;
                Ok(losses.iter().sum::<f64>() / rows.len() as f64)
            })
        })
    }

    /// The losses alone: no gradient is computed.
    fn forward(&mut self, names: &Names, rows: usize) -> Result<PlanId> {
        let mut g = Graph::new();
        let x = g.input(&names.x, Type::real([rows, self.model.input]))?;
        let targets = target_inputs(&mut g, self.data.target_kind(), rows, &names.labels, &names.values)?;
        let built = self.model.build(&mut g, x, Mode::Evaluate)?;
        let losses = self.objective.per_example(&mut g, built.output, &targets, self.reduction)?;
        let mut places = param_places(&g, &self.arena);
        places.push((losses, Place::whole(&names.losses, g.ty(losses))));
        self.executor.load(&compile("forward", &g, &places)?)
    }
}

/// Loss, outputs and gradients of a config's model at the weights of a file, for some rows of a part of its data, in double
/// precision on the CPU.
///
/// # Errors
/// If data, weights or rows do not fit the config.
pub fn inspect(config: &Config, weights: &Path, rows: Range<usize>, part: Part) -> Result<Inspection> {
    Inspector::new(config, weights, part, None)?.inspect(rows)
}

//! The matrix products of a run, one by one on a GPU: checked against the CPU and timed, in each way that there is.

use super::choices::ChoicesKey;
use super::device::{open_device, open_gpu};
use super::load::load;
use super::trainer::{Setup, Trainer};
use crate::base::{Error, Result, Stream, StreamId, Threads, Type};
use crate::config::Config;
use crate::exec::{BufferId, Cpu, DeviceInfo, Executor, Gpu, Host, PlanId, Submission};
use crate::graph::{Op, Phase, StepScalars, Target, Way};
use crate::ops::matmul::MatMul;
use crate::plan::{Buffer, Plan, Step, View};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// A matrix product, without what is fused to it.
#[derive(Clone, Debug)]
pub struct Product {
    op: MatMul,
    inputs: [Type; 2],
    output: Type,
    /// Orders of the factors, how many products, and rows × columns × terms.
    pub problem: String,
    /// In how many steps of the plans it stands.
    pub uses: usize,
    /// Floating-point operations.
    pub flops: f64,
    /// The kernels that the device can run and that may be worth it.
    pub candidates: Vec<String>,
    /// The one that the heuristic takes.
    pub table: String,
}

/// The products of a run on a GPU.
#[derive(Clone, Debug)]
pub struct Products {
    /// The device.
    pub device: DeviceInfo,
    /// What choices hold for; none on the CPU, which has one kernel.
    pub key: Option<ChoicesKey>,
    /// Each product once, in the order in which the plans have them; none on the CPU.
    pub all: Vec<Product>,
}

impl Products {
    /// The products of the run that a config describes, on the device that it asks for.
    ///
    /// # Errors
    /// If config, data or device do not fit.
    pub fn of(config: &Config) -> Result<Self> {
        let device = open_device(config)?;
        let setup =
            Setup { splits: load(config)?, executor: device.executor, threads: device.threads, objective: None };
        let trainer = Trainer::new(config, setup)?;
        let device = trainer.executor().info().clone();
        let Some((gpu, adapter)) = open_gpu(config)? else { return Ok(Self { device, key: None, all: Vec::new() }) };
        let mut all: Vec<Product> = Vec::new();
        for step in trainer.blueprint().plans().flat_map(|plan| &plan.steps) {
            let Some(product) = Product::of(step, gpu.target()) else { continue };
            match all.iter_mut().find(|known| known.problem == product.problem) {
                Some(known) => known.uses += 1,
                None => all.push(product),
            }
        }
        Ok(Self { device, key: Some(ChoicesKey::of(&adapter)), all })
    }
}

impl Product {
    fn of(step: &Step, target: &Target) -> Option<Self> {
        let fused = (step.op.as_ref() as &dyn std::any::Any).downcast_ref::<MatMul>()?;
        let op = MatMul { epilogue: None, ..fused.clone() };
        let (inputs, output) = ([step.inputs[0].ty, step.inputs[1].ty], step.outputs[0].ty);
        let ways = op.gpu(&inputs, &[output]).ways?;
        // Sums of a product that occupies any device are not cut.
        let occupies = |way: &Way| way.work.dispatches[0].workgroups.iter().product::<u32>() > WORKGROUPS_MAX;
        let worth = |way: &&Way| target.can(&way.needs) && (way.work.dispatches.len() == 1 || !occupies(way));
        let table = target.by_table(&ways).name.clone();
        let candidates = ways.all.iter().filter(|way| worth(way) || way.name == table);
        let candidates = candidates.map(|way| way.name.clone()).collect();
        Some(Self { op, inputs, output, problem: ways.problem, uses: 1, flops: ways.flops, candidates, table })
    }

    /// A plan that makes this product alone: `a`, `b` to `c`.
    fn plan(&self) -> Plan {
        let types = [self.inputs[0], self.inputs[1], self.output];
        let buffer = |(name, ty): (&str, &Type)| Buffer {
            name: name.to_owned(),
            dtype: ty.dtype,
            len: ty.shape.len(),
            shared: true,
            lifetime: (0, 0),
        };
        let view = |buffer: usize| View { buffer, offset: 0, ty: types[buffer] };
        let step = Step {
            op: Arc::new(self.op.clone()),
            inputs: vec![view(0), view(1)],
            outputs: vec![view(2)],
            scope: "product".into(),
            phase: Phase::default(),
        };
        Plan {
            name: "product".into(),
            buffers: NAMES.iter().copied().zip(&types).map(buffer).collect(),
            steps: vec![step],
        }
    }
}

/// Workgroups of sums in parts beyond which more parts are of no use.
const WORKGROUPS_MAX: u32 = 1024;

/// The buffers of a product.
const NAMES: [&str; 3] = ["a", "b", "c"];

/// Time that a measurement takes at least, in seconds, and products in it at most.
const MEASURED_MIN: f64 = 0.002;
const PRODUCTS_MAX: usize = 64;

/// What no product of numbers below 1 in size is: it fills C before each check, so that old results do not pass.
const POISON: f32 = 1e30;

/// A product on a GPU.
pub struct Workbench {
    gpu: Gpu,
    product: Product,
    /// What the CPU says in f64, and how far a result may lie from it.
    values: Vec<f64>,
    bounds: Vec<f64>,
    /// Each way as it was loaded, with how many products a measurement takes.
    loaded: BTreeMap<String, (PlanId, usize)>,
}

impl Workbench {
    /// Brings a product to the GPU that a config asks for, where nothing else is.
    ///
    /// # Errors
    /// If there is no room, or the device fails.
    pub fn open(config: &Config, product: Product, threads: &Arc<Threads>) -> Result<Self> {
        let Some((gpu, _)) = open_gpu(config)? else { return Err(Error::failure("device", "the GPU is gone")) };
        let mut stream = Stream::new(0, StreamId::Sample(0));
        let factors =
            product.inputs.map(|ty| (0..ty.shape.len()).map(|_| 2.0 * stream.uniform() as f32 - 1.0).collect());
        let magnitudes = factors.clone().map(|xs: Vec<f32>| xs.iter().map(|x| x.abs()).collect());
        let values = on_cpu(&product, &factors, threads)?;
        // |error| ≤ (2 + k)·u·Σ|a·b|, whatever the order of addition (Higham 2002, §3.1), and u = 2⁻²⁴ in f32.
        let share = (2.0 + terms(&product)) * f64::from(f32::EPSILON) / 2.0;
        let bounds = on_cpu(&product, &magnitudes, threads)?.into_iter().map(|x| share * x).collect();
        let mut bench = Self { gpu, product, values, bounds, loaded: BTreeMap::new() };
        let first = bench.product.table.clone();
        bench.load(&first)?;
        for (name, numbers) in NAMES.iter().zip(&factors) {
            let buffer = bench.buffer(name);
            bench.gpu.write(buffer, 0, Host::F32(numbers))?;
        }
        Ok(bench)
    }

    fn buffer(&self, name: &str) -> BufferId {
        self.gpu.buffer(name).expect("a plan has named it")
    }

    fn load(&mut self, way: &str) -> Result<(PlanId, usize)> {
        if let Some(known) = self.loaded.get(way) {
            return Ok(*known);
        }
        self.gpu.choose([(self.product.problem.clone(), way.to_owned())].into());
        let plan = (self.gpu.load(&self.product.plan())?, 1);
        self.loaded.insert(way.to_owned(), plan);
        Ok(plan)
    }

    /// Seconds that the plan takes for so many products.
    fn run(&mut self, plan: PlanId, products: usize) -> Result<f64> {
        let plans = [plan; PRODUCTS_MAX];
        let scalars = StepScalars::default();
        let submission = Submission { uploads: &[], plans: &plans[..products], scalars, readback: None, tag: 0 };
        let start = Instant::now();
        self.gpu.submit(&submission)?;
        self.gpu.finish()?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Makes the product in this way and says what is wrong with it, if anything.
    ///
    /// # Errors
    /// If the kernel does not compile, or the device fails.
    pub fn check(&mut self, way: &str) -> Result<Option<String>> {
        let (plan, _) = self.load(way)?;
        let (c, len) = (self.buffer("c"), self.values.len());
        self.gpu.write(c, 0, Host::F32(&vec![POISON; len]))?;
        self.run(plan, 1)?;
        let found = self.gpu.read(c, 0, len)?;
        Ok(outside(&self.values, &self.bounds, &found))
    }

    /// Seconds that a product takes in this way.
    ///
    /// # Errors
    /// If the device fails.
    pub fn time(&mut self, way: &str) -> Result<f64> {
        let (plan, mut products) = self.load(way)?;
        loop {
            let seconds = self.run(plan, products)?;
            if seconds >= MEASURED_MIN || products == PRODUCTS_MAX {
                self.loaded.insert(way.to_owned(), (plan, products));
                return Ok(seconds / products as f64);
            }
            let more = (1.2 * MEASURED_MIN / seconds.max(1e-9) * products as f64).ceil() as usize;
            products = more.clamp(products + 1, PRODUCTS_MAX);
        }
    }
}

/// Terms of each sum.
fn terms(product: &Product) -> f64 {
    let [a, b] = product.inputs;
    product.op.extents(a.shape, b.shape).map_or(0.0, |e| e.k as f64)
}

/// The product in f64.
fn on_cpu(product: &Product, factors: &[Vec<f32>; 2], threads: &Arc<Threads>) -> Result<Vec<f64>> {
    let mut cpu = Cpu::<f64>::new(threads.clone(), None);
    let plan = cpu.load(&product.plan())?;
    let buffer = |cpu: &Cpu<f64>, name| cpu.buffer(name).expect("a plan has named it");
    for (name, numbers) in NAMES.iter().zip(factors) {
        let buffer = buffer(&cpu, name);
        cpu.write(buffer, 0, Host::F32(numbers))?;
    }
    let scalars = StepScalars::default();
    cpu.submit(&Submission { uploads: &[], plans: &[plan], scalars, readback: None, tag: 0 })?;
    let c = buffer(&cpu, NAMES[2]);
    cpu.read(c, 0, product.output.shape.len())
}

/// The first number that lies outside of its bound.
fn outside(values: &[f64], bounds: &[f64], found: &[f64]) -> Option<String> {
    // A comparison with NaN is false.
    let is_right = |i: usize| (found[i] - values[i]).abs() <= bounds[i];
    let at = (0..values.len()).find(|&i| !is_right(i))?;
    Some(format!("element {at} is {:e} where {:e} is right within {:e}", found[at], values[at], bounds[at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_outside_of_their_bounds_are_found() {
        let (values, bounds) = ([1.0, -2.0, 0.0], [1e-6, 1e-6, 0.0]);
        assert_eq!(outside(&values, &bounds, &[1.0 + 9e-7, -2.0, 0.0]), None);
        for wrong in [[1.0 + 2e-6, -2.0, 0.0], [1.0, 2.0, 0.0], [1.0, -2.0, 1e-30], [1.0, f64::NAN, 0.0]] {
            assert!(outside(&values, &bounds, &wrong).unwrap().starts_with("element"), "{wrong:?}");
        }
    }
}

//! Runs graphs on any executor: the same table of cases serves all of them.

use super::case::{Case, Data, Magnitude};
use std::sync::Arc;
use steepest::autodiff::gradient;
use steepest::base::{DType, Result, Threads, Type};
use steepest::exec::{BufferId, Cpu, Executor, Host, PlanId, Submission};
use steepest::graph::{Graph, Precision, Source, StepScalars, ValueId};
use steepest::plan::{Place, Plan, compile};

/// Whether the compiler may fuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fusion {
    Full,
    /// Every value of the graph is wanted, so each node is a step of its own.
    None,
}

/// A CPU executor with this many threads.
pub fn cpu<R: Precision>(threads: usize) -> Cpu<R> {
    Cpu::new(Arc::new(Threads::new(threads).expect("threads")), None)
}

/// The unit roundoff and the largest number of an executor.
pub fn precision(executor: &dyn Executor) -> (f64, f64) {
    match executor.info().precision.as_str() {
        "f64" => (f64::EPSILON / 2.0, f64::MAX),
        _ => (f64::from(f32::EPSILON) / 2.0, f64::from(f32::MAX)),
    }
}

/// A graph on an executor, ready to be run again and again on other numbers.
pub struct Loaded<'e> {
    executor: &'e mut dyn Executor,
    plan: PlanId,
    inputs: Vec<Option<BufferId>>,
    outputs: Vec<(BufferId, usize)>,
    step: StepScalars,
}

impl<'e> Loaded<'e> {
    /// Compiles and loads. `tag` keeps the buffers of different graphs apart.
    pub fn new(
        executor: &'e mut dyn Executor,
        tag: &str,
        graph: &Graph,
        outputs: &[ValueId],
        fusion: Fusion,
        step: StepScalars,
    ) -> Result<Self> {
        let (plan, names) = plan_for(tag, graph, outputs, fusion)?;
        let id = executor.load(&plan)?;
        let inputs = graph.inputs().map(|(name, _)| executor.buffer(&format!("{tag}.{name}"))).collect();
        let named = names.iter().zip(outputs);
        let outputs =
            named.map(|(name, &id)| (executor.buffer(name).expect("a placed value"), graph.shape(id).len())).collect();
        Ok(Self { executor, plan: id, inputs, outputs, step })
    }

    /// Writes the inputs in the order of the graph, replays the plan and reads the outputs.
    pub fn run(&mut self, inputs: &[Data]) -> Result<Vec<Vec<f64>>> {
        assert_eq!(inputs.len(), self.inputs.len(), "one array for each input of the graph");
        for (buffer, data) in self.inputs.iter().zip(inputs) {
            let Some(buffer) = *buffer else { continue };
            match data {
                Data::Real(data) => self.executor.write(buffer, 0, Host::F64(data))?,
                Data::Index(data) => self.executor.write(buffer, 0, Host::U32(data))?,
            }
        }
        let scalars = self.step;
        self.executor.submit(&Submission { uploads: &[], plans: &[self.plan], scalars, readback: None, tag: 0 })?;
        self.executor.finish()?;
        self.outputs.iter().map(|&(buffer, len)| self.executor.read(buffer, 0, len)).collect()
    }
}

/// The plan of a graph, and the name of the buffer that each output is found in.
pub fn plan_for(tag: &str, graph: &Graph, outputs: &[ValueId], fusion: Fusion) -> Result<(Plan, Vec<String>)> {
    let mut places: Vec<(ValueId, Place)> = Vec::new();
    let mut names = Vec::new();
    for (name, id) in graph.inputs() {
        places.push((id, Place::whole(format!("{tag}.{name}"), graph.ty(id))));
    }
    for (i, &id) in outputs.iter().enumerate() {
        match input_behind(graph, id) {
            Some(input) => names.push(format!("{tag}.{input}")),
            None => {
                names.push(format!("{tag}.out{i}"));
                places.push((id, Place::whole(format!("{tag}.out{i}"), graph.ty(id))));
            }
        }
    }
    if fusion == Fusion::None {
        for node in graph.nodes() {
            for &id in node.outputs.iter().filter(|id| !outputs.contains(id) && input_behind(graph, **id).is_none()) {
                places.push((id, Place::whole(format!("{tag}.%{}", id.index()), graph.ty(id))));
            }
        }
    }
    Ok((compile(tag, graph, &places)?, names))
}

/// The input whose buffer holds a value: itself, or what ops updated in place.
fn input_behind(graph: &Graph, id: ValueId) -> Option<&str> {
    match &graph.value(id).source {
        Source::Input(name) => Some(name),
        Source::Node(node, output) => {
            let node = &graph.nodes()[node.index()];
            let &(_, input) = node.op.in_place().iter().find(|(o, _)| o == output)?;
            input_behind(graph, node.inputs[input])
        }
        _ => None,
    }
}

/// The graph of a case, and what it is differentiated to.
pub struct Built {
    pub graph: Graph,
    /// The case's inputs, then the cotangent, then the directions: in the order of the graph.
    pub inputs: Vec<ValueId>,
    pub out: ValueId,
    /// ⟨out, cotangent⟩.
    pub loss: ValueId,
    /// ∂loss/∂input for each real input.
    pub grads: Vec<ValueId>,
    /// ⟨grads, directions⟩.
    pub slope: ValueId,
    /// ∂slope/∂input for each real input: the Hessian times the directions.
    pub seconds: Vec<ValueId>,
}

/// The value alone: graph, inputs, output.
pub fn build_value(case: &Case) -> Result<(Graph, Vec<ValueId>, ValueId)> {
    let mut graph = Graph::new();
    graph.set_scope(&case.name);
    let inputs = case.inputs.iter().enumerate().map(|(i, input)| graph.input(&format!("in{i}"), input.ty));
    let inputs = inputs.collect::<Result<Vec<ValueId>>>()?;
    let out = (case.build)(&mut graph, &inputs)?;
    Ok((graph, inputs, out))
}

/// The value, and derivatives up to the case's order.
pub fn build(case: &Case) -> Result<Built> {
    let (graph, inputs, out) = build_value(case)?;
    differentiate(case, graph, inputs, out)
}

/// Derivatives of a graph that computes what a case computes, up to the case's order.
pub fn differentiate(case: &Case, mut graph: Graph, mut inputs: Vec<ValueId>, out: ValueId) -> Result<Built> {
    let reals: Vec<ValueId> = case.reals().iter().map(|&i| inputs[i]).collect();
    let (mut loss, mut grads, mut slope, mut seconds) = (out, vec![], out, vec![]);
    if case.order >= 1 {
        let cotangent = graph.input("cotangent", graph.ty(out))?;
        inputs.push(cotangent);
        loss = dot(&mut graph, &[out], &[cotangent])?;
        grads = gradient(&mut graph, loss, &reals)?;
    }
    if case.order >= 2 {
        let directions = reals.iter().enumerate().map(|(i, &x)| graph.input(&format!("direction{i}"), graph.ty(x)));
        let directions = directions.collect::<Result<Vec<ValueId>>>()?;
        inputs.extend(&directions);
        slope = dot(&mut graph, &grads, &directions)?;
        seconds = gradient(&mut graph, slope, &reals)?;
    }
    Ok(Built { graph, inputs, out, loss, grads, slope, seconds })
}

/// The same graph with every op that has a composition replaced by it.
pub fn expand_compositions(graph: &Graph, out: ValueId) -> Result<(Graph, Vec<ValueId>, ValueId)> {
    let mut fresh = Graph::new();
    let mut map = std::collections::HashMap::new();
    for (i, value) in graph.values().iter().enumerate() {
        let copy = match &value.source {
            Source::Input(name) => fresh.input(name, value.ty)?,
            Source::Param(name) => fresh.param(name, value.ty.shape)?,
            Source::Constant(x) => fresh.constant(*x),
            Source::Node(..) => continue,
        };
        map.insert(i, copy);
    }
    for node in graph.nodes() {
        let inputs: Vec<ValueId> = node.inputs.iter().map(|id| map[&id.index()]).collect();
        let outputs = match node.op.composition(&mut fresh, &inputs) {
            Some(composition) => vec![composition?],
            None => fresh.apply_shared(node.op.clone(), &inputs)?,
        };
        map.extend(node.outputs.iter().map(|id| id.index()).zip(outputs));
    }
    let inputs = graph.inputs().map(|(_, id)| map[&id.index()]).collect();
    Ok((fresh, inputs, map[&out.index()]))
}

/// Σ ⟨a, b⟩ over pairs.
pub fn dot(graph: &mut Graph, a: &[ValueId], b: &[ValueId]) -> Result<ValueId> {
    let mut total = graph.constant(0.0);
    for (&a, &b) in a.iter().zip(b) {
        let product = graph.mul(a, b)?;
        let sum = graph.sum(product)?;
        total = graph.add(total, sum)?;
    }
    Ok(total)
}

/// The output of a case on an executor.
pub fn run_case(executor: &mut dyn Executor, case: &Case, inputs: &[Data], fusion: Fusion) -> Result<Vec<f64>> {
    let (graph, _, out) = build_value(case)?;
    let tag = format!("{}.{fusion:?}", case.name);
    let mut loaded = Loaded::new(executor, &tag, &graph, &[out], fusion, case.step)?;
    Ok(loaded.run(inputs)?.remove(0))
}

/// The output and all derivatives of a case on an executor, in the order out, grads, seconds.
pub fn run_derivatives(
    executor: &mut dyn Executor,
    case: &Case,
    inputs: &[Data],
    fusion: Fusion,
) -> Result<Vec<Vec<f64>>> {
    run_built(executor, case, build(case)?, inputs, fusion)
}

/// The same for a graph that was built already.
pub fn run_built(
    executor: &mut dyn Executor,
    case: &Case,
    built: Built,
    inputs: &[Data],
    fusion: Fusion,
) -> Result<Vec<Vec<f64>>> {
    let outputs: Vec<ValueId> = [built.out].into_iter().chain(built.grads).chain(built.seconds).collect();
    let tag = format!("{}.{fusion:?}.derivatives", case.name);
    Loaded::new(executor, &tag, &built.graph, &outputs, fusion, case.step)?.run(inputs)
}

/// c·n·u·magnitude for each element of a case's output, evaluated in f64, for unit roundoff `u`; and at least the
/// smallest normal number, since below it results may be rounded to zero.
pub fn tolerance(case: &Case, inputs: &[Data], expected: &[f64], u: f64) -> Result<Vec<f64>> {
    let mut oracle = cpu::<f64>(1);
    let magnitude = match &case.bound.magnitude {
        Magnitude::Value => expected.to_vec(),
        Magnitude::Absolutes => run_case(&mut oracle, case, &absolutes(inputs), Fusion::Full)?,
        Magnitude::Of(of) => {
            let mut graph = Graph::new();
            let ids = case.inputs.iter().enumerate().map(|(i, input)| graph.input(&format!("in{i}"), input.ty));
            let ids = ids.collect::<Result<Vec<ValueId>>>()?;
            let size = of(&mut graph, &ids)?;
            let size = graph.abs(size)?;
            let size = graph.expand(size, case.shape)?;
            Loaded::new(&mut oracle, "magnitude", &graph, &[size], Fusion::Full, case.step)?.run(inputs)?.remove(0)
        }
    };
    let smallest = f64::from(f32::MIN_POSITIVE);
    let factor = case.bound.c * case.bound.n as f64 * u;
    // Where the magnitude overflows, the expected number is no finite one or the bound is void: the comparator says so.
    Ok(magnitude.iter().map(|m| factor * m.abs() + smallest * f64::from(u8::from(u > 1e-10))).collect())
}

fn absolutes(inputs: &[Data]) -> Vec<Data> {
    let absolute = |data: &Data| match data {
        Data::Real(data) => Data::Real(data.iter().map(|x| x.abs()).collect()),
        Data::Index(data) => Data::Index(data.clone()),
    };
    inputs.iter().map(absolute).collect()
}

/// A cotangent and directions for the inputs of a case, behind its own inputs: what [`build`] takes.
pub fn with_directions(case: &Case, mut inputs: Vec<Data>) -> Vec<Data> {
    use super::case::Kind;
    use steepest::base::{Stream, StreamId};
    let mut stream = Stream::new(super::SEED, StreamId::Sample(inputs.len() as u32));
    let mut draw = |ty: Type| {
        assert_eq!(ty.dtype, DType::Real);
        Kind::Normal(1.0).draw(ty.shape.len(), &mut stream)
    };
    if case.order >= 1 {
        inputs.push(draw(Type::real(case.shape)));
    }
    if case.order >= 2 {
        inputs.extend(case.reals().into_iter().map(|i| draw(case.inputs[i].ty)));
    }
    inputs
}

//! The plans of a run, made without a device: gradients of a micro-batch, their measurement, accumulation, update,
//! evaluation. `steepest plan` prints it; a trainer loads it.

use super::evaluator::{EvaluationRequest, evaluation_plan};
use super::objective::Objective;
use super::tensors::{arena_of, arena_place, param_places};
use crate::autodiff;
use crate::base::{Result, Shape, Type};
use crate::config::{Optimizer, Reduction};
use crate::data::TargetKind;
use crate::graph::{Graph, ValueId};
use crate::nn::{Built, Description, Mode, TargetValues, total};
use crate::ops::examples::ExampleStats;
use crate::ops::record::RECORD;
use crate::ops::stats::{CONTROL, Fold, TapStats};
use crate::optim::update_graph;
use crate::plan::{Arena, Place, Plan, compile};
use crate::probe::Layout;

/// What the plans of a run depend on.
pub struct Request<'a> {
    /// The model.
    pub model: &'a Description,
    /// The loss.
    pub objective: &'a Objective,
    /// Mean or sum over the logical batch; decides how a loss of several outputs is reduced too.
    pub reduction: Reduction,
    /// Numbers of a row of input.
    pub features: usize,
    /// What the targets are.
    pub targets: TargetKind,
    /// How many rows of training data are resident on the device; `None` streams batches.
    pub resident_rows: Option<usize>,
    /// Rows of a micro-batch.
    pub micro: usize,
    /// Whether a logical batch is several micro-batches.
    pub accumulates: bool,
    /// Rows of an evaluation batch: a multiple of 64.
    pub evaluation_rows: usize,
    /// The optimizer.
    pub optimizer: &'a Optimizer,
    /// The largest gradient norm that passes unchanged.
    pub clip_norm: Option<f64>,
    /// The largest gradient element that passes unchanged.
    pub clip_value: Option<f64>,
    /// Whether statistics are measured.
    pub statistics: bool,
    /// Whether the norms of per-example gradients in dense layers are measured too.
    pub noise: bool,
    /// The seed of dropout masks.
    pub seed: u64,
    /// The most elements of an arena part.
    pub part_len_max: usize,
}

/// A layer whose signal is tapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TappedLayer {
    /// Its name: `0`.
    pub name: String,
    /// Its kind: `linear`.
    pub kind: String,
    /// Elements of a row behind its activation.
    pub activation_width: usize,
    /// Whether it is a dense layer.
    pub dense: bool,
}

/// The plans of a run.
#[derive(Clone, Debug)]
pub struct Blueprint {
    /// Where the parameters lie.
    pub arena: Arena,
    /// Where the statistics lie.
    pub layout: Layout,
    /// The tapped layers, first layer first.
    pub layers: Vec<TappedLayer>,
    /// The place of each tensor's layer in `layers`.
    pub tensor_layers: Vec<usize>,
    /// The training graph after differentiation, before fusion.
    pub graph: Graph,
    /// Forward, backward and tap statistics of one micro-batch.
    pub gradients: Plan,
    /// Tap records and loss into the table.
    pub measure: Plan,
    /// The sum of micro-batch gradients, where a logical batch has several.
    pub accumulate: Option<Plan>,
    /// Clipping, update, parameter statistics.
    pub update: Plan,
    /// Outputs and losses of an evaluation batch.
    pub evaluate: Plan,
}

/// The names of the shared buffers.
pub mod names {
    /// Resident training inputs [rows, features].
    pub const DATA_X: &str = "data.x";
    /// Resident real targets [rows, width].
    pub const DATA_T: &str = "data.targets";
    /// Row numbers of the micro-batch.
    pub const INDEX: &str = "batch.index";
    /// Inputs of the micro-batch, where they are streamed.
    pub const X: &str = "batch.x";
    /// Class labels of the micro-batch.
    pub const LABELS: &str = "batch.labels";
    /// Real targets of the micro-batch, where they are streamed.
    pub const TARGETS: &str = "batch.targets";
    /// Share of each row in the loss.
    pub const WEIGHTS: &str = "batch.weights";
    /// The loss of the micro-batch.
    pub const LOSS: &str = "loss";
    /// The table of statistics.
    pub const TABLE: &str = "table";
    /// Clip factor, halt flag, norm.
    pub const CONTROL: &str = "control";
    /// Records of the taps.
    pub const TAP_RECORDS: &str = "records.taps";
    /// Which tap records make up which row.
    pub const TAP_SEGMENTS: &str = "segments.taps";
    /// Which parameter records make up which row.
    pub const PARAM_SEGMENTS: &str = "segments.params";
    /// How many elements of each chunk of an arena part are a tensor's.
    pub const LENGTHS: &str = "lengths";
    /// Inputs of an evaluation batch.
    pub const EVAL_X: &str = "eval.x";
    /// Labels of an evaluation batch.
    pub const EVAL_LABELS: &str = "eval.labels";
    /// Real targets of an evaluation batch.
    pub const EVAL_TARGETS: &str = "eval.targets";
    /// Outputs of an evaluation batch.
    pub const EVAL_OUT: &str = "eval.outputs";
    /// Losses of the examples of an evaluation batch.
    pub const EVAL_LOSSES: &str = "eval.losses";
    /// Parameter arena parts.
    pub const PARAMS: &str = "params";
    /// Gradient arena parts of a micro-batch.
    pub const GRADIENTS: &str = "gradients";
    /// Gradient arena parts of a logical batch of several micro-batches.
    pub const SUMS: &str = "sums";
}

impl Blueprint {
    /// Makes the plans.
    ///
    /// # Errors
    /// If shapes do not fit (the error names the layer), or an arena cannot be laid out.
    pub fn new(request: &Request<'_>) -> Result<Self> {
        let arena = arena_of(request.model, request.part_len_max)?;
        let mut g = Graph::new();
        let (x, targets) = training_inputs(&mut g, request)?;
        let weights = g.input(names::WEIGHTS, Type::real([request.micro]))?;
        let built = request.model.build(&mut g, x, Mode::Train { seed: request.seed })?;
        let losses = request.objective.per_example(&mut g, built.output, &targets, request.reduction)?;
        let loss = total(&mut g, losses, weights)?;
        let mut wanted = Vec::new();
        for param in &request.model.params {
            wanted.push(g.param(&param.name, param.shape)?);
        }
        wanted.extend(built.taps.iter().map(|tap| tap.z));
        let gradients = autodiff::gradient(&mut g, loss, &wanted)?;
        let (by_param, signals) = gradients.split_at(request.model.params.len());
        let mut places = param_places(&g, &arena);
        places.extend(
            request
                .model
                .params
                .iter()
                .zip(by_param)
                .map(|(param, &gradient)| (gradient, arena_place(&arena, names::GRADIENTS, &param.name))),
        );
        places.push((loss, Place::whole(names::LOSS, g.ty(loss))));
        let tensors = if request.statistics { arena.tensors.len() } else { 0 };
        let layout = if request.statistics {
            let shapes =
                |pick: fn(&crate::nn::Tap) -> ValueId| built.taps.iter().map(|tap| g.shape(pick(tap))).collect();
            let (activations, outputs): (Vec<Shape>, Vec<Shape>) = (shapes(|tap| tap.activation), shapes(|tap| tap.z));
            let dense = built.taps.iter().filter(|tap| request.noise && tap.input.is_some()).count();
            let layout = Layout::new(&activations, &outputs, dense, tensors);
            tap(&mut g, &built, signals, weights, &layout, &mut places)?;
            layout
        } else {
            Layout::new(&[], &[], 0, 0)
        };
        let layers = tapped_layers(&g, &built);
        let tensor_layers = request.model.params.iter().map(|param| layer_of(&built, &param.name)).collect();
        let table = |row: usize| Place { buffer: names::TABLE.into(), offset: row * RECORD, len: layout.table_len() };
        let sums = if request.accumulates { names::SUMS } else { names::GRADIENTS };
        let update = update_graph(
            &arena,
            request.optimizer,
            request.clip_norm,
            request.clip_value,
            sums,
            request.statistics.then(|| table(layout.params_row())).as_ref(),
        )?;
        let evaluation = EvaluationRequest {
            model: request.model,
            objective: request.objective,
            reduction: request.reduction,
            targets: request.targets,
            rows: request.evaluation_rows,
        };
        Ok(Self {
            gradients: compile("gradients", &g, &places)?,
            measure: measure(&layout, table(0))?,
            accumulate: request.accumulates.then(|| accumulate(&arena)).transpose()?,
            update: compile("update", &update.graph, &update.places)?,
            evaluate: evaluation_plan(&evaluation, &arena)?,
            graph: g,
            arena,
            layout,
            layers,
            tensor_layers,
        })
    }

    /// The plans in the order in which a step replays them.
    pub fn plans(&self) -> impl Iterator<Item = &Plan> {
        let step = [Some(&self.gradients), Some(&self.measure), self.accumulate.as_ref(), Some(&self.update)];
        step.into_iter().flatten().chain([&self.evaluate])
    }

    /// Bytes that all plans take together: shared buffers once, private ones as the plans share them.
    pub fn memory_bytes(&self, scalar_bytes: usize) -> usize {
        let mut shared = std::collections::BTreeMap::new();
        let mut private: Vec<usize> = Vec::new();
        for plan in self.plans() {
            let mut own = Vec::new();
            for buffer in &plan.buffers {
                let bytes = buffer.bytes(scalar_bytes);
                if buffer.shared {
                    shared.insert(&buffer.name, bytes);
                } else {
                    own.push(bytes);
                }
            }
            own.sort_unstable_by(|a, b| b.cmp(a));
            private.resize(private.len().max(own.len()), 0);
            private.iter_mut().zip(own).for_each(|(pool, bytes)| *pool = (*pool).max(bytes));
        }
        shared.values().sum::<usize>() + private.iter().sum::<usize>()
    }
}

fn training_inputs(g: &mut Graph, request: &Request<'_>) -> Result<(ValueId, TargetValues)> {
    g.set_scope("batch");
    let index = |g: &mut Graph| g.input(names::INDEX, Type::index([request.micro]));
    let x = match request.resident_rows {
        Some(rows) => {
            let data = g.input(names::DATA_X, Type::real([rows, request.features]))?;
            let index = index(g)?;
            g.gather_rows(data, index)?
        }
        None => g.input(names::X, Type::real([request.micro, request.features]))?,
    };
    let targets = match (request.targets, request.resident_rows) {
        (TargetKind::Classes(_), _) => TargetValues::Index(g.input(names::LABELS, Type::index([request.micro]))?),
        (TargetKind::Values(width), Some(rows)) => {
            let data = g.input(names::DATA_T, Type::real([rows, width]))?;
            let index = index(g)?;
            TargetValues::Real(g.gather_rows(data, index)?)
        }
        (TargetKind::Values(width), None) => {
            TargetValues::Real(g.input(names::TARGETS, Type::real([request.micro, width]))?)
        }
    };
    Ok((x, targets))
}

/// Adds the tap statistics behind the backward pass.
fn tap(
    g: &mut Graph,
    built: &Built,
    signals: &[ValueId],
    weights: ValueId,
    layout: &Layout,
    places: &mut Vec<(ValueId, Place)>,
) -> Result<()> {
    let most = TapStats::LAYERS_MAX;
    for (group, (taps, signals)) in built.taps.chunks(most).zip(signals.chunks(most)).enumerate() {
        g.set_scope(&taps.iter().map(|tap| format!("{} {}", tap.name, tap.kind)).collect::<Vec<_>>().join(", "));
        let values = taps.iter().zip(signals).flat_map(|(tap, &signal)| [tap.activation, signal]);
        let records = g.apply(TapStats, &values.chain([weights]).collect::<Vec<_>>())?;
        let offset = layout.spans[group * most].first * RECORD;
        places.push((records, Place { buffer: names::TAP_RECORDS.into(), offset, len: layout.records * RECORD }));
    }
    let dense = built.taps.iter().zip(signals).filter_map(|(tap, &signal)| Some((tap, tap.input?, signal)));
    for ((tap, x, signal), span) in dense.zip(&layout.spans[layout.examples_row()..]) {
        g.set_scope(&format!("{} {}", tap.name, tap.kind));
        let records = g.apply(ExampleStats { bias: tap.params.len() > 1 }, &[x, signal])?;
        let offset = span.first * RECORD;
        places.push((records, Place { buffer: names::TAP_RECORDS.into(), offset, len: layout.records * RECORD }));
    }
    Ok(())
}

fn tapped_layers(g: &Graph, built: &Built) -> Vec<TappedLayer> {
    let width = |id: ValueId| g.shape(id).len() / g.shape(id).dim(0).max(1);
    let layer = |tap: &crate::nn::Tap| TappedLayer {
        name: tap.name.clone(),
        kind: tap.kind.to_string(),
        activation_width: width(tap.activation),
        dense: tap.input.is_some(),
    };
    built.taps.iter().map(layer).collect()
}

fn layer_of(built: &Built, param: &str) -> usize {
    let owner = built.taps.iter().position(|tap| tap.params.iter().any(|name| name == param));
    owner.expect("every parameter belongs to a tapped layer")
}

/// Folds the tap records and the loss into the first rows of the table.
fn measure(layout: &Layout, table_place: Place) -> Result<Plan> {
    let mut g = Graph::new();
    let rows = layout.tap_rows();
    let records = g.input(names::TAP_RECORDS, Type::real([layout.records, RECORD]))?;
    let segments = g.input(names::TAP_SEGMENTS, Type::index([rows, 2]))?;
    let table = g.input(names::TABLE, Type::real([rows, RECORD]))?;
    let control = g.input(names::CONTROL, Type::real([CONTROL]))?;
    let loss = g.input(names::LOSS, Type::real(Shape::SCALAR))?;
    g.apply_all(Fold { accumulate: true, loss: true }, &[records, segments, table, control, loss])?;
    compile("measure", &g, &[(table, table_place)])
}

fn accumulate(arena: &Arena) -> Result<Plan> {
    let mut g = Graph::new();
    for (part, &len) in arena.parts.iter().enumerate() {
        let sums = g.input(&Arena::buffer(names::SUMS, part), Type::real([len]))?;
        let gradients = g.input(&Arena::buffer(names::GRADIENTS, part), Type::real([len]))?;
        g.apply(crate::ops::optimize::Accumulate, &[sums, gradients])?;
    }
    compile("accumulate", &g, &[])
}

//! The plans of a run, made without a device: gradients of a micro-batch, their measurement, accumulation, update,
//! evaluation. `steepest plan` prints it; a trainer loads it.
//!
//! What is measured is decided step by step: there are gradients and measurements for each combination of needs
//! ([`Measuring`]), and what looks at whole arenas is a plan of its own that a step replays or not ([`arenas`]).

mod arenas;
mod taps;

pub use arenas::ArenaPlans;
pub use taps::SLOPE_MIN;
pub(super) use taps::segments_name;

use super::evaluator::{EvaluationRequest, evaluation_plan};
use super::objective::Objective;
use super::tensors::{arena_of, arena_place, param_places};
use crate::autodiff;
use crate::base::{DType, Result, Type};
use crate::config::{Optimizer, Reduction};
use crate::data::TargetKind;
use crate::graph::{Graph, Phase, ValueId};
use crate::nn::{Built, Description, Mode, Param, TargetValues, total};
use crate::ops::record::RECORD;
use crate::optim::{LOSS_SCALE, LOSS_UNSCALE, Scaling, update_graph};
use crate::plan::{Arena, Place, Plan, compile, halve};
use crate::probe::{Agenda, Due, Layout, Needs, Part};

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
    /// Whether a logical batch can be several micro-batches.
    pub accumulates: bool,
    /// Whether every logical batch but the last of an epoch is.
    pub always_accumulates: bool,
    /// Rows of an evaluation batch: a multiple of 64.
    pub evaluation_rows: usize,
    /// The optimizer.
    pub optimizer: &'a Optimizer,
    /// The largest gradient norm that passes unchanged.
    pub clip_norm: Option<f64>,
    /// The largest gradient element that passes unchanged.
    pub clip_value: Option<f64>,
    /// How the loss is scaled, in mixed precision.
    pub scaling: Option<Scaling>,
    /// What is measured, and when.
    pub agenda: &'a Agenda,
    /// Steps in which a unit gives nothing before it counts as dead.
    pub window: u32,
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
    /// Whether gradients of single examples are known.
    pub is_resolved: bool,
    /// Whether its noise is measured: in resolved layers, and in all where every batch is several micro-batches.
    pub has_noise: bool,
    /// Whether its activation can leave units dead.
    pub is_rectified: bool,
    /// Whether its activation saturates.
    pub is_bounded: bool,
}

/// What a micro-batch replays where these needs are to be met.
#[derive(Clone, Debug)]
pub struct Measuring {
    /// The needs.
    pub needs: Needs,
    /// Forward, backward and records of what passes the layers.
    pub gradients: Plan,
    /// Records and loss into the table.
    pub measure: Plan,
}

/// The plans of a run.
#[derive(Clone, Debug)]
pub struct Blueprint {
    /// Where the parameters lie.
    pub arena: Arena,
    /// What is measured, and when.
    pub agenda: Agenda,
    /// Where the readings lie.
    pub layout: Layout,
    /// The tapped layers, first layer first.
    pub layers: Vec<TappedLayer>,
    /// The place of each tensor's layer in `layers`.
    pub tensor_layers: Vec<usize>,
    /// The training graph after differentiation, before fusion.
    pub graph: Graph,
    /// Gradients and measurement for each combination of needs; the first is that of every step.
    pub measuring: Vec<Measuring>,
    /// For each combination of cadences ([`Due::index`]), which of `measuring` it takes.
    pub combinations: Vec<usize>,
    /// The sum of micro-batch gradients, where a logical batch has several.
    pub accumulate: Option<Plan>,
    /// What looks at whole arenas, between gradients and update.
    pub arenas: ArenaPlans,
    /// Clipping, update, parameter statistics.
    pub update: Plan,
    /// How the loss is scaled, in mixed precision.
    pub scaling: Option<Scaling>,
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
    /// Which tap records make up which row of fold number i: `segments.taps.i`.
    pub const TAP_SEGMENTS: &str = "segments.taps";
    /// Counts of the activations behind each layer.
    pub const TAP_COUNTS: &str = "counts.taps";
    /// Which of them belong to which layer.
    pub const COUNT_SEGMENTS: &str = "segments.counts";
    /// Counts of the scaled signals at each layer, in half precision and before.
    pub const SIGNAL_COUNTS: &str = "counts.signals";
    /// Which of them belong to which.
    pub const SIGNAL_SEGMENTS: &str = "segments.signals";
    /// For how many steps each unit of tap i has given nothing: `ages.i`.
    pub const AGES: &str = "ages";
    /// Which parameter records make up which row.
    pub const PARAM_SEGMENTS: &str = "segments.params";
    /// Which parameter records make up which layer.
    pub const LAYER_SEGMENTS: &str = "segments.layers";
    /// The layer that each chunk of an arena part belongs to.
    pub const OWNERS: &str = "owners";
    /// How many elements the tensors of each layer have.
    pub const LAYER_LENGTHS: &str = "lengths.layers";
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
    /// Sums over examples of squared partial derivatives, of a micro-batch.
    pub const SQUARES: &str = "squares";
    /// The same of a logical batch of several micro-batches.
    pub const SQUARE_SUMS: &str = "squares.sums";
    /// Gradient arena parts of the step before.
    pub const LAST_GRADIENTS: &str = "last.gradients";
    /// What the update of the step before added to the parameter arena parts; within that step the parameters before it.
    pub const LAST_UPDATE: &str = "last.update";
    /// Parameter arena parts before the first step.
    pub const INITIAL_PARAMS: &str = "initial.params";
}

impl Blueprint {
    /// Makes the plans.
    ///
    /// # Errors
    /// If shapes do not fit (the error names the layer), or an arena cannot be laid out.
    pub fn new(request: &Request<'_>) -> Result<Self> {
        let arena = arena_of(request.model, request.part_len_max)?;
        let usual = Training::new(request, &arena)?;
        let layout = Layout::new(taps::tapped(&usual, request), request.agenda);
        let (mut measuring, mut combinations): (Vec<Measuring>, Vec<usize>) = Default::default();
        for due in request.agenda.each_due() {
            let needs = request.agenda.needs(due).only(&taps::NEEDS);
            let known = measuring.iter().position(|known| known.needs == needs);
            combinations.push(known.unwrap_or(measuring.len()));
            if known.is_none() {
                let mut training = Training::new(request, &arena)?;
                taps::tap(&mut training, request, &arena, &layout, needs)?;
                measuring.push(Measuring {
                    needs,
                    gradients: compile("gradients", &training.graph, &training.places)?,
                    measure: taps::measure(&layout, needs)?,
                });
            }
        }
        let sums = if request.accumulates { names::SUMS } else { names::GRADIENTS };
        let update = update_graph(
            &arena,
            request.optimizer,
            request.clip_norm,
            request.clip_value,
            sums,
            layout.row(Part::Params).map(|row| table_place(&layout, row)).as_ref(),
            request.scaling.zip(layout.row(Part::Scaling).map(|row| table_place(&layout, row))),
        )?;
        let evaluation = EvaluationRequest {
            model: request.model,
            objective: request.objective,
            reduction: request.reduction,
            targets: request.targets,
            rows: request.evaluation_rows,
        };
        let layers = tapped_layers(&usual, request);
        let owner = |param: &Param| layer_of(&usual.built, &param.name);
        let tensor_layers: Vec<usize> = request.model.params.iter().map(owner).collect();
        let needs = request.agenda.needs_ever();
        Ok(Self {
            measuring,
            combinations,
            accumulate: request
                .accumulates
                .then(|| accumulate(&arena, names::SUMS, names::GRADIENTS, Phase::Backward))
                .transpose()?,
            arenas: ArenaPlans::new(&arena, &layout, sums, request.accumulates, needs)?,
            update: compile("update", &update.graph, &update.places)?,
            evaluate: evaluation_plan(&evaluation, &arena)?,
            graph: usual.graph,
            scaling: request.scaling,
            agenda: request.agenda.clone(),
            arena,
            layout,
            layers,
            tensor_layers,
        })
    }

    /// Forward and backward of every step.
    pub fn gradients(&self) -> &Plan {
        &self.measuring[0].gradients
    }

    /// What a micro-batch replays at a step at which this is due.
    pub fn measuring(&self, due: Due) -> &Measuring {
        &self.measuring[self.combinations[due.index()]]
    }

    /// The plans in the order in which a step replays them.
    pub fn plans(&self) -> impl Iterator<Item = &Plan> {
        let measuring = self.measuring.iter().flat_map(|it| [&it.gradients, &it.measure]);
        let before = self.accumulate.iter().chain(self.arenas.before_update());
        measuring.chain(before).chain([&self.update]).chain(&self.arenas.moved).chain([&self.evaluate])
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

/// Forward and backward of a micro-batch as a graph.
struct Training {
    graph: Graph,
    /// Where its values lie.
    places: Vec<(ValueId, Place)>,
    built: Built,
    /// The share of each example in the loss.
    weights: ValueId,
    /// The loss of each example.
    losses: ValueId,
    /// The gradient of each parameter.
    gradients: Vec<ValueId>,
    /// ∂L/∂z of each tap.
    signals: Vec<ValueId>,
    /// The same, scaled, in half precision and before it was rounded, where it is stored so.
    rounded: Vec<Option<(ValueId, ValueId)>>,
}

impl Training {
    fn new(request: &Request<'_>, arena: &Arena) -> Result<Self> {
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
        g.set_phase(Phase::Backward);
        let (mut gradients, mut scaled) = match request.scaling {
            None => (autodiff::gradient(&mut g, loss, &wanted)?, Vec::new()),
            Some(_) => scaled_gradient(&mut g, loss, &wanted)?,
        };
        let signals = gradients.split_off(request.model.params.len());
        scaled.drain(..gradients.len().min(scaled.len()));
        let mut training =
            Self { graph: g, places: Vec::new(), built, weights, losses, gradients, signals, rounded: Vec::new() };
        let loss = if request.scaling.is_some() { training.halve(loss, &scaled)? } else { loss };
        training.places = param_places(&training.graph, arena);
        let params = request.model.params.iter().zip(&training.gradients);
        let place =
            |(param, &gradient): (&Param, &ValueId)| (gradient, arena_place(arena, names::GRADIENTS, &param.name));
        training.places.extend(params.map(place));
        training.places.push((loss, Place::whole(names::LOSS, training.graph.ty(loss))));
        Ok(training)
    }

    /// Stores the factors of all products in half precision, and what each layer but the last gives; where the loss is then. `scaled` are
    /// the signals with the scale.
    fn halve(&mut self, loss: ValueId, scaled: &[ValueId]) -> Result<ValueId> {
        let taps = &self.built.taps;
        let inner: Vec<ValueId> = taps[..taps.len().saturating_sub(1)].iter().map(|tap| tap.z).collect();
        let (graph, map) = halve(&self.graph, &inner)?;
        let at = |id: ValueId| map[id.index()];
        for tap in &mut self.built.taps {
            (tap.input, tap.z, tap.activation) = (at(tap.input), at(tap.z), at(tap.activation));
        }
        self.built.output = at(self.built.output);
        (self.weights, self.losses) = (at(self.weights), at(self.losses));
        self.gradients.iter_mut().chain(&mut self.signals).for_each(|id| *id = at(*id));
        let rounded = |&signal: &ValueId| {
            let stored = at(signal);
            let is_half = graph.ty(stored).dtype == DType::Half;
            graph.maker(stored).filter(|_| is_half).map(|rounding| (stored, rounding.inputs[0]))
        };
        self.rounded = scaled.iter().map(rounded).collect();
        self.graph = graph;
        Ok(at(loss))
    }
}

/// ∂loss/∂x for each wanted x, through a backward pass of the scaled loss: what it comes to is divided by the scale again, which rounds
/// nothing, as that is a power of two. The same with the scale stands beside it.
fn scaled_gradient(g: &mut Graph, loss: ValueId, wanted: &[ValueId]) -> Result<(Vec<ValueId>, Vec<ValueId>)> {
    let scalar = Type::real(g.shape(loss));
    let (scale, unscale) = (g.input(LOSS_SCALE, scalar)?, g.input(LOSS_UNSCALE, scalar)?);
    let scaled = autodiff::vector_jacobian(g, &[(loss, scale)], wanted)?;
    let unscaled = scaled.iter().map(|&gradient| g.mul(gradient, unscale)).collect::<Result<_>>()?;
    Ok((unscaled, scaled))
}

/// The table from this row on.
fn table_place(layout: &Layout, row: usize) -> Place {
    Place { buffer: names::TABLE.into(), offset: row * RECORD, len: layout.table_len() }
}

fn tapped_layers(training: &Training, request: &Request<'_>) -> Vec<TappedLayer> {
    let layer = |tap: &crate::nn::Tap| TappedLayer {
        name: tap.name.clone(),
        kind: tap.kind.to_string(),
        is_resolved: taps::is_resolved(tap),
        has_noise: taps::is_resolved(tap) || request.always_accumulates,
        is_rectified: taps::is_rectified(tap),
        is_bounded: taps::saturation(tap).is_some(),
    };
    training.built.taps.iter().map(layer).collect()
}

fn layer_of(built: &Built, param: &str) -> usize {
    let owner = built.taps.iter().position(|tap| tap.params.iter().any(|name| name == param));
    owner.expect("every parameter belongs to a tapped layer")
}

fn accumulate(arena: &Arena, sums: &str, summands: &str, phase: Phase) -> Result<Plan> {
    let mut g = Graph::new();
    g.set_phase(phase);
    for (part, &len) in arena.parts.iter().enumerate() {
        let sums = g.input(&Arena::buffer(sums, part), Type::real([len]))?;
        let summands = g.input(&Arena::buffer(summands, part), Type::real([len]))?;
        g.apply(crate::ops::optimize::Accumulate, &[sums, summands])?;
    }
    compile("accumulate", &g, &[])
}

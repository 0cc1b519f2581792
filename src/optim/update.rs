//! The update as a graph: clip, step, measure, over the parts of the arenas.

use crate::base::{Result, Shape, Type};
use crate::config::{LossScale, Optimizer, Precision, Train};
use crate::graph::{Graph, Phase, ValueId};
use crate::ops::optimize::{Rule, Update};
use crate::ops::record::RECORD;
use crate::ops::scaling::AdjustScale;
use crate::ops::stats::{CONTROL, ChunkStats, ClipFactor, Fold};
use crate::plan::{Arena, CHUNK, Place};

/// What an update does to an element, and λ of the weight decay: decoupled for AdamW, else added to the gradient.
pub fn rule(optimizer: &Optimizer) -> (Rule, f64) {
    let rule = match *optimizer {
        Optimizer::Sgd { .. } => Rule::Sgd,
        Optimizer::Momentum { momentum, dampening, .. } => Rule::Momentum { momentum, dampening, nesterov: false },
        Optimizer::Nesterov { momentum, .. } => Rule::Momentum { momentum, dampening: 0.0, nesterov: true },
        Optimizer::Adagrad { lr_decay, eps, .. } => Rule::Adagrad { lr_decay, epsilon: eps },
        Optimizer::Rmsprop { alpha, momentum, centered, eps, .. } => {
            Rule::RmsProp { alpha, epsilon: eps, momentum, centered }
        }
        Optimizer::Adam { betas, eps, .. } => Rule::Adam { betas, epsilon: eps, decoupled: false },
        Optimizer::Adamw { betas, eps, .. } => Rule::Adam { betas, epsilon: eps, decoupled: true },
    };
    (rule, optimizer.weight_decay())
}

/// How the loss of a run in mixed precision is scaled; see [`crate::ops::scaling`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaling {
    /// The scale of the first step.
    pub start: f64,
    /// Good steps in a row after which it doubles; none keeps it as it is.
    pub growth_interval: Option<u32>,
}

impl Scaling {
    /// The scaling that a config means; none if its precision is not mixed.
    pub fn of(train: &Train) -> Option<Self> {
        let scaling = match train.loss_scale {
            LossScale::Dynamic => {
                let interval = u32::try_from(train.loss_scale_growth).unwrap_or(u32::MAX);
                Self { start: train.loss_scale_start.0, growth_interval: Some(interval) }
            }
            LossScale::Fixed(start) => Self { start, growth_interval: None },
        };
        (train.precision == Precision::Mixed).then_some(scaling)
    }
}

/// The buffers of the scale and of its inverse, `[1]` each.
pub const LOSS_SCALE: &str = "loss.scale";
/// See [`LOSS_SCALE`].
pub const LOSS_UNSCALE: &str = "loss.unscale";

/// An arena of an optimizer's state.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// What the arena is called: part p of state k is the buffer `state.k.p`.
    pub arena: String,
    /// The name of the state in `torch.optim`: `exp_avg`.
    pub name: &'static str,
    /// What it holds before the first step, everywhere.
    pub initial: f64,
}

/// The states that an optimizer keeps, in the order in which its update takes them.
pub fn states(optimizer: &Optimizer) -> Vec<State> {
    let initial = match optimizer {
        Optimizer::Adagrad { initial_accumulator_value, .. } => *initial_accumulator_value,
        _ => 0.0,
    };
    let names = rule(optimizer).0.state_names().into_iter().enumerate();
    names.map(|(k, name)| State { arena: format!("state.{k}"), name, initial }).collect()
}

/// How many elements of each chunk of a part are a tensor's: what the shared buffer `lengths.p` holds.
pub fn lengths(arena: &Arena, part: usize) -> Vec<u32> {
    arena.chunks(part).into_iter().map(|(_, len)| len as u32).collect()
}

/// For each tensor, its first chunk and one past its last, counted over all parts: what the shared buffer
/// `segments.params` [tensors, 2] holds.
pub fn segments(arena: &Arena) -> Vec<u32> {
    let firsts = first_chunks(arena);
    let of = |tensor: &crate::plan::Tensor| {
        let first = firsts[tensor.part] + tensor.offset / CHUNK;
        [first as u32, (first + tensor.shape.len().div_ceil(CHUNK)) as u32]
    };
    arena.tensors.iter().flat_map(of).collect()
}

/// For each chunk of a part, which tensor it belongs to.
pub fn owners(arena: &Arena, part: usize) -> Vec<usize> {
    let tensors = arena.tensors.iter().enumerate().filter(|(_, tensor)| tensor.part == part);
    tensors.flat_map(|(i, tensor)| vec![i; tensor.shape.len().div_ceil(CHUNK)]).collect()
}

/// Where the records of the chunks of a part lie in a buffer of the records of all parts.
pub fn record_place(arena: &Arena, buffer: &str, part: usize) -> Place {
    let chunks = arena.parts.iter().sum::<usize>() / CHUNK;
    Place { buffer: buffer.to_owned(), offset: first_chunks(arena)[part] * RECORD, len: chunks * RECORD }
}

/// The number of the first chunk of each part, counted over all parts.
pub fn first_chunks(arena: &Arena) -> Vec<usize> {
    let before = |sum: &mut usize, len: &usize| Some(std::mem::replace(sum, *sum + len / CHUNK));
    arena.parts.iter().scan(0, before).collect()
}

/// The graph of an update, and where its values lie; sources that are not placed are shared buffers of their own names.
#[derive(Clone, Debug)]
pub struct UpdateGraph {
    /// Updates are made in place, so nothing is placed for them.
    pub graph: Graph,
    /// Where records and table are.
    pub places: Vec<(ValueId, Place)>,
}

/// The update of all parameters.
///
/// For each part p of the arena it reads the shared buffers `{gradients}.p`, `lengths.p` (see [`lengths`]) and updates
/// `params.p` and `state.k.p` in place. `control` `[8]` holds clip factor, halt flag, norm and the state of loss scaling, see [`crate::ops::stats`].
/// With `clip_value`, gradient elements are confined to ± that, as `torch.nn.utils.clip_grad_value_`; with `clip_norm`, the
/// gradient of all parts is then scaled down to that norm, as `clip_grad_norm_`.
///
/// With `measure`, the update writes `records.params` [chunks, 8] in the same pass, and folds them, by the shared buffer
/// `segments.params` (see [`segments`]), into the table [tensors, 8] at that place.
///
/// With `scaling`, the step is skipped where the gradient is not finite, the scale is set for the next one, and what became of it stands in
/// the row [1, 8] of the table at that place.
///
/// # Errors
/// If a part of the arena is not made of whole chunks, which [`Arena::new`] rules out.
pub fn update_graph(
    arena: &Arena,
    optimizer: &Optimizer,
    clip_norm: Option<f64>,
    clip_value: Option<f64>,
    gradients: &str,
    measure: Option<&Place>,
    scaling: Option<(Scaling, Place)>,
) -> Result<UpdateGraph> {
    let mut builder = Builder::new(arena, gradients)?;
    if let Some(limit) = clip_norm {
        builder.clip(limit, clip_value)?;
    }
    let (rule, weight_decay) = rule(optimizer);
    if let Some((scaling, row)) = scaling {
        // What is confined to a bound is finite.
        let records = if clip_norm.is_some() && clip_value.is_none() { CLIP_RECORDS } else { SCALING_RECORDS };
        builder.scale(scaling, &rule, records, row)?;
    }
    let update = Update { rule, weight_decay, clip_value, clip_norm: clip_norm.is_some(), measure: measure.is_some() };
    builder.update(&update)?;
    if let Some(table) = measure {
        builder.fold(table)?;
    }
    Ok(UpdateGraph { graph: builder.graph, places: builder.places })
}

/// Records of the gradients before the update, as they are clipped and as they are.
const CLIP_RECORDS: &str = "records.clip";
const SCALING_RECORDS: &str = "records.scaling";

struct Builder<'a> {
    arena: &'a Arena,
    graph: Graph,
    places: Vec<(ValueId, Place)>,
    /// The gradients of each part.
    gradients: Vec<ValueId>,
    /// The chunk lengths of each part.
    lengths: Vec<ValueId>,
    /// The control block as it is at this point.
    control: ValueId,
}

impl<'a> Builder<'a> {
    fn new(arena: &'a Arena, gradients: &str) -> Result<Self> {
        let mut graph = Graph::new();
        graph.set_scope("update");
        graph.set_phase(Phase::Update);
        let control = graph.input("control", Type::real([CONTROL]))?;
        let parts = arena.parts.iter().enumerate();
        let inputs = parts.map(|(part, &len)| {
            let gradients = graph.input(&Arena::buffer(gradients, part), Type::real([len]))?;
            Ok((gradients, graph.input(&Arena::buffer("lengths", part), Type::index([len / CHUNK]))?))
        });
        let (gradients, lengths) = inputs.collect::<Result<Vec<_>>>()?.into_iter().unzip();
        Ok(Self { arena, graph, places: Vec::new(), gradients, lengths, control })
    }

    fn chunks(&self) -> usize {
        self.arena.parts.iter().sum::<usize>() / CHUNK
    }

    /// Puts the records of a part behind those of the parts before it.
    fn place_records(&mut self, records: ValueId, buffer: &str, part: usize) {
        self.places.push((records, record_place(self.arena, buffer, part)));
    }

    /// All records of a buffer that [`Self::place_records`] filled. To the graph it is another source: what makes it come
    /// after the records is that a plan keeps the order of the nodes.
    fn all_records(&mut self, buffer: &str) -> Result<ValueId> {
        self.graph.input(buffer, Type::real([self.chunks(), RECORD]))
    }

    /// Records of the gradients of all parts.
    fn chunk_records(&mut self, buffer: &str, clip_value: Option<f64>) -> Result<ValueId> {
        for part in 0..self.arena.parts.len() {
            let inputs = [self.gradients[part], self.lengths[part]];
            let records = self.graph.apply(ChunkStats { clip_value }, &inputs)?;
            self.place_records(records, buffer, part);
        }
        self.all_records(buffer)
    }

    fn scale(&mut self, scaling: Scaling, rule: &Rule, records: &str, row: Place) -> Result<()> {
        let records = match records {
            CLIP_RECORDS => self.all_records(records)?,
            _ => self.chunk_records(records, None)?,
        };
        let scalar = Type::real(Shape::SCALAR);
        let (scale, unscale) = (self.graph.input(LOSS_SCALE, scalar)?, self.graph.input(LOSS_UNSCALE, scalar)?);
        let table = self.graph.input("table.scaling", Type::real([1, RECORD]))?;
        self.places.push((table, row));
        let betas = if let Rule::Adam { betas, .. } = *rule { betas } else { [0.0; 2] };
        let adjust = AdjustScale { growth_interval: scaling.growth_interval, betas };
        self.control = self.graph.apply_all(adjust, &[records, self.control, scale, unscale, table])?[0];
        Ok(())
    }

    fn clip(&mut self, limit: f64, clip_value: Option<f64>) -> Result<()> {
        let records = self.chunk_records(CLIP_RECORDS, clip_value)?;
        self.control = self.graph.apply(ClipFactor { max_norm: Some(limit) }, &[records, self.control])?;
        Ok(())
    }

    fn update(&mut self, update: &Update) -> Result<()> {
        for (part, &len) in self.arena.parts.iter().enumerate() {
            let params = self.graph.input(&Arena::buffer("params", part), Type::real([len]))?;
            let mut inputs = vec![params, self.gradients[part], self.control, self.lengths[part]];
            for k in 0..update.rule.states() {
                inputs.push(self.graph.input(&Arena::buffer(&format!("state.{k}"), part), Type::real([len]))?);
            }
            let outputs = self.graph.apply_all(update.clone(), &inputs)?;
            if let (true, Some(&records)) = (update.measure, outputs.last()) {
                self.place_records(records, "records.params", part);
            }
        }
        Ok(())
    }

    fn fold(&mut self, place: &Place) -> Result<()> {
        self.graph.set_phase(Phase::Statistics);
        let tensors = self.arena.tensors.len();
        let records = self.all_records("records.params")?;
        let segments = self.graph.input("segments.params", Type::index([tensors, 2]))?;
        let table = self.graph.input("table.params", Type::real([tensors, RECORD]))?;
        self.places.push((table, place.clone()));
        self.graph.apply_all(Fold { accumulate: false, loss: false }, &[records, segments, table, self.control])?;
        Ok(())
    }
}

//! The evaluation plan: outputs and losses of a model for rows, without a gradient. A trainer has one beside its own plans,
//! a predictor nothing else.

use super::blueprint::names;
use super::objective::Objective;
use super::tensors::{param_places, read, write};
use crate::base::{Result, Type};
use crate::config::Reduction;
use crate::data::{RowSource, TargetKind};
use crate::exec::{Executor, Host, PlanId, Submission};
use crate::graph::{Graph, StepScalars, ValueId};
use crate::nn::{Description, Mode, TargetValues};
use crate::plan::{Arena, Place, Plan, compile};

/// Rows of an evaluation batch at most: a multiple of 64, so that every buffer can be bound anywhere.
pub(super) const ROWS_MAX: usize = 512;

/// Rows of an evaluation batch for data of this many rows, a multiple of 64 too.
pub(super) fn evaluation_rows(examples: usize) -> usize {
    examples.next_multiple_of(64).min(ROWS_MAX)
}

/// What an evaluation plan depends on.
pub(super) struct EvaluationRequest<'a> {
    pub model: &'a Description,
    pub objective: &'a Objective,
    pub reduction: Reduction,
    pub targets: TargetKind,
    pub rows: usize,
}

/// The targets of `rows` rows, as inputs of these names.
pub(super) fn target_inputs(
    g: &mut Graph,
    kind: TargetKind,
    rows: usize,
    labels: &str,
    values: &str,
) -> Result<TargetValues> {
    Ok(match kind {
        TargetKind::Classes(_) => TargetValues::Index(g.input(labels, Type::index([rows]))?),
        TargetKind::Values(width) => TargetValues::Real(g.input(values, Type::real([rows, width]))?),
    })
}

/// Outputs [rows, outputs] and unweighted losses `[rows]` of an evaluation batch.
pub(super) fn evaluation_plan(request: &EvaluationRequest<'_>, arena: &Arena) -> Result<Plan> {
    let rows = request.rows;
    let mut g = Graph::new();
    let x = g.input(names::EVAL_X, Type::real([rows, request.model.input]))?;
    let targets = target_inputs(&mut g, request.targets, rows, names::EVAL_LABELS, names::EVAL_TARGETS)?;
    let built = request.model.build(&mut g, x, Mode::Evaluate)?;
    let losses = request.objective.per_example(&mut g, built.output, &targets, request.reduction)?;
    let mut places: Vec<(ValueId, Place)> = param_places(&g, arena);
    places.push((built.output, Place::whole(names::EVAL_OUT, g.ty(built.output))));
    places.push((losses, Place::whole(names::EVAL_LOSSES, g.ty(losses))));
    compile("evaluate", &g, &places)
}

/// The outputs of a model for some rows, and the loss of each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outputs {
    /// Numbers to a row.
    pub width: usize,
    /// Row by row.
    pub values: Vec<f64>,
    /// The unweighted loss of each row.
    pub losses: Vec<f64>,
}

/// An evaluation plan on an executor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evaluator {
    plan: PlanId,
    rows: usize,
    outputs: usize,
}

impl Evaluator {
    /// Loads the plan, which was made for batches of `rows` rows and a model of `outputs` outputs.
    pub fn load(executor: &mut dyn Executor, plan: &Plan, rows: usize, outputs: usize) -> Result<Self> {
        Ok(Self { plan: executor.load(plan)?, rows, outputs })
    }

    /// The outputs and losses of the rows `index` of a source, with the parameters as they are.
    pub fn evaluate(&self, executor: &mut dyn Executor, source: &dyn RowSource, index: &[u32]) -> Result<Outputs> {
        let mut out = Outputs { width: self.outputs, ..Outputs::default() };
        let mut batch = vec![0u32; self.rows];
        for chunk in index.chunks(self.rows) {
            // A short batch is filled up with rows that it has, and their results are dropped.
            batch.iter_mut().enumerate().for_each(|(i, row)| *row = chunk[i % chunk.len()]);
            upload(executor, source, &batch, [names::EVAL_X, names::EVAL_LABELS, names::EVAL_TARGETS])?;
            replay(executor, self.plan, chunk.len())?;
            out.values.extend(read(executor, names::EVAL_OUT, 0, chunk.len() * self.outputs)?);
            out.losses.extend(read(executor, names::EVAL_LOSSES, 0, chunk.len())?);
        }
        Ok(out)
    }
}

/// Uploads rows to the buffers of features, labels and target values.
pub(super) fn upload(
    executor: &mut dyn Executor,
    source: &dyn RowSource,
    rows: &[u32],
    [x_name, labels_name, values_name]: [&str; 3],
) -> Result<()> {
    let mut x = vec![0.0; rows.len() * source.features()];
    source.fill_rows(rows, &mut x)?;
    write(executor, x_name, 0, Host::F32(&x))?;
    match source.target_kind() {
        TargetKind::Classes(_) => {
            let mut labels = vec![0; rows.len()];
            source.fill_labels(rows, &mut labels)?;
            write(executor, labels_name, 0, Host::U32(&labels))
        }
        TargetKind::Values(width) => {
            let mut values = vec![0.0; rows.len() * width];
            source.fill_values(rows, &mut values)?;
            write(executor, values_name, 0, Host::F32(&values))
        }
    }
}

/// Replays a plan over so many real rows; what it gives is read afterwards.
pub(super) fn replay(executor: &mut dyn Executor, plan: PlanId, rows: usize) -> Result<()> {
    executor.submit(&Submission {
        uploads: &[],
        plans: &[plan],
        scalars: StepScalars { rows: rows as u32, ..StepScalars::default() },
        readback: None,
        tag: 0,
    })
}

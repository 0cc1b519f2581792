//! What each example's loss makes of its input: ∂ℓ/∂x, number by number.

use super::super::evaluator::{evaluation_rows, replay, target_inputs, upload};
use super::super::tensors::{param_places, read, write, write_params};
use super::{Inspector, Names};
use crate::autodiff;
use crate::base::{Result, Type};
use crate::data::RowSource;
use crate::exec::{Host, PlanId};
use crate::graph::Graph;
use crate::nn::{Mode, total};
use crate::plan::{Place, compile};
use std::ops::Range;

/// The inputs of some rows and the gradients of their losses with respect to them. Inputs are as the model gets them, so
/// scaled as the config says.
#[derive(Clone, Debug, PartialEq)]
pub struct InputGradients {
    /// The rows.
    pub rows: Range<usize>,
    /// The shape of one example: `[8, 8]` for pictures of 8 × 8.
    pub sample_shape: Vec<usize>,
    /// The inputs, example by example.
    pub inputs: Vec<f64>,
    /// ∂ℓᵢ/∂xᵢ, example by example: of each example's own loss, not of the mean.
    pub gradients: Vec<f64>,
}

impl InputGradients {
    /// Input and gradient of the example with this place among the rows.
    ///
    /// # Panics
    /// If there is no such example.
    pub fn example(&self, place: usize) -> (&[f64], &[f64]) {
        let n: usize = self.sample_shape.iter().product();
        (&self.inputs[place * n..][..n], &self.gradients[place * n..][..n])
    }
}

impl Inspector {
    /// The gradients of these rows' own losses with respect to their inputs.
    ///
    /// # Errors
    /// If a row is none of the part's, or the device fails.
    pub fn input_gradients(&mut self, rows: Range<usize>) -> Result<InputGradients> {
        let chosen = self.rows(rows.clone())?;
        self.within(|this| {
            let (batch, width) = (evaluation_rows(chosen.len()), this.model.input);
            let names = Names::new(batch);
            let out = format!("{}.x", names.gradients);
            let plan = this.input_plan(&names, &out, batch)?;
            let executor = this.executor.as_mut();
            write_params(executor, &this.arena, &this.params)?;
            // Each row counts with its whole loss, and rows do not know each other: their gradients stay apart.
            write(executor, &names.weights, 0, Host::F64(&vec![1.0; batch]))?;
            let (mut inputs, mut gradients) = (Vec::new(), Vec::new());
            for chunk in chosen.chunks(batch) {
                let filled: Vec<u32> = (0..batch).map(|i| chunk[i % chunk.len()]).collect();
                upload(executor, &this.data, &filled, [&names.x, &names.labels, &names.values])?;
                replay(executor, plan, batch)?;
                gradients.extend(read(executor, &out, 0, chunk.len() * width)?);
                let mut x = vec![0.0; chunk.len() * width];
                this.data.fill_rows(chunk, &mut x)?;
                inputs.extend(x.into_iter().map(f64::from));
            }
            let sample_shape = this.data.sample_shape().to_vec();
            Ok(InputGradients { rows, sample_shape, inputs, gradients })
        })
    }

    fn input_plan(&mut self, names: &Names, out: &str, rows: usize) -> Result<PlanId> {
        let mut g = Graph::new();
        let x = g.input(&names.x, Type::real([rows, self.model.input]))?;
        let targets = target_inputs(&mut g, self.data.target_kind(), rows, &names.labels, &names.values)?;
        let weights = g.input(&names.weights, Type::real([rows]))?;
        let built = self.model.build(&mut g, x, Mode::Evaluate)?;
        let losses = self.objective.per_example(&mut g, built.output, &targets, self.reduction)?;
        let loss = total(&mut g, losses, weights)?;
        let gradient = autodiff::gradient(&mut g, loss, &[x])?[0];
        let mut places = param_places(&g, &self.arena);
        places.push((gradient, Place::whole(out, g.ty(gradient))));
        self.executor.load(&compile("input gradients", &g, &places)?)
    }
}

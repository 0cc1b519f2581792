//! What a trainer is between two steps: taken from one, given to another.

use super::super::names::{INITIAL_PARAMS, LAST_GRADIENTS, LAST_UPDATE, PARAMS};
use super::super::tensors::{OnDevice, fit};
use super::super::weights::Tensors;
use super::Trainer;
use crate::base::{Error, Result};
use crate::data::Cursor;
use crate::optim::Plateau;
use crate::probe::Need;
use crate::verdict::History;
use std::collections::BTreeMap;

/// A trainer between two steps: all that the steps to come depend on beside config and data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainerState {
    /// Where it stands in the data, and how many steps that took.
    pub cursor: Cursor,
    /// Examples seen.
    pub examples: u64,
    /// The arenas by name, tensor by tensor, in the precision of the device: `params`, and each state of the optimizer as
    /// `torch.optim` calls it.
    pub arenas: BTreeMap<String, Tensors>,
    /// Clip factor, halt flag, norm and what loss scaling keeps, as in [`crate::ops::stats`].
    pub control: Vec<f64>,
    /// The scale of the loss; nothing where it is not scaled.
    pub scale: Vec<f64>,
    /// The readings that verdicts are made from.
    pub history: Vec<f64>,
    /// What readings rest on beside their step, as [`crate::probe::Reader::to_numbers`] gives it.
    pub reader: Vec<f64>,
    /// For how many steps each unit has given nothing.
    pub ages: Vec<f64>,
    /// What a plateau rule remembers, as [`crate::optim::Plateau::to_numbers`] gives it; nothing where there is none.
    pub plateau: Vec<f64>,
}

impl Trainer {
    /// What [`Trainer::resume`] goes on from.
    ///
    /// # Errors
    /// If the device fails.
    ///
    /// # Panics
    /// If steps are in flight: what their readings say would be missing.
    pub fn state(&mut self) -> Result<TrainerState> {
        let mut state = self.state_beside_arenas()?;
        let double = self.is_double();
        for (name, kind) in self.arenas() {
            let tensors = OnDevice::of_arena(&self.blueprint.arena, &kind, "", double).into_iter();
            let tensors: Result<_> = tensors.map(|tensor| tensor.fetch(self.engine.executor_mut())).collect();
            state.arenas.insert(name, tensors?);
        }
        Ok(state)
    }

    /// The state without its arenas, which are most of it: [`Trainer::on_device`] names them.
    pub(in crate::run) fn state_beside_arenas(&mut self) -> Result<TrainerState> {
        assert!(self.in_flight.is_empty(), "steps in flight are collected before the state is taken");
        Ok(TrainerState {
            cursor: self.cursor,
            examples: self.examples,
            arenas: BTreeMap::new(),
            control: self.engine.control()?,
            scale: self.engine.loss_scale()?.into_iter().collect(),
            history: self.history.to_numbers(),
            reader: self.reader.to_numbers(),
            ages: self.engine.ages(&self.units())?,
            plateau: self.plateau.as_ref().map_or(Vec::new(), Plateau::to_numbers),
        })
    }

    pub(super) fn restore(&mut self, mut state: TrainerState) -> Result<()> {
        for (name, kind) in self.arenas() {
            let tensors = state.arenas.remove(&name);
            let tensors = tensors.ok_or_else(|| Error::input(&name, "the state of the trainer has no such arena"))?;
            let tensors = fit(&name, &self.blueprint.arena, tensors)?;
            self.engine.set_arena_values(&kind, &tensors)?;
        }
        if let Some(name) = state.arenas.keys().next() {
            return Err(Error::input(name, "the optimizer keeps no such state"));
        }
        let control = state.control.as_slice().try_into();
        let control = control.map_err(|_| Error::input("control", format!("{} numbers", state.control.len())))?;
        self.engine.set_control(control)?;
        match (self.blueprint.scaling, state.scale.as_slice()) {
            (None, []) => {}
            (Some(_), &[scale]) => self.engine.set_loss_scale(scale)?,
            (_, numbers) => return Err(Error::input("scale", format!("{} numbers", numbers.len()))),
        }
        let history = History::from_numbers(self.reader.columns().range("signal").len(), &state.history);
        self.history = history.ok_or_else(|| Error::input("history", format!("{} numbers", state.history.len())))?;
        if !self.reader.restore(&state.reader) {
            return Err(Error::input("reader", format!("{} numbers", state.reader.len())));
        }
        let units = self.units();
        if !self.engine.set_ages(&units, &state.ages)? {
            return Err(Error::input("ages", format!("{} numbers", state.ages.len())));
        }
        if self.plateau.as_mut().is_some_and(|plateau| !plateau.restore(&state.plateau)) {
            return Err(Error::input("plateau", format!("{} numbers", state.plateau.len())));
        }
        self.examples = state.examples;
        Ok(())
    }

    /// The tensors of the arenas that a state has, each under `<arena>/<name>`.
    pub(in crate::run) fn on_device(&self) -> Vec<OnDevice> {
        let of = |(name, kind): (String, String)| {
            OnDevice::of_arena(&self.blueprint.arena, &kind, &format!("{name}/"), self.is_double())
        };
        self.arenas().into_iter().flat_map(of).collect()
    }

    /// Whether the device computes in double precision.
    pub(super) fn is_double(&self) -> bool {
        self.executor().info().precision == "f64"
    }

    /// Name and kind of each arena that outlives a step.
    fn arenas(&self) -> Vec<(String, String)> {
        let states = self.states.iter().map(|state| (state.name.to_owned(), state.arena.clone()));
        let last = self.blueprint.arenas.retain.iter().flat_map(|_| [LAST_GRADIENTS, LAST_UPDATE]);
        let initial = self.agenda().needs_ever().has(Need::Initial).then_some(INITIAL_PARAMS);
        let own = std::iter::once(PARAMS).chain(last).chain(initial).map(|name| (name.to_owned(), name.to_owned()));
        own.chain(states).collect()
    }

    /// Units of each tap.
    fn units(&self) -> Vec<usize> {
        self.blueprint.layout.tapped.outputs.iter().map(|shape| shape.last()).collect()
    }
}

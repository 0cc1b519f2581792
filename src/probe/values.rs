//! The values of a step, and where each quantity stands among them.

use super::quantity::{QUANTITIES, Quantity, Scope, find};
use super::table::{Agenda, Due, ProbeId};
use crate::ops::histogram::BINS;
use std::ops::Range;
use std::sync::Arc;

/// Over how many things a quantity is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Layers with parameters.
    pub layers: usize,
    /// Layers where gradients of single examples are known.
    pub resolved: usize,
    /// Layers whose noise is measured.
    pub noisy: usize,
    /// Layers whose activation can leave units dead.
    pub rectified: usize,
    /// Layers whose activation saturates.
    pub bounded: usize,
    /// Parameter tensors.
    pub tensors: usize,
    /// Whether the loss is scaled.
    pub is_scaled: bool,
}

impl Sizes {
    fn width(&self, scope: Scope) -> usize {
        match scope {
            Scope::Step => 1,
            Scope::Scaled => usize::from(self.is_scaled),
            Scope::Noise => usize::from(self.noisy > 0),
            Scope::Layer => self.layers,
            Scope::Resolved => self.resolved,
            Scope::Noisy => self.noisy,
            Scope::Rectified => self.rectified,
            Scope::Bounded => self.bounded,
            Scope::Tensor => self.tensors,
            Scope::Bins => self.layers * BINS,
        }
    }
}

/// Where each quantity stands: the groups of an [`Agenda`] one after the other, in each the quantities as [`QUANTITIES`] lists
/// them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// In the order of [`QUANTITIES`]; empty for those that are not measured.
    ranges: Vec<Range<usize>>,
    /// The values of each group.
    groups: Vec<Range<usize>>,
}

impl Columns {
    /// The columns of a run.
    pub fn new(sizes: Sizes, agenda: &Agenda) -> Self {
        let (mut ranges, mut groups, mut end) = (vec![0..0; QUANTITIES.len()], Vec::new(), 0);
        for group in 0..agenda.groups().len() {
            let start = end;
            for (range, quantity) in ranges.iter_mut().zip(&QUANTITIES) {
                if agenda.group(quantity.probe) == Some(group) {
                    *range = end..end + sizes.width(quantity.scope);
                    end = range.end;
                }
            }
            groups.push(start..end);
        }
        Self { ranges, groups }
    }

    /// The values of a quantity; empty if it is not measured.
    ///
    /// # Panics
    /// If there is no such quantity.
    pub fn range(&self, id: &str) -> Range<usize> {
        let quantity = find(id).unwrap_or_else(|| panic!("no quantity is called {id}"));
        self.ranges.get(quantity).cloned().unwrap_or_default()
    }

    /// The quantities of a group that are measured, in the order of its values.
    pub fn quantities(&self, group: usize) -> impl Iterator<Item = &'static Quantity> {
        let within = self.groups[group].clone();
        let all = QUANTITIES.iter().zip(&self.ranges);
        all.filter(move |(_, range)| !range.is_empty() && within.contains(&range.start)).map(|(quantity, _)| quantity)
    }

    /// Where the values of a probe begin.
    pub fn start(&self, probe: ProbeId) -> usize {
        let of_probe = QUANTITIES.iter().zip(&self.ranges).filter(|(quantity, _)| quantity.probe == probe);
        of_probe.map(|(_, range)| range.start).min().unwrap_or(0)
    }

    /// The values of each group.
    pub fn groups(&self) -> &[Range<usize>] {
        &self.groups
    }

    fn len(&self) -> usize {
        self.groups.last().map_or(0, |group| group.end)
    }
}

/// What stands where there is no number: an angle to a step that was none, an angle to nothing, what was not measured yet. It is a NaN
/// of its own, since that of a calculation tells of one that has failed.
pub const ABSENT: f64 = f64::from_bits(0x7ff8_0000_0000_0ab5);

/// Whether a value is [`ABSENT`].
pub fn is_absent(x: f64) -> bool {
    x.to_bits() == ABSENT.to_bits()
}

/// The values of one step. Those of a group that was not due are the values of the last step at which it was, absent before.
#[derive(Debug, Default, PartialEq)]
pub struct Values {
    pub(super) flat: Vec<f64>,
    columns: Arc<Columns>,
}

impl Clone for Values {
    fn clone(&self) -> Self {
        Self { flat: self.flat.clone(), columns: self.columns.clone() }
    }

    /// Without allocation where the columns are the same.
    fn clone_from(&mut self, from: &Self) {
        self.flat.clone_from(&from.flat);
        if !Arc::ptr_eq(&self.columns, &from.columns) {
            self.columns = from.columns.clone();
        }
    }
}

impl Values {
    /// Room for these columns; absent where nothing was measured yet, 0 in the columns of every step.
    pub fn new(columns: &Arc<Columns>) -> Self {
        let mut flat = vec![ABSENT; columns.len()];
        if let Some(every) = columns.groups.first() {
            flat[every.clone()].fill(0.0);
        }
        Self { flat, columns: columns.clone() }
    }

    /// All values, group by group.
    pub fn flat(&self) -> &[f64] {
        &self.flat
    }

    /// The values of a group.
    #[inline]
    pub fn group(&self, group: usize) -> &[f64] {
        &self.flat[self.columns.groups[group].clone()]
    }

    /// The values of a quantity: one, or one for each layer or tensor; none if it is not measured.
    ///
    /// # Panics
    /// If there is no such quantity.
    pub fn get(&self, id: &str) -> &[f64] {
        &self.flat[self.columns.range(id)]
    }

    /// The loss: the first value of every step.
    #[inline]
    pub fn loss(&self) -> f64 {
        self.flat[0]
    }

    /// The value of a quantity of the whole step.
    ///
    /// # Panics
    /// If there is no such quantity, or it was not measured.
    pub fn scalar(&self, id: &str) -> f64 {
        self.get(id)[0]
    }
}

/// What a reader has to know of a model and its data.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Whether the device computes in f32, else in f64.
    pub single_precision: bool,
    /// Elements of each tensor.
    pub tensor_lens: Vec<usize>,
    /// The layer of each tensor, in the order of the layers.
    pub tensor_layers: Vec<usize>,
    /// How many examples batches are drawn from; infinite where no two draws of one are alike.
    pub population: f64,
    /// Steps in which a unit gives nothing before it counts as dead.
    pub window: u32,
}

/// What the host knows of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Taken {
    /// The learning rate.
    pub lr: f64,
    /// How many rows of the logical batch were real.
    pub rows: usize,
    /// How many of them had a weight.
    pub signal_rows: usize,
    /// The sum of the weights.
    pub weight: f64,
    /// In how many micro-batches they came.
    pub micros: usize,
    /// Which readings there are.
    pub due: Due,
}

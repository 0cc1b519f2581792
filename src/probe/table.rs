//! The table of probes: what each needs from a step, and when it is due where nothing else is said.

use crate::base::{Cadence, Error, Result};

/// A probe, in the order of [`PROBES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeId {
    /// Loss, rate and batch: always there.
    Loss,
    /// Norms of gradients, weights, updates, signals and activations.
    Statistics,
    /// Dead units, saturated activations.
    Units,
    /// Noise of the gradient.
    Noise,
    /// Variance of single partial derivatives.
    Variance,
    /// Angles between steps.
    Direction,
    /// Histograms over exponents.
    Histograms,
    /// Distance from initialization.
    Distance,
    /// What half precision loses of signals.
    Underflow,
}

/// What a probe wants measured. Needs of all probes that are due are united: each is met once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Records of activations, signals, gradients and updates.
    Records,
    /// Ages of units and counts of saturated activations, from pre-activations.
    Units,
    /// The norm of each example's gradient in resolved layers, from rows of inputs and signals; of the others that of each
    /// micro-batch.
    Examples,
    /// Sums over examples of squared partial derivatives in resolved layers: in dense ones one more matrix product each.
    Squares,
    /// Products of each example's gradient with the mean gradient: one more matrix product a dense layer, and a batch in one piece.
    Projections,
    /// Products of each example's gradient in resolved layers with the last update: one more matrix product a dense layer.
    Slopes,
    /// The gradient and the update of the step before.
    Last,
    /// Counts by exponent of activations, gradients and weights.
    Counts,
    /// The weights before the first step.
    Initial,
    /// Counts by exponent of signals, before and after they are rounded to half precision.
    Rounding,
}

/// A set of needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Needs(u16);

impl Needs {
    /// Whether it holds this one.
    pub fn has(self, need: Need) -> bool {
        self.0 & 1 << need as u16 != 0
    }

    fn with(self, needs: &[Need]) -> Self {
        Self(needs.iter().fold(self.0, |set, &need| set | 1 << need as u16))
    }

    /// Those but this one.
    pub fn without(self, need: Need) -> Self {
        Self(self.0 & !(1 << need as u16))
    }

    /// Those that are in the other set too.
    pub fn only(self, needs: &[Need]) -> Self {
        Self(self.0 & Self::default().with(needs).0)
    }
}

/// One probe.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// Which it is.
    pub id: ProbeId,
    /// Its word, which is its key in `[probes]` too, but for the first two.
    pub name: &'static str,
    /// What it shows.
    pub doc: &'static str,
    /// What it needs from a step.
    pub needs: &'static [Need],
    /// In the preset `default`: every so many steps, 0 for never.
    pub usual: u64,
    /// In the preset `full`.
    pub full: u64,
}

/// All probes. The first is always due; the second wherever any other is, since most rest on it.
pub const PROBES: [Probe; 9] = [
    Probe {
        id: ProbeId::Loss,
        name: "loss",
        doc: "loss, learning rate and size of the batch",
        needs: &[],
        usual: 1,
        full: 1,
    },
    Probe {
        id: ProbeId::Statistics,
        name: "statistics",
        doc: "norms of gradients, weights and updates, the backpropagated signal, activations",
        needs: &[Need::Records],
        usual: 1,
        full: 1,
    },
    Probe {
        id: ProbeId::Units,
        name: "units",
        doc: "units that never give anything, saturated activations",
        needs: &[Need::Units],
        usual: 1,
        full: 1,
    },
    Probe {
        id: ProbeId::Noise,
        name: "noise",
        doc: "how far the gradients of single examples scatter, and the batch size at which that matters",
        needs: &[Need::Examples],
        usual: 1,
        full: 1,
    },
    Probe {
        id: ProbeId::Variance,
        name: "variance",
        doc: "signal-to-noise ratio of partial derivatives, tests of the batch size, early stopping",
        needs: &[Need::Examples, Need::Squares, Need::Projections],
        usual: 0,
        full: 10,
    },
    Probe {
        id: ProbeId::Direction,
        name: "direction",
        doc: "angles between successive gradients and updates, and where on the parabola of the loss a step ends",
        needs: &[Need::Last, Need::Slopes],
        usual: 0,
        full: 10,
    },
    Probe {
        id: ProbeId::Histograms,
        name: "histograms",
        doc: "how gradients, weights and activations spread over the exponents of 2",
        needs: &[Need::Counts],
        usual: 0,
        full: 10,
    },
    Probe {
        id: ProbeId::Distance,
        name: "distance",
        doc: "how far the weights have come from where they began",
        needs: &[Need::Initial],
        usual: 0,
        full: 10,
    },
    Probe {
        id: ProbeId::Underflow,
        name: "underflow",
        doc: "how much of the signal half precision takes to 0 or to few digits; in mixed precision alone",
        needs: &[Need::Rounding],
        usual: 10,
        full: 10,
    },
];

/// The most cadences beside every step that one run can have: plans are made for each combination of what can be due.
pub const CADENCES_MAX: usize = 3;

/// Which cadences are due at a step: bit i stands for group i of an [`Agenda`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Due(u8);

/// What every step measures.
impl Default for Due {
    fn default() -> Self {
        Self::EVERY_STEP
    }
}

impl Due {
    /// What every step measures.
    pub const EVERY_STEP: Self = Self(1);

    /// Whether they have a group in common.
    #[inline]
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether the readings of this group are there. Those of group 0 are always.
    #[inline]
    pub fn has(self, group: usize) -> bool {
        group == 0 || self.0 & 1 << group != 0
    }

    /// A number below [`Agenda::combinations`] for each combination.
    pub fn index(self) -> usize {
        usize::from(self.0 >> 1)
    }
}

/// When the probes of a run are due. Probes of one cadence are a group; group 0 is what every step measures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agenda {
    groups: Vec<Cadence>,
    /// The group of each probe, in the order of [`PROBES`].
    of_probe: [Option<usize>; PROBES.len()],
}

/// Nothing but the loss.
impl Default for Agenda {
    fn default() -> Self {
        let mut of_probe = [None; PROBES.len()];
        of_probe[0] = Some(0);
        Self { groups: vec![Cadence::Every(1)], of_probe }
    }
}

impl Agenda {
    /// Probes at these cadences, in the order of [`PROBES`] without the first. The statistics are taken in every step if
    /// any other probe is due at all.
    ///
    /// # Errors
    /// There are more than [`CADENCES_MAX`] different ones beside every step.
    pub fn new(cadences: &[Cadence; PROBES.len() - 1]) -> Result<Self> {
        let mut agenda = Self::default();
        for (probe, cadence) in cadences.iter().enumerate().filter(|(_, cadence)| **cadence != Cadence::Never) {
            agenda.of_probe[ProbeId::Statistics as usize] = Some(0);
            let known = agenda.groups.iter().position(|group| group == cadence);
            agenda.of_probe[probe + 1] = Some(known.unwrap_or(agenda.groups.len()));
            if known.is_none() {
                agenda.groups.push(cadence.clone());
            }
        }
        agenda.of_probe[ProbeId::Statistics as usize] = agenda.of_probe[ProbeId::Statistics as usize].map(|_| 0);
        if agenda.groups.len() > CADENCES_MAX + 1 {
            let message = format!("there are {} cadences beside every step", agenda.groups.len() - 1);
            return Err(Error::input("probes", message).help(format!("give at most {CADENCES_MAX} different ones")));
        }
        Ok(agenda)
    }

    /// The cadence of each group.
    pub fn groups(&self) -> &[Cadence] {
        &self.groups
    }

    /// The group of a probe; none if it is never due.
    pub fn group(&self, probe: ProbeId) -> Option<usize> {
        self.of_probe[probe as usize]
    }

    /// Takes probes out that this run cannot have.
    pub fn without(mut self, probes: &[ProbeId]) -> Self {
        for &probe in probes {
            self.of_probe[probe as usize] = None;
        }
        self
    }

    /// What is due at a step, from 1.
    #[inline]
    pub fn due(&self, step: u64) -> Due {
        let bits = self.groups.iter().enumerate().skip(1);
        Due(bits.fold(1, |due, (group, cadence)| due | u8::from(cadence.is_due(step)) << group))
    }

    /// How many combinations of groups can be due together.
    pub fn combinations(&self) -> usize {
        1 << (self.groups.len() - 1)
    }

    /// Each combination, by its index.
    pub fn each_due(&self) -> impl Iterator<Item = Due> + use<> {
        (0..self.combinations()).map(|index| Due((index << 1 | 1) as u8))
    }

    /// What the probes that are due need.
    pub fn needs(&self, due: Due) -> Needs {
        let is_due = |probe: &&Probe| self.group(probe.id).is_some_and(|group| due.has(group));
        PROBES.iter().filter(is_due).fold(Needs::default(), |needs, probe| needs.with(probe.needs))
    }

    /// The groups of these probes.
    pub fn groups_of(&self, probes: &[ProbeId]) -> Due {
        Due(probes.iter().filter_map(|&probe| self.group(probe)).fold(0, |due, group| due | 1 << group))
    }

    /// What is needed at some step.
    pub fn needs_ever(&self) -> Needs {
        self.needs(Due(u8::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agenda(cadences: [u64; 8]) -> Result<Agenda> {
        Agenda::new(&cadences.map(|n| if n == 0 { Cadence::Never } else { Cadence::Every(n) }))
    }

    #[test]
    fn probes_stand_in_the_order_of_their_ids() {
        for (i, probe) in PROBES.iter().enumerate() {
            assert_eq!(probe.id as usize, i);
            assert!(probe.doc.len() > 10 && (i == 0) == probe.needs.is_empty(), "{}", probe.name);
        }
    }

    #[test]
    fn needs_are_united_and_nothing_is_needed_that_is_not_due() {
        let agenda = agenda([1, 0, 5, 10, 0, 0, 0, 0]).unwrap();
        assert_eq!(agenda.groups(), [1, 5, 10].map(Cadence::Every));
        let needs = |step| agenda.needs(agenda.due(step));
        let has = |step| [Need::Records, Need::Examples, Need::Squares, Need::Last].map(|need| needs(step).has(need));
        assert_eq!(has(2), [true, false, false, false]);
        assert_eq!(has(6), [true, true, false, false]);
        assert_eq!(has(11), [true, true, true, false]);
        assert_eq!((agenda.combinations(), agenda.due(11).index(), agenda.due(6).index()), (4, 3, 1));
        assert_eq!(agenda.each_due().nth(3), Some(agenda.due(11)));
        assert!(!agenda.needs_ever().has(Need::Last));
        assert!(!agenda.clone().without(&[ProbeId::Variance]).needs_ever().has(Need::Squares));
    }

    #[test]
    fn statistics_are_taken_where_anything_is() {
        let none = agenda([0; 8]).unwrap();
        assert_eq!((none.group(ProbeId::Loss), none.group(ProbeId::Statistics)), (Some(0), None));
        assert_eq!(none, Agenda::default());
        assert_eq!(agenda([0, 0, 0, 0, 0, 0, 10, 0]).unwrap().group(ProbeId::Statistics), Some(0));
        assert!(agenda([0, 2, 3, 4, 5, 0, 0, 0]).unwrap_err().to_string().contains("4 cadences"));
    }
}

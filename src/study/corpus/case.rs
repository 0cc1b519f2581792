//! The cases of a set: for each architecture healthy controls, a run that goes on until it has converged, and every fault that
//! makes sense there.

use super::altered::{Alteration, alter};
use super::architecture::{Architecture, Set, architectures};
use super::fault::{FAULTS, Fault};
use super::inject::{Injection, SEVERITIES, drawing, healthy_variants, inject};
use crate::base::{Result, Stream, StreamId};
use crate::config::Config;
use serde::Serialize;
use std::path::Path;

/// Steps of a case, and of its control: enough for the healthy ones to learn.
pub const STEPS: u64 = 400;

/// Steps of a run that is to converge.
pub const LONG_STEPS: u64 = 2_400;

/// Steps of a run that is looked at in the midst of learning.
pub const SHORT_STEPS: u64 = 120;

/// Healthy variants of an architecture, beside the control itself.
const VARIANTS: usize = 3;

/// What a case is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Kind {
    /// The healthy control that the faults of its architecture are compared with.
    Control,
    /// A healthy variant of it.
    Healthy {
        /// What is different.
        variant: &'static str,
    },
    /// The control, in the midst of learning.
    Short,
    /// The control, for longer.
    Long,
    /// The control with a fault.
    Faulty {
        /// The fault.
        fault: Fault,
        /// How strong it is, from 0.
        severity: usize,
        /// The layer where it is, of those with parameters; none if it is in all or in none.
        layer: Option<usize>,
    },
}

/// A run of the corpus.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// What it is.
    pub kind: Kind,
    /// The architecture.
    pub architecture: Architecture,
    /// The number of its control among the cases.
    pub control: usize,
    /// What is run.
    pub config: Config,
    /// For how many steps.
    pub steps: u64,
    /// What is done to the data, and the name of the folder that has them then.
    pub(super) altered: Option<(Alteration, String)>,
}

impl Case {
    /// `4×32 relu digits adam: dead units 2 in layer 1`.
    pub fn name(&self) -> String {
        let what = match &self.kind {
            Kind::Control => "control".to_owned(),
            Kind::Healthy { variant } => (*variant).to_owned(),
            Kind::Short => "short".to_owned(),
            Kind::Long => "long".to_owned(),
            Kind::Faulty { fault, severity, layer } => {
                let layer = layer.map_or(String::new(), |layer| format!(" in layer {layer}"));
                format!("{}, severity {}{layer}", fault.spec().name, severity + 1)
            }
        };
        format!("{}: {what}", self.architecture.name())
    }

    /// The config, with its data written to `folder` if they are altered.
    pub(super) fn config_in(&self, folder: &Path) -> Result<Config> {
        let mut config = self.config.clone();
        if let Some((alteration, name)) = &self.altered {
            alter(&mut config, *alteration, &folder.join(name))?;
        }
        Ok(config)
    }
}

/// The cases of so many architectures of a set; the same seed gives the same cases.
///
/// # Errors
/// If a config does not fit, which would be a bug.
pub fn cases(set: Set, count: usize, seed: u64) -> Result<Vec<Case>> {
    let mut found = Vec::new();
    let mut stream = Stream::new(seed, StreamId::Sample(set.first_seed() as u32 + 1));
    for (i, architecture) in architectures(set, count, seed).into_iter().enumerate() {
        let own_seed = set.first_seed() + 10 * i as u64;
        let config = architecture.config(own_seed)?;
        let control = found.len();
        let case =
            |kind: Kind, config: Config, steps: u64| Case { kind, architecture, control, config, steps, altered: None };
        found.push(case(Kind::Control, config.clone(), STEPS));
        found.push(case(Kind::Short, config.clone(), SHORT_STEPS));
        found.push(case(Kind::Long, config.clone(), LONG_STEPS));
        let mut draw = drawing(&mut stream);
        let mut variants = healthy_variants(&architecture);
        for n in 0..VARIANTS {
            let (variant, changes) = variants.swap_remove(draw(variants.len()));
            // Another seed too: other data, other weights.
            let mut config = architecture.config(own_seed + 1 + n as u64)?;
            config.set_all(changes)?;
            found.push(case(Kind::Healthy { variant }, config, STEPS));
        }
        for (place, spec) in FAULTS.iter().enumerate() {
            let severity = (i + place) % SEVERITIES;
            let Some(injection) = inject(spec.fault, &architecture, severity, &mut draw) else { continue };
            let Injection { changes, alteration, layer } = injection;
            let kind = Kind::Faulty { fault: spec.fault, severity, layer };
            let mut config = config.clone();
            config.set_all(changes)?;
            let altered = alteration.map(|how| (how, format!("{}-{i}-{place}", set.word())));
            found.push(Case { altered, ..case(kind, config, STEPS) });
        }
    }
    Ok(found)
}

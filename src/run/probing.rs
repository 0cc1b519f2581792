//! From `[probes]` to what is measured when.

use crate::base::{Cadence, Result};
use crate::config::{Precision, Preset, Probes, Timing};
use crate::probe::{Agenda, PROBES, Probe, ProbeId};

/// Steps in which a unit gives nothing before it counts as dead: an epoch, but not more than a thousand.
pub(super) fn window(steps_per_epoch: usize) -> u32 {
    steps_per_epoch.min(1000) as u32
}

/// What is measured at which steps of a run with batches of so many rows, in this precision. One example says nothing of noise, and where
/// nothing is of half precision it loses nothing.
///
/// # Errors
/// If there are too many cadences.
pub fn agenda(probes: &Probes, batch_rows: usize, precision: Precision) -> Result<Agenda> {
    let agenda = Agenda::new(&std::array::from_fn(|i| cadence(probes, precision, &PROBES[i + 1])))?;
    let scatter: &[ProbeId] = &[ProbeId::Noise, ProbeId::Variance];
    Ok(if batch_rows > 1 { agenda } else { agenda.without(scatter) })
}

/// When a probe is due in a run of this precision.
pub fn cadence(probes: &Probes, precision: Precision, probe: &Probe) -> Cadence {
    if probe.id == ProbeId::Underflow && precision != Precision::Mixed {
        return Cadence::Never;
    }
    let every = |n: u64| if n == 0 { Cadence::Never } else { Cadence::Every(n) };
    let usual = match probes.preset {
        Preset::Default => every(probe.usual),
        Preset::Full => every(probe.full),
        Preset::Off => Cadence::Never,
    };
    let timing = match probe.id {
        ProbeId::Loss | ProbeId::Statistics => return usual,
        ProbeId::Units => &probes.units,
        ProbeId::Noise => &probes.noise,
        ProbeId::Variance => &probes.variance,
        ProbeId::Direction => &probes.direction,
        ProbeId::Histograms => &probes.histograms,
        ProbeId::Distance => &probes.distance,
        ProbeId::Underflow => &probes.underflow,
    };
    match timing {
        Timing::Preset => usual,
        Timing::At(cadence) => cadence.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, keys};

    fn of(set: &[&str]) -> Result<Agenda> {
        let mut config = Config::builtin_digits();
        set.iter().for_each(|it| config.set(it).unwrap());
        agenda(&config.probes, 32, Precision::Mixed)
    }

    #[test]
    fn every_probe_but_those_of_every_step_has_its_key() {
        let keys: Vec<String> =
            keys().iter().filter_map(|key| key.path.strip_prefix("probes.").map(Into::into)).collect();
        let names: Vec<&str> = PROBES[2..].iter().map(|probe| probe.name).collect();
        assert_eq!(keys[0], "preset");
        assert_eq!(keys[1..], names);
        for probe in &PROBES[2..] {
            let agenda = of(&["probes.preset=off", &format!("probes.{}=3", probe.name)]).unwrap();
            assert_eq!(agenda.groups(), [Cadence::Every(1), Cadence::Every(3)]);
            assert_eq!(agenda.group(probe.id), Some(1), "{}", probe.name);
            assert_eq!(agenda.group(ProbeId::Statistics), Some(0));
        }
    }

    #[test]
    fn presets_are_what_they_say() {
        let groups = |set: &[&str]| PROBES.map(|probe| of(set).unwrap().group(probe.id));
        let [every, seldom, never] = [Some(0), Some(1), None];
        assert_eq!(groups(&[]), [every, every, every, every, never, never, never, never, seldom]);
        assert_eq!(
            groups(&["probes.preset=full"]),
            [every, every, every, every, seldom, seldom, seldom, seldom, seldom]
        );
        assert_eq!(groups(&["probes.preset=off"])[1..], [never; 8]);
        assert_eq!(groups(&["probes.noise=0"])[3], never);
        assert!(of(&["probes.noise=geometric"]).unwrap().groups().contains(&Cadence::Geometric));
        assert_eq!(of(&["probes.units=[5, 2, 5]"]).unwrap().groups()[1], Cadence::At(vec![2, 5]));
        let single = agenda(&Config::builtin_digits().probes, 32, Precision::F32).unwrap();
        assert_eq!((single.group(ProbeId::Underflow), single.groups()), (None, &[Cadence::Every(1)][..]));
        let one = agenda(&Config::builtin_digits().probes, 1, Precision::F32).unwrap();
        assert_eq!((one.group(ProbeId::Noise), one.group(ProbeId::Units)), (None, Some(0)));
        assert!(of(&["probes.units=2", "probes.noise=3", "probes.variance=4", "probes.distance=5"]).is_err());
    }
}

//! Work that can be done in several ways, each the fastest somewhere. They are data, too: the executor picks one by what it knows of
//! its device, tests run them all, and `study::tune` times them.

use super::GpuWork;
use std::collections::BTreeMap;

/// The kinds of devices that heuristics tell apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Class {
    /// A program on the CPU that plays a GPU.
    Software,
    /// A GPU that shares the host's memory.
    Integrated,
    /// Any other GPU.
    #[default]
    Discrete,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Software, Self::Integrated, Self::Discrete];
}

/// Threads that a subgroup has at least where a way [`Needs`] one.
pub const SUBGROUP: u32 = 8;

/// What a way asks of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Workgroup memory, in bytes.
    pub workgroup_bytes: u32,
    /// Threads of a workgroup.
    pub threads: u32,
    /// Whether they have to form whole subgroups of at least [`SUBGROUP`] threads.
    pub subgroups: bool,
}

/// One of several ways.
#[derive(Clone, Debug, PartialEq)]
pub struct Way {
    /// Its name, unique among the ways of a problem.
    pub name: String,
    /// What it asks of the device.
    pub needs: Needs,
    /// The work; it has no further ways.
    pub work: GpuWork,
}

/// The ways to do some work. All give the same result up to rounding.
#[derive(Clone, Debug, PartialEq)]
pub struct Ways {
    /// The problem, whatever buffers it is about: choices are remembered by it.
    pub problem: String,
    /// Floating-point operations; 0 of what `study::tune` does not time.
    pub flops: f64,
    /// The ways. The first one runs everywhere.
    pub all: Vec<Way>,
    /// For each of [`Class::ALL`] the numbers of the ways that the heuristic takes, the most wanted first.
    pub wanted: [Vec<usize>; 3],
}

/// What is known of the device that work is picked for. The default is what WebGPU promises everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What kind of device.
    pub class: Class,
    /// Workgroup memory, in bytes.
    pub workgroup_bytes: u32,
    /// Threads of a workgroup at most.
    pub threads: u32,
    /// The smallest and the largest subgroup, where kernels may use them.
    pub subgroups: Option<[u32; 2]>,
    /// Ways by problem that were found the fastest here: they come before the heuristic's.
    pub choices: BTreeMap<String, String>,
}

impl Default for Target {
    fn default() -> Self {
        Self {
            class: Class::default(),
            workgroup_bytes: 16 * 1024,
            threads: 256,
            subgroups: None,
            choices: BTreeMap::new(),
        }
    }
}

impl Target {
    /// Whether the device can go this way.
    pub fn can(&self, needs: &Needs) -> bool {
        let whole = |[least, most]: [u32; 2]| least >= SUBGROUP && needs.threads.is_multiple_of(most);
        needs.workgroup_bytes <= self.workgroup_bytes
            && needs.threads <= self.threads
            && (!needs.subgroups || self.subgroups.is_some_and(whole))
    }

    /// The way that the heuristic takes.
    pub fn by_table<'a>(&self, ways: &'a Ways) -> &'a Way {
        let rank = Class::ALL.iter().position(|class| *class == self.class).unwrap_or_default();
        let wanted = ways.wanted[rank].iter().map(|&i| &ways.all[i]);
        wanted.filter(|way| self.can(&way.needs)).chain(&ways.all).next().expect("there is a way")
    }

    /// The way that was found the fastest, if it is known and can be gone.
    pub fn by_choice<'a>(&self, ways: &'a Ways) -> Option<&'a Way> {
        let name = self.choices.get(&ways.problem)?;
        ways.all.iter().find(|way| way.name == *name && self.can(&way.needs))
    }

    /// The work as this device is to do it.
    pub fn pick(&self, work: GpuWork) -> GpuWork {
        match work.ways.as_deref() {
            None => work,
            Some(ways) => self.by_choice(ways).unwrap_or_else(|| self.by_table(ways)).work.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(name: &str, needs: Needs) -> Way {
        Way { name: name.to_owned(), needs, work: GpuWork { scratch: vec![name.len()], ..GpuWork::default() } }
    }

    fn ways() -> GpuWork {
        let all = vec![
            way("a", Needs { threads: 64, ..Needs::default() }),
            way("bb", Needs { threads: 64, workgroup_bytes: 20_000, subgroups: false }),
            way("ccc", Needs { threads: 64, subgroups: true, ..Needs::default() }),
        ];
        let wanted = [vec![2, 1], vec![1, 2], vec![]];
        GpuWork { ways: Some(Box::new(Ways { problem: "p".into(), flops: 1.0, all, wanted })), ..GpuWork::default() }
    }

    #[test]
    fn the_first_wanted_way_that_the_device_can_go_is_taken() {
        let picked = |target: &Target| target.pick(ways()).scratch[0];
        let least = Target::default();
        assert_eq!(picked(&least), 1);
        assert_eq!(picked(&Target { class: Class::Software, ..least.clone() }), 1);
        let large = Target { class: Class::Software, workgroup_bytes: 32_768, ..least.clone() };
        assert_eq!(picked(&large), 2);
        for (sizes, taken) in [([8, 8], 3), ([32, 64], 3), ([4, 4], 2), ([8, 128], 2)] {
            assert_eq!(picked(&Target { subgroups: Some(sizes), ..large.clone() }), taken, "{sizes:?}");
        }
        assert_eq!(picked(&Target { class: Class::Integrated, subgroups: Some([8, 8]), ..large }), 2);
    }

    #[test]
    fn a_choice_comes_first_if_it_can_be_gone() {
        let chosen = |way: &str| Target {
            choices: [("p".to_owned(), way.to_owned())].into(),
            workgroup_bytes: 32_768,
            ..Target::default()
        };
        assert_eq!(chosen("bb").pick(ways()).scratch, [2]);
        for unknown in ["ccc", "dddd"] {
            assert_eq!(chosen(unknown).pick(ways()).scratch, [1]);
        }
    }
}

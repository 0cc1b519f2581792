//! The architectures of the corpus: those that thresholds are chosen on, and those that verdicts are scored on.
//!
//! The two sets share no depth and no width, so no architecture of one is in the other; beside that each has activations,
//! data sets and optimizers that the other has not. Within a set architectures are drawn without repetition from all
//! combinations, by a stream of the corpus's seed.

use crate::base::{Result, Stream, StreamId};
use crate::config::Config;
use serde::Serialize;

/// Which half of the corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Set {
    /// Thresholds are chosen on it.
    Tuned,
    /// What rules are worth is told on it.
    Scored,
}

impl Set {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tuned => "tuned",
            Self::Scored => "scored",
        }
    }

    fn pool(self) -> &'static Pool {
        match self {
            Self::Tuned => &TUNED,
            Self::Scored => &SCORED,
        }
    }

    /// The first seed of its runs; no two sets share one.
    pub fn first_seed(self) -> u64 {
        match self {
            Self::Tuned => 1_000,
            Self::Scored => 1_000_000,
        }
    }
}

/// What a set is drawn from.
struct Pool {
    hidden: &'static [usize],
    widths: &'static [usize],
    activations: &'static [&'static str],
    data: &'static [&'static str],
    optimizers: &'static [&'static str],
}

const TUNED: Pool = Pool {
    hidden: &[1, 3, 5, 8],
    widths: &[24, 48, 96],
    activations: &["relu", "leaky_relu", "tanh", "sigmoid"],
    data: &["digits", "blobs-3", "circles", "teacher-value"],
    optimizers: &["sgd", "momentum", "adam", "rmsprop"],
};

const SCORED: Pool = Pool {
    hidden: &[2, 4, 6, 10],
    widths: &[16, 32, 64],
    activations: &["relu", "elu", "gelu", "silu", "tanh", "sigmoid"],
    data: &["digits", "blobs-6", "rings", "teacher-class", "linear"],
    optimizers: &["sgd", "nesterov", "adam", "adamw", "adagrad"],
};

/// A data set of the corpus, as `[data]` has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DataSet {
    /// Its name.
    pub id: &'static str,
    /// The keys of `[data]`.
    pub keys: &'static str,
    /// What a model gives for an example.
    pub outputs: usize,
    /// Whether targets are classes.
    pub is_classes: bool,
}

/// Every data set.
pub const DATA_SETS: [DataSet; 8] = [
    DataSet { id: "digits", keys: "source = 'digits'", outputs: 10, is_classes: true },
    DataSet {
        id: "blobs-3",
        keys: "source = 'blobs'\nexamples = 800\nfeatures = 6\nclasses = 3",
        outputs: 3,
        is_classes: true,
    },
    DataSet {
        id: "blobs-6",
        keys: "source = 'blobs'\nexamples = 1200\nfeatures = 12\nclasses = 6",
        outputs: 6,
        is_classes: true,
    },
    DataSet { id: "circles", keys: "source = 'circles'\nexamples = 800", outputs: 2, is_classes: true },
    DataSet { id: "rings", keys: "source = 'circles'\nexamples = 1500\nnoise = 0.06", outputs: 2, is_classes: true },
    DataSet {
        id: "teacher-class",
        keys: "source = 'teacher'\nexamples = 2000\nfeatures = 8\nclasses = 3",
        outputs: 3,
        is_classes: true,
    },
    DataSet {
        id: "teacher-value",
        keys: "source = 'teacher'\nexamples = 2000\nfeatures = 5",
        outputs: 1,
        is_classes: false,
    },
    DataSet { id: "linear", keys: "source = 'linear'\nexamples = 1000\nfeatures = 8", outputs: 1, is_classes: false },
];

/// A network, what it learns, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Architecture {
    /// Hidden layers.
    pub hidden: usize,
    /// Units of each.
    pub width: usize,
    /// The activation behind each.
    pub activation: &'static str,
    /// The data set.
    pub data: &'static str,
    /// The optimizer.
    pub optimizer: &'static str,
}

impl Architecture {
    /// `4×32 relu digits adam`.
    pub fn name(&self) -> String {
        format!("{}×{} {} {} {}", self.hidden, self.width, self.activation, self.data, self.optimizer)
    }

    /// Its data set.
    pub fn data_set(&self) -> DataSet {
        DATA_SETS.into_iter().find(|set| set.id == self.data).expect("a test holds that each is known")
    }

    /// Layers with parameters: the hidden ones and the last.
    pub fn layers(&self) -> usize {
        self.hidden + 1
    }

    /// The initializer that keeps signals their size through its activation.
    fn init(&self) -> &'static str {
        match self.activation {
            "tanh" | "sigmoid" => "glorot_uniform",
            _ => "he_normal",
        }
    }

    /// A rate that is common for its optimizer, and does for all depths of the corpus.
    pub fn lr(&self) -> f64 {
        let lr = match self.optimizer {
            "sgd" => 0.05,
            "momentum" | "nesterov" => 0.01,
            "adagrad" => 0.01,
            "rmsprop" => 0.001,
            _ => 0.002,
        };
        // A sigmoid passes on a quarter at most, and plain descent has to make up for it.
        if self.activation == "sigmoid" && matches!(self.optimizer, "sgd" | "momentum" | "nesterov") {
            10.0 * lr
        } else {
            lr
        }
    }

    /// The healthy config.
    ///
    /// # Errors
    /// If the config does not fit, which would be a bug.
    pub fn config(&self, seed: u64) -> Result<Config> {
        let data = self.data_set();
        let hidden =
            format!("{{ kind = 'linear', out = {} }}, '{}', ", self.width, self.activation).repeat(self.hidden);
        let text = format!(
            "[data]\n{}\nsplit = 0.2\n[model]\nlayers = [{hidden}{{ kind = 'linear', out = {} }}]\ninit = '{}'\n\
             bias_init = 'zeros'\n[train]\noptimizer = '{}'\nlr = {:?}\nseed = {seed}\nepochs = 10000\n\
             [device]\ndevice = 'cpu'\nthreads = 1\n",
            data.keys,
            data.outputs,
            self.init(),
            self.optimizer,
            self.lr()
        );
        Config::from_toml_str(&text, "corpus.toml")
    }
}

/// All combinations of a set.
fn all(set: Set) -> Vec<Architecture> {
    let pool = set.pool();
    let mut found = Vec::new();
    for &hidden in pool.hidden {
        for &width in pool.widths {
            for &activation in pool.activations {
                for &data in pool.data {
                    for &optimizer in pool.optimizers {
                        found.push(Architecture { hidden, width, activation, data, optimizer });
                    }
                }
            }
        }
    }
    // Sigmoids vanish from three hidden layers on; there they are a fault, and injected as one.
    found.retain(|one| one.activation != "sigmoid" || one.hidden <= 2);
    found
}

/// So many architectures of a set, drawn without repetition; all of them if there are fewer.
pub fn architectures(set: Set, count: usize, seed: u64) -> Vec<Architecture> {
    let mut pool = all(set);
    let mut stream = Stream::new(seed, StreamId::Sample(set.first_seed() as u32));
    let count = count.min(pool.len());
    for i in 0..count {
        let rest = u32::try_from(pool.len() - i).expect("a few hundred");
        pool.swap(i, i + stream.below(rest) as usize);
    }
    pool.truncate(count);
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_share_no_depth_and_no_width() {
        let apart = |a: &[usize], b: &[usize]| a.iter().all(|x| !b.contains(x));
        assert!(apart(TUNED.hidden, SCORED.hidden) && apart(TUNED.widths, SCORED.widths));
        let (tuned, scored) = (all(Set::Tuned), all(Set::Scored));
        assert!(tuned.len() > 100 && scored.len() > 100 && tuned.iter().all(|one| !scored.contains(one)));
    }

    #[test]
    fn all_configs_are_valid_and_draws_repeat_nothing() {
        for set in [Set::Tuned, Set::Scored] {
            for one in all(set) {
                one.config(3).unwrap_or_else(|error| panic!("{}: {error}", one.name()));
            }
            let drawn = architectures(set, 60, 1);
            assert_eq!(drawn, architectures(set, 60, 1));
            assert_ne!(drawn, architectures(set, 60, 2));
            assert!((1..drawn.len()).all(|i| !drawn[..i].contains(&drawn[i])));
        }
    }
}

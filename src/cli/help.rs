//! What the help of each command says at its end: examples, which a test parses, and where rules come from.

pub const TRAIN: &str = "\
Examples:
  steepest train                                    # the built-in digits, on the best device
  steepest train net.toml --seed 3 --device cpu
  steepest train net.toml --set train.lr=0.01 --set 'model.layers[0].out=256'
  steepest train --epochs 5 --max-time 1m --out runs/short
  steepest train net.toml --set train.batch=adaptive  # batches grow with the noise of the gradient
  steepest train net.toml --json > summary.json     # progress goes to standard error
  steepest train net.toml --stop-on exploding,nan   # ends early where a verdict says so, with exit code 3
  steepest train net.toml --profile                 # where the time of a step goes
  steepest train --resume runs/20260101-120000-net  # a run that was killed goes on
  steepest train --resume runs/short --epochs 50    # a run that is finished goes on to a later end";

pub const COMPARE: &str = "\
Examples:
  steepest compare                                  # five batch sizes on the built-in digits
  steepest compare net.toml --examples 20000 --seeds 5
  steepest compare net.toml --vary train.batch=full,1,32,256 --vary train.optimizer=sgd,adam
  steepest compare --example convex                 # distance to a known optimum, rates against theory
  steepest compare --example surface                # who leaves a bad valley, over 20 seeds
  steepest compare net.toml --target 0.1 --time 30s --json > compare.json

Each variant starts from the same weights and ends when one of the budgets is spent; by default that is the
number of examples in the epochs of the config, or its train.max_steps if it has that.";
pub const DIAGNOSE: &str = "\
Examples:
  steepest diagnose net.toml                        # exit code 3 if a fault is found, not for advice
  steepest diagnose net.toml --try                  # each remedy from the same seed, and all together
  steepest diagnose net.toml --apply mended.toml    # tries them, and writes the config that did best
  steepest diagnose net.toml --steps 1000 --json

A verdict is silenced by its id: --set 'verdicts.silence=[\"plateau\"]'.";

pub const CORPUS: &str = "\
Examples:
  steepest corpus                                   # recall and false alarms on the scored architectures
  steepest corpus --set tuned --architectures 8     # a few of those that thresholds are chosen on
  steepest corpus --try --out verdicts.json         # and how many faults the remedies mend
  steepest corpus --json > runs.json                # every run, with what its verdicts rest on";

pub const EVAL: &str = "\
Examples:
  steepest eval runs/20260101-120000-digits         # its best weights on its test part
  steepest eval runs/20260101-120000-digits --data new.csv --csv scores.csv
  steepest eval net.toml --weights model.safetensors --json";

pub const PREDICT: &str = "\
Examples:
  steepest predict runs/20260101-120000-digits --data new.csv
  steepest predict runs/20260101-120000-digits --data x.npy --out predictions.npy";

pub const INSPECT: &str = "\
Examples:
  steepest inspect net.toml --weights model.safetensors --rows 0..32 --out gradients.safetensors
  steepest inspect net.toml --weights model.safetensors --rows 0..8 --out g.safetensors --check
  steepest inspect runs/digits --rows 0..200 --partials --noise
  steepest inspect runs/digits --worst 20                       # mislabelled ones are often among them
  steepest inspect runs/digits --part test --conflicts --json
  steepest inspect runs/digits --rows 0..24 --input-gradient digits.png";

pub const NOISE: &str = "\
Examples:
  steepest noise                                    # the built-in digits
  steepest noise net.toml --epochs 2
  steepest noise net.toml --max-steps 500 --json > noise.json

The noise scale is the batch size at which the gradients of single examples scatter as much as the gradient is long
(McCandlish et al. 2018, \"An Empirical Model of Large-Batch Training\"). Well below it, twice the batch saves half the
steps; well above it, next to nothing. It grows as training goes on.";

pub const PROBES: &str = "\
Examples:
  steepest probes                                   # for the built-in digits, on the best device
  steepest probes net.toml --device cpu --json > probes.json
  steepest probes --no-cost --set probes.preset=full";

pub const TUNE: &str = "\
Examples:
  steepest tune                                     # the products of the built-in digits, on the best device
  steepest tune net.toml --device 0 --rounds 25
  steepest tune net.toml --json > kernels.json

Each kernel is held against the CPU first, then all are timed in turn. What is found is kept in the user's cache folder
(STEEPEST_CACHE_DIR, else steepest in XDG_CACHE_HOME or ~/.cache) by adapter, driver and kernels, and later runs on the
device take it. Kernels differ in rounding: with device.deterministic = true a run leaves timed choices out.";

pub const RANGE: &str = "\
Examples:
  steepest range                                    # the built-in digits
  steepest range net.toml --set train.optimizer=sgd --seeds 5
  steepest range net.toml --from 1e-5 --to 1 --steps 400 --out rates
  steepest range net.toml --json > range.json

The rate rises geometrically from step to step until the loss diverges (Smith 2017, \"Cyclical Learning Rates for
Training Neural Networks\"); then rates are held, to find the largest that is stable. A fall of the loss counts only
where it stands out of its noise.";

pub const PLAN: &str = "\
Examples:
  steepest plan
  steepest plan net.toml --set train.batch=256 --device cpu";

pub const BENCH: &str = "\
Examples:
  steepest bench                                     # the best device, in less than a minute
  steepest bench --device cpu --out cpu.json
  steepest bench --device nvidia --against cpu.json  # how many times as fast, figure by figure
  steepest bench --quick --json > bench.json

What would take too long on this device, or does not fit into its memory, is skipped, and the report says so.";

pub const DEVICES: &str = "\
Examples:
  steepest devices
  steepest devices --json

The name of a device may be shortened: --device nvidia takes the first device with that in its name.
A software adapter is taken only when it is named.";

pub const CONFIG: &str = "\
Examples:
  steepest config > net.toml                        # the built-in digits, to start from
  steepest config net.toml --set train.optimizer=sgd";

//! What can be asked for on the command line.

use super::help::{
    BENCH, COMPARE, CONFIG, CORPUS, DEVICES, DIAGNOSE, EVAL, INSPECT, NOISE, PLAN, PREDICT, PROBES, RANGE, TRAIN, TUNE,
};
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// A GPU training engine that shows what gradients do: it trains networks on any Vulkan, Metal or DX12 GPU and on the CPU,
/// and measures gradients in every step.
#[derive(Debug, Parser)]
#[command(name = "steepest", version, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "\
Start with:
  steepest train                 train on the built-in digits
  steepest keys                  every setting, with its default and meaning
  steepest COMMAND --help        what a command does, with examples

Exit codes: 0 done; 1 the run failed; 2 usage or input was wrong; 3 diagnose found a fault, or one
of --stop-on ended a training.")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a model and record what its gradients do
    #[command(after_help = TRAIN)]
    Train(TrainArgs),
    /// Run variants side by side: batch, stochastic and mini-batch descent, or any settings that differ
    #[command(after_help = COMPARE)]
    Compare(CompareArgs),
    /// Say what is wrong with a config, why, and what mends it
    #[command(after_help = DIAGNOSE)]
    Diagnose(DiagnoseArgs),
    /// Score verdicts on a corpus of faults, beside the rules of other tools
    #[command(after_help = CORPUS)]
    Corpus(CorpusArgs),
    /// Judge a trained model on a part of the data or a file
    #[command(after_help = EVAL)]
    Eval(EvalArgs),
    /// Predict the targets of new examples
    #[command(after_help = PREDICT)]
    Predict(PredictArgs),
    /// Look at the exact gradients of chosen examples: partial derivatives, noise, examples, classes, inputs
    #[command(after_help = INSPECT)]
    Inspect(InspectArgs),
    /// Measure the noise of the gradient and advise a batch size
    #[command(after_help = NOISE)]
    Noise(NoiseArgs),
    /// List what can be measured, with formulas, sources, and what it costs on this device
    #[command(after_help = PROBES)]
    Probes(ProbesArgs),
    /// Test which learning rates lower the loss, and which is the largest that stays stable
    #[command(after_help = RANGE)]
    Range(RangeArgs),
    /// Find the fastest kernels on this device for the matrix products of a config
    #[command(after_help = TUNE)]
    Tune(TuneArgs),
    /// Show graph, plans, buffers and memory of a run without running it
    #[command(after_help = PLAN)]
    Plan(PlanArgs),
    /// Measure what a device can do: products, memory, training steps, statistics, latency
    #[command(after_help = BENCH)]
    Bench(BenchArgs),
    /// List the devices that a run can take
    #[command(after_help = DEVICES)]
    Devices(DevicesArgs),
    /// Show all settings of a config, defaults too
    #[command(after_help = CONFIG)]
    Config(ConfigArgs),
    /// Show the reference of all settings, in Markdown
    #[command(after_help = "Examples:\n  steepest keys\n  steepest keys > settings.md")]
    Keys,
}

/// Which settings.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigArgs {
    /// The settings, a TOML file or the folder of a run; the built-in digits example if not given
    #[arg(value_name = "CONFIG")]
    pub config: Option<PathBuf>,
    /// Change a setting; may be given many times
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
}

/// Where it runs.
#[derive(Args, Clone, Debug, Default)]
pub struct DeviceArgs {
    /// auto, cpu, gpu, or the number or part of the name of a device; see `steepest devices`
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,

    /// f32; mixed, which stores factors of products in 16 bits, on GPUs that have shader-f16; or f64, on the CPU alone
    #[arg(long, value_name = "PRECISION")]
    pub precision: Option<String>,
}

#[derive(Args, Debug)]
pub struct NoiseArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// What all random numbers follow from
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Passes over the training part
    #[arg(long, value_name = "N")]
    pub epochs: Option<u64>,
    /// Steps after which it ends
    #[arg(long, value_name = "N")]
    pub max_steps: Option<u64>,
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct ProbesArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Do not measure what probes cost
    #[arg(long)]
    pub no_cost: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct RangeArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// What all random numbers follow from; with several seeds, the first
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// How many seeds: their losses are averaged, and a rate is stable if it is so for all
    #[arg(long, value_name = "N")]
    pub seeds: Option<u64>,
    /// The first rate; 1e-6 if not given
    #[arg(long, value_name = "LR")]
    pub from: Option<f64>,
    /// The last rate; 10 if not given
    #[arg(long, value_name = "LR")]
    pub to: Option<f64>,
    /// Steps from the first rate to the last, and for which a rate is held; 200 if not given
    #[arg(long, value_name = "N")]
    pub steps: Option<usize>,
    /// The folder for range.json, range.csv and the picture: empty, or not there yet
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct TuneArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// How often each kernel is timed; 9 if not given
    #[arg(long, value_name = "N")]
    pub rounds: Option<usize>,
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct TrainArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// What all random numbers follow from
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Passes over the training part
    #[arg(long, value_name = "N")]
    pub epochs: Option<u64>,
    /// Steps after which training ends
    #[arg(long, value_name = "N")]
    pub max_steps: Option<u64>,
    /// Time after which training ends: 90s, 10m, 1h30m
    #[arg(long, value_name = "TIME")]
    pub max_time: Option<String>,
    /// Verdicts that end the training early: `exploding,nan`
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub stop_on: Vec<String>,
    /// The folder of the run: empty, or not there yet; one named by time in `record.dir` if not given
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Go on with the run in this folder from its last checkpoint; its end and its device may be changed, nothing else
    #[arg(long, value_name = "RUN", conflicts_with_all = ["config", "out"])]
    pub resume: Option<PathBuf>,
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Say where the time of a step goes, by phase and by step of the plans; training is slower for it, and its weights are the same
    #[arg(long)]
    pub profile: bool,
    /// Write the summary as JSON, alone, to standard output; progress goes to standard error
    #[arg(long)]
    pub json: bool,
    /// Show the result only
    #[arg(long, short)]
    pub quiet: bool,
}

/// A comparison that is built in.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub enum ExampleName {
    /// Handwritten digits
    Digits,
    /// A quadratic with a known optimum
    Convex,
    /// A surface of two parameters with local minima
    Surface,
}

#[derive(Args, Debug)]
pub struct CompareArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Compare on a built-in example in place of a config
    #[arg(long, value_enum, value_name = "NAME", conflicts_with = "config")]
    pub example: Option<ExampleName>,
    /// What differs: each value makes a variant, several flags every combination; by default batch sizes
    #[arg(long, value_name = "SECTION.KEY=VALUE,VALUE,…")]
    pub vary: Vec<String>,
    /// How many seeds each variant is run with; with several, median and range are shown
    #[arg(long, value_name = "N")]
    pub seeds: Option<u64>,
    /// The first seed
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// End each run when it has seen so many examples
    #[arg(long, value_name = "N")]
    pub examples: Option<u64>,
    /// End each run after so many steps
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// End each run after so much training: 90s, 10m
    #[arg(long, value_name = "TIME")]
    pub time: Option<String>,
    /// End each run at this training loss, and show when that was; without it all are measured at a loss that all reach
    #[arg(long, value_name = "LOSS")]
    pub target: Option<f64>,
    /// The folder of the comparison: empty, or not there yet; one named by time in `record.dir` if not given
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Write everything as JSON, alone, to standard output
    #[arg(long)]
    pub json: bool,
    /// Show the result only
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Args, Debug)]
pub struct DiagnoseArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Steps of the short run, and of each tried remedy; 300 if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub steps: Option<u64>,
    /// Try each remedy from the same seed, one at a time and together
    #[arg(long = "try")]
    pub tries: bool,
    /// Try the remedies, and write the config that did best, if one did better than this one, to a new file
    #[arg(long, value_name = "OUT.toml")]
    pub apply: Option<PathBuf>,
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Write what was found as JSON to standard output
    #[arg(long)]
    pub json: bool,
}

/// A set of architectures.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub enum SetName {
    /// Those that thresholds are chosen on
    Tuned,
    /// Those that verdicts are scored on
    Scored,
}

#[derive(Args, Debug)]
pub struct CorpusArgs {
    /// Which architectures
    #[arg(long, value_enum, default_value_t = SetName::Scored)]
    pub set: SetName,
    /// How many of them; 48 if not given
    #[arg(long, value_name = "N", value_parser = at_least_1)]
    pub architectures: Option<usize>,
    /// What the draw of architectures and faults follows from; 1 if not given
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Try the remedies of each run with a fault
    #[arg(long = "try")]
    pub tries: bool,
    /// How many runs go on at once; one for each core if not given
    #[arg(long, value_name = "N", value_parser = at_least_1)]
    pub workers: Option<usize>,
    /// Write the table to this new file, which ends in .json, and a line for each run to the one beside it that ends in .csv
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Write everything as JSON to standard output
    #[arg(long)]
    pub json: bool,
    /// Show no progress
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Args, Debug)]
pub struct EvalArgs {
    /// The folder of a run, or a config
    #[arg(value_name = "RUN_OR_CONFIG")]
    pub run: PathBuf,
    /// The weights, a safetensors file; those of the run if not given
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Other examples, in the form of the run's own; its test part if not given
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Write all scores as JSON to standard output
    #[arg(long)]
    pub json: bool,
    /// Write the scores of each class or output to a CSV file too
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct PredictArgs {
    /// The folder of a run
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// The examples: a CSV file with the columns of the training data, an npy file of features, an npz file with an array `x`,
    /// or an IDX file
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    /// The weights, a safetensors file; those of the run if not given
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Where the predictions go, by its ending: .csv or .npy; a table on standard output if not given
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// A part of the data.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub enum DataPart {
    Train,
    Validation,
    Test,
}

#[derive(Args, Debug)]
pub struct InspectArgs {
    /// The settings, a TOML file or the folder of a run
    #[arg(value_name = "CONFIG")]
    pub config: PathBuf,
    /// Change a setting; may be given many times
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// The weights at which gradients are taken, a safetensors file; those of the run if CONFIG is its folder
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Which rows of the part, from 0, the last one excluded; all if not given
    #[arg(long, value_name = "A..B", value_parser = rows)]
    pub rows: Option<std::ops::Range<usize>>,
    /// Which part of the data
    #[arg(long, value_enum, default_value_t = DataPart::Train)]
    pub part: DataPart,
    /// Write the gradients to this file, as safetensors
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Rank single parameters by size, by signal-to-noise ratio and by disagreement with central differences; show N of each
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "10", value_parser = at_least_1)]
    pub partials: Option<usize>,
    /// Show the N examples with the largest gradients of their own; mislabelled ones tend to be among the first
    #[arg(long, value_name = "N", value_parser = at_least_1)]
    pub worst: Option<usize>,
    /// Write the gradient of each row's loss with respect to its input: a file that ends in .png (a grid of inputs and
    /// gradients: red raises the loss, blue lowers it) or .npy, or a folder for both
    #[arg(long, value_name = "PATH")]
    pub input_gradient: Option<PathBuf>,
    /// Compare the mean gradients of the classes by their cosines, the most conflicting pairs first
    #[arg(long)]
    pub conflicts: bool,
    /// Measure the noise of the gradient: noise scale, norm, inner-product and orthogonality tests, early stopping
    #[arg(long)]
    pub noise: bool,
    /// Compute on this device, in the precision of the config; in double precision on the CPU if not given
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Compare with central differences in double precision, N entries of each tensor; exit code 1 if they do not agree
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "16")]
    pub check: Option<usize>,
    /// Write what was found as JSON to standard output
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct PlanArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub device: DeviceArgs,
}

#[derive(Args, Debug)]
pub struct BenchArgs {
    /// auto, cpu, gpu, or the number or part of the name of a device; see `steepest devices`
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Measure a few seconds only and leave out what is large; figures scatter more
    #[arg(long)]
    pub quick: bool,
    /// Hold every figure against those of this report
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// Write the report to this new file, as JSON
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Write the report as JSON to standard output
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct DevicesArgs {
    /// Write the list as JSON
    #[arg(long)]
    pub json: bool,
}

fn at_least_1(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n| n >= 1).ok_or_else(|| "expected a number ≥ 1".into())
}

/// `3..7`: rows 3, 4, 5 and 6.
fn rows(text: &str) -> Result<std::ops::Range<usize>, String> {
    let range = text.split_once("..").and_then(|(a, b)| Some(a.trim().parse().ok()?..b.trim().parse().ok()?));
    match range {
        Some(range) if range.start < range.end => Ok(range),
        Some(range) => Err(format!("{}..{} has no rows: the end is excluded", range.start, range.end)),
        None => Err("expected two numbers such as 0..32".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_a_range() {
        assert_eq!(rows("0..32"), Ok(0..32));
        assert!(rows("3..3").unwrap_err().contains("no rows"));
        assert!(rows("3").unwrap_err().contains("two numbers") && rows("a..b").is_err());
    }
}

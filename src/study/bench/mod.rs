//! What a device can do, as a table that devices can be compared by: matrix products, memory, training steps of fixed networks, what
//! statistics cost in them, and how long nothing takes.
//!
//! Every cell has its time to spend, however fast the device is: a first go tells how many fit. What would take longer by what
//! was measured before is skipped, and the report says so.

mod network;
mod report;

pub use report::{Cell, Environment, FORMAT, Group, Report};

use super::timing::{Sample, sample, time};
use crate::base::{Error, ErrorKind, Result};
use crate::config::Config;
use crate::run::folder::environment;
use crate::run::machine::{available_memory, cpu_model};
use crate::run::{Gauge, Load, Trainer, open_device};
use network::Network;
use std::time::Instant;

/// Rows of the square matrices.
const PRODUCTS: [usize; 5] = [512, 1024, 2048, 4096, 8192];

/// Numbers of an array that no cache holds, and of one for a report in a hurry.
const ARRAY: [usize; 2] = [1 << 24, 1 << 22];

/// What is measured in the table of statistics; the first is what the others are held against.
const WAYS: [(&str, &str); 4] = [
    ("off", "preset = 'off'"),
    ("statistics", "units = 0\nnoise = 0"),
    ("default", "preset = 'default'"),
    ("full", "preset = 'full'"),
];

/// Steps after which the preset `full` repeats itself: times of statistics are taken of multiples.
const PERIOD: u64 = 10;

/// Rounds of the table of statistics at least.
const ROUNDS_MIN: usize = 5;

/// Seconds that a cell may take, and one of whole training steps. What is expected to take longer in one go is skipped.
struct Budget {
    kernel: f64,
    steps: f64,
}

struct Bench<'a> {
    config: &'a Config,
    quick: bool,
    budget: Budget,
    cells: Vec<Cell>,
    /// The most operations a second that were seen so far.
    peak: f64,
    /// Seconds of a step of each network, where that was measured.
    steps: Vec<Option<f64>>,
    done: &'a mut dyn FnMut(u64, u64),
}

/// How many measurements there are.
fn total() -> usize {
    PRODUCTS.len() + 2 + Network::all().len() + 2 * WAYS.len() + 3
}

/// Measures what the device of `config` can do. With `quick` it takes a few seconds and leaves out what is large; figures
/// scatter more then. `progress` is told how many of how many measurements are done.
///
/// # Errors
/// If there is no such device, or it fails. What does not fit into its memory is skipped.
pub fn bench(config: &Config, quick: bool, progress: &mut dyn FnMut(u64, u64)) -> Result<Report> {
    let start = Instant::now();
    let environment = of_machine(config)?;
    let budget = if quick { Budget { kernel: 0.1, steps: 0.2 } } else { Budget { kernel: 0.8, steps: 2.0 } };
    let mut bench = Bench { config, quick, budget, cells: Vec::new(), peak: 0.0, steps: Vec::new(), done: progress };
    bench.products()?;
    bench.memory()?;
    bench.networks()?;
    bench.statistics()?;
    bench.latency()?;
    let cells = bench.cells;
    Ok(Report {
        format: FORMAT.into(),
        environment,
        quick,
        skipped: cells.iter().filter(|cell| cell.skipped.is_some()).count(),
        cells,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// Where the device of a config is, opened for a moment.
fn of_machine(config: &Config) -> Result<Environment> {
    let device = open_device(config)?;
    let info = device.executor.info();
    let known = environment();
    let text = |key: &str| known.get(key).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    Ok(Environment {
        steepest: text("steepest"),
        started_utc: text("started_utc"),
        device: info.name.clone(),
        kind: info.kind.clone(),
        backend: info.backend.clone(),
        driver: info.driver.clone(),
        precision: info.precision.clone(),
        threads: info.threads,
        os: text("os"),
        arch: text("arch"),
        cpu: cpu_model(),
        cores: known.get("cores").and_then(serde_json::Value::as_u64).map(|n| n as usize),
    })
}

/// A time in words, for reasons.
fn about(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.0} ms", 1000.0 * seconds) } else { format!("{seconds:.1} s") }
}

impl Bench<'_> {
    fn push(&mut self, cell: Cell) {
        self.cells.push(cell);
        (self.done)(self.cells.len() as u64, total() as u64);
    }

    /// Why work of so many operations and bytes is skipped, if it is.
    fn reason(&self, flops: f64, bytes: u64, seconds: f64) -> Option<String> {
        let expected = if self.peak > 0.0 { flops / self.peak } else { 0.0 };
        if expected > seconds {
            let all = about(expected);
            return Some(format!("one takes about {all} here, {} is the most", about(seconds)));
        }
        let free = available_memory().filter(|&free| bytes > free)?;
        Some(format!("it takes about {} MiB, {} MiB of memory are free", bytes >> 20, free >> 20))
    }

    /// The time of a load; none where it does not fit into the device's memory.
    fn gauge(&self, load: Load) -> Result<Result<Sample, String>> {
        let measure = || -> Result<Sample> {
            let mut gauge = Gauge::new(open_device(self.config)?, load)?;
            sample(self.budget.kernel, |times| gauge.time(times as usize))
        };
        fits(measure())
    }

    fn products(&mut self) -> Result<()> {
        for n in PRODUCTS {
            let load = Load::Product(n);
            let cell = Cell::new(Group::Products, format!("{n}×{n}×{n}"));
            let flops = load.flops().unwrap_or_default();
            let cell = match self.reason(flops, load.memory_bytes(), self.budget.kernel) {
                Some(why) => cell.skip(why),
                None => match self.gauge(load)? {
                    Ok(sample) => cell.took(sample.least, load.flops(), None),
                    Err(why) => cell.skip(why),
                },
            };
            self.peak = self.peak.max(cell.gflops.map_or(0.0, |gflops| 1e9 * gflops));
            self.push(cell);
        }
        Ok(())
    }

    fn memory(&mut self) -> Result<()> {
        let len = ARRAY[usize::from(self.quick)];
        for (name, load) in [("copy", Load::Copy(len)), ("triad", Load::Triad(len))] {
            let cell = Cell::new(Group::Memory, format!("{name}, {} MiB each", (4 * len) >> 20));
            let cell = match self.gauge(load)? {
                Ok(sample) => cell.took(sample.least, None, load.bytes()),
                Err(why) => cell.skip(why),
            };
            self.push(cell);
        }
        Ok(())
    }

    fn networks(&mut self) -> Result<()> {
        for network in Network::all() {
            let cell = Cell::new(Group::Steps, network.how());
            let cell = match self.reason(network.flops(), network.memory_bytes(), self.budget.steps) {
                _ if self.quick && network.is_large => cell.skip("left out by --quick"),
                Some(why) => cell.skip(why),
                None => self.network(cell, &network)?,
            };
            self.steps.push(cell.seconds);
            self.push(cell);
        }
        Ok(())
    }

    fn network(&self, cell: Cell, network: &Network) -> Result<Cell> {
        let measure = || -> Result<Sample> {
            let mut trainer = network.trainer(self.config, "preset = 'default'")?;
            sample(self.budget.steps, |steps| time(&mut trainer, steps))
        };
        Ok(match fits(measure())? {
            Ok(Sample { median, .. }) => Cell {
                steps_per_second: Some(1.0 / median),
                examples_per_second: Some(network.batch as f64 / median),
                ..cell.took(median, Some(network.flops()), None)
            },
            Err(why) => cell.skip(why),
        })
    }

    /// All ways in turn, so that other load meets them alike, and each first as often as last.
    fn statistics(&mut self) -> Result<()> {
        for (i, network) in Network::all().into_iter().filter(|network| !network.is_large).enumerate() {
            let name = |way: &str| format!("{}: {way}", network.name);
            let least = self.steps[i].map(|step| step * (PERIOD * WAYS.len() as u64) as f64 * ROUNDS_MIN as f64);
            let most = 4.0 * self.budget.steps;
            let why = match least {
                None => Some("its step was skipped".to_owned()),
                Some(least) if least > most => {
                    Some(format!("{ROUNDS_MIN} rounds take about {} here, {} is the most", about(least), about(most)))
                }
                Some(_) => None,
            };
            if let Some(why) = why {
                WAYS.iter().for_each(|(way, _)| self.push(Cell::new(Group::Statistics, name(way)).skip(why.as_str())));
                continue;
            }
            let trainers = WAYS.map(|(_, probes)| network.trainer(self.config, probes));
            let [a, b, c, d] = trainers;
            let rounds = rounds([a?, b?, c?, d?], self.steps[i], 2.0 * self.budget.steps)?;
            for ((way, _), seconds) in WAYS.iter().zip(&rounds) {
                self.push(Cell::new(Group::Statistics, name(way)).beside(seconds, &rounds[0]));
            }
        }
        Ok(())
    }

    fn latency(&mut self) -> Result<()> {
        for (name, load) in [
            ("a dispatch among others", Load::Dispatch),
            ("a submission, waited for", Load::Submission),
            ("a submission with a reading", Load::Reading),
        ] {
            let cell = Cell::new(Group::Latency, name);
            let cell = match self.gauge(load)? {
                Ok(sample) => cell.took(sample.median, None, None),
                Err(why) => cell.skip(why),
            };
            self.push(cell);
        }
        Ok(())
    }
}

/// What could be measured, or why it does not fit: that is for the input to mend, and no failure of the device.
fn fits<T>(measured: Result<T>) -> Result<Result<T, String>> {
    match measured {
        Ok(measured) => Ok(Ok(measured)),
        Err(error) if error.kind() == ErrorKind::Input => Ok(Err(one_line(&error))),
        Err(error) if error.message().contains("no memory is left") => Ok(Err(one_line(&error))),
        Err(error) => Err(error),
    }
}

fn one_line(error: &Error) -> String {
    format!("{}: {}", error.place(), error.message())
}

/// Seconds of a step of each trainer, round by round.
fn rounds(mut trainers: [Trainer; 4], step: Option<f64>, seconds: f64) -> Result<[Vec<f64>; 4]> {
    const TOGETHER: f64 = 4e-3;
    let periods = (TOGETHER / (step.unwrap_or(TOGETHER) * PERIOD as f64)).clamp(1.0, 1e5) as u64;
    let steps = PERIOD * periods;
    for trainer in &mut trainers {
        time(trainer, steps)?;
    }
    let mut all: [Vec<f64>; 4] = Default::default();
    let (start, mut round) = (Instant::now(), 0);
    while round < ROUNDS_MIN || start.elapsed().as_secs_f64() < seconds {
        for turn in 0..trainers.len() {
            let which = (turn + round) % trainers.len();
            all[which].push(time(&mut trainers[which], steps)? / steps as f64);
        }
        round += 1;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_too_long_or_does_not_fit_is_skipped_with_the_reason() {
        let mut config = Config::builtin_digits();
        config.device.device = "cpu".into();
        let mut done = |_: u64, _: u64| ();
        let budget = || Budget { kernel: 0.1, steps: 0.2 };
        let mut bench = Bench {
            config: &config,
            quick: true,
            budget: budget(),
            cells: Vec::new(),
            peak: 0.0,
            steps: vec![Some(1e6), None],
            done: &mut done,
        };
        assert_eq!(bench.reason(1e30, 1, 0.1), None, "nothing is known of the speed yet");
        bench.peak = 1e9;
        assert_eq!(bench.reason(9e7, 1, 0.1), None);
        assert_eq!(bench.reason(2e9, 1, 0.1).unwrap(), "one takes about 2.0 s here, 100 ms is the most");
        let none = bench.reason(1.0, u64::MAX, 0.1);
        assert!(available_memory().is_none() || none.unwrap().starts_with("it takes about 17592186044415 MiB, "));
        bench.statistics().unwrap();
        let why: Vec<&str> = bench.cells.iter().map(|cell| cell.skipped.as_deref().unwrap()).collect();
        assert_eq!(why.len(), 2 * WAYS.len());
        assert!(
            why[..4].iter().all(|why| *why == "5 rounds take about 200000000.0 s here, 800 ms is the most"),
            "{why:?}"
        );
        assert!(why[4..].iter().all(|why| *why == "its step was skipped"), "{why:?}");
    }
}

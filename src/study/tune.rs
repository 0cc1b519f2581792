//! Which kernel makes each matrix product of a config the fastest on this device.
//!
//! Every candidate first makes the product once and is held against the CPU in f64; one whose result lies outside the bound of rounding is
//! refused. Those that are left are timed in turn, round after round, so that all meet the same load; a median counts. Where the best
//! one gains less than [`GAIN_MIN`], the heuristic's choice stays: the best of many has always had some luck.
//!
//! Kernels add in different orders, so their results differ in rounding: a run with choices by timing repeats on this device as long as the
//! choices stay, and `device.deterministic` leaves them out.

use crate::base::{Error, Result, Threads};
use crate::config::Config;
use crate::run::{self, Product, Products, Workbench};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// The speed-up that makes a choice.
pub const GAIN_MIN: f64 = 1.05;

/// Candidates that take so many times as long as the best one, once all are warm, are timed no further.
const SLOW: f64 = 2.0;

/// What a caller decides.
#[derive(Clone, Debug, PartialEq)]
pub struct TuneOptions {
    /// How often each candidate is timed.
    pub rounds: usize,
    /// The folder where choices are kept; none keeps nothing.
    pub folder: Option<PathBuf>,
}

impl Default for TuneOptions {
    fn default() -> Self {
        Self { rounds: 9, folder: run::cache_folder() }
    }
}

/// A kernel and how fast it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timed {
    /// The kernel; behind a slash, the parts into which its sums are cut.
    pub kernel: String,
    /// Seconds for the product, as a median.
    pub seconds: f64,
    /// Floating-point operations in a second, in units of 10⁹.
    pub gflops: f64,
}

/// What was found for a product.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TunedProduct {
    /// Orders of the factors, how many products, and rows × columns × terms.
    pub product: String,
    /// In how many steps of the plans it stands.
    pub uses: usize,
    /// The heuristic's choice.
    pub table: Timed,
    /// The fastest one.
    pub best: Timed,
    /// What runs take from now on.
    pub chosen: String,
    /// How many candidates there were.
    pub candidates: usize,
    /// Candidates that were wrong, and why.
    pub refused: Vec<(String, String)>,
}

impl TunedProduct {
    /// How many times as fast the best one is as the heuristic's choice.
    pub fn gain(&self) -> f64 {
        self.table.seconds / self.best.seconds
    }
}

/// What tuning found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tuning {
    /// The run's name.
    pub name: String,
    /// The device.
    pub device: String,
    /// Its kind.
    pub kind: String,
    /// Each product once; none on a CPU, which has one kernel.
    pub products: Vec<TunedProduct>,
    /// Where the choices are kept.
    pub file: Option<PathBuf>,
}

/// Times the kernels for the matrix products of a config, and keeps which are best. `progress` is called with the measurements done and how
/// many there are.
///
/// # Errors
/// If config, data or device do not fit, the device fails, or the choices cannot be written.
pub fn tune(config: &Config, options: &TuneOptions, progress: &mut dyn FnMut(u64, u64)) -> Result<Tuning> {
    if options.rounds == 0 {
        return Err(Error::input("--rounds", "0 rounds measure nothing").help("give 1 or more"));
    }
    let products = Products::of(config)?;
    let measurements = |product: &Product| (product.candidates.len() * (options.rounds + 1)) as u64;
    let total: u64 = products.all.iter().map(measurements).sum();
    let threads = Arc::new(Threads::new(config.device.threads.unwrap_or(0))?);
    let (mut tuned, mut done) = (Vec::new(), 0);
    for product in products.all {
        let end = done + measurements(&product);
        let mut tick = || {
            done += 1;
            progress(done, total);
        };
        tuned.push(tune_one(config, product, &threads, options.rounds, &mut tick)?);
        // Slow candidates were left out.
        done = end;
        progress(done, total);
    }
    let file = match (&products.key, &options.folder) {
        (Some(key), Some(folder)) => {
            let choices = tuned.iter().map(|product| (product.product.clone(), product.chosen.clone())).collect();
            Some(key.write(folder, &choices)?)
        }
        _ => None,
    };
    let (name, device, kind) = (config.name.clone(), products.device.name, products.device.kind);
    Ok(Tuning { name, device, kind, products: tuned, file })
}

fn tune_one(
    config: &Config,
    product: Product,
    threads: &Arc<Threads>,
    rounds: usize,
    tick: &mut dyn FnMut(),
) -> Result<TunedProduct> {
    let Product { problem, uses, flops, candidates, table, .. } = product.clone();
    let mut bench = Workbench::open(config, product, threads)?;
    let (mut refused, mut warm) = (Vec::new(), BTreeMap::new());
    for kernel in &candidates {
        match bench.check(kernel)? {
            Some(why) => refused.push((kernel.clone(), why)),
            None => _ = warm.insert(kernel.clone(), bench.time(kernel)?),
        }
        tick();
    }
    if let Some((_, why)) = refused.iter().find(|(kernel, _)| *kernel == table) {
        return Err(Error::failure(problem, format!("{table} is wrong on this device: {why}"))
            .help("update the GPU's driver, or use --device cpu; please report it"));
    }
    let fastest = warm.values().copied().fold(f64::INFINITY, f64::min);
    warm.retain(|kernel, seconds| *seconds <= SLOW * fastest || *kernel == table);
    let mut seconds: BTreeMap<&String, Vec<f64>> = BTreeMap::new();
    for _ in 0..rounds {
        for kernel in warm.keys() {
            seconds.entry(kernel).or_default().push(bench.time(kernel)?);
            tick();
        }
    }
    let timed = |(kernel, mut seconds): (&String, Vec<f64>)| {
        seconds.sort_by(f64::total_cmp);
        let median = seconds[seconds.len() / 2];
        Timed { kernel: kernel.clone(), seconds: median, gflops: flops / median / 1e9 }
    };
    let timed: Vec<Timed> = seconds.into_iter().map(timed).collect();
    Ok(judge(problem, uses, &table, &timed, candidates.len(), refused))
}

/// The choice among candidates that were timed, that of the table among them.
fn judge(
    product: String,
    uses: usize,
    table: &str,
    timed: &[Timed],
    candidates: usize,
    refused: Vec<(String, String)>,
) -> TunedProduct {
    let by_table = timed.iter().find(|timed| timed.kernel == table).expect("the table's choice is timed");
    let best = timed.iter().min_by(|a, b| a.seconds.total_cmp(&b.seconds)).expect("something is timed");
    let gains = by_table.seconds >= GAIN_MIN * best.seconds;
    let chosen = if gains { best } else { by_table }.kernel.clone();
    TunedProduct { product, uses, table: by_table.clone(), best: best.clone(), chosen, candidates, refused }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_stays_where_little_is_gained() {
        let timed = |kernel: &str, seconds| Timed { kernel: kernel.into(), seconds, gflops: 1.0 / seconds };
        let chosen = |seconds: [f64; 2]| {
            let all = [timed("a", seconds[0]), timed("b", seconds[1])];
            judge("p".into(), 1, "a", &all, 2, Vec::new())
        };
        let little = chosen([1.0, 0.97]);
        assert_eq!((little.best.kernel.as_str(), little.chosen.as_str()), ("b", "a"));
        let much = chosen([1.0, 0.5]);
        assert_eq!((much.chosen.as_str(), much.gain()), ("b", 2.0));
        assert_eq!(chosen([1.0, 2.0]).chosen, "a");
    }
}

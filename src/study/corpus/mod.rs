//! A corpus of faults: healthy configs of many architectures, each fault put into them, and what verdicts make of the runs.
//!
//! - **Architectures** come in two sets, [`Set::Tuned`] and [`Set::Scored`], that share no depth and no width; thresholds of
//!   rules are chosen on the first and judged on the second.
//! - **Cases**: for each architecture a healthy control, healthy variants, a run that goes on until it has converged, and each
//!   fault that makes sense there, in one of three severities. The same seed gives the same cases.
//! - **What counts**: a fault only if its run stays below 90 % of its control's score; a control only if it learns. Recall asks
//!   for the right verdict at the right layer, give or take one ([`Fault`]); an alarm is any verdict of the grade of a fault on
//!   a healthy or converged run.
//! - **Other tools**: their published rules on the same runs ([`tools`]).

mod altered;
mod architecture;
mod case;
mod fault;
mod inject;
mod measure;
mod report;
pub mod tools;

pub use altered::Alteration;
pub use architecture::{Architecture, DATA_SETS, DataSet, Set, architectures};
pub use case::{Case, Kind, LONG_STEPS, SHORT_STEPS, STEPS, cases};
pub use fault::{FAULTS, Fault, Right, Spec};
pub use inject::SEVERITIES;
pub use measure::{Measured, Repair};
pub use report::{
    CONTROL_SCORE, Class, ControlLine, FaultLine, Numbers, Rate, Report, Row, SCORE_SHARE, Said, ToolRates,
};

use crate::base::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// What a caller decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The set.
    pub set: Set,
    /// How many architectures are drawn of it.
    pub architectures: usize,
    /// What cases follow from.
    pub seed: u64,
    /// Whether the remedies of faulty runs are tried.
    pub tries: bool,
    /// How many runs go on at once, each on one thread; 0 stands for one for each core.
    pub workers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { set: Set::Scored, architectures: 48, seed: 1, tries: false, workers: 0 }
    }
}

/// Who wants to know how far it is.
pub trait Progress: Sync {
    /// So many of so many runs are done.
    fn done(&self, done: usize, of: usize);
}

/// A folder that is gone when it is no longer needed.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("steepest-corpus-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|error| Error::failure(path.display(), error))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left of it is in the system's folder for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs a set of the corpus.
///
/// # Errors
/// If a run fails for another reason than its numbers.
pub fn corpus(options: &Options, progress: &dyn Progress) -> Result<Report> {
    let cases = cases(options.set, options.architectures, options.seed)?;
    let folder = Folder::new()?;
    let measured = side_by_side(options.workers, cases.len(), progress, |i| {
        measure::measure(&cases[i], &folder.0).map_err(|error| error.within(cases[i].name()))
    })?;
    let mut rows: Vec<Row> =
        cases.iter().zip(&measured).map(|(case, own)| report::row(case, own, &measured[case.control])).collect();
    if options.tries {
        try_remedies(options, &cases, &mut rows, &folder.0, progress)?;
    }
    Ok(Report::new(options.set, options.seed, rows))
}

fn try_remedies(
    options: &Options,
    cases: &[Case],
    rows: &mut [Row],
    folder: &Path,
    progress: &dyn Progress,
) -> Result<()> {
    let faulty: Vec<usize> = (0..rows.len()).filter(|&i| rows[i].class == Class::Faulty).collect();
    let repairs = side_by_side(options.workers, faulty.len(), progress, |n| {
        let case = &cases[faulty[n]];
        measure::repair(case, folder).map_err(|error| error.within(case.name()))
    })?;
    for (i, repair) in faulty.into_iter().zip(repairs) {
        rows[i].repair = Some(repair);
    }
    Ok(())
}

/// f of each number below `count`, in order, by several workers.
fn side_by_side<T: Send>(
    workers: usize,
    count: usize,
    progress: &dyn Progress,
    f: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let workers = match workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => n,
    };
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let results: Mutex<Vec<Option<Result<T>>>> = Mutex::new((0..count).map(|_| None).collect());
    let work = || {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= count {
                return;
            }
            let result = f(i);
            results.lock().unwrap_or_else(PoisonError::into_inner)[i] = Some(result);
            progress.done(done.fetch_add(1, Ordering::Relaxed) + 1, count);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers.min(count) {
            scope.spawn(work);
        }
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.into_iter().map(|result| result.expect("every number was taken once")).collect()
}

//! What is looked at while a variant trains.

use super::Progress;
use super::basins;
use super::convex::Ground;
use super::report::Place;
use super::variants::Budget;
use crate::base::Result;
use crate::config::Config;
use crate::data::{Dataset, Splits};
use crate::nn::Wells;
use crate::run::{LayerRow, Observer, RunInfo, Step, Trainer, Validation, evaluate_part};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Training examples that the loss is taken of, at most.
const SAMPLE_MAX: usize = 2048;

/// How much the step number grows from one place to the next.
const GROWTH: f64 = 1.15;

/// Looks at the weights alone, over a run, where a distance is to be shown.
const DISTANCES: u64 = 2000;

/// The same, where a path is to be shown.
const POINTS: u64 = 500;

/// Time that is spent in training, not in looking.
#[derive(Debug)]
struct Clock {
    spent: Duration,
    mark: Instant,
}

impl Clock {
    fn advance(&mut self) {
        let now = Instant::now();
        self.spent += now - self.mark;
        self.mark = now;
    }

    /// What went by since the last step does not count.
    fn skip(&mut self) {
        self.mark = Instant::now();
    }
}

/// The weights after a step, and what is known there.
struct Seen {
    step: u64,
    weights: Vec<f64>,
    /// The update that led there, if the weights before it were seen.
    update: Option<Vec<f64>>,
    loss: Option<f64>,
}

/// Watches one run.
pub(super) struct Watch<'a> {
    config: Config,
    sample: Dataset,
    target: Option<f64>,
    time: Option<Duration>,
    convex: Option<Ground>,
    wells: Option<Wells>,
    progress: &'a mut dyn Progress,
    /// Steps between two looks at the weights alone; 0 for none.
    track: u64,
    clock: Clock,
    /// Steps and examples so far, and the length of the path.
    steps: u64,
    examples: u64,
    length: f64,
    next_place: u64,
    last_place: u64,
    start: Vec<f64>,
    seen: Option<Seen>,
    places: Vec<Place>,
    accuracy: Option<f64>,
    cosines: Vec<f64>,
    rises: [u64; 2],
    distances: Vec<(u64, f64)>,
    path: Vec<[f64; 2]>,
}

/// What came of it.
pub(super) struct Watched {
    pub places: Vec<Place>,
    pub last_accuracy: Option<f64>,
    pub cosine: Option<f64>,
    pub straightness: Option<f64>,
    pub rises: Option<f64>,
    pub distances: Vec<(u64, f64)>,
    pub path: Vec<[f64; 2]>,
    pub convex: Option<Ground>,
    pub wells: Option<Wells>,
}

impl<'a> Watch<'a> {
    pub fn new(
        config: &Config,
        splits: &Splits,
        budget: &Budget,
        steps: u64,
        progress: &'a mut dyn Progress,
    ) -> Result<Self> {
        let rows = splits.train.len();
        let count = rows.min(SAMPLE_MAX);
        let sample: Vec<u32> = (0..count).map(|i| (i * rows / count) as u32).collect();
        let convex = Ground::of(config, splits)?;
        let wells = basins::surface(config, splits);
        let track = match (&convex, &wells) {
            (Some(_), _) => (steps / DISTANCES).max(1),
            (None, Some(_)) => (steps / POINTS).max(1),
            (None, None) => 0,
        };
        Ok(Self {
            config: config.clone(),
            sample: splits.train.subset(&sample)?,
            target: budget.target,
            time: budget.time,
            convex,
            wells,
            progress,
            track,
            clock: Clock { spent: Duration::ZERO, mark: Instant::now() },
            steps: 0,
            examples: 0,
            length: 0.0,
            next_place: 0,
            last_place: 0,
            start: Vec::new(),
            seen: None,
            places: Vec::new(),
            accuracy: None,
            cosines: Vec::new(),
            rises: [0, 0],
            distances: Vec::new(),
            path: Vec::new(),
        })
    }

    pub fn finish(self) -> Watched {
        let share = |part: f64, whole: f64| (whole > 0.0).then(|| part / whole);
        let moved = self.seen.as_ref().map(|seen| norm(&difference(&seen.weights, &self.start)));
        Watched {
            cosine: share(self.cosines.iter().sum(), self.cosines.len() as f64),
            straightness: moved.and_then(|moved| share(moved, self.length)),
            rises: share(self.rises[0] as f64, self.rises[1] as f64),
            places: self.places,
            last_accuracy: self.accuracy,
            distances: self.distances,
            path: self.path,
            convex: self.convex,
            wells: self.wells,
        }
    }

    fn is_late(&self) -> bool {
        self.time.is_some_and(|time| self.clock.spent >= time)
    }

    /// Compares with the step before, if that was seen.
    fn compare(&mut self, now: &mut Seen) {
        let Some(before) = self.seen.take().filter(|before| before.step + 1 == now.step) else { return };
        let update = difference(&now.weights, &before.weights);
        if let Some(last) = &before.update {
            let product: f64 = update.iter().zip(last).map(|(a, b)| a * b).sum();
            let norms = norm(&update) * norm(last);
            // A step that moves nothing has no direction.
            if norms > 0.0 && norms.is_finite() {
                self.cosines.push(product / norms);
            }
        }
        if let (Some(loss), Some(old)) = (now.loss, before.loss) {
            self.rises[0] += u64::from(loss > old || !loss.is_finite());
            self.rises[1] += 1;
        }
        now.update = Some(update);
    }
}

impl Observer for Watch<'_> {
    fn start(&mut self, _: &RunInfo) {}

    fn step(&mut self, step: &Step) {
        self.clock.advance();
        (self.steps, self.examples) = (step.step + 1, step.examples);
        self.length += step.values.get("tensor_update_norm").iter().map(|x| x * x).sum::<f64>().sqrt();
        self.progress.step(self.steps);
    }

    fn validation(&mut self, _: &Validation) {
        self.clock.skip();
    }

    fn layers(&mut self, _: &[LayerRow]) {}

    fn wants_look(&self, steps: u64) -> bool {
        let near = steps >= self.next_place || steps <= self.last_place + 2;
        near || (self.track > 0 && steps.is_multiple_of(self.track)) || self.is_late()
    }

    fn look(&mut self, trainer: &mut Trainer) -> Result<ControlFlow<&'static str>> {
        let step = trainer.next_step();
        let weights: Vec<f64> = trainer.params()?.into_iter().flat_map(|tensor| tensor.values).collect();
        if step == 0 {
            self.start.clone_from(&weights);
        }
        if let Some(ground) = &self.convex {
            self.distances.push((step, ground.distance(&weights)));
        }
        if let (Some(_), &[x, y]) = (&self.wells, &weights[..]) {
            self.path.push([x, y]);
        }
        let is_end = self.is_late() || trainer.is_done(&self.config);
        let is_place = step >= self.next_place || is_end;
        let mut seen = Seen { step, weights, update: None, loss: None };
        if is_place || step == self.last_place + 1 {
            let evaluation = evaluate_part(trainer, &self.sample, &self.config)?;
            seen.loss = Some(evaluation.loss);
            self.accuracy = evaluation.accuracy();
        }
        self.compare(&mut seen);
        let loss = seen.loss;
        self.seen = Some(seen);
        let mut reached = false;
        if let Some(loss) = loss.filter(|_| is_place) {
            let seconds = self.clock.spent.as_secs_f64();
            self.places.push(Place { step, examples: self.examples, seconds, loss });
            self.last_place = step;
            self.next_place = (step + 1).max((step as f64 * GROWTH) as u64);
            reached = self.target.is_some_and(|target| loss <= target);
        }
        self.clock.skip();
        Ok(match (reached, self.is_late()) {
            (true, _) => ControlFlow::Break("target"),
            (_, true) => ControlFlow::Break("budget"),
            _ => ControlFlow::Continue(()),
        })
    }
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

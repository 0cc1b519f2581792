//! What training does not do once it has warmed up: allocate, create device objects, wait.

mod training;

use ndarray::Array2;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use steepest::base::{Stream, StreamId};
use steepest::config::Config;
use steepest::data::{Dataset, Splits, Targets};
use steepest::run::record::{Record, RecordSettings};
use steepest::run::{Step, Trainer};
use training::{config, on_cpu, on_gpu, only};

/// Counts what is allocated, on any thread.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
/// The tests of this file take turns: an allocation of one must not count for another.
static TURN: Mutex<()> = Mutex::new(());

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is the one that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, which is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const WARM_UP: usize = 20;
const STEPS: usize = 200;

/// Random examples of 10 classes.
fn data(rows: usize, features: usize) -> Splits {
    let mut stream = Stream::new(3, StreamId::Data(9));
    let x = Array2::from_shape_simple_fn((rows, features), || stream.uniform() as f32);
    let labels = (0..rows).map(|_| stream.below(10)).collect();
    only(Dataset::new("random", x, Targets::Classes { labels, classes: 10 }).unwrap())
}

fn settings(hidden: &[usize], more: &str) -> Config {
    let hidden: String = hidden.iter().map(|n| format!("{{ kind = 'linear', out = {n} }}, 'relu', ")).collect();
    config(&format!("model.layers = [{hidden}{{ kind = 'linear', out = 10 }}]\n{more}"))
}

const SMALL: &str = "train.batch = 32\ntrain.optimizer = 'adam'";
const ACCUMULATED: &str =
    "train.batch = 48\ntrain.micro_batch = 16\ntrain.optimizer = 'momentum'\ntrain.clip_norm = 1.0";
const ADAPTIVE: &str = "train.batch = 'adaptive'\ntrain.micro_batch = 8\ntrain.adaptive.every = 10";
const LARGE: &str = "train.batch = 128\ntrain.optimizer = 'momentum'\ntrain.lr = 0.01";

fn record(trainer: &Trainer, folder: &std::path::Path) -> Record {
    Record::create(folder, &trainer.schema(0), &RecordSettings::default()).unwrap()
}

/// Steps as a run makes them: submitted ahead, collected when they are there, recorded.
fn run(trainer: &mut Trainer, steps: usize, mut take: impl FnMut(&Step)) {
    for _ in 0..steps {
        let mut wait = !trainer.has_room();
        while let Some(step) = trainer.collect(wait).unwrap() {
            take(step);
            wait = false;
        }
        trainer.submit().unwrap();
    }
}

fn allocations(config: &Config, data: Splits, threads: usize, steps: usize) -> u64 {
    // The record is left out: its own test counts its allocations, and a thread of its own would be counted here.
    let mut trainer = on_cpu::<f32>(config, data, threads);
    trainer.within(|trainer| {
        run(trainer, WARM_UP, |_| ());
        // A thread that takes its first part late makes its queue late too: what allocates in each step shows in every
        // window, so the quietest one counts.
        let mut window = || {
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            run(trainer, steps / 4, |_| ());
            ALLOCATIONS.load(Ordering::Relaxed) - before
        };
        (0..4).map(|_| window()).min().unwrap_or(0)
    })
}

#[test]
fn a_step_on_the_cpu_allocates_nothing() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for threads in [1, 2] {
        for (what, more) in [("resident", ""), ("streamed", "data.resident = false\n")] {
            for kind in [SMALL, ACCUMULATED, ADAPTIVE] {
                let settings = settings(&[32, 16], &format!("{more}{kind}"));
                assert_eq!(
                    allocations(&settings, data(500, 64), threads, STEPS),
                    0,
                    "{what}, {kind}, {threads} threads"
                );
            }
        }
    }
}

#[test]
fn a_step_of_a_large_network_allocates_nothing() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for threads in [1, 2] {
        let count = allocations(&settings(&[512, 512], LARGE), data(640, 784), threads, STEPS);
        assert_eq!(count, 0, "{threads} threads");
    }
}

#[test]
fn a_step_on_the_gpu_creates_nothing_and_waits_for_nothing() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for more in [SMALL, ACCUMULATED] {
        let folder = tempfile::tempdir().unwrap();
        let Some(mut trainer) = on_gpu(&settings(&[32, 16], more), data(500, 64)) else { return };
        let mut record = record(&trainer, folder.path());
        let mut push = |step: &Step| record.push(step.step + 1, step.epoch, step.examples, step.values.flat()).unwrap();
        run(&mut trainer, WARM_UP, &mut push);
        let before = trainer.executor().counters();
        run(&mut trainer, STEPS, &mut push);
        let after = trainer.executor().counters();
        assert!(after.submissions >= before.submissions + STEPS as u64);
        let made = |it: steepest::exec::Counters| (it.buffers, it.bind_groups, it.pipelines);
        assert_eq!(made(after), made(before), "{more}");
        assert_eq!(after.stalls, before.stalls, "{more}");
    }
}

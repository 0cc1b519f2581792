//! The step record from outside: no heap allocation on the hot path, and a run folder for `tests/interop.py`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use steepest::run::folder::RunFolder;
use steepest::run::record::{Record, RecordSettings};
use steepest::run::schema::{Column, Schema};
use steepest::run::thinning::Every;
use steepest::run::weights::{NamedTensor, TensorData, write_tensors};

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

/// 4 numbers and 7 lists over 8 layers: 60 values.
fn schema() -> Schema {
    let scalars = ["loss", "rate", "gradient_norm", "step_seconds"].map(|name| Column::scalar(name, "", ""));
    let layers = || (0..8).map(|i| format!("layer {i}"));
    let lists = (0..7).map(|i| Column::list(format!("signal_{i}"), "", "", layers()));
    Schema { columns: scalars.into_iter().chain(lists).collect() }
}

fn push_steps(record: &mut Record, steps: std::ops::RangeInclusive<u64>, values: &mut [f64]) {
    for step in steps {
        let x = step as f64;
        values.iter_mut().enumerate().for_each(|(i, value)| *value = x * 1e-3 + i as f64);
        record.push(step, x / 45.0, 32 * step, values).unwrap();
    }
}

#[test]
fn a_step_allocates_nothing_on_any_thread() {
    let _turn = TURN.lock().unwrap();
    let mut values = vec![0.0; schema().width()];
    for every in [Every::Auto, Every::Steps(1)] {
        let folder = tempfile::tempdir().unwrap();
        let settings = RecordSettings { every, ..RecordSettings::default() };
        let mut record = Record::create(folder.path(), &schema(), &settings).unwrap();
        push_steps(&mut record, 1..=3000, &mut values);
        // The thread has written its first rows by now, or it is behind and this is harder.
        std::thread::sleep(std::time::Duration::from_millis(50));
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        push_steps(&mut record, 3001..=20_000, &mut values);
        assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0, "{every:?}");
        let report = record.finish("end").unwrap();
        assert_eq!(report.steps, 20_000);
    }
}

/// Leaves a run folder in `target/tmp/interop` for `python tests/interop.py target/tmp/interop`.
#[test]
fn a_run_folder_for_the_interoperation_check() {
    let _turn = TURN.lock().unwrap();
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("interop");
    if path.exists() {
        std::fs::remove_dir_all(&path).unwrap();
    }
    let folder = RunFolder::create(Some(&path), Path::new("unused"), "interop").unwrap();
    folder.write_environment([("device".to_string(), "none".into()), ("seed".to_string(), 7.into())]).unwrap();
    let settings = RecordSettings { every: Every::Steps(3), ..RecordSettings::default() };
    let mut record = Record::create(folder.path(), &schema(), &settings).unwrap();
    let mut values = vec![0.0; schema().width()];
    push_steps(&mut record, 1..=400, &mut values);
    // A list entry and a number that are not finite, and whole numbers to the end of the rows that types are told from.
    values[0] = f64::NAN;
    values[10] = f64::INFINITY;
    record.push(401, 9.0, 1, &values).unwrap();
    record.finish("end").unwrap();
    let weight = TensorData::F32((0..6).map(|i| i as f32 / 3.0).collect());
    let bias = TensorData::F64(vec![0.1, -0.2]);
    let tensors = [("0.weight", vec![2, 3], weight), ("0.bias", vec![2], bias)]
        .map(|(name, shape, data)| NamedTensor { name: name.into(), shape, data });
    write_tensors(&folder.file("model.safetensors"), &tensors, &[]).unwrap();
}

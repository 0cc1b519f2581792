//! What comes and goes beside the steps: micro-batches from the loader, checkpoints to the disk and back. `cargo bench --bench storage`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use steepest::config::Config;
use steepest::data::{Batching, Dataset, Loader, Reduction, Schedule, Targets};
use steepest::run::checkpoint::{Checkpoint, RunState};
use steepest::run::folder::RunFolder;
use steepest::run::{Setup, Trainer, load, open_device};

/// Micro-batches of 128 rows, streamed by one thread and taken by another.
fn loader(c: &mut Criterion) {
    let mut group = c.benchmark_group("loader");
    group.sample_size(20).measurement_time(Duration::from_secs(2));
    for features in [64, 784] {
        let (rows, batch) = (8192, 128);
        let x = ndarray::Array2::from_shape_fn((rows, features), |(i, j)| (i * 31 + j) as f32 / 1000.0);
        let labels = (0..rows).map(|row| (row % 10) as u32).collect();
        let data = Dataset::new("numbers", x, Targets::Classes { labels, classes: 10 }).expect("a data set");
        let batching = Batching {
            examples: rows,
            batch,
            micro: batch,
            shuffle: true,
            drop_last: false,
            reduction: Reduction::Mean,
            seed: 1,
        };
        let schedule = Schedule::new(batching, None).expect("a schedule");
        let mut loader = Loader::new(Arc::new(data), schedule, 4).expect("a loader");
        group.throughput(Throughput::Bytes((4 * batch * features) as u64));
        group.bench_function(BenchmarkId::new("batch of 128", features), |b| {
            b.iter(|| black_box(loader.next().expect("a batch").x.len()));
        });
    }
    group.finish();
}

/// The checkpoint of 784-512-512-10 with momentum: 669,706 parameters.
fn checkpoint(c: &mut Criterion) {
    let text = "[data]\nsource = \"blobs\"\nexamples = 1000\nfeatures = 784\nclasses = 10\n\
                [model]\nlayers = [{ kind = \"linear\", out = 512 }, \"relu\", { kind = \"linear\", out = 512 }, \"relu\", { kind = \"linear\", out = 10 }]\n\
                [train]\nbatch = 128\noptimizer = \"momentum\"\n[device]\ndevice = \"cpu\"\n";
    let config = Config::from_toml_str(text, "storage").expect("a valid config");
    let device = open_device(&config).expect("the CPU");
    let splits = load(&config).expect("data");
    let setup = Setup { splits, executor: device.executor, threads: device.threads, objective: None };
    let mut trainer = Trainer::new(&config, setup).expect("a trainer");
    trainer.step().expect("a step");
    let place = tempfile::tempdir().expect("a folder");
    let folder = RunFolder::create(Some(place.path()), Path::new("unused"), "storage").expect("an empty folder");
    let take = |trainer: &mut Trainer| Checkpoint {
        config: config.clone(),
        trainer: trainer.state().expect("a state"),
        run: RunState::default(),
        best: None,
        pending: vec![vec![0.0]],
    };
    let taken = take(&mut trainer);
    taken.write(&folder).expect("it is written");
    let bytes = std::fs::metadata(folder.file(steepest::run::checkpoint::CHECKPOINT_FILE)).expect("a file").len();
    let mut group = c.benchmark_group("checkpoint");
    group.sample_size(10).measurement_time(Duration::from_secs(2)).throughput(Throughput::Bytes(bytes));
    group.bench_function("take", |b| b.iter(|| black_box(take(&mut trainer))));
    group.bench_function("write", |b| b.iter(|| taken.write(&folder).expect("it is written")));
    group.bench_function("read", |b| b.iter(|| black_box(Checkpoint::read(&folder).expect("it is read"))));
    group.finish();
}

criterion_group!(benches, loader, checkpoint);
criterion_main!(benches);

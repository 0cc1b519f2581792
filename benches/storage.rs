//! What comes and goes beside the steps: data from files, micro-batches from the loader, checkpoints to the disk and back.
//! `cargo bench --bench storage`; a word after `--` picks a part.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flate2::{Compression, write::GzEncoder};
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use steepest::config::Config;
use steepest::data::{
    Batching, CsvSource, Dataset, FolderSource, IdxSource, Loader, Reduction, Schedule, Source, Targets,
};
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

/// Bytes that look like handwriting: a fifth of them ink, of all shades, the rest 0.
fn ink(count: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 24
    };
    let mut left = 0;
    (0..count)
        .map(|at| {
            if at % 28 == 0 {
                left = 8 + next() % 8;
            }
            let inked = (at % 28) as u32 >= left && ((at % 28) as u32) < left + 6;
            if inked { next() as u8 } else { 0 }
        })
        .collect()
}

/// A table of 200,000 rows, plain and with quotes.
fn tables(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut group = c.benchmark_group("table");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    for (name, quote) in [("plain", ""), ("quoted", "\"")] {
        let mut text = String::from("a,b,c,d,e,f,g,h,kind\n");
        for row in 0..200_000 {
            for column in 0..8 {
                let _ = write!(text, "{},", f64::from((row * 31 + column * 7) % 10_007) / 97.0);
            }
            let _ = writeln!(text, "{quote}k{}{quote}", row % 5);
        }
        let path = folder.path().join(format!("{name}.csv"));
        std::fs::write(&path, &text).expect("it is written");
        let source = Source::Csv(CsvSource::new(&path, ["kind"]));
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |b| b.iter(|| black_box(source.load(1).expect("a table").train.len())));
    }
    group.finish();
}

/// 60,000 and 10,000 gzipped pictures of 28×28 bytes with their labels, as MNIST has them.
fn gzipped(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bytes = 0;
    for (part, rows) in [("train", 60_000u32), ("t10k", 10_000)] {
        let write = |name: &str, extents: &[u32], body: &[u8]| {
            let mut file = vec![0, 0, 8, extents.len() as u8];
            extents.iter().for_each(|extent| file.extend(extent.to_be_bytes()));
            file.extend(body);
            let path = folder.path().join(format!("{part}-{name}-ubyte.gz"));
            let mut gzip = GzEncoder::new(std::fs::File::create(path).expect("a file"), Compression::new(6));
            gzip.write_all(&file).and_then(|()| gzip.finish()).expect("it is written");
        };
        let pictures = ink(rows as usize * 784);
        write("images-idx3", &[rows, 28, 28], &pictures);
        write("labels-idx1", &[rows], &(0..rows).map(|row| (row % 10) as u8).collect::<Vec<_>>());
        bytes += pictures.len();
    }
    let source = Source::Idx(IdxSource::folder(folder.path()));
    let mut group = c.benchmark_group("idx");
    group.sample_size(10).measurement_time(Duration::from_secs(5)).throughput(Throughput::Bytes(bytes as u64));
    group.bench_function("gzipped", |b| b.iter(|| black_box(source.load(1).expect("pictures").train.len())));
    group.finish();
}

/// 10,000 grey PNG files of 28×28 pixels in ten folders, on one thread and on as many as there are cores.
fn pictures(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut bytes = 0;
    for (row, pixels) in ink(10_000 * 784).chunks(784).enumerate() {
        let place = folder.path().join((row % 10).to_string());
        std::fs::create_dir_all(&place).expect("a folder");
        let file = std::fs::File::create(place.join(format!("{row}.png"))).expect("a file");
        let mut encoder = png::Encoder::new(file, 28, 28);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.write_header().and_then(|mut writer| writer.write_image_data(pixels)).expect("it is written");
        bytes += pixels.len();
    }
    let source = Source::Folder(FolderSource::new(folder.path()));
    let mut group = c.benchmark_group("pictures");
    group.sample_size(10).measurement_time(Duration::from_secs(5)).throughput(Throughput::Bytes(bytes as u64));
    for threads in [1, 0] {
        let name = if threads == 1 { "one thread" } else { "all cores" };
        group.bench_function(name, |b| {
            b.iter(|| black_box(source.load_on(1, threads).expect("pictures").train.len()));
        });
    }
    group.finish();
}

criterion_group!(benches, tables, gzipped, pictures, loader, checkpoint);
criterion_main!(benches);

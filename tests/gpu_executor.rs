//! The GPU executor against its CPU twin, and what its counters promise. Needs an adapter; a software one will do.

use std::sync::Arc;
use steepest::autodiff;
use steepest::base::{DType, Result, Shape, Stream, StreamId, Threads, Type};
use steepest::exec::{AdapterInfo, BufferId, Cpu, Devices, Executor, Gpu, GpuOptions, Host, PlanId, Submission};
use steepest::graph::{Graph, StepScalars, ValueId};
use steepest::plan::{Arena, Place, Plan, compile};

const ROWS: usize = 37;
const WIDTH: usize = 19;
const HIDDEN: usize = 33;
const CLASSES: usize = 7;

/// Any adapter, hardware first; nothing where there is none.
fn adapter() -> Option<(Devices, AdapterInfo)> {
    let devices = Devices::find();
    let usable = devices.list().iter().filter(|adapter| adapter.compute);
    let best = usable.min_by_key(|adapter| (adapter.kind, adapter.backend == "gl", adapter.index)).cloned();
    match best {
        Some(adapter) => Some((devices, adapter)),
        None => {
            let required = std::env::var("STEEPEST_REQUIRE_GPU").is_ok_and(|value| value == "1");
            assert!(!required, "STEEPEST_REQUIRE_GPU=1 and no adapter");
            println!("SKIPPED: no adapter");
            None
        }
    }
}

fn gpu(options: &GpuOptions) -> Option<Gpu> {
    let (devices, adapter) = adapter()?;
    Some(devices.open(&adapter, options).expect("the adapter opens"))
}

fn cpu() -> Cpu<f64> {
    Cpu::new(Arc::new(Threads::new(1).expect("one thread")), None)
}

/// The shapes of a two-layer classifier.
fn tensors() -> Vec<(&'static str, Shape)> {
    vec![
        ("0.weight", Shape::from([WIDTH, HIDDEN])),
        ("0.bias", Shape::from([HIDDEN])),
        ("2.weight", Shape::from([HIDDEN, CLASSES])),
        ("2.bias", Shape::from([CLASSES])),
    ]
}

/// What becomes of matrix products that an elementwise program follows.
#[derive(Clone, Copy, PartialEq)]
enum Products {
    /// The program is their epilogue.
    Fused,
    /// They are kept, so that nothing is fused with them: what the oracle runs.
    Kept,
}

/// Forward and backward pass of the classifier on `rows` rows: parameters and gradients in arenas, the loss in `loss`.
fn classifier(rows: usize, dropout: f64, products: Products) -> Result<Plan> {
    let arena = Arena::new(tensors(), usize::MAX)?;
    let mut g = Graph::new();
    let params = tensors().iter().map(|(name, shape)| g.param(name, *shape)).collect::<Result<Vec<ValueId>>>()?;
    let x = g.input("x", Type::real([rows, WIDTH]))?;
    let labels = g.input("labels", Type { dtype: DType::Index, shape: [rows].into() })?;
    let x = if dropout > 0.0 { g.dropout(x, dropout, [3, 5])? } else { x };
    let first = g.matmul(x, params[0])?;
    let z = g.add(first, params[1])?;
    let h = g.relu(z)?;
    let second = g.matmul(h, params[2])?;
    let z = g.add(second, params[3])?;
    let losses = g.softmax_cross_entropy(z, labels, 0.1)?;
    let loss = g.mean(losses)?;
    let wanted: Vec<ValueId> = params.iter().copied().chain([h]).collect();
    let grads = autodiff::gradient(&mut g, loss, &wanted)?;
    let mut places = vec![(loss, Place::whole("loss", g.ty(loss)))];
    if products == Products::Kept {
        let kept = [("first", first), ("second", second), ("dh", grads[params.len()])];
        places.extend(kept.map(|(name, id)| (id, Place::whole(name, g.ty(id)))));
    }
    for ((tensor, &param), &grad) in arena.tensors.iter().zip(&params).zip(&grads) {
        for (kind, id) in [("params", param), ("grads", grad)] {
            let buffer = Arena::buffer(kind, tensor.part);
            places.push((id, Place { buffer, offset: tensor.offset, len: arena.parts[tensor.part] }));
        }
    }
    compile("gradients", &g, &places)
}

fn normals(n: usize, layer: u32) -> Vec<f32> {
    let mut stream = Stream::new(7, StreamId::Init(layer));
    (0..n).map(|_| stream.normal() as f32).collect()
}

/// A batch that goes with [`classifier`].
struct Batch {
    x: Vec<f32>,
    labels: Vec<u32>,
}

impl Batch {
    fn new(rows: usize, number: u32) -> Self {
        let labels = (0..rows as u32).map(|i| (i * 5 + number) % CLASSES as u32).collect();
        Self { x: normals(rows * WIDTH, 100 + number), labels }
    }
}

fn scalars(step: u32, rows: usize) -> StepScalars {
    StepScalars { step, rows: rows as u32, lr: 0.1, t: step + 1, ..Default::default() }
}

/// The plan with its parameters set, on any executor.
struct Run<'a> {
    executor: &'a mut dyn Executor,
    plan: PlanId,
}

impl<'a> Run<'a> {
    fn new(executor: &'a mut dyn Executor, plan: &Plan) -> Self {
        let id = executor.load(plan).expect("it loads");
        let run = Run { executor, plan: id };
        let params = run.buffer("params.0");
        let len = plan.buffers.iter().find(|buffer| buffer.name == "params.0").expect("an arena").len;
        run.executor.write(params, 0, Host::F32(&normals(len, 1))).expect("it is written");
        run
    }

    fn buffer(&self, name: &str) -> BufferId {
        self.executor.buffer(name).expect("a shared buffer")
    }

    fn submit(&mut self, batch: &Batch, step: u32, readback: Option<BufferId>) -> Result<()> {
        let uploads = [(self.buffer("x"), Host::F32(&batch.x)), (self.buffer("labels"), Host::U32(&batch.labels))];
        let scalars = scalars(step, batch.labels.len());
        let tag = u64::from(step);
        self.executor.submit(&Submission { uploads: &uploads, plans: &[self.plan], scalars, readback, tag })
    }

    /// One step: the gradients and the loss.
    fn step(&mut self, batch: &Batch, step: u32, len: usize) -> (Vec<f64>, Vec<f64>) {
        let (grads, loss) = (self.buffer("grads.0"), self.buffer("loss"));
        self.submit(batch, step, Some(loss)).expect("it is submitted");
        let mut reading = Vec::new();
        assert_eq!(self.executor.poll(&mut reading, true).expect("it is read"), Some(u64::from(step)));
        (self.executor.read(grads, 0, len).expect("it is read"), reading)
    }
}

/// Rounding of a chain of four sums of at most `terms` terms each, relative to the largest of the numbers.
fn close(what: &str, gpu: &[f64], cpu: &[f64], terms: usize) {
    assert_eq!(gpu.len(), cpu.len(), "{what}");
    let scale = cpu.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    assert!(scale > 0.0 && scale.is_finite(), "{what} is all zero or not finite: nothing is compared");
    let bound = 4.0 * terms as f64 * f64::from(f32::EPSILON) / 2.0 * scale;
    for (i, (gpu, cpu)) in gpu.iter().zip(cpu).enumerate() {
        assert!((gpu - cpu).abs() <= bound, "{what}[{i}]: {gpu} on the GPU, {cpu} on the CPU, bound {bound:e}");
    }
}

fn agrees(options: &GpuOptions, dropout: f64) {
    let Some(mut gpu) = gpu(options) else { return };
    let (fused, kept) = (classifier(ROWS, dropout, Products::Fused), classifier(ROWS, dropout, Products::Kept));
    let (fused, kept) = (fused.expect("it compiles"), kept.expect("it compiles"));
    assert!(fused.steps.len() < kept.steps.len(), "the products are fused on the GPU alone");
    let mut cpu = cpu();
    let mut on_cpu = Run::new(&mut cpu, &kept);
    let mut on_gpu = Run::new(&mut gpu, &fused);
    let len = Arena::new(tensors(), usize::MAX).expect("it fits").parts[0];
    for step in 0..3 {
        let batch = Batch::new(ROWS, step);
        let (grads, loss) = on_gpu.step(&batch, step, len);
        let (expected_grads, expected_loss) = on_cpu.step(&batch, step, len);
        close("gradients", &grads, &expected_grads, ROWS.max(HIDDEN));
        close("loss", &loss, &expected_loss, ROWS.max(HIDDEN));
    }
}

#[test]
fn gradients_agree_with_the_cpu() {
    agrees(&GpuOptions::default(), 0.0);
}

#[test]
fn gradients_agree_with_checks_and_least_limits() {
    agrees(&GpuOptions { checked: true, downlevel: true, ..GpuOptions::default() }, 0.0);
}

/// Dropout draws by the step's number: a stale block of scalars would give another mask.
#[test]
fn every_submission_sees_its_own_scalars() {
    agrees(&GpuOptions::default(), 0.4);
}

#[test]
fn a_run_that_has_started_makes_nothing_and_delivers_in_order() {
    let Some(mut gpu) = gpu(&GpuOptions::default()) else { return };
    let plan = classifier(ROWS, 0.2, Products::Fused).expect("it compiles");
    let mut run = Run::new(&mut gpu, &plan);
    let loss = run.buffer("loss");
    let batch = Batch::new(ROWS, 0);
    let (mut reading, mut delivered, mut warm) = (Vec::new(), Vec::new(), None);
    for step in 0..53 {
        if step == 3 {
            warm = Some(run.executor.counters());
        }
        while run.executor.in_flight() == run.executor.in_flight_max() {
            delivered.extend(run.executor.poll(&mut reading, true).expect("it is read"));
        }
        run.submit(&batch, step, Some(loss)).expect("it is submitted");
        assert!(run.executor.in_flight() <= run.executor.in_flight_max());
    }
    let (warm, now) = (warm.expect("53 steps"), run.executor.counters());
    assert_eq!(now.submissions - warm.submissions, 50);
    let made = |c: steepest::exec::Counters| (c.buffers, c.bind_groups, c.pipelines);
    assert_eq!(made(now), made(warm), "made while running");
    assert_eq!(now.stalls, 0, "every reading waited for had others behind it");
    while let Some(tag) = run.executor.poll(&mut reading, true).expect("it is read") {
        delivered.push(tag);
        assert_eq!(reading.len(), 1);
    }
    assert_eq!(delivered, (0..53).collect::<Vec<u64>>());
    assert!(now.pipelines > 0 && now.bind_groups > 0 && now.buffers > 0);
}

#[test]
fn readings_in_flight_are_bounded_and_stalls_are_counted() {
    let Some(mut gpu) = gpu(&GpuOptions::default()) else { return };
    let plan = classifier(ROWS, 0.0, Products::Fused).expect("it compiles");
    let mut run = Run::new(&mut gpu, &plan);
    let loss = run.buffer("loss");
    let batch = Batch::new(ROWS, 0);
    for step in 0..run.executor.in_flight_max() as u32 {
        run.submit(&batch, step, Some(loss)).expect("it is submitted");
    }
    let error = run.submit(&batch, 99, Some(loss)).expect_err("one too many").to_string();
    assert!(error.contains("readings wait to be collected"), "{error}");
    // Without a reading there is no bound: the host waits where it is ahead of the device.
    for step in 0..20 {
        run.submit(&batch, step, None).expect("it is submitted");
    }
    assert_eq!(run.executor.counters().stalls, 0, "to wait for an earlier submission leaves the device at work");
    run.executor.finish().expect("it ends");
    let mut reading = Vec::new();
    for tag in 0..run.executor.in_flight_max() as u64 {
        assert_eq!(run.executor.poll(&mut reading, false).expect("all is done"), Some(tag));
    }
    assert_eq!(run.executor.poll(&mut reading, true).expect("nothing is under way"), None);
    assert_eq!(run.executor.counters().stalls, 1, "to wait for the last one does not");
}

#[test]
fn a_second_plan_shares_memory_and_larger_readings_find_room() {
    let Some(mut gpu) = gpu(&GpuOptions::default()) else { return };
    let small = classifier(5, 0.0, Products::Fused).expect("it compiles");
    let mut run = Run::new(&mut gpu, &small);
    let len = Arena::new(tensors(), usize::MAX).expect("it fits").parts[0];
    let first = run.step(&Batch::new(5, 0), 0, len);
    // The same graph with more rows: its private buffers grow in place, and the first plan still runs. Its input has
    // another name, since a shared buffer has one size.
    let mut g = Graph::new();
    let big = g.input("big", Type::real([300, 11])).expect("an input");
    let squares = g.mul(big, big).expect("it fits");
    let sums = g.sum_axes(squares, &[0]).expect("it fits");
    let soft = g.softmax(squares).expect("it fits");
    let halves = g.scale(soft, 0.5).expect("it fits");
    let places = [(sums, Place::whole("sums", g.ty(sums))), (halves, Place::whole("halves", g.ty(halves)))];
    let wide = compile("wide", &g, &places).expect("it compiles");
    let second = run.executor.load(&wide).expect("it loads");
    let (input, output) = (run.buffer("big"), run.buffer("halves"));
    let values: Vec<f64> = normals(3300, 9).into_iter().map(f64::from).collect();
    let uploads = [(input, Host::F64(&values))];
    let submission = Submission {
        uploads: &uploads,
        plans: &[second, run.plan],
        scalars: scalars(0, 5),
        readback: Some(output),
        tag: 42,
    };
    run.executor.submit(&submission).expect("it is submitted");
    let mut reading = Vec::new();
    assert_eq!(run.executor.poll(&mut reading, true).expect("it is read"), Some(42));
    assert_eq!(reading.len(), 3300);
    let row: f64 = reading[..11].iter().sum();
    assert!((row - 0.5).abs() < 1e-6, "half a softmax sums to {row}");
    assert_eq!(run.step(&Batch::new(5, 0), 0, len), first, "the first plan gives what it gave before, bit for bit");
}

#[test]
fn what_does_not_fit_is_refused_with_its_size() {
    let Some(mut gpu) = gpu(&GpuOptions { memory_bytes: Some(10_000), ..Default::default() }) else { return };
    let error = gpu.load(&classifier(ROWS, 0.0, Products::Fused).expect("it compiles")).expect_err("it is too large");
    assert_eq!(error.exit_code(), 2);
    assert_eq!(error.place(), "plan gradients");
    assert!(error.message().contains("the limit is 10000"), "{error}");
    assert!(error.to_string().contains("smaller micro_batch"), "{error}");
}

#[test]
fn a_buffer_past_the_devices_largest_is_refused() {
    let Some(mut gpu) = gpu(&GpuOptions { downlevel: true, ..Default::default() }) else { return };
    // 2²⁷ elements are 512 MiB; WebGPU promises 256 MiB.
    let mut g = Graph::new();
    let x = g.input("x", Type::real([1 << 14, 1 << 13])).expect("an input");
    let y = g.relu(x).expect("it fits");
    let plan = compile("huge", &g, &[(y, Place::whole("y", g.ty(y)))]).expect("it compiles");
    let error = gpu.load(&plan).expect_err("it is too large").to_string();
    assert!(error.contains("536870912 bytes") && error.contains("268435456"), "{error}");
}

#[test]
fn a_view_at_an_odd_offset_is_an_error_and_no_wrong_number() {
    let Some(mut gpu) = gpu(&GpuOptions::default()) else { return };
    let mut g = Graph::new();
    let x = g.input("x", Type::real([4])).expect("an input");
    let y = g.relu(x).expect("it fits");
    let plan = compile("odd", &g, &[(y, Place { buffer: "y".into(), offset: 3, len: 8 })]).expect("it compiles");
    let error = gpu.load(&plan).expect_err("byte 12 cannot be bound").to_string();
    assert!(error.contains("lies at byte 12"), "{error}");
}

#[test]
fn numbers_go_there_and_back() {
    let Some(mut gpu) = gpu(&GpuOptions::default()) else { return };
    let plan = classifier(ROWS, 0.0, Products::Fused).expect("it compiles");
    gpu.load(&plan).expect("it loads");
    let (x, labels) = (gpu.buffer("x").expect("shared"), gpu.buffer("labels").expect("shared"));
    assert_eq!(gpu.buffer("nobody"), None);
    assert_eq!(gpu.read(x, 0, 9).expect("it is read"), [0.0; 9], "buffers start at zero");
    gpu.write(x, 3, Host::F64(&[1.0 / 3.0, -2.0])).expect("it is written");
    assert_eq!(gpu.read(x, 2, 4).expect("it is read"), [0.0, f64::from(1.0_f32 / 3.0), -2.0, 0.0]);
    gpu.write(labels, 0, Host::U32(&[4_000_000_000, 1])).expect("it is written");
    assert_eq!(gpu.read(labels, 0, 2).expect("it is read"), [4e9, 1.0]);
    assert!(gpu.write(labels, 0, Host::F32(&[1.0])).is_err(), "indices are no real numbers");
    assert!(gpu.write(labels, ROWS, Host::U32(&[1])).is_err(), "past the end");
    assert!(gpu.read(x, 0, ROWS * WIDTH + 1).is_err(), "past the end");
    assert_eq!(gpu.info().precision, "f32");
}

#[test]
fn adapters_are_listed_as_data() {
    let Some((devices, adapter)) = adapter() else { return };
    let json = serde_json::to_value(devices.list()).expect("plain data");
    assert_eq!(json[adapter.index]["name"], adapter.name.as_str());
    assert!(adapter.buffer_bytes_max >= 1 << 27 && adapter.storage_buffers_max >= 8);
}

/// The files of a folder of kernels with what they hold.
fn kernels(folder: &std::path::Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = files.map(|file| file.expect("an entry").path());
    paths.map(|path| (path.clone(), std::fs::read(&path).expect("a file"))).collect()
}

#[test]
fn kernels_are_kept_and_a_broken_file_is_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = |cache: &std::path::Path| GpuOptions { cache: Some(cache.to_owned()), ..GpuOptions::default() };
    let plan = classifier(ROWS, 0.0, Products::Fused).expect("it compiles");
    let load = |cache: &std::path::Path| {
        let mut gpu = gpu(&options(cache))?;
        let mut run = Run::new(&mut gpu, &plan);
        Some(run.step(&Batch::new(ROWS, 0), 0, 100))
    };
    let kept = folder.path().join("deep/kernels");
    let Some(first) = load(&kept) else { return };
    let [(file, whole)] = &kernels(&kept)[..] else {
        println!("SKIPPED: this backend hands out no kernels");
        return;
    };
    assert_eq!(load(&kept).expect("the adapter is there"), first);
    assert_eq!(kernels(&kept)[0].1, *whole, "what is known is not written again");
    let (mut flipped, cut) = (whole.clone(), whole[..whole.len() / 2].to_vec());
    *flipped.last_mut().expect("a byte") ^= 1;
    for broken in [flipped, cut, Vec::new(), b"something else".to_vec()] {
        std::fs::write(file, &broken).expect("it is written");
        assert_eq!(load(&kept).expect("the adapter is there"), first);
        assert_ne!(kernels(&kept)[0].1, broken, "the file is made anew");
        assert_eq!(kernels(&kept).len(), 1, "nothing else is left");
    }
    // Where no folder can be, nothing is kept, and nothing fails.
    let blocked = folder.path().join("blocked");
    std::fs::write(&blocked, "a file").expect("it is written");
    assert_eq!(load(&blocked).expect("the adapter is there"), first);
}

//! The CPU executor: a plan's steps, one after the other, on the threads of a pool. f32 to run, f64 to be the oracle.

use super::numbers::Numbers;
use super::profile::{Clock, Times};
use super::{BufferId, Counters, DeviceInfo, Executor, Host, PlanId, Submission};
use crate::base::{DType, Error, Result, Threads, Type};
use crate::graph::{Data, Io, Op, Precision, StepScalars};
use crate::plan::{Plan, Step, View};
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// Readings that may wait to be collected.
const IN_FLIGHT_MAX: usize = 4;

/// The most inputs and outputs of a step.
const INPUTS_MAX: usize = 8;
const OUTPUTS_MAX: usize = 5;

/// A CPU as an executor, in precision `R`.
#[derive(Debug)]
pub struct Cpu<R> {
    info: DeviceInfo,
    threads: Arc<Threads>,
    buffers: Vec<Buffer<R>>,
    shared: HashMap<String, usize>,
    /// Private buffers by their number in the order of falling size: plans share them, since they run one at a time.
    pool: Vec<usize>,
    plans: Vec<Vec<Resolved>>,
    scratch: Numbers<R>,
    ready: VecDeque<(u64, Vec<f64>)>,
    spare: Vec<Vec<f64>>,
    counters: Counters,
    /// Where times are taken.
    times: Option<Box<Times>>,
}

#[derive(Debug)]
enum Memory<R> {
    Real(Numbers<R>),
    Index(Vec<u32>),
}

/// A buffer in the table of buffers, or the gap that it leaves while a kernel writes it. A pointer, so that taking it out
/// and putting it back moves 8 bytes.
type Buffer<R> = Option<Box<Memory<R>>>;

/// The memory of a buffer that no kernel writes at the moment.
fn there<R>(buffer: &Buffer<R>) -> &Memory<R> {
    buffer.as_deref().expect("a step reads no buffer that it writes")
}

/// As [`there`], to be written.
fn there_mut<R>(buffer: &mut Buffer<R>) -> &mut Memory<R> {
    buffer.as_deref_mut().expect("a step writes no buffer twice")
}

/// Part of one of the executor's buffers.
#[derive(Clone, Copy, Debug)]
struct Slot {
    buffer: usize,
    start: usize,
    end: usize,
}

/// A step whose buffers are the executor's.
#[derive(Debug)]
struct Resolved {
    op: Arc<dyn Op>,
    inputs: Vec<Slot>,
    input_types: Vec<Type>,
    outputs: Vec<Slot>,
    output_types: Vec<Type>,
    /// For each input that is updated in place, nothing is read: the kernel finds it among its outputs.
    in_place: Vec<bool>,
}

impl<R: Precision> Cpu<R> {
    /// A CPU executor on these threads; `memory_bytes` bounds what plans may take.
    pub fn new(threads: Arc<Threads>, memory_bytes: Option<u64>) -> Self {
        let info = DeviceInfo {
            name: "cpu".into(),
            backend: "cpu".into(),
            driver: instruction_sets().into(),
            kind: "cpu".into(),
            precision: R::NAME.into(),
            threads: Some(threads.count()),
            binding_len_max: usize::MAX,
            memory_bytes,
            kernels: None,
        };
        Self {
            info,
            threads,
            buffers: Vec::new(),
            shared: HashMap::new(),
            pool: Vec::new(),
            plans: Vec::new(),
            scratch: Numbers::default(),
            ready: VecDeque::with_capacity(IN_FLIGHT_MAX),
            spare: (0..IN_FLIGHT_MAX).map(|_| Vec::new()).collect(),
            counters: Counters::default(),
            times: None,
        }
    }

    /// The threads that it works with.
    pub fn threads(&self) -> &Arc<Threads> {
        &self.threads
    }

    fn make(&mut self, dtype: DType, len: usize) -> usize {
        self.buffers.push(Some(Box::new(match dtype {
            DType::Real | DType::Half => Memory::Real(Numbers::zeros(len)),
            DType::Index => Memory::Index(vec![0; len]),
        })));
        self.counters.buffers += 1;
        self.buffers.len() - 1
    }

    fn check_memory(&self, plan: &Plan) -> Result<()> {
        let Some(limit) = self.info.memory_bytes else { return Ok(()) };
        let scalar = size_of::<R>();
        let known: usize = self
            .buffers
            .iter()
            .map(|buffer| match there(buffer) {
                Memory::Real(data) => data.len() * scalar,
                Memory::Index(data) => data.len() * 4,
            })
            .sum();
        let fresh: usize = plan
            .buffers
            .iter()
            .filter(|b| !b.shared || !self.shared.contains_key(&b.name))
            // Half precision is played with whole numbers.
            .map(|b| b.len * if b.dtype.is_real() { scalar } else { 4 })
            .sum();
        let needed = known + fresh;
        if needed as u64 <= limit {
            return Ok(());
        }
        let message = format!("it needs {needed} bytes, the limit is {limit}");
        Err(Error::input(format!("plan {}", plan.name), message)
            .help("use a smaller micro_batch, or raise device.memory_limit"))
    }

    /// Gives each private buffer of the plan a place in the pool, the largest first.
    fn assign(&mut self, plan: &Plan) -> Vec<usize> {
        let mut places = vec![usize::MAX; plan.buffers.len()];
        let mut private: Vec<usize> = (0..plan.buffers.len()).filter(|&i| !plan.buffers[i].shared).collect();
        private.sort_by_key(|&i| std::cmp::Reverse(plan.buffers[i].len));
        for (rank, &i) in private.iter().enumerate() {
            let len = plan.buffers[i].len;
            if rank == self.pool.len() {
                let made = self.make(DType::Real, len);
                self.pool.push(made);
            }
            places[i] = self.pool[rank];
            if let Memory::Real(data) = there_mut(&mut self.buffers[places[i]]) {
                data.grow(len);
            }
        }
        for (i, buffer) in plan.buffers.iter().enumerate().filter(|(_, buffer)| buffer.shared) {
            places[i] = match self.shared.get(&buffer.name) {
                Some(&known) => known,
                None => {
                    let made = self.make(buffer.dtype, buffer.len);
                    self.shared.insert(buffer.name.clone(), made);
                    made
                }
            };
        }
        places
    }

    fn run(&mut self, plan: usize, scalars: &StepScalars) {
        let Self { plans, buffers, scratch, threads, .. } = self;
        for step in &plans[plan] {
            step.run(buffers, scratch, threads, scalars);
        }
    }

    /// As [`Self::run`], with a look at the clock after each step.
    fn run_timed(&mut self, plan: usize, scalars: &StepScalars) {
        let Self { plans, buffers, scratch, threads, times, .. } = self;
        let Some(times) = times.as_mut().map(|times| &mut times.plans[plan]) else { return };
        let mut before = Instant::now();
        for (step, seconds) in plans[plan].iter().zip(&mut times.steps) {
            step.run(buffers, scratch, threads, scalars);
            let now = Instant::now();
            *seconds += (now - before).as_secs_f64();
            before = now;
        }
        times.replays += 1;
    }

    /// Keeps what is to be read back.
    fn read_back(&mut self, submission: &Submission<'_>) {
        let Some(buffer) = submission.readback else { return };
        let mut reading = self.spare.pop().unwrap_or_default();
        reading.clear();
        if let Memory::Real(data) = there(&self.buffers[buffer.0]) {
            reading.extend(data.iter().map(|x| x.f64()));
        }
        self.ready.push_back((submission.tag, reading));
    }

    /// The plans and the reading of a submission, whose uploads took so many seconds.
    fn work_timed(&mut self, submission: &Submission<'_>, upload: f64) {
        let threads = self.threads.clone();
        threads.install(|| {
            for plan in submission.plans {
                self.run_timed(plan.0, &submission.scalars);
            }
        });
        let start = Instant::now();
        self.read_back(submission);
        if let Some(times) = &mut self.times {
            times.add(submission.plans, upload, start.elapsed().as_secs_f64());
        }
    }
}

impl Resolved {
    fn new(step: &Step, places: &[usize]) -> Self {
        let resolve = |view: &View| {
            let Range { start, end } = view.range();
            Slot { buffer: places[view.buffer], start, end }
        };
        let inputs: Vec<Slot> = step.inputs.iter().map(resolve).collect();
        let mut in_place = vec![false; inputs.len()];
        for &(_, input) in step.op.in_place() {
            in_place[input] = true;
        }
        assert!(inputs.len() <= INPUTS_MAX && step.outputs.len() <= OUTPUTS_MAX, "{}", step.op.name());
        Self {
            op: step.op.clone(),
            input_types: step.input_types(),
            inputs,
            outputs: step.outputs.iter().map(resolve).collect(),
            output_types: step.output_types(),
            in_place,
        }
    }

    /// The outputs are taken out of the table of buffers while the kernel runs, so that the borrow checker sees what the
    /// plan promises: no buffer is read and written by one step.
    fn run<R: Precision>(&self, buffers: &mut [Buffer<R>], scratch: &mut [R], threads: &Threads, step: &StepScalars) {
        let mut taken: [Buffer<R>; OUTPUTS_MAX] = Default::default();
        for (taken, slot) in taken.iter_mut().zip(&self.outputs) {
            *taken = buffers[slot.buffer].take();
        }
        let mut inputs = [Data::Real(&[]); INPUTS_MAX];
        for ((input, slot), in_place) in inputs.iter_mut().zip(&self.inputs).zip(&self.in_place) {
            if !in_place {
                *input = match there(&buffers[slot.buffer]) {
                    Memory::Real(data) => Data::Real(&data[slot.start..slot.end]),
                    Memory::Index(data) => Data::Index(&data[slot.start..slot.end]),
                };
            }
        }
        let mut outputs: [&mut [R]; OUTPUTS_MAX] = Default::default();
        for ((output, taken), slot) in outputs.iter_mut().zip(&mut taken).zip(&self.outputs) {
            match there_mut(taken) {
                Memory::Real(data) => *output = &mut data[slot.start..slot.end],
                Memory::Index(_) => unreachable!("ops write real numbers"),
            }
        }
        let mut io = Io {
            inputs: &inputs[..self.inputs.len()],
            input_types: &self.input_types,
            outputs: &mut outputs[..self.outputs.len()],
            output_types: &self.output_types,
            scratch,
            step,
            threads,
        };
        R::run(self.op.as_ref(), &mut io);
        for (taken, slot) in taken.iter_mut().zip(&self.outputs) {
            buffers[slot.buffer] = taken.take();
        }
    }
}

fn instruction_sets() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            return "x86-64 with AVX-512";
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return "x86-64 with AVX2 and FMA";
        }
    }
    std::env::consts::ARCH
}

impl<R: Precision> Executor for Cpu<R> {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn load(&mut self, plan: &Plan) -> Result<PlanId> {
        self.check_memory(plan)?;
        let places = self.assign(plan);
        let needed = plan.steps.iter().map(|step| step.op.scratch(&step.input_types(), self.threads.count())).max();
        self.scratch.grow(needed.unwrap_or(0));
        self.plans.push(plan.steps.iter().map(|step| Resolved::new(step, &places)).collect());
        if let Some(times) = &mut self.times {
            times.push(plan);
        }
        Ok(PlanId(self.plans.len() - 1))
    }

    fn buffer(&self, name: &str) -> Option<BufferId> {
        self.shared.get(name).map(|&i| BufferId(i))
    }

    fn write(&mut self, buffer: BufferId, offset: usize, data: Host<'_>) -> Result<()> {
        match (there_mut(&mut self.buffers[buffer.0]), data) {
            (Memory::Real(to), Host::F32(from)) => {
                to[offset..][..from.len()].iter_mut().zip(from).for_each(|(to, &x)| *to = R::of(f64::from(x)));
            }
            (Memory::Real(to), Host::F64(from)) => {
                to[offset..][..from.len()].iter_mut().zip(from).for_each(|(to, &x)| *to = R::of(x));
            }
            (Memory::Index(to), Host::U32(from)) => to[offset..][..from.len()].copy_from_slice(from),
            _ => return Err(Error::failure("cpu", "a buffer of another element type was written")),
        }
        Ok(())
    }

    fn read(&mut self, buffer: BufferId, offset: usize, len: usize) -> Result<Vec<f64>> {
        Ok(match there(&self.buffers[buffer.0]) {
            Memory::Real(data) => data[offset..][..len].iter().map(|x| x.f64()).collect(),
            Memory::Index(data) => data[offset..][..len].iter().map(|&x| f64::from(x)).collect(),
        })
    }

    fn submit(&mut self, submission: &Submission<'_>) -> Result<()> {
        if submission.readback.is_some() && self.ready.len() == IN_FLIGHT_MAX {
            return Err(Error::failure("cpu", format!("{IN_FLIGHT_MAX} readings wait to be collected")));
        }
        self.counters.submissions += 1;
        let start = self.times.is_some().then(Instant::now);
        for &(buffer, data) in submission.uploads {
            self.write(buffer, 0, data)?;
        }
        if let Some(start) = start {
            self.work_timed(submission, start.elapsed().as_secs_f64());
            return Ok(());
        }
        let threads = self.threads.clone();
        threads.install(|| {
            for plan in submission.plans {
                self.run(plan.0, &submission.scalars);
            }
        });
        self.read_back(submission);
        Ok(())
    }

    fn poll(&mut self, reading: &mut Vec<f64>, _wait: bool) -> Result<Option<u64>> {
        Ok(self.ready.pop_front().map(|(tag, ready)| {
            self.spare.push(std::mem::replace(reading, ready));
            tag
        }))
    }

    fn in_flight(&self) -> usize {
        self.ready.len()
    }

    fn in_flight_max(&self) -> usize {
        IN_FLIGHT_MAX
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }

    fn profile(&mut self) -> Result<()> {
        self.times = Some(Box::new(Times::new(Clock::Host, self.plans.len())?));
        Ok(())
    }

    fn times(&self) -> Option<&Times> {
        self.times.as_deref()
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

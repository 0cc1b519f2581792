//! What a device can do by itself, through its executor: matrix products, passes over memory, submissions.

use super::device::Device;
use crate::base::{Error, Result, Threads, Type};
use crate::exec::{BufferId, Executor, Host, PlanId, Submission};
use crate::graph::{Graph, StepScalars};
use crate::ops::arenas::Copy;
use crate::plan::{Place, Plan, compile};
use std::sync::Arc;
use std::time::Instant;

/// A piece of work that tells one thing about a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// A product of two square matrices of so many rows.
    Product(usize),
    /// c = a, over so many numbers.
    Copy(usize),
    /// c = a + s·b, over so many numbers.
    Triad(usize),
    /// A kernel over a single number, in a row with others like it.
    Dispatch,
    /// A submission of nothing, waited for.
    Submission,
    /// A submission of nothing that brings a number back.
    Reading,
}

impl Load {
    /// Floating-point operations, where they are what counts: two for each term of a product.
    pub fn flops(self) -> Option<f64> {
        match self {
            Self::Product(n) => Some(2.0 * (n as f64).powi(3)),
            _ => None,
        }
    }

    /// Bytes read and written, as STREAM counts them (McCalpin 1995): what a cache fetches in order to write is not counted.
    pub fn bytes(self) -> Option<f64> {
        match self {
            Self::Copy(len) => Some(8.0 * len as f64),
            Self::Triad(len) => Some(12.0 * len as f64),
            _ => None,
        }
    }

    /// Numbers of the largest buffer, and of all.
    fn lens(self) -> [usize; 2] {
        match self {
            Self::Product(n) => [n * n, 3 * n * n],
            Self::Copy(len) => [len, 2 * len],
            Self::Triad(len) => [len, 3 * len],
            Self::Dispatch | Self::Submission | Self::Reading => [1, 2],
        }
    }

    /// Bytes that it takes on a device.
    pub fn memory_bytes(self) -> u64 {
        4 * self.lens()[1] as u64
    }

    fn plan(self) -> Result<Plan> {
        let mut g = Graph::new();
        let [len, _] = self.lens();
        let c = match self {
            Self::Product(n) => {
                let [a, b] = [g.input("a", Type::real([n, n]))?, g.input("b", Type::real([n, n]))?];
                g.matmul(a, b)?
            }
            Self::Triad(_) => {
                let [a, b] = [g.input("a", Type::real([len]))?, g.input("b", Type::real([len]))?];
                let scaled = g.scale(b, 0.5)?;
                g.add(a, scaled)?
            }
            _ => {
                let a = g.input("a", Type::real([len]))?;
                g.apply(Copy, &[a])?
            }
        };
        compile("gauge", &g, &[(c, Place::whole("c", g.ty(c)))])
    }
}

/// A load on a device of its own.
pub struct Gauge {
    executor: Box<dyn Executor + Send>,
    threads: Option<Arc<Threads>>,
    load: Load,
    plans: Vec<PlanId>,
    result: BufferId,
    reading: Vec<f64>,
}

impl Gauge {
    /// Puts a load on a device. Its numbers are neither zeros nor alike: those take less power, and a device that is not
    /// warm is a faster one.
    ///
    /// # Errors
    /// If it does not fit into the device's memory, or the device fails.
    pub fn new(device: Device, load: Load) -> Result<Self> {
        let Device { mut executor, threads, .. } = device;
        let most = executor.info().binding_len_max;
        if load.lens()[0] > most {
            let message = format!("{} numbers in a buffer, the device binds {most} at most", load.lens()[0]);
            return Err(Error::input("device", message));
        }
        let plan = executor.load(&load.plan()?)?;
        for name in ["a", "b"] {
            let Some(buffer) = executor.buffer(name) else { continue };
            const BLOCK: usize = 1 << 20;
            let values: Vec<f32> = (0..BLOCK).map(|i| (i * 7919 % 1009) as f32 / 500.0 - 1.0).collect();
            for first in (0..load.lens()[0]).step_by(BLOCK) {
                executor.write(buffer, first, Host::F32(&values[..BLOCK.min(load.lens()[0] - first)]))?;
            }
        }
        let result = executor.buffer("c").ok_or_else(|| Error::failure("gauge", "no plan names its result"))?;
        executor.finish()?;
        Ok(Self { executor, threads, load, plans: vec![plan], result, reading: Vec::new() })
    }

    /// Seconds for the load so many times in a row, until the device is done with all.
    ///
    /// # Errors
    /// If the device fails.
    pub fn time(&mut self, times: usize) -> Result<f64> {
        self.plans.resize(times.max(1), self.plans[0]);
        match self.threads.clone() {
            Some(threads) => threads.install(|| self.go(times)),
            None => self.go(times),
        }
    }

    fn go(&mut self, times: usize) -> Result<f64> {
        let one_by_one = matches!(self.load, Load::Submission | Load::Reading);
        let submission = Submission {
            uploads: &[],
            plans: if one_by_one { &[] } else { &self.plans },
            scalars: StepScalars::default(),
            readback: (self.load == Load::Reading).then_some(self.result),
            tag: 0,
        };
        let start = Instant::now();
        for _ in 0..if one_by_one { times } else { 1 } {
            self.executor.submit(&submission)?;
            match self.load {
                Load::Reading => {
                    self.executor.poll(&mut self.reading, true)?;
                }
                _ => self.executor.finish()?,
            }
        }
        Ok(start.elapsed().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::run::open_device;

    #[test]
    fn loads_compute_what_they_say() {
        let mut config = Config::builtin_digits();
        config.device.device = "cpu".into();
        let a = |i: usize| f64::from((i * 7919 % 1009) as f32 / 500.0 - 1.0);
        let product = |i: usize| (0..8).map(|k| a(i / 8 * 8 + k) * a(k * 8 + i % 8)).sum::<f64>();
        for (load, len) in [(Load::Product(8), 64), (Load::Copy(3000), 3000), (Load::Triad(3000), 3000)] {
            let expected = |i: usize| match load {
                Load::Product(_) => product(i),
                Load::Triad(_) => 1.5 * a(i),
                _ => a(i),
            };
            let mut gauge = Gauge::new(open_device(&config).unwrap(), load).unwrap();
            assert!(gauge.time(3).unwrap() > 0.0);
            let found = gauge.executor.read(gauge.result, 0, len).unwrap();
            for (i, x) in found.into_iter().enumerate() {
                assert!((x - expected(i)).abs() < 1e-5, "{load:?} [{i}]: {x} {}", expected(i));
            }
        }
        assert_eq!((Load::Product(8).flops(), Load::Copy(8).bytes()), (Some(1024.0), Some(64.0)));
        assert_eq!((Load::Triad(8).bytes(), Load::Triad(8).memory_bytes()), (Some(96.0), 96));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut config = Config::builtin_digits();
        config.set_all(["device.device=cpu".to_owned(), "device.memory_limit=1000".to_owned()]).unwrap();
        let refused = Gauge::new(open_device(&config).unwrap(), Load::Copy(1000));
        assert!(refused.err().expect("8000 bytes are more than 1000").to_string().contains("the limit is 1000"));
    }
}

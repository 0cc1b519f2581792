//! The CPU matrix product against crate `gemm`: criterion's statistics, then medians of interleaved runs.

use criterion::{BenchmarkId, Criterion, Throughput};
use std::hint::black_box;
use std::time::Instant;
use steepest::base::{Real, Threads};
use steepest::ops::matmul::cpu::{Mat, NoEpilogue, matmul, scratch_len};

/// m, n, k and the order of A and B: N row-major, T column-major.
const SHAPES: [(usize, usize, usize, &str); 13] = [
    (128, 512, 784, "NT"),
    (128, 784, 512, "NN"),
    (512, 784, 128, "TN"),
    (256, 1024, 1024, "NT"),
    (256, 1024, 1024, "NN"),
    (256, 1024, 1024, "TN"),
    (32, 64, 32, "NT"),
    (32, 64, 32, "NN"),
    (32, 64, 32, "TN"),
    (128, 10, 512, "NT"),
    (128, 512, 10, "NN"),
    (10, 512, 128, "TN"),
    (2048, 2048, 2048, "NN"),
];

/// The operands of one product.
struct Case<R> {
    shape: (usize, usize, usize),
    order: &'static str,
    a: Vec<R>,
    b: Vec<R>,
    c: Vec<R>,
    scratch: Vec<R>,
}

impl<R: Real> Case<R> {
    fn new((m, n, k, order): (usize, usize, usize, &'static str)) -> Self {
        let values = |len: usize| (0..len).map(|i| R::of((i * 7919 % 1009) as f64 / 500.0 - 1.0)).collect();
        let (a, b, c) = (values(m * k), values(k * n), vec![R::ZERO; m * n]);
        Self { shape: (m, n, k), order, a, b, c, scratch: vec![R::ZERO; scratch_len::<R>(m, n, k)] }
    }

    fn flops(&self) -> f64 {
        2.0 * (self.shape.0 * self.shape.1 * self.shape.2) as f64
    }

    fn ours(&mut self, pool: &Threads) {
        let (m, n, k) = self.shape;
        let (a, b) = views(&self.a, &self.b, self.shape, self.order);
        matmul(m, n, k, a, b, &mut self.c, &mut self.scratch, pool, None::<&NoEpilogue<R>>);
        black_box(&mut self.c);
    }

    fn theirs(&mut self, threads: usize) {
        let (m, n, k) = self.shape;
        let (a, b) = views(&self.a, &self.b, self.shape, self.order);
        let parallelism = if threads == 1 { gemm::Parallelism::None } else { gemm::Parallelism::Rayon(threads) };
        let strides = |x: &Mat<R>| (x.col_stride as isize, x.row_stride as isize);
        let ((a_cs, a_rs), (b_cs, b_rs)) = (strides(&a), strides(&b));
        let (c, zero, one) = (self.c.as_mut_ptr(), R::ZERO, R::ONE);
        // SAFETY: the strides are those of slices that hold every element of the shape.
        unsafe {
            let (a, b) = (a.data.as_ptr(), b.data.as_ptr());
            gemm::gemm(
                m,
                n,
                k,
                c,
                1,
                n as isize,
                false,
                a,
                a_cs,
                a_rs,
                b,
                b_cs,
                b_rs,
                zero,
                one,
                false,
                false,
                false,
                parallelism,
            );
        }
        black_box(&mut self.c);
    }
}

fn views<'a, R: Real>(
    a: &'a [R],
    b: &'a [R],
    (m, n, k): (usize, usize, usize),
    order: &str,
) -> (Mat<'a, R>, Mat<'a, R>) {
    let a = if order.starts_with('T') { Mat::rows(a, m).t() } else { Mat::rows(a, k) };
    let b = if order.ends_with('T') { Mat::rows(b, k).t() } else { Mat::rows(b, n) };
    (a, b)
}

/// Runs both in turn and prints the medians, so that other load meets both alike.
fn interleaved<R: Real>(shape: (usize, usize, usize, &'static str), pool: &Threads) {
    let mut case = Case::<R>::new(shape);
    let flops = case.flops();
    let (repeats, rounds) = (((1e8 / flops) as usize).clamp(1, 2000), if flops > 1e9 { 9 } else { 61 });
    let mut seconds = [Vec::new(), Vec::new()];
    pool.install(|| {
        for _ in 0..rounds {
            let start = Instant::now();
            (0..repeats).for_each(|_| case.ours(pool));
            seconds[0].push(start.elapsed().as_secs_f64() / repeats as f64);
            let start = Instant::now();
            (0..repeats).for_each(|_| case.theirs(pool.count()));
            seconds[1].push(start.elapsed().as_secs_f64() / repeats as f64);
        }
    });
    let [ours, theirs] = seconds.map(|mut s| {
        s.sort_by(f64::total_cmp);
        s[s.len() / 2]
    });
    let (m, n, k, order) = shape;
    println!(
        "{} {order} {m}x{n}x{k}, {} threads: ours {:.2} us {:.0} GFLOP/s, gemm {:.2} us {:.0} GFLOP/s, ratio {:.2}",
        R::NAME,
        pool.count(),
        ours * 1e6,
        flops / ours / 1e9,
        theirs * 1e6,
        flops / theirs / 1e9,
        theirs / ours
    );
}

fn by_criterion(c: &mut Criterion, pool: &Threads) {
    let mut group = c.benchmark_group(format!("matmul f32, {} threads", pool.count()));
    group.sample_size(20).measurement_time(std::time::Duration::from_secs(1));
    for shape in &SHAPES[..12] {
        let mut case = Case::<f32>::new(*shape);
        let (m, n, k, order) = *shape;
        group.throughput(Throughput::Elements(case.flops() as u64));
        let name = format!("{order} {m}x{n}x{k}");
        group.bench_function(BenchmarkId::new("ours", &name), |b| pool.install(|| b.iter(|| case.ours(pool))));
        group.bench_function(BenchmarkId::new("gemm", &name), |b| {
            pool.install(|| b.iter(|| case.theirs(pool.count())));
        });
    }
    group.finish();
}

fn main() {
    for count in [1, 2] {
        let pool = Threads::new(count).unwrap();
        for shape in SHAPES {
            interleaved::<f32>(shape, &pool);
        }
        for order in ["NT", "NN", "TN"] {
            interleaved::<f64>((256, 512, 512, order), &pool);
        }
    }
    if std::env::args().any(|arg| arg == "--statistics") {
        let mut criterion = Criterion::default();
        by_criterion(&mut criterion, &Threads::single());
        criterion.final_summary();
    }
}

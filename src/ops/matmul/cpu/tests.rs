use super::plan::Plan;
use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Values in [−1, 1] that no rounding makes special.
fn values<R: Real>(len: usize, seed: usize) -> Vec<R> {
    (0..len).map(|i| R::of(((i * 7919 + seed * 104_729 + 13) % 2003) as f64 / 1001.0 - 1.0)).collect()
}

/// How the operands lie: as they are, transposed, or with gaps in both directions.
const ORDERS: [&str; 3] = ["N", "T", "S"];

fn view<'a, R: Real>(data: &'a [R], rows: usize, cols: usize, order: &str) -> Mat<'a, R> {
    match order {
        "N" => Mat::rows(data, cols),
        "T" => Mat::rows(data, rows).t(),
        _ => Mat { data, row_stride: 2 * cols + 1, col_stride: 2 },
    }
}

/// Enough scalars for every order.
fn operand<R: Real>(rows: usize, cols: usize, seed: usize) -> Vec<R> {
    values(rows * (2 * cols + 1), seed)
}

/// C of the fast product, in a slice between guard words that must survive.
fn product_of<R: Real>(shape: (usize, usize, usize), a: Mat<R>, b: Mat<R>, pool: &Threads) -> Vec<R> {
    const GUARD: usize = 16;
    let (m, n, k) = shape;
    let mut room = vec![R::of(-7.5); m * n + 2 * GUARD];
    let mut scratch = vec![R::ZERO; scratch_len::<R>(m, n, k)];
    matmul(m, n, k, a, b, &mut room[GUARD..GUARD + m * n], &mut scratch, pool, None::<&NoEpilogue<R>>);
    assert!(room[..GUARD].iter().chain(&room[GUARD + m * n..]).all(|x| *x == R::of(-7.5)), "guards at {shape:?}");
    room[GUARD..GUARD + m * n].to_vec()
}

/// |fast − exact| ≤ 2·(k + 2)·u·Σ|a||b| for each element, the exact product being that in f64.
fn check<R: Real>((m, n, k): (usize, usize, usize), orders: (&str, &str), pool: &Threads) {
    let (a, b) = (operand::<R>(m, k, 1), operand::<R>(k, n, 2));
    let (a, b) = (view(&a, m, k, orders.0), view(&b, k, n, orders.1));
    let c = product_of((m, n, k), a, b, pool);
    for i in 0..m {
        for j in 0..n {
            let terms = || (0..k).map(|p| a.at(i, p).f64() * b.at(p, j).f64());
            let (exact, size) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
            let bound = 2.0 * (k + 2) as f64 * R::UNIT_ROUNDOFF * size;
            let error = (c[i * n + j].f64() - exact).abs();
            assert!(error <= bound, "{} {orders:?} {m}x{n}x{k} at ({i}, {j}): {error:e} > {bound:e}", R::NAME);
        }
    }
}

fn check_orders<R: Real>(shape: (usize, usize, usize), pool: &Threads) {
    for a in ORDERS {
        for b in ORDERS {
            check::<R>(shape, (a, b), pool);
        }
    }
}

/// Around each length at which a kernel changes: tile heights 4 and 8, vectors of 2 to 16, panels of 3 vectors.
const EDGES: [usize; 12] = [1, 3, 4, 7, 9, 13, 16, 17, 23, 47, 49, 97];

#[test]
fn every_order_and_edge_is_within_the_error_bound() {
    let pool = Threads::new(2).unwrap();
    for m in EDGES {
        for n in EDGES {
            check_orders::<f32>((m, n, 19), &pool);
            check_orders::<f64>((m, n, 7), &pool);
        }
    }
    for k in [1, 2, 8, 63, 64, 65, 127, 385, 769] {
        check_orders::<f32>((11, 50, k), &pool);
        check_orders::<f32>((41, 5, k), &pool);
        check_orders::<f64>((19, 26, k), &pool);
        check_orders::<f64>((9, 11, k), &pool);
    }
}

/// Every instruction set of this machine, not only the best one.
fn instruction_sets() -> Vec<pulp::Arch> {
    #[allow(unused_mut)]
    let mut sets = vec![pulp::Arch::Scalar, pulp::Arch::new()];
    #[cfg(target_arch = "x86_64")]
    sets.extend(pulp::x86::V3::try_new().map(pulp::Arch::V3));
    sets
}

fn check_instruction_sets<R: Element>() {
    for (m, n, k) in [(13, 53, 31), (9, 25, 400), (33, 9, 70), (5, 3, 129), (40, 100, 17)] {
        let (a, b) = (operand::<R>(m, k, 8), operand::<R>(k, n, 9));
        for (of_a, of_b) in [("N", "T"), ("N", "N"), ("T", "N"), ("S", "S")] {
            let (a, b) = (view(&a, m, k, of_a), view(&b, k, n, of_b));
            let mut exact = vec![R::ZERO; m * n];
            reference(m, n, k, a, b, &mut exact);
            for arch in instruction_sets() {
                let (mut c, mut scratch) = (vec![R::ZERO; m * n], vec![R::ZERO; scratch_len::<R>(m, n, k)]);
                let panels = workspace::buffers(&mut scratch, m, n, k);
                product::fast(arch, (m, n, k), (a, b), &mut c, panels, &Threads::single(), |_, _| {});
                let bound = 4.0 * (k + 2) as f64 * R::UNIT_ROUNDOFF * k as f64;
                let near = c.iter().zip(&exact).all(|(x, y)| (x.f64() - y.f64()).abs() <= bound);
                assert!(near, "{} {of_a}{of_b} {m}x{n}x{k} on {arch:?}", R::NAME);
            }
        }
    }
}

#[test]
fn every_instruction_set_computes_the_product() {
    check_instruction_sets::<f32>();
    check_instruction_sets::<f64>();
}

#[test]
fn training_shapes_are_within_the_error_bound() {
    let pool = Threads::new(2).unwrap();
    for (shape, orders) in [
        ((128, 512, 784), ("N", "T")),
        ((128, 784, 512), ("N", "N")),
        ((512, 784, 128), ("T", "N")),
        ((128, 10, 512), ("N", "T")),
        ((10, 512, 128), ("T", "N")),
        ((257, 131, 389), ("T", "T")),
    ] {
        check::<f32>(shape, orders, &pool);
        check::<f64>(shape, orders, &pool);
    }
}

#[test]
fn the_reference_is_the_literal_sum() {
    let (a, b) = ([1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 0.5, -1.0, 2.0, 0.0, 3.0]);
    let mut c = [0.0; 4];
    reference(2, 2, 3, Mat::rows(&a, 3), Mat::rows(&b, 2), &mut c);
    assert_eq!(c, [-1.0, 13.5, -1.0, 30.0]);
    reference(2, 2, 3, Mat::rows(&b, 2).t(), Mat::rows(&a, 3).t(), &mut c);
    assert_eq!(c, [-1.0, -1.0, 13.5, 30.0], "(A·B)ᵀ = Bᵀ·Aᵀ");
}

#[test]
fn no_thread_count_changes_a_bit() {
    for (shape, orders) in [
        ((128, 512, 784), ("N", "T")),
        ((300, 97, 801), ("N", "N")),
        ((512, 130, 129), ("T", "N")),
        ((1031, 10, 512), ("N", "T")),
        ((17, 1024, 513), ("N", "N")),
    ] {
        let (m, n, k) = shape;
        let (a, b) = (operand::<f32>(m, k, 3), operand::<f32>(k, n, 4));
        let (a, b) = (view(&a, m, k, orders.0), view(&b, k, n, orders.1));
        let alone = product_of(shape, a, b, &Threads::single());
        for count in [2, 3, 7] {
            let together = product_of(shape, a, b, &Threads::new(count).unwrap());
            let same = alone.iter().zip(&together).all(|(x, y)| x.to_bits() == y.to_bits());
            assert!(same, "{shape:?} on {count} threads");
        }
    }
}

#[test]
fn the_epilogue_sees_every_final_element_once() {
    for (m, n, k) in [(128, 96, 300), (37, 10, 512), (5, 7, 3), (200, 33, 0), (1, 1, 1)] {
        let (a, b) = (values::<f32>(m * k, 5), values::<f32>(k * n, 6));
        let (a, b) = (Mat::rows(&a, k), Mat::rows(&b, n));
        let pool = Threads::new(3).unwrap();
        let plain = product_of((m, n, k), a, b, &pool);
        let calls: Vec<AtomicUsize> = (0..m).map(|_| AtomicUsize::new(0)).collect();
        let bias = |rows: Range<usize>, c: &mut [f32]| {
            assert_eq!(c.len(), rows.len() * n, "whole rows");
            rows.for_each(|i| _ = calls[i].fetch_add(1, Ordering::Relaxed));
            c.iter_mut().enumerate().for_each(|(at, x)| *x += (at % n) as f32);
        };
        let mut c = vec![0.0; m * n];
        let mut scratch = vec![0.0; scratch_len::<f32>(m, n, k)];
        matmul(m, n, k, a, b, &mut c, &mut scratch, &pool, Some(&bias));
        assert!(calls.iter().all(|x| x.load(Ordering::Relaxed) == 1), "{m}x{n}x{k}");
        assert!(c.iter().zip(&plain).enumerate().all(|(at, (c, p))| *c == p + (at % n) as f32), "{m}x{n}x{k}");
    }
}

#[test]
fn no_terms_sum_to_zero() {
    let c = product_of::<f32>((3, 5, 0), Mat::rows(&[], 0), Mat::rows(&[], 5), &Threads::new(2).unwrap());
    assert_eq!(c, [0.0; 15]);
    assert!(product_of::<f64>((0, 5, 3), Mat::rows(&[], 3), Mat::rows(&[0.0; 15], 5), &Threads::single()).is_empty());
}

#[test]
fn nan_and_infinity_pass_as_in_plain_arithmetic() {
    for (m, n, k) in [(20, 50, 30), (20, 6, 100)] {
        let (mut a, mut b) = (vec![0.0f32; m * k], values::<f32>(k * n, 7));
        (a[3 * k + 4], a[9 * k + 8]) = (f32::NAN, f32::INFINITY);
        b[2] = f32::INFINITY; // row 0, column 2 meets zeros of A: 0·∞ is NaN
        let c = product_of((m, n, k), Mat::rows(&a, k), Mat::rows(&b, n), &Threads::single());
        let bt: Vec<f32> = (0..n * k).map(|at| b[at % k * n + at / k]).collect();
        let ct = product_of((m, n, k), Mat::rows(&a, k), Mat::rows(&bt, k).t(), &Threads::single());
        let mut plain = vec![0.0; m * n];
        reference(m, n, k, Mat::rows(&a, k), Mat::rows(&b, n), &mut plain);
        for c in [c, ct] {
            let same = |x: f32, y: f32| x == y || (x.is_nan() && y.is_nan());
            assert!(c.iter().zip(&plain).all(|(x, y)| same(*x, *y)), "{m}x{n}x{k}");
        }
    }
}

#[test]
fn plans_cover_the_product_and_fit_the_scratch() {
    for m in [1, 7, 8, 9, 128, 1000, 5000] {
        for n in [1, 10, 512] {
            for k in [1, 9, 384, 385, 10_000] {
                let plan = Plan::new::<f32>(m, n, k);
                assert!(
                    plan.k_block >= 1 && plan.k_block <= k && (m < 16 || plan.part_rows.is_multiple_of(8)),
                    "{plan:?}"
                );
                assert!(k.div_ceil(plan.k_block) <= k.div_ceil(384), "{plan:?}: no needless block");
                assert!(plan.a_size(m) >= m * plan.k_block, "{plan:?}");
            }
        }
    }
    assert!(scratch_len::<f32>(128, 512, 784) >= 512 * 784);
}

#[test]
#[should_panic(expected = "scratch")]
fn a_scratch_too_small_is_refused() {
    let (a, b) = (values::<f32>(64 * 64, 1), values::<f32>(64 * 64, 2));
    let (a, b) = (Mat::rows(&a, 64), Mat::rows(&b, 64));
    let mut scratch = vec![0.0; scratch_len::<f32>(8, 8, 8)];
    matmul(64, 64, 64, a, b, &mut [0.0; 4096], &mut scratch, &Threads::single(), None::<&NoEpilogue<f32>>);
}

//! The ops that measure against numpy (goldens/measures.py): in both precisions, and the same on any number of threads.

use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::path::Path;
use steepest::base::{Real, Shape, Threads, Type};
use steepest::graph::{Data, Io, Op, Precision, StepScalars};
use steepest::ops::arenas::{Copy, DirectionStats, DistanceStats, Moved};
use steepest::ops::histogram::{ArenaHistogram, FoldCounts, RowHistogram};
use steepest::ops::noise::{ElementwiseStats, MicroStats};
use steepest::ops::record::{self, MAX, RECORD, SQUARES, scale_of};
use steepest::ops::units::{Saturated, UnitAges};
use steepest::ops::variance::{StoppingStats, VarianceStats, VectorStats};

/// The cases of the goldens: op, rows of the micro-batch, its number.
fn cases() -> Vec<(&'static str, Box<dyn Op>, u32, u32)> {
    let window = 3;
    vec![
        ("unit_ages_first", Box::new(UnitAges { window }), 4, 0),
        ("unit_ages_later", Box::new(UnitAges { window }), 4, 1),
        ("unit_ages_wide", Box::new(UnitAges { window }), 70, 0),
        ("unit_ages_none", Box::new(UnitAges { window }), 0, 0),
        ("saturated", Box::new(Saturated { limit: 0.75 }), 4, 0),
        ("copy", Box::new(Copy), 4, 0),
        ("moved", Box::new(Moved), 4, 0),
        ("direction", Box::new(DirectionStats), 4, 0),
        ("direction_odd", Box::new(DirectionStats), 4, 0),
        ("distance", Box::new(DistanceStats), 4, 0),
        ("distance_odd", Box::new(DistanceStats), 4, 0),
        ("arena_histogram", Box::new(ArenaHistogram), 4, 0),
        ("row_histogram", Box::new(RowHistogram), 4, 0),
        ("fold_counts", Box::new(FoldCounts { accumulate: false }), 4, 1),
        ("fold_counts_first", Box::new(FoldCounts { accumulate: true }), 4, 0),
        ("fold_counts_later", Box::new(FoldCounts { accumulate: true }), 4, 1),
        // Eight examples: four before this micro-batch.
        ("variance_stats", Box::new(VarianceStats), 4, 1),
        ("stopping_stats", Box::new(StoppingStats { relative: 0.25 }), 4, 1),
        ("vector_stats", Box::new(VectorStats), 4, 0),
        ("vector_stats_odd", Box::new(VectorStats), 4, 0),
        ("elementwise", Box::new(ElementwiseStats { bias: true }), 4, 0),
        ("elementwise_odd", Box::new(ElementwiseStats { bias: true }), 4, 0),
        ("elementwise_scale", Box::new(ElementwiseStats { bias: false }), 4, 0),
        ("elementwise_scale_odd", Box::new(ElementwiseStats { bias: false }), 4, 0),
        ("micro_stats", Box::new(MicroStats), 3, 1),
        ("micro_stats_odd", Box::new(MicroStats), 3, 0),
    ]
}

enum Numbers {
    Real(Vec<f64>),
    Index(Vec<u32>),
}

impl Numbers {
    fn real(&self) -> &[f64] {
        match self {
            Self::Real(numbers) => numbers,
            Self::Index(_) => panic!("indices"),
        }
    }
}

type Goldens = BTreeMap<String, (Type, Numbers)>;

fn goldens() -> Goldens {
    fn words<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
        bytes.chunks_exact(N).map(|word| word.try_into().unwrap())
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/measures.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
        let shape = Shape::new(view.shape());
        let value = match view.dtype() {
            Dtype::F32 => (
                Type::real(shape),
                Numbers::Real(words(view.data()).map(|x| f64::from(f32::from_le_bytes(x))).collect()),
            ),
            Dtype::F64 => (Type::real(shape), Numbers::Real(words(view.data()).map(f64::from_le_bytes).collect())),
            Dtype::U32 => (Type::index(shape), Numbers::Index(words(view.data()).map(u32::from_le_bytes).collect())),
            other => panic!("{name} holds {other:?}"),
        };
        (name.to_owned(), value)
    };
    file.iter().map(tensor).collect()
}

fn inputs<'a>(goldens: &'a Goldens, case: &str) -> Vec<&'a (Type, Numbers)> {
    (0..).map_while(|i| goldens.get(&format!("{case}/in{i}"))).collect()
}

/// The outputs of an op.
fn run<R: Precision>(op: &dyn Op, inputs: &[&(Type, Numbers)], step: &StepScalars, threads: usize) -> Vec<Vec<f64>> {
    let types: Vec<Type> = inputs.iter().map(|(ty, _)| *ty).collect();
    let reals: Vec<Vec<R>> = inputs
        .iter()
        .map(|(_, numbers)| match numbers {
            Numbers::Real(numbers) => numbers.iter().map(|&x| R::of(x)).collect(),
            Numbers::Index(_) => Vec::new(),
        })
        .collect();
    let data: Vec<Data<'_, R>> = inputs
        .iter()
        .zip(&reals)
        .map(|((_, numbers), reals)| match numbers {
            Numbers::Real(_) => Data::Real(reals),
            Numbers::Index(indices) => Data::Index(indices),
        })
        .collect();
    let output_types = op.infer(&types).unwrap();
    let mut outputs: Vec<Vec<R>> = output_types.iter().map(|ty| vec![R::of(f64::NAN); ty.shape.len()]).collect();
    for &(output, input) in op.in_place() {
        outputs[output].copy_from_slice(&reals[input]);
    }
    let mut slices: Vec<&mut [R]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
    let threads = Threads::new(threads).unwrap();
    let mut io = Io {
        inputs: &data,
        input_types: &types,
        outputs: &mut slices,
        output_types: &output_types,
        scratch: &mut [],
        step,
        threads: &threads,
    };
    R::run(op, &mut io);
    outputs.into_iter().map(|numbers| numbers.into_iter().map(Real::f64).collect()).collect()
}

/// The first number that is further from the golden one than `room` of it, and of 1 for what may cancel.
fn off(found: &[f64], golden: &[f64], room: f64, cancels: bool) -> Option<String> {
    assert_eq!(found.len(), golden.len());
    let size = if cancels { 1.0 } else { 0.0 };
    let differs = |(_, (a, b)): &(usize, (&f64, &f64))| !((**a - **b).abs() <= room * (b.abs() + size) || a == b);
    let (i, (a, b)) = found.iter().zip(golden).enumerate().find(differs)?;
    Some(format!("number {i}: {a:e}, expected {b:e}"))
}

fn step(rows: u32, micro: u32) -> StepScalars {
    StepScalars { rows, micro, first_row: 4 * micro, ..StepScalars::default() }
}

/// Every case in one precision: what is wrong.
fn wrong<R: Precision>(goldens: &Goldens, room: f64) -> Vec<String> {
    let mut wrong = Vec::new();
    for (case, op, rows, micro) in cases() {
        let (inputs, step) = (inputs(goldens, case), step(rows, micro));
        let found = run::<R>(op.as_ref(), &inputs, &step, 1);
        assert_eq!(found, run::<R>(op.as_ref(), &inputs, &step, 3), "{case}: threads");
        // Sums whose terms have both signs.
        let cancels = case.starts_with("direction") || case.starts_with("vector");
        for (i, found) in found.iter().enumerate() {
            let own = goldens.get(&format!("{case}/out{i}_{}", R::NAME));
            let golden = own.unwrap_or_else(|| &goldens[&format!("{case}/out{i}")]).1.real();
            wrong
                .extend(off(found, golden, room, cancels).map(|why| format!("{case}, output {i}, {}: {why}", R::NAME)));
        }
    }
    wrong
}

#[test]
fn every_measure_is_that_of_numpy() {
    let goldens = goldens();
    let mut failures = wrong::<f64>(&goldens, 1e-12);
    failures.extend(wrong::<f32>(&goldens, 1e-5));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_golden_has_its_case() {
    let goldens = goldens();
    let names: std::collections::BTreeSet<&str> = goldens.keys().map(|key| key.split_once('/').unwrap().0).collect();
    let cases = cases();
    assert_eq!(names, cases.iter().map(|case| case.0).collect());
    // Numbers that are off are found, in each output of each case.
    for (case, op, rows, micro) in cases {
        for (i, mut found) in
            run::<f64>(op.as_ref(), &inputs(&goldens, case), &step(rows, micro), 1).into_iter().enumerate()
        {
            let golden = goldens[&format!("{case}/out{i}")].1.real();
            let at = found.iter().position(|&x| x != 0.0 && x.abs() < 1e6).unwrap_or(0);
            found[at] = found[at] * 1.01 + 0.01;
            assert!(off(&found, golden, 1e-5, true).is_some(), "{case}, output {i}");
        }
    }
}

/// Inner products of parts, some of them negative and of other scales, combine to that of the whole.
#[test]
fn products_of_parts_combine_to_the_whole() {
    let goldens = goldens();
    for product in 0..3 {
        let golden = goldens[&format!("direction/out{product}")].1.real();
        let records: Vec<&[f64]> = golden.chunks(RECORD).collect();
        let value = |record: &[f64]| record[SQUARES] / scale_of(record[MAX]).powi(2);
        assert!(records.iter().any(|record| record[SQUARES] < 0.0));
        for parts in [&records[..4], &records[..1], &records[1..4], &records[..]] {
            let mut whole = [0.0; RECORD];
            parts.iter().for_each(|part| record::combine(&mut whole, part));
            let expected: f64 = parts.iter().map(|part| value(part)).sum();
            assert!((value(&whole) - expected).abs() <= 1e-12 * expected.abs(), "{product}: {whole:?}, {expected}");
        }
    }
}

/// Numbers of many parts, each another: threads take parts of whole chunks, and the last one is not full.
#[test]
fn copies_and_differences_are_right_in_every_part() {
    fn check<R: Precision>() {
        // Whole numbers below 2²⁴, so that differences are exact in f32 too.
        let len = 300 * 1024 + 17;
        let before: Vec<f64> = (0..len).map(|i| f64::from(3 * i % 7919)).collect();
        let now: Vec<f64> = (0..len).map(|i| f64::from(5 * i + 1)).collect();
        let moved: Vec<f64> = now.iter().zip(&before).map(|(now, before)| now - before).collect();
        let input = |numbers: &[f64]| (Type::real(Shape::new(&[numbers.len()])), Numbers::Real(numbers.to_vec()));
        let (kept, now) = (input(&before), input(&now));
        for threads in [1, 2, 3] {
            let found = run::<R>(&Moved, &[&kept, &now], &step(4, 0), threads);
            assert_eq!(off(&found[0], &moved, 0.0, false), None, "moved, {} with {threads} threads", R::NAME);
            let found = run::<R>(&Copy, &[&kept], &step(4, 0), threads);
            assert_eq!(off(&found[0], &before, 0.0, false), None, "copy, {} with {threads} threads", R::NAME);
        }
    }
    check::<f32>();
    check::<f64>();
}

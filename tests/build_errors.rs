//! What does not fit is refused when the graph is built, by an error that names the scope, the op and the shapes.

use steepest::base::{ErrorKind, Result, Type};
use steepest::graph::{Graph, ValueId};
use steepest::ops::arenas::{Copy, DirectionStats, DistanceStats, Moved};
use steepest::ops::examples::ExampleStats;
use steepest::ops::gather::ScatterAddRows;
use steepest::ops::histogram::{ArenaHistogram, FoldCounts, RowHistogram};
use steepest::ops::layout::Pad;
use steepest::ops::loss::SoftmaxCrossEntropyGrad;
use steepest::ops::noise::{ElementwiseStats, MicroStats};
use steepest::ops::norm::LayerNormGrad;
use steepest::ops::optimize::{Accumulate, Rule, Update};
use steepest::ops::reduce::Sum;
use steepest::ops::scaling::AdjustScale;
use steepest::ops::stats::{ChunkStats, ClipFactor, Fold, TapStats};
use steepest::ops::units::{Saturated, UnitAges};
use steepest::ops::variance::{StoppingStats, VarianceStats, VectorStats};

type Bad = (&'static str, &'static [&'static str], fn(&mut Graph) -> Result<ValueId>);

fn real(g: &mut Graph, shape: &[usize]) -> ValueId {
    let name = format!("x{}", g.values().len());
    g.input(&name, Type::real(shape)).expect("a new name")
}

fn index(g: &mut Graph, n: usize) -> ValueId {
    let name = format!("i{}", g.values().len());
    g.input(&name, Type::index([n])).expect("a new name")
}

macro_rules! bad {
    ($op:literal, [$($part:literal),*], |$g:ident $(, $x:ident = $shape:tt)*| $build:expr) => {
        ($op, &[$($part),*] as &[&str], |$g: &mut Graph| {
            $(let $x = real($g, &$shape);)*
            $build
        })
    };
}

/// Op, what the message must hold, and how it is built wrongly.
const BAD: &[Bad] = &[
    bad!("add", ["[5, 3]", "[4]"], |g, x = [5, 3], y = [4]| g.add(x, y)),
    bad!("select", ["[5, 1]", "[4, 2]"], |g, x = [5, 1], y = [5, 1], z = [4, 2]| g.select(x, y, z)),
    bad!("tanh", ["index[3]"], |g| {
        let i = index(g, 3);
        g.tanh(i)
    }),
    bad!("matmul", ["[2, 3]", "[4, 5]"], |g, a = [2, 3], b = [4, 5]| g.matmul(a, b)),
    bad!("matmul", ["[2, 3]ᵀ", "[4, 3]ᵀ"], |g, a = [2, 3], b = [4, 3]| g.matmul_t(a, b, true, true)),
    bad!("matmul", ["[2, 3, 4]", "[3, 4, 5]"], |g, a = [2, 3, 4], b = [3, 4, 5]| g.matmul(a, b)),
    bad!("matmul", ["[3]", "[3, 4]"], |g, a = [3], b = [3, 4]| g.matmul(a, b)),
    bad!("sum", ["axis 2", "[3, 4]"], |g, x = [3, 4]| g.sum_axes(x, &[2])),
    bad!("sum", ["1..1", "[3, 4]"], |g, x = [3, 4]| g.apply(Sum { from: 1, to: 1 }, &[x])),
    bad!("sum", ["axis 5", "[3, 4]"], |g, x = [3, 4]| g.mean_axes(x, &[5])),
    bad!("reshape", ["[3, 4]", "12", "[5]"], |g, x = [3, 4]| g.reshape(x, [5])),
    bad!("transpose", ["[0, 0]", "[3, 4]"], |g, x = [3, 4]| g.transpose(x, &[0, 0])),
    bad!("transpose", ["[1]", "[3, 4]"], |g, x = [3, 4]| g.transpose(x, &[1])),
    bad!("slice", ["2..5", "axis 1", "[3, 4]"], |g, x = [3, 4]| g.slice(x, 1, 2, 3)),
    bad!("slice", ["axis 2", "[3, 4]"], |g, x = [3, 4]| g.slice(x, 2, 0, 1)),
    bad!("pad", ["axis 2", "[3, 4]"], |g, x = [3, 4]| g.apply(Pad { axis: 2, before: 1, after: 0 }, &[x])),
    bad!("concat", ["[3, 4]", "[2, 5]", "axis 0"], |g, x = [3, 4], y = [2, 5]| g.concat(&[x, y], 0)),
    bad!("concat", ["nothing"], |g| g.concat(&[], 0)),
    bad!("gather_rows", ["[5]", "[3]"], |g, x = [5]| {
        let i = index(g, 3);
        g.gather_rows(x, i)
    }),
    bad!("gather_rows", ["Real", "Index"], |g, x = [5, 2], i = [3]| g.gather_rows(x, i)),
    bad!("scatter_add_rows", ["3 indices", "5 rows"], |g, x = [5, 2]| {
        let i = index(g, 3);
        g.apply(ScatterAddRows { rows: 4 }, &[x, i])
    }),
    bad!("one_hot", ["Index", "Real"], |g, x = [5]| g.one_hot(x, 3)),
    bad!("softmax", ["[]", "last axis"], |g, x = []| g.softmax(x)),
    bad!("softmax", ["[3, 0]"], |g, x = [3, 0]| g.softmax(x)),
    bad!("layer_norm", ["[]", "last axis"], |g, x = []| g.layer_norm(x, 1e-5)),
    bad!("layer_norm_grad", ["[3, 4]", "[4]"], |g, x = [3, 4], y = [4]| {
        g.apply(LayerNormGrad { epsilon: 1e-5 }, &[x, y])
    }),
    bad!("softmax_cross_entropy", ["[5, 3]", "[4]"], |g, z = [5, 3]| {
        let t = index(g, 4);
        g.softmax_cross_entropy(z, t, 0.0)
    }),
    bad!("softmax_cross_entropy_grad", ["[5]", "[4]"], |g, z = [5, 3], dl = [4]| {
        let t = index(g, 5);
        g.apply(SoftmaxCrossEntropyGrad { smoothing: 0.0 }, &[z, t, dl])
    }),
    bad!("dropout", ["p = 1", "[3]"], |g, x = [3]| g.dropout(x, 1.0, [0, 0])),
    bad!("dropout", ["[]"], |g, x = []| g.dropout(x, 0.5, [0, 0])),
    bad!("accumulate", ["[4]", "[5]"], |g, sums = [4], gradients = [5]| g.apply(Accumulate, &[sums, gradients])),
    bad!("adjust_scale", ["[2, 8]", "[8]", "[3]"], |g, records = [2, 8], control = [8], scale = [3], row = [1, 8]| {
        let adjust = AdjustScale { growth_interval: None, betas: [0.0; 2] };
        g.apply_all(adjust, &[records, control, scale, scale, row]).map(|all| all[0])
    }),
    bad!("chunk_stats", ["real[1000]", "index[1]"], |g, gradients = [1000]| {
        let lengths = index(g, 1);
        g.apply(ChunkStats { clip_value: None }, &[gradients, lengths])
    }),
    bad!("clip_factor", ["[3, 7]"], |g, records = [3, 7], control = [8]| {
        g.apply(ClipFactor { max_norm: None }, &[records, control])
    }),
    bad!("fold", ["[2, 8]", "[3, 7]"], |g, records = [2, 8], table = [3, 7], control = [8]| {
        let segments = g.input("segments", Type::index([3, 2]))?;
        g.apply_all(Fold { accumulate: true, loss: false }, &[records, segments, table, control]).map(|all| all[0])
    }),
    bad!("example_stats", ["[5, 3]", "[4, 3]"], |g, x = [5, 3], z = [4, 3]| {
        g.apply(ExampleStats { bias: true }, &[x, z])
    }),
    bad!("elementwise_stats", ["[5, 3]", "[5, 4]"], |g, x = [5, 3], z = [5, 4]| {
        g.apply(ElementwiseStats { bias: true }, &[x, z])
    }),
    bad!("micro_stats", ["[0]"], |g, x = [0]| g.apply(MicroStats, &[x])),
    bad!("unit_ages", ["[5, 3]", "[4]"], |g, z = [5, 3], ages = [4]| {
        g.apply_all(UnitAges { window: 1 }, &[z, ages]).map(|all| all[0])
    }),
    bad!("saturated", ["[]"], |g, z = []| g.apply(Saturated { limit: 1.0 }, &[z])),
    bad!("row_histogram", ["[]"], |g, x = []| g.apply(RowHistogram, &[x])),
    bad!("copy", ["[0]"], |g, x = [0]| g.apply(Copy, &[x])),
    bad!("vector_stats", ["[0]"], |g, x = [0]| g.apply(VectorStats, &[x])),
    bad!("arena_histogram", ["real[1000]", "index[1]"], |g, a = [1000]| {
        let lengths = index(g, 1);
        g.apply(ArenaHistogram, &[a, lengths])
    }),
    bad!("moved", ["[5]", "[6]"], |g, kept = [5], now = [6]| g.apply(Moved, &[kept, now])),
    bad!("direction_stats", ["[1024]", "[2048]"], |g, a = [1024], b = [2048]| {
        let lengths = index(g, 1);
        g.apply_all(DirectionStats, &[a, b, a, lengths]).map(|all| all[0])
    }),
    bad!("distance_stats", ["[1024]", "[2048]"], |g, a = [1024], b = [2048]| {
        let lengths = index(g, 1);
        g.apply(DistanceStats, &[a, b, lengths])
    }),
    bad!("variance_stats", ["[1024]", "[2048]"], |g, a = [1024], b = [2048]| {
        let lengths = index(g, 1);
        g.apply(VarianceStats, &[a, b, lengths])
    }),
    bad!("stopping_stats", ["[2]", "[3, 8]"], |g, a = [1024], sizes = [2], rows = [3, 8]| {
        let lengths = index(g, 1);
        g.apply(StoppingStats { relative: 1.0 }, &[a, a, lengths, lengths, sizes, rows])
    }),
    bad!("fold_counts", ["[2, 32]", "[3, 31]"], |g, counts = [2, 32], table = [3, 31]| {
        let segments = g.input("segments", Type::index([3, 2]))?;
        g.apply(FoldCounts { accumulate: true }, &[counts, segments, table])
    }),
    bad!("tap_stats", ["[5, 3], [4, 3], [4]"], |g, a = [5, 3], z = [4, 3], weights = [4]| {
        g.apply(TapStats, &[a, z, weights])
    }),
    bad!("update", ["[1024]", "[2048]"], |g, params = [1024], gradients = [2048], control = [8]| {
        let lengths = index(g, 1);
        let rule = Rule::Sgd;
        let update = Update { rule, weight_decay: 0.0, clip_value: None, clip_norm: false, measure: false };
        g.apply(update, &[params, gradients, control, lengths])
    }),
];

#[test]
fn misfits_are_refused_by_scope_op_and_shapes() {
    for (op, parts, build) in BAD {
        let mut g = Graph::new();
        g.set_scope("layers.3");
        let Err(error) = build(&mut g) else { panic!("{op} with {parts:?} was built") };
        assert_eq!(error.kind(), ErrorKind::Input, "{error}");
        assert_eq!(error.place(), format!("layers.3: {op}"), "{error}");
        for part in *parts {
            assert!(error.message().contains(part), "{error}: nothing of {part}");
        }
        assert!(g.nodes().is_empty(), "{op}: nothing is left behind");
    }
}

#[test]
fn every_op_with_a_shape_rule_refuses_something() {
    let missing: Vec<&&str> = steepest::ops::OPS
        .iter()
        .filter(|op| **op != "pointwise" && !BAD.iter().any(|(bad, _, _)| bad == *op))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn without_a_scope_the_place_is_the_op() {
    for (op, _, build) in BAD {
        let error = build(&mut Graph::new()).expect_err("a misfit");
        assert_eq!(error.place(), *op, "{error}");
    }
}

#[test]
fn a_name_stands_for_one_value() {
    let mut g = Graph::new();
    let first = g.param("0.weight", [3, 4]).unwrap();
    assert_eq!(g.param("0.weight", [3, 4]).unwrap(), first);
    let error = g.param("0.weight", [4, 3]).unwrap_err().to_string();
    assert!(error.contains("0.weight") && error.contains("[3, 4]") && error.contains("[4, 3]"), "{error}");
    assert!(g.input("0.weight", Type::real([3, 4])).is_err(), "a parameter is no input");
}

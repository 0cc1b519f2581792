//! Elementwise ops: every scalar function, alone and broadcast, activations, and chains that fuse.

use crate::common::case::{Case, Kind};
use steepest::base::{Result, Shape};
use steepest::graph::{Graph, ValueId};
use steepest::ops::pointwise::{FUNS, Fun};

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for info in FUNS.iter().filter(|info| info.arity == 1 && info.fun != Fun::Half) {
        let build = move |g: &mut Graph, v: &[ValueId]| g.pointwise(info.fun, v);
        cases.extend(unary(info.name, domain(info.fun), build, |case| case));
    }
    halves(&mut cases);
    activations(&mut cases);
    binary(&mut cases);
    powers(&mut cases);
    with_constants(&mut cases);
    select(&mut cases);
    chains(&mut cases);
    sizes(&mut cases);
    cases
}

fn domain(fun: Fun) -> Kind {
    match fun {
        Fun::Log | Fun::Sqrt => Kind::Uniform(0.05, 4.0),
        Fun::Abs | Fun::Sign | Fun::Step | Fun::Relu => Kind::Apart,
        _ => Kind::Normal(1.0),
    }
}

/// The cases that every function of one argument has: ordinary, extreme and special numbers, and 0 for activations.
fn unary(
    name: &'static str,
    kind: Kind,
    build: impl Fn(&mut Graph, &[ValueId]) -> Result<ValueId> + Copy + Send + Sync + 'static,
    bound: impl Fn(Case) -> Case,
) -> Vec<Case> {
    const AT_ZERO: [&str; 10] =
        ["relu", "leaky_relu", "elu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid", "softplus", "abs"];
    let case = |variant: &str, shape: Shape, kind: Kind| {
        bound(Case::new(format!("{name}_{variant}"), name, shape, build).real(shape, kind))
    };
    let extreme = if let Kind::Uniform(..) = kind { Kind::Uniform(1e-6, 100.0) } else { Kind::Extreme };
    let mut cases = vec![
        case("5x7", [5, 7].into(), kind).golden(),
        case("extreme", [9].into(), extreme).golden(),
        case("special", [9].into(), Kind::Special).golden().order(0),
        case("1", [1].into(), kind),
        case("scalar", Shape::SCALAR, kind),
    ];
    if AT_ZERO.contains(&name) {
        cases.push(case("zero", [3].into(), Kind::Zero).golden().order(1));
    }
    cases
}

/// Values are steps, which central differences do not see; tests/mixed.rs has the goldens.
fn halves(cases: &mut Vec<Case>) {
    let case = |variant: &str, shape: Shape, kind| {
        Case::new(format!("half_{variant}"), "half", shape, |g: &mut Graph, v: &[ValueId]| g.half(v[0]))
            .real(shape, kind)
    };
    cases.push(case("5x7", [5, 7].into(), Kind::Normal(1.0)).order(1));
    cases.push(case("small", [257].into(), Kind::Normal(1e-5)).order(1));
    cases.push(case("large", [31].into(), Kind::Normal(5e4)).order(1));
    cases.push(case("special", [9].into(), Kind::Special).order(0));
    cases.push(case("scalar", Shape::SCALAR, Kind::Normal(1.0)).order(1));
    let between = |g: &mut Graph, v: &[ValueId]| {
        // Rounded between two functions of one program.
        let square = g.mul(v[0], v[0])?;
        let held = g.half(square)?;
        let bent = g.tanh(held)?;
        g.half(bent)
    };
    cases.push(Case::new("half_between", "half", [5, 7], between).real([5, 7], Kind::Normal(1.0)).order(1));
}

fn activations(cases: &mut Vec<Case>) {
    let size = |case: Case| case.magnitude(1, |g, v| g.abs(v[0]));
    cases.extend(unary("leaky_relu", Kind::Apart, |g, v| g.leaky_relu(v[0], 0.01), |case| case));
    cases.extend(unary("elu", Kind::Apart, |g, v| g.elu(v[0], 1.5), |case| case));
    // 1 + erf and 1 + tanh cancel on the left: the error is that of x.
    cases.extend(unary("gelu", Kind::Normal(1.0), |g, v| g.gelu(v[0]), size));
    cases.extend(unary("gelu_tanh", Kind::Normal(1.0), |g, v| g.gelu_tanh(v[0]), size));
    cases.extend(unary("silu", Kind::Normal(1.0), |g, v| g.silu(v[0]), |case| case));
}

fn binary(cases: &mut Vec<Case>) {
    type Dims = &'static [usize];
    let broadcasts: [(&str, Dims, Dims, Dims); 7] = [
        ("same", &[5, 7], &[5, 7], &[5, 7]),
        ("row", &[5, 7], &[7], &[5, 7]),
        ("column", &[5, 7], &[5, 1], &[5, 7]),
        ("outer", &[5, 1], &[1, 7], &[5, 7]),
        ("scalar", &[5, 7], &[], &[5, 7]),
        ("left", &[3], &[2, 4, 3], &[2, 4, 3]),
        ("deep", &[2, 3, 4, 5], &[3, 1, 5], &[2, 3, 4, 5]),
    ];
    for info in FUNS.iter().filter(|info| info.arity == 2 && info.fun != Fun::Pow) {
        for (variant, x, y, shape) in broadcasts {
            let kind = if info.fun == Fun::Div { Kind::Apart } else { Kind::Normal(1.0) };
            let name = format!("{}_{variant}", info.name);
            let case = Case::new(name, info.name, shape, move |g, v| g.pointwise(info.fun, v));
            cases.push(case.real(x, Kind::Apart).real(y, kind).golden());
        }
    }
}

fn powers(cases: &mut Vec<Case>) {
    for exponent in [2.0, 3.0, -1.0, 0.5, -0.5, 1.5f64] {
        let case = |variant: &str, kind: Kind| {
            let name = format!("pow_{exponent:?}{variant}");
            Case::new(name, "pow", [5, 7], move |g, v| g.pow(v[0], exponent)).real([5, 7], kind).golden()
        };
        cases.push(case("", Kind::Uniform(0.2, 3.0)));
        if exponent >= 2.0 {
            cases.push(case("_signed", Kind::Apart));
        }
    }
}

fn with_constants(cases: &mut Vec<Case>) {
    let mut case = |name: &str, op, kind, build: fn(&mut Graph, &[ValueId]) -> Result<ValueId>| {
        cases.push(Case::new(name, op, [5, 7], build).real([5, 7], kind).golden());
    };
    case("scale_5x7", "mul", Kind::Normal(1.0), |g, v| g.scale(v[0], 2.5));
    case("add_scalar_5x7", "add", Kind::Normal(1.0), |g, v| g.add_scalar(v[0], 2.5));
    case("scalar_sub_5x7", "sub", Kind::Normal(1.0), |g, v| g.scalar_sub(2.5, v[0]));
    case("scalar_div_5x7", "div", Kind::Apart, |g, v| {
        let c = g.constant(2.5);
        g.div(c, v[0])
    });
}

fn select(cases: &mut Vec<Case>) {
    let shapes: [(&str, [&[usize]; 4]); 3] = [
        ("same", [&[5, 7]; 4]),
        ("mixed", [&[5, 1], &[7], &[], &[5, 7]]),
        ("deep", [&[2, 1, 4], &[2, 3, 1], &[3, 4], &[2, 3, 4]]),
    ];
    for (variant, [x, y, z, shape]) in shapes {
        let case = Case::new(format!("select_{variant}"), "select", shape, |g, v| g.select(v[0], v[1], v[2]));
        let normal = Kind::Normal(1.0);
        cases.push(case.real(x, Kind::Apart).real(y, normal).real(z, normal).golden());
    }
}

/// Chains that fusion makes programs of: with sharing, with broadcast inputs, and longer than a program may be.
fn chains(cases: &mut Vec<Case>) {
    let normal = Kind::Normal(1.0);
    let square_twice = Case::new("square_twice", "pointwise", [5, 7], |g, v| {
        let square = g.mul(v[0], v[0])?;
        g.mul(square, square)
    });
    cases.push(square_twice.real([5, 7], normal).golden());
    let chain = |length: usize| {
        let build = move |g: &mut Graph, v: &[ValueId]| {
            (0..length).try_fold(v[0], |x, i| {
                let y = g.add_scalar(x, 0.01 * (i + 1) as f64)?;
                let y = g.tanh(y)?;
                g.add(y, v[i % 2])
            })
        };
        let case = Case::new(format!("chain_{length}"), "pointwise", [13, 31], build);
        // Slopes of at most 1 pass every step's rounding on, beside a value of at most 1 + |x| + |y|.
        let case = case.magnitude(length, |g, v| {
            let (x, y) = (g.abs(v[0])?, g.abs(v[1])?);
            let sum = g.add(x, y)?;
            g.add_scalar(sum, 1.0)
        });
        case.real([13, 31], normal).real([31], normal)
    };
    cases.extend([chain(3), chain(7), chain(40)]);
    let wide = Case::new("sum_of_nine", "pointwise", [3, 5], |g, v| {
        let start = g.exp(v[0])?;
        v[1..].iter().try_fold(start, |sum, &x| g.add(sum, x))
    });
    let wide = wide.magnitude(9, |g, v| {
        let start = g.exp(v[0])?;
        v[1..].iter().try_fold(start, |sum, &x| {
            let size = g.abs(x)?;
            g.add(sum, size)
        })
    });
    cases.push((0..9).fold(wide, |case, _| case.real([3, 5], normal)));
}

/// Around the tile of the kernel, and long enough that several threads share the work.
fn sizes(cases: &mut Vec<Case>) {
    for len in [255, 256, 257, 1031] {
        let case = Case::new(format!("tanh_{len}"), "tanh", [len], |g, v| g.tanh(v[0]));
        cases.push(case.real([len], Kind::Normal(1.0)));
    }
    let threaded = Case::new("silu_70001", "silu", [70_001], |g, v| g.silu(v[0]));
    cases.push(threaded.real([70_001], Kind::Normal(2.0)));
    let threaded = Case::new("mul_row_263x269", "mul", [263, 269], |g, v| g.mul(v[0], v[1]));
    cases.push(threaded.real([263, 269], Kind::Normal(1.0)).real([269], Kind::Normal(1.0)));
}

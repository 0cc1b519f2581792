//! Sums over axes: `y = Σ x` over a contiguous range of axes, which keep extent 1. Overwritten, not accumulated.

use super::{expect_dtypes, gpu};
use crate::base::{DType, Error, Real, Result, Shape, Type, vectorized};
use crate::graph::{Bind, Derivative, Dispatch, GpuWork, Graph, Io, NodeView, Op, Shader, ValueId};
use crate::{answers, kernel};

/// Rows that are added up before their sum joins the total: rounding grows with the block and the number of blocks, not
/// with their product.
const BLOCK: usize = 64;

/// Lanes of a row sum: independent chains that the compiler puts into vector registers.
const LANES: usize = 16;

/// Columns to a part when columns are summed, and elements of input below which one thread does the work.
const COLUMNS: usize = 64;
const PART: usize = 64 * 1024;

/// The sum over the axes `from..to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// The first axis that is summed.
    pub from: usize,
    /// The first axis behind that is not.
    pub to: usize,
}

impl Sum {
    /// The input as (outer, summed, inner).
    pub fn extents(&self, shape: &Shape) -> (usize, usize, usize) {
        let part = |range: std::ops::Range<usize>| range.map(|axis| shape.dim(axis)).product();
        (part(0..self.from), part(self.from..self.to), part(self.to..shape.rank()))
    }

    fn work(&self, shape: &Shape) -> GpuWork {
        let (outer, summed, inner) = self.extents(shape);
        if outer * inner == 0 {
            return GpuWork::default();
        }
        let (part, parts) = parts(outer, summed, inner);
        let first = Partial::of((outer, summed, inner), (part, parts));
        let work = if parts == 1 {
            GpuWork::one(first.dispatch(Bind::In(0), Bind::Out(0)))
        } else {
            let rest = Partial::of((outer, parts, inner), (parts, 1));
            let dispatches =
                vec![first.dispatch(Bind::In(0), Bind::Scratch(0)), rest.dispatch(Bind::Scratch(0), Bind::Out(0))];
            GpuWork::several(vec![outer * parts * inner], dispatches)
        };
        let Partial { threads, lanes, .. } = first;
        if lanes == 1 { work } else { gpu::reducing(work, threads, gpu::row_bytes(threads, lanes)) }
    }

    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let (outer, summed, inner) = self.extents(&io.input_types[0].shape);
        let (x, threads) = (io.real(0), io.threads);
        let out = io.out(0);
        if summed == 0 {
            return out.fill(R::ZERO);
        }
        let small = x.len() < PART;
        if inner == 1 {
            let rows = if small { outer } else { outer.div_ceil(64) }.max(1);
            threads.chunks(out, rows, |part, out| {
                vectorized(
                    #[inline(always)]
                    || {
                        for (i, o) in out.iter_mut().enumerate() {
                            *o = row_sum(&x[(part * rows + i) * summed..][..summed]);
                        }
                    },
                );
            });
        } else {
            for (o, out) in out.chunks_mut(inner).enumerate() {
                let x = &x[o * summed * inner..][..summed * inner];
                let columns = if small { inner } else { COLUMNS.max(inner.div_ceil(64)) };
                threads.chunks(out, columns, |part, out| {
                    vectorized(
                        #[inline(always)]
                        || column_sums(x, inner, part * columns, out),
                    );
                });
            }
        }
    }
}

/// How the terms of sums are cut on a GPU: (terms to a part, parts). Many sums occupy a device whole; few long ones are cut.
fn parts(outer: usize, summed: usize, inner: usize) -> (usize, usize) {
    let parts = match (inner, outer * inner) {
        (1, sums) if sums < 256 => summed.div_ceil(2048),
        (1, _) => 1,
        (_, sums) if summed > 128 => summed.div_ceil(64).min(8192usize.div_ceil(sums)),
        _ => 1,
    };
    let part = summed.div_ceil(parts.max(1)).max(1);
    (part, summed.div_ceil(part).max(1))
}

/// Sums of so many terms at a time of the middle axis on a GPU.
struct Partial {
    extents: (usize, usize, usize),
    /// Terms to a part, and parts.
    cut: (usize, usize),
    /// Threads to a sum, and to a workgroup.
    lanes: usize,
    threads: usize,
}

impl Partial {
    fn of(extents: (usize, usize, usize), cut: (usize, usize)) -> Self {
        let (outer, _, inner) = extents;
        let lanes = if inner == 1 { gpu::lanes(cut.0) } else { 1 };
        // What a small workgroup can do alone leaves no thread idle, and can run beside measurements of that size.
        let small = outer * cut.1 * inner * lanes <= gpu::RECORD_THREADS;
        Self { extents, cut, lanes, threads: if small { gpu::RECORD_THREADS } else { gpu::ROW_THREADS } }
    }

    fn dispatch(&self, from: Bind, to: Bind) -> Dispatch {
        let Self { extents: (outer, summed, inner), cut: (part, parts), lanes, threads } = *self;
        let count = outer * parts * inner;
        let access = if matches!(from, Bind::In(_)) { "read" } else { "read_write" };
        let vars = vec![
            ("lanes", lanes.to_string()),
            ("row_threads", threads.to_string()),
            ("access", access.to_owned()),
            gpu::in_memory(),
        ];
        let entry = if inner == 1 { "sum_rows" } else { "sum_columns" };
        Dispatch {
            shader: Shader { stem: "reduce", entry, vars },
            binds: vec![from, to],
            params: vec![
                ("count", count.into()),
                ("summed", summed.into()),
                ("inner", inner.into()),
                ("part", part.into()),
                ("parts", parts.into()),
            ],
            workgroups: Dispatch::fold(count.div_ceil(threads / lanes)),
        }
    }
}

/// The sum of one row, in a fixed order: of [`LANES`] chains, or of one where the row is shorter.
#[inline(always)]
pub(crate) fn row_sum<R: Real>(row: &[R]) -> R {
    if row.len() < LANES {
        return row.iter().fold(R::ZERO, |sum, &x| sum + x);
    }
    let mut lanes = [R::ZERO; LANES];
    let mut chunks = row.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += x;
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(chunks.remainder()) {
        *lane += x;
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
    }
    lanes[0]
}

/// Sums of the columns from `first` on, `out.len()` of them, of a matrix with `width` columns.
#[inline(always)]
fn column_sums<R: Real>(x: &[R], width: usize, first: usize, out: &mut [R]) {
    const STRIP: usize = 64;
    out.fill(R::ZERO);
    for (s, out) in out.chunks_mut(STRIP).enumerate() {
        let first = first + s * STRIP;
        for block in x.chunks(BLOCK * width) {
            let mut sums = [R::ZERO; STRIP];
            for row in block.chunks_exact(width) {
                for (sum, &x) in sums.iter_mut().zip(&row[first..first + out.len()]) {
                    *sum += x;
                }
            }
            for (o, sum) in out.iter_mut().zip(sums) {
                *o += sum;
            }
        }
    }
}

impl Op for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real])?;
        let mut shape = inputs[0].shape;
        if self.from >= self.to || self.to > shape.rank() {
            return Err(Error::input("sum", format!("axes {}..{} of {shape}", self.from, self.to)));
        }
        for axis in self.from..self.to {
            shape = shape.with_dim(axis, 1);
        }
        Ok(vec![Type::real(shape)])
    }

    fn derivative(&self, g: &mut Graph, node: NodeView<'_>, grads: &[Option<ValueId>]) -> Result<Derivative> {
        let Some(dy) = grads[0] else { return Ok(Derivative::Inputs(vec![None])) };
        let dx = match g.constant_of(dy) {
            Some(_) => dy,
            None => g.expand(dy, g.shape(node.inputs[0]))?,
        };
        Ok(Derivative::Inputs(vec![Some(dx)]))
    }

    answers!(not in place);
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], _: &[Type]) -> GpuWork {
        self.work(&inputs[0].shape)
    }
}

/// Sums and means.
impl Graph {
    /// Σ x over the axes `axes`, which keep extent 1; the axes need not be neighbours.
    pub fn sum_axes(&mut self, x: ValueId, axes: &[usize]) -> Result<ValueId> {
        let (mut x, rank) = (x, self.shape(x).rank());
        if let Some(axis) = axes.iter().find(|&&axis| axis >= rank) {
            let place = self.place("sum");
            return Err(Error::input(place, format!("axis {axis} of {}", self.shape(x))));
        }
        let mut axis = 0;
        while axis < rank {
            if !axes.contains(&axis) {
                axis += 1;
                continue;
            }
            let from = axis;
            while axis < rank && axes.contains(&axis) {
                axis += 1;
            }
            if self.shape(x).iter().skip(from).take(axis - from).any(|dim| dim != 1) {
                x = self.apply(Sum { from, to: axis }, &[x])?;
            }
        }
        Ok(x)
    }

    /// The mean over the axes `axes`, which keep extent 1.
    pub fn mean_axes(&mut self, x: ValueId, axes: &[usize]) -> Result<ValueId> {
        let count: usize = axes.iter().map(|&axis| self.shape(x).dim(axis)).product();
        let sum = self.sum_axes(x, axes)?;
        self.scale(sum, 1.0 / count as f64)
    }

    /// Σ x over everything, a scalar.
    pub fn sum(&mut self, x: ValueId) -> Result<ValueId> {
        let axes: Vec<usize> = (0..self.shape(x).rank()).collect();
        let sum = self.sum_axes(x, &axes)?;
        self.reshape(sum, Shape::SCALAR)
    }

    /// The mean of everything, a scalar.
    pub fn mean(&mut self, x: ValueId) -> Result<ValueId> {
        let count = self.shape(x).len();
        let sum = self.sum(x)?;
        self.scale(sum, 1.0 / count as f64)
    }

    /// Sums the axes along which `target` was broadcast to the shape of `x`: the transpose of a broadcast.
    pub fn sum_to(&mut self, x: ValueId, target: Shape) -> Result<ValueId> {
        let shape = self.shape(x);
        if shape == target {
            return Ok(x);
        }
        let lead = shape.rank() - target.rank();
        let stretched = |axis: &usize| *axis < lead || target.dim(axis - lead) == 1;
        let axes: Vec<usize> = (0..shape.rank()).filter(stretched).collect();
        let sum = self.sum_axes(x, &axes)?;
        self.reshape(sum, target)
    }
}

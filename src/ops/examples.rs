//! Norms of per-example gradients of a dense layer, without forming one: ∂ℓᵢ/∂W = δᵢxᵢᵀ, so ‖gᵢ‖² = ‖xᵢ‖²·‖δᵢ‖², and ‖δᵢ‖² more
//! for a bias (Goodfellow 2015, arXiv:1510.01799). Exact where an example is one row.

use super::expect_dtypes;
use super::gpu;
use super::record::{self, MAX, NON_FINITE, OfNorms, RECORD, SQUARES, scale_of};
use crate::base::{DType, Error, Real, Result, Shape, Type, Wide, arch};
use crate::graph::{Bind, Dispatch, GpuWork, Io, Op, Shader};
use crate::{answers, kernel};
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Rows that share a record.
pub(crate) const ROWS_EACH: usize = 16;

/// Records of the norms ‖∂(wᵢℓᵢ)/∂(W, b)‖ of a dense layer, wᵢ being the example's share of the loss: field `SQUARES` holds the
/// sum of their squares, and `MAX` the root of that, since nobody asks for the largest. Inputs: x [n, inputs], what comes into the layer; ∂L/∂z [n, outputs]. Output [⌈n/16⌉, 8],
/// overwritten. A row with an element that is not finite counts as one number that is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExampleStats {
    /// Whether the layer has a bias.
    pub bias: bool,
}

impl ExampleStats {
    /// How many records a batch of this shape gives.
    pub fn groups(shape: &Shape) -> usize {
        shape.dim(0).div_ceil(ROWS_EACH)
    }

    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let [x, z] = [0, 1].map(|i| (io.real(i), io.input_types[i].shape.example_len()));
        let rows = io.input_types[0].shape.dim(0);
        let bias = if self.bias { R::ONE } else { R::ZERO };
        // As many elements to a part as make a fork worth it.
        let each = (64 * 1024 / (ROWS_EACH * (x.1 + z.1))).max(1);
        io.threads.chunks(io.outputs[0], each * RECORD, |part, out| {
            arch().dispatch(Groups { x, z, rows, first: part * each * ROWS_EACH, bias, out });
        });
    }
}

/// Some groups of rows, and a record for each.
struct Groups<'a, R> {
    x: (&'a [R], usize),
    z: (&'a [R], usize),
    rows: usize,
    /// The first row.
    first: usize,
    bias: R,
    out: &'a mut [R],
}

impl<R: Real> WithSimd for Groups<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, z, rows, first, bias, out } = self;
        for (i, out) in out.chunks_exact_mut(RECORD).enumerate() {
            let from = first + i * ROWS_EACH;
            let range = from..rows.min(from + ROWS_EACH);
            let mut norms = Norms::none(simd);
            let mut row = range.start;
            while row + AT_ONCE <= range.end {
                norms.add::<AT_ONCE>(x, z, row);
                row += AT_ONCE;
            }
            while row < range.end {
                norms.add::<1>(x, z, row);
                row += 1;
            }
            out.fill(R::ZERO);
            match norms.sum(bias) {
                Some(sum) => set(out, sum.sqrt()),
                None => scaled(range, x, z, bias, out),
            }
        }
    }
}

/// Rows whose sums of squares are taken side by side, so that additions do not wait for each other.
const AT_ONCE: usize = 4;

/// Σ‖δᵢ‖²‖xᵢ‖² of some rows. Lanes of ‖xᵢ‖² are multiplied by ‖δᵢ‖² before they are summed: one sum over lanes a row, not two.
struct Norms<S: Simd, R: Real> {
    simd: S,
    /// Lane by lane Σ‖δᵢ‖²‖xᵢ‖².
    products: Wide<S, R>,
    /// Σ‖δᵢ‖².
    outgoing: R,
    /// The largest lanes of ‖xᵢ‖² and ‖δᵢ‖².
    largest: Wide<S, R>,
}

impl<S: Simd, R: Real> Norms<S, R> {
    #[inline(always)]
    fn none(simd: S) -> Self {
        let none = Wide::zero(simd);
        Self { simd, products: none, outgoing: R::ZERO, largest: none }
    }

    /// Takes in `N` rows from `first` on.
    #[inline(always)]
    fn add<const N: usize>(&mut self, x: (&[R], usize), z: (&[R], usize), first: usize) {
        let incoming = square_sums::<S, R, N>(self.simd, &x.0[first * x.1..], x.1);
        let outgoing = square_sums::<S, R, N>(self.simd, &z.0[first * z.1..], z.1);
        for (x, z) in incoming.into_iter().zip(outgoing) {
            self.largest = self.largest.max(x).max(z);
            let z = z.sum_lanes();
            self.outgoing += z;
            self.products = x.mul_add(Wide::splat(self.simd, z), self.products);
        }
    }

    /// Σ‖δᵢ‖²(‖xᵢ‖² + bias), where it can be told from squares. Those that left the normal numbers are at most 2⁻¹²⁶ each, and
    /// count for at most 2³⁴ as much, by 16 lanes below 2³⁰: nothing, beside a sum like this. What is not finite makes the
    /// sum so.
    #[inline(always)]
    fn sum(&self, bias: R) -> Option<R> {
        let sum = self.products.sum_lanes() + self.outgoing * bias;
        let is_plain = sum > R::exp2i(-64) && sum.is_finite() && self.largest.max_lanes() < R::exp2i(30);
        is_plain.then_some(sum)
    }
}

/// Lane by lane the sums of squares of the first `N` rows.
#[inline(always)]
fn square_sums<S: Simd, R: Real, const N: usize>(simd: S, xs: &[R], width: usize) -> [Wide<S, R>; N] {
    let lanes = Wide::<S, R>::lanes();
    let mut rows = [&xs[..width]; N];
    for (i, row) in rows.iter_mut().enumerate() {
        *row = &xs[i * width..][..width];
    }
    let mut sums = [Wide::zero(simd); N];
    let whole = width / lanes * lanes;
    for from in (0..whole).step_by(lanes) {
        for (sum, row) in sums.iter_mut().zip(rows) {
            let x = Wide::load(simd, &row[from..from + lanes]);
            *sum = x.mul_add(x, *sum);
        }
    }
    if whole < width {
        for (sum, row) in sums.iter_mut().zip(rows) {
            let x = Wide::load(simd, &row[whole..]);
            *sum = x.mul_add(x, *sum);
        }
    }
    sums
}

/// Makes a record that of one number, the root of a sum of squares.
#[inline(always)]
fn set<R: Real>(record: &mut [R], root: R) {
    let scaled = root * scale_of(root);
    record[MAX] = root;
    record[SQUARES] = scaled * scaled;
}

/// The record of rows with elements that are tiny, huge or not finite.
#[cold]
#[inline(never)]
fn scaled<R: Real>(rows: Range<usize>, x: (&[R], usize), z: (&[R], usize), bias: R, out: &mut [R]) {
    let mut norms = [R::ZERO; ROWS_EACH];
    let count = rows.len();
    for (row, norm) in rows.zip(&mut norms) {
        let incoming = scaled_norm(&x.0[row * x.1..(row + 1) * x.1]);
        let outgoing = scaled_norm(&z.0[row * z.1..(row + 1) * z.1]);
        *norm = outgoing * (incoming * incoming + bias).sqrt();
    }
    record::measured(OfNorms, &norms[..count], R::ONE, out);
    let root = out[SQUARES].sqrt() / scale_of(out[MAX]);
    if root.is_finite() {
        set(out, root);
    }
}

/// The norm of a row; NaN if an element is not finite.
fn scaled_norm<R: Real>(xs: &[R]) -> R {
    let mut record = [R::ZERO; RECORD];
    record::measured(OfNorms, xs, R::ONE, &mut record);
    let norm = record[SQUARES].sqrt() / scale_of(record[MAX]);
    if record[NON_FINITE] == R::ZERO { norm } else { R::of(f64::NAN) }
}

impl Op for ExampleStats {
    fn name(&self) -> &'static str {
        "example_stats"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real, DType::Real])?;
        let [x, z] = [inputs[0].shape, inputs[1].shape];
        if x.rank() < 2 || z.rank() < 2 || x.dim(0) != z.dim(0) || x.is_empty() || z.is_empty() {
            return Err(Error::input("example_stats", format!("expected as many rows twice, found {x} and {z}")));
        }
        Ok(vec![Type::real([Self::groups(&x), RECORD])])
    }

    answers!(not in place);
    answers!(not differentiable: "it is a measurement");
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], outputs: &[Type]) -> GpuWork {
        let [x, z] = [inputs[0].shape, inputs[1].shape];
        let groups = outputs[0].shape.dim(0);
        let work = GpuWork::one(Dispatch {
            shader: Shader { stem: "examples", entry: "example_stats", vars: vec![gpu::in_memory()] },
            binds: vec![Bind::In(0), Bind::In(1), Bind::Out(0)],
            params: vec![
                ("rows", x.dim(0).into()),
                ("groups", groups.into()),
                ("x_width", x.example_len().into()),
                ("z_width", z.example_len().into()),
                ("bias", f64::from(u8::from(self.bias)).into()),
            ],
            workgroups: Dispatch::fold(groups),
        });
        // Magnitudes and sums of x and ∂L/∂z, to each thread.
        gpu::recording(work, 2 * 8 * gpu::RECORD_THREADS)
    }
}

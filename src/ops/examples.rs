//! Norms of per-example gradients of a dense layer, without forming one: ∂ℓᵢ/∂W = δᵢxᵢᵀ, so ‖gᵢ‖² = ‖xᵢ‖²·‖δᵢ‖², and ‖δᵢ‖² more
//! for a bias (Goodfellow 2015, arXiv:1510.01799). Exact where an example is one row.

use super::expect_dtypes;
use super::record::{self, MAX, NON_FINITE, OfNorms, RECORD, SQUARES, scale_of};
use crate::base::{DType, Error, Real, Result, Shape, Type, Wide, arch};
use crate::graph::{Bind, Dispatch, GpuWork, Io, Op, Shader};
use crate::{answers, kernel};
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Rows that share a record.
pub(crate) const ROWS_EACH: usize = 16;

/// Records of the norms ‖∂(wᵢℓᵢ)/∂(W, b)‖ of a dense layer, wᵢ being the example's share of the loss: field `SQUARES` holds the
/// sum of their squares. Inputs: x [n, inputs], what comes into the layer; ∂L/∂z [n, outputs]. Output [⌈n/16⌉, 8],
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
            let count = ROWS_EACH.min(rows - from);
            let [mut incoming, mut outgoing] = [[R::ZERO; ROWS_EACH]; 2];
            for (row, (incoming, outgoing)) in (from..from + count).zip(incoming.iter_mut().zip(&mut outgoing)) {
                *incoming = square_sum(simd, &x.0[row * x.1..(row + 1) * x.1]);
                *outgoing = square_sum(simd, &z.0[row * z.1..(row + 1) * z.1]);
            }
            let (mut sum, mut max, mut largest) = (R::ZERO, R::ZERO, R::ZERO);
            for (x, z) in incoming.into_iter().zip(outgoing).take(count) {
                let square = z * (x + bias);
                sum += square;
                max = if square > max { square } else { max };
                largest = largest.max(x).max(z);
            }
            // Squares that left the normal numbers are at most 2⁻¹²⁶ each, and count for at most 2³⁰ as much: nothing, beside
            // a sum like this. What is not finite makes the sum so.
            let plain = sum > R::exp2i(-64) && sum.is_finite() && largest < R::exp2i(30);
            out.fill(R::ZERO);
            if plain {
                out[MAX] = max.sqrt();
                let scale = scale_of(out[MAX]);
                out[SQUARES] = sum * scale * scale;
            } else {
                let range = from..from + count;
                scaled(range, x, z, bias, out);
            }
        }
    }
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
}

/// The sum of squares of a row.
#[inline(always)]
fn square_sum<S: Simd, R: Real>(simd: S, xs: &[R]) -> R {
    let lanes = Wide::<S, R>::lanes();
    let mut sums = Wide::zero(simd);
    let whole = xs.chunks_exact(lanes);
    let rest = whole.remainder();
    for part in whole {
        let x = Wide::load(simd, part);
        sums = x.mul_add(x, sums);
    }
    if !rest.is_empty() {
        let x = Wide::load(simd, rest);
        sums = x.mul_add(x, sums);
    }
    sums.sum_lanes()
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
        GpuWork::one(Dispatch {
            shader: Shader::plain("examples", "example_stats"),
            binds: vec![Bind::In(0), Bind::In(1), Bind::Out(0)],
            params: vec![
                ("rows", x.dim(0).into()),
                ("groups", groups.into()),
                ("x_width", x.example_len().into()),
                ("z_width", z.example_len().into()),
                ("bias", f64::from(u8::from(self.bias)).into()),
            ],
            workgroups: Dispatch::fold(groups),
        })
    }
}

//! Units that give nothing, and activations on a flat end.

use super::expect_dtypes;
use super::gpu;
use super::record::{RECORD, ZEROS};
use super::stats::{TapStats, rows_of_group};
use crate::base::{DType, Error, Real, Result, Shape, Type, vectorized};
use crate::graph::{Bind, Dispatch, GpuWork, Io, Op, Shader};
use crate::{answers, kernel};

/// What an age is at most: a whole number that every precision holds.
const AGE_MAX: f64 = (1 << 20) as f64;

/// Units that one thread takes at a time.
const UNITS_PER_PART: usize = 256;

/// Units of a workgroup: neighbours that are read together.
pub(crate) const UNITS_EACH: usize = 32;

/// Rows after which it is asked whether a unit is left that gave nothing yet.
const ROWS_BETWEEN: usize = 8;

/// For how many steps each unit has given nothing. Inputs: pre-activations z [n, …, units], ages `[units]` in place. Outputs:
/// ages, record [1, 8], overwritten.
///
/// With the first micro-batch of a step, the record's field `ZEROS` becomes the number of units whose age has come to the
/// window: on every example of so many steps before this one they had z ≤ 0. Then all ages grow by one step. With any
/// micro-batch, the ages of units with z > 0 in a real row become 0. NaN is not above 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitAges {
    /// Steps without anything after which a unit counts as dead.
    pub window: u32,
}

impl UnitAges {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let (z, first) = (io.real(0), io.step.micro == 0);
        let shape = &io.input_types[0].shape;
        let units = shape.last();
        let rows = shape.example_len() / units * shape.dim(0).min(io.step.rows as usize);
        let [ages, record] = io.outputs else { unreachable!("ages and a record") };
        record.fill(R::ZERO);
        if first {
            let window = R::of(f64::from(self.window));
            let dead = ages.iter().filter(|&&age| age >= window).count();
            record[ZEROS] = R::of(dead as f64);
        }
        io.threads.chunks(ages, UNITS_PER_PART, |part, ages| {
            let from = part * UNITS_PER_PART;
            let width = ages.len();
            let row = |row: usize| &z[row * units + from..][..width];
            if first {
                let most = R::of(AGE_MAX);
                ages.iter_mut().for_each(|age| *age = if *age < most { *age + R::ONE } else { most });
            }
            let mut next = 0;
            while next < rows {
                let end = rows.min(next + ROWS_BETWEEN);
                for row in (next..end).map(row) {
                    vectorized(
                        #[inline(always)]
                        || {
                            for (age, &z) in ages.iter_mut().zip(row) {
                                *age = if z > R::ZERO { R::ZERO } else { *age };
                            }
                        },
                    );
                }
                next = end;
                if ages.iter().all(|&age| age == R::ZERO) {
                    break;
                }
            }
        });
    }
}

impl Op for UnitAges {
    fn name(&self) -> &'static str {
        "unit_ages"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real, DType::Real])?;
        let [z, ages] = [inputs[0].shape, inputs[1].shape];
        if z.rank() < 2 || z.is_empty() || ages != Shape::from([z.last()]) {
            return Err(Error::input("unit_ages", format!("expected rows and an age a unit, found {z} and {ages}")));
        }
        Ok(vec![inputs[1], Type::real([1, RECORD])])
    }

    fn in_place(&self) -> &[(usize, usize)] {
        &[(0, 1)]
    }

    answers!(not differentiable: "it is a measurement");
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], _: &[Type]) -> GpuWork {
        let z = &inputs[0].shape;
        let units = z.last();
        let params = vec![
            ("units", units.into()),
            ("rows", (z.example_len() / units).into()),
            ("examples", z.dim(0).into()),
            ("window", f64::from(self.window).into()),
            ("most", AGE_MAX.into()),
        ];
        let dispatch = |entry, binds, workgroups| Dispatch {
            shader: Shader { stem: "units", entry, vars: vec![gpu::in_memory()] },
            binds,
            params: params.clone(),
            workgroups,
        };
        // All ages are counted before one is changed.
        let count = dispatch("count_dead", vec![Bind::Out(0), Bind::Out(1)], Dispatch::fold(1));
        let grow = dispatch("grow_ages", vec![Bind::In(0), Bind::Out(0)], Dispatch::fold(units.div_ceil(UNITS_EACH)));
        gpu::recording(GpuWork::several(Vec::new(), vec![count, grow]), 0)
    }
}

/// How many numbers lie on a flat end of an activation. Input: z [n, …]; output: records as of a tap ([`TapStats::groups`]),
/// overwritten, field `ZEROS` being the number of |z| above the limit in real rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Saturated {
    /// The |z| from which on the activation is flat.
    pub limit: f64,
}

impl Saturated {
    fn run<R: Real>(&self, io: &mut Io<'_, R>) {
        let (z, limit) = (io.real(0), R::of(self.limit));
        let (shape, real) = (io.input_types[0].shape, io.step.rows as usize);
        io.threads.chunks(io.outputs[0], RECORD, |group, record| {
            let rows = rows_of_group(&shape, group, real);
            let z = &z[rows.start * shape.example_len()..rows.end * shape.example_len()];
            let count = vectorized(
                #[inline(always)]
                || z.iter().filter(|z| z.abs() > limit).count(),
            );
            record.fill(R::ZERO);
            record[ZEROS] = R::of(count as f64);
        });
    }
}

impl Op for Saturated {
    fn name(&self) -> &'static str {
        "saturated"
    }

    fn infer(&self, inputs: &[Type]) -> Result<Vec<Type>> {
        expect_dtypes(inputs, &[DType::Real])?;
        let z = inputs[0].shape;
        if z.rank() == 0 || z.is_empty() {
            return Err(Error::input("saturated", format!("expected rows, found {z}")));
        }
        Ok(vec![Type::real([TapStats::groups(&z), RECORD])])
    }

    answers!(not in place);
    answers!(not differentiable: "it is a measurement");
    answers!(primitive);
    answers!(no scratch);
    kernel!(run);

    fn gpu(&self, inputs: &[Type], outputs: &[Type]) -> GpuWork {
        let (z, groups) = (&inputs[0].shape, outputs[0].shape.dim(0));
        let work = GpuWork::one(Dispatch {
            shader: Shader { stem: "units", entry: "saturated", vars: vec![gpu::in_memory()] },
            binds: vec![Bind::In(0), Bind::Out(0)],
            params: vec![
                ("groups", groups.into()),
                ("width", z.example_len().into()),
                ("each", rows_of_group(z, 0, usize::MAX).len().into()),
                ("end", z.dim(0).into()),
                ("limit", self.limit.into()),
            ],
            workgroups: Dispatch::fold(groups),
        });
        gpu::recording(work, 0)
    }
}

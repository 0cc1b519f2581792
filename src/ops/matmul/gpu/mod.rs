//! The GPU dispatches of matrix products: for each kernel, and each number of parts into which its sums are cut, a way.

mod kernels;
mod table;

use super::{Extents, MatMul};
use crate::base::{DType, Type};
use crate::graph::{Bind, Class, Dispatch, GpuWork, Scalar, Shader, Way, Ways};
use crate::ops::gpu::{THREADS, push_strides};
use kernels::Kernel;

pub(super) use kernels::KERNELS;

/// The numbers of parts that are tried where the heuristic's is not the fastest.
const PARTS: [usize; 6] = [1, 2, 4, 8, 16, 32];

/// Parts consist of whole strips of every kernel, and of whole vectors.
const STRIP: usize = 32;

/// The work of a product whose output is `out`.
pub(super) fn work(op: &MatMul, e: Extents, inputs: &[Type], out: &Type) -> GpuWork {
    if out.shape.is_empty() {
        return GpuWork::default();
    }
    let exactly = |&(_, parts): &(&str, usize)| cut(e, parts).1 == parts;
    let of_kernel = |&(name, _): &(&'static str, Kernel)| PARTS.map(|parts| (name, parts));
    let mut names: Vec<(&str, usize)> = KERNELS.iter().flat_map(of_kernel).filter(exactly).collect();
    let mut place = |(name, parts): (&'static str, usize)| {
        let way = (name, cut(e, parts).1);
        names.iter().position(|known| *known == way).unwrap_or_else(|| {
            names.push(way);
            names.len() - 1
        })
    };
    let wanted = Class::ALL.map(|class| table::wanted(class, e).into_iter().map(&mut place).collect());
    let product = Product { op, e, inputs, out };
    let all: Vec<Way> = names.iter().map(|&(name, parts)| product.way(name, parts)).collect();
    let order = |transposed| if transposed { "T" } else { "N" };
    let halves = if inputs[..2].iter().any(|ty| ty.dtype == DType::Half) { " half" } else { "" };
    let [a, b] = [op.transpose_a, op.transpose_b].map(order);
    let problem = format!("matmul {a}{b} {} x {}x{}x{}{halves}", e.batch, e.m, e.n, e.k);
    let flops = 2.0 * e.batch as f64 * e.m as f64 * e.n as f64 * e.k as f64;
    let GpuWork { scratch, dispatches, .. } = all[0].work.clone();
    GpuWork { scratch, dispatches, ways: Some(Box::new(Ways { problem, flops, all, wanted })) }
}

/// The terms of a part and how many parts there are if about so many are asked for.
fn cut(e: Extents, parts: usize) -> (usize, usize) {
    if parts == 1 {
        return (e.k, 1);
    }
    let part = e.k.div_ceil(parts).next_multiple_of(STRIP).max(STRIP);
    (part, e.k.div_ceil(part).max(1))
}

/// A product that is to be written as dispatches.
struct Product<'a> {
    op: &'a MatMul,
    e: Extents,
    inputs: &'a [Type],
    out: &'a Type,
}

impl Product<'_> {
    fn way(&self, name: &str, parts: usize) -> Way {
        let kernel = Kernel::named(name);
        let (part, parts) = cut(self.e, parts);
        let cut = (part, parts);
        let work = if parts == 1 {
            let binds = (0..self.inputs.len()).map(Bind::In).chain([Bind::Out(0)]).collect();
            GpuWork::one(self.dispatch(kernel, cut, binds, true))
        } else {
            let scratch = parts * self.e.batch * self.e.m * self.e.n;
            let partial = self.dispatch(kernel, cut, vec![Bind::In(0), Bind::In(1), Bind::Scratch(0)], false);
            GpuWork::several(vec![scratch], vec![partial, self.fold(cut)])
        };
        let name = if parts == 1 { name.to_owned() } else { format!("{name}/{parts}") };
        Way { name, needs: kernel.needs(), work }
    }

    /// The kernel's dispatch; what it writes is `whole`, or parts of the sums.
    fn dispatch(&self, kernel: Kernel, (part, parts): (usize, usize), binds: Vec<Bind>, whole: bool) -> Dispatch {
        let e = self.e;
        let [x, y, _] = Dispatch::fold(kernel.tiles(e));
        let slices = u32::try_from(parts * e.batch).unwrap_or(Dispatch::MAX_WORKGROUPS);
        let mut vars = kernel.vars();
        let flag = |name, is_set: bool| (name, u8::from(is_set).to_string());
        let (ta, tb) = (self.op.transpose_a, self.op.transpose_b);
        let vectors = |width: usize| kernel.has_vectors() && width.is_multiple_of(4);
        vars.extend([
            flag("ta", ta),
            flag("tb", tb),
            flag("va", vectors(if ta { e.m } else { e.k })),
            flag("vb", vectors(if tb { e.k } else { e.n })),
            flag("vc", vectors(e.n)),
        ]);
        vars.extend(self.epilogue(whole));
        Dispatch {
            shader: Shader { stem: "matmul", entry: kernel.entry(), vars },
            binds,
            params: self.params((part, parts), whole),
            workgroups: [x, y, slices.min(Dispatch::MAX_WORKGROUPS)],
        }
    }

    /// The dispatch that adds up the parts.
    fn fold(&self, cut: (usize, usize)) -> Dispatch {
        let mut vars = vec![("vc", "0".to_owned())];
        vars.extend(self.epilogue(true));
        let binds = [Bind::Scratch(0)].into_iter().chain((2..self.inputs.len()).map(Bind::In)).chain([Bind::Out(0)]);
        Dispatch {
            shader: Shader { stem: "matmul", entry: "fold", vars },
            binds: binds.collect(),
            params: self.params(cut, true),
            workgroups: Dispatch::fold(self.out.shape.len().div_ceil(THREADS)),
        }
    }

    /// The variables of the epilogue, which has the product among its `inputs`; of none for parts of sums. And a letter for each buffer of
    /// the kernel in the order of its inputs and output: h(alf) precision or f(ull).
    fn epilogue(&self, whole: bool) -> [(&'static str, String); 3] {
        let code = self.op.epilogue.as_ref().filter(|_| whole);
        let inputs = if whole { self.inputs.len() - 1 } else { 1 };
        let letter = |ty: &Type| if ty.dtype == DType::Half { 'h' } else { 'f' };
        let read = if whole { self.inputs } else { &self.inputs[..2] };
        let mut halves: String = read.iter().map(letter).collect();
        halves.push(if whole { letter(self.out) } else { 'f' });
        [("inputs", inputs.to_string()), ("body", code.map(|code| code.wgsl()).unwrap_or_default()), ("halves", halves)]
    }

    fn params(&self, (part, parts): (usize, usize), whole: bool) -> Vec<(&'static str, Scalar)> {
        let e = self.e;
        let extents = [("batch", e.batch), ("m", e.m), ("n", e.n), ("k", e.k), ("part", part), ("parts", parts)];
        let mut params: Vec<(&str, Scalar)> = extents.map(|(name, value)| (name, value.into())).to_vec();
        let inputs = self.inputs.iter().enumerate().skip(2).filter(|_| whole);
        for (i, ty) in inputs {
            let strides = ty.shape.strides_in(&self.out.shape);
            // The shader's axes are product, row and column, whether there is a batch or not.
            let (first, rank) = (3 - self.out.shape.rank(), self.out.shape.rank());
            let mut padded = [0; 3];
            padded[first..].copy_from_slice(&strides[..rank]);
            push_strides(i - 1, &padded, &mut params);
        }
        params
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(m: usize, n: usize, k: usize) -> Ways {
        let op = MatMul { transpose_a: false, transpose_b: false, epilogue: None };
        let e = Extents { batch: 1, m, n, k };
        let inputs = [Type::real([m, k]), Type::real([k, n])];
        *work(&op, e, &inputs, &Type::real([m, n])).ways.expect("products have ways")
    }

    #[test]
    fn parts_are_whole_strips_that_cover_all_terms() {
        for k in [1, 31, 32, 33, 127, 128, 1000] {
            for parts in PARTS {
                let (part, parts) = cut(Extents { batch: 1, m: 1, n: 1, k }, parts);
                assert!(part * parts >= k && part * (parts - 1) < k, "{k} in {parts} of {part}");
                assert!(parts == 1 || part % STRIP == 0);
            }
        }
    }

    #[test]
    fn ways_have_names_of_their_own_and_the_table_points_at_its_kernels() {
        for (m, n, k) in [(1, 1, 1), (64, 10, 60_000), (128, 512, 784), (17, 33, 100)] {
            let ways = ways(m, n, k);
            let mut names: Vec<&str> = ways.all.iter().map(|way| way.name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), ways.all.len());
            for (class, places) in Class::ALL.into_iter().zip(&ways.wanted) {
                let wanted = table::wanted(class, Extents { batch: 1, m, n, k });
                for (&place, (kernel, _)) in places.iter().zip(wanted) {
                    assert!(ways.all[place].name.starts_with(kernel), "{} is no {kernel}", ways.all[place].name);
                }
            }
        }
    }
}

//! What the GPU dispatches of several ops share: a thread for each element, some threads for each row, broadcast axes.

use super::record::RECORD;
use crate::base::Shape;
use crate::graph::{Bind, Class, Dispatch, GpuWork, Needs, SUBGROUP, Scalar, Shader, Way, Ways};

/// Threads of a workgroup in shaders that give each thread an element.
pub(crate) const THREADS: usize = 256;

/// Threads of a workgroup in shaders that reduce rows.
pub(crate) const ROW_THREADS: usize = 128;

/// Threads of a workgroup that makes a record.
pub(crate) const RECORD_THREADS: usize = 64;

/// The parameters of a dispatch.
pub(crate) type Params = Vec<(&'static str, Scalar)>;

/// A dispatch of `n` threads, [`THREADS`] to a workgroup; nothing for none.
pub(crate) fn threads(shader: Shader, binds: Vec<Bind>, params: Params, n: usize) -> GpuWork {
    if n == 0 {
        return GpuWork::default();
    }
    GpuWork::one(Dispatch { shader, binds, params, workgroups: Dispatch::fold(n.div_ceil(THREADS)) })
}

/// A dispatch of a thread for each element; the first parameter is how many there are.
pub(crate) fn elementwise(shader: Shader, binds: Vec<Bind>, params: Params) -> GpuWork {
    let n = match params[0] {
        ("len", Scalar::U32(n)) => n as usize,
        other => unreachable!("the first parameter is the length, found {other:?}"),
    };
    threads(shader, binds, params, n)
}

/// How many neighbouring threads work on a row of this width: one to a short row, where a tree of partial results would
/// cost more than it saves.
pub(crate) fn lanes(width: usize) -> usize {
    if width <= 16 { 1 } else { (width / 8).next_power_of_two().clamp(4, ROW_THREADS) }
}

/// The variable of templates that says whether threads reduce in subgroups, where they do not. [`reducing`] sets it.
pub(crate) fn in_memory() -> (&'static str, String) {
    (SUBGROUPS, "0".to_owned())
}

const SUBGROUPS: &str = "subgroups";

/// Work whose first dispatch reduces, in both ways of `shaders/lib/lanes.wgsl`: by workgroup memory alone, or by subgroups as far as they
/// reach. Both add in the same order. The dispatches that can do either have the variable [`in_memory`]; the first has workgroups of
/// `threads` and so many bytes of workgroup memory each way.
pub(crate) fn reducing(work: GpuWork, threads: usize, bytes: [usize; 2]) -> GpuWork {
    let Some(first) = work.dispatches.first() else { return work };
    let problem = format!("{} of {:?}", first.shader.entry, first.params);
    let mut by_subgroups = work.clone();
    for (name, value) in by_subgroups.dispatches.iter_mut().flat_map(|dispatch| &mut dispatch.shader.vars) {
        if *name == SUBGROUPS {
            *value = "1".to_owned();
        }
    }
    let way = |name: &str, subgroups: bool, bytes: usize, work: GpuWork| Way {
        name: name.to_owned(),
        needs: Needs { workgroup_bytes: bytes as u32, threads: threads as u32, subgroups },
        work,
    };
    let all = vec![way("memory", false, bytes[0], work.clone()), way(SUBGROUPS, true, bytes[1], by_subgroups)];
    let wanted = Class::ALL.map(|_| vec![1]);
    GpuWork { ways: Some(Box::new(Ways { problem, flops: 0.0, all, wanted })), ..work }
}

/// Work whose workgroups make records, as [`reducing`]; its first dispatch has `more` bytes of workgroup memory beside them where
/// threads do not reduce in subgroups.
pub(crate) fn recording(work: GpuWork, more: usize) -> GpuWork {
    let bytes = RECORD_THREADS * RECORD * 4;
    reducing(work, RECORD_THREADS, [bytes + more, bytes])
}

/// Bytes of workgroup memory of the sums of rows, for `lanes` threads to a row: [`reducing`].
pub(crate) fn row_bytes(threads: usize, lanes: usize) -> [usize; 2] {
    let bytes = threads * 4;
    [bytes, if lanes > SUBGROUP as usize { bytes } else { 0 }]
}

/// A dispatch over the rows of `shape` along its last axis. The parameters begin with `rows` and `width`.
pub(crate) fn by_rows(
    stem: &'static str,
    entry: &'static str,
    binds: &[Bind],
    shape: &Shape,
    more: &[(&'static str, Scalar)],
) -> GpuWork {
    if shape.is_empty() {
        return GpuWork::default();
    }
    let (rows, width) = (shape.rows(), shape.last());
    let mut params = vec![("rows", rows.into()), ("width", width.into())];
    params.extend_from_slice(more);
    let lanes = lanes(width);
    let work = GpuWork::one(Dispatch {
        shader: Shader { stem, entry, vars: vec![("lanes", lanes.to_string()), in_memory()] },
        binds: binds.to_vec(),
        params,
        workgroups: Dispatch::fold(rows.div_ceil(ROW_THREADS / lanes)),
    });
    if lanes == 1 { work } else { reducing(work, ROW_THREADS, row_bytes(ROW_THREADS, lanes)) }
}

/// The names of the extents of merged axes. The first one is never needed.
const DIMS: [&str; Shape::MAX_RANK] = ["dim0", "dim1", "dim2", "dim3"];

/// The names of the strides of an input along merged axes.
const STRIDES: [[&str; Shape::MAX_RANK]; 7] = [
    ["stride0_0", "stride0_1", "stride0_2", "stride0_3"],
    ["stride1_0", "stride1_1", "stride1_2", "stride1_3"],
    ["stride2_0", "stride2_1", "stride2_2", "stride2_3"],
    ["stride3_0", "stride3_1", "stride3_2", "stride3_3"],
    ["stride4_0", "stride4_1", "stride4_2", "stride4_3"],
    ["stride5_0", "stride5_1", "stride5_2", "stride5_3"],
    ["stride6_0", "stride6_1", "stride6_2", "stride6_3"],
];

/// The axes of an output under which inputs are read with strides: as few as will do, since each costs a division.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Axes {
    dims: Vec<usize>,
    /// Strides along each axis, for each input.
    strides: Vec<Vec<usize>>,
}

impl Axes {
    /// The axes of `shape` without those of extent 1, neighbours merged where every input steps over both alike. At least
    /// one axis is left.
    pub(crate) fn merged(shape: &Shape, inputs: &[[usize; Shape::MAX_RANK]]) -> Self {
        let mut merged = Self { dims: Vec::new(), strides: vec![Vec::new(); inputs.len()] };
        for (axis, dim) in shape.iter().enumerate().filter(|&(_, dim)| dim != 1) {
            let follows =
                |(own, input): (&Vec<usize>, &[usize; Shape::MAX_RANK])| own.last() == Some(&(input[axis] * dim));
            if !merged.dims.is_empty() && merged.strides.iter().zip(inputs).all(follows) {
                *merged.dims.last_mut().expect("an axis is there") *= dim;
                merged.strides.iter_mut().zip(inputs).for_each(|(own, input)| {
                    *own.last_mut().expect("an axis is there") = input[axis];
                });
            } else {
                merged.dims.push(dim);
                merged.strides.iter_mut().zip(inputs).for_each(|(own, input)| own.push(input[axis]));
            }
        }
        if merged.dims.is_empty() {
            merged.dims.push(1);
            merged.strides.iter_mut().for_each(|own| own.push(0));
        }
        merged
    }

    /// How many axes.
    pub(crate) fn rank(&self) -> usize {
        self.dims.len()
    }

    /// Appends the extents of all axes but the first.
    pub(crate) fn push_dims(&self, params: &mut Params) {
        params.extend(DIMS.iter().zip(&self.dims).skip(1).map(|(&name, &dim)| (name, dim.into())));
    }

    /// Appends the strides of the input with the index `own` here, under the names of input `input` of the shader.
    pub(crate) fn push_strides(&self, own: usize, input: usize, params: &mut Params) {
        push_strides(input, &self.strides[own], params);
    }
}

/// Appends strides under the names of input `input` of the shader.
pub(crate) fn push_strides(input: usize, strides: &[usize], params: &mut Params) {
    params.extend(STRIDES[input].iter().zip(strides).map(|(&name, &stride)| (name, stride.into())));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_merge_where_all_inputs_step_alike() {
        let shape = Shape::from([2, 3, 1, 5]);
        let axes = |from: &[usize]| Axes::merged(&shape, &[Shape::new(from).strides_in(&shape)]);
        assert_eq!(axes(&[5]), Axes { dims: vec![6, 5], strides: vec![vec![0, 1]] });
        assert_eq!(axes(&[2, 3, 1, 1]), Axes { dims: vec![6, 5], strides: vec![vec![1, 0]] });
        assert_eq!(axes(&[3, 1, 5]), Axes { dims: vec![2, 15], strides: vec![vec![0, 1]] });
        assert_eq!(axes(&[2, 1, 1, 5]).dims, [2, 3, 5]);
        assert_eq!(Axes::merged(&Shape::SCALAR, &[[0; 4]]).rank(), 1);
    }

    #[test]
    fn short_rows_have_one_lane_and_long_ones_a_workgroup() {
        assert_eq!([1, 16, 17, 64, 512, 1000, 100_000].map(lanes), [1, 1, 4, 8, 64, 128, 128]);
    }
}

//! The GPU dispatch of elementwise programs: index expressions for each way in which an input lies under the output.

use super::code::Code;
use super::cpu::Layout;
use crate::base::{DType, Shape, Type};
use crate::graph::{Bind, GpuWork, Shader};
use crate::ops::gpu::{Axes, elementwise};

/// The letter by which the shader knows a layout.
fn letter(layout: &Layout) -> char {
    match layout {
        Layout::Full => 'f',
        Layout::Scalar => 's',
        Layout::Strided(_) => 'b',
        Layout::Own => unreachable!("only a CPU epilogue reads the output's old values"),
    }
}

/// `out[i] = code(inputs at i)` for every element of an output of this shape.
pub(super) fn work(code: &Code, shape: &Shape, inputs: &[Type], outputs: &[Type]) -> GpuWork {
    let layouts: Vec<Layout> = inputs.iter().map(|ty| Layout::of(&ty.shape, shape)).collect();
    let broadcast: Vec<(usize, [usize; Shape::MAX_RANK])> = layouts
        .iter()
        .enumerate()
        .filter_map(|(i, layout)| match layout {
            Layout::Strided(strides) => Some((i, *strides)),
            _ => None,
        })
        .collect();
    let strides: Vec<[usize; Shape::MAX_RANK]> = broadcast.iter().map(|&(_, strides)| strides).collect();
    let mut params = vec![("len", outputs[0].shape.len().into())];
    let mut rank = 0;
    if !broadcast.is_empty() {
        let axes = Axes::merged(shape, &strides);
        axes.push_dims(&mut params);
        for (own, &(input, _)) in broadcast.iter().enumerate() {
            axes.push_strides(own, input, &mut params);
        }
        rank = axes.rank();
    }
    let kinds = layouts.iter().map(letter).collect();
    let halves = inputs.iter().chain(outputs).map(|ty| if ty.dtype == DType::Half { 'h' } else { 'f' }).collect();
    let vars = vec![("kinds", kinds), ("halves", halves), ("rank", rank.to_string()), ("body", code.wgsl())];
    let binds = (0..inputs.len()).map(Bind::In).chain([Bind::Out(0)]).collect();
    elementwise(Shader { stem: "pointwise", entry: "pointwise", vars }, binds, params)
}

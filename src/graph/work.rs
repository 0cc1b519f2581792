//! GPU work as plain data: which shader, which buffers, which numbers, how many workgroups. No wgpu type appears.

use super::Ways;
use crate::base::DType;

/// What an op does on the GPU: dispatches in order, and the scratch buffers that pass between them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GpuWork {
    /// The lengths of the scratch buffers, in 4-byte words.
    pub scratch: Vec<usize>,
    /// The dispatches, in order.
    pub dispatches: Vec<Dispatch>,
    /// The ways to do it, if there are several. What stands above is the first of them.
    pub ways: Option<Box<Ways>>,
}

impl GpuWork {
    /// One dispatch, no scratch.
    pub fn one(dispatch: Dispatch) -> Self {
        Self::several(Vec::new(), vec![dispatch])
    }

    /// Dispatches that pass scratch buffers of these lengths.
    pub fn several(scratch: Vec<usize>, dispatches: Vec<Dispatch>) -> Self {
        Self { scratch, dispatches, ways: None }
    }
}

/// One dispatch of a compute shader.
///
/// The shader sees `params` as a uniform at group 0, binding 0, and `binds` in order as storage buffers from binding 1;
/// where it uses the step's scalars, they are the uniform at group 1, binding 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Dispatch {
    /// Which shader.
    pub shader: Shader,
    /// The storage buffers from binding 1 on.
    pub binds: Vec<Bind>,
    /// The fields of the shader's `Params` struct, in order: each is 4 bytes wide.
    pub params: Vec<(&'static str, Scalar)>,
    /// The number of workgroups along x, y, z, each at most [`Dispatch::MAX_WORKGROUPS`].
    pub workgroups: [u32; 3],
}

impl Dispatch {
    /// The most workgroups along one axis that every adapter offers.
    pub const MAX_WORKGROUPS: u32 = 65_535;

    /// Workgroups for `n` pieces of work in one row, folded into y past [`Dispatch::MAX_WORKGROUPS`]. Shaders number them
    /// `y · 65535 + x` and ignore the surplus.
    pub fn fold(n: usize) -> [u32; 3] {
        let n = u32::try_from(n).expect("fewer than 2³² workgroups").max(1);
        [n.min(Self::MAX_WORKGROUPS), n.div_ceil(Self::MAX_WORKGROUPS), 1]
    }
}

/// A storage buffer of a dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// The op's input: `var<storage, read>`.
    In(usize),
    /// The op's output: `var<storage, read_write>`; an input updated in place is bound as its output alone.
    Out(usize),
    /// A scratch buffer of the op: `var<storage, read_write>`.
    Scratch(usize),
}

/// A 4-byte parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// Unsigned.
    U32(u32),
    /// Float.
    F32(f32),
}

impl Scalar {
    /// The bits as the uniform block holds them.
    pub fn bits(self) -> u32 {
        match self {
            Self::U32(x) => x,
            Self::F32(x) => x.to_bits(),
        }
    }
}

impl From<usize> for Scalar {
    fn from(x: usize) -> Self {
        Self::U32(u32::try_from(x).expect("a count below 2³²"))
    }
}

impl From<u32> for Scalar {
    fn from(x: u32) -> Self {
        Self::U32(x)
    }
}

impl From<f64> for Scalar {
    fn from(x: f64) -> Self {
        Self::F32(x as f32)
    }
}

/// A shader: a file under `shaders/`, the values of its template's variables, and an entry point.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shader {
    /// The file's stem: `matmul` is `shaders/matmul.wgsl`.
    pub stem: &'static str,
    /// The entry point.
    pub entry: &'static str,
    /// The values of the template's variables.
    pub vars: Vec<(&'static str, String)>,
}

impl Shader {
    /// A shader whose template has no variables.
    pub fn plain(stem: &'static str, entry: &'static str) -> Self {
        Self { stem, entry, vars: Vec::new() }
    }
}

/// How a shader spells an element type.
impl DType {
    /// The WGSL type of an element.
    pub fn wgsl(self) -> &'static str {
        match self {
            Self::Real => "f32",
            Self::Half => "f16",
            Self::Index => "u32",
        }
    }
}

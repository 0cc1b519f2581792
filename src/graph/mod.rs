//! Values, nodes, type-check and printer: a static graph in static single assignment.
//!
//! One floor with [`crate::ops`]: a node holds an [`Op`], and the ops extend [`Graph`] with the methods that build them.

mod build;
mod op;
mod phase;
mod print;
mod ways;
mod work;

pub use build::{Graph, Node, NodeId, Source, Value, ValueId};
pub use op::{Data, Derivative, Io, NodeView, Op, Precision, StepScalars};
pub use phase::Phase;
pub use ways::{Class, Needs, SUBGROUP, Target, Way, Ways};
pub use work::{Bind, Dispatch, GpuWork, Scalar, Shader};

/// Implements the two scalar types of [`Op::run_f32`] and [`Op::run_f64`] by one generic method of the op.
#[macro_export]
macro_rules! kernel {
    ($method:ident) => {
        fn run_f32(&self, io: &mut $crate::graph::Io<'_, f32>) {
            self.$method(io);
        }
        fn run_f64(&self, io: &mut $crate::graph::Io<'_, f64>) {
            self.$method(io);
        }
    };
}

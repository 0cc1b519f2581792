//! The printer: steps over buffers, what of them runs as one on a GPU, each buffer with its lifetime, and the memory that it
//! all takes.

use super::{Limits, Plan, View};
use crate::base::DType;
use crate::graph::Target;
use std::fmt;

impl Plan {
    fn show(&self, view: &View) -> String {
        let buffer = &self.buffers[view.buffer];
        let part = if view.offset == 0 && view.ty.shape.len() == buffer.len {
            String::new()
        } else {
            format!("@{}", view.offset)
        };
        format!("{}{part}{}", buffer.name, view.ty.shape)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bundles = self.bundles(&Target::default(), Limits::LEAST).map_err(|_| fmt::Error)?;
        let (steps, buffers) = (self.steps.len(), self.buffers.len());
        writeln!(f, "plan {}: {steps} steps, {buffers} buffers, {} dispatches on a GPU", self.name, bundles.len())?;
        for (i, step) in self.steps.iter().enumerate() {
            let list = |views: &[View]| views.iter().map(|view| self.show(view)).collect::<Vec<_>>().join(", ");
            write!(f, "  {i:>3}  {} = {:?}({})", list(&step.outputs), step.op, list(&step.inputs))?;
            writeln!(f, "{}{}", if step.scope.is_empty() { "" } else { "  # " }, step.scope)?;
        }
        for (i, bundle) in bundles.iter().enumerate() {
            let steps: Vec<String> = bundle.parts.iter().map(|part| part.step.to_string()).collect();
            writeln!(f, "  dispatch {i:>2}  steps {}", steps.join(", "))?;
        }
        for buffer in &self.buffers {
            let kind = if buffer.shared { "shared " } else { "private" };
            let (first, last) = buffer.lifetime;
            let half = if buffer.dtype == DType::Half { "  half precision" } else { "" };
            writeln!(f, "  {kind} {:<24} {:>12} elements  steps {first}..={last}{half}", buffer.name, buffer.len)?;
        }
        let (private, shared) = (self.private_bytes(4), self.shared_bytes(4));
        writeln!(f, "  memory in f32: {private} bytes private + {shared} bytes shared = {} bytes", private + shared)
    }
}

//! The printer: one line a value, as `steepest plan` shows it.

use super::{Graph, Source};
use std::fmt;

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, value) in self.values().iter().enumerate() {
            match &value.source {
                Source::Param(name) => writeln!(f, "%{i}: {} = param {name}", value.ty)?,
                Source::Input(name) => writeln!(f, "%{i}: {} = input {name}", value.ty)?,
                Source::Constant(x) => writeln!(f, "%{i}: {} = constant {x}", value.ty)?,
                Source::Node(node, 0) => {
                    let node = &self.nodes()[node.index()];
                    let inputs: Vec<String> = node.inputs.iter().map(|id| format!("%{}", id.0)).collect();
                    write!(f, "%{i}: {} = {:?}({})", value.ty, node.op, inputs.join(", "))?;
                    if !node.scope.is_empty() {
                        write!(f, "  # {}", node.scope)?;
                    }
                    writeln!(f)?;
                }
                Source::Node(node, output) => {
                    writeln!(f, "%{i}: {} = output {output} of {}", value.ty, self.nodes()[node.index()].op.name())?;
                }
            }
        }
        Ok(())
    }
}

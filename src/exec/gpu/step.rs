//! The step's scalars as the uniform block that shaders see at group 1, binding 0: `shaders/lib/step.wgsl`.

use crate::graph::{Scalar, StepScalars};

/// Bytes of the block.
pub(super) const STEP_BYTES: u64 = 32;

/// The fields in order, each 4 bytes wide.
fn fields(step: &StepScalars) -> [(&'static str, Scalar); (STEP_BYTES / 4) as usize] {
    [
        ("step", step.step.into()),
        ("micro", step.micro.into()),
        ("first_row", step.first_row.into()),
        ("rows", step.rows.into()),
        ("t", step.t.into()),
        ("lr", step.lr.into()),
        ("bias_correction1", step.bias_correction1.into()),
        ("bias_correction2", step.bias_correction2.into()),
    ]
}

/// The block's words.
pub(super) fn words(step: &StepScalars) -> impl Iterator<Item = u32> {
    fields(step).into_iter().map(|(_, scalar)| scalar.bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shader_has_the_same_block() {
        let text = include_str!("../../../shaders/lib/step.wgsl");
        let module = naga::front::wgsl::parse_str(text).expect("step.wgsl is whole by itself");
        let (_, block) = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some("Step")).expect("a struct Step");
        let naga::TypeInner::Struct { members, span } = &block.inner else { panic!("Step is no struct") };
        assert_eq!(u64::from(*span), STEP_BYTES);
        let host = fields(&StepScalars::default());
        assert_eq!(members.len(), host.len());
        for (i, (member, (name, scalar))) in members.iter().zip(host).enumerate() {
            assert_eq!((member.name.as_deref(), member.offset), (Some(name), 4 * i as u32));
            let kind = match scalar {
                Scalar::U32(_) => naga::Scalar::U32,
                Scalar::F32(_) => naga::Scalar::F32,
            };
            assert_eq!(module.types[member.ty].inner, naga::TypeInner::Scalar(kind), "{name}");
        }
        let variable = module.global_variables.iter().next().expect("the block is bound").1;
        let binding = variable.binding.as_ref().expect("the block is bound");
        assert_eq!((binding.group, binding.binding), (1, 0));
    }
}

// The number of a workgroup in a row that is folded into y past the most workgroups along x.
fn workgroup_number(id: vec3<u32>) -> u32 {
    return id.y * {{ MAX_WORKGROUPS }}u + id.x;
}

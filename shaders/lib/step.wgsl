// The numbers that change from step to step.
struct Step {
    step: u32,
    micro: u32,
    first_row: u32,
    rows: u32,
    t: u32,
    lr: f32,
    bias_correction1: f32,
    bias_correction2: f32,
}

@group(1) @binding(0) var<uniform> step: Step;

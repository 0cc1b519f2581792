// Dynamic loss scaling: what becomes of the step at hand, and the scale of the next one; one workgroup.
{% include "lib/math.wgsl" %}
{% include "lib/step.wgsl" %}

struct Params {
    records: u32,
    // Good steps in a row after which the scale doubles; 0 keeps it.
    interval: u32,
    // ln β of an optimizer that corrects its bias; 0 for others.
    ln_beta1: f32,
    ln_beta2: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> records: array<f32>;
@group(0) @binding(2) var<storage, read_write> control: array<f32>;
@group(0) @binding(3) var<storage, read_write> scale: array<f32>;
@group(0) @binding(4) var<storage, read_write> unscale: array<f32>;
@group(0) @binding(5) var<storage, read_write> row: array<f32>;

// Whether a thread has found a number that is not finite.
var<workgroup> found: array<u32, {{ THREADS }}>;

// 1 − βᵗ.
fn correction(ln_beta: f32, updates: f32) -> f32 {
    return select(-exp_m1(updates * ln_beta), 1.0, ln_beta == 0.0);
}

@compute @workgroup_size({{ THREADS }})
fn adjust_scale(@builtin(local_invocation_index) thread: u32) {
    var own = 0u;
    for (var i = thread; i < params.records; i += {{ THREADS }}u) {
        own |= u32(records[i * {{ RECORD }}u + {{ NON_FINITE }}u] != 0.0);
    }
    found[thread] = own;
    workgroupBarrier();
    if (thread != 0u) {
        return;
    }
    var any = 0u;
    for (var i = 0u; i < {{ THREADS }}u; i++) {
        any |= found[i];
    }
    let overflows = any != 0u;
    for (var i = 0u; i < {{ RECORD }}u; i++) {
        row[i] = 0.0;
    }
    row[{{ ROW_SCALE }}] = scale[0];
    control[{{ SCALING }}] = select({{ SCALED }}, {{ SKIPPING }}, overflows);
    control[{{ GOOD_STEPS }}] = select(control[{{ GOOD_STEPS }}] + 1.0, 0.0, overflows);
    let skipped = control[{{ SKIPPED }}] + select(0.0, 1.0, overflows);
    control[{{ SKIPPED }}] = skipped;
    if (overflows && params.interval != 0u && scale[0] <= {{ SCALE_MIN }}) {
        control[{{ HALT }}] = 1.0;
        row[{{ ROW_HALTS }}] = 1.0;
    }
    let updates = f32(step.t) - skipped;
    control[{{ CORRECTION1 }}] = correction(params.ln_beta1, updates);
    control[{{ CORRECTION2 }}] = correction(params.ln_beta2, updates);
    row[{{ ROW_SKIPPED }}] = skipped;
    row[{{ ROW_SKIPS }}] = select(0.0, 1.0, overflows);
    if (params.interval != 0u) {
        if (overflows) {
            scale[0] = max(scale[0] * 0.5, {{ SCALE_MIN }});
        } else if (control[{{ GOOD_STEPS }}] >= f32(params.interval)) {
            scale[0] = min(scale[0] * 2.0, {{ SCALE_MAX }});
            control[{{ GOOD_STEPS }}] = 0.0;
        }
        unscale[0] = 1.0 / scale[0];
    }
}

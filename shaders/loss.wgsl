// Softmax cross-entropy of logits x [rows, width] and targets [rows], and its derivative; `lanes` threads to each row.
// The target distribution is q = sharp·one-hot + smooth/width.
{% set row_max = true %}
{% from "lib/lanes.wgsl" import thread_arguments, thread_number %}
{% include "lib/grid.wgsl" %}
{% include "lib/math.wgsl" %}
{% include "lib/rows.wgsl" %}
{% include "lib/softmax.wgsl" %}

struct Params {
    rows: u32,
    width: u32,
    sharp: f32,
    // smooth/width
    base: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> targets: array<u32>;
{% if entry == "cross_entropy" %}
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

// out[row] = −Σ q ln softmax(x), overwritten.
@compute @workgroup_size({{ ROW_THREADS }})
fn cross_entropy(@builtin(workgroup_id) group: vec3<u32>, {{ thread_arguments(subgroups) }}) {
{{ thread_number(subgroups) }}
    let row = workgroup_number(group) * ROWS + thread / LANES;
    let width = select(0u, params.width, row < params.rows);
    let start = row * params.width;
    let top = largest(start, width, thread);
    let log_sum = log_fine(exp_sum(start, width, top, thread));
    var own = 0.0;
    for (var c = thread % LANES; c < width; c += LANES) {
        let surprise = log_sum - (x[start + c] - top);
        // A chosen product, so that an infinite surprise of another class does not meet a factor of 0.
        own += select(0.0, params.sharp * surprise, c == targets[row]);
        own += select(0.0, params.base * surprise, params.base > 0.0);
    }
    let total = row_sum(own, thread);
    if (row < params.rows && thread % LANES == 0u) {
        out[row] = total;
    }
}
{% else %}
@group(0) @binding(3) var<storage, read> dl: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

// out = dl·(softmax(x) − q), overwritten.
@compute @workgroup_size({{ ROW_THREADS }})
fn cross_entropy_grad(@builtin(workgroup_id) group: vec3<u32>, {{ thread_arguments(subgroups) }}) {
{{ thread_number(subgroups) }}
    let row = workgroup_number(group) * ROWS + thread / LANES;
    let width = select(0u, params.width, row < params.rows);
    let start = row * params.width;
    let top = largest(start, width, thread);
    let factor = 1.0 / exp_sum(start, width, top, thread);
    for (var c = thread % LANES; c < width; c += LANES) {
        let q = params.base + select(0.0, params.sharp, c == targets[row]);
        let e = exp_down(x[start + c] - top);
        // Tiny ones give no signal.
        out[start + c] = dl[row] * (select(e, 0.0, e <= {{ TINY }}) * factor - q);
    }
}
{% endif %}

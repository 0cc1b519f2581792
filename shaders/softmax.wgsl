// out = exp(x − max x) / Σ exp(x − max x) over rows [rows, width], overwritten; `lanes` threads to each row.
{% set row_max = true %}
{% from "lib/lanes.wgsl" import thread_arguments, thread_number %}
{% include "lib/grid.wgsl" %}
{% include "lib/math.wgsl" %}
{% include "lib/rows.wgsl" %}
{% include "lib/softmax.wgsl" %}

struct Params {
    rows: u32,
    width: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size({{ ROW_THREADS }})
fn softmax(@builtin(workgroup_id) group: vec3<u32>, {{ thread_arguments(subgroups) }}) {
{{ thread_number(subgroups) }}
    let row = workgroup_number(group) * ROWS + thread / LANES;
    // Threads behind the last row take part in the barriers of the others, with an empty row.
    let width = select(0u, params.width, row < params.rows);
    let start = row * params.width;
    let top = largest(start, width, thread);
    let sum = exp_sum(start, width, top, thread);
    for (var c = thread % LANES; c < width; c += LANES) {
        out[start + c] = exp_down(x[start + c] - top) / sum;
    }
}

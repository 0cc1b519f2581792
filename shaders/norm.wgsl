// Layer normalization of rows [rows, width] and its derivative, overwritten; `lanes` threads to each row. The variance is
// that of centred numbers: the difference of two large moments would cancel.
{% from "lib/lanes.wgsl" import thread_arguments, thread_number %}
{% include "lib/grid.wgsl" %}
{% include "lib/rows.wgsl" %}

struct Params {
    rows: u32,
    width: u32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
{% if entry == "layer_norm" %}
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
{% else %}
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
{% endif %}

// The mean of a row and 1/√(variance + ε), for a thread of it.
fn moments(start: u32, width: u32, thread: u32) -> vec2<f32> {
    var sum = 0.0;
    for (var c = thread % LANES; c < width; c += LANES) {
        sum += x[start + c];
    }
    let mean = row_sum(sum, thread) / f32(params.width);
    var squares = 0.0;
    for (var c = thread % LANES; c < width; c += LANES) {
        let centred = x[start + c] - mean;
        squares = fma(centred, centred, squares);
    }
    let variance = row_sum(squares, thread) / f32(params.width);
    return vec2<f32>(mean, 1.0 / sqrt(variance + params.epsilon));
}

{% if entry == "layer_norm" %}
// out = (x − mean) / √(variance + ε).
@compute @workgroup_size({{ ROW_THREADS }})
fn layer_norm(@builtin(workgroup_id) group: vec3<u32>, {{ thread_arguments(subgroups) }}) {
{{ thread_number(subgroups) }}
    let row = workgroup_number(group) * ROWS + thread / LANES;
    let width = select(0u, params.width, row < params.rows);
    let start = row * params.width;
    let m = moments(start, width, thread);
    for (var c = thread % LANES; c < width; c += LANES) {
        out[start + c] = (x[start + c] - m.x) * m.y;
    }
}
{% else %}
// With y the normalized row: out = (dy − mean dy − y·mean(dy·y)) / √(variance + ε).
@compute @workgroup_size({{ ROW_THREADS }})
fn layer_norm_grad(@builtin(workgroup_id) group: vec3<u32>, {{ thread_arguments(subgroups) }}) {
{{ thread_number(subgroups) }}
    let row = workgroup_number(group) * ROWS + thread / LANES;
    let width = select(0u, params.width, row < params.rows);
    let start = row * params.width;
    let m = moments(start, width, thread);
    var sum = 0.0;
    var along = 0.0;
    for (var c = thread % LANES; c < width; c += LANES) {
        sum += dy[start + c];
        along = fma(dy[start + c], (x[start + c] - m.x) * m.y, along);
    }
    let mean = row_sum(sum, thread) / f32(params.width);
    let share = row_sum(along, thread) / f32(params.width);
    for (var c = thread % LANES; c < width; c += LANES) {
        let y = (x[start + c] - m.x) * m.y;
        out[start + c] = (dy[start + c] - mean - y * share) * m.y;
    }
}
{% endif %}

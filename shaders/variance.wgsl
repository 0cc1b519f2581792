// The variance of single partial derivatives over the examples of a batch. The twin of ops/variance.rs.
{% from "lib/record_macros.wgsl" import write_record %}
{% from "lib/lanes.wgsl" import thread_arguments, thread_number %}
{% include "lib/grid.wgsl" %}
{% include "lib/record.wgsl" %}
{% if entry != "vector_stats" %}
{% include "lib/step.wgsl" %}
{% endif %}

struct Params {
    chunks: u32,
{% if entry == "vector_stats" %}
    len: u32,
{% else %}
{% if entry == "variance_stats" %}
    // What part of B·q is rounding.
    room: f32,
{% endif %}
    // The least B·q that counts.
    least: f32,
{% endif %}
{% if entry == "stopping_stats" %}
    // ε over the mean variance of the tensor.
    relative: f32,
{% endif %}
}

@group(0) @binding(0) var<uniform> params: Params;
{% if entry == "vector_stats" %}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> records: array<f32>;

// A workgroup to each {{ 4 * CHUNK }} elements; its record is overwritten.
@compute @workgroup_size({{ RECORD_THREADS }})
fn vector_stats(@builtin(workgroup_id) id: vec3<u32>, {{ thread_arguments(subgroups) }}) {
{{ thread_number(subgroups) }}
    let group = workgroup_number(id);
    if (group >= params.chunks) {
        return;
    }
    let first = group * {{ 4 * CHUNK }}u;
    let last = min(params.len, first + {{ 4 * CHUNK }}u);
    var own = Record();
    for (var i = first + thread; i < last; i += {{ RECORD_THREADS }}u) {
        own.top = larger(own.top, x[i]);
    }
    let scale = scale_of(own.top);
    for (var i = first + thread; i < last; i += {{ RECORD_THREADS }}u) {
        own.sum += add_number(&own, x[i], x[i], scale);
        own.non_finite = 0.0;
    }
    let whole = fold_records(own, thread);
    if (thread == 0u) {
{{ write_record("records", "group", "whole") }}
    }
}
{% else %}
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read> q: array<f32>;
@group(0) @binding(3) var<storage, read> lengths: array<u32>;
{% if entry == "stopping_stats" %}
@group(0) @binding(4) var<storage, read> owners: array<u32>;
@group(0) @binding(5) var<storage, read> sizes: array<f32>;
@group(0) @binding(6) var<storage, read> rows: array<f32>;
@group(0) @binding(7) var<storage, read_write> records: array<f32>;
{% else %}
@group(0) @binding(4) var<storage, read_write> records: array<f32>;
{% endif %}

// The variance of an element; 0 where it is not above `room` times B·q, or not finite. At the last micro-batch its rows end the batch.
fn variance(i: u32, room: f32) -> f32 {
    let count = f32(step.first_row + step.rows);
    let whole = count * q[i];
    let rest = whole - g[i] * g[i];
    let v = rest * (count / max(count - 1.0, 1.0));
    return select(0.0, v, rest > whole * room && whole > params.least && is_finite(v));
}

// A workgroup to each chunk; its record is overwritten.
@compute @workgroup_size({{ RECORD_THREADS }})
fn {{ entry }}(@builtin(workgroup_id) id: vec3<u32>, {{ thread_arguments(subgroups) }}) {
{{ thread_number(subgroups) }}
    let chunk = workgroup_number(id);
    if (chunk >= params.chunks) {
        return;
    }
    let first = chunk * {{ CHUNK }}u;
    let last = first + lengths[chunk];
    var own = Record();
{% if entry == "stopping_stats" %}
    let owner = owners[chunk];
    let epsilon = params.relative * rows[owner * {{ RECORD }}u + {{ STEP_SQUARES }}u] / sizes[owner];
    for (var i = first + thread; i < last; i += {{ RECORD_THREADS }}u) {
        let v = variance(i, 0.0) + epsilon;
        let square = g[i] * g[i];
        own.weight_squares += select(0.0, square / v, v > 0.0 && is_finite(square));
    }
{% else %}
    for (var i = first + thread; i < last; i += {{ RECORD_THREADS }}u) {
        let v = variance(i, params.room);
        own.weight_squares += select(0.0, g[i] * g[i] / v, v > 0.0);
        own.step_squares += v;
        own.zeros += select(1.0, 0.0, v > 0.0);
    }
{% endif %}
    let whole = fold_records(own, thread);
    if (thread == 0u) {
{{ write_record("records", "chunk", "whole") }}
    }
}
{% endif %}

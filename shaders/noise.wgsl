// What the noise of the gradient is told from in layers that are not dense. The twin of ops/noise.rs.
{% from "lib/record_macros.wgsl" import write_record %}
{% from "lib/lanes.wgsl" import thread_arguments, thread_number %}
{% include "lib/grid.wgsl" %}
{% include "lib/record.wgsl" %}
{% if entry == "micro_stats" %}
{% include "lib/step.wgsl" %}
{% endif %}

struct Params {
    groups: u32,
    len: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
{% if entry == "micro_stats" %}
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read_write> records: array<f32>;
{% else %}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> z: array<f32>;
@group(0) @binding(3) var<storage, read_write> records: array<f32>;
{% endif %}

// A workgroup to each {{ 4 * CHUNK }} elements; its record is overwritten.
@compute @workgroup_size({{ RECORD_THREADS }})
fn {{ entry }}(@builtin(workgroup_id) id: vec3<u32>, {{ thread_arguments(subgroups) }}) {
{{ thread_number(subgroups) }}
    let group = workgroup_number(id);
    if (group >= params.groups) {
        return;
    }
    let first = group * {{ 4 * CHUNK }}u;
    let last = min(params.len, first + {{ 4 * CHUNK }}u);
    var own = Record();
{% if entry == "micro_stats" %}
    let share = 1.0 / sqrt(f32(max(step.rows, 1u)));
    for (var i = first + thread; i < last; i += {{ RECORD_THREADS }}u) {
        own.top = larger(own.top, g[i] * share);
    }
    let scale = scale_of(own.top) * share;
    for (var i = first + thread; i < last; i += {{ RECORD_THREADS }}u) {
        add_number(&own, g[i], g[i], scale);
    }
{% else %}
    for (var i = first + thread; i < last; i += {{ RECORD_THREADS }}u) {
        own.top = larger(own.top, x[i] * z[i]);
{% if bias %}
        own.top = larger(own.top, z[i]);
{% endif %}
    }
    let scale = scale_of(own.top);
    for (var i = first + thread; i < last; i += {{ RECORD_THREADS }}u) {
        let product = x[i] * z[i];
        add_number(&own, product, product, scale);
{% if bias %}
        add_number(&own, z[i], z[i], scale);
{% endif %}
    }
{% endif %}
    own.non_finite = 0.0;
    let whole = fold_records(own, thread);
    if (thread == 0u) {
{{ write_record("records", "group", "whole") }}
    }
}

// What whole arenas say beside each other: products, distances, and a copy to look back at.
{% from "lib/record_macros.wgsl" import write_record %}
{% include "lib/grid.wgsl" %}

{% if entry == "copy" %}
struct Params {
    len: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> original: array<f32>;
@group(0) @binding(2) var<storage, read_write> kept: array<f32>;

@compute @workgroup_size({{ THREADS }})
fn copy(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = workgroup_number(group) * {{ THREADS }}u + thread;
    if (i < params.len) {
        kept[i] = original[i];
    }
}
{% else %}
{% include "lib/record.wgsl" %}

struct Params {
    chunks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
{% if entry == "dot_stats" and difference %}
@group(0) @binding(3) var<storage, read> c: array<f32>;
@group(0) @binding(4) var<storage, read> lengths: array<u32>;
@group(0) @binding(5) var<storage, read_write> records: array<f32>;
{% else %}
@group(0) @binding(3) var<storage, read> lengths: array<u32>;
@group(0) @binding(4) var<storage, read_write> records: array<f32>;
{% endif %}

// The second factor, or the difference.
fn second(i: u32) -> f32 {
{% if entry == "distance_stats" %}
    return a[i] - b[i];
{% elif difference %}
    return b[i] - c[i];
{% else %}
    return b[i];
{% endif %}
}

// A workgroup to each chunk; its record is overwritten.
@compute @workgroup_size({{ RECORD_THREADS }})
fn {{ entry }}(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let chunk = workgroup_number(id);
    if (chunk >= params.chunks) {
        return;
    }
    let first = chunk * {{ CHUNK }}u;
    let last = first + lengths[chunk];
    var own = Record();
    for (var i = first + thread; i < last; i += {{ RECORD_THREADS }}u) {
        let d = second(i);
{% if entry == "dot_stats" %}
        let both = is_finite(a[i]) && is_finite(d);
        own.top = select(own.top, larger(larger(own.top, a[i]), d), both);
{% else %}
        own.top = larger(own.top, d);
{% endif %}
    }
    let scale = scale_of(own.top);
    for (var i = first + thread; i < last; i += {{ RECORD_THREADS }}u) {
        let d = second(i);
{% if entry == "dot_stats" %}
        let both = is_finite(a[i]) && is_finite(d);
        own.squares += select(0.0, (a[i] * scale) * (d * scale), both);
{% else %}
        add_number(&own, d, d, scale);
        own.non_finite = 0.0;
{% endif %}
    }
    let whole = fold_records(own, thread);
    if (thread == 0u) {
{{ write_record("records", "chunk", "whole") }}
    }
}
{% endif %}

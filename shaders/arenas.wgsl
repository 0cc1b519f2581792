// What whole arenas say beside each other: products and distances; and what is kept of a step to look back at.
{% from "lib/record_macros.wgsl" import write_record %}
{% include "lib/grid.wgsl" %}

{% if entry in ["copy", "moved"] %}
struct Params {
    len: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> now: array<f32>;
@group(0) @binding(2) var<storage, read_write> kept: array<f32>;

@compute @workgroup_size({{ THREADS }})
fn {{ entry }}(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = workgroup_number(group) * {{ THREADS }}u + thread;
    if (i < params.len) {
        kept[i] = {{ "now[i] - kept[i]" if entry == "moved" else "now[i]" }};
    }
}
{% else %}
{% from "lib/lanes.wgsl" import thread_arguments, thread_number %}
{% if entry == "direction_stats" %}
{% set fold_again = true %}
{% endif %}
{% include "lib/record.wgsl" %}

struct Params {
    chunks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
{% if entry == "direction_stats" %}
// The gradient, the last gradient, the last update, and records of their products.
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read> h: array<f32>;
@group(0) @binding(3) var<storage, read> u: array<f32>;
@group(0) @binding(4) var<storage, read> lengths: array<u32>;
@group(0) @binding(5) var<storage, read_write> gh: array<f32>;
@group(0) @binding(6) var<storage, read_write> gu: array<f32>;
@group(0) @binding(7) var<storage, read_write> hu: array<f32>;
@group(0) @binding(8) var<storage, read_write> uu: array<f32>;

// The larger of `top` and both factors, if these are finite.
fn larger_of_both(top: f32, a: f32, b: f32) -> f32 {
    return select(top, larger(larger(top, a), b), is_finite(a) && is_finite(b));
}

// A product of scaled factors, if these are finite.
fn product(a: f32, b: f32, scale: f32) -> f32 {
    return select(0.0, (a * scale) * (b * scale), is_finite(a) && is_finite(b));
}

// A workgroup to each chunk; its records are overwritten.
@compute @workgroup_size({{ RECORD_THREADS }})
fn direction_stats(@builtin(workgroup_id) id: vec3<u32>, {{ thread_arguments(subgroups) }}) {
{{ thread_number(subgroups) }}
    let chunk = workgroup_number(id);
    if (chunk >= params.chunks) {
        return;
    }
    let first = chunk * {{ CHUNK }}u;
    let last = first + lengths[chunk];
{% set products = [["g", "h"], ["g", "u"], ["h", "u"], ["u", "u"]] %}
{% for a, b in products %}
    var of_{{ a }}{{ b }} = Record();
{% endfor %}
    for (var i = first + thread; i < last; i += {{ RECORD_THREADS }}u) {
{% for a, b in products %}
        of_{{ a }}{{ b }}.top = larger_of_both(of_{{ a }}{{ b }}.top, {{ a }}[i], {{ b }}[i]);
{% endfor %}
    }
{% for a, b in products %}
    let scale_{{ a }}{{ b }} = scale_of(of_{{ a }}{{ b }}.top);
{% endfor %}
    for (var i = first + thread; i < last; i += {{ RECORD_THREADS }}u) {
{% for a, b in products %}
        of_{{ a }}{{ b }}.squares += product({{ a }}[i], {{ b }}[i], scale_{{ a }}{{ b }});
{% endfor %}
    }
{% for a, b in products %}
    let whole_{{ a }}{{ b }} = fold_records(of_{{ a }}{{ b }}, thread);
    if (thread == 0u) {
{{ write_record(a ~ b, "chunk", "whole_" ~ a ~ b) }}
    }
{% endfor %}
}
{% else %}
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> lengths: array<u32>;
@group(0) @binding(4) var<storage, read_write> records: array<f32>;

// A workgroup to each chunk; its record is overwritten.
@compute @workgroup_size({{ RECORD_THREADS }})
fn distance_stats(@builtin(workgroup_id) id: vec3<u32>, {{ thread_arguments(subgroups) }}) {
{{ thread_number(subgroups) }}
    let chunk = workgroup_number(id);
    if (chunk >= params.chunks) {
        return;
    }
    let first = chunk * {{ CHUNK }}u;
    let last = first + lengths[chunk];
    var own = Record();
    for (var i = first + thread; i < last; i += {{ RECORD_THREADS }}u) {
        own.top = larger(own.top, a[i] - b[i]);
    }
    let scale = scale_of(own.top);
    for (var i = first + thread; i < last; i += {{ RECORD_THREADS }}u) {
        let d = a[i] - b[i];
        add_number(&own, d, d, scale);
        own.non_finite = 0.0;
    }
    let whole = fold_records(own, thread);
    if (thread == 0u) {
{{ write_record("records", "chunk", "whole") }}
    }
}
{% endif %}
{% endif %}

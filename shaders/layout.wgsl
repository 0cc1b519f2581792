// Elements moved, every output overwritten; a thread for each element of the output.
{% from "lib/macros.wgsl" import dims, strides, coordinates, at %}
{% include "lib/grid.wgsl" %}

struct Params {
    len: u32,
{% if entry == "strided" %}
    start: u32,
{{ dims(rank) }}
{{ strides(0, rank) }}
{% elif entry == "pad" %}
    // Elements of the output, of the input, and of zeros before it, in each slice across the outer axes.
    wide: u32,
    own: u32,
    before: u32,
{% else %}
    // Elements of a and of b in each slice across the outer axes.
    first: u32,
    second: u32,
{% endif %}
}

@group(0) @binding(0) var<uniform> params: Params;
{% if entry == "concat" %}
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
{% else %}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
{% endif %}

{% if entry == "strided" %}
// out[c0, c1, …] = x[start + Σ c·stride]: reshape, transpose and slice.
{% elif entry == "pad" %}
// Zeros before and after x along an axis.
{% else %}
// b behind a along an axis.
{% endif %}
@compute @workgroup_size({{ THREADS }})
fn {{ entry }}(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = workgroup_number(group) * {{ THREADS }}u + thread;
    if (i >= params.len) {
        return;
    }
{% if entry == "strided" %}
{{ coordinates(rank) }}
    out[i] = x[params.start + {{ at(0, rank) }}];
{% elif entry == "pad" %}
    let place = i % params.wide;
    var value = 0.0;
    if (place >= params.before && place - params.before < params.own) {
        value = x[i / params.wide * params.own + place - params.before];
    }
    out[i] = value;
{% else %}
    let place = i % (params.first + params.second);
    let slice = i / (params.first + params.second);
    if (place < params.first) {
        out[i] = a[slice * params.first + place];
    } else {
        out[i] = b[slice * params.second + place - params.first];
    }
{% endif %}
}

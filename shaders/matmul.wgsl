// C = epilogue(op(A)·op(B)), overwritten, for A [batch, m, k] ([batch, k, m] if `ta`) and B [batch, k, n] ([batch, n, k]
// if `tb`).
//
// Two kernels make the same product: `tiled` moves strips of A and B through workgroup memory, `direct` reads them into
// registers. With `split`, each sum of k terms is cut into `parts` of `part` terms; what the parts come to, C [parts, batch,
// m, n], is added up in that order by `fold`, which has the epilogue then. Arrays are read and written as vectors where
// `va`, `vb`, `vc` say that their rows are whole vectors. `halves` has a letter for A, B, each further input and C: h(alf)
// precision in memory or f(ull); sums are in full.
{% include "lib/grid.wgsl" %}
{% if body %}
{% include "lib/math.wgsl" %}
{% endif %}

struct Params {
    batch: u32,
    m: u32,
    n: u32,
    k: u32,
    part: u32,
    parts: u32,
{% for input in range(1, inputs) %}
    stride{{ input }}_0: u32,
    stride{{ input }}_1: u32,
    stride{{ input }}_2: u32,
{% endfor %}
}

{% set first = 2 if entry == "fold" else 3 %}
{% set scalar_a = "f16" if halves[0] == "h" else "f32" %}
{% set scalar_b = "f16" if halves[1] == "h" else "f32" %}
{% set scalar_c = "f16" if halves[inputs + 1] == "h" else "f32" %}
@group(0) @binding(0) var<uniform> params: Params;
{% if entry == "fold" %}
@group(0) @binding(1) var<storage, read_write> partial: array<f32>;
{% else %}
@group(0) @binding(1) var<storage, read> a: array<{{ "vec4<" ~ scalar_a ~ ">" if va else scalar_a }}>;
@group(0) @binding(2) var<storage, read> b: array<{{ "vec4<" ~ scalar_b ~ ">" if vb else scalar_b }}>;
{% endif %}
{% for input in range(1, inputs) %}
@group(0) @binding({{ input + first - 1 }}) var<storage, read> x{{ input }}: array<{{ "f16" if halves[input + 1] == "h" else "f32" }}>;
{% endfor %}
@group(0) @binding({{ inputs + first - 1 }}) var<storage, read_write> c: array<{{ "vec4<" ~ scalar_c ~ ">" if vc else scalar_c }}>;

{% if body %}
fn epilogue({% for input in range(inputs) %}in{{ input }}: f32, {% endfor %}) -> f32 {
{{ body }}
}
{% endif %}

// What becomes of a number of the product.
fn finish(z: u32, row: u32, column: u32, value: f32) -> f32 {
{% if body %}
    return epilogue(value{% for i in range(1, inputs) %}, {{ "f32" if halves[i + 1] == "h" }}(x{{ i }}[z * params.stride{{ i }}_0 + row * params.stride{{ i }}_1 + column * params.stride{{ i }}_2]){% endfor %});
{% else %}
    return value;
{% endif %}
}

{% if entry == "fold" %}
@compute @workgroup_size({{ THREADS }})
fn fold(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = workgroup_number(group) * {{ THREADS }}u + thread;
    let len = params.batch * params.m * params.n;
    if (i >= len) {
        return;
    }
    var sum = partial[i];
    for (var part = 1u; part < params.parts; part++) {
        sum += partial[part * len + i];
    }
    let row = i / params.n;
    c[i] = {{ scalar_c if scalar_c == "f16" }}(finish(row / params.m, row % params.m, i % params.n, sum));
}
{% elif entry == "tiled" %}
{% include "lib/matmul_tiled.wgsl" %}
{% else %}
{% include "lib/matmul_direct.wgsl" %}
{% endif %}

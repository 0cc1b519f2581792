// C = epilogue(op(A)·op(B)), overwritten, for A [batch, m, k] ([batch, k, m] if `ta`) and B [batch, k, n] ([batch, n, k]
// if `tb`).
//
// A workgroup makes a tile of C of bm × bn, a thread tm × tn of its numbers, in registers: blocks of 4 × 4 that lie a
// multiple of 4 apart, so that neighbouring threads read neighbouring vectors. Strips of A and B, bk terms deep, pass
// through workgroup memory, A transposed, both with a vector of padding to a row. Every edge is guarded.
{% set threads_m = bm // tm %}
{% set threads_n = bn // tn %}
{% set threads = threads_m * threads_n %}
{% set vecs_a = bm // 4 %}
{% set vecs_b = bn // 4 %}
{% include "lib/grid.wgsl" %}
{% if body %}
{% include "lib/math.wgsl" %}
{% endif %}

struct Params {
    batch: u32,
    m: u32,
    n: u32,
    k: u32,
{% for input in range(1, inputs) %}
    stride{{ input }}_0: u32,
    stride{{ input }}_1: u32,
    stride{{ input }}_2: u32,
{% endfor %}
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
{% for input in range(1, inputs) %}
@group(0) @binding({{ input + 2 }}) var<storage, read> x{{ input }}: array<f32>;
{% endfor %}
@group(0) @binding({{ inputs + 2 }}) var<storage, read_write> c: array<f32>;

var<workgroup> tile_a: array<vec4<f32>, {{ bk * (vecs_a + 1) }}>;
var<workgroup> tile_b: array<vec4<f32>, {{ bk * (vecs_b + 1) }}>;

{% if body %}
fn epilogue({% for input in range(inputs) %}in{{ input }}: f32, {% endfor %}) -> f32 {
{{ body }}
}
{% endif %}

// op(A)[row, p] of the product that starts at `base`, 0 outside.
fn read_a(base: u32, row: u32, p: u32) -> f32 {
    let inside = row < params.m && p < params.k;
    let at = base + {{ "p * params.m + row" if ta else "row * params.k + p" }};
    return select(0.0, a[select(0u, at, inside)], inside);
}

// op(B)[p, column], 0 outside.
fn read_b(base: u32, p: u32, column: u32) -> f32 {
    let inside = column < params.n && p < params.k;
    let at = base + {{ "column * params.k + p" if tb else "p * params.n + column" }};
    return select(0.0, b[select(0u, at, inside)], inside);
}

fn write_c(z: u32, row: u32, column: u32, value: f32) {
    if (row < params.m && column < params.n) {
        let at = (z * params.m + row) * params.n + column;
{% if body %}
        c[at] = epilogue(value{% for i in range(1, inputs) %}, x{{ i }}[z * params.stride{{ i }}_0 + row * params.stride{{ i }}_1 + column * params.stride{{ i }}_2]{% endfor %});
{% else %}
        c[at] = value;
{% endif %}
    }
}

fn write_4(z: u32, row: u32, column: u32, values: vec4<f32>) {
    write_c(z, row, column, values.x);
    write_c(z, row, column + 1u, values.y);
    write_c(z, row, column + 2u, values.z);
    write_c(z, row, column + 3u, values.w);
}

// Brings the terms from `p` on of a strip into workgroup memory. Neighbouring threads read neighbouring numbers.
fn load_strips(z: u32, row: u32, column: u32, p: u32, thread: u32) {
    let base_a = z * params.m * params.k;
    let base_b = z * params.k * params.n;
{% for i in range((bk * vecs_a + threads - 1) // threads) %}
    {
        let slot = thread + {{ i * threads }}u;
        let depth = slot {{ "/ " ~ vecs_a if ta else "% " ~ bk }}u;
        let vec = slot {{ "% " ~ vecs_a if ta else "/ " ~ bk }}u;
        let first = row + 4u * vec;
        if (slot < {{ bk * vecs_a }}u) {
            tile_a[depth * {{ vecs_a + 1 }}u + vec] = vec4<f32>(
                read_a(base_a, first, p + depth),
                read_a(base_a, first + 1u, p + depth),
                read_a(base_a, first + 2u, p + depth),
                read_a(base_a, first + 3u, p + depth),
            );
        }
    }
{% endfor %}
{% for i in range((bk * vecs_b + threads - 1) // threads) %}
    {
        let slot = thread + {{ i * threads }}u;
        let depth = slot {{ "% " ~ bk if tb else "/ " ~ vecs_b }}u;
        let vec = slot {{ "/ " ~ bk if tb else "% " ~ vecs_b }}u;
        let first = column + 4u * vec;
        if (slot < {{ bk * vecs_b }}u) {
            tile_b[depth * {{ vecs_b + 1 }}u + vec] = vec4<f32>(
                read_b(base_b, p + depth, first),
                read_b(base_b, p + depth, first + 1u),
                read_b(base_b, p + depth, first + 2u),
                read_b(base_b, p + depth, first + 3u),
            );
        }
    }
{% endfor %}
}

@compute @workgroup_size({{ threads }})
fn matmul(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let tiles_n = (params.n + {{ bn - 1 }}u) / {{ bn }}u;
    let tile = workgroup_number(group);
    let row = tile / tiles_n * {{ bm }}u;
    let column = tile % tiles_n * {{ bn }}u;
    if (row >= params.m) {
        return;
    }
    let ty = thread / {{ threads_n }}u;
    let tx = thread % {{ threads_n }}u;
    for (var z = group.z; z < params.batch; z += {{ MAX_WORKGROUPS }}u) {
{% for i in range(tm) %}
{% for j in range(tn // 4) %}
        var c{{ i }}_{{ j }} = vec4<f32>();
{% endfor %}
{% endfor %}
        for (var p = 0u; p < params.k; p += {{ bk }}u) {
            load_strips(z, row, column, p, thread);
            workgroupBarrier();
            for (var q = 0u; q < {{ bk }}u; q++) {
{% for i in range(tm // 4) %}
                let a{{ i }} = tile_a[q * {{ vecs_a + 1 }}u + ty + {{ i * threads_m }}u];
{% endfor %}
{% for j in range(tn // 4) %}
                let b{{ j }} = tile_b[q * {{ vecs_b + 1 }}u + tx + {{ j * threads_n }}u];
{% endfor %}
{% for i in range(tm) %}
{% for j in range(tn // 4) %}
                c{{ i }}_{{ j }} = fma(vec4<f32>(a{{ i // 4 }}.{{ "xyzw"[i % 4] }}), b{{ j }}, c{{ i }}_{{ j }});
{% endfor %}
{% endfor %}
            }
            workgroupBarrier();
        }
{% for i in range(tm) %}
{% for j in range(tn // 4) %}
        write_4(z, row + 4u * ty + {{ i // 4 * threads_m * 4 + i % 4 }}u, column + 4u * tx + {{ j * threads_n * 4 }}u, c{{ i }}_{{ j }});
{% endfor %}
{% endfor %}
    }
}

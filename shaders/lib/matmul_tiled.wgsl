// A workgroup makes a tile of C of bm × bn, a thread tm × tn of its numbers, in registers: blocks of 4 × 4 that lie a
// multiple of 4 apart, so that neighbouring threads read neighbouring vectors. Strips of A and B, bk terms deep, pass
// through workgroup memory, A transposed, both with a vector of padding to a row. Every edge is guarded.
{% set threads_m = bm // tm %}
{% set threads_n = bn // tn %}
{% set threads = threads_m * threads_n %}
{% set vecs_a = bm // 4 %}
{% set vecs_b = bn // 4 %}
{% set vecs_k = bk // 4 %}

var<workgroup> tile_a: array<vec4<f32>, {{ bk * (vecs_a + 1) }}>;
var<workgroup> tile_b: array<vec4<f32>, {{ bk * (vecs_b + 1) }}>;

// Four neighbours of op(X) for a matrix X that starts at `base` and has rows of `width` numbers, in memory order from
// [row, column] on; 0 outside of [height, width].
{% for x, vector, half in [["a", va, scalar_a == "f16"], ["b", vb, scalar_b == "f16"]] %}
{% if vector %}
fn read_{{ x }}(base: u32, row: u32, column: u32, height: u32, width: u32) -> vec4<f32> {
    let inside = row < height && column < width;
    let there = {{ x }}[select(0u, (base + row * width + column) / 4u, inside)];
    return select(vec4<f32>(), {{ "vec4<f32>" if half }}(there), inside);
}
{% else %}
fn read_{{ x }}(base: u32, row: u32, column: u32, height: u32, width: u32) -> f32 {
    let inside = row < height && column < width;
    return select(0.0, {{ "f32" if half }}({{ x }}[select(0u, base + row * width + column, inside)]), inside);
}
{% endif %}
{% endfor %}

fn write_c(slice: u32, z: u32, row: u32, column: u32, values: vec4<f32>) {
    let at = (slice * params.m + row) * params.n + column;
{% if vc %}
    if (row < params.m && column < params.n) {
        c[at / 4u] = {{ "vec4<f16>" if scalar_c == "f16" }}(vec4<f32>(
{% for i in range(4) %}
            finish(z, row, column + {{ i }}u, values.{{ "xyzw"[i] }}),
{% endfor %}
        ));
    }
{% else %}
{% for i in range(4) %}
    if (row < params.m && column + {{ i }}u < params.n) {
        c[at + {{ i }}u] = {{ "f16" if scalar_c == "f16" }}(finish(z, row, column + {{ i }}u, values.{{ "xyzw"[i] }}));
    }
{% endfor %}
{% endif %}
}

{# Brings a strip of `x`, `vecs` vectors wide and bk deep, into workgroup memory; `along` says whether the strip's depth lies along the
rows of the matrix in memory. Neighbouring threads read neighbouring numbers; along rows, vectors are turned in registers. #}
{% macro load_strip(x, vecs, along, vector, base, origin, height, width) %}
{% set slots = vecs * (vecs_k if vector and along else bk) %}
{% for i in range((slots + threads - 1) // threads) %}
    {
        let slot = thread + {{ i * threads }}u;
        if (slot < {{ slots }}u) {
{% if vector and along %}
            let depth = slot % {{ vecs_k }}u * 4u;
            let vec = slot / {{ vecs_k }}u;
{% for r in range(4) %}
            let r{{ r }} = read_{{ x }}({{ base }}, {{ origin }} + 4u * vec + {{ r }}u, p + depth, {{ height }}, {{ width }});
{% endfor %}
{% for d in range(4) %}
            tile_{{ x }}[(depth + {{ d }}u) * {{ vecs + 1 }}u + vec] = vec4<f32>(r0.{{ "xyzw"[d] }}, r1.{{ "xyzw"[d] }}, r2.{{ "xyzw"[d] }}, r3.{{ "xyzw"[d] }});
{% endfor %}
{% else %}
            let depth = slot {{ "% " ~ bk if along else "/ " ~ vecs }}u;
            let vec = slot {{ "/ " ~ bk if along else "% " ~ vecs }}u;
            let first = {{ origin }} + 4u * vec;
{% if vector %}
            tile_{{ x }}[depth * {{ vecs + 1 }}u + vec] = read_{{ x }}({{ base }}, p + depth, first, {{ height }}, {{ width }});
{% else %}
            tile_{{ x }}[depth * {{ vecs + 1 }}u + vec] = vec4<f32>(
{% for r in range(4) %}
                read_{{ x }}({{ base }}, {{ "first + " ~ r ~ "u, p + depth" if along else "p + depth, first + " ~ r ~ "u" }}, {{ height }}, {{ width }}),
{% endfor %}
            );
{% endif %}
{% endif %}
        }
    }
{% endfor %}
{% endmacro %}

// Brings the terms from `p` on of both strips into workgroup memory.
fn load_strips(z: u32, row: u32, column: u32, p: u32, thread: u32) {
    let base_a = z * params.m * params.k;
    let base_b = z * params.k * params.n;
{{ load_strip("a", vecs_a, not ta, va, "base_a", "row", "params.k" if ta else "params.m", "params.m" if ta else "params.k") }}
{{ load_strip("b", vecs_b, tb, vb, "base_b", "column", "params.n" if tb else "params.k", "params.k" if tb else "params.n") }}
}

@compute @workgroup_size({{ threads }})
fn tiled(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let tiles_n = (params.n + {{ bn - 1 }}u) / {{ bn }}u;
    let tile = workgroup_number(group);
    let row = tile / tiles_n * {{ bm }}u;
    let column = tile % tiles_n * {{ bn }}u;
    if (row >= params.m) {
        return;
    }
    let ty = thread / {{ threads_n }}u;
    let tx = thread % {{ threads_n }}u;
    for (var slice = group.z; slice < params.parts * params.batch; slice += {{ MAX_WORKGROUPS }}u) {
        let z = slice % params.batch;
        let first = slice / params.batch * params.part;
        let last = min(first + params.part, params.k);
{% for i in range(tm) %}
{% for j in range(tn // 4) %}
        var c{{ i }}_{{ j }} = vec4<f32>();
{% endfor %}
{% endfor %}
        for (var p = first; p < last; p += {{ bk }}u) {
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
        write_c(slice, z, row + 4u * ty + {{ i // 4 * threads_m * 4 + i % 4 }}u, column + 4u * tx + {{ j * threads_n * 4 }}u, c{{ i }}_{{ j }});
{% endfor %}
{% endfor %}
    }
}

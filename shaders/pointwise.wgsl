// out[i] = program(in0 at i, in1 at i, …), overwritten; a thread for each element.
//
// `kinds` has a letter for each input: f(ull) is read element for element, s(calar) is one number for all, b(roadcast) is
// read with strides over `rank` axes. `halves` has a letter for each input and the output: h(alf) precision in memory or
// f(ull). `body` is the program.
{% from "lib/macros.wgsl" import dims, strides, coordinates, at %}
{% include "lib/grid.wgsl" %}
{% include "lib/math.wgsl" %}

struct Params {
    len: u32,
{{ dims(rank) }}
{% for kind in kinds|list %}
{% if kind == "b" %}
{{ strides(loop.index0, rank) }}
{% endif %}
{% endfor %}
}

@group(0) @binding(0) var<uniform> params: Params;
{% for kind in kinds|list %}
@group(0) @binding({{ loop.index }}) var<storage, read> x{{ loop.index0 }}: array<{{ "f16" if halves[loop.index0] == "h" else "f32" }}>;
{% endfor %}
@group(0) @binding({{ kinds|length + 1 }}) var<storage, read_write> out: array<{{ "f16" if halves[kinds|length] == "h" else "f32" }}>;

fn program({% for kind in kinds|list %}in{{ loop.index0 }}: f32, {% endfor %}) -> f32 {
{{ body }}
}

@compute @workgroup_size({{ THREADS }})
fn pointwise(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = workgroup_number(group) * {{ THREADS }}u + thread;
    if (i >= params.len) {
        return;
    }
{% if rank > 0 %}
{{ coordinates(rank) }}
{% endif %}
{% for kind in kinds|list %}
{% set place = "i" if kind == "f" else "0" if kind == "s" else at(loop.index0, rank) %}
    let in{{ loop.index0 }} = {{ "f32" if halves[loop.index0] == "h" }}(x{{ loop.index0 }}[{{ place }}]);
{% endfor %}
    out[i] = {{ "f16" if halves[kinds|length] == "h" }}(program({% for kind in kinds|list %}in{{ loop.index0 }}, {% endfor %}));
}

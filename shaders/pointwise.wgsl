// out[i] = program(in0 at i, in1 at i, …), overwritten; a thread for each element.
//
// `kinds` has a letter for each input: f(ull) is read element for element, s(calar) is one number for all, b(roadcast) is
// read with strides over `rank` axes. `body` is the program.
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
@group(0) @binding({{ loop.index }}) var<storage, read> x{{ loop.index0 }}: array<f32>;
{% endfor %}
@group(0) @binding({{ kinds|length + 1 }}) var<storage, read_write> out: array<f32>;

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
{% if kind == "f" %}
    let in{{ loop.index0 }} = x{{ loop.index0 }}[i];
{% elif kind == "s" %}
    let in{{ loop.index0 }} = x{{ loop.index0 }}[0];
{% else %}
    let in{{ loop.index0 }} = x{{ loop.index0 }}[{{ at(loop.index0, rank) }}];
{% endif %}
{% endfor %}
    out[i] = program({% for kind in kinds|list %}in{{ loop.index0 }}, {% endfor %});
}

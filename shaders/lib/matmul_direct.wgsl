// A workgroup of wm × wn threads makes a tile of C, a thread tm × tn of its numbers, wm and wn apart, out of registers: no
// workgroup memory, no barrier. Threads at an edge read the last row or column again and write nothing.
//
// With `share`, all threads work on the same rows of A (`share` = "a", wm = 1) or columns of B ("b", wn = 1): of each, a thread reads one of
// `depth` neighbouring terms and hands it to its subgroup, which has at least that many threads.
{% set bm = wm * tm %}
{% set bn = wn * tn %}
{% set step_a = "params.m" if ta else "1u" %}
{% set step_b = "1u" if tb else "params.n" %}

{# Reads of one factor what a thread multiplies with term `u`: `way` is "once" for a number that is read and handed around for all terms of a turn,
"hand" for one that is then taken from the thread that has read it, "own" for one that each thread reads itself. #}
{% macro read(x, count, step, u, way) %}
{% set widen = "f32" if (scalar_a if x == "a" else scalar_b) == "f16" else "" %}
{% for i in range(count) %}
{% if way == "once" %}
            let {{ x }}{{ i }} = {{ widen }}({{ x }}[at_{{ x }}{{ i }} + own]);
            at_{{ x }}{{ i }} += {{ depth }}u * {{ step }};
{% elif way == "hand" %}
            let {{ x }}{{ i }}_{{ u }} = subgroupBroadcast({{ x }}{{ i }}, {{ u }}u);
{% else %}
            let {{ x }}{{ i }}_{{ u }} = {{ widen }}({{ x }}[at_{{ x }}{{ i }}]);
            at_{{ x }}{{ i }} += {{ step }};
{% endif %}
{% endfor %}
{% endmacro %}

{# Adds term `u` to all sums. #}
{% macro term(u, shared) %}
{{ read("a", tm, step_a, u, "hand" if shared == "a" else "own") }}
{{ read("b", tn, step_b, u, "hand" if shared == "b" else "own") }}
{% for i in range(tm) %}
{% for j in range(tn) %}
            c{{ i }}_{{ j }} = fma(a{{ i }}_{{ u }}, b{{ j }}_{{ u }}, c{{ i }}_{{ j }});
{% endfor %}
{% endfor %}
{% endmacro %}

@compute @workgroup_size({{ wm * wn }})
fn direct(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
{% if share %}
    @builtin(subgroup_invocation_id) lane: u32,
{% endif %}
) {
    let tiles_n = (params.n + {{ bn - 1 }}u) / {{ bn }}u;
    let tile = workgroup_number(group);
    if (tile / tiles_n * {{ bm }}u >= params.m) {
        return;
    }
    let row = tile / tiles_n * {{ bm }}u + thread / {{ wn }}u;
    let column = tile % tiles_n * {{ bn }}u + thread % {{ wn }}u;
{% if share %}
    let own = lane % {{ depth }}u * {{ step_a if share == "a" else step_b }};
{% endif %}
    for (var slice = group.z; slice < params.parts * params.batch; slice += {{ MAX_WORKGROUPS }}u) {
        let z = slice % params.batch;
        let first = slice / params.batch * params.part;
        let last = min(first + params.part, params.k);
        let base_a = z * params.m * params.k + first * {{ step_a }};
        let base_b = z * params.k * params.n + first * {{ step_b }};
{% for i in range(tm) %}
        var at_a{{ i }} = base_a + min(row + {{ i * wm }}u, params.m - 1u){{ "" if ta else " * params.k" }};
{% endfor %}
{% for j in range(tn) %}
        var at_b{{ j }} = base_b + min(column + {{ j * wn }}u, params.n - 1u){{ " * params.k" if tb else "" }};
{% endfor %}
{% for i in range(tm) %}
{% for j in range(tn) %}
        var c{{ i }}_{{ j }} = 0.0;
{% endfor %}
{% endfor %}
        var p = first;
{% if share %}
        for (; p + {{ depth }}u <= last; p += {{ depth }}u) {
{{ read("a", tm, step_a, 0, "once") if share == "a" else read("b", tn, step_b, 0, "once") }}
{% for u in range(depth) %}
{{ term(u, share) }}
{% endfor %}
        }
{% endif %}
        for (; p < last; p++) {
{{ term(0, "") }}
        }
{% for i in range(tm) %}
        if (row + {{ i * wm }}u < params.m) {
            let at = (slice * params.m + row + {{ i * wm }}u) * params.n + column;
{% for j in range(tn) %}
            if (column + {{ j * wn }}u < params.n) {
                c[at + {{ j * wn }}u] = {{ "f16" if scalar_c == "f16" }}(finish(z, row + {{ i * wm }}u, column + {{ j * wn }}u, c{{ i }}_{{ j }}));
            }
{% endfor %}
        }
{% endfor %}
    }
}

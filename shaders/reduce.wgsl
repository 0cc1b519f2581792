// Sums over the middle axis of x [outer, summed, inner], overwritten. The middle axis is cut into `parts` of `part` terms,
// so that few long sums occupy the device too; a second dispatch then adds up the parts. No atomics: the order of
// addition follows from the shape alone.
{% from "lib/lanes.wgsl" import thread_arguments, thread_number %}
{% include "lib/grid.wgsl" %}
{% include "lib/rows.wgsl" %}

struct Params {
    // How many sums: outer · parts · inner.
    count: u32,
    summed: u32,
    inner: u32,
    part: u32,
    parts: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, {{ access }}> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

{% if entry == "sum_rows" %}
// out [outer, parts] for inner = 1: `lanes` threads to each sum.
@compute @workgroup_size({{ row_threads }})
fn sum_rows(@builtin(workgroup_id) group: vec3<u32>, {{ thread_arguments(subgroups) }}) {
{{ thread_number(subgroups) }}
    let i = workgroup_number(group) * ROWS + thread / LANES;
    let row = i / params.parts * params.summed;
    let first = i % params.parts * params.part;
    let last = select(0u, min(first + params.part, params.summed), i < params.count);
    var sum = 0.0;
    for (var s = first + thread % LANES; s < last; s += LANES) {
        sum += x[row + s];
    }
    sum = row_sum(sum, thread);
    if (i < params.count && thread % LANES == 0u) {
        out[i] = sum;
    }
}
{% else %}
// out [outer, parts, inner]: a thread to each sum. Blocks are summed before they join the total, so that rounding grows
// with a block's length and the number of blocks, not with their product.
@compute @workgroup_size({{ row_threads }})
fn sum_columns(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = workgroup_number(group) * {{ row_threads }}u + thread;
    if (i >= params.count) {
        return;
    }
    let rest = i / params.inner;
    let first = rest % params.parts * params.part;
    let last = min(first + params.part, params.summed);
    var at = (rest / params.parts * params.summed + first) * params.inner + i % params.inner;
    var total = 0.0;
    for (var block = first; block < last; block += 64u) {
        let end = min(block + 64u, last);
        var sum = 0.0;
        for (var s = block; s < end; s++) {
            sum += x[at];
            at += params.inner;
        }
        total += sum;
    }
    out[i] = total;
}
{% endif %}

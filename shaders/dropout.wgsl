// out = x·mask/(1 − p) over rows [rows, width], overwritten. Random bits are keyed by (layer, step, the row's position in
// the logical batch, pair of columns); a thread for each pair.
{% include "lib/grid.wgsl" %}
{% include "lib/step.wgsl" %}
{% include "lib/threefry.wgsl" %}

struct Params {
    rows: u32,
    width: u32,
    key0: u32,
    key1: u32,
    p: f32,
    // 1/(1 − p)
    keep: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

fn masked(at: u32, word: u32) {
    // A chosen product: a dropped NaN is 0.
    out[at] = select(0.0, x[at] * params.keep, unit_f32(word) >= params.p);
}

@compute @workgroup_size({{ THREADS }})
fn dropout(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = workgroup_number(group) * {{ THREADS }}u + thread;
    let pairs = (params.width + 1u) / 2u;
    let row = i / pairs;
    let pair = i % pairs;
    if (row >= params.rows) {
        return;
    }
    let key = threefry2x32(vec2<u32>(params.key0, params.key1), vec2<u32>(step.step, 0u));
    let words = threefry2x32(key, vec2<u32>(step.first_row + row, pair));
    let at = row * params.width + 2u * pair;
    masked(at, words.x);
    if (2u * pair + 1u < params.width) {
        masked(at + 1u, words.y);
    }
}

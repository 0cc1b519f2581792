// Norms of per-example gradients of a dense layer from its input x and ∂L/∂z: ‖gᵢ‖ = ‖∂L/∂zᵢ‖·√(‖xᵢ‖² + bias).
{% from "lib/record_macros.wgsl" import write_record %}
{% from "lib/lanes.wgsl" import thread_arguments, thread_number, memory, fold %}
{% include "lib/grid.wgsl" %}
{% include "lib/record.wgsl" %}
{% set lanes = RECORD_THREADS // EXAMPLE_ROWS %}

struct Params {
    rows: u32,
    groups: u32,
    x_width: u32,
    z_width: u32,
    // 1 where the layer has a bias, else 0.
    bias: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> z: array<f32>;
@group(0) @binding(3) var<storage, read_write> records: array<f32>;

{{ memory(subgroups, "tops", "vec2<u32>", RECORD_THREADS, lanes) }}
{{ memory(subgroups, "sums", "vec2<f32>", RECORD_THREADS, lanes) }}

fn plus(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    return a + b;
}

{{ fold(subgroups, "row_top", "vec2<u32>", "tops", lanes, "max", "subgroupShuffleXor", false) }}
{{ fold(subgroups, "row_sum", "vec2<f32>", "sums", lanes, "plus", "subgroupShuffleXor", false) }}

// The bits of |x|, in the order of the magnitudes: those of infinities and NaN are above all others.
fn magnitude_bits(x: f32) -> u32 {
    return bitcast<u32>(x) & 0x7fffffffu;
}

// x [rows, x_width], z [rows, z_width] to records [groups, 8], overwritten: a workgroup to {{ EXAMPLE_ROWS }} rows, {{ lanes }} threads to each.
@compute @workgroup_size({{ RECORD_THREADS }})
fn example_stats(@builtin(workgroup_id) id: vec3<u32>, {{ thread_arguments(subgroups) }}) {
{{ thread_number(subgroups) }}
    let group = workgroup_number(id);
    if (group >= params.groups) {
        return;
    }
    let row = group * {{ EXAMPLE_ROWS }}u + thread / {{ lanes }}u;
    let is_there = row < params.rows;
    let x_width = select(0u, params.x_width, is_there);
    let z_width = select(0u, params.z_width, is_there);
    // The largest magnitudes of x and of ∂L/∂z.
    var own_top = vec2<u32>(0u, 0u);
    for (var c = thread % {{ lanes }}u; c < x_width; c += {{ lanes }}u) {
        own_top.x = max(own_top.x, magnitude_bits(x[row * params.x_width + c]));
    }
    for (var c = thread % {{ lanes }}u; c < z_width; c += {{ lanes }}u) {
        own_top.y = max(own_top.y, magnitude_bits(z[row * params.z_width + c]));
    }
    let top = row_top(own_top, thread);
    let is_whole = top.x < 0x7f800000u && top.y < 0x7f800000u;
    let x_scale = scale_of(bitcast<f32>(top.x));
    let z_scale = scale_of(bitcast<f32>(top.y));
    var own_squares = vec2<f32>(0.0, 0.0);
    for (var c = thread % {{ lanes }}u; c < x_width; c += {{ lanes }}u) {
        let number = x[row * params.x_width + c];
        let scaled = select(0.0, number * x_scale, is_finite(number));
        own_squares.x = fma(scaled, scaled, own_squares.x);
    }
    for (var c = thread % {{ lanes }}u; c < z_width; c += {{ lanes }}u) {
        let number = z[row * params.z_width + c];
        let scaled = select(0.0, number * z_scale, is_finite(number));
        own_squares.y = fma(scaled, scaled, own_squares.y);
    }
    let squares = row_sum(own_squares, thread);
    var own = Record();
    if (is_there && thread % {{ lanes }}u == 0u) {
        let incoming = sqrt(squares.x) / x_scale;
        let norm = sqrt(squares.y) / z_scale * sqrt(incoming * incoming + params.bias);
        if (is_whole && is_finite(norm)) {
            let scaled = norm * scale_of(norm);
            own.top = norm;
            own.squares = scaled * scaled;
        } else {
            own.non_finite = 1.0;
        }
    }
    var whole = fold_records(own, thread);
    if (thread == 0u) {
        // The root of the sum stands for the largest norm.
        let root = sqrt(whole.squares) / scale_of(whole.top);
        if (is_finite(root)) {
            let scaled = root * scale_of(root);
            whole.top = root;
            whole.squares = scaled * scaled;
        }
{{ write_record("records", "group", "whole") }}
    }
}

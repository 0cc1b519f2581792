// Norms of per-example gradients of a dense layer from its input x and ∂L/∂z: ‖gᵢ‖ = ‖∂L/∂zᵢ‖·√(‖xᵢ‖² + bias).
{% from "lib/record_macros.wgsl" import write_record %}
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

// Of x and of ∂L/∂z: the largest finite magnitude, then the sum of scaled squares.
var<workgroup> cells: array<vec2<f32>, {{ RECORD_THREADS }}>;
// Elements that are not finite.
var<workgroup> bad: array<u32, {{ RECORD_THREADS }}>;

// Adds the cells of the lanes of each row into its first one, or takes their maximum.
fn over_lanes(thread: u32, largest: bool) {
    workgroupBarrier();
    for (var half = {{ lanes // 2 }}u; half > 0u; half /= 2u) {
        if (thread % {{ lanes }}u < half) {
            let other = cells[thread + half];
            cells[thread] = select(cells[thread] + other, max(cells[thread], other), largest);
            bad[thread] += bad[thread + half];
        }
        workgroupBarrier();
    }
}

// x [rows, x_width], z [rows, z_width] to records [groups, 8], overwritten: a workgroup to {{ EXAMPLE_ROWS }} rows, {{ lanes }} threads to each.
@compute @workgroup_size({{ RECORD_THREADS }})
fn example_stats(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let group = workgroup_number(id);
    if (group >= params.groups) {
        return;
    }
    let row = group * {{ EXAMPLE_ROWS }}u + thread / {{ lanes }}u;
    let first = thread - thread % {{ lanes }}u;
    let is_there = row < params.rows;
    let x_width = select(0u, params.x_width, is_there);
    let z_width = select(0u, params.z_width, is_there);
    var top = vec2<f32>(0.0, 0.0);
    var gaps = 0u;
    for (var c = thread % {{ lanes }}u; c < x_width; c += {{ lanes }}u) {
        let number = x[row * params.x_width + c];
        top.x = larger(top.x, number);
        gaps += select(1u, 0u, is_finite(number));
    }
    for (var c = thread % {{ lanes }}u; c < z_width; c += {{ lanes }}u) {
        let number = z[row * params.z_width + c];
        top.y = larger(top.y, number);
        gaps += select(1u, 0u, is_finite(number));
    }
    cells[thread] = top;
    bad[thread] = gaps;
    over_lanes(thread, true);
    top = cells[first];
    gaps = bad[first];
    workgroupBarrier();
    let x_scale = scale_of(top.x);
    let z_scale = scale_of(top.y);
    var squares = vec2<f32>(0.0, 0.0);
    for (var c = thread % {{ lanes }}u; c < x_width; c += {{ lanes }}u) {
        let number = x[row * params.x_width + c];
        let scaled = select(0.0, number * x_scale, is_finite(number));
        squares.x = fma(scaled, scaled, squares.x);
    }
    for (var c = thread % {{ lanes }}u; c < z_width; c += {{ lanes }}u) {
        let number = z[row * params.z_width + c];
        let scaled = select(0.0, number * z_scale, is_finite(number));
        squares.y = fma(scaled, scaled, squares.y);
    }
    cells[thread] = squares;
    over_lanes(thread, false);
    squares = cells[first];
    var own = Record();
    if (is_there && thread == first) {
        let incoming = sqrt(squares.x) / x_scale;
        let norm = sqrt(squares.y) / z_scale * sqrt(incoming * incoming + params.bias);
        if (gaps == 0u && is_finite(norm)) {
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

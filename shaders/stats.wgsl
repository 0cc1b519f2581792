// Statistics: records of value rows and of gradient chunks, folded per tensor and layer, with the clip factor and the halt
// flag. A workgroup makes each record; no atomics, so that runs repeat bit for bit.
{% from "lib/record_macros.wgsl" import read_record, write_record %}
{% from "lib/lanes.wgsl" import thread_arguments, thread_number %}
{% include "lib/grid.wgsl" %}
{% include "lib/record.wgsl" %}
{% if entry == "tap_stats" or (entry == "fold" and accumulate) %}
{% include "lib/step.wgsl" %}
{% endif %}

struct Params {
{% if entry == "tap_stats" %}
    rows: u32,
{% for v in range(values) %}
    // Of value {{ v }}: elements of a row, rows to a record, one past its last record.
    width{{ v }}: u32,
    each{{ v }}: u32,
    end{{ v }}: u32,
{% endfor %}
{% elif entry == "chunk_stats" %}
    // Elements are limited to ± this.
    limit: f32,
    chunks: u32,
{% elif entry == "clip_factor" %}
    records: u32,
    max_norm: f32,
{% else %}
    rows: u32,
{% endif %}
}

@group(0) @binding(0) var<uniform> params: Params;

{% if entry == "tap_stats" %}
// Activations and ∂L/∂z of each layer by turns.
{% for v in range(values) %}
@group(0) @binding({{ v + 1 }}) var<storage, read> value{{ v }}: array<f32>;
{% endfor %}
@group(0) @binding({{ values + 1 }}) var<storage, read> weights: array<f32>;
@group(0) @binding({{ values + 2 }}) var<storage, read_write> records: array<f32>;

// Number i of a value.
fn number(value: u32, i: u32) -> f32 {
{% for v in range(values - 1) %}
    if (value == {{ v }}u) {
        return value{{ v }}[i];
    }
{% endfor %}
    return value{{ values - 1 }}[i];
}

// What a row is multiplied with. Forward: 1 for a real row, 0 for padding. Backward: 1/w for the row of an example of
// weight w, 0 where it has none.
fn factor_of(row: u32, backward: bool) -> f32 {
    if (backward) {
        return select(0.0, 1.0 / weights[row], weights[row] != 0.0);
    }
    return select(0.0, 1.0, row < step.rows);
}

// Values [rows, width] to records [groups of all values, 8], overwritten: a workgroup to each group of rows. Rows of factor
// 0 are left out.
@compute @workgroup_size({{ RECORD_THREADS }})
fn tap_stats(@builtin(workgroup_id) id: vec3<u32>, {{ thread_arguments(subgroups) }}) {
{{ thread_number(subgroups) }}
    let record = workgroup_number(id);
    if (record >= params.end{{ values - 1 }}) {
        return;
    }
    var value = 0u;
    var group = record;
    var width = params.width0;
    var each = params.each0;
{% for v in range(1, values) %}
    if (record >= params.end{{ v - 1 }}) {
        value = {{ v }}u;
        group = record - params.end{{ v - 1 }};
        width = params.width{{ v }};
        each = params.each{{ v }};
    }
{% endfor %}
    let backward = (value & 1u) == 1u;
    let first = group * each * width;
    let last = min((group + 1u) * each, params.rows) * width;
    var own = Record();
    for (var i = first + thread; i < last; i += {{ RECORD_THREADS }}u) {
        let factor = factor_of(i / width, backward);
        let x = number(value, i);
        // The test is of x itself: a product that overflows is no gap in the data.
        let magnitude = abs(x * factor);
        own.top = select(own.top, magnitude, is_finite(x) && factor != 0.0 && magnitude > own.top);
    }
    let scale = scale_of(own.top);
    for (var i = first + thread; i < last; i += {{ RECORD_THREADS }}u) {
        let factor = factor_of(i / width, backward);
        if (factor != 0.0) {
            let x = number(value, i);
            own.sum += add_number(&own, x, x * factor, scale);
        }
    }
    own.sum = select(own.sum, 0.0, backward);
    let whole = fold_records(own, thread);
    if (thread == 0u) {
{{ write_record("records", "record", "whole") }}
    }
}
{% elif entry == "chunk_stats" %}
@group(0) @binding(1) var<storage, read> gradients: array<f32>;
@group(0) @binding(2) var<storage, read> lengths: array<u32>;
@group(0) @binding(3) var<storage, read_write> records: array<f32>;

// x limited to ± the limit; NaN stays NaN.
fn limited(x: f32) -> f32 {
    return select(select(x, -params.limit, x < -params.limit), params.limit, x > params.limit);
}

// Gradients [chunks, {{ CHUNK }}] to records [chunks, 8], overwritten: a workgroup to each chunk.
@compute @workgroup_size({{ RECORD_THREADS }})
fn chunk_stats(@builtin(workgroup_id) id: vec3<u32>, {{ thread_arguments(subgroups) }}) {
{{ thread_number(subgroups) }}
    let chunk = workgroup_number(id);
    if (chunk >= params.chunks) {
        return;
    }
    let first = chunk * {{ CHUNK }}u;
    let last = first + lengths[chunk];
    var own = Record();
    for (var i = first + thread; i < last; i += {{ RECORD_THREADS }}u) {
        own.top = larger(own.top, {{ "limited(gradients[i])" if clip else "gradients[i]" }});
    }
    let scale = scale_of(own.top);
    for (var i = first + thread; i < last; i += {{ RECORD_THREADS }}u) {
        let g = {{ "limited(gradients[i])" if clip else "gradients[i]" }};
        add_gradient(&own, g, scale);
    }
    let whole = fold_records(own, thread);
    if (thread == 0u) {
{{ write_record("records", "chunk", "whole") }}
    }
}
{% elif entry == "clip_factor" %}
@group(0) @binding(1) var<storage, read> records: array<f32>;
@group(0) @binding(2) var<storage, read_write> control: array<f32>;

// All records to the global norm, the clip factor and the halt flag, which stays up: one workgroup.
@compute @workgroup_size({{ RECORD_THREADS }})
fn clip_factor({{ thread_arguments(subgroups) }}) {
{{ thread_number(subgroups) }}
    var own = Record();
    for (var i = thread; i < params.records; i += {{ RECORD_THREADS }}u) {
        own = combined(own, {{ read_record("records", "i") }});
    }
    let whole = fold_records(own, thread);
    if (thread == 0u) {
        let norm = sqrt(whole.squares) / scale_of(whole.top);
        let factor = params.max_norm / (norm + 1e-6);
        control[{{ NORM }}] = norm;
        control[{{ CLIP }}] = {{ "select(1.0, factor, factor < 1.0)" if clip else "1.0" }};
        if (whole.non_finite != 0.0 && control[{{ SCALING }}] == 0.0) {
            control[{{ HALT }}] = 1.0;
        }
    }
}
{% else %}
@group(0) @binding(1) var<storage, read> records: array<f32>;
@group(0) @binding(2) var<storage, read> segments: array<u32>;
{% if loss %}
@group(0) @binding(3) var<storage, read> loss: array<f32>;
{% endif %}
@group(0) @binding({{ 4 if loss else 3 }}) var<storage, read_write> table: array<f32>;
// Its bits: workgroups may raise the flag side by side, all of them to the same value.
@group(0) @binding({{ 5 if loss else 4 }}) var<storage, read_write> control: array<atomic<u32>>;

// Segments of records to the rows of the table, overwritten or, where it accumulates, added to from the second micro-batch
// on; the loss into the last row; the halt flag where a row counts a number that is not finite. A workgroup to each row.
@compute @workgroup_size({{ RECORD_THREADS }})
fn fold(@builtin(workgroup_id) id: vec3<u32>, {{ thread_arguments(subgroups) }}) {
{{ thread_number(subgroups) }}
    let row = workgroup_number(id);
    if (row >= params.rows) {
        return;
    }
    var own = Record();
{% if accumulate %}
    if (thread == 0u && step.micro != 0u) {
        own = {{ read_record("table", "row") }};
    }
{% endif %}
    for (var i = segments[2u * row] + thread; i < segments[2u * row + 1u]; i += {{ RECORD_THREADS }}u) {
        own = combined(own, {{ read_record("records", "i") }});
    }
    var whole = fold_records(own, thread);
    if (thread == 0u) {
{% if loss %}
        if (row + 1u == params.rows) {
            // The row of the loss holds no maximum: its sum has no scale, and is no sum of scaled numbers.
            whole.sum = loss[0];
{% if accumulate %}
            whole.sum += select(0.0, table[row * {{ RECORD }}u + {{ SUM }}u], step.micro != 0u);
{% endif %}
            whole.non_finite += select(1.0, 0.0, is_finite(loss[0]));
        }
{% endif %}
{{ write_record("table", "row", "whole") }}
        // With loss scaling overflow is common, but for that of the loss itself.
        let counts = atomicLoad(&control[{{ SCALING }}]) == 0u{{ " || row + 1u == params.rows" if loss }};
        if (whole.non_finite != 0.0 && counts) {
            atomicStore(&control[{{ HALT }}], bitcast<u32>(1.0));
        }
    }
}
{% endif %}

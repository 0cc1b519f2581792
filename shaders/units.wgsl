// Units that give nothing, and activations on a flat end.
{% from "lib/record_macros.wgsl" import write_record %}
{% from "lib/lanes.wgsl" import thread_arguments, thread_number %}
{% include "lib/grid.wgsl" %}
{% if entry != "grow_ages" %}
{% include "lib/record.wgsl" %}
{% endif %}
{% include "lib/step.wgsl" %}

struct Params {
{% if entry == "saturated" %}
    groups: u32,
    // Elements of a row, rows to a record, all rows.
    width: u32,
    each: u32,
    end: u32,
    limit: f32,
{% else %}
    units: u32,
    // Rows of units to an example, and how many examples there can be.
    rows: u32,
    examples: u32,
    window: f32,
    most: f32,
{% endif %}
}

@group(0) @binding(0) var<uniform> params: Params;

{% if entry == "count_dead" %}
@group(0) @binding(1) var<storage, read_write> ages: array<f32>;
@group(0) @binding(2) var<storage, read_write> records: array<f32>;

// How many ages have come to the window, at the first micro-batch of a step: one workgroup.
@compute @workgroup_size({{ RECORD_THREADS }})
fn count_dead({{ thread_arguments(subgroups) }}) {
{{ thread_number(subgroups) }}
    var own = Record();
    for (var i = thread; i < params.units; i += {{ RECORD_THREADS }}u) {
        own.zeros += select(0.0, 1.0, step.micro == 0u && ages[i] >= params.window);
    }
    let whole = fold_records(own, thread);
    if (thread == 0u) {
{{ write_record("records", "0u", "whole") }}
    }
}
{% elif entry == "grow_ages" %}
@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read_write> ages: array<f32>;

{% set parts = THREADS // UNITS_EACH %}
// Whether a thread has found that its unit gives something.
var<workgroup> gives: array<u32, {{ THREADS }}>;

// Ages grow with the first micro-batch of a step, and end where a unit gives something: a workgroup to {{ UNITS_EACH }}
// units, {{ parts }} threads to each, which take its rows by turns.
@compute @workgroup_size({{ THREADS }})
fn grow_ages(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let unit = workgroup_number(group) * {{ UNITS_EACH }}u + thread % {{ UNITS_EACH }}u;
    var own = 0u;
    if (unit < params.units) {
        let rows = params.rows * min(step.rows, params.examples);
        for (var row = thread / {{ UNITS_EACH }}u; row < rows; row += {{ parts }}u) {
            let x = z[row * params.units + unit];
            // The sign and exponent decide, since NaN need not exist: above 0 and no NaN.
            let bits = bitcast<u32>(x);
            if (bits != 0u && bits <= 0x7f800000u) {
                own = 1u;
                break;
            }
        }
    }
    gives[thread] = own;
    workgroupBarrier();
    if (thread < {{ UNITS_EACH }}u && unit < params.units) {
        var found = 0u;
        for (var part = 0u; part < {{ parts }}u; part += 1u) {
            found |= gives[part * {{ UNITS_EACH }}u + thread];
        }
        var age = ages[unit];
        if (step.micro == 0u) {
            age = min(age + 1.0, params.most);
        }
        ages[unit] = select(age, 0.0, found != 0u);
    }
}
{% else %}
@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read_write> records: array<f32>;

// Values [rows, width] to records [groups, 8], overwritten: a workgroup to each group of rows.
@compute @workgroup_size({{ RECORD_THREADS }})
fn saturated(@builtin(workgroup_id) id: vec3<u32>, {{ thread_arguments(subgroups) }}) {
{{ thread_number(subgroups) }}
    let group = workgroup_number(id);
    if (group >= params.groups) {
        return;
    }
    let rows = min(params.end, step.rows);
    let first = min(group * params.each, rows) * params.width;
    let last = min((group + 1u) * params.each, rows) * params.width;
    var own = Record();
    for (var i = first + thread; i < last; i += {{ RECORD_THREADS }}u) {
        let bits = bitcast<u32>(z[i]) & 0x7fffffffu;
        own.zeros += select(0.0, 1.0, bits > bitcast<u32>(params.limit) && bits <= 0x7f800000u);
    }
    let whole = fold_records(own, thread);
    if (thread == 0u) {
{{ write_record("records", "group", "whole") }}
    }
}
{% endif %}

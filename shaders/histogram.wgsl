// Histograms over the exponents of numbers. Counts are whole numbers, so that the order of adding does not matter.
{% include "lib/grid.wgsl" %}
{% if entry == "row_histogram" or (entry == "fold_counts" and accumulate) %}
{% include "lib/step.wgsl" %}
{% endif %}

struct Params {
    groups: u32,
{% if entry == "row_histogram" %}
    // Elements of a row, rows to a histogram, all rows.
    width: u32,
    each: u32,
    end: u32,
{% endif %}
}

@group(0) @binding(0) var<uniform> params: Params;
{% if entry == "fold_counts" %}
@group(0) @binding(1) var<storage, read> counts: array<f32>;
@group(0) @binding(2) var<storage, read> segments: array<u32>;
@group(0) @binding(3) var<storage, read_write> table: array<f32>;

{% set parts = THREADS // BINS %}
// What each thread has counted.
var<workgroup> counted: array<f32, {{ THREADS }}>;

// Segments of histograms to the rows of the table, overwritten or, where it accumulates, added to from the second
// micro-batch on: a workgroup to each row, {{ parts }} threads to each bin.
@compute @workgroup_size({{ THREADS }})
fn fold_counts(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = workgroup_number(id);
    if (row >= params.groups) {
        return;
    }
    let bin = thread % {{ BINS }}u;
    var own = 0.0;
    for (var i = segments[2u * row] + thread / {{ BINS }}u; i < segments[2u * row + 1u]; i += {{ parts }}u) {
        own += counts[i * {{ BINS }}u + bin];
    }
    counted[thread] = own;
    workgroupBarrier();
    if (thread < {{ BINS }}u) {
        var sum = 0.0;
{% if accumulate %}
        if (step.micro != 0u) {
            sum = table[row * {{ BINS }}u + bin];
        }
{% endif %}
        for (var part = 0u; part < {{ parts }}u; part += 1u) {
            sum += counted[part * {{ BINS }}u + bin];
        }
        table[row * {{ BINS }}u + bin] = sum;
    }
}
{% else %}
@group(0) @binding(1) var<storage, read> x: array<f32>;
{% if entry == "arena_histogram" %}
@group(0) @binding(2) var<storage, read> lengths: array<u32>;
@group(0) @binding(3) var<storage, read_write> counts: array<f32>;
{% else %}
@group(0) @binding(2) var<storage, read_write> counts: array<f32>;
{% endif %}

var<workgroup> bins: array<atomic<u32>, {{ BINS }}>;

// The bin of a number, by its exponent bits.
fn bin(number: f32) -> u32 {
    let bits = bitcast<u32>(number) & 0x7fffffffu;
    let exponent = max(i32(bits >> 23u), 1) - 127;
    let within = u32(clamp((exponent + {{ BIN_OFFSET }}) >> 1u, 1, {{ BINS - 2 }}));
    return select(select(within, {{ BINS - 1 }}u, bits >= 0x7f800000u), 0u, bits == 0u);
}

// A workgroup to each histogram, which is overwritten.
@compute @workgroup_size({{ RECORD_THREADS }})
fn {{ entry }}(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let group = workgroup_number(id);
    if (group >= params.groups) {
        return;
    }
    if (thread < {{ BINS }}u) {
        atomicStore(&bins[thread], 0u);
    }
    workgroupBarrier();
{% if entry == "arena_histogram" %}
    let first = group * {{ CHUNK }}u;
    let last = first + lengths[group];
{% else %}
    let rows = min(params.end, step.rows);
    let first = min(group * params.each, rows) * params.width;
    let last = min((group + 1u) * params.each, rows) * params.width;
{% endif %}
    for (var i = first + thread; i < last; i += {{ RECORD_THREADS }}u) {
        atomicAdd(&bins[bin(x[i])], 1u);
    }
    workgroupBarrier();
    if (thread < {{ BINS }}u) {
        counts[group * {{ BINS }}u + thread] = f32(atomicLoad(&bins[thread]));
    }
}
{% endif %}

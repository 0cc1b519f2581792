{% set row_threads = row_threads if row_threads is defined else ROW_THREADS %}
{% from "lib/lanes.wgsl" import declare, memory, fold %}
// Rows reduced by `lanes` neighbouring threads each, in a fixed order: a chain in every thread, then a tree.
const LANES: u32 = {{ lanes }}u;
const ROWS: u32 = {{ row_threads // lanes }}u;

{{ declare(subgroups) }}
{% if lanes > 1 %}
{{ memory(subgroups, "cells", "f32", row_threads, lanes) }}

fn plus(a: f32, b: f32) -> f32 {
    return a + b;
}

// The sum over the lanes of a row; every thread of the workgroup calls it and gets its own row's sum.
{{ fold(subgroups, "row_sum", "f32", "cells", lanes, "plus", "subgroupShuffleXor", true) }}
{% else %}
fn row_sum(value: f32, thread: u32) -> f32 {
    return value;
}
{% endif %}

{% if row_max is defined %}
// The largest value over the lanes of a row, as `row_sum`. A NaN may be passed over: the sums behind it find it.
{% if lanes > 1 %}
fn larger_number(a: f32, b: f32) -> f32 {
    return select(a, b, b > a);
}

{{ fold(subgroups, "row_max", "f32", "cells", lanes, "larger_number", "subgroupShuffleXor", true) }}
{% else %}
fn row_max(value: f32, thread: u32) -> f32 {
    return value;
}
{% endif %}
{% endif %}

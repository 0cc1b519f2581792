{% set row_threads = row_threads if row_threads is defined else ROW_THREADS %}
// Rows reduced by `lanes` neighbouring threads each, in a fixed order: a chain in every thread, then a tree.
const LANES: u32 = {{ lanes }}u;
const ROWS: u32 = {{ row_threads // lanes }}u;

{% if lanes > 1 %}
var<workgroup> cells: array<f32, {{ row_threads }}>;
{% endif %}

// The sum over the lanes of a row; every thread of the workgroup calls it and gets its own row's sum.
fn row_sum(value: f32, thread: u32) -> f32 {
{% if lanes == 1 %}
    return value;
{% else %}
    let lane = thread % LANES;
    // Until here threads may still be reading the result before.
    workgroupBarrier();
    cells[thread] = value;
    workgroupBarrier();
    for (var half = {{ lanes // 2 }}u; half > 0u; half /= 2u) {
        if (lane < half) {
            cells[thread] += cells[thread + half];
        }
        workgroupBarrier();
    }
    return cells[thread - lane];
{% endif %}
}

{% if row_max is defined %}
// The largest value over the lanes of a row, as `row_sum`. A NaN may be passed over: the sums behind it find it.
fn row_max(value: f32, thread: u32) -> f32 {
{% if lanes == 1 %}
    return value;
{% else %}
    let lane = thread % LANES;
    workgroupBarrier();
    cells[thread] = value;
    workgroupBarrier();
    for (var half = {{ lanes // 2 }}u; half > 0u; half /= 2u) {
        if (lane < half) {
            let other = cells[thread + half];
            cells[thread] = select(cells[thread], other, other > cells[thread]);
        }
        workgroupBarrier();
    }
    return cells[thread - lane];
{% endif %}
}
{% endif %}

// Rows reduced by `lanes` neighbouring threads each, in a fixed order: a chain in every thread, then a tree.
const LANES: u32 = {{ lanes }}u;
const ROWS: u32 = {{ ROW_THREADS // lanes }}u;

{% if lanes > 1 %}
var<workgroup> cells: array<f32, {{ ROW_THREADS }}>;
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
{% for half in [64, 32, 16, 8, 4, 2, 1] if half < lanes %}
    if (lane < {{ half }}u) {
        cells[thread] += cells[thread + {{ half }}u];
    }
    workgroupBarrier();
{% endfor %}
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
{% for half in [64, 32, 16, 8, 4, 2, 1] if half < lanes %}
    if (lane < {{ half }}u) {
        let other = cells[thread + {{ half }}u];
        cells[thread] = select(cells[thread], other, other > cells[thread]);
    }
    workgroupBarrier();
{% endfor %}
    return cells[thread - lane];
{% endif %}
}
{% endif %}

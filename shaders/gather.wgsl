// Rows picked by index, and the two transposes of that; a thread for each element of the output. An index past the last
// row reads and writes nothing.
{% include "lib/grid.wgsl" %}

struct Params {
    len: u32,
    // Columns of a row of the output.
    width: u32,
{% if entry == "gather_rows" %}
    // Rows of x.
    rows: u32,
{% elif entry == "scatter_add_rows" %}
    // How many indices.
    count: u32,
{% endif %}
}

@group(0) @binding(0) var<uniform> params: Params;
{% if entry == "one_hot" %}
@group(0) @binding(1) var<storage, read> index: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
{% else %}
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> index: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
{% endif %}

{% if entry == "gather_rows" %}
// out[r, c] = x[index[r], c].
{% elif entry == "scatter_add_rows" %}
// out[r, c] = Σ x[i, c] over the i with index[i] = r, in the order of i.
{% else %}
// out[r, c] = 1 where index[r] = c, else 0.
{% endif %}
@compute @workgroup_size({{ THREADS }})
fn {{ entry }}(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let at = workgroup_number(group) * {{ THREADS }}u + thread;
    if (at >= params.len) {
        return;
    }
    let row = at / params.width;
    let column = at % params.width;
{% if entry == "gather_rows" %}
    var value = 0.0;
    if (index[row] < params.rows) {
        value = x[index[row] * params.width + column];
    }
{% elif entry == "scatter_add_rows" %}
    var value = 0.0;
    for (var i = 0u; i < params.count; i++) {
        if (index[i] == row) {
            value += x[i * params.width + column];
        }
    }
{% else %}
    let value = select(0.0, 1.0, index[row] == column);
{% endif %}
    out[at] = value;
}

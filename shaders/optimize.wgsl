// Optimizer updates over whole arenas, in place, and the sum of micro-batch gradients.
{% from "lib/record_macros.wgsl" import write_record %}
{% from "lib/lanes.wgsl" import thread_arguments, thread_number %}
{% include "lib/grid.wgsl" %}
{% include "lib/step.wgsl" %}
{% if entry == "accumulate" %}

struct Params {
    len: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradients: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;

// sums = g for the first micro-batch of a logical batch, sums += g for the others; a thread for each element.
@compute @workgroup_size({{ THREADS }})
fn accumulate(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let i = workgroup_number(group) * {{ THREADS }}u + thread;
    if (i >= params.len) {
        return;
    }
    // A chosen sum: whatever the sums held before the first micro-batch does not matter.
    sums[i] = select(sums[i] + gradients[i], gradients[i], step.micro == 0u);
}
{% else %}
{% include "lib/record.wgsl" %}

struct Params {
    chunks: u32,
    // The rule's constants.
    a: f32,
    b: f32,
    c: f32,
    epsilon: f32,
    // Gradient elements are limited to ± this.
    limit: f32,
    // λ of weight decay: added to the gradient as λ·w, or decoupled from it.
    decay: f32,
    // The squares of numbers of at most this size are 0.
    root: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradients: array<f32>;
@group(0) @binding(2) var<storage, read> control: array<f32>;
@group(0) @binding(3) var<storage, read> lengths: array<u32>;
@group(0) @binding(4) var<storage, read_write> weights: array<f32>;
{% for k in range(states) %}
@group(0) @binding({{ k + 5 }}) var<storage, read_write> state{{ k }}: array<f32>;
{% endfor %}
{% if measure %}
@group(0) @binding({{ states + 5 }}) var<storage, read_write> records: array<f32>;
{% endif %}

{% if states > 0 %}
// The states of an element.
struct States {
{% for k in range(states) %}
    s{{ k }}: f32,
{% endfor %}
}
{% endif %}

// x, 0 where it is tiny.
fn moving(x: f32) -> f32 {
    return select(x, 0.0, abs(x) <= {{ TINY }});
}

// A second moment, 0 below the normal numbers.
fn moment(x: f32) -> f32 {
    return select(x, 0.0, abs(x) <= {{ LEAST }});
}

// x², 0 where that does not count.
fn square(x: f32) -> f32 {
    return select(x * x, 0.0, abs(x) <= params.root);
}

{% if rule == "momentum" or rule == "adagrad" %}
// The number of this update: steps that loss scaling skipped do not count.
fn updates() -> u32 {
    return step.t - u32(control[{{ SKIPPED }}]);
}

{% elif rule == "adam" %}
// 1 − β₁ᵗ and 1 − β₂ᵗ: those of the step, unless loss scaling skipped some.
fn corrections() -> vec2<f32> {
    let own = vec2<f32>(control[{{ CORRECTION1 }}], control[{{ CORRECTION2 }}]);
    return select(own, vec2<f32>(step.bias_correction1, step.bias_correction2), control[{{ SKIPPED }}] == 0.0);
}

{% endif %}
// The change of a weight for its gradient g{{ ", and its states" if states > 0 }}.
fn change(g: f32{{ ", s: ptr<function, States>" if states > 0 }}) -> f32 {
{% if rule == "sgd" %}
    return -(step.lr * g);
{% elif rule == "momentum" %}
    (*s).s0 = moving(select(params.a * (*s).s0 + params.b * g, g, updates() <= 1u));
    return -(step.lr * {{ "(g + params.a * (*s).s0)" if nesterov else "(*s).s0" }});
{% elif rule == "adagrad" %}
    (*s).s0 += square(g);
    let rate = step.lr / (1.0 + f32(max(updates(), 1u) - 1u) * params.a);
    return -(rate * (g / (sqrt((*s).s0) + params.epsilon)));
{% elif rule == "rms_prop" %}
    (*s).s0 = moment(params.a * (*s).s0 + params.b * square(g));
{% if centered %}
    (*s).s1 = moving((*s).s1 + params.b * (g - (*s).s1));
    let spread = (*s).s0 - square((*s).s1);
{% else %}
    let spread = (*s).s0;
{% endif %}
    let scaled = g / (sqrt(spread) + params.epsilon);
{% if velocity %}
    (*s).s{{ states - 1 }} = moving(params.c * (*s).s{{ states - 1 }} + scaled);
    return -(step.lr * (*s).s{{ states - 1 }});
{% else %}
    return -(step.lr * scaled);
{% endif %}
{% elif rule == "adam" %}
    (*s).s0 = moving((*s).s0 + params.a * (g - (*s).s0));
    (*s).s1 = moment(params.b * (*s).s1 + params.c * square(g));
    let bias = corrections();
    let rate = step.lr / bias.x;
    return -(rate * ((*s).s0 / (sqrt((*s).s1) / sqrt(bias.y) + params.epsilon)));
{% endif %}
}

// x limited to ± the limit.
fn limited(x: f32) -> f32 {
    return select(select(x, -params.limit, x < -params.limit), params.limit, x > params.limit);
}

// Weights, gradients and states [chunks, {{ CHUNK }}]: a workgroup to each chunk. An element whose gradient is not finite
// stays as it is, and so does everything once the halt flag is up, and in a step that loss scaling skips.
@compute @workgroup_size({{ RECORD_THREADS }})
fn update(@builtin(workgroup_id) id: vec3<u32>, {{ thread_arguments(subgroups) }}) {
{{ thread_number(subgroups) }}
    let chunk = workgroup_number(id);
    if (chunk >= params.chunks) {
        return;
    }
    let first = chunk * {{ CHUNK }}u;
    let last = first + lengths[chunk];
    let halted = control[{{ HALT }}] != 0.0 || control[{{ SCALING }}] == {{ SKIPPING }};
{% if measure %}
    var own = Record();
    for (var i = first + thread; i < last; i += {{ RECORD_THREADS }}u) {
        own.top = larger(own.top, gradients[i]);
    }
    let scale = scale_of(own.top);
{% endif %}
    for (var i = first + thread; i < last; i += {{ RECORD_THREADS }}u) {
        let raw = gradients[i];
        let w = weights[i];
        // Tiny weights decay no more.
        let decaying = params.decay * moving(w);
        let g = limited(moving(raw)){{ " * control[" ~ CLIP ~ "]" if clip_norm }}{{ " + decaying" if not decoupled }};
{% if states > 0 %}
        var s = States({% for k in range(states) %}state{{ k }}[i], {% endfor %});
{% endif %}
        let moved = change(g{{ ", &s" if states > 0 }}){{ " - step.lr * decaying" if decoupled }};
        let moves = is_finite(raw) && !halted;
        let by = select(0.0, moved, moves);
        if (moves) {
            weights[i] = w + by;
{% for k in range(states) %}
            state{{ k }}[i] = s.s{{ k }};
{% endfor %}
        }
{% if measure %}
        add_gradient(&own, raw, scale);
        own.weight_squares += w * w;
        own.step_squares += (by * {{ STEP_SCALE }}) * (by * {{ STEP_SCALE }});
{% endif %}
    }
{% if measure %}
    let whole = fold_records(own, thread);
    if (thread == 0u) {
{{ write_record("records", "chunk", "whole") }}
    }
{% endif %}
}
{% endif %}

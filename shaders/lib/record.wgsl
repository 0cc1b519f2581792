// Records: what one reduction keeps of many numbers, in sums over numbers scaled by 2⁻ᵉ, e the exponent of the largest
// finite magnitude, so that squares of tiny numbers count. The twin of ops/record.rs.
struct Record {
    top: f32,
    squares: f32,
    magnitudes: f32,
    sum: f32,
    zeros: f32,
    non_finite: f32,
    weight_squares: f32,
    step_squares: f32,
}

// Decided by the exponent bits, since a compiler may assume that NaN does not exist.
fn is_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}

// The exponent of a number, that of the smallest normal one for subnormals; 0 for zero and numbers that are not finite.
fn exponent(x: f32) -> i32 {
    let bits = bitcast<u32>(x) & 0x7fffffffu;
    return select(max(i32(bits >> 23u), 1) - 127, 0, bits == 0u || bits >= 0x7f800000u);
}

// 2ᵉ, e limited to the exponents of normal numbers.
fn power_of_two(e: i32) -> f32 {
    return bitcast<f32>(u32(clamp(e, -126, 127) + 127) << 23u);
}

fn scale_of(top: f32) -> f32 {
    return power_of_two(-exponent(top));
}

// The larger of `top` and |x|, if x is finite.
fn larger(top: f32, x: f32) -> f32 {
    return select(top, abs(x), is_finite(x) && abs(x) > top);
}

// Adds a number x, counted as `value` where it is finite, to a record of this scale; gives what was added, scaled.
fn add_number(record: ptr<function, Record>, x: f32, value: f32, scale: f32) -> f32 {
    let finite = is_finite(x);
    let scaled = select(0.0, value * scale, finite);
    (*record).squares += scaled * scaled;
    (*record).non_finite += select(1.0, 0.0, finite);
    return scaled;
}

// Adds an element of a gradient: its magnitude too, and whether it is 0.
fn add_gradient(record: ptr<function, Record>, g: f32, scale: f32) {
    (*record).magnitudes += abs(add_number(record, g, g, scale));
    (*record).zeros += select(0.0, 1.0, g == 0.0);
}

// The record of two parts together.
fn combined(a: Record, b: Record) -> Record {
    let top = select(a.top, b.top, b.top > a.top);
    // Scales are powers of two: their quotients are exact, or nothing where the smaller side does not count.
    let own = select(power_of_two(exponent(a.top) - exponent(top)), 0.0, a.top == 0.0);
    let other = select(power_of_two(exponent(b.top) - exponent(top)), 0.0, b.top == 0.0);
    return Record(
        top,
        a.squares * own * own + b.squares * other * other,
        a.magnitudes * own + b.magnitudes * other,
        a.sum * own + b.sum * other,
        a.zeros + b.zeros,
        a.non_finite + b.non_finite,
        a.weight_squares + b.weight_squares,
        a.step_squares + b.step_squares,
    );
}

{% from "lib/lanes.wgsl" import declare, memory, fold %}
{{ declare(subgroups) }}
{{ memory(subgroups, "folded", "Record", RECORD_THREADS, RECORD_THREADS) }}

{% if subgroups %}
// The record of the thread of the subgroup whose number differs in these bits.
fn from_thread(record: Record, bits: u32) -> Record {
    return Record(
{% for field in ["top", "squares", "magnitudes", "sum", "zeros", "non_finite", "weight_squares", "step_squares"] %}
        subgroupShuffleXor(record.{{ field }}, bits),
{% endfor %}
    );
}
{% endif %}

// The record of the workgroup, from one of each of its threads; for thread 0 alone.
{{ fold(subgroups, "fold_records", "Record", "folded", RECORD_THREADS, "combined", "from_thread", fold_again is defined) }}

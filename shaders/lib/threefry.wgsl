// Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror, Shaw 2011), the twin of base/rng.rs.
fn threefry2x32(key: vec2<u32>, counter: vec2<u32>) -> vec2<u32> {
    let ks = array<u32, 3>(key.x, key.y, 0x1BD11BDAu ^ key.x ^ key.y);
    var x = counter + key;
{% set rotations = [13, 15, 26, 6, 17, 29, 16, 24] %}
{% for round in range(20) %}
{% set rotation = rotations[round % 8] %}
    x.x += x.y;
    x.y = ((x.y << {{ rotation }}u) | (x.y >> {{ 32 - rotation }}u)) ^ x.x;
{% if round % 4 == 3 %}
{% set s = round // 4 + 1 %}
    x += vec2<u32>(ks[{{ s % 3 }}], ks[{{ (s + 1) % 3 }}] + {{ s }}u);
{% endif %}
{% endfor %}
    return x;
}

// 24 of the 32 random bits as a number in [0, 1), exactly.
fn unit_f32(word: u32) -> f32 {
    return f32(word >> 8u) * (1.0 / 16777216.0);
}

// The largest number of a row of x, for a thread of it. A row of −∞ starts below every finite number.
fn largest(start: u32, width: u32, thread: u32) -> f32 {
    var top = -3.40282347e38;
    for (var c = thread % LANES; c < width; c += LANES) {
        top = select(top, x[start + c], x[start + c] > top);
    }
    return row_max(top, thread);
}

// eˣ for x ≤ 0; 0 where that is below the normal numbers.
fn exp_down(x: f32) -> f32 {
    return select(exp_fine(x), 0.0, x <= {{ LN_LEAST }});
}

// Σ exp(x − top) over a row of x, for a thread of it.
fn exp_sum(start: u32, width: u32, top: f32, thread: u32) -> f32 {
    var sum = 0.0;
    for (var c = thread % LANES; c < width; c += LANES) {
        sum += exp_down(x[start + c] - top);
    }
    return row_sum(sum, thread);
}

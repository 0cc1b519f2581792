//! The comparator. It is tested itself: a corrupted result must not pass.

/// Compares element by element. `tolerance` bounds |found − expected| wherever the expected number is finite;
/// `largest` is the executor's largest number, behind which an infinity is expected.
///
/// # Errors
/// Says which element differs and by how much. A tolerance that zeros would pass is an error as well: it tests nothing.
pub fn compare(found: &[f64], expected: &[f64], tolerance: impl Fn(usize) -> f64, largest: f64) -> Result<(), String> {
    if found.len() != expected.len() {
        return Err(format!("{} elements, expected {}", found.len(), expected.len()));
    }
    let mut zeros_pass = true;
    for (i, (&x, &y)) in found.iter().zip(expected).enumerate() {
        let bound = tolerance(i);
        if (bound.is_nan() || bound < 0.0) && y.is_finite() {
            return Err(format!("element {i}: a tolerance of {bound} is none"));
        }
        let same = match () {
            () if y.is_nan() => x.is_nan(),
            () if y.abs() > largest => x == f64::INFINITY.copysign(y),
            // The difference of equal infinities is NaN, and NaN is within no bound.
            () => (x - y).abs() <= bound,
        };
        if !same {
            return Err(format!("element {i}: {x:e}, expected {y:e} ± {bound:e} (off by {:e})", (x - y).abs()));
        }
        zeros_pass &= y.abs() <= bound;
    }
    let some = expected.iter().any(|&y| y != 0.0);
    if zeros_pass && some { Err("the tolerance lets zeros pass".into()) } else { Ok(()) }
}

/// Bit for bit, where all NaN are one.
pub fn identical(found: &[f64], expected: &[f64]) -> Result<(), String> {
    if found.len() != expected.len() {
        return Err(format!("{} elements, expected {}", found.len(), expected.len()));
    }
    let differ = |(x, y): (&f64, &f64)| x.to_bits() != y.to_bits() && !(x.is_nan() && y.is_nan());
    match found.iter().zip(expected).position(differ) {
        Some(i) => Err(format!("element {i}: {:e}, expected exactly {:e}", found[i], expected[i])),
        None => Ok(()),
    }
}

/// The largest magnitude among the finite numbers; the scale of errors measured by the norm.
pub fn largest(data: &[f64]) -> f64 {
    data.iter().filter(|x| x.is_finite()).fold(0.0, |max, x| max.max(x.abs()))
}

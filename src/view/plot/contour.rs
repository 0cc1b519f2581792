//! Lines of equal height.

/// The lines along which `height` has this level within a rectangle, as pieces: marching squares over a grid of so many
/// cells each way. Where a cell is crossed twice, the height of its middle says how.
pub fn contours(
    height: impl Fn([f64; 2]) -> f64,
    level: f64,
    x: [f64; 2],
    y: [f64; 2],
    cells: usize,
) -> Vec<[[f64; 2]; 2]> {
    let at = |i: usize, j: usize| {
        let share = |k: usize, [low, high]: [f64; 2]| low + (high - low) * k as f64 / cells as f64;
        [share(i, x), share(j, y)]
    };
    let mut pieces = Vec::new();
    for i in 0..cells {
        for j in 0..cells {
            let corners = [at(i, j), at(i + 1, j), at(i + 1, j + 1), at(i, j + 1)];
            let above = corners.map(|corner| height(corner) - level);
            let mut crossings = Vec::new();
            for k in 0..4 {
                let (a, b) = (above[k], above[(k + 1) % 4]);
                if (a < 0.0) != (b < 0.0) {
                    let (p, q, t) = (corners[k], corners[(k + 1) % 4], a / (a - b));
                    crossings.push([p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])]);
                }
            }
            match crossings[..] {
                [a, b] => pieces.push([a, b]),
                [a, b, c, d] => {
                    let middle = [(corners[0][0] + corners[2][0]) / 2.0, (corners[0][1] + corners[2][1]) / 2.0];
                    let same = (height(middle) - level < 0.0) == (above[0] < 0.0);
                    pieces.extend(if same { [[a, b], [c, d]] } else { [[d, a], [b, c]] });
                }
                _ => {}
            }
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contour_of_a_bowl_is_a_circle() {
        let pieces = contours(|[x, y]| x * x + y * y, 1.0, [-2.0, 2.0], [-2.0, 2.0], 100);
        assert!(pieces.iter().flatten().all(|[x, y]| (x.hypot(*y) - 1.0).abs() < 1e-3));
        let length: f64 = pieces.iter().map(|[a, b]| (a[0] - b[0]).hypot(a[1] - b[1])).sum();
        assert!((length / std::f64::consts::TAU - 1.0).abs() < 1e-3, "{length}");
        assert!(contours(|_| 0.0, 1.0, [0.0, 1.0], [0.0, 1.0], 10).is_empty());
    }

    #[test]
    fn a_saddle_is_crossed_without_crossing() {
        let height = |[x, y]: [f64; 2]| x * y;
        for level in [-0.1, 0.1] {
            let pieces = contours(height, level, [-1.0, 1.0], [-1.0, 1.0], 1);
            assert_eq!(pieces.len(), 2);
            for [a, b] in pieces {
                let middle = [(a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0];
                assert!((middle[0] * middle[1] < 0.0) == (level < 0.0), "{level}: {a:?} {b:?}");
            }
        }
    }
}

//! How parameters start, as `torch.nn.init` defines it. All numbers are drawn in f64, so that every precision starts from
//! the same ones.

use crate::base::{Shape, Stream};
use crate::config::Init;

/// Initial values of a tensor, row-major, multiplied by `gain`.
///
/// Glorot & Bengio 2010, He et al. 2015, LeCun et al. 1998, orthogonal after Saxe et al. 2014. The tensor's first axis
/// counts outputs: a matrix is [fan_out, fan_in].
pub fn fill(init: &Init, gain: f64, fan_in: usize, fan_out: usize, shape: Shape, stream: &mut Stream) -> Vec<f64> {
    draw(init, gain, fan_in, fan_out, shape, stream)(shape.len())
}

/// What gives the next so many values of a tensor each time, as [`fill`] gives all.
pub type Draw<'a> = Box<dyn FnMut(usize) -> Vec<f64> + 'a>;

/// The values of [`fill`] piece by piece. Only orthogonal ones are held whole meanwhile.
pub fn draw<'a>(
    init: &Init,
    gain: f64,
    fan_in: usize,
    fan_out: usize,
    shape: Shape,
    stream: &'a mut Stream,
) -> Draw<'a> {
    let (inward, both) = (fan_in.max(1) as f64, (fan_in + fan_out).max(1) as f64);
    match *init {
        Init::GlorotUniform => uniform(gain * (6.0 / both).sqrt(), stream),
        Init::GlorotNormal => normal(gain * (2.0 / both).sqrt(), stream),
        Init::HeUniform => uniform(gain * (6.0 / inward).sqrt(), stream),
        Init::HeNormal => normal(gain * (2.0 / inward).sqrt(), stream),
        Init::LecunUniform => uniform(gain * (3.0 / inward).sqrt(), stream),
        Init::LecunNormal => normal(gain * (1.0 / inward).sqrt(), stream),
        Init::UniformFanIn => uniform(gain * (1.0 / inward).sqrt(), stream),
        Init::Uniform(bound) => uniform(gain * bound, stream),
        Init::Normal(deviation) => normal(gain * deviation, stream),
        Init::Orthogonal => {
            let mut values = orthogonal(shape, gain, stream).into_iter();
            Box::new(move |n| values.by_ref().take(n).collect())
        }
        Init::Zeros => Box::new(|n| vec![0.0; n]),
        Init::Ones => Box::new(move |n| vec![gain; n]),
        Init::Constant(value) => Box::new(move |n| vec![gain * value; n]),
    }
}

fn uniform(bound: f64, stream: &mut Stream) -> Draw<'_> {
    Box::new(move |n| (0..n).map(|_| bound * (2.0 * stream.uniform() - 1.0)).collect())
}

fn normal(deviation: f64, stream: &mut Stream) -> Draw<'_> {
    Box::new(move |n| (0..n).map(|_| deviation * stream.normal()).collect())
}

/// A matrix [rows, columns] whose shorter side is orthonormal: Q of the QR decomposition of a normal matrix, with signs
/// such that R has a positive diagonal, which makes Q uniform over the orthogonal matrices (Mezzadri 2007). Axes behind the
/// first count as columns.
fn orthogonal(shape: Shape, gain: f64, stream: &mut Stream) -> Vec<f64> {
    let rows = shape.dim(0).max(1);
    let columns = shape.len() / rows;
    let (count, len) = (rows.min(columns), rows.max(columns));
    let mut drawn = normal(1.0, stream);
    let mut vectors: Vec<Vec<f64>> = (0..count).map(|_| drawn(len)).collect();
    orthonormalize(&mut vectors);
    let at = |row: usize, column: usize| if rows <= columns { vectors[row][column] } else { vectors[column][row] };
    (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))).map(|(r, c)| gain * at(r, c)).collect()
}

/// Gram and Schmidt's method, each vector projected twice: then it is orthogonal to the earlier ones to rounding error
/// (Giraud et al. 2005). Dividing by a norm is what makes R's diagonal positive.
fn orthonormalize(vectors: &mut [Vec<f64>]) {
    for i in 0..vectors.len() {
        let (done, rest) = vectors.split_at_mut(i);
        let own = &mut rest[0];
        for _ in 0..2 {
            for other in done.iter() {
                let along = dot(own, other);
                own.iter_mut().zip(other).for_each(|(x, &y)| *x -= along * y);
            }
        }
        let norm = dot(own, own).sqrt();
        own.iter_mut().for_each(|x| *x /= norm);
    }
}

/// Σ xᵢyᵢ in eight chains, which the compiler puts into vector registers.
fn dot(x: &[f64], y: &[f64]) -> f64 {
    let ((xs, x_tail), (ys, y_tail)) = (x.as_chunks::<8>(), y.as_chunks::<8>());
    let mut lanes = [0.0; 8];
    for (x, y) in xs.iter().zip(ys) {
        (0..8).for_each(|lane| lanes[lane] += x[lane] * y[lane]);
    }
    lanes.iter().sum::<f64>() + x_tail.iter().zip(y_tail).map(|(x, y)| x * y).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::StreamId;

    const FANS: (usize, usize) = (250, 400);

    fn draw(init: Init, gain: f64) -> Vec<f64> {
        let mut stream = Stream::new(3, StreamId::Init(0));
        fill(&init, gain, FANS.0, FANS.1, Shape::from([FANS.1, FANS.0]), &mut stream)
    }

    fn variance(xs: &[f64]) -> f64 {
        let mean = xs.iter().sum::<f64>() / xs.len() as f64;
        assert!(mean.abs() < 1e-2 * xs.iter().fold(0.0, |max: f64, x| max.max(x.abs())), "mean {mean}");
        xs.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / xs.len() as f64
    }

    #[test]
    fn variances_are_those_of_the_papers_and_gain_multiplies() {
        let (inward, outward) = (FANS.0 as f64, FANS.1 as f64);
        let cases = [
            (Init::GlorotUniform, 2.0 / (inward + outward)),
            (Init::GlorotNormal, 2.0 / (inward + outward)),
            (Init::HeUniform, 2.0 / inward),
            (Init::HeNormal, 2.0 / inward),
            (Init::LecunUniform, 1.0 / inward),
            (Init::LecunNormal, 1.0 / inward),
            (Init::UniformFanIn, 1.0 / (3.0 * inward)),
            (Init::Normal(0.02), 0.0004),
            (Init::Uniform(0.3), 0.03),
        ];
        for (init, expected) in cases {
            for gain in [1.0, 1.5] {
                let ratio = variance(&draw(init, gain)) / (gain * gain * expected);
                assert!((ratio - 1.0).abs() < 0.02, "{init:?}, gain {gain}: {ratio}");
            }
        }
    }

    #[test]
    fn uniform_draws_fill_their_bounds() {
        for (init, bound) in [(Init::UniformFanIn, 1.0 / 250f64.sqrt()), (Init::HeUniform, (6.0f64 / 250.0).sqrt())] {
            let largest = draw(init, 1.0).iter().fold(0.0, |max: f64, x| max.max(x.abs()));
            assert!(largest <= bound && largest > 0.999 * bound, "{init:?}: {largest} of {bound}");
        }
    }

    #[test]
    fn pieces_are_the_whole() {
        let shape = Shape::from([7, 5]);
        for init in [Init::HeUniform, Init::HeNormal, Init::Orthogonal, Init::Ones] {
            let [mut one, mut other] = [0, 0].map(|i| Stream::new(5, StreamId::Init(i)));
            let whole = fill(&init, 1.5, 5, 7, shape, &mut one);
            let mut draw = super::draw(&init, 1.5, 5, 7, shape, &mut other);
            // Odd pieces, since normal numbers come in pairs.
            assert_eq!([9, 1, 25].map(&mut draw).concat(), whole, "{init:?}");
        }
    }

    #[test]
    fn constants_are_constant() {
        assert_eq!(draw(Init::Zeros, 2.0)[7], 0.0);
        assert_eq!(draw(Init::Ones, 2.0)[7], 2.0);
        assert_eq!(draw(Init::Constant(0.5), 3.0)[7], 1.5);
    }

    #[test]
    fn the_shorter_side_is_orthonormal() {
        for (rows, columns) in [(5, 5), (3, 17), (40, 12), (1, 4), (4, 1)] {
            let mut stream = Stream::new(1, StreamId::Init(1));
            let w = fill(&Init::Orthogonal, 2.0, columns, rows, Shape::from([rows, columns]), &mut stream);
            let (count, len) = (rows.min(columns), rows.max(columns));
            let at = |i: usize, k: usize| if rows <= columns { w[i * columns + k] } else { w[k * columns + i] };
            for (i, j) in (0..count).flat_map(|i| (0..count).map(move |j| (i, j))) {
                let product: f64 = (0..len).map(|k| at(i, k) * at(j, k)).sum();
                let expected = if i == j { 4.0 } else { 0.0 };
                assert!((product - expected).abs() < 1e-13, "{rows}×{columns}: ({i}, {j}) gives {product}");
            }
        }
    }

    #[test]
    fn orthogonal_matrices_have_no_preferred_sign() {
        // Without the sign fix, Householder's Q would have a diagonal of one sign.
        let positive = (0..400)
            .filter(|&i| {
                let mut stream = Stream::new(9, StreamId::Init(i));
                fill(&Init::Orthogonal, 1.0, 3, 3, Shape::from([3, 3]), &mut stream)[0] > 0.0
            })
            .count();
        assert!((160..240).contains(&positive), "{positive} of 400");
    }
}

//! The best that a linear model can do, in closed form and in f64.

use super::{Dataset, Targets};
use crate::base::{Error, Result};

/// The least squares optimum of a data set: where gradient descent on a linear model must arrive.
///
/// The loss is the mean over the rows of (w·x + b − t)², so its Hessian is 2/N · X̃ᵀX̃, where X̃ is X with a column of
/// ones if there is a bias. All is computed in f64 from the features and targets as they are stored, rounded to f32, so an
/// executor that reads the same numbers in f64 has exactly this optimum.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimum {
    /// w, one for each feature.
    pub weights: Vec<f64>,
    /// b, if the model has one.
    pub bias: Option<f64>,
    /// The loss there, the smallest possible.
    pub loss: f64,
    /// The eigenvalues of the Hessian, the largest first; one for each feature, and one more with a bias.
    pub spectrum: Vec<f64>,
}

impl Optimum {
    /// The optimum of a linear model, with or without bias, on this data. Householder QR and one-sided Jacobi rotations:
    /// no product XᵀX is formed, so the condition number enters once, not squared. It takes O(rows · features²) time.
    ///
    /// # Errors
    /// Targets that are not one value a row; fewer rows than unknowns, or features that depend on each other linearly.
    pub fn of(data: &Dataset, bias: bool) -> Result<Self> {
        let Targets::Values { values: targets, width: 1 } = data.targets() else {
            return Err(Error::input(data.name(), "a least squares optimum needs one target value a row"));
        };
        let rows = data.len();
        let mut columns: Vec<Vec<f64>> =
            (0..data.features()).map(|j| data.x().column(j).iter().map(|&v| f64::from(v)).collect()).collect();
        if bias {
            columns.push(vec![1.0; rows]);
        }
        let unknowns = columns.len();
        let not_unique = || {
            Error::input(
                data.name(),
                format!("{rows} rows do not determine {unknowns} unknowns: the optimum is not unique"),
            )
            .help("use more rows than features, and features that do not depend on each other")
        };
        if rows < unknowns {
            return Err(not_unique());
        }
        let mut rotated: Vec<f64> = targets.iter().map(|&t| f64::from(t)).collect();
        let diagonal = triangularize(&mut columns, &mut rotated);
        let singular = singular_values(&columns, &diagonal);
        if singular[unknowns - 1] <= singular[0] * f64::EPSILON * rows as f64 {
            return Err(not_unique());
        }
        let mut weights = rotated[..unknowns].to_vec();
        for j in (0..unknowns).rev() {
            weights[j] /= diagonal[j];
            for i in 0..j {
                weights[i] -= columns[j][i] * weights[j];
            }
        }
        let bias = if bias { weights.pop() } else { None };
        let residual = |(row, &target): (usize, &f32)| {
            let products = data.row(row).iter().zip(&weights).map(|(&x, w)| f64::from(x) * w);
            (products.sum::<f64>() + bias.unwrap_or(0.0) - f64::from(target)).powi(2)
        };
        let loss = targets.iter().enumerate().map(residual).sum::<f64>() / rows as f64;
        let spectrum = singular.iter().map(|sigma| 2.0 * sigma * sigma / rows as f64).collect();
        Ok(Self { weights, bias, loss, spectrum })
    }

    /// The largest curvature. Gradient descent diverges at rates above 2 / λ_max.
    pub fn lambda_max(&self) -> f64 {
        self.spectrum[0]
    }

    /// The smallest curvature.
    pub fn lambda_min(&self) -> f64 {
        self.spectrum[self.spectrum.len() - 1]
    }

    /// λ_max / λ_min.
    pub fn condition(&self) -> f64 {
        self.lambda_max() / self.lambda_min()
    }

    /// The optimum of the loss times `factor`: the same place, another loss and curvature. Half the mean squared error is
    /// `scaled(0.5)`.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        self.loss *= factor;
        self.spectrum.iter_mut().for_each(|lambda| *lambda *= factor);
        self
    }
}

/// Householder QR in place: above the diagonal, `columns` become those of R, whose diagonal is returned; `y` becomes Qᵀy.
fn triangularize(columns: &mut [Vec<f64>], y: &mut [f64]) -> Vec<f64> {
    let mut diagonal = Vec::with_capacity(columns.len());
    for j in 0..columns.len() {
        let (left, right) = columns.split_at_mut(j + 1);
        let v = &mut left[j][j..];
        let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        // The sign that adds up, so that nothing cancels.
        let alpha = if v[0] > 0.0 { -norm } else { norm };
        diagonal.push(alpha);
        v[0] -= alpha;
        let squares = v.iter().map(|x| x * x).sum::<f64>();
        if squares == 0.0 {
            continue;
        }
        for column in right.iter_mut().map(|column| &mut column[j..]).chain([&mut y[j..]]) {
            let dot: f64 = v.iter().zip(&*column).map(|(a, b)| a * b).sum();
            let scale = 2.0 * dot / squares;
            column.iter_mut().zip(&*v).for_each(|(x, v)| *x -= scale * v);
        }
    }
    diagonal
}

/// The singular values of R, the largest first, by rotating its columns until they are orthogonal (Hestenes 1958): small
/// ones come out as exact, relatively, as large ones.
fn singular_values(columns: &[Vec<f64>], diagonal: &[f64]) -> Vec<f64> {
    let n = diagonal.len();
    let mut r: Vec<Vec<f64>> = (0..n)
        .map(|j| {
            let mut column = vec![0.0; n];
            column[..j].copy_from_slice(&columns[j][..j]);
            column[j] = diagonal[j];
            column
        })
        .collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    // Convergence is quadratic; ten sweeps are many, and sixty bound the loop.
    for _ in 0..60 {
        let mut rotated = false;
        for p in 0..n {
            for q in p + 1..n {
                let (left, right) = r.split_at_mut(q);
                let (a, b) = (&mut left[p], &mut right[0]);
                let (aa, bb, ab) = (dot(a, a), dot(b, b), dot(a, b));
                if ab.abs() <= f64::EPSILON * (aa * bb).sqrt() {
                    continue;
                }
                rotated = true;
                let zeta = (bb - aa) / (2.0 * ab);
                let t = zeta.signum() / (zeta.abs() + zeta.hypot(1.0));
                let c = t.hypot(1.0).recip();
                let s = c * t;
                a.iter_mut().zip(b.iter_mut()).for_each(|(a, b)| (*a, *b) = (c * *a - s * *b, s * *a + c * *b));
            }
        }
        if !rotated {
            break;
        }
    }
    let mut singular: Vec<f64> = r.iter().map(|column| dot(column, column).sqrt()).collect();
    singular.sort_by(|a, b| b.total_cmp(a));
    singular
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    /// Golden values: numpy.linalg.lstsq and eigvalsh of 2/N·X̃ᵀX̃ on these numbers.
    #[test]
    fn the_optimum_is_that_of_numpy() {
        let x = array![[1.0, 2.0], [2.0, -1.0], [0.5, 0.25], [-3.0, 1.5], [4.0, 0.0]];
        let targets = Targets::Values { values: vec![1.0, 3.0, -2.0, 0.5, 2.0], width: 1 };
        let data = Dataset::new("d", x, targets).unwrap();
        let close = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-13);
        let with = Optimum::of(&data, true).unwrap();
        assert!(
            close(&with.weights, &GOLDEN_WITH.0) && close(&[with.bias.unwrap(), with.loss], &GOLDEN_WITH.1),
            "{with:?}"
        );
        assert!(close(&with.spectrum, &GOLDEN_WITH.2), "{with:?}");
        let without = Optimum::of(&data, false).unwrap();
        assert!(close(&without.weights, &GOLDEN_WITHOUT.0) && close(&[without.loss], &GOLDEN_WITHOUT.1), "{without:?}");
        assert!(close(&without.spectrum, &GOLDEN_WITHOUT.2), "{without:?}");
        let half = without.clone().scaled(0.5);
        assert_eq!((half.loss, half.lambda_max()), (without.loss / 2.0, without.lambda_max() / 2.0));
        assert_eq!(without.condition(), without.lambda_max() / without.lambda_min());
    }

    const GOLDEN_WITH: ([f64; 2], [f64; 2], [f64; 3]) = (
        [0.2562775199333568, -0.2533618945614662],
        [0.8086992740687848, 2.2434725693204816],
        [12.65833899055137, 3.636467596427558, 0.7301934130210739],
    );
    const GOLDEN_WITHOUT: ([f64; 2], [f64; 1], [f64; 2]) =
        ([0.4361274358181254, 0.15836684194246833], [2.583436436746056], [12.422454811401018, 2.6025451885989828]);

    #[test]
    fn an_optimum_that_is_not_unique_is_refused() {
        let data = |x: Array2<f32>| {
            let values = (0..x.nrows()).map(|v| v as f32).collect();
            Dataset::new("d", x, Targets::Values { values, width: 1 }).unwrap()
        };
        assert!(Optimum::of(&data(array![[1.0, 2.0]]), false).is_err());
        let dependent = data(Array2::from_shape_fn((6, 2), |(i, j)| (i + 1) as f32 * [1.0, 3.0][j]));
        assert!(Optimum::of(&dependent, false).unwrap_err().to_string().contains("6 rows do not determine 2 unknowns"));
        let constant = data(Array2::from_shape_fn((6, 2), |(i, j)| [i as f32, 2.0][j]));
        assert!(Optimum::of(&constant, true).is_err() && Optimum::of(&constant, false).is_ok());
    }
}

//! How noisy the gradient of some rows is, layer by layer and as a whole.
//!
//! Of B rows of the N that the part has, with the rows' own gradients gᵢ, their mean ḡ and their variances σ_j² (divisor
//! B − 1):
//!
//! | quantity | formula | source |
//! |---|---|---|
//! | `sample_trace` | S = (Σ‖gᵢ‖² − B‖ḡ‖²)/(B − 1) | McCandlish et al. 2018 |
//! | `trace` | tr Σ = S(N − 1)/N, the trace of the covariance over the part | |
//! | `signal` | ‖G‖² = ‖ḡ‖² − S(1/B − 1/N), for rows drawn without replacement | |
//! | `noise_scale` | 𝓑 = tr Σ/‖G‖², in examples | McCandlish et al. 2018 |
//! | `norm_test` | θ² = S/(B‖ḡ‖²) | Byrd et al. 2012 |
//! | `inner_product_test` | θ² = Var(gᵢᵀḡ)/(B‖ḡ‖⁴) | Bollapragada et al. 2017, 2.6 |
//! | `orthogonality_test` | ν² = (Σ‖gᵢ‖² − Σ(gᵢᵀḡ)²/‖ḡ‖²)/((B − 1)B‖ḡ‖²) | the same, 3.3 |
//! | `early_stopping` | 1 − B·mean_j(ḡ_j²/(σ_j² + ε)): above 0, the gradient is no larger than its noise | Mahsereci et al. 2017 |
//!
//! Squared gradients have the unit of the squared loss over squared weights; the tests are free of units. The ε of early
//! stopping is relative to the mean σ² of its layer; an absolute one would call every small gradient noise. The tests of
//! optimization papers take the data for endless, so they have no correction for N.

use super::super::tensors::HostTensor;
use super::{Inspector, Moments};
use crate::base::{Error, Result};

/// The ε of early stopping, relative to the mean σ² of a layer: it decides only where a variance is 10⁵ times smaller than
/// what is usual in its layer, as of weights that nothing but rounding reaches.
pub const EARLY_STOPPING_EPSILON: f64 = 1e-5;

/// The noise of the gradient of some rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Noise {
    /// How many rows there were, B.
    pub rows: usize,
    /// How many rows they stand for, N: those of the part.
    pub population: usize,
    /// The layers with parameters, first layer first.
    pub layers: Vec<LayerNoise>,
    /// All parameters together.
    pub whole: NoiseFigures,
}

/// The noise of a layer's gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerNoise {
    /// The layer's name: `0`.
    pub name: String,
    /// Its kind: `linear`.
    pub kind: String,
    /// What was found.
    pub figures: NoiseFigures,
}

/// What is said of a set of parameters, as the module's table has it. A ratio whose divisor is 0 is `None`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoiseFigures {
    /// ‖ḡ‖².
    pub grad_norm_squared: f64,
    /// S.
    pub sample_trace: f64,
    /// tr Σ.
    pub trace: f64,
    /// ‖G‖². Not positive where the rows are too few to tell the gradient from its noise.
    pub signal: f64,
    /// 𝓑; `None` where the signal is not positive.
    pub noise_scale: Option<f64>,
    /// The norm test's θ². Pure noise gives 1.
    pub norm_test: Option<f64>,
    /// The inner-product test's θ².
    pub inner_product_test: Option<f64>,
    /// The orthogonality test's ν².
    pub orthogonality_test: Option<f64>,
    /// The evidence for stopping; `None` where no gradient varies.
    pub early_stopping: Option<f64>,
}

/// The inner products gᵢᵀḡ so far: how many, their mean, the squared distances from it, their squares.
#[derive(Clone, Copy, Default)]
struct Products {
    count: f64,
    mean: f64,
    distances: f64,
    squares: f64,
}

impl Products {
    fn add(&mut self, product: f64) {
        self.count += 1.0;
        let distance = product - self.mean;
        self.mean += distance / self.count;
        self.distances += distance * (product - self.mean);
        self.squares += product * product;
    }
}

/// Sums over the parameters of a layer, or of all layers.
#[derive(Clone, Copy, Default)]
struct Sums {
    /// Σσ_j².
    variance: f64,
    /// Σḡ_j².
    mean_squared: f64,
    /// Σḡ_j²/(σ_j² + ε), and how many terms it has.
    evidence: f64,
    terms: f64,
}

impl Sums {
    fn of<'a>(tensors: impl Iterator<Item = (&'a HostTensor, &'a HostTensor)> + Clone) -> Self {
        let pairs = tensors.flat_map(|(mean, variance)| mean.values.iter().zip(&variance.values));
        let (mut sums, mut count) = (Self::default(), 0.0);
        for (mean, variance) in pairs.clone() {
            sums.variance += variance;
            sums.mean_squared += mean * mean;
            count += 1.0;
        }
        if sums.variance > 0.0 {
            let epsilon = EARLY_STOPPING_EPSILON * sums.variance / count;
            sums.evidence = pairs.map(|(mean, variance)| mean * mean / (variance + epsilon)).sum();
            sums.terms = count;
        }
        sums
    }

    fn and(self, other: Self) -> Self {
        Self {
            variance: self.variance + other.variance,
            mean_squared: self.mean_squared + other.mean_squared,
            evidence: self.evidence + other.evidence,
            terms: self.terms + other.terms,
        }
    }

    fn figures(&self, products: &Products, population: usize) -> NoiseFigures {
        let (b, n) = (products.count, population as f64);
        let (s, square) = (self.variance, self.mean_squared);
        let trace = s * (n - 1.0) / n;
        let signal = square - s * (1.0 / b - 1.0 / n);
        let over = |x: f64, divisor: f64| (divisor > 0.0).then(|| x / divisor);
        // Σ‖gᵢ‖² = (B − 1)S + B‖ḡ‖²
        let all = (b - 1.0) * s + b * square;
        let along = over(products.squares, square);
        NoiseFigures {
            grad_norm_squared: square,
            sample_trace: s,
            trace,
            signal,
            noise_scale: over(trace, signal),
            norm_test: over(s, b * square),
            inner_product_test: over(products.distances / (b - 1.0), b * square * square),
            orthogonality_test: along.and_then(|along| over(all - along, (b - 1.0) * b * square)),
            early_stopping: over(self.evidence, self.terms).map(|mean| 1.0 - b * mean),
        }
    }
}

/// The noise of the gradient of the rows that `moments` are of: one more pass over them, for the products gᵢᵀḡ.
///
/// # Errors
/// If the moments are not of this model's parameters, or the device fails.
pub fn noise(inspector: &mut Inspector, moments: &Moments) -> Result<Noise> {
    let shapes = |tensors: &[HostTensor]| tensors.iter().map(|t| (t.name.clone(), t.shape)).collect::<Vec<_>>();
    if shapes(&moments.mean) != shapes(inspector.params()) {
        return Err(Error::input("noise", "the moments are not those of the model's parameters"));
    }
    let layers: Vec<_> =
        inspector.layers().map(|layer| (layer.name.clone(), layer.kind.to_owned(), layer.params.clone())).collect();
    let mut products = vec![Products::default(); layers.len()];
    let mut whole = Products::default();
    inspector.each(moments.rows.clone(), |_, gradients| {
        let mut sum = 0.0;
        for ((.., tensors), products) in layers.iter().zip(&mut products) {
            let product = tensors.iter().map(|&i| dot(&gradients[i].values, &moments.mean[i].values)).sum();
            products.add(product);
            sum += product;
        }
        whole.add(sum);
        Ok(())
    })?;
    let population = inspector.data().len();
    let mut total = Sums::default();
    let layers = layers.into_iter().zip(&products).map(|((name, kind, tensors), products)| {
        let sums = Sums::of(tensors.iter().map(|&i| (&moments.mean[i], &moments.variance[i])));
        total = total.and(sums);
        LayerNoise { name, kind, figures: sums.figures(products, population) }
    });
    let layers = layers.collect();
    Ok(Noise { rows: moments.rows.len(), population, layers, whole: total.figures(&whole, population) })
}

/// Σ aᵢbᵢ.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

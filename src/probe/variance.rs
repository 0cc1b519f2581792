//! What the variance of single partial derivatives says: tests of the batch size, signal-to-noise ratios, early stopping.

use super::noise::Noise;
use super::values::ABSENT;

/// A batch, and its gradient in all layers whose noise is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch {
    pub loss: f64,
    pub lr: f64,
    /// B.
    pub rows: f64,
    /// W = Σ wᵢ.
    pub weight: f64,
    /// ‖g‖² = ‖Wḡ‖².
    pub gradient: f64,
    /// Σ‖wᵢ∇ℓᵢ‖².
    pub examples: f64,
    /// Σ(wᵢ∇ℓᵢᵀg)²; none where that is not known.
    pub projections: Option<f64>,
    /// S and |G|².
    pub noise: Noise,
}

impl Batch {
    /// Norm test, inner-product test, orthogonality test, CABS.
    pub fn tests(&self) -> [f64; 4] {
        let Self { rows, gradient, examples, projections, noise, .. } = *self;
        let norm = noise.trace * self.weight * self.weight / (rows * gradient);
        // With uᵢ = B·wᵢ∇ℓᵢ/W all powers of W fall out, and Σ uᵢᵀḡ is B‖ḡ‖².
        let inner = |squares: f64| (rows * squares / (gradient * gradient) - 1.0) / (rows - 1.0);
        let across = |squares: f64| rows * (examples - squares / gradient) / ((rows - 1.0) * gradient);
        let projected = |test: &dyn Fn(f64) -> f64| projections.map_or(ABSENT, test);
        [norm, projected(&inner), projected(&across), self.lr * noise.trace / self.loss]
    }
}

/// Sums over the partial derivatives of some tensors.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    /// How many there are.
    pub len: f64,
    /// How many of them have no variance.
    pub without: f64,
    /// Σ ḡⱼ²/σⱼ² over the others.
    pub ratios: f64,
    /// Σ ḡⱼ²/(σⱼ² + ε).
    pub damped: f64,
}

impl Sums {
    /// Adds those of other tensors.
    pub fn add(&mut self, other: Self) {
        self.len += other.len;
        self.without += other.without;
        self.ratios += other.ratios;
        self.damped += other.damped;
    }

    /// mean(ḡⱼ²/σⱼ²) − 1/B; absent where nothing has a variance.
    pub fn snr(&self, rows: f64) -> f64 {
        let with = self.len - self.without;
        if with > 0.0 { self.ratios / with - 1.0 / rows } else { ABSENT }
    }

    /// 1 − B·mean(ḡⱼ²/(σⱼ² + ε)).
    pub fn stopping(&self, rows: f64) -> f64 {
        1.0 - rows * self.damped / self.len
    }
}

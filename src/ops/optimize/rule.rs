//! What an update does to one element: the optimizers' formulas, as `torch.optim` computes them; but numbers that are tiny are 0
//! ([`Real::TINY`]): gradients before they come here, means and velocities at once, squares and second moments below
//! [`Real::LEAST`]. So a state whose gradient stays 0 comes to be 0, and no step calculates with numbers below the normal ones.

use crate::base::{Real, Wide};
use crate::graph::StepScalars;
use pulp::Simd;

/// An elementwise optimizer.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// w ← w − η·g.
    Sgd,
    /// b ← μ·b + (1 − d)·g (b = g at the first update), w ← w − η·b; Nesterov: w ← w − η·(g + μ·b) (Sutskever et al. 2013).
    Momentum {
        /// μ.
        momentum: f64,
        /// d.
        dampening: f64,
        /// Whether the gradient looks ahead.
        nesterov: bool,
    },
    /// s ← s + g², w ← w − η/(1 + (t−1)·decay)·g/(√s + ε) (Duchi et al. 2011).
    Adagrad {
        /// Decay of the rate.
        lr_decay: f64,
        /// ε.
        epsilon: f64,
    },
    /// s ← α·s + (1 − α)·g², w ← w − η·g/(√s + ε) (Tieleman & Hinton 2012); centred: √(s − a²) with the running mean a;
    /// with momentum: b ← μ·b + g/(…), w ← w − η·b.
    RmsProp {
        /// α.
        alpha: f64,
        /// ε.
        epsilon: f64,
        /// μ; 0 keeps no velocity.
        momentum: f64,
        /// Whether the variance is centred.
        centered: bool,
    },
    /// m ← β₁·m + (1 − β₁)·g, v ← β₂·v + (1 − β₂)·g², w ← w − η·(m/(1 − β₁ᵗ))/(√(v/(1 − β₂ᵗ)) + ε) (Kingma & Ba 2015).
    Adam {
        /// β₁ and β₂.
        betas: [f64; 2],
        /// ε.
        epsilon: f64,
        /// Whether weight decay is decoupled: w ← w·(1 − η·λ) first (AdamW, Loshchilov & Hutter 2019).
        decoupled: bool,
    },
}

impl Rule {
    /// How many states it keeps for each parameter.
    pub fn states(&self) -> usize {
        match self {
            Self::Sgd => 0,
            Self::Momentum { .. } | Self::Adagrad { .. } => 1,
            Self::RmsProp { momentum, centered, .. } => 1 + usize::from(*centered) + usize::from(*momentum != 0.0),
            Self::Adam { .. } => 2,
        }
    }

    /// The names of the states, as `torch.optim` has them.
    pub fn state_names(&self) -> Vec<&'static str> {
        match self {
            Self::Sgd => vec![],
            Self::Momentum { .. } => vec!["momentum_buffer"],
            Self::Adagrad { .. } => vec!["sum"],
            Self::RmsProp { momentum, centered, .. } => {
                let mut names = vec!["square_avg"];
                names.extend(centered.then_some("grad_avg"));
                names.extend((*momentum != 0.0).then_some("momentum_buffer"));
                names
            }
            Self::Adam { .. } => vec!["exp_avg", "exp_avg_sq"],
        }
    }

    /// 1 − β₁ᵗ and 1 − β₂ᵗ; 1 where there is no bias to correct.
    pub fn bias_corrections(&self, t: u32) -> [f64; 2] {
        match self {
            Self::Adam { betas, .. } => betas.map(|beta| 1.0 - beta.powf(f64::from(t))),
            _ => [1.0; 2],
        }
    }

    /// What a square is multiplied by where it is added to a second moment.
    fn square_share(&self) -> f64 {
        match self {
            Self::Sgd | Self::Momentum { .. } | Self::Adagrad { .. } => 1.0,
            Self::RmsProp { alpha, .. } => 1.0 - alpha,
            Self::Adam { betas, .. } => 1.0 - betas[1],
        }
    }

    /// The magnitude up to which what a number adds to a second moment is below the normal numbers of `R`: 0 is added.
    pub(super) fn root_of_least<R: Real>(&self) -> f64 {
        (R::LEAST.f64() / self.square_share()).sqrt()
    }

    /// The numbers of this step in precision `R`: whatever is the same for all elements is computed once, in f64.
    pub(super) fn at<R: Real>(&self, step: &StepScalars) -> At<R> {
        let root = R::of(self.root_of_least::<R>());
        let mut at = At { lr: R::of(step.lr), tiny: R::TINY, least: R::LEAST, root, ..At::default() };
        match self {
            Self::Sgd => {}
            Self::Momentum { momentum, dampening, .. } => {
                let first = step.t <= 1;
                at.a = R::of(*momentum);
                at.b = R::of(if first { 1.0 } else { 1.0 - dampening });
                at.c = R::of(if first { 0.0 } else { *momentum });
            }
            Self::Adagrad { lr_decay, epsilon } => {
                at.lr = R::of(step.lr / (1.0 + f64::from(step.t.saturating_sub(1)) * lr_decay));
                at.epsilon = R::of(*epsilon);
            }
            Self::RmsProp { alpha, epsilon, momentum, .. } => {
                at.a = R::of(*alpha);
                at.b = R::of(1.0 - alpha);
                at.c = R::of(*momentum);
                at.epsilon = R::of(*epsilon);
            }
            Self::Adam { betas, epsilon, .. } => {
                at.a = R::of(1.0 - betas[0]);
                at.b = R::of(betas[1]);
                at.c = R::of(1.0 - betas[1]);
                at.lr = R::of(step.lr / step.bias_correction1);
                at.d = R::of(step.bias_correction2.sqrt());
                at.epsilon = R::of(*epsilon);
            }
        }
        at
    }
}

/// The constants of one update; see [`Rule::at`] for what each rule puts where.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct At<R> {
    pub(super) lr: R,
    pub(super) a: R,
    pub(super) b: R,
    pub(super) c: R,
    pub(super) d: R,
    pub(super) epsilon: R,
    /// Means and velocities of at most this size are 0.
    pub(super) tiny: R,
    /// Second moments of at most this size are 0.
    pub(super) least: R,
    /// The squares of numbers of at most this size are 0.
    pub(super) root: R,
}

impl<R: Real> At<R> {
    /// Each constant in every lane of a vector.
    #[inline(always)]
    pub(super) fn wide<S: Simd>(&self, simd: S) -> At<Wide<S, R>> {
        let wide = |x| Wide::splat(simd, x);
        At {
            lr: wide(self.lr),
            a: wide(self.a),
            b: wide(self.b),
            c: wide(self.c),
            d: wide(self.d),
            epsilon: wide(self.epsilon),
            tiny: wide(self.tiny),
            least: wide(self.least),
            root: wide(self.root),
        }
    }
}

impl<S: Simd, R: Real> At<Wide<S, R>> {
    /// x², 0 where that does not count.
    #[inline(always)]
    fn square(&self, x: Wide<S, R>) -> Wide<S, R> {
        let x = x.zero_below(self.root);
        x * x
    }
}

/// The change Δw of a vector of elements, and their states, which are updated. Their gradients g are 0 or not tiny.
pub(super) trait Element {
    /// How many states it keeps.
    const STATES: usize;
    fn step<S: Simd, R: Real>(at: &At<Wide<S, R>>, g: Wide<S, R>, states: &mut [Wide<S, R>; 3]) -> Wide<S, R>;
}

pub(super) struct Sgd;
pub(super) struct Momentum<const NESTEROV: bool>;
pub(super) struct Adagrad;
pub(super) struct RmsProp<const CENTERED: bool, const MOMENTUM: bool>;
pub(super) struct Adam;

impl Element for Sgd {
    const STATES: usize = 0;

    #[inline(always)]
    fn step<S: Simd, R: Real>(at: &At<Wide<S, R>>, g: Wide<S, R>, _: &mut [Wide<S, R>; 3]) -> Wide<S, R> {
        -(at.lr * g)
    }
}

impl<const NESTEROV: bool> Element for Momentum<NESTEROV> {
    const STATES: usize = 1;

    #[inline(always)]
    fn step<S: Simd, R: Real>(at: &At<Wide<S, R>>, g: Wide<S, R>, states: &mut [Wide<S, R>; 3]) -> Wide<S, R> {
        states[0] = (at.c * states[0] + at.b * g).zero_below(at.tiny);
        -(at.lr * if NESTEROV { g + at.a * states[0] } else { states[0] })
    }
}

impl Element for Adagrad {
    const STATES: usize = 1;

    #[inline(always)]
    fn step<S: Simd, R: Real>(at: &At<Wide<S, R>>, g: Wide<S, R>, states: &mut [Wide<S, R>; 3]) -> Wide<S, R> {
        states[0] = states[0] + at.square(g);
        -(at.lr * (g / (states[0].sqrt() + at.epsilon)))
    }
}

impl<const CENTERED: bool, const MOMENTUM: bool> Element for RmsProp<CENTERED, MOMENTUM> {
    const STATES: usize = 1 + CENTERED as usize + MOMENTUM as usize;

    #[inline(always)]
    fn step<S: Simd, R: Real>(at: &At<Wide<S, R>>, g: Wide<S, R>, states: &mut [Wide<S, R>; 3]) -> Wide<S, R> {
        states[0] = (at.a * states[0] + at.b * at.square(g)).zero_below(at.least);
        let spread = if CENTERED {
            states[1] = (states[1] + at.b * (g - states[1])).zero_below(at.tiny);
            states[0] - at.square(states[1])
        } else {
            states[0]
        };
        let step = g / (spread.sqrt() + at.epsilon);
        if MOMENTUM {
            let velocity = if CENTERED { 2 } else { 1 };
            states[velocity] = (at.c * states[velocity] + step).zero_below(at.tiny);
            -(at.lr * states[velocity])
        } else {
            -(at.lr * step)
        }
    }
}

impl Element for Adam {
    const STATES: usize = 2;

    #[inline(always)]
    fn step<S: Simd, R: Real>(at: &At<Wide<S, R>>, g: Wide<S, R>, states: &mut [Wide<S, R>; 3]) -> Wide<S, R> {
        states[0] = (states[0] + at.a * (g - states[0])).zero_below(at.tiny);
        states[1] = (at.b * states[1] + at.c * at.square(g)).zero_below(at.least);
        -(at.lr * (states[0] / (states[1].sqrt() / at.d + at.epsilon)))
    }
}

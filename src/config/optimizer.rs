//! The optimizers: keys of `[train]` that depend on `optimizer`.

use super::group::{default, kinds};
use super::setting::Range;

kinds! {
    /// The rule by which a gradient becomes a step. Defaults are those of PyTorch.
    pub enum Optimizer by "optimizer", default Some("adam") => {
        /// Stochastic gradient descent.
        Sgd = "sgd" {
            /// The learning rate.
            lr: f64 = default(0.01).within(Range::NON_NEGATIVE);
            /// What multiple of the parameters is added to the gradient.
            weight_decay: f64 = default(0.0).within(Range::NON_NEGATIVE);
        },
        /// Gradient descent with heavy-ball momentum.
        Momentum = "momentum" {
            /// The learning rate.
            lr: f64 = default(0.01).within(Range::NON_NEGATIVE);
            /// How much of the last velocity is kept.
            momentum: f64 = default(0.9).within(Range::BELOW_1);
            /// The fraction of the gradient that does not enter the velocity.
            dampening: f64 = default(0.0).within(Range::UNIT);
            /// What multiple of the parameters is added to the gradient.
            weight_decay: f64 = default(0.0).within(Range::NON_NEGATIVE);
        },
        /// Gradient descent with Nesterov's momentum.
        Nesterov = "nesterov" {
            /// The learning rate.
            lr: f64 = default(0.01).within(Range::NON_NEGATIVE);
            /// How much of the last velocity is kept.
            momentum: f64 = default(0.9).within(Range::BELOW_1);
            /// What multiple of the parameters is added to the gradient.
            weight_decay: f64 = default(0.0).within(Range::NON_NEGATIVE);
        },
        /// Steps divided by the root of the sum of all squared gradients.
        Adagrad = "adagrad" {
            /// The learning rate.
            lr: f64 = default(0.01).within(Range::NON_NEGATIVE);
            /// The learning rate is divided by 1 + t·`lr_decay`, t the steps before this one.
            lr_decay: f64 = default(0.0).within(Range::NON_NEGATIVE);
            /// Where the sum of squares starts.
            initial_accumulator_value: f64 = default(0.0).within(Range::NON_NEGATIVE);
            /// What is added to the divisor.
            eps: f64 = default(1e-10).within(Range::NON_NEGATIVE);
            /// What multiple of the parameters is added to the gradient.
            weight_decay: f64 = default(0.0).within(Range::NON_NEGATIVE);
        },
        /// Steps divided by the root of a running mean of squared gradients.
        Rmsprop = "rmsprop" {
            /// The learning rate.
            lr: f64 = default(0.01).within(Range::NON_NEGATIVE);
            /// How much of the running mean is kept.
            alpha: f64 = default(0.99).within(Range::BELOW_1);
            /// How much of the last velocity is kept; 0 keeps none.
            momentum: f64 = default(0.0).within(Range::BELOW_1);
            /// Whether the square of the mean gradient is subtracted from the mean square.
            centered: bool = default(false);
            /// What is added to the divisor.
            eps: f64 = default(1e-8).within(Range::NON_NEGATIVE);
            /// What multiple of the parameters is added to the gradient.
            weight_decay: f64 = default(0.0).within(Range::NON_NEGATIVE);
        },
        /// Running means of the gradient and of its square, both corrected for their start.
        Adam = "adam" {
            /// The learning rate.
            lr: f64 = default(0.001).within(Range::NON_NEGATIVE);
            /// How much of each running mean is kept.
            betas: [f64; 2] = default([0.9, 0.999]).within(Range::BELOW_1);
            /// What is added to the divisor.
            eps: f64 = default(1e-8).within(Range::NON_NEGATIVE);
            /// What multiple of the parameters is added to the gradient.
            weight_decay: f64 = default(0.0).within(Range::NON_NEGATIVE);
        },
        /// Adam, with a decay of the parameters that does not pass through the running means.
        Adamw = "adamw" {
            /// The learning rate.
            lr: f64 = default(0.001).within(Range::NON_NEGATIVE);
            /// How much of each running mean is kept.
            betas: [f64; 2] = default([0.9, 0.999]).within(Range::BELOW_1);
            /// What is added to the divisor.
            eps: f64 = default(1e-8).within(Range::NON_NEGATIVE);
            /// In each step the parameters are first multiplied by 1 − `lr`·`weight_decay`.
            weight_decay: f64 = default(0.01).within(Range::NON_NEGATIVE);
        },
    }
}

impl Optimizer {
    /// The learning rate, before any schedule.
    pub fn lr(&self) -> f64 {
        match self {
            Self::Sgd { lr, .. }
            | Self::Momentum { lr, .. }
            | Self::Nesterov { lr, .. }
            | Self::Adagrad { lr, .. }
            | Self::Rmsprop { lr, .. }
            | Self::Adam { lr, .. }
            | Self::Adamw { lr, .. } => *lr,
        }
    }

    /// The decay of the parameters: coupled to the gradient, but for AdamW.
    pub fn weight_decay(&self) -> f64 {
        match self {
            Self::Sgd { weight_decay, .. }
            | Self::Momentum { weight_decay, .. }
            | Self::Nesterov { weight_decay, .. }
            | Self::Adagrad { weight_decay, .. }
            | Self::Rmsprop { weight_decay, .. }
            | Self::Adam { weight_decay, .. }
            | Self::Adamw { weight_decay, .. } => *weight_decay,
        }
    }
}

//! How good outputs are, told from outputs and targets on the host, batch by batch. The loss comes from the model itself.

mod classes;
mod regression;

pub use classes::{ClassScore, Classification, ClassificationScore};
pub use regression::{OutputScore, Regression, RegressionScore};

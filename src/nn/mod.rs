//! Models: initializers, layers, losses, and the graph that they make. Nothing here sees a device.
//!
//! A [`Model`] is a list of layers. [`Model::describe`] works out every shape and every parameter, and
//! [`Description::build`] writes the layers into a graph.

mod build;
mod describe;
pub mod init;
mod loss;
mod model;
mod wells;

pub use build::{Built, Mode, Tap};
pub use describe::{ByExample, Description, LayerInfo, Param};
pub use loss::{LossSpec, TargetSpec, TargetValues, total};
pub use model::Model;
pub use wells::Wells;

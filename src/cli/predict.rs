use super::args::PredictArgs;
use crate::base::{Error, Result};
pub fn run(_: &PredictArgs) -> Result<()> {
    Err(Error::failure("predict", "later"))
}

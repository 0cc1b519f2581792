use super::args::EvalArgs;
use crate::base::{Error, Result};
pub fn run(_: &EvalArgs) -> Result<()> {
    Err(Error::failure("evaluate", "later"))
}

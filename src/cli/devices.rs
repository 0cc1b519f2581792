use super::args::DevicesArgs;
use crate::base::{Error, Result};
pub fn run(_: &DevicesArgs) -> Result<()> {
    Err(Error::failure("x", "later"))
}

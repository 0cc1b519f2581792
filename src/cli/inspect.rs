use super::args::InspectArgs;
use crate::base::{Error, Result};
pub fn run(_: &InspectArgs) -> Result<()> {
    Err(Error::failure("inspect", "later"))
}

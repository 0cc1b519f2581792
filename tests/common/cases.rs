//! The table of op cases. A new op gets a line here; `tests/goldens/ops.py` has those marked golden under the same names.

mod losses;
mod movement;
mod pointwise;
mod products;
mod rows;

use super::case::Case;

/// Every case.
pub fn all() -> Vec<Case> {
    let mut cases = pointwise::cases();
    cases.extend(products::cases());
    cases.extend(movement::cases());
    cases.extend(rows::cases());
    cases.extend(losses::cases());
    cases
}

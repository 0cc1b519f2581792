//! Descent that looks at its noise: batches that grow with it, rates that fall on plateaus, the test of learning rates.

#[path = "descent/adaptive.rs"]
mod adaptive;
mod place;
#[path = "descent/plateau.rs"]
mod plateau;
#[path = "descent/range.rs"]
mod range;
mod training;

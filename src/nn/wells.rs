//! A surface with local minima whose every valley, pass and height is known in closed form.

use crate::base::{Error, Result};
use crate::graph::{Graph, ValueId};

/// The sum over the coordinates y of q(y) = (y² − 1)²/4 + tilt·y, less its least value: a tilted double well in each. Over
/// the plane that makes four valleys; the one where both coordinates are negative is the deepest, with height 0, and the
/// one where both are positive the shallowest.
///
/// An example adds its targets times the outputs. So its gradient differs from that of the surface by its targets,
/// wherever it is taken, and what a batch of B examples adds to the gradient has the variance of the targets over B.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wells {
    /// By how much the well near −1 is the deeper one, at least 0 and below 2/√27.
    pub tilt: f64,
}

impl Wells {
    /// Refuses a tilt with which there is only one well.
    pub(super) fn check(self) -> Result<()> {
        let most = 2.0 / 27f64.sqrt();
        if (0.0..most).contains(&self.tilt) {
            return Ok(());
        }
        let message = format!("{} is out of range: expected a number ≥ 0 and < {most:.4}", self.tilt);
        Err(Error::input("loss.tilt", message).help("beyond it there is no second well"))
    }

    /// Where q′(y) = y³ − y + tilt is 0: the deep minimum, the pass, the shallow minimum, in ascending order. Viète's
    /// formula for a cubic with three real roots.
    pub fn stationary(self) -> [f64; 3] {
        let third = (-self.tilt * 27f64.sqrt() / 2.0).acos() / 3.0;
        let root = |k: f64| 2.0 / 3f64.sqrt() * (third - std::f64::consts::TAU * k / 3.0).cos();
        let mut roots = [0.0, 1.0, 2.0].map(root);
        roots.sort_by(f64::total_cmp);
        roots
    }

    /// The height of the surface at a point.
    pub fn height(self, point: &[f64]) -> f64 {
        point.iter().map(|&y| self.well(y) - self.depth()).sum()
    }

    /// How high the pass out of the shallow minimum lies above it.
    pub fn barrier(self) -> f64 {
        let [_, pass, shallow] = self.stationary();
        self.well(pass) - self.well(shallow)
    }

    fn well(self, y: f64) -> f64 {
        (y * y - 1.0).powi(2) / 4.0 + self.tilt * y
    }

    /// The least value of q.
    fn depth(self) -> f64 {
        self.well(self.stationary()[0])
    }

    /// What each output adds to the loss of its example: q(y) less its least value, plus y times the target.
    pub(super) fn per_output(self, g: &mut Graph, output: ValueId, targets: ValueId) -> Result<ValueId> {
        let square = g.mul(output, output)?;
        let inside = g.add_scalar(square, -1.0)?;
        let fourth = g.mul(inside, inside)?;
        let wells = g.scale(fourth, 0.25)?;
        let slope = g.add_scalar(targets, self.tilt)?;
        let tilted = g.mul(slope, output)?;
        let sum = g.add(wells, tilted)?;
        g.add_scalar(sum, -self.depth())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_tilt_the_wells_are_at_plus_and_minus_one() {
        let wells = Wells { tilt: 0.0 };
        for (found, known) in wells.stationary().iter().zip([-1.0, 0.0, 1.0]) {
            assert!((found - known).abs() < 1e-15);
        }
        assert!((wells.barrier() - 0.25).abs() < 1e-15);
        assert!((wells.height(&[0.0, 0.0]) - 0.5).abs() < 1e-15);
    }

    #[test]
    fn the_slope_is_zero_at_valleys_and_passes() {
        let wells = Wells { tilt: 0.15 };
        let [deep, pass, shallow] = wells.stationary();
        assert!(deep < pass && pass < shallow);
        for y in [deep, pass, shallow] {
            assert!((y * y * y - y + 0.15).abs() < 1e-15, "{y}");
        }
        assert!(wells.height(&[deep, deep]).abs() < 1e-15, "the deepest valley has height 0");
        assert!(wells.height(&[shallow, deep]) > 0.29 && wells.height(&[shallow, shallow]) > 0.59);
    }

    #[test]
    fn a_tilt_without_a_second_well_is_refused() {
        assert!(Wells { tilt: 0.38 }.check().is_ok());
        let error = Wells { tilt: 0.39 }.check().unwrap_err().to_string();
        assert!(error.starts_with("loss.tilt: 0.39 is out of range"), "{error}");
    }
}

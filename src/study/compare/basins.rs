//! A surface with local minima: in which valley a run begins, and in which it ends.

use crate::config::{Config, Layer, LossKind};
use crate::data::Splits;
use crate::nn::Wells;
use serde::Serialize;

/// A valley of the surface `wells` over the plane: for each coordinate, on which side of the pass it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Valley {
    /// Whether each coordinate is on the side of the shallow minimum.
    pub shallow: [bool; 2],
}

/// Where a run began and where it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Journey {
    /// The valley before the first step.
    pub start: Valley,
    /// The valley at the end.
    pub end: Valley,
    /// Whether they differ.
    pub left: bool,
    /// Whether the end is the deepest valley.
    pub deepest: bool,
}

impl Valley {
    /// The valley of a point.
    pub fn of(wells: Wells, point: [f64; 2]) -> Self {
        let pass = wells.stationary()[1];
        Self { shallow: point.map(|y| y > pass) }
    }

    /// The lowest point of the valley.
    pub fn bottom(self, wells: Wells) -> [f64; 2] {
        let [deep, _, shallow] = wells.stationary();
        self.shallow.map(|is_shallow| if is_shallow { shallow } else { deep })
    }
}

impl Journey {
    /// From the first point of a path to its last; none if there is none, or if it went off to where nothing is finite.
    pub fn of(wells: Wells, path: &[[f64; 2]]) -> Option<Self> {
        let (first, last) = (path.first()?, path.last()?);
        if last.iter().any(|y| !y.is_finite()) {
            return None;
        }
        let (start, end) = (Valley::of(wells, *first), Valley::of(wells, *last));
        Some(Self { start, end, left: start != end, deepest: end == Valley { shallow: [false; 2] } })
    }
}

/// The surface that settings describe: the loss `wells` of a linear layer of two outputs without bias, on the source `plane`.
pub fn surface(config: &Config, splits: &Splits) -> Option<Wells> {
    let LossKind::Wells { tilt } = config.loss.kind else { return None };
    let is_point = matches!(config.model.layers.as_slice(), [Layer::Linear { out: 2, bias: false, .. }]);
    let is_plane = matches!(config.data.source, crate::config::Source::Plane { .. }) && splits.train.features() == 1;
    (is_point && is_plane).then_some(Wells { tilt })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_rests_in_the_valley_whose_bottom_it_is() {
        let wells = Wells { tilt: 0.15 };
        for shallow in [[true, true], [true, false], [false, true], [false, false]] {
            let valley = Valley { shallow };
            assert_eq!(Valley::of(wells, valley.bottom(wells)), valley);
        }
        // The pass is at 0.154: 0.1 is on the side of the deep minimum.
        assert_eq!(Valley::of(wells, [0.1, 0.2]), Valley { shallow: [false, true] });
    }

    #[test]
    fn a_journey_tells_leaving_from_arriving() {
        let wells = Wells { tilt: 0.15 };
        let journey = |end| Journey::of(wells, &[[0.9, 0.9], [5.0, 5.0], end]).map(|j| (j.left, j.deepest));
        assert_eq!(journey([0.8, 1.1]), Some((false, false)));
        assert_eq!(journey([-1.0, 0.9]), Some((true, false)));
        assert_eq!(journey([-1.0, -0.9]), Some((true, true)));
        assert_eq!(journey([f64::NAN, 0.0]), None);
        assert_eq!(Journey::of(wells, &[]), None);
    }
}

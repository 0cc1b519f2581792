//! What half precision loses.

use super::super::remedy::Remedy;
use super::super::{Evidence, Found, Grade, Need, Rule, ScaleFact, Threshold};
use super::{confidence, learns, number};

pub(in crate::verdict) const LOST_ABOVE: Threshold = Threshold {
    name: "share of the scaled signal that half precision has as 0",
    value: 0.05,
    why: "numbers that spread over a factor of 2²⁵ below the largest lose a few percent at whatever scale; healthy networks on the digits with \
          a dynamic scale lose less than a thousandth",
};

pub(super) const HALF_UNDERFLOW: Rule = Rule {
    id: "half_underflow",
    grade: Grade::Fault,
    needs: &[Need::Signal, Need::Model],
    condition: "half precision takes more than a twentieth of a layer's scaled signal to 0",
    thresholds: &[&LOST_ABOVE],
    silences: &[
        "unused_layer",
        "lr_too_low",
        "underflow",
        "plateau",
        "update_ratio",
        "batch_too_small",
        "batch_too_large",
    ],
    find: half_underflow,
};

fn half_underflow(evidence: &Evidence) -> Option<Found> {
    let (scale, readings) = (evidence.facts.loss_scale?, &evidence.readings);
    let share = |l: usize| readings.layers[l].lost_share;
    let mut lost: Vec<usize> = (0..readings.layers.len()).filter(|&l| share(l) > LOST_ABOVE.value).collect();
    lost.sort_by(|&a, &b| share(b).total_cmp(&share(a)));
    let &worst = lost.first()?;
    let single = Remedy::set("single precision", "train.precision", "\"f32\"");
    let (at, remedies) = match scale {
        ScaleFact::Dynamic => ("the dynamic loss scale".to_owned(), vec![single]),
        ScaleFact::Fixed(scale) => {
            let dynamic = Remedy::set("dynamic loss scaling", "train.loss_scale", "\"dynamic\"");
            (format!("a loss scale of {scale}"), vec![dynamic, single])
        }
    };
    Some(Found {
        since: Some(readings.layers[worst].lost_since),
        confidence: confidence(share(worst), LOST_ABOVE.value),
        because: format!("half precision takes {:.0} % of the layer's signal to 0 with {at}", 100.0 * share(worst)),
        cause: "underflow of half precision: what is below 2⁻²⁵ is lost".into(),
        numbers: vec![number("signal_lost", share(worst))],
        layers: lost,
        remedies,
        is_eased: learns(evidence),
    })
}

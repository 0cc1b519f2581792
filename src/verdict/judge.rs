//! All rules on all evidence, and what is left when some explain others.

use super::{Evidence, Found, Grade, RULES, Rule, Verdict};
use serde::Serialize;

/// What the evidence says, the gravest first. Verdicts whose id is in `silenced` are left out.
pub fn judge(evidence: &Evidence, silenced: &[String]) -> Vec<Verdict> {
    let found: Vec<(&Rule, Found)> = RULES.iter().filter_map(|rule| Some((rule, (rule.find)(evidence)?))).collect();
    let explained: Vec<&str> = found.iter().flat_map(|(rule, _)| rule.silences).copied().collect();
    let left =
        found.into_iter().filter(|(rule, _)| !explained.contains(&rule.id) && !silenced.iter().any(|id| id == rule.id));
    let mut verdicts: Vec<Verdict> = left.map(|(rule, found)| verdict(evidence, rule, found)).collect();
    // The table is in order of gravity; the sort keeps it within a grade.
    verdicts.sort_by_key(|verdict| verdict.grade);
    if verdicts.iter().any(|verdict| verdict.grade < Grade::Information) {
        verdicts.retain(|verdict| verdict.id != "healthy");
    }
    verdicts
}

fn verdict(evidence: &Evidence, rule: &Rule, found: Found) -> Verdict {
    let name = |&layer: &usize| evidence.facts.layers.get(layer).map_or(layer.to_string(), |facts| facts.name.clone());
    let layers: Vec<String> = found.layers.iter().map(name).collect();
    Verdict {
        id: rule.id,
        grade: if found.is_eased { rule.grade.max(Grade::Advice) } else { rule.grade },
        layer: layers.first().cloned(),
        layers,
        since: found.since,
        confidence: found.confidence,
        because: found.because,
        cause: found.cause,
        evidence: found.numbers,
        remedies: found.remedies,
    }
}

/// One word for a layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerVerdict {
    /// The id of the gravest verdict that names the layer; `converged` or `healthy` where none does.
    pub word: &'static str,
    /// Its grade.
    pub grade: Grade,
    /// ‖δ_l‖ / ‖δ_{l+1}‖: what the signal is multiplied with on its way from the next layer to this one; 1 for the last.
    pub factor: f64,
    /// ‖δ_l‖ / ‖δ_L‖: how much of the last layer's signal arrives here.
    pub arriving: f64,
}

/// A word for each measured layer, first layer first. Nothing before the first step.
pub fn by_layer(evidence: &Evidence, verdicts: &[Verdict]) -> Vec<LayerVerdict> {
    let readings = &evidence.readings;
    if readings.steps == 0 {
        return Vec::new();
    }
    let rest = if verdicts.iter().any(|verdict| verdict.id == "converged") { "converged" } else { "healthy" };
    let layers = evidence.facts.layers.iter().zip(0..readings.layers.len());
    let layers = layers.map(|(facts, l)| {
        let gravest = verdicts.iter().find(|verdict| verdict.layers.contains(&facts.name));
        let (word, grade) = gravest.map_or((rest, Grade::Information), |verdict| (verdict.id, verdict.grade));
        LayerVerdict { word, grade, factor: readings.factor(l), arriving: readings.arriving(l) }
    });
    layers.collect()
}

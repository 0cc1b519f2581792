//! Single partial derivatives: the largest, the clearest, the noisiest, and those that differences agree with least.
//!
//! The signal-to-noise ratio of a parameter is SNR = ḡ_j²/σ_j² − 1/B for mean ḡ_j and variance σ_j² (divisor B − 1) of the
//! gradients of B rows' own losses (Liu et al. 2020; 1/B is what pure noise gives). It has no unit, and none where σ_j = 0.

use super::super::check::{Checked, compare_entries, position, sample};
use super::{Inspection, Inspector, Moments};
use crate::base::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Multiplications that the search for disagreement may cost, about half a minute on two cores: each difference takes four
/// forward passes or more, each of them rows × parameters.
const WORK: usize = 50_000_000_000;

/// Entries of each tensor that are compared, however large the model is.
const ENTRIES_MIN: usize = 16;

/// A parameter and its partial derivative.
#[derive(Clone, Debug, PartialEq)]
pub struct Partial {
    /// The tensor.
    pub name: String,
    /// The position in it along each axis, as in PyTorch.
    pub index: Vec<usize>,
    /// The parameter's value.
    pub value: f64,
    /// ḡ_j, the derivative of the mean loss.
    pub gradient: f64,
    /// σ_j, in the unit of the gradient.
    pub deviation: f64,
    /// The signal-to-noise ratio; `None` where σ_j = 0.
    pub snr: Option<f64>,
    /// The derivative by central differences.
    pub difference: f64,
    /// Its relative distance from the gradient, measured as [`crate::run::check()`] does.
    pub error: f64,
}

impl Partial {
    /// `0.weight[3, 17]`.
    pub fn place(&self) -> String {
        format!("{}{:?}", self.name, self.index)
    }
}

/// The mean signal-to-noise ratio of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSnr {
    /// The layer's name: `0`.
    pub name: String,
    /// Its kind: `linear`.
    pub kind: String,
    /// How many parameters it has.
    pub parameters: usize,
    /// How many of them have σ_j = 0, and no part in the mean.
    pub still: usize,
    /// The mean; `None` where all are still.
    pub snr: Option<f64>,
}

/// Parameters in several orders.
#[derive(Clone, Debug, PartialEq)]
pub struct Partials {
    /// By |ḡ_j|, the largest first.
    pub largest: Vec<Partial>,
    /// By SNR, the highest first.
    pub clearest: Vec<Partial>,
    /// By SNR, the lowest first.
    pub noisiest: Vec<Partial>,
    /// By disagreement with differences, the worst first.
    pub disagreeing: Vec<Partial>,
    /// How many parameters were compared with differences: all, or of a large model those in the other orders and a sample
    /// of each tensor.
    pub compared: usize,
    /// How many parameters there are.
    pub parameters: usize,
    /// The layers with parameters, first layer first.
    pub layers: Vec<LayerSnr>,
    /// The mean SNR of all parameters that are not still.
    pub snr: Option<f64>,
}

/// A parameter by its tensor and its element there.
type Entry = (usize, usize);

/// The `count` first parameters in each order. `inspection` and `moments` are of the same rows of this model.
///
/// # Errors
/// If they are not, the executor does not compute in double precision, or the device fails.
pub fn partials(
    inspector: &mut Inspector,
    inspection: &Inspection,
    moments: &Moments,
    count: usize,
) -> Result<Partials> {
    if inspection.losses.len() != moments.rows.len() || inspection.gradients.len() != moments.mean.len() {
        return Err(Error::input("partials", "inspection and moments are not of the same rows and parameters"));
    }
    let rows = moments.rows.len();
    let snr = |(tensor, element): Entry| {
        let (mean, variance) = (moments.mean[tensor].values[element], moments.variance[tensor].values[element]);
        (variance > 0.0).then(|| mean * mean / variance - 1.0 / rows as f64)
    };
    let size = |(tensor, element): Entry| inspection.gradients[tensor].values[element].abs();
    let lens: Vec<usize> = moments.mean.iter().map(|tensor| tensor.values.len()).collect();
    let parameters = lens.iter().sum();
    let all = || lens.iter().enumerate().flat_map(|(tensor, &len)| (0..len).map(move |element| (tensor, element)));
    let largest = top(all(), count, |entry| Some(size(entry)));
    let clearest = top(all(), count, snr);
    let noisiest = top(all(), count, |entry| snr(entry).map(|snr| -snr));
    let mut chosen: BTreeSet<Entry> = [&largest, &clearest, &noisiest].into_iter().flatten().copied().collect();
    let affordable = WORK / (4 * rows * parameters);
    for (tensor, &len) in lens.iter().enumerate() {
        let share = (affordable as f64 * len as f64 / parameters as f64) as usize;
        let elements = sample(len, share.max(ENTRIES_MIN), inspector.seed(), tensor);
        chosen.extend(elements.into_iter().map(|element| (tensor, element)));
    }
    let chosen: Vec<Entry> = chosen.into_iter().collect();
    let checked = compare_entries(inspector, inspection, moments.rows.clone(), &chosen)?;
    let checked: BTreeMap<Entry, Checked> = chosen.into_iter().zip(checked).collect();
    let disagreeing = top(checked.keys().copied(), count, |entry| Some(checked[&entry].error));
    let layers = layer_snr(inspector, &lens, snr);
    let (sum, varying) = mean_parts(all().filter_map(snr));
    let params = inspector.params();
    let partial = |entry: Entry| {
        let ((tensor, element), found) = (entry, &checked[&entry]);
        Partial {
            name: params[tensor].name.clone(),
            index: position(&params[tensor].shape.to_vec(), element),
            value: params[tensor].values[element],
            gradient: inspection.gradients[tensor].values[element],
            deviation: moments.variance[tensor].values[element].sqrt(),
            snr: snr(entry),
            difference: found.difference,
            error: found.error,
        }
    };
    let list = |entries: Vec<Entry>| entries.into_iter().map(partial).collect();
    Ok(Partials {
        largest: list(largest),
        clearest: list(clearest),
        noisiest: list(noisiest),
        disagreeing: list(disagreeing),
        compared: checked.len(),
        parameters,
        layers,
        snr: (varying > 0).then(|| sum / varying as f64),
    })
}

/// The sum and the number of some ratios.
fn mean_parts(ratios: impl Iterator<Item = f64>) -> (f64, usize) {
    ratios.fold((0.0, 0), |(sum, n), ratio| (sum + ratio, n + 1))
}

fn layer_snr(inspector: &Inspector, lens: &[usize], snr: impl Fn(Entry) -> Option<f64>) -> Vec<LayerSnr> {
    let layer = |layer: &crate::nn::LayerInfo| {
        let entries = layer.params.iter().flat_map(|&tensor| (0..lens[tensor]).map(move |element| (tensor, element)));
        let (sum, varying) = mean_parts(entries.filter_map(&snr));
        let parameters = layer.params.iter().map(|&tensor| lens[tensor]).sum();
        let mean = (varying > 0).then(|| sum / varying as f64);
        let still = parameters - varying;
        LayerSnr { name: layer.name.clone(), kind: layer.kind.to_owned(), parameters, still, snr: mean }
    };
    inspector.layers().map(layer).collect()
}

/// The `count` entries with the largest keys, the largest first and the earlier of equals before the later; what is not a
/// number comes before all others, what has no key is left out. Never more than 2·`count` are held.
fn top(entries: impl Iterator<Item = Entry>, count: usize, key: impl Fn(Entry) -> Option<f64>) -> Vec<Entry> {
    let mut best: Vec<(f64, Entry)> = Vec::new();
    let order = |best: &mut Vec<(f64, Entry)>| {
        best.sort_by(|a, b| b.0.total_cmp(&a.0));
        best.truncate(count);
    };
    for entry in entries {
        let Some(key) = key(entry).map(|key| if key.is_nan() { f64::INFINITY } else { key }) else { continue };
        best.push((key, entry));
        if best.len() >= 2 * count.max(1) {
            order(&mut best);
        }
    }
    order(&mut best);
    best.into_iter().map(|(_, entry)| entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_is_in_order_and_knows_what_is_no_number() {
        let keys = [Some(1.0), Some(3.0), None, Some(-0.5), Some(3.0), Some(f64::NAN), Some(2.0)];
        let top = |count| top((0..7).map(|i| (0, i)), count, |(_, i)| keys[i]);
        let elements = |count| top(count).into_iter().map(|(_, i)| i).collect::<Vec<_>>();
        assert_eq!((elements(0), elements(1), elements(3)), (vec![], vec![5], vec![5, 1, 4]));
        assert_eq!(elements(9), [5, 1, 4, 6, 0, 3]);
    }
}

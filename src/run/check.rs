//! Gradients against central differences.
//!
//! A partial derivative g is compared with d = (8(L(w+h) − L(w−h)) − (L(w+2h) − L(w−2h)))/12h, whose error is of order h⁴.
//! The step is h = s·max(1, |w|), with s = 10⁻³ first. Where the two differ, a kink of the loss (a ReLU's) may lie between
//! w−2h and w+2h, and s is divided by ten, down to 10⁻⁷, before the entry is judged: a kink stays outside at last, a wrong
//! derivative stays wrong. Rounding of the loss makes d uncertain by about 4u(|L| + max|z|)/h, with the unit roundoff u and
//! the outputs z; that much is forgiven. What is left is measured against the larger of |g|, |d| and the root mean square
//! of the tensor's gradient.

use super::inspect::{Inspection, Inspector};
use super::tensors::HostTensor;
use crate::base::{Error, Result, Stream, StreamId};
use std::collections::BTreeSet;
use std::ops::Range;

/// The relative error up to which a derivative passes.
pub const BOUND: f64 = 1e-5;

/// The steps that are tried, relative to the size of a weight.
const STEPS: [f64; 5] = [1e-3, 1e-4, 1e-5, 1e-6, 1e-7];

/// A partial derivative and what differences make of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// The tensor.
    pub name: String,
    /// The position in it along each axis.
    pub index: Vec<usize>,
    /// The derivative that was to be checked.
    pub exact: f64,
    /// The difference quotient closest to it.
    pub difference: f64,
    /// The step of that quotient.
    pub step: f64,
    /// The relative error, as the module says it is measured.
    pub error: f64,
}

impl Checked {
    /// `0.weight[3, 17]`.
    pub fn place(&self) -> String {
        format!("{}{:?}", self.name, self.index)
    }

    /// Whether it is within [`BOUND`].
    pub fn passes(&self) -> bool {
        self.error <= BOUND
    }
}

/// The entries that were compared, tensor by tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// Each entry.
    pub entries: Vec<Checked>,
}

impl Check {
    /// The entry with the largest error.
    pub fn worst(&self) -> Option<&Checked> {
        self.entries.iter().max_by(|a, b| a.error.total_cmp(&b.error))
    }

    /// Whether every entry is within [`BOUND`].
    pub fn passes(&self) -> bool {
        self.entries.iter().all(Checked::passes)
    }
}

/// Compares a sample of the gradients in `inspection`, `per_tensor` entries of each tensor (all of a smaller one), with
/// central differences at the same rows. The sample follows from the seed of the config.
///
/// # Errors
/// If the executor does not compute in double precision, a tensor is missing, or the device fails.
pub fn check(
    inspector: &mut Inspector,
    inspection: &Inspection,
    rows: Range<usize>,
    per_tensor: usize,
) -> Result<Check> {
    let seed = inspector.seed();
    let lens = inspector.params().iter().map(|param| param.values.len()).enumerate();
    let chosen =
        |(tensor, len)| sample(len, per_tensor, seed, tensor).into_iter().map(move |element| (tensor, element));
    let chosen: Vec<_> = lens.flat_map(chosen).collect();
    Ok(Check { entries: compare_entries(inspector, inspection, rows, &chosen)? })
}

/// Compares chosen entries, each a tensor and an element of it.
pub(super) fn compare_entries(
    inspector: &mut Inspector,
    inspection: &Inspection,
    rows: Range<usize>,
    chosen: &[(usize, usize)],
) -> Result<Vec<Checked>> {
    if inspector.executor().info().precision != "f64" {
        let error = Error::input("check", "differences need double precision, the device computes in f32");
        return Err(error.help("leave --device out: they are taken in f64 on the CPU"));
    }
    let names = |tensors: &[HostTensor]| -> Vec<String> { tensors.iter().map(|tensor| tensor.name.clone()).collect() };
    if names(&inspection.gradients) != names(inspector.params()) {
        return Err(Error::input("check", "the gradients are not those of the model's parameters"));
    }
    let params = inspector.params().to_vec();
    let largest = inspection.logits.values.iter().fold(0.0, |max: f64, z| max.max(z.abs()));
    let rounding = 4.0 * f64::EPSILON / 2.0 * (inspection.loss.abs() + largest);
    let usual: Vec<f64> = inspection.gradients.iter().map(|gradient| root_mean_square(&gradient.values)).collect();
    inspector.with_loss(rows, |loss| {
        let mut entries = Vec::with_capacity(chosen.len());
        for &(tensor, element) in chosen {
            let param = &params[tensor];
            let (weight, exact) = (param.values[element], inspection.gradients[tensor].values[element]);
            let mut at = |offset: f64| loss(tensor, element, weight + offset);
            let (difference, step, error) = compare(&mut at, weight, exact, usual[tensor], rounding)?;
            at(0.0)?;
            let index = position(&param.shape.to_vec(), element);
            entries.push(Checked { name: param.name.clone(), index, exact, difference, step, error });
        }
        Ok(entries)
    })
}

fn root_mean_square(values: &[f64]) -> f64 {
    (values.iter().map(|x| x * x).sum::<f64>() / values.len() as f64).sqrt()
}

/// The difference quotient closest to `exact`, its step and its relative error; smaller steps only where larger ones do
/// not agree.
fn compare(
    at: &mut impl FnMut(f64) -> Result<f64>,
    weight: f64,
    exact: f64,
    usual: f64,
    rounding: f64,
) -> Result<(f64, f64, f64)> {
    let mut best = (f64::NAN, f64::NAN, f64::INFINITY);
    for step in STEPS.map(|step| step * weight.abs().max(1.0)) {
        let near = at(step)? - at(-step)?;
        let far = at(2.0 * step)? - at(-2.0 * step)?;
        let difference = (8.0 * near - far) / (12.0 * step);
        let excess = ((difference - exact).abs() - rounding / step).max(0.0);
        let size = exact.abs().max(difference.abs()).max(usual);
        // Something that is no number is no agreement; `max` above would have hidden it.
        let error = match (difference - exact).is_nan() {
            true => f64::INFINITY,
            false if excess == 0.0 => 0.0,
            false => excess / size,
        };
        if error < best.2 || best.0.is_nan() {
            best = (difference, step, error);
        }
        if error <= BOUND {
            break;
        }
    }
    Ok(best)
}

/// `count` different elements below `len`, or all of them, in order.
pub(super) fn sample(len: usize, count: usize, seed: u64, tensor: usize) -> Vec<usize> {
    if len <= count {
        return (0..len).collect();
    }
    let mut stream = Stream::new(seed, StreamId::Sample(tensor as u32));
    let mut chosen = BTreeSet::new();
    while chosen.len() < count {
        chosen.insert(stream.below(len as u32) as usize);
    }
    chosen.into_iter().collect()
}

/// The position along each axis of an element of a row-major tensor.
pub(super) fn position(shape: &[usize], element: usize) -> Vec<usize> {
    let mut rest = element;
    let mut index: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&extent| {
            let at = rest % extent;
            rest /= extent;
            at
        })
        .collect();
    index.reverse();
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(f: impl Fn(f64) -> f64, weight: f64, exact: f64) -> f64 {
        compare(&mut |offset| Ok(f(weight + offset)), weight, exact, 1e-3, 1e-15).unwrap().2
    }

    #[test]
    fn smooth_losses_and_kinks_nearby_pass_and_wrong_derivatives_do_not() {
        assert!(error(|w| w.exp(), 2.0, 2f64.exp()) < 1e-9);
        for distance in [1e-4, 1e-5, 3e-6] {
            assert!(error(|w: f64| (w - distance).max(0.0) + w, 0.0, 1.0) <= BOUND, "a kink at {distance}");
        }
        for wrong in [1.0 + 1e-3, -1.0, 0.0] {
            assert!(error(|w| w.exp(), 2.0, wrong * 2f64.exp()) > BOUND, "{wrong} times the derivative");
        }
        assert_eq!(error(|_| f64::NAN, 2.0, 1.0), f64::INFINITY);
        assert_eq!(error(|w| w, 2.0, f64::NAN), f64::INFINITY);
    }

    #[test]
    fn a_sample_has_different_elements_and_repeats() {
        let chosen = sample(1000, 20, 3, 1);
        assert!(chosen.len() == 20 && chosen == sample(1000, 20, 3, 1) && chosen != sample(1000, 20, 3, 2));
        assert_eq!(sample(3, 20, 3, 1), [0, 1, 2]);
        assert_eq!((position(&[3, 5], 7), position(&[4], 2), position(&[], 0)), (vec![1, 2], vec![2], vec![]));
    }
}

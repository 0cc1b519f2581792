//! What single units do on a sample of examples: a pass on the host, layer by layer, in double precision.

use crate::config::Layer;
use crate::data::Dataset;
use crate::run::{HostTensor, SLOPE_MIN, activation};
use crate::verdict::Activation;

/// Examples that are looked at, evenly spaced over the training part.
pub(super) const ROWS: usize = 256;

/// A unit is quiet if fewer examples than this share move it off 0: what SageMaker Debugger calls inactive.
const QUIET: f64 = 0.01;

/// What the units of one layer do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct UnitShares {
    /// The share of units that give 0 for every example; none where the activation is not ReLU.
    pub dead: Option<f64>,
    /// The share of units that give 0 for all but 1 % of the examples; none where the activation is not ReLU.
    pub quiet: Option<f64>,
    /// The share of activations whose slope is next to none; none where the activation is neither tanh nor a sigmoid.
    pub saturated: Option<f64>,
    /// The share of activations that are 0.
    pub zeros: f64,
}

/// A sample of rows that [`unit_shares`] is asked about.
pub(super) fn sample(data: &Dataset) -> Vec<Vec<f64>> {
    let step = data.len().div_ceil(ROWS).max(1);
    (0..data.len()).step_by(step).map(|row| data.row(row).iter().map(|&x| f64::from(x)).collect()).collect()
}

/// What the units behind each layer with parameters do, first layer first.
pub(super) fn unit_shares(layers: &[Layer], params: &[HostTensor], rows: &[Vec<f64>]) -> Vec<UnitShares> {
    let mut rows = rows.to_vec();
    let mut shares: Vec<UnitShares> = Vec::new();
    let mut is_open = false;
    for (index, layer) in layers.iter().enumerate() {
        let param = |what: &str| {
            let name = format!("{index}.{what}");
            params.iter().find(|tensor| tensor.name == name).map(|tensor| tensor.values.as_slice())
        };
        match layer {
            Layer::Linear { .. } => rows.iter_mut().for_each(|row| *row = linear(row, param("weight"), param("bias"))),
            Layer::LayerNorm { eps, .. } => {
                rows.iter_mut().for_each(|row| normalize(row, *eps, param("weight"), param("bias")));
            }
            _ => {
                let Some(function) = activation(layer) else { continue };
                if let Some(last) = shares.last_mut().filter(|_| is_open) {
                    *last = shares_of(function, &rows);
                    is_open = false;
                }
                rows.iter_mut().for_each(|row| activate(function, row));
                continue;
            }
        }
        if param("weight").is_some() {
            shares.push(UnitShares::default());
            is_open = true;
        }
    }
    shares
}

fn linear(row: &[f64], weight: Option<&[f64]>, bias: Option<&[f64]>) -> Vec<f64> {
    let Some(weight) = weight.filter(|_| !row.is_empty()) else { return Vec::new() };
    let products = weight.chunks_exact(row.len()).map(|of| of.iter().zip(row).map(|(w, x)| w * x).sum::<f64>());
    products.enumerate().map(|(unit, z)| z + bias.map_or(0.0, |bias| bias[unit])).collect()
}

fn normalize(row: &mut [f64], eps: f64, weight: Option<&[f64]>, bias: Option<&[f64]>) {
    let n = row.len().max(1) as f64;
    let mean = row.iter().sum::<f64>() / n;
    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    let scale = 1.0 / (variance + eps).sqrt();
    for (unit, x) in row.iter_mut().enumerate() {
        *x = (*x - mean) * scale * weight.map_or(1.0, |w| w[unit]) + bias.map_or(0.0, |b| b[unit]);
    }
}

fn activate(activation: Activation, row: &mut [f64]) {
    if activation == Activation::Softmax {
        let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|x| (x - top).exp()).sum();
        row.iter_mut().for_each(|x| *x = (*x - top).exp() / sum);
    } else {
        row.iter_mut().for_each(|x| *x = activation.value(*x));
    }
}

fn shares_of(activation: Activation, rows: &[Vec<f64>]) -> UnitShares {
    let units = rows.first().map_or(0, Vec::len);
    if units == 0 {
        return UnitShares::default();
    }
    let (count, of) = (units as f64, rows.len() as f64);
    let share = |holds: &dyn Fn(f64) -> bool| {
        let all = rows.iter().flatten().filter(|&&z| holds(z)).count();
        all as f64 / (count * of)
    };
    let moved = |unit: usize| rows.iter().filter(|row| row[unit] > 0.0).count() as f64 / of;
    let units_with = |holds: &dyn Fn(f64) -> bool| (0..units).filter(|&unit| holds(moved(unit))).count() as f64 / count;
    let is_relu = activation == Activation::Relu;
    let steepest = match activation {
        Activation::Tanh => Some(1.0),
        Activation::Sigmoid => Some(0.25),
        _ => None,
    };
    UnitShares {
        dead: is_relu.then(|| units_with(&|moved| moved == 0.0)),
        quiet: is_relu.then(|| units_with(&|moved| moved < QUIET)),
        saturated: steepest.map(|top| share(&|z| activation.slope(z).abs() < SLOPE_MIN * top)),
        zeros: share(&|z| activation.value(z) == 0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Shape;

    fn tensor(name: &str, shape: &[usize], values: &[f64]) -> HostTensor {
        HostTensor { name: name.into(), shape: Shape::new(shape), values: values.to_vec() }
    }

    #[test]
    fn units_are_counted_as_they_are() {
        let linear = |out| Layer::Linear { out, bias: true, init: None, gain: None, bias_init: None };
        // Units: x, −x − 1 (dead for x > −1), x − 2 (moved by one of four), and two sigmoids of what they give.
        let params = [
            tensor("0.weight", &[3, 1], &[1.0, -1.0, 1.0]),
            tensor("0.bias", &[3], &[0.0, -1.0, -2.0]),
            tensor("2.weight", &[2, 3], &[1.0, 0.0, 0.0, 100.0, 0.0, 0.0]),
            tensor("2.bias", &[2], &[0.0, 0.0]),
        ];
        let rows: Vec<Vec<f64>> = [0.5, 1.0, 1.5, 3.0].map(|x| vec![x]).to_vec();
        let shares = unit_shares(&[linear(3), Layer::Relu, linear(2), Layer::Sigmoid], &params, &rows);
        assert_eq!((shares[0].dead, shares[0].quiet, shares[0].saturated), (Some(1.0 / 3.0), Some(1.0 / 3.0), None));
        assert_eq!(shares[0].zeros, 7.0 / 12.0);
        assert_eq!((shares[1].dead, shares[1].saturated), (None, Some(0.5)));
    }
}

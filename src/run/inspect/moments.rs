//! Mean and variance of single examples' gradients, element by element.

use super::super::tensors::HostTensor;
use super::Inspector;
use crate::base::{Error, Result};
use std::ops::Range;

/// Mean and variance of the gradients of some rows' own losses: two numbers a parameter, however many rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// The rows.
    pub rows: Range<usize>,
    /// ḡ_j, the mean over the rows, for each parameter under its name.
    pub mean: Vec<HostTensor>,
    /// σ_j² = Σᵢ(g_ij − ḡ_j)²/(B − 1) of the B rows, for each parameter under its name.
    pub variance: Vec<HostTensor>,
}

impl Moments {
    /// One pass over the rows, with running sums (Welford 1962): no square of a mean is subtracted from anything.
    ///
    /// # Errors
    /// If there are fewer than two rows, a row is none of the part's, or the device fails.
    pub fn of(inspector: &mut Inspector, rows: Range<usize>) -> Result<Self> {
        if rows.len() == 1 {
            let error = Error::input("rows", "a single row has no variance");
            return Err(error.help("choose two rows at least"));
        }
        let zeros = |params: &[HostTensor]| -> Vec<HostTensor> {
            let zero = |p: &HostTensor| HostTensor { values: vec![0.0; p.values.len()], ..p.clone() };
            params.iter().map(zero).collect()
        };
        let (mut mean, mut variance) = (zeros(inspector.params()), zeros(inspector.params()));
        let mut n = 0.0;
        inspector.each(rows.clone(), |_, gradients| {
            n += 1.0;
            for ((mean, square), gradient) in mean.iter_mut().zip(&mut variance).zip(gradients) {
                for ((mean, square), g) in mean.values.iter_mut().zip(&mut square.values).zip(&gradient.values) {
                    let distance = g - *mean;
                    *mean += distance / n;
                    *square += distance * (g - *mean);
                }
            }
            Ok(())
        })?;
        variance.iter_mut().flat_map(|tensor| &mut tensor.values).for_each(|square| *square /= n - 1.0);
        Ok(Self { rows, mean, variance })
    }
}

//! Whether classes pull the weights in different directions: cosines between the mean gradients of the classes.

use super::Inspector;
use super::noise::dot;
use crate::base::{Error, Result};
use crate::data::Targets;
use crate::run::evaluator::evaluation_rows;
use crate::run::tensors::HostTensor;
use std::ops::Range;

/// Numbers in the class gradients that are held at once; beyond, gradients are computed again instead.
const HELD: usize = 1 << 26;

/// Cosines between the mean gradients of the classes of some rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflicts {
    /// The classes that occur, in order: the rows and columns of each matrix.
    pub classes: Vec<usize>,
    /// How many of the rows each has.
    pub counts: Vec<usize>,
    /// ‖ḡ_c‖ of each class, over all parameters.
    pub grad_norms: Vec<f64>,
    /// All parameters together.
    pub whole: Vec<Vec<Option<f64>>>,
    /// The layers with parameters, first layer first.
    pub layers: Vec<LayerCosines>,
    /// All pairs of classes that have a cosine over all parameters, the most conflicting first.
    pub pairs: Vec<ClassConflict>,
}

/// The cosines of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerCosines {
    /// The layer's name: `0`.
    pub name: String,
    /// Its kind: `linear`.
    pub kind: String,
    /// cos(ḡ_a, ḡ_b) for classes a and b; `None` where one of them is 0.
    pub cosines: Vec<Vec<Option<f64>>>,
}

/// Two classes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassConflict {
    /// The lower class.
    pub a: usize,
    /// The higher class.
    pub b: usize,
    /// The cosine of their mean gradients over all parameters: −1 where what is good for one is bad for the other.
    pub cosine: f64,
}

/// Compares the mean gradients of the classes of these rows, each the gradient of the mean loss of its rows.
///
/// # Errors
/// If the targets are no classes, the rows are of one class only or none of the part's, or the device fails.
pub fn conflicts(inspector: &mut Inspector, rows: Range<usize>) -> Result<Conflicts> {
    let rows = inspector.rows(rows)?;
    let Targets::Classes { labels, classes } = inspector.data().targets() else {
        let error = Error::input("conflicts", format!("the targets of {} are values", inspector.data().name()));
        return Err(error.help("conflicts are between classes: they need a classification"));
    };
    let mut by_class = vec![Vec::new(); *classes];
    rows.iter().for_each(|&row| by_class[labels[row as usize] as usize].push(row));
    let (classes, members): (Vec<usize>, Vec<Vec<u32>>) =
        by_class.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()).unzip();
    if let [class] = classes[..] {
        let error = Error::input("conflicts", format!("all chosen rows are of class {class}"));
        return Err(error.help("choose rows of two classes at least"));
    }
    let layers: Vec<_> =
        inspector.layers().map(|layer| (layer.name.clone(), layer.kind.to_owned(), layer.params.clone())).collect();
    let products = inspector
        .within(|this| class_products(this, &members, &layers.iter().map(|l| l.2.clone()).collect::<Vec<_>>()))?;
    let n = classes.len();
    let mut sum = vec![0.0; n * n];
    for layer in &products {
        sum.iter_mut().zip(layer).for_each(|(sum, product)| *sum += product);
    }
    let whole = cosines(&sum, n);
    let mut pairs = Vec::new();
    for (i, &a) in classes.iter().enumerate() {
        let later = classes.iter().enumerate().skip(i + 1);
        pairs.extend(later.filter_map(|(j, &b)| Some(ClassConflict { a, b, cosine: whole[i][j]? })));
    }
    pairs.sort_by(|x, y| x.cosine.total_cmp(&y.cosine));
    let layers = layers.into_iter().zip(&products);
    Ok(Conflicts {
        counts: members.iter().map(Vec::len).collect(),
        grad_norms: (0..n).map(|i| sum[i * n + i].sqrt()).collect(),
        classes,
        whole,
        layers: layers.map(|((name, kind, _), p)| LayerCosines { name, kind, cosines: cosines(p, n) }).collect(),
        pairs,
    })
}

/// ḡ_aᵀḡ_b for each layer and all classes a and b. A block of class gradients is held at a time, and each later class is
/// computed against it.
fn class_products(this: &mut Inspector, members: &[Vec<u32>], layers: &[Vec<usize>]) -> Result<Vec<Vec<f64>>> {
    let n = members.len();
    let plan = this.load(evaluation_rows(members.iter().map(Vec::len).max().unwrap_or(1)))?;
    super::write_params(this.executor.as_mut(), &this.arena, &this.params)?;
    let block = (HELD / this.model.parameter_count()).clamp(1, n);
    let mut products = vec![vec![0.0; n * n]; layers.len()];
    let mut meet = |i: usize, a: &[HostTensor], j: usize, b: &[HostTensor]| {
        for (layer, products) in layers.iter().zip(&mut products) {
            let product = layer.iter().map(|&t| dot(&a[t].values, &b[t].values)).sum();
            products[i * n + j] = product;
            products[j * n + i] = product;
        }
    };
    for first in (0..n).step_by(block) {
        let mut held: Vec<Vec<HostTensor>> = Vec::new();
        for (j, rows) in members.iter().enumerate().skip(first) {
            let gradient = this.mean_gradient(&plan, rows)?;
            held.iter().enumerate().for_each(|(i, other)| meet(first + i, other, j, &gradient));
            if held.len() < block {
                meet(j, &gradient, j, &gradient);
                held.push(gradient);
            }
        }
    }
    Ok(products)
}

/// Products n × n to cosines.
fn cosines(products: &[f64], n: usize) -> Vec<Vec<Option<f64>>> {
    let cosine = |i: usize, j: usize| {
        let lengths = products[i * n + i].sqrt() * products[j * n + j].sqrt();
        (lengths > 0.0).then(|| (products[i * n + j] / lengths).clamp(-1.0, 1.0))
    };
    (0..n).map(|i| (0..n).map(|j| cosine(i, j)).collect()).collect()
}

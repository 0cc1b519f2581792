//! Scores of a classifier.

use crate::base::Real;
use serde::{Deserialize, Serialize};

/// Counts predictions batch by batch.
///
/// The prediction is the class with the greatest logit, the first of them if several are equal. With one output a
/// positive logit predicts class 1 of two. A row with a NaN predicts nothing: it counts as wrong, never as some class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classification {
    outputs: usize,
    classes: usize,
    top_k: Vec<usize>,
    top_hits: Vec<u64>,
    /// `confusion[target * classes + prediction]`.
    confusion: Vec<u64>,
    /// Rows without a prediction, by target.
    undecided: Vec<u64>,
}

/// The scores of a class. A quotient with nothing below is 0, as in scikit-learn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassScore {
    /// How many of the predictions of this class are right.
    pub precision: f64,
    /// How many of the examples of this class are found.
    pub recall: f64,
    /// The harmonic mean of both.
    pub f1: f64,
    /// Examples of this class.
    pub support: u64,
}

/// The scores of a classifier. They are 0 if there was no example.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassificationScore {
    /// How many examples.
    pub examples: u64,
    /// How much of them is right.
    pub accuracy: f64,
    /// (k, how often the right class is among the k with the greatest logits); of equal ones the first come first.
    pub top_k: Vec<(usize, f64)>,
    /// The mean of F1 over the classes that are a target or a prediction, as in scikit-learn.
    pub macro_f1: f64,
    /// The same mean of precision.
    pub macro_precision: f64,
    /// The same mean of recall.
    pub macro_recall: f64,
    /// The mean of F1 weighted by support.
    pub weighted_f1: f64,
    /// Each class.
    pub classes: Vec<ClassScore>,
    /// `confusion[target][prediction]`: how many examples.
    pub confusion: Vec<Vec<u64>>,
    /// Examples whose outputs had a NaN: in no cell of the confusion matrix.
    pub undecided: u64,
}

impl Classification {
    /// For models with `outputs` logits: as many classes, or two if it is one. `top_k` are the k to count hits for.
    ///
    /// # Panics
    /// With no output.
    pub fn new(outputs: usize, top_k: &[usize]) -> Self {
        assert!(outputs > 0, "a classifier has an output");
        let classes = outputs.max(2);
        Self {
            outputs,
            classes,
            top_k: top_k.to_vec(),
            top_hits: vec![0; top_k.len()],
            confusion: vec![0; classes * classes],
            undecided: vec![0; classes],
        }
    }

    /// Counts a batch: logits row-major, a row for each label.
    ///
    /// # Panics
    /// If there are not as many rows as labels, or a label is no class.
    pub fn add<R: Real>(&mut self, logits: &[R], labels: &[u32]) {
        assert_eq!(logits.len(), labels.len() * self.outputs, "a row of {} logits for each label", self.outputs);
        for (row, &label) in logits.chunks_exact(self.outputs).zip(labels) {
            self.add_row(row, label as usize);
        }
    }

    fn add_row<R: Real>(&mut self, row: &[R], label: usize) {
        assert!(label < self.classes, "label {label} among {} classes", self.classes);
        if row.iter().any(|x| x.partial_cmp(x).is_none()) {
            self.undecided[label] += 1;
            return;
        }
        let (prediction, rank) = match row {
            [logit] => {
                let prediction = usize::from(*logit > R::ZERO);
                (prediction, usize::from(prediction != label))
            }
            _ => {
                let best = (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best });
                let own = row[label];
                let ahead = |&(i, &x): &(usize, &R)| x > own || (x == own && i < label);
                (best, row.iter().enumerate().filter(ahead).count())
            }
        };
        self.confusion[label * self.classes + prediction] += 1;
        for (hits, &k) in self.top_hits.iter_mut().zip(&self.top_k) {
            *hits += u64::from(rank < k);
        }
    }

    /// The scores so far.
    pub fn score(&self) -> ClassificationScore {
        let n = self.classes;
        let classes: Vec<ClassScore> = (0..n).map(|class| self.class_score(class)).collect();
        let undecided = self.undecided.iter().sum();
        let examples = self.confusion.iter().sum::<u64>() + undecided;
        let right: u64 = (0..n).map(|class| self.confusion[class * n + class]).sum();
        let seen = |&class: &usize| classes[class].support > 0 || self.predicted(class) > 0;
        let seen: Vec<usize> = (0..n).filter(seen).collect();
        let macro_mean = |of: fn(&ClassScore) -> f64| {
            let sum: f64 = seen.iter().map(|&class| of(&classes[class])).sum();
            if seen.is_empty() { 0.0 } else { sum / seen.len() as f64 }
        };
        ClassificationScore {
            examples,
            accuracy: ratio(right, examples),
            top_k: self.top_k.iter().zip(&self.top_hits).map(|(&k, &hits)| (k, ratio(hits, examples))).collect(),
            macro_f1: macro_mean(|class| class.f1),
            macro_precision: macro_mean(|class| class.precision),
            macro_recall: macro_mean(|class| class.recall),
            weighted_f1: classes.iter().map(|class| class.f1 * ratio(class.support, examples)).sum(),
            confusion: self.confusion.chunks(n).map(<[u64]>::to_vec).collect(),
            classes,
            undecided,
        }
    }

    fn predicted(&self, class: usize) -> u64 {
        self.confusion.iter().skip(class).step_by(self.classes).sum()
    }

    fn class_score(&self, class: usize) -> ClassScore {
        let row = &self.confusion[class * self.classes..][..self.classes];
        let (right, predicted) = (row[class], self.predicted(class));
        let support = row.iter().sum::<u64>() + self.undecided[class];
        ClassScore {
            precision: ratio(right, predicted),
            recall: ratio(right, support),
            f1: ratio(2 * right, predicted + support),
            support,
        }
    }
}

/// A quotient of counts; 0 if there is nothing below.
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} and {b}");
    }

    /// Logits whose greatest is the class.
    fn logits(predictions: &[usize], classes: usize) -> Vec<f32> {
        predictions.iter().flat_map(|&p| (0..classes).map(move |i| if i == p { 2.0 } else { -(i as f32) })).collect()
    }

    #[test]
    fn scores_are_those_of_the_formulas() {
        // Class 3 is neither target nor prediction; class 2 is predicted and never the target.
        let (targets, predictions) = ([0, 0, 0, 0, 1, 1, 1, 0], [0, 0, 1, 2, 1, 1, 0, 0]);
        let mut whole = Classification::new(4, &[1, 2, 4]);
        whole.add(&logits(&predictions, 4), &targets);
        let score = whole.score();
        assert_eq!(score.confusion, [[3, 1, 1, 0], [1, 2, 0, 0], [0; 4], [0; 4]]);
        close(score.accuracy, 5.0 / 8.0);
        let [a, b, c, d] = score.classes[..] else { panic!() };
        close(a.precision, 3.0 / 4.0);
        close(a.recall, 3.0 / 5.0);
        close(a.f1, 2.0 / 3.0);
        close(b.f1, 2.0 / 3.0);
        assert_eq!((b.support, c.precision, c.recall, c.f1, d.f1), (3, 0.0, 0.0, 0.0, 0.0));
        close(score.macro_f1, (2.0 / 3.0 + 2.0 / 3.0) / 3.0);
        close(score.macro_precision, (3.0 / 4.0 + 2.0 / 3.0) / 3.0);
        close(score.macro_recall, (3.0 / 5.0 + 2.0 / 3.0) / 3.0);
        close(score.weighted_f1, 2.0 / 3.0);
        // The logits that are not the greatest fall with the class, so each wrongly predicted 0 or 1 comes second.
        assert_eq!(score.top_k, [(1, 5.0 / 8.0), (2, 1.0), (4, 1.0)]);

        let mut parts = Classification::new(4, &[1, 2, 4]);
        for from in [0, 3, 6] {
            let to = (from + 3).min(8);
            parts.add(&logits(&predictions[from..to], 4), &targets[from..to]);
        }
        assert_eq!(parts, whole, "batches do not matter");
    }

    #[test]
    fn the_first_of_equal_logits_comes_first() {
        let mut equal = Classification::new(3, &[1, 2, 3]);
        equal.add(&[0.0f64; 9], &[0, 1, 2]);
        let score = equal.score();
        assert_eq!(score.confusion, [[1, 0, 0], [1, 0, 0], [1, 0, 0]]);
        let hits: Vec<f64> = score.top_k.iter().map(|&(_, hits)| hits).collect();
        assert_eq!(hits, [1.0 / 3.0, 2.0 / 3.0, 1.0]);
    }

    #[test]
    fn one_logit_tells_two_classes_apart() {
        let mut binary = Classification::new(1, &[1]);
        binary.add(&[-1.0f32, 0.0, 0.1, 5.0, -0.1], &[0, 0, 0, 1, 1]);
        let score = binary.score();
        assert_eq!(score.confusion, [[2, 1], [1, 1]]);
        assert_eq!((score.accuracy, score.top_k[0].1), (0.6, 0.6));
        close(score.classes[1].f1, 0.5);
    }

    #[test]
    fn a_nan_is_no_prediction() {
        let mut broken = Classification::new(2, &[2]);
        broken.add(&[f32::NAN, 1.0, 1.0, f32::NEG_INFINITY, f32::INFINITY, 0.0], &[0, 0, 0]);
        let score = broken.score();
        assert_eq!((score.undecided, score.examples, score.classes[0].support), (1, 3, 3));
        assert_eq!((score.confusion[0][0], score.top_k[0].1), (2, 2.0 / 3.0));
        close(score.classes[0].recall, 2.0 / 3.0);
        let none = Classification::new(2, &[1]).score();
        assert_eq!((none.accuracy, none.macro_f1, none.weighted_f1), (0.0, 0.0, 0.0));
    }
}

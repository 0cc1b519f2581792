//! The built-in digits: 1797 handwritten digits of 8×8 pixels, in the program itself (source: `data/digits/README.md`).

use super::idx::{Idx, labelled};
use super::{Dataset, Splits};
use crate::base::{Result, Threads};

/// The largest pixel value in the files.
const DIVISOR: f32 = 16.0;

const TRAIN_IMAGES: &[u8] = include_bytes!("../../data/digits/train-images-idx3-ubyte.gz");
const TRAIN_LABELS: &[u8] = include_bytes!("../../data/digits/train-labels-idx1-ubyte.gz");
const TEST_IMAGES: &[u8] = include_bytes!("../../data/digits/test-images-idx3-ubyte.gz");
const TEST_LABELS: &[u8] = include_bytes!("../../data/digits/test-labels-idx1-ubyte.gz");

/// The built-in digits: 1437 examples to train, 360 to test, 64 features in [0, 1] (pixel / 16), 10 classes.
///
/// # Errors
/// None, unless the program was built with damaged files.
pub fn digits() -> Result<Splits> {
    let part = |name: &str, images, labels| -> Result<Dataset> {
        let (images, labels) = (Idx::parse(images, name)?, Idx::parse(labels, name)?);
        let class_names = (0..10).map(|digit| digit.to_string()).collect();
        labelled(name, [&images, &labels], DIVISOR, 10, &Threads::single())?.with_class_names(class_names)
    };
    let train = part("digits, training part", TRAIN_IMAGES, TRAIN_LABELS)?;
    let test = part("digits, test part", TEST_IMAGES, TEST_LABELS)?;
    Ok(Splits::new("digits", train, Some(test))?.with_divisor(DIVISOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums of pixels, of pixels times their position, and counts of labels, computed with numpy from the same files.
    #[test]
    fn the_digits_are_those_of_the_files() {
        let splits = digits().unwrap();
        let (train, test) = (&splits.train, splits.test.as_ref().unwrap());
        for (data, rows, sum, moment, counts) in [
            (train, 1437, 449_461.0, 14_109_165.0, [139, 145, 130, 155, 139, 150, 144, 152, 144, 139]),
            (test, 360, 112_257.0, 3_551_488.0, [39, 37, 47, 28, 42, 32, 37, 27, 30, 41]),
        ] {
            assert_eq!((data.len(), data.features(), data.sample_shape()), (rows, 64, &[8, 8][..]));
            let pixels = || data.values().iter().map(|&v| f64::from(v) * 16.0);
            assert_eq!(pixels().sum::<f64>(), sum);
            assert_eq!(pixels().enumerate().map(|(i, v)| v * (i % 64) as f64).sum::<f64>(), moment);
            assert_eq!(data.class_counts(), counts);
        }
        assert_eq!(train.row(0)[3..5], [13.0 / 16.0, 7.0 / 16.0]);
    }
}

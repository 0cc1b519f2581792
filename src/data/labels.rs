//! Class labels as they stand in files, and how many classes they are of.

use crate::base::{Error, Result};

/// Labels, and the place that errors name: their file.
pub(super) struct Labels {
    pub labels: Vec<u32>,
    pub place: String,
}

/// How many classes there are: as many as `stated`, else one more than the largest label of any part.
///
/// # Errors
/// A label is beyond the classes that are stated.
pub(super) fn count_classes(parts: &[Labels], stated: Option<usize>) -> Result<usize> {
    let Some(classes) = stated else {
        let largest = parts.iter().flat_map(|part| &part.labels).max();
        return Ok(largest.map_or(0, |&label| label as usize + 1));
    };
    for Labels { labels, place } in parts {
        if let Some((row, label)) = labels.iter().enumerate().find(|(_, label)| **label as usize >= classes) {
            let last = classes.saturating_sub(1);
            return Err(Error::input(place, format!("row {row} (from 0): label {label}, expected 0 to {last}"))
                .help("mend the label, or give the model an output for each class"));
        }
    }
    Ok(classes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_counted_or_stated() {
        let part = |labels: &[u32], place: &str| Labels { labels: labels.to_vec(), place: place.into() };
        let parts = [part(&[0, 2], "a"), part(&[1, 4], "b")];
        assert_eq!(count_classes(&parts, None), Ok(5));
        assert_eq!(count_classes(&parts, Some(9)), Ok(9));
        let error = count_classes(&parts, Some(4)).unwrap_err().to_string();
        assert!(error.starts_with("b: row 1 (from 0): label 4, expected 0 to 3"), "{error}");
    }
}

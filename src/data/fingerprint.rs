//! A number that tells whether data is what it was: every bit of every feature and target, and their order, count.

use super::{Dataset, Targets};

/// The multiplier of FNV-1a, in 64 bits.
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// Words are mixed in so many lanes side by side, since one waits for its last product.
const LANES: usize = 8;

/// Mixes words into a hash: FNV-1a over words in place of bytes, with the high bits folded down, in [`LANES`] lanes. It
/// guards against accidents, not against intent.
fn mix(words: &[u32], hash: u64) -> u64 {
    let mut lanes: [u64; LANES] = std::array::from_fn(|lane| hash ^ lane as u64);
    for words in words.chunks(LANES) {
        for (lane, &word) in lanes.iter_mut().zip(words) {
            *lane = (*lane ^ u64::from(word)).wrapping_mul(PRIME);
            *lane ^= *lane >> 29;
        }
    }
    let fold = |hash: u64, lane: u64| (hash.rotate_left(7) ^ lane).wrapping_mul(PRIME);
    lanes.into_iter().chain([words.len() as u64]).fold(hash, fold)
}

impl Dataset {
    /// The fingerprint of features and targets, taken into that of others; begin with 0.
    pub fn fingerprint(&self, hash: u64) -> u64 {
        let shape = [self.len(), self.features(), self.targets().width()].map(|extent| extent as u32);
        let x = self.x().as_slice().expect("rows are contiguous");
        let hash = mix(bytemuck::cast_slice(x), mix(&shape, hash));
        match self.targets() {
            Targets::Classes { labels, .. } => mix(labels, hash),
            Targets::Values { values, .. } => mix(bytemuck::cast_slice(values), hash),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;
    use std::collections::HashSet;

    fn data(change: impl Fn(&mut Array2<f32>, &mut Vec<u32>)) -> u64 {
        let mut x = Array2::from_shape_fn((13, 11), |(i, j)| (i * 11 + j) as f32);
        let mut labels = (0..13).map(|i| i % 3).collect();
        change(&mut x, &mut labels);
        Dataset::new("d", x, Targets::Classes { labels, classes: 3 }).unwrap().fingerprint(0)
    }

    #[test]
    fn every_number_and_every_place_counts() {
        assert_eq!(data(|_, _| ()), data(|_, _| ()));
        let mut seen = HashSet::from([data(|_, _| ())]);
        for i in 0..13 {
            for j in 0..11 {
                // The last bit, the sign, and the place.
                assert!(seen.insert(data(|x, _| x[[i, j]] = f32::from_bits(x[[i, j]].to_bits() ^ 1))), "{i}, {j}");
                assert!(seen.insert(data(|x, _| x[[i, j]] = -1.0 - x[[i, j]])), "{i}, {j}");
                assert!(j == 0 || seen.insert(data(|x, _| x.swap([i, j], [i, j - 1]))), "{i}, {j}");
            }
            assert!(seen.insert(data(|_, labels| labels[i] = (labels[i] + 1) % 3)), "{i}");
        }
        assert_ne!(mix(&[2], mix(&[1], 0)), mix(&[1], mix(&[2], 0)), "the order of the parts");
        assert_ne!(mix(&[0; 3], 0), mix(&[0; 4], 0), "the count");
    }
}

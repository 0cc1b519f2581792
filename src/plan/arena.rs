//! Flat arenas: every tensor of a model in one buffer, each padded to a whole number of chunks, so that one dispatch
//! updates or reduces all of them. Parameters, gradients and each optimizer state have the same layout.

use crate::base::{Error, Result, Shape};

pub use crate::ops::record::CHUNK;

/// A tensor's place in the arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// The name, as `torch.nn.Sequential` has it: `0.weight`.
    pub name: String,
    /// The shape.
    pub shape: Shape,
    /// Which part of the arena.
    pub part: usize,
    /// The first element in that part: a multiple of [`CHUNK`].
    pub offset: usize,
}

/// The layout of the arenas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arena {
    /// The tensors in order.
    pub tensors: Vec<Tensor>,
    /// The length of each part, in elements.
    pub parts: Vec<usize>,
}

impl Arena {
    /// Lays the tensors out one behind the other, in a new part wherever one would grow past `part_len_max` elements.
    ///
    /// # Errors
    /// If a single tensor is larger than a part may be: the error names it.
    pub fn new<'a>(tensors: impl IntoIterator<Item = (&'a str, Shape)>, part_len_max: usize) -> Result<Self> {
        let mut arena = Self::default();
        for (name, shape) in tensors {
            let len = shape.len().next_multiple_of(CHUNK);
            if len > part_len_max {
                let message = format!("{shape} takes {len} elements, the device binds {part_len_max} at most");
                return Err(Error::input(name, message).help("use a smaller layer, or another device"));
            }
            match arena.parts.last() {
                Some(used) if used + len <= part_len_max => {}
                _ => arena.parts.push(0),
            }
            let part = arena.parts.len() - 1;
            arena.tensors.push(Tensor { name: name.to_owned(), shape, part, offset: arena.parts[part] });
            arena.parts[part] += len;
        }
        Ok(arena)
    }

    /// The tensor with this name.
    pub fn find(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// How many numbers the tensors hold, without padding.
    pub fn element_count(&self) -> usize {
        self.tensors.iter().map(|tensor| tensor.shape.len()).sum()
    }

    /// The name of a part of the arena called `kind`: `params.0`.
    pub fn buffer(kind: &str, part: usize) -> String {
        format!("{kind}.{part}")
    }

    /// For each chunk of a part: the tensor that it belongs to, and how many of its elements are the tensor's.
    pub fn chunks(&self, part: usize) -> Vec<(usize, usize)> {
        let mut chunks = Vec::with_capacity(self.parts[part] / CHUNK);
        for (i, tensor) in self.tensors.iter().enumerate().filter(|(_, tensor)| tensor.part == part) {
            let len = tensor.shape.len();
            chunks.extend((0..len.div_ceil(CHUNK)).map(|c| (i, (len - c * CHUNK).min(CHUNK))));
        }
        chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_are_padded_and_parts_cut() {
        let shapes = [("a", Shape::from([1025])), ("b", Shape::from([3, 5])), ("c", Shape::from([2048]))];
        let arena = Arena::new(shapes, 3 * CHUNK).unwrap();
        assert_eq!(arena.parts, [3 * CHUNK, 2 * CHUNK]);
        assert_eq!(arena.find("b").unwrap().offset, 2 * CHUNK);
        assert_eq!(arena.chunks(0), [(0, 1024), (0, 1), (1, 15)]);
        assert_eq!(arena.element_count(), 1025 + 15 + 2048);
        let error = Arena::new([("wide", Shape::from([5000]))], 4 * CHUNK).unwrap_err();
        assert!(error.to_string().starts_with("wide: [5000] takes 5120"), "{error}");
    }
}

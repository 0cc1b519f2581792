//! Shapes and element types of values.

use super::{Error, Result};
use std::fmt;

/// What the elements of a value are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// A real scalar: f32, or f64 where the executor was asked for it.
    Real,
    /// A real scalar of half precision, IEEE 754 binary16. A GPU stores it in 2 bytes; a CPU, which plays it, as it stores a
    /// [`DType::Real`], rounded to a number of half precision.
    Half,
    /// A u32: class labels, row numbers. It has no derivative.
    Index,
}

impl DType {
    /// Whether it is a real scalar, however it is stored: what arithmetic is done with.
    pub fn is_real(self) -> bool {
        self != Self::Index
    }
}

/// The extent of a value along each axis, row-major; a scalar has none. At most [`Shape::MAX_RANK`] axes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    rank: u8,
    dims: [u32; Self::MAX_RANK],
}

impl Shape {
    /// The most axes that a value can have: batch, two for the picture, channels.
    pub const MAX_RANK: usize = 4;
    /// The shape of a scalar.
    pub const SCALAR: Self = Self { rank: 0, dims: [1; Self::MAX_RANK] };

    /// A shape from its extents.
    ///
    /// # Panics
    /// With more than [`Shape::MAX_RANK`] axes, or an extent of 2³² or more.
    pub fn new(dims: &[usize]) -> Self {
        assert!(dims.len() <= Self::MAX_RANK, "{} axes, at most {} are possible", dims.len(), Self::MAX_RANK);
        let mut shape = Self { rank: dims.len() as u8, ..Self::SCALAR };
        for (slot, &dim) in shape.dims.iter_mut().zip(dims) {
            *slot = u32::try_from(dim).expect("an extent below 2³²");
        }
        shape
    }

    /// How many axes.
    pub fn rank(&self) -> usize {
        usize::from(self.rank)
    }

    /// How many elements.
    pub fn len(&self) -> usize {
        self.iter().product()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The extents, first axis first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = usize> + ExactSizeIterator + '_ {
        self.dims[..self.rank()].iter().map(|&dim| dim as usize)
    }

    /// The extents as a vector.
    pub fn to_vec(&self) -> Vec<usize> {
        self.iter().collect()
    }

    /// The extent along `axis`; 1 for axes past the last.
    pub fn dim(&self, axis: usize) -> usize {
        self.dims.get(axis).map_or(1, |&dim| dim as usize)
    }

    /// The extent of the last axis; 1 for a scalar.
    pub fn last(&self) -> usize {
        self.iter().next_back().unwrap_or(1)
    }

    /// The product of all extents but the last: how many rows.
    pub fn rows(&self) -> usize {
        self.iter().take(self.rank().saturating_sub(1)).product()
    }

    /// The product of all extents but the first: how many elements an example has, where examples are along the first axis.
    pub fn example_len(&self) -> usize {
        self.iter().skip(1).product()
    }

    /// The same shape with another extent along `axis`.
    #[must_use]
    pub fn with_dim(mut self, axis: usize, dim: usize) -> Self {
        assert!(axis < self.rank());
        self.dims[axis] = u32::try_from(dim).expect("an extent below 2³²");
        self
    }

    /// Row-major strides in elements.
    pub fn strides(&self) -> [usize; Self::MAX_RANK] {
        let mut strides = [0; Self::MAX_RANK];
        let mut stride = 1;
        for axis in (0..self.rank()).rev() {
            strides[axis] = stride;
            stride *= self.dim(axis);
        }
        strides
    }

    /// The strides with which this shape is read when broadcast to `to`: 0 along stretched axes, aligned to the axes of `to`.
    pub fn strides_in(&self, to: &Shape) -> [usize; Self::MAX_RANK] {
        let own = self.strides();
        let lead = to.rank() - self.rank();
        std::array::from_fn(|axis| {
            if axis < lead || axis >= to.rank() || self.dim(axis - lead) == 1 { 0 } else { own[axis - lead] }
        })
    }
}

impl From<&[usize]> for Shape {
    fn from(dims: &[usize]) -> Self {
        Self::new(dims)
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dims: [usize; N]) -> Self {
        Self::new(&dims)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, dim) in self.iter().enumerate() {
            write!(f, "{}{dim}", if i == 0 { "" } else { ", " })?;
        }
        f.write_str("]")
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The type of a value: element type and static shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Type {
    /// What the elements are.
    pub dtype: DType,
    /// How many along each axis.
    pub shape: Shape,
}

impl Type {
    /// Real numbers of this shape.
    pub fn real(shape: impl Into<Shape>) -> Self {
        Self { dtype: DType::Real, shape: shape.into() }
    }

    /// Real numbers of this shape, stored in half precision.
    pub fn half(shape: impl Into<Shape>) -> Self {
        Self { dtype: DType::Half, shape: shape.into() }
    }

    /// Indices of this shape.
    pub fn index(shape: impl Into<Shape>) -> Self {
        Self { dtype: DType::Index, shape: shape.into() }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dtype = match self.dtype {
            DType::Real => "real",
            DType::Half => "half",
            DType::Index => "index",
        };
        write!(f, "{dtype}{}", self.shape)
    }
}

/// The shape that two shapes broadcast to, as in numpy: axes are aligned at the end, extents of 1 stretch.
pub fn broadcast(a: Shape, b: Shape) -> Result<Shape> {
    let rank = a.rank().max(b.rank());
    let extent = |shape: &Shape, axis: usize| {
        let lead = rank - shape.rank();
        if axis < lead { 1 } else { shape.dim(axis - lead) }
    };
    let mut dims = [1; Shape::MAX_RANK];
    for (axis, dim) in dims[..rank].iter_mut().enumerate() {
        *dim = match (extent(&a, axis), extent(&b, axis)) {
            (x, y) if x == y => x,
            (1, y) => y,
            (x, 1) => x,
            _ => {
                return Err(Error::input(
                    "broadcast",
                    format!("shapes {a} and {b} do not fit: an extent must be equal, or 1"),
                ));
            }
        };
    }
    Ok(Shape::new(&dims[..rank]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasting_follows_numpy() {
        let b = |x: &[usize], y: &[usize]| broadcast(x.into(), y.into());
        assert_eq!(b(&[5, 3], &[3]).unwrap(), Shape::from([5, 3]));
        assert_eq!(b(&[5, 1], &[1, 7]).unwrap(), Shape::from([5, 7]));
        assert_eq!(b(&[], &[2]).unwrap(), Shape::from([2]));
        assert!(b(&[5, 3], &[4]).unwrap_err().to_string().contains("[5, 3] and [4]"));
        assert_eq!(Shape::from([3]).strides_in(&Shape::from([5, 3])), [0, 1, 0, 0]);
        assert_eq!(Shape::from([5, 1]).strides_in(&Shape::from([5, 3])), [1, 0, 0, 0]);
    }
}

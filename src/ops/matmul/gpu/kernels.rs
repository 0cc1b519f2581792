//! The kernels of matrix products, as data.

use crate::graph::{Needs, SUBGROUP};
use crate::ops::matmul::Extents;

/// How a kernel cuts the work. The names are those of the shader's variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ops::matmul) enum Kernel {
    /// A workgroup's tile of C, the depth of its strips of A and B in workgroup memory, a thread's part of the tile.
    Tiled { bm: usize, bn: usize, bk: usize, tm: usize, tn: usize },
    /// A workgroup's threads and a thread's part of C, straight into registers; what a subgroup shares.
    Direct { wm: usize, wn: usize, tm: usize, tn: usize, share: Share },
}

/// The factor whose numbers are the same for all threads of a workgroup, so that each is read by one and handed around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ops::matmul) enum Share {
    Nothing,
    A,
    B,
}

use Kernel::{Direct, Tiled};

/// All kernels by name. Large tiles move the fewest numbers for each product, small ones leave no part of a device idle; tall
/// and flat ones are for products with few columns or rows. The first one runs everywhere.
pub(in crate::ops::matmul) const KERNELS: [(&str, Kernel); 13] = [
    ("tile-32x32", Tiled { bm: 32, bn: 32, bk: 16, tm: 4, tn: 4 }),
    ("tile-128x128", Tiled { bm: 128, bn: 128, bk: 8, tm: 8, tn: 8 }),
    ("tile-64x64", Tiled { bm: 64, bn: 64, bk: 16, tm: 4, tn: 4 }),
    ("tile-16x16", Tiled { bm: 16, bn: 16, bk: 32, tm: 4, tn: 4 }),
    ("tile-64x16", Tiled { bm: 64, bn: 16, bk: 16, tm: 4, tn: 4 }),
    ("tile-16x64", Tiled { bm: 16, bn: 64, bk: 16, tm: 4, tn: 4 }),
    ("direct-32x32", Direct { wm: 8, wn: 8, tm: 4, tn: 4, share: Share::Nothing }),
    ("direct-8x64", Direct { wm: 1, wn: 8, tm: 8, tn: 8, share: Share::Nothing }),
    ("direct-64x8", Direct { wm: 8, wn: 1, tm: 8, tn: 8, share: Share::Nothing }),
    ("share-16x32", Direct { wm: 1, wn: 8, tm: 16, tn: 4, share: Share::A }),
    ("share-4x32", Direct { wm: 1, wn: 8, tm: 4, tn: 4, share: Share::A }),
    ("share-32x16", Direct { wm: 8, wn: 1, tm: 4, tn: 16, share: Share::B }),
    ("share-32x4", Direct { wm: 8, wn: 1, tm: 4, tn: 4, share: Share::B }),
];

impl Kernel {
    /// The kernel with this name.
    pub fn named(name: &str) -> Self {
        KERNELS.iter().find(|(known, _)| *known == name).expect("the name of a kernel").1
    }

    /// A workgroup's tile of C.
    pub fn tile(self) -> (usize, usize) {
        match self {
            Tiled { bm, bn, .. } => (bm, bn),
            Direct { wm, wn, tm, tn, .. } => (wm * tm, wn * tn),
        }
    }

    /// Tiles to a product.
    pub fn tiles(self, e: Extents) -> usize {
        let (bm, bn) = self.tile();
        e.m.div_ceil(bm) * e.n.div_ceil(bn)
    }

    /// What it asks of a device.
    pub fn needs(self) -> Needs {
        match self {
            Tiled { bm, bn, bk, tm, tn } => Needs {
                // A strip of each factor, with a vector of four numbers for padding to a row.
                workgroup_bytes: (bk * (bm + bn + 8) * 4) as u32,
                threads: (bm / tm * (bn / tn)) as u32,
                subgroups: false,
            },
            Direct { wm, wn, share, .. } => {
                Needs { workgroup_bytes: 0, threads: (wm * wn) as u32, subgroups: share != Share::Nothing }
            }
        }
    }

    /// The shader's entry point.
    pub fn entry(self) -> &'static str {
        match self {
            Tiled { .. } => "tiled",
            Direct { .. } => "direct",
        }
    }

    /// The shader's variables that say how the work is cut.
    pub fn vars(self) -> Vec<(&'static str, String)> {
        let number = |name, value: usize| (name, value.to_string());
        match self {
            Tiled { bm, bn, bk, tm, tn } => {
                vec![number("bm", bm), number("bn", bn), number("bk", bk), number("tm", tm), number("tn", tn)]
            }
            Direct { wm, wn, tm, tn, share } => {
                let share = match share {
                    Share::Nothing => "",
                    Share::A => "a",
                    Share::B => "b",
                };
                let depth = ("depth", SUBGROUP.to_string());
                vec![
                    number("wm", wm),
                    number("wn", wn),
                    number("tm", tm),
                    number("tn", tn),
                    ("share", share.into()),
                    depth,
                ]
            }
        }
    }

    /// Whether it moves whole vectors where rows consist of them.
    pub fn has_vectors(self) -> bool {
        matches!(self, Tiled { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_tiles_and_kernels_keep_to_what_the_shader_assumes() {
        for (name, kernel) in KERNELS {
            let (rows, columns) = kernel.tile();
            assert!(name.ends_with(&format!("-{rows}x{columns}")), "{name}: {rows}x{columns}");
            assert!(kernel.needs().threads <= 256, "{name}");
            match kernel {
                Tiled { bm, bn, bk, tm, tn } => {
                    assert!([bm, bn, bk, tm, tn].iter().all(|x| x % 4 == 0) && bm % tm == 0 && bn % tn == 0, "{name}");
                    assert!(kernel.needs().workgroup_bytes <= 16 * 1024, "{name}");
                }
                Direct { wm, wn, share, .. } => match share {
                    Share::Nothing => {}
                    Share::A => assert!(wm == 1 && (wn as u32).is_multiple_of(SUBGROUP), "{name}"),
                    Share::B => assert!(wn == 1 && (wm as u32).is_multiple_of(SUBGROUP), "{name}"),
                },
            }
        }
    }
}

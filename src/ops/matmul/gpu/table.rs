//! Which kernel takes which product: a table by shape and class of device, so that results depend on no timing.

use super::kernels::Kernel;
use crate::graph::Class;
use crate::ops::matmul::Extents;

/// A row: products of this class and size take this kernel where the device has what it needs.
struct Row {
    classes: &'static [Class],
    /// The most rows and columns of C, and terms of each sum.
    most: [usize; 3],
    /// Tiles that there are at least; below, a tile is too large to occupy a device.
    tiles: usize,
    kernel: &'static str,
}

const ANY: usize = usize::MAX;
/// The most rows, columns or terms of a product that counts as flat, tall or short.
const NARROW: usize = 16;
const SOFTWARE: &[Class] = &[Class::Software];
const INTEGRATED: &[Class] = &[Class::Integrated];
const DISCRETE: &[Class] = &[Class::Discrete];
const GPUS: &[Class] = &[Class::Integrated, Class::Discrete];

/// The rows in the order in which they are asked. Those for software are measured (benches/NOTES.md), the others follow from how many
/// workgroups it takes to fill such a GPU; `steepest tune` measures on the device at hand.
const ROWS: [Row; 13] = [
    Row { classes: SOFTWARE, most: [ANY, 4, ANY], tiles: 0, kernel: "share-32x4" },
    Row { classes: SOFTWARE, most: [ANY, NARROW, ANY], tiles: 0, kernel: "share-32x16" },
    Row { classes: SOFTWARE, most: [ANY, ANY, NARROW], tiles: 0, kernel: "direct-8x64" },
    Row { classes: SOFTWARE, most: [ANY, ANY, ANY], tiles: 0, kernel: "share-16x32" },
    Row { classes: SOFTWARE, most: [ANY, NARROW, ANY], tiles: 0, kernel: "direct-64x8" },
    Row { classes: SOFTWARE, most: [ANY, ANY, ANY], tiles: 0, kernel: "direct-8x64" },
    Row { classes: GPUS, most: [ANY, NARROW, ANY], tiles: 0, kernel: "tile-64x16" },
    Row { classes: GPUS, most: [NARROW, ANY, ANY], tiles: 0, kernel: "tile-16x64" },
    Row { classes: DISCRETE, most: [ANY, ANY, ANY], tiles: 96, kernel: "tile-128x128" },
    Row { classes: DISCRETE, most: [ANY, ANY, ANY], tiles: 96, kernel: "tile-64x64" },
    Row { classes: INTEGRATED, most: [ANY, ANY, ANY], tiles: 32, kernel: "tile-128x128" },
    Row { classes: INTEGRATED, most: [ANY, ANY, ANY], tiles: 32, kernel: "tile-64x64" },
    Row { classes: GPUS, most: [ANY, ANY, ANY], tiles: 0, kernel: "tile-32x32" },
];

/// Tiles below which sums are cut into parts, by class.
fn tiles_wanted(class: Class) -> usize {
    match class {
        Class::Software => 2,
        Class::Integrated => 32,
        Class::Discrete => 96,
    }
}

/// Terms of a part at least: each part costs a write and a read of C.
const PART_MIN: usize = 128;

/// Terms of a sum from which on it is cut: a shorter one is not worth the dispatch that adds up its parts.
const SUM_MIN: usize = 1024;

/// Parts of a sum at most.
const PARTS_MAX: usize = 32;

/// The kernels for a product on devices of a class, the most wanted first, each with the parts into which its sums are cut.
pub(super) fn wanted(class: Class, e: Extents) -> Vec<(&'static str, usize)> {
    let fits = |row: &&Row| {
        let tiles = Kernel::named(row.kernel).tiles(e) * e.batch;
        let is_within = [e.m, e.n, e.k].iter().zip(&row.most).all(|(extent, most)| extent <= most);
        row.classes.contains(&class) && is_within && tiles >= row.tiles
    };
    let parts = |kernel: &str| {
        let tiles = Kernel::named(kernel).tiles(e) * e.batch;
        let most = if e.k < SUM_MIN { 1 } else { e.k / PART_MIN };
        (tiles_wanted(class) / tiles.max(1)).min(most).clamp(1, PARTS_MAX)
    };
    ROWS.iter().filter(fits).map(|row| (row.kernel, parts(row.kernel))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Target;

    fn first(class: Class, m: usize, n: usize, k: usize) -> (&'static str, usize) {
        wanted(class, Extents { batch: 1, m, n, k })[0]
    }

    #[test]
    fn shape_and_class_choose_the_kernel() {
        assert_eq!(first(Class::Discrete, 2048, 2048, 64), ("tile-128x128", 1));
        assert_eq!(first(Class::Discrete, 1024, 1024, 64), ("tile-64x64", 1));
        assert_eq!(first(Class::Integrated, 1024, 1024, 64), ("tile-128x128", 1));
        assert_eq!(first(Class::Discrete, 128, 512, 100), ("tile-32x32", 1));
        assert_eq!(first(Class::Discrete, 4096, 10, 512), ("tile-64x16", 1));
        assert_eq!(first(Class::Integrated, 10, 4096, 512), ("tile-16x64", 1));
        assert_eq!(first(Class::Software, 128, 512, 784), ("share-16x32", 1));
        assert_eq!(first(Class::Software, 128, 10, 512), ("share-32x16", 1));
        assert_eq!(first(Class::Software, 128, 512, 10), ("direct-8x64", 1));
    }

    #[test]
    fn long_sums_of_few_tiles_are_cut() {
        assert_eq!(first(Class::Discrete, 64, 10, 60_000), ("tile-64x16", 32));
        assert_eq!(first(Class::Discrete, 64, 10, 1024), ("tile-64x16", 8));
        assert_eq!(first(Class::Discrete, 64, 10, 1023), ("tile-64x16", 1));
        assert_eq!(first(Class::Integrated, 128, 64, 1024), ("tile-32x32", 4));
    }

    #[test]
    fn every_class_has_a_kernel_for_whatever_a_device_has() {
        let least = Target::default();
        for class in Class::ALL {
            for (m, n) in [(1, 1), (1, 4000), (4000, 1), (300, 300), (4000, 4000)] {
                let kernels = wanted(class, Extents { batch: 1, m, n, k: 7 });
                assert!(kernels.iter().any(|(name, _)| least.can(&Kernel::named(name).needs())), "{class:?} {m}x{n}");
            }
        }
    }
}

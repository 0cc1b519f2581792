//! A picture as PNG.

use crate::base::{Error, Result};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree};

/// Pixels for each pixel of the SVG: sharp on the screens of today.
const SCALE: f32 = 2.0;

/// The picture as PNG, its text in the font that comes with the program.
///
/// # Errors
/// If it is no SVG.
pub fn png(svg: &str) -> Result<Vec<u8>> {
    let failed = |what: String| Error::failure("picture", what);
    let mut options = Options::default();
    options.fontdb_mut().load_font_data(epaint_default_fonts::UBUNTU_LIGHT.to_vec());
    let family = options.fontdb.faces().next().and_then(|face| face.families.first()).map(|family| family.0.clone());
    if let Some(family) = family {
        options.fontdb_mut().set_sans_serif_family(family);
    }
    let tree = Tree::from_str(svg, &options).map_err(|error| failed(error.to_string()))?;
    let [width, height] = [tree.size().width(), tree.size().height()].map(|x| (SCALE * x).ceil() as u32);
    let mut pixels = Pixmap::new(width, height).ok_or_else(|| failed(format!("{width} × {height} pixels")))?;
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::svg::{Anchor, Svg};
    use super::*;

    #[test]
    fn text_leaves_ink() {
        let picture = |text: &str| {
            let mut svg = Svg::new(60.0, 30.0);
            svg.text([5.0, 20.0], text, 14.0, Anchor::Start, "#000000");
            Pixmap::decode_png(&png(&svg.finish()).unwrap()).unwrap()
        };
        let dark = |pixels: &Pixmap| pixels.pixels().iter().filter(|pixel| pixel.red() < 128).count();
        assert_eq!((picture("").width(), picture("").height()), (120, 60));
        assert!(dark(&picture("loss")) > 50 && dark(&picture("")) == 0);
        assert!(png("no picture").is_err());
    }
}

//! The picture of a code: QR as SVG and PNG. Screens 6-M, print and email 8-Q; never inverted, four modules of quiet.

use std::fmt::Write;

use qrcode::{Color, EcLevel, QrCode, Version};

use crate::picture;

/// Where a picture is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// A screen: version 6, level M.
    Screen,
    /// Paper or an email: version 8, level Q.
    Print,
}

/// Modules of quiet on every side (ISO/IEC 18004).
const QUIET: usize = 4;

fn matrix(text: &str, surface: Surface) -> Option<(usize, Vec<bool>)> {
    let (version, level) = match surface {
        Surface::Screen => (6, EcLevel::M),
        Surface::Print => (8, EcLevel::Q),
    };
    let qr = QrCode::with_version(text, Version::Normal(version), level).or_else(|_| QrCode::with_error_correction_level(text, level)).ok()?;
    Some((qr.width(), qr.to_colors().into_iter().map(|c| c == Color::Dark).collect()))
}

/// The path of the dark modules of a code, with the side of its view box: rows of runs.
#[must_use]
pub fn path(text: &str, surface: Surface) -> Option<(usize, String)> {
    let (width, dark) = matrix(text, surface)?;
    let mut path = String::new();
    for (y, row) in dark.chunks(width).enumerate() {
        let mut x = 0;
        while x < width {
            let run = row[x..].iter().take_while(|dark| **dark).count();
            if run > 0 {
                // Writing to a String does not fail.
                let _ = write!(path, "M{} {}h{run}v1h-{run}z", x + QUIET, y + QUIET);
            }
            x += run.max(1);
        }
    }
    Some((width + 2 * QUIET, path))
}

/// The code as an SVG document.
#[must_use]
pub fn svg(text: &str, surface: Surface) -> Option<String> {
    let (side, path) = path(text, surface)?;
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\">\
         <path fill=\"#fff\" d=\"M0 0h{side}v{side}H0z\"/><path d=\"{path}\"/></svg>"
    ))
}

/// The code as a grey PNG, `scale` pixels a module.
#[must_use]
pub fn png(text: &str, surface: Surface, scale: usize) -> Option<Vec<u8>> {
    let (width, dark) = matrix(text, surface)?;
    let side = (width + 2 * QUIET) * scale;
    let mut pixels = vec![255_u8; side * side];
    for (i, _) in dark.iter().enumerate().filter(|(_, dark)| **dark) {
        let (left, top) = ((i % width + QUIET) * scale, (i / width + QUIET) * scale);
        for y in top..top + scale {
            pixels[y * side + left..y * side + left + scale].fill(0);
        }
    }
    let side = u32::try_from(side).ok()?;
    Some(picture::grey_png(side, side, pixels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_reads_back_as_its_text() {
        let text = format!("G1{}", "A7".repeat(70)) + "Q";
        for (surface, modules) in [(Surface::Screen, 41), (Surface::Print, 49)] {
            assert_eq!(path(&text, surface).map(|(side, _)| side), Some(modules + 8));
            let png = png(&text, surface, 6).unwrap();
            let (width, height, pixels) = picture::grey(&png).unwrap();
            let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| pixels[y * width + x]);
            let grids = image.detect_grids();
            assert_eq!(grids.first().and_then(|g| g.decode().ok()).map(|(_, read)| read), Some(text.clone()));
        }
    }
}

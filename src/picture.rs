//! Pictures that people send us: decoded within bounds and encoded anew, so that nothing but pixels is kept.

use std::io::Cursor;

use image::{ImageReader, Limits, imageops::FilterType};

/// The longest side of a kept picture, in pixels.
const SIDE: u32 = 1_600;

/// A picture cannot be used; the text is for its sender.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PictureError {
    /// Not a picture that we read.
    #[error("not a JPEG, PNG or WebP picture")]
    Unreadable,
    /// More pixels than we look at.
    #[error("larger than 8,000 pixels on a side")]
    TooLarge,
}

/// Decodes a picture within bounds (8,000 pixels a side, 256 MB), makes it at most 1,600 pixels long and encodes it as JPEG.
///
/// # Errors
/// [`PictureError`].
pub fn cleaned(bytes: &[u8]) -> Result<Vec<u8>, PictureError> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|_| PictureError::Unreadable)?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(8_000);
    limits.max_image_height = Some(8_000);
    limits.max_alloc = Some(256 << 20);
    reader.limits(limits);
    let picture = reader.decode().map_err(|error| match error {
        image::ImageError::Limits(_) => PictureError::TooLarge,
        _ => PictureError::Unreadable,
    })?;
    let picture = if picture.width().max(picture.height()) > SIDE { picture.resize(SIDE, SIDE, FilterType::Lanczos3) } else { picture };
    let mut out = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut out, 86);
    picture.to_rgb8().write_with_encoder(encoder).map_err(|_| PictureError::Unreadable)?;
    Ok(out)
}

/// A grey picture as PNG: what QR codes are sent as.
#[must_use]
pub fn grey_png(width: u32, height: u32, pixels: Vec<u8>) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    if let Some(picture) = image::GrayImage::from_raw(width, height, pixels) {
        let _ = picture.write_to(&mut out, image::ImageFormat::Png);
    }
    out.into_inner()
}

/// The pixels of a picture in grey, for reading codes: width, height, one byte a pixel.
#[must_use]
pub fn grey(bytes: &[u8]) -> Option<(usize, usize, Vec<u8>)> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(4_000);
    limits.max_image_height = Some(4_000);
    reader.limits(limits);
    let picture = reader.decode().ok()?.to_luma8();
    Some((picture.width() as usize, picture.height() as usize, picture.into_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_picture_is_refused() {
        assert_eq!(cleaned(b"<svg onload=alert(1)>"), Err(PictureError::Unreadable));
        assert_eq!(cleaned(b""), Err(PictureError::Unreadable));
    }

    #[test]
    fn a_picture_is_kept_as_jpeg_within_bounds() {
        let png = grey_png(2_000, 100, vec![200; 200_000]);
        let kept = cleaned(&png).unwrap();
        assert!(kept.starts_with(&[0xff, 0xd8]));
        assert_eq!(grey(&kept).map(|(w, h, _)| (w, h)), Some((1_600, 80)));
    }
}

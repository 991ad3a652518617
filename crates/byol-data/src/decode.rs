use std::io::Cursor;

use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader};

use crate::DataError;

/// What a picture may cost before it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest side in pixels.
    pub max_side: u32,
    /// Bytes that decoding may allocate.
    pub max_bytes: u64,
}

impl Limits {
    /// 16,384 pixels a side and 512 MiB.
    pub const STANDARD: Self = Self { max_side: 16_384, max_bytes: 512 << 20 };
}

/// A decoded picture: 8 bit, rows from the top, channels interleaved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// width · height · channels bytes.
    pub data: Vec<u8>,
}

fn reader(bytes: &[u8], limits: Limits) -> Result<impl ImageDecoder + '_, DataError> {
    let undecodable = |why: String| DataError::Undecodable { why };
    let mut reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| undecodable(e.to_string()))?;
    match reader.format() {
        None => return Err(undecodable("not a picture in a format that is known here".into())),
        // The decoder fills what is missing with grey and says nothing.
        Some(ImageFormat::Jpeg) if !jpeg_ends(bytes) => {
            return Err(undecodable("a JPEG that was cut off (it has no end marker)".into()));
        }
        Some(_) => {}
    }
    let mut image_limits = image::Limits::default();
    image_limits.max_image_width = Some(limits.max_side);
    image_limits.max_image_height = Some(limits.max_side);
    image_limits.max_alloc = Some(limits.max_bytes);
    reader.limits(image_limits);
    reader.into_decoder().map_err(|e| undecodable(e.to_string()))
}

/// Whether the last marker of a JPEG's end is the end of the image. One scan that is
/// not followed by it, with whatever thumbnails before, is a file that was cut.
fn jpeg_ends(bytes: &[u8]) -> bool {
    let last = bytes.windows(2).rev().find(|pair| matches!(pair, [0xff, 0xd9 | 0xda]));
    last == Some(&[0xff, 0xd9])
}

/// Width, height and channels (1 or 3) from the header alone.
///
/// # Errors
///
/// If the header cannot be read or claims more than `limits`.
pub fn probe(bytes: &[u8], limits: Limits) -> Result<(usize, usize, usize), DataError> {
    let decoder = reader(bytes, limits)?;
    let (width, height) = decoder.dimensions();
    let grey =
        matches!(decoder.color_type(), ColorType::L8 | ColorType::La8 | ColorType::L16 | ColorType::La16);
    Ok((width as usize, height as usize, if grey { 1 } else { 3 }))
}

/// Decodes a picture to `channels` (1 or 3). Grey becomes colour by copying;
/// transparency is laid over white; 16 bits become 8 by rounding.
///
/// # Errors
///
/// If the bytes are not a picture, claim more than `limits`, or are in colour
/// when one channel is asked for.
pub fn decode(bytes: &[u8], channels: usize, limits: Limits) -> Result<Decoded, DataError> {
    let decoder = reader(bytes, limits)?;
    let picture =
        DynamicImage::from_decoder(decoder).map_err(|e| DataError::Undecodable { why: e.to_string() })?;
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let color = picture.color();
    let picture = if color.has_alpha() { over_white(picture) } else { picture };
    let data = match (channels, color.has_color()) {
        (1, false) => picture.into_luma8().into_raw(),
        (3, _) => picture.into_rgb8().into_raw(),
        (1, true) => {
            return Err(DataError::Undecodable { why: "a colour picture in a set of grey ones".into() });
        }
        _ => {
            return Err(DataError::Undecodable {
                why: format!("{channels} channels asked for, 1 and 3 can be decoded"),
            });
        }
    };
    Ok(Decoded { width, height, channels, data })
}

fn over_white(picture: DynamicImage) -> DynamicImage {
    let mut rgba = picture.into_rgba8();
    for pixel in rgba.pixels_mut() {
        let alpha = u32::from(pixel.0[3]);
        for value in &mut pixel.0[..3] {
            *value = ((u32::from(*value) * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
        }
        pixel.0[3] = 255;
    }
    DynamicImage::ImageRgba8(rgba)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jpeg_that_was_cut_is_refused() {
        let picture =
            image::RgbImage::from_fn(64, 48, |x, y| image::Rgb([x as u8 * 4, y as u8 * 5, (x * y) as u8]));
        let mut bytes = Vec::new();
        image::codecs::jpeg::JpegEncoder::new(&mut bytes).encode_image(&picture).unwrap();
        decode(&bytes, 3, Limits::STANDARD).unwrap();
        for len in (0..bytes.len()).step_by(7) {
            let error = decode(&bytes[..len], 3, Limits::STANDARD).unwrap_err().to_string();
            assert!(len < bytes.len() / 2 || error.contains("cut off"), "{len} bytes: {error}");
        }
        bytes.extend_from_slice(b"what cameras write behind the end");
        decode(&bytes, 3, Limits::STANDARD).unwrap();
    }
}

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use crate::DataError;

/// A grey 8-bit picture as the smallest PNG over all row filters, best
/// compression. The same pixels give the same bytes.
///
/// # Errors
///
/// If `pixels` does not hold width · height bytes.
pub fn smallest_grey_png(pixels: &[u8], width: usize, height: usize) -> Result<Vec<u8>, DataError> {
    let undecodable = |why: String| DataError::Undecodable { why };
    let side = |n: usize| u32::try_from(n).map_err(|e| undecodable(e.to_string()));
    if width.checked_mul(height) != Some(pixels.len()) {
        return Err(undecodable(format!("{} bytes for {width}x{height} grey pixels", pixels.len())));
    }
    let filters = [
        FilterType::NoFilter,
        FilterType::Sub,
        FilterType::Up,
        FilterType::Avg,
        FilterType::Paeth,
        FilterType::Adaptive,
    ];
    let mut best: Option<Vec<u8>> = None;
    for filter in filters {
        let mut bytes = Vec::new();
        PngEncoder::new_with_quality(&mut bytes, CompressionType::Best, filter)
            .write_image(pixels, side(width)?, side(height)?, ExtendedColorType::L8)
            .map_err(|e| undecodable(e.to_string()))?;
        if best.as_ref().is_none_or(|best| bytes.len() < best.len()) {
            best = Some(bytes);
        }
    }
    best.ok_or_else(|| undecodable("no filter".into())) // not reached: there are six
}

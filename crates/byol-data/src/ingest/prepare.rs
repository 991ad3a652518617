//! From what a source gives to what is written: looked at, turned into 8 bits, shrunk.

use std::fs;
use std::io::Read;

use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType as RowFilter, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};

use super::source::Content;
use super::{IngestOptions, smallest_grey_png};
use crate::decode::npy;
use crate::{DataError, Decoded, Rules, decode_native, probe};

/// A picture as it is to be written.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) bytes: Vec<u8>,
    pub(super) channels: usize,
    /// Of what it shows, as it is written.
    pub(super) hash: [u8; 16],
}

/// Quality of JPEGs that had to be written anew.
const JPEG_QUALITY: u8 = 95;
/// Grey pictures up to so many pixels are tried with all filters of PNG.
const SMALL: usize = 64 * 64;

/// Decodes the picture, so that whatever is wrong with it is known now, and encodes it anew
/// only if it must be.
pub(super) fn prepare(content: Content, options: &IngestOptions) -> Result<Prepared, String> {
    let refused = |error: DataError| error.full();
    let (encoded, picture, mut changed) = match content {
        Content::Fault(why) => return Err(why),
        Content::Pixels(picture) => (None, picture, true),
        Content::File(path) => {
            let bytes = read(&path, options.limits.max_file)?;
            let (picture, changed) = look(&bytes, options).map_err(refused)?;
            (Some(bytes), picture, changed)
        }
        Content::Encoded(bytes) => {
            let (picture, changed) = look(&bytes, options).map_err(refused)?;
            (Some(bytes), picture, changed)
        }
    };
    let mut picture = picture;
    if options.grey && !matches!(picture.channels, 1 | 3) {
        return Err(format!("{} channels cannot be made grey", picture.channels));
    }
    if options.grey && picture.channels == 3 {
        picture = greyed(&picture);
        changed = true;
    }
    if let Some(side) = options.max_side.map(|side| side as usize)
        && picture.width.max(picture.height) > side
    {
        picture = shrunk(&picture, side)?;
        changed = true;
    }
    let (channels, hash) = (picture.channels, picture.hash());
    let bytes = match encoded {
        Some(bytes) if !changed => bytes,
        Some(bytes) => {
            let jpeg = bytes.starts_with(&[0xff, 0xd8]);
            encode(&picture, jpeg).map_err(refused)?
        }
        None => encode(&picture, false).map_err(refused)?,
    };
    Ok(Prepared { bytes, channels, hash })
}

fn read(path: &std::path::Path, limit: u64) -> Result<Vec<u8>, String> {
    let failed = |e: std::io::Error| format!("cannot be read: {e}");
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err("not a regular file".into()); // opening a pipe waits for ever
    }
    let file = fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(format!("more than {limit} bytes of file"));
    }
    Ok(bytes)
}

/// The pixels, and whether the bytes must be written anew: without our rules they would decode
/// to others, or not at all.
fn look(bytes: &[u8], options: &IngestOptions) -> Result<(Decoded, bool), DataError> {
    let picture = decode_native(bytes, options.rules, options.limits)?;
    let header = probe(bytes, options.limits)?;
    let background = options.rules.background != Rules::STANDARD.background;
    // An array that is a picture becomes one that everybody opens.
    let array = npy::is_npy(bytes) && matches!(picture.channels, 1 | 3);
    Ok((picture, array || header.deep || header.transparent && (background || options.grey)))
}

fn greyed(picture: &Decoded) -> Decoded {
    let luma =
        |p: &[u8]| (u32::from(p[0]) * 299 + u32::from(p[1]) * 587 + u32::from(p[2]) * 114 + 500) / 1000;
    let data = picture.data.chunks_exact(3).map(|pixel| luma(pixel) as u8).collect();
    Decoded { channels: 1, data, ..*picture }
}

/// Each channel by itself where there are neither one nor three.
fn shrunk(picture: &Decoded, side: usize) -> Result<Decoded, String> {
    let (w, h, channels) = (picture.width, picture.height, picture.channels);
    let scaled = |n: usize| ((n * side * 2 + w.max(h)) / (2 * w.max(h))).max(1);
    let (width, height) = (scaled(w), scaled(h));
    if channels == 1 || channels == 3 {
        let kind = if channels == 1 { PixelType::U8 } else { PixelType::U8x3 };
        let data = resized(picture.data.clone(), (w, h), (width, height), kind)?;
        return Ok(Decoded { width, height, channels, data });
    }
    let mut data = vec![0; width * height * channels];
    for channel in 0..channels {
        let plane = picture.data.iter().skip(channel).step_by(channels).copied().collect();
        let plane = resized(plane, (w, h), (width, height), PixelType::U8)?;
        for (to, from) in data.iter_mut().skip(channel).step_by(channels).zip(plane) {
            *to = from;
        }
    }
    Ok(Decoded { width, height, channels, data })
}

fn resized(
    data: Vec<u8>,
    from: (usize, usize),
    to: (usize, usize),
    kind: PixelType,
) -> Result<Vec<u8>, String> {
    let source = Image::from_vec_u8(from.0 as u32, from.1 as u32, data, kind).map_err(|e| e.to_string())?;
    let mut target = Image::new(to.0 as u32, to.1 as u32, kind);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3));
    Resizer::new().resize(&source, &mut target, &options).map_err(|e| e.to_string())?;
    Ok(target.into_vec())
}

fn encode(picture: &Decoded, jpeg: bool) -> Result<Vec<u8>, DataError> {
    let Decoded { width, height, channels, data } = picture;
    let color = match channels {
        1 => ExtendedColorType::L8,
        3 => ExtendedColorType::Rgb8,
        _ => return Ok(npy::encode(picture)),
    };
    if *channels == 1 && !jpeg && width * height <= SMALL {
        return smallest_grey_png(data, *width, *height);
    }
    let mut bytes = Vec::new();
    let (w, h) = (*width as u32, *height as u32); // limited when it was decoded
    let written = if jpeg {
        JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY).write_image(data, w, h, color)
    } else {
        PngEncoder::new_with_quality(&mut bytes, CompressionType::Default, RowFilter::Adaptive)
            .write_image(data, w, h, color)
    };
    written.map_err(|e| DataError::Undecodable { why: format!("encoding it anew: {e}") })?;
    Ok(bytes)
}

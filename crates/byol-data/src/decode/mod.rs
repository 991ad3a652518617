//! From encoded bytes to 8-bit pixels, under limits.

pub(crate) mod npy;
#[cfg(test)]
mod tests;

use std::io::Cursor;

use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader};

use crate::DataError;
use crate::guard::guarded;

/// What a picture may cost before it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest side in pixels.
    pub max_side: u32,
    /// Pixels.
    pub max_pixels: u64,
    /// Bytes that decoding may allocate.
    pub max_bytes: u64,
    /// Bytes of the encoded picture.
    pub max_file: u64,
}

impl Limits {
    /// 65,535 pixels a side, 178,956,970 pixels (where Pillow warns of a bomb), 1 GiB of
    /// memory, 256 MiB of file.
    pub const STANDARD: Self =
        Self { max_side: 65_535, max_pixels: 178_956_970, max_bytes: 1 << 30, max_file: 256 << 20 };
}

/// What becomes of pixels that are not 8 bit and opaque.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// What shows through transparent pixels: red, green, blue.
    pub background: [u8; 3],
    /// The values of 16 bits that become 0 and 255; what is outside is clipped.
    pub range16: (u16, u16),
}

impl Rules {
    /// Over white; 0 to 65,535, that is divided by 257 and rounded.
    pub const STANDARD: Self = Self { background: [255; 3], range16: (0, u16::MAX) };

    fn from16(self, value: u16) -> u8 {
        let (low, high) = (u32::from(self.range16.0), u32::from(self.range16.1));
        let span = high.saturating_sub(low).max(1);
        let value = u32::from(value).clamp(low, high.max(low)) - low;
        ((value * 255 + span / 2) / span) as u8
    }
}

/// A decoded picture: 8 bit, rows from the top, channels interleaved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// 1 (grey), 3 (red, green, blue), or any number from a NumPy array.
    pub channels: usize,
    /// width · height · channels bytes.
    pub data: Vec<u8>,
}

#[cfg(any(feature = "ingest", feature = "loader"))]
impl Decoded {
    /// A hash of what it shows: grey is the same in one channel and in three.
    pub(crate) fn hash(&self) -> [u8; 16] {
        use sha2::{Digest, Sha256};
        let is_grey = self.channels == 3 && self.data.chunks_exact(3).all(|p| p[0] == p[1] && p[1] == p[2]);
        let channels = if is_grey { 1 } else { self.channels };
        let mut digest = Sha256::new();
        digest.update([self.width, self.height, channels].map(|n| (n as u64).to_le_bytes()).concat());
        if is_grey {
            let first: Vec<u8> = self.data.iter().step_by(3).copied().collect();
            digest.update(&first);
        } else {
            digest.update(&self.data);
        }
        let mut hash = [0; 16];
        hash.copy_from_slice(&digest.finalize()[..16]);
        hash
    }
}

/// What a header says of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Pixels, upright.
    pub width: usize,
    /// Pixels, upright.
    pub height: usize,
    /// As of [`Decoded`].
    pub channels: usize,
    /// Whether decoding makes 8 bits of more.
    pub deep: bool,
    /// Whether a background shows through.
    pub transparent: bool,
}

fn undecodable(why: impl Into<String>) -> DataError {
    DataError::Undecodable { why: why.into() }
}

fn refused(error: &ImageError) -> DataError {
    undecodable(match error {
        ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            "the picture is cut off (the file ends too early)".to_owned()
        }
        other => other.to_string(),
    })
}

fn reader(bytes: &[u8], limits: Limits) -> Result<(ImageFormat, impl ImageDecoder + '_), DataError> {
    let reader =
        ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| undecodable(e.to_string()))?;
    let mut reader = reader;
    let Some(format) = reader.format() else {
        return Err(undecodable(unknown(bytes)));
    };
    // The decoder fills what is missing with grey and says nothing.
    if format == ImageFormat::Jpeg && !jpeg_ends(bytes) {
        return Err(undecodable("a JPEG that was cut off (it has no end marker)"));
    }
    let mut image_limits = image::Limits::default();
    image_limits.max_image_width = Some(limits.max_side);
    image_limits.max_image_height = Some(limits.max_side);
    image_limits.max_alloc = Some(limits.max_bytes);
    reader.limits(image_limits);
    let decoder = reader.into_decoder().map_err(|e| refused(&e))?;
    let (width, height) = decoder.dimensions();
    within(width.into(), height.into(), decoder.total_bytes(), limits)?;
    Ok((format, decoder))
}

fn within(width: u64, height: u64, bytes: u64, limits: Limits) -> Result<(), DataError> {
    let pixels = width.saturating_mul(height);
    if width.max(height) > limits.max_side.into() || pixels > limits.max_pixels || bytes > limits.max_bytes {
        return Err(undecodable(format!(
            "{width}x{height} pixels ({bytes} bytes) pass the limits: {} pixels a side, {} pixels, {} bytes",
            limits.max_side, limits.max_pixels, limits.max_bytes
        )));
    }
    if pixels == 0 {
        return Err(undecodable(format!("a picture of {width}x{height} pixels")));
    }
    Ok(())
}

/// What bytes are that no decoder here knows.
fn unknown(bytes: &[u8]) -> String {
    let brand = bytes.get(4..12).filter(|brand| brand.starts_with(b"ftyp")).map(|brand| &brand[4..]);
    match brand {
        Some(b"heic" | b"heix" | b"hevc" | b"mif1" | b"msf1") => {
            "a HEIC picture, which is not read here; convert it to JPEG or PNG".into()
        }
        Some(b"avif" | b"avis") => {
            "an AVIF picture, which is not read here; convert it to JPEG or PNG".into()
        }
        _ if bytes.is_empty() => "the file is empty".into(),
        _ => {
            "not a picture in a format that is known here (JPEG, PNG, WebP, GIF, BMP, TIFF, PNM, .npy)".into()
        }
    }
}

/// Whether a JPEG comes to its end marker. What phones write behind it (a film, a second
/// picture) is not looked at.
fn jpeg_ends(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr(0xff, rest)) {
        at += found + 1;
        match bytes.get(at) {
            None => return false,
            Some(0xd9) => return true,
            // Data, restarts of it, filling.
            Some(0x00 | 0x01 | 0xd0..=0xd8) => at += 1,
            Some(0xff) => {}
            // A segment that says its length; after one that starts a scan come data.
            Some(_) => match bytes.get(at + 1..at + 3) {
                Some(length) => at += 1 + usize::from(u16::from_be_bytes([length[0], length[1]])),
                None => return false,
            },
        }
    }
    false
}

/// Whether bytes begin as a picture that can be decoded here.
pub fn is_picture(start: &[u8]) -> bool {
    npy::is_npy(start)
        || image::guess_format(start).is_ok_and(|format| {
            use ImageFormat::{Bmp, Gif, Jpeg, Png, Pnm, Tiff, WebP};
            matches!(format, Bmp | Gif | Jpeg | Png | Pnm | Tiff | WebP)
        })
}

/// What the header says.
///
/// # Errors
///
/// If the header cannot be read or claims more than `limits`.
pub fn probe(bytes: &[u8], limits: Limits) -> Result<Header, DataError> {
    if npy::is_npy(bytes) {
        let array = npy::header(bytes, limits)?;
        let (width, height, channels) = (array.width, array.height, array.channels);
        return Ok(Header { width, height, channels, deep: array.wide.is_some(), transparent: false });
    }
    guarded(|| header(bytes, limits)).unwrap_or_else(|| Err(undecodable(STOPPED)))
}

/// What is said of a picture that makes a decoder panic.
const STOPPED: &str = "the picture is damaged (its decoder stopped)";

fn header(bytes: &[u8], limits: Limits) -> Result<Header, DataError> {
    let (_, mut decoder) = reader(bytes, limits)?;
    let (width, height) = decoder.dimensions();
    let color = decoder.color_type();
    let turned = quarter_turned(decoder.orientation().unwrap_or(Orientation::NoTransforms));
    let (width, height) = if turned { (height, width) } else { (width, height) };
    Ok(Header {
        width: width as usize,
        height: height as usize,
        channels: if color.has_color() { 3 } else { 1 },
        deep: color.bytes_per_pixel() > color.channel_count(),
        transparent: color.has_alpha(),
    })
}

fn quarter_turned(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

/// Decodes a picture to `channels`. Upright as its EXIF data say; grey becomes colour by
/// copying; transparency is laid over white; 16 bits are divided by 257 and rounded.
///
/// # Errors
///
/// If the bytes are not a picture, claim more than `limits`, or have other channels than
/// are asked for.
pub fn decode(bytes: &[u8], channels: usize, limits: Limits) -> Result<Decoded, DataError> {
    let picture = decode_native(bytes, Rules::STANDARD, limits)?;
    match (picture.channels, channels) {
        (found, asked) if found == asked => Ok(picture),
        (1, asked) => {
            let data = picture.data.iter().flat_map(|&value| std::iter::repeat_n(value, asked)).collect();
            Ok(Decoded { channels, data, ..picture })
        }
        (3, 1) => Err(undecodable("a colour picture in a set of grey ones")),
        (found, asked) => Err(undecodable(format!("a picture of {found} channels in a set of {asked}"))),
    }
}

/// Decodes a picture to the channels that it has: 1, 3, or those of a NumPy array.
///
/// # Errors
///
/// If the bytes are not a picture or claim more than `limits`.
pub fn decode_native(bytes: &[u8], rules: Rules, limits: Limits) -> Result<Decoded, DataError> {
    if bytes.len() as u64 > limits.max_file {
        return Err(undecodable(format!("{} bytes of file, more than {}", bytes.len(), limits.max_file)));
    }
    if npy::is_npy(bytes) {
        return npy::decode(bytes, rules, limits);
    }
    guarded(|| pixels(bytes, rules, limits)).unwrap_or_else(|| Err(undecodable(STOPPED)))
}

fn pixels(bytes: &[u8], rules: Rules, limits: Limits) -> Result<Decoded, DataError> {
    let (_, mut decoder) = reader(bytes, limits)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let color = decoder.color_type();
    if matches!(color, ColorType::Rgb32F | ColorType::Rgba32F) {
        return Err(undecodable("pixels of 32-bit floats; make them 8 or 16 bit"));
    }
    let mut picture = DynamicImage::from_decoder(decoder).map_err(|e| refused(&e))?;
    picture.apply_orientation(orientation);
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let (channels, data) = match picture {
        DynamicImage::ImageLuma8(pixels) => (1, pixels.into_raw()),
        DynamicImage::ImageRgb8(pixels) => (3, pixels.into_raw()),
        DynamicImage::ImageLumaA8(pixels) => laid_over(&pixels.into_raw(), 1, rules.background),
        DynamicImage::ImageRgba8(pixels) => laid_over(&pixels.into_raw(), 3, rules.background),
        DynamicImage::ImageLuma16(pixels) => (1, narrowed(&pixels.into_raw(), rules)),
        DynamicImage::ImageRgb16(pixels) => (3, narrowed(&pixels.into_raw(), rules)),
        // Transparency is 16 bits of its own: the range is of the colours alone.
        DynamicImage::ImageLumaA16(pixels) => {
            laid_over(&narrowed_with_alpha(&pixels.into_raw(), 1, rules), 1, rules.background)
        }
        DynamicImage::ImageRgba16(pixels) => {
            laid_over(&narrowed_with_alpha(&pixels.into_raw(), 3, rules), 3, rules.background)
        }
        other => {
            return Err(undecodable(format!("pixels of type {:?}; make them 8 or 16 bit", other.color())));
        }
    };
    Ok(Decoded { width, height, channels, data })
}

fn narrowed(values: &[u16], rules: Rules) -> Vec<u8> {
    values.iter().map(|&value| rules.from16(value)).collect()
}

fn narrowed_with_alpha(values: &[u16], colors: usize, rules: Rules) -> Vec<u8> {
    let position = |i: usize| i % (colors + 1);
    let narrow = |(i, &value): (usize, &u16)| {
        if position(i) == colors { Rules::STANDARD.from16(value) } else { rules.from16(value) }
    };
    values.iter().enumerate().map(narrow).collect()
}

/// `colors` values and an opacity a pixel, over a background. Grey over a grey background
/// stays grey.
fn laid_over(pixels: &[u8], colors: usize, background: [u8; 3]) -> (usize, Vec<u8>) {
    let grey = colors == 1 && background[0] == background[1] && background[1] == background[2];
    let channels = if grey { 1 } else { 3 };
    let mut data = Vec::with_capacity(pixels.len() / (colors + 1) * channels);
    for pixel in pixels.chunks_exact(colors + 1) {
        let alpha = u32::from(pixel[colors]);
        for (c, &behind) in background.iter().take(channels).enumerate() {
            let value = u32::from(pixel[c.min(colors - 1)]);
            data.push(((value * alpha + u32::from(behind) * (255 - alpha) + 127) / 255) as u8);
        }
    }
    (channels, data)
}

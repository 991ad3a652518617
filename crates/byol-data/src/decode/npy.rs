//! NumPy's .npy: height × width or height × width × channels, of 8 or 16 bits. For
//! microscopes and satellites, whose pictures have channels as they please.

use super::{Decoded, Limits, Rules, undecodable, within};
use crate::DataError;

const MAGIC: &[u8] = b"\x93NUMPY";

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Array {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) channels: usize,
    /// Of 16 bits, and whether the lower byte comes first.
    pub(super) wide: Option<bool>,
    start: usize,
}

pub(crate) fn is_npy(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

pub(super) fn header(bytes: &[u8], limits: Limits) -> Result<Array, DataError> {
    let fault = |why: &str| undecodable(format!(".npy: {why}"));
    let version = *bytes.get(6).ok_or_else(|| fault("cut off in its header"))?;
    let (from, length) = match (version, bytes.get(8..10), bytes.get(8..12)) {
        (1, Some(n), _) => (10, usize::from(u16::from_le_bytes([n[0], n[1]]))),
        (2 | 3, _, Some(n)) => (12, u32::from_le_bytes([n[0], n[1], n[2], n[3]]) as usize),
        (1..=3, ..) => return Err(fault("cut off in its header")),
        _ => return Err(fault(&format!("version {version} is not known"))),
    };
    let start = from + length;
    let text = bytes.get(from..start).ok_or_else(|| fault("cut off in its header"))?;
    let text = std::str::from_utf8(text).map_err(|_| fault("its header is no text"))?;
    let value = |key: &str| {
        let (_, rest) = text.split_once(&format!("'{key}':"))?;
        Some(rest.trim_start())
    };
    let missing = || fault("its header has not the keys descr, fortran_order and shape");
    let kind = value("descr").and_then(|v| v.strip_prefix('\'')?.split('\'').next()).ok_or_else(missing)?;
    let wide = match kind {
        "|u1" | "u1" | "<u1" | ">u1" => None,
        "<u2" => Some(true),
        ">u2" => Some(false),
        other => {
            let why =
                format!("values of type {other}, expected 8- or 16-bit whole numbers without sign (u1, u2)");
            return Err(fault(&why));
        }
    };
    if !value("fortran_order").ok_or_else(missing)?.starts_with("False") {
        return Err(fault("in Fortran's order; save numpy.ascontiguousarray(a)"));
    }
    let shape = value("shape").and_then(|v| v.strip_prefix('(')?.split(')').next()).ok_or_else(missing)?;
    let sides: Option<Vec<usize>> = shape
        .split(',')
        .map(str::trim)
        .filter(|side| !side.is_empty())
        .map(|side| side.parse().ok())
        .collect();
    let (height, width, channels) = match sides.as_deref() {
        Some([height, width]) => (*height, *width, 1),
        Some([height, width, channels]) if (1..=1024).contains(channels) => (*height, *width, *channels),
        _ => {
            return Err(fault(&format!(
                "of shape ({shape}), expected (height, width) or (height, width, channels), at most 1024 channels"
            )));
        }
    };
    let n = (width as u64).saturating_mul(height as u64).saturating_mul(channels as u64);
    let n_bytes = n.saturating_mul(if wide.is_some() { 2 } else { 1 });
    within(width as u64, height as u64, n_bytes, limits)?;
    let there = (bytes.len() - start) as u64;
    if there != n_bytes {
        return Err(fault(&format!("its header promises {n_bytes} bytes, {there} follow")));
    }
    Ok(Array { width, height, channels, wide, start })
}

pub(super) fn decode(bytes: &[u8], rules: Rules, limits: Limits) -> Result<Decoded, DataError> {
    let Array { width, height, channels, wide, start } = header(bytes, limits)?;
    let values = &bytes[start..];
    let data = match wide {
        None => values.to_vec(),
        Some(low_first) => {
            let read = if low_first { u16::from_le_bytes } else { u16::from_be_bytes };
            values.chunks_exact(2).map(|pair| rules.from16(read([pair[0], pair[1]]))).collect()
        }
    };
    Ok(Decoded { width, height, channels, data })
}

/// An array of 8 bits as a .npy file, whose bytes NumPy would have written.
#[cfg(feature = "ingest")]
pub(crate) fn encode(picture: &Decoded) -> Vec<u8> {
    let Decoded { width, height, channels, data } = picture;
    let mut header =
        format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({height}, {width}, {channels}), }}");
    let unpadded = MAGIC.len() + 4 + header.len() + 1;
    header.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    header.push('\n');
    let length = (header.len() as u16).to_le_bytes(); // under 200 characters
    [MAGIC, &[1, 0], &length, header.as_bytes(), data].concat()
}

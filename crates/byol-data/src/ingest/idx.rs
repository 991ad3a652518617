//! IDX, the format of MNIST and its relatives: big-endian, optionally gzipped.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;

use crate::DataError;

/// Decompressed bytes that a file may have.
const MAX_BYTES: u64 = 4 << 30;

/// Grey pictures of one size, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdxImages {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// width · height bytes a picture.
    pub data: Vec<u8>,
}

impl IdxImages {
    /// The pictures, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.data.chunks_exact(self.width * self.height)
    }
}

/// Reads an `idx3-ubyte` file of pictures, gzipped if its name ends in `.gz`.
///
/// # Errors
///
/// If the file cannot be read, has another magic number, or is too short or long
/// for what its header says.
pub fn read_images(path: &Path) -> Result<IdxImages, DataError> {
    let ([count, height, width], data) = read::<3>(path, 0x0803)?;
    let fault = |why: String| DataError::Source { path: path.into(), why };
    if width == 0 || height == 0 || width > 65_535 || height > 65_535 {
        return Err(fault(format!("pictures of {width}x{height} pixels")));
    }
    let expected = count.checked_mul(width).and_then(|n| n.checked_mul(height));
    if expected != Some(data.len()) {
        return Err(fault(format!(
            "the header promises {count} pictures of {width}x{height}, {} bytes follow",
            data.len()
        )));
    }
    Ok(IdxImages { width, height, data })
}

/// Reads an `idx1-ubyte` file of labels, gzipped if its name ends in `.gz`.
///
/// # Errors
///
/// As [`read_images`].
pub fn read_labels(path: &Path) -> Result<Vec<u8>, DataError> {
    let ([count], data) = read::<1>(path, 0x0801)?;
    if count != data.len() {
        let why = format!("the header promises {count} labels, {} bytes follow", data.len());
        return Err(DataError::Source { path: path.into(), why });
    }
    Ok(data)
}

fn read<const N: usize>(path: &Path, magic: u32) -> Result<([usize; N], Vec<u8>), DataError> {
    let file = File::open(path).map_err(DataError::io("opening", path))?;
    let mut bytes = Vec::new();
    let read = if path.extension().is_some_and(|e| e == "gz") {
        GzDecoder::new(file).take(MAX_BYTES).read_to_end(&mut bytes)
    } else {
        file.take(MAX_BYTES).read_to_end(&mut bytes)
    };
    read.map_err(DataError::io("reading", path))?;
    let fault = |why: String| DataError::Source { path: path.into(), why };
    let header_len = 4 * (N + 1);
    if bytes.len() < header_len {
        return Err(fault(format!("{} bytes, too short for an IDX header", bytes.len())));
    }
    let data = bytes.split_off(header_len);
    let mut words =
        bytes.chunks_exact(4).map(|word| word.iter().fold(0u32, |value, &byte| value << 8 | u32::from(byte)));
    let found = words.next().unwrap_or_default();
    if found != magic {
        return Err(fault(format!("magic number {found:#010x}, expected {magic:#010x}")));
    }
    Ok((std::array::from_fn(|_| words.next().unwrap_or_default() as usize), data))
}

//! MATLAB's .mat files, version 5: arrays of whole numbers, compressed or not. For the sets
//! that are published so (SVHN, Oxford's flowers).

use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::ZlibDecoder;

use super::source::{Content, Item, Listing, Signature};
use crate::{DataError, Decoded, Labels};

/// Bytes that a file, and what it decompresses to, may have.
const MAX_BYTES: u64 = 4 << 30;

/// A numeric array, its first index running fastest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Array {
    /// The variable.
    pub name: String,
    /// Lengths of its dimensions.
    pub shape: Vec<usize>,
    /// Values; of floats only whole numbers are kept.
    pub values: Vec<u8>,
    width: usize,
    kind: u32,
}

impl Array {
    /// How many values there are.
    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Value number `i` as a whole number.
    pub fn get(&self, i: usize) -> Option<i64> {
        let bytes = self.values.get(i * self.width..(i + 1) * self.width)?;
        let word = |n: usize| {
            let mut word = [0; 8];
            word[..n].copy_from_slice(&bytes[..n]);
            word
        };
        let whole = |value: f64| (value.fract() == 0.0 && value.abs() < 1e15).then_some(value as i64);
        match self.kind {
            1 => Some(i64::from(bytes[0] as i8)),
            2 => Some(i64::from(bytes[0])),
            3 => Some(i64::from(i16::from_le_bytes([bytes[0], bytes[1]]))),
            4 => Some(i64::from(u16::from_le_bytes([bytes[0], bytes[1]]))),
            5 => Some(i64::from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as i32)),
            6 => Some(i64::from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))),
            7 => whole(f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]).into()),
            9 => whole(f64::from_le_bytes(word(8))),
            12 | 13 => Some(i64::from_le_bytes(word(8))),
            _ => None,
        }
    }
}

fn width(kind: u32) -> Option<usize> {
    Some(match kind {
        1 | 2 => 1,
        3 | 4 => 2,
        5..=7 => 4,
        9 | 12 | 13 => 8,
        _ => return None,
    })
}

/// The numeric arrays of a file.
///
/// # Errors
///
/// If it is no .mat file of version 5 in little-endian order, or is cut.
pub fn read(path: &Path) -> Result<Vec<Array>, DataError> {
    let fault = |why: &str| DataError::Source { path: path.into(), why: why.into() };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(DataError::io("opening", path))?;
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(DataError::io("reading", path))?;
    if bytes.get(124..128) != Some(&[0, 1, b'I', b'M']) {
        return Err(fault("no .mat file of MATLAB 5 in little-endian order"));
    }
    let mut arrays = Vec::new();
    let mut left = MAX_BYTES;
    let mut rest = &bytes[128..];
    while !rest.is_empty() {
        let (kind, data, after) = element(rest).ok_or_else(|| fault("cut off, or damaged"))?;
        rest = after;
        if kind == 15 {
            let mut inner = Vec::new();
            let read = ZlibDecoder::new(data).take(left).read_to_end(&mut inner);
            read.map_err(|_| fault("an element that cannot be decompressed"))?;
            left -= inner.len() as u64;
            if left == 0 {
                return Err(fault("more than 4 GiB"));
            }
            let (kind, data, _) = element(&inner).ok_or_else(|| fault("cut off, or damaged"))?;
            arrays.extend((kind == 14).then(|| matrix(data)).flatten());
        } else {
            arrays.extend((kind == 14).then(|| matrix(data)).flatten());
        }
    }
    Ok(arrays)
}

/// Type, content and what follows.
fn element(bytes: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let first = word(0)?;
    if first >> 16 != 0 {
        // Small ones have their content in the tag.
        let length = (first >> 16) as usize;
        return Some((first & 0xffff, bytes.get(4..8)?.get(..length)?, &bytes[8..]));
    }
    let length = word(4)? as usize;
    let data = bytes.get(8..8usize.checked_add(length)?)?;
    let padded = if first == 15 { length } else { length.checked_next_multiple_of(8)? };
    Some((first, data, bytes.get(8 + padded..).unwrap_or_default()))
}

/// Of a numeric array without an imaginary part; nothing of other classes.
fn matrix(bytes: &[u8]) -> Option<Array> {
    let (_, flags, rest) = element(bytes)?;
    if !(6..=15).contains(flags.first()?) || flags.get(1)? & 0x08 != 0 {
        return None;
    }
    let (_, dims, rest) = element(rest)?;
    let shape: Vec<usize> =
        dims.chunks_exact(4).map(|d| u32::from_le_bytes([d[0], d[1], d[2], d[3]]) as usize).collect();
    let (_, name, rest) = element(rest)?;
    let (kind, values, _) = element(rest)?;
    let width = width(kind)?;
    let n = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
    (n.checked_mul(width)? == values.len()).then(|| Array {
        name: String::from_utf8_lossy(name).into_owned(),
        shape,
        values: values.to_vec(),
        width,
        kind,
    })
}

/// SVHN's cropped digits: `X` of 32 x 32 x 3 x n, `y` of n, where 10 is the digit 0.
pub(super) fn open(path: &Path) -> Result<Listing, DataError> {
    let mut files = Vec::new();
    for split in ["train", "test", "extra"] {
        let file = path.join(format!("{split}_32x32.mat"));
        if file.is_file() {
            files.push((split, file));
        }
    }
    if files.is_empty() {
        let why = "none of train_32x32.mat, test_32x32.mat and extra_32x32.mat".into();
        return Err(DataError::Source { path: path.into(), why });
    }
    let paths: Vec<_> = files.iter().map(|(_, file)| file.clone()).collect();
    let signature = Signature::of_files(&paths)?;
    let items = files.into_iter().flat_map(|(split, file)| {
        let pictures = digits(&file);
        let (pictures, error) = match pictures {
            Ok(pictures) => (Some(pictures), None),
            Err(error) => (None, Some(Err(error))),
        };
        let n = pictures.as_ref().map_or(0, |(_, y)| y.len());
        error.into_iter().chain((0..n).filter_map(move |i| {
            let (x, y) = pictures.as_ref()?;
            let label = y.get(i).map(|digit| digit % 10);
            let pixels = &x.values[i * 3072..(i + 1) * 3072];
            let data = (0..3072)
                .map(|at| {
                    let (channel, pixel) = (at % 3, at / 3);
                    pixels[channel * 1024 + (pixel % 32) * 32 + pixel / 32]
                })
                .collect();
            let content = Content::Pixels(Decoded { width: 32, height: 32, channels: 3, data });
            Some(Ok(Item { path: format!("{split}-{i:06}.png"), split: split.into(), label, content }))
        }))
    });
    let labels = Labels::Classes((0..10).map(|digit| digit.to_string()).collect());
    Ok(Listing { labels, n_items: None, signature, ignored: 0, items: Box::new(items) })
}

fn digits(file: &Path) -> Result<(Array, Array), DataError> {
    let mut arrays = read(file)?;
    let mut find = |name: &str| {
        let at = arrays.iter().position(|array| array.name == name)?;
        Some(arrays.swap_remove(at))
    };
    let fault = |why: &str| DataError::Source { path: file.into(), why: why.into() };
    let (Some(x), Some(y)) = (find("X"), find("y")) else { return Err(fault("no variables X and y")) };
    if x.width != 1
        || x.shape.get(..3) != Some(&[32, 32, 3])
        || x.shape.get(3).copied().unwrap_or(1) != y.len()
    {
        return Err(fault("X is not 32 x 32 x 3 x n bytes with a y of n"));
    }
    Ok((x, y))
}

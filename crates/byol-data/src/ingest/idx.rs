//! IDX, the format of MNIST and its relatives: big-endian, optionally gzipped.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use super::source::{Content, Item, Listing, Signature};
use crate::dataset::split_of_word;
use crate::{DataError, Decoded, Labels};

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

/// All pairs of pictures and labels in a folder, or of the one file of pictures.
pub(super) fn open(path: &Path) -> Result<Listing, DataError> {
    let mut files = Vec::new();
    if path.is_dir() {
        for entry in fs::read_dir(path).map_err(DataError::io("opening the folder", path))? {
            files.push(entry.map_err(DataError::io("listing", path))?.path());
        }
    } else {
        files.push(path.to_path_buf());
    }
    files.retain(|file| name(file).contains("-images"));
    files.sort();
    let (mut used, mut pairs, mut most) = (Vec::new(), Vec::new(), None::<u8>);
    let mut n_items = 0;
    for file in files {
        let images = read_images(&file)?;
        let labels_name = name(&file).replace("-images", "-labels").replace("idx3", "idx1");
        let labels_file = [labels_name.clone(), format!("{labels_name}.gz"), labels_name.replace(".gz", "")]
            .map(|name| file.with_file_name(name))
            .into_iter()
            .find(|path| path.is_file());
        let labels = labels_file.as_deref().map(read_labels).transpose()?;
        if let Some(labels) = labels.as_ref().filter(|labels| labels.len() != images.iter().len()) {
            let why = format!("{} pictures, but {} labels beside it", images.iter().len(), labels.len());
            return Err(DataError::Source { path: file, why });
        }
        most = most.max(labels.iter().flatten().max().copied());
        n_items += images.iter().len() as u64;
        used.extend(std::iter::once(file.clone()).chain(labels_file));
        pairs.push((prefix(&file), images, labels));
    }
    if pairs.is_empty() {
        let why = "no file of pictures (…-images-idx3-ubyte) in it".into();
        return Err(DataError::Source { path: path.into(), why });
    }
    let names = (0..=most.unwrap_or_default()).map(|i| i.to_string()).collect();
    let labels = if most.is_some() { Labels::Classes(names) } else { Labels::None };
    let items = pairs.into_iter().flat_map(|(prefix, images, labels)| {
        let split = match split_of_word(&prefix) {
            Some(split) => split.to_owned(),
            None if prefix == "t10k" => "test".into(),
            None => prefix,
        };
        let IdxImages { width, height, data } = images;
        (0..data.len() / (width * height)).map(move |i| {
            let pixels = data[i * width * height..(i + 1) * width * height].to_vec();
            Ok(Item {
                path: format!("{split}-{i:05}.png"),
                split: split.as_str().into(),
                label: labels.as_ref().map(|labels| labels[i].into()),
                content: Content::Pixels(Decoded { width, height, channels: 1, data: pixels }),
            })
        })
    });
    let signature = Signature::of_files(&used)?;
    Ok(Listing { labels, n_items: Some(n_items), signature, ignored: 0, items: Box::new(items) })
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// `train` of `train-images-idx3-ubyte.gz`, `emnist-letters-train` becomes `train`.
fn prefix(path: &Path) -> String {
    let name = name(path);
    let prefix = name.split_once("-images").map_or("", |(prefix, _)| prefix);
    prefix.rsplit('-').next().unwrap_or(prefix).to_owned()
}

fn read<const N: usize>(path: &Path, magic: u32) -> Result<([usize; N], Vec<u8>), DataError> {
    let file = File::open(path).map_err(DataError::io("opening", path))?;
    let mut bytes = Vec::new();
    let read = if path.extension().is_some_and(|e| e == "gz") {
        flate2::read::MultiGzDecoder::new(file).take(MAX_BYTES).read_to_end(&mut bytes)
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

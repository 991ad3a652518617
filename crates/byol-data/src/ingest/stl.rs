//! The binary files of STL-10: 96 x 96, channel after channel, each column by column.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use super::source::{Content, Item, Listing, Signature};
use crate::{DataError, Decoded, Labels};

const SIDE: usize = 96;
const PIXELS: usize = SIDE * SIDE;
const NAMES: [&str; 10] =
    ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"];

/// `train`, `test` and `unlabeled`, those of them that are there.
pub(super) fn open(path: &Path) -> Result<Listing, DataError> {
    let fault = |path: &Path, why: String| DataError::Source { path: path.into(), why };
    let inner = path.join("stl10_binary");
    let folder = if inner.is_dir() { inner } else { path.to_path_buf() };
    let mut parts: Vec<(&str, PathBuf, u64, Option<Vec<u8>>)> = Vec::new();
    let mut used = Vec::new();
    for split in ["train", "test", "unlabeled"] {
        let pictures = folder.join(format!("{split}_X.bin"));
        if !pictures.is_file() {
            continue;
        }
        let length = fs::metadata(&pictures).map_err(DataError::io("reading", &pictures))?.len();
        if length == 0 || length % (3 * PIXELS as u64) != 0 {
            return Err(fault(&pictures, format!("{length} bytes, expected a multiple of {}", 3 * PIXELS)));
        }
        let n = length / (3 * PIXELS as u64);
        let labels_file = folder.join(format!("{split}_y.bin"));
        let labels = if labels_file.is_file() {
            let labels = fs::read(&labels_file).map_err(DataError::io("reading", &labels_file))?;
            if labels.len() as u64 != n {
                return Err(fault(&labels_file, format!("{} labels for {n} pictures", labels.len())));
            }
            used.push(labels_file);
            Some(labels)
        } else {
            None
        };
        used.push(pictures.clone());
        parts.push((split, pictures, n, labels));
    }
    if parts.is_empty() {
        return Err(fault(&folder, "none of train_X.bin, test_X.bin and unlabeled_X.bin".into()));
    }
    let signature = Signature::of_files(&used)?;
    let n_items = Some(parts.iter().map(|(_, _, n, _)| n).sum());
    let items = parts.into_iter().flat_map(|(split, path, n, labels)| {
        let mut file = None;
        (0..n as usize).map(move |i| {
            if file.is_none() {
                file = Some(BufReader::new(File::open(&path).map_err(DataError::io("reading", &path))?));
            }
            let mut planes = vec![0; 3 * PIXELS];
            if let Some(file) = &mut file {
                file.read_exact(&mut planes).map_err(DataError::io("reading", &path))?;
            }
            let label = labels.as_ref().map(|labels| i64::from(labels[i]) - 1);
            let content = match label {
                Some(label) if !(0..10).contains(&label) => {
                    Content::Fault(format!("label {} of 1 to 10", label + 1))
                }
                _ => Content::Pixels(Decoded {
                    width: SIDE,
                    height: SIDE,
                    channels: 3,
                    data: upright(&planes),
                }),
            };
            Ok(Item { path: format!("{split}-{i:06}.png"), split: split.into(), label, content })
        })
    });
    let labels = Labels::Classes(NAMES.map(str::to_owned).to_vec());
    Ok(Listing { labels, n_items, signature, ignored: 0, items: Box::new(items) })
}

fn upright(planes: &[u8]) -> Vec<u8> {
    let value = |i: usize| {
        let (channel, pixel) = (i % 3, i / 3);
        let (y, x) = (pixel / SIDE, pixel % SIDE);
        planes[channel * PIXELS + x * SIDE + y]
    };
    (0..3 * PIXELS).map(value).collect()
}

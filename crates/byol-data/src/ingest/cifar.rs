//! The binary files of CIFAR-10 and CIFAR-100: a label or two, then 3,072 bytes a picture.

use std::fs;
use std::path::{Path, PathBuf};

use super::source::{Content, Item, Listing, Signature};
use crate::{DataError, Decoded, Labels};

const SIDE: usize = 32;
const PIXELS: usize = SIDE * SIDE;

/// Training and test pictures; the classes of CIFAR-100 are its hundred fine ones.
pub(super) fn open(path: &Path) -> Result<Listing, DataError> {
    let fault = |path: &Path, why: String| DataError::Source { path: path.into(), why };
    let inner = ["cifar-10-batches-bin", "cifar-100-binary"].map(|name| path.join(name));
    let folder = inner.into_iter().find(|folder| folder.is_dir()).unwrap_or_else(|| path.into());
    let hundred = folder.join("fine_label_names.txt").is_file();
    let (names_file, n_classes, n_labels) =
        if hundred { ("fine_label_names.txt", 100, 2) } else { ("batches.meta.txt", 10, 1) };
    let batches: Vec<(&str, String)> = if hundred {
        vec![("train", "train.bin".into()), ("test", "test.bin".into())]
    } else {
        let train = (1..=5).map(|i| ("train", format!("data_batch_{i}.bin")));
        train.chain([("test", "test_batch.bin".to_owned())]).collect()
    };
    let names_file = folder.join(names_file);
    let names = if names_file.is_file() {
        let text = fs::read_to_string(&names_file).map_err(DataError::io("reading", &names_file))?;
        text.split_whitespace().map(str::to_owned).collect()
    } else {
        (0..n_classes).map(|i| i.to_string()).collect::<Vec<_>>()
    };
    if names.len() != n_classes {
        return Err(fault(&names_file, format!("{} names of classes, expected {n_classes}", names.len())));
    }
    let record = n_labels + 3 * PIXELS;
    let mut files: Vec<(&str, PathBuf)> = Vec::new();
    let mut n_items = 0;
    for (split, name) in batches {
        let path = folder.join(name);
        if !path.is_file() {
            continue; // a part of the set is a set
        }
        let length = fs::metadata(&path).map_err(DataError::io("reading", &path))?.len();
        if length == 0 || length % record as u64 != 0 {
            let why = format!("{length} bytes, expected a multiple of {record} (is it cut?)");
            return Err(fault(&path, why));
        }
        n_items += length / record as u64;
        files.push((split, path));
    }
    if files.is_empty() {
        return Err(fault(&folder, "none of the files of CIFAR's binary version".into()));
    }
    let paths: Vec<PathBuf> = files.iter().map(|(_, path)| path.clone()).collect();
    let signature = Signature::of_files(&paths)?;
    let items = files.into_iter().flat_map(move |(split, path)| {
        let read = fs::read(&path).map_err(DataError::io("reading", &path));
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (bytes, error) = match read {
            Ok(bytes) => (bytes, None),
            Err(error) => (Vec::new(), Some(Err(error))),
        };
        let items = (0..bytes.len() / record).map(move |i| {
            let record = &bytes[i * record..(i + 1) * record];
            let (label, planes) = (record[n_labels - 1], &record[n_labels..]);
            let path = format!("{stem}-{i:05}.png");
            let content = if usize::from(label) < n_classes {
                Content::Pixels(Decoded { width: SIDE, height: SIDE, channels: 3, data: interleaved(planes) })
            } else {
                Content::Fault(format!("label {label} of {n_classes} classes"))
            };
            Ok(Item { path, split: split.into(), label: Some(label.into()), content })
        });
        error.into_iter().chain(items)
    });
    let labels = Labels::Classes(names);
    Ok(Listing { labels, n_items: Some(n_items), signature, ignored: 0, items: Box::new(items) })
}

fn interleaved(planes: &[u8]) -> Vec<u8> {
    (0..3 * PIXELS).map(|i| planes[i % 3 * PIXELS + i / 3]).collect()
}

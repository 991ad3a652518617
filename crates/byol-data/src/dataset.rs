use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::{DataError, Sample, Shard, ShardReader};

/// Encoded bytes that a set may hold in memory.
const MAX_BYTES: u64 = 8 << 30;

/// One split of a set of pictures, encoded, in memory.
#[derive(Debug)]
pub struct ImageDataset {
    split: String,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    paths: String,
    path_ends: Vec<usize>,
    labels: Vec<Option<i64>>,
    classes: Vec<String>,
    shards: Vec<(String, Range<usize>)>,
    fingerprint: String,
}

impl ImageDataset {
    /// Reads the shards of `split` under `folder`: `data/SPLIT-*.parquet` or
    /// `SPLIT-*.parquet`, as `load_dataset` finds them.
    ///
    /// # Errors
    ///
    /// If there are none, one is missing (`-00001-of-00003`), or one is damaged.
    pub fn open(folder: &Path, split: &str) -> Result<Self, DataError> {
        let paths = shard_paths(folder, split)?;
        let mut total = 0;
        let mut shards = Vec::new();
        for path in &paths {
            total += fs::metadata(path).map_err(DataError::io("reading", path))?.len();
            if total > MAX_BYTES {
                return Err(DataError::TooLarge { path: folder.into(), bytes: total, limit: MAX_BYTES });
            }
            let bytes = fs::read(path).map_err(DataError::io("reading", path))?;
            shards.push(Shard { name: path.display().to_string(), bytes: Bytes::from(bytes) });
        }
        Self::from_shards(split, shards)
    }

    /// A set from shards that are in memory already.
    ///
    /// # Errors
    ///
    /// If a shard is damaged, has no rows, or its classes differ from the first's.
    pub fn from_shards(split: &str, shards: Vec<Shard>) -> Result<Self, DataError> {
        let mut set = Self {
            split: split.to_owned(),
            bytes: Vec::new(),
            ends: Vec::new(),
            paths: String::new(),
            path_ends: Vec::new(),
            labels: Vec::new(),
            classes: Vec::new(),
            shards: Vec::new(),
            fingerprint: String::new(),
        };
        for (i, shard) in shards.into_iter().enumerate() {
            let name = shard.name.clone();
            let reader = ShardReader::open(shard)?;
            if i == 0 {
                set.classes = reader.classes.clone();
            } else if set.classes != reader.classes {
                return Err(DataError::Disagree {
                    shard: name,
                    why: format!(
                        "classes {:?} differ from the first shard's {:?}",
                        reader.classes, set.classes
                    ),
                });
            }
            let first = set.len();
            reader.for_each(|bytes, path, label| {
                set.bytes.extend_from_slice(bytes);
                set.ends.push(set.bytes.len());
                set.paths.push_str(path);
                set.path_ends.push(set.paths.len());
                set.labels.push(label.filter(|&l| l >= 0)); // −1 means unknown in the Hub's sets
                Ok(())
            })?;
            set.shards.push((name, first..set.len()));
        }
        if let Some(max) = set.labels.iter().flatten().max()
            && !set.classes.is_empty()
            && usize::try_from(*max).is_ok_and(|max| max >= set.classes.len())
        {
            return Err(DataError::Layout {
                shard: set.shards[0].0.clone(),
                why: format!("label {max}, but only {} class names", set.classes.len()),
            });
        }
        if set.is_empty() {
            let name = set.shards.first().map_or("the set", |(name, _)| name.as_str());
            return Err(DataError::Layout { shard: name.into(), why: "no pictures in it".into() });
        }
        set.fingerprint = set.compute_fingerprint();
        Ok(set)
    }

    /// The first `n` pictures, as a set of their own with ids unchanged.
    pub fn truncate(mut self, n: usize) -> Self {
        let n = n.min(self.len());
        self.ends.truncate(n);
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
        self.path_ends.truncate(n);
        self.labels.truncate(n);
        self.shards.retain_mut(|(_, rows)| {
            rows.end = rows.end.min(n);
            rows.start < rows.end
        });
        self.fingerprint = self.compute_fingerprint();
        self
    }

    /// Number of pictures.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none; never true of a set that was opened.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The split's name.
    pub fn split(&self) -> &str {
        &self.split
    }

    /// Class names; empty where the set has none.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Labels of all pictures, if every one has one.
    pub fn labels(&self) -> Option<Vec<usize>> {
        self.labels.iter().map(|l| l.and_then(|l| usize::try_from(l).ok())).collect()
    }

    /// SHA-256 over every picture and label in order, hexadecimal: the same for
    /// the same content, however it is cut into shards.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Picture number `index`.
    ///
    /// # Panics
    ///
    /// If `index` is not below [`len`](Self::len).
    pub fn sample(&self, index: usize) -> Sample<'_> {
        let range = |ends: &[usize]| if index == 0 { 0..ends[0] } else { ends[index - 1]..ends[index] };
        Sample {
            id: index as u64,
            bytes: &self.bytes[range(&self.ends)],
            path: &self.paths[range(&self.path_ends)],
            label: self.labels[index],
        }
    }

    /// An error about picture number `index`, naming shard, row and path.
    pub fn picture_error(&self, index: usize, why: &dyn std::fmt::Display) -> DataError {
        let place = self.shards.iter().find(|(_, rows)| rows.contains(&index));
        let (shard, row) =
            place.map_or((self.split.as_str(), index), |(name, rows)| (name.as_str(), index - rows.start));
        DataError::Picture {
            shard: shard.to_owned(),
            row,
            path: self.sample(index).path.to_owned(),
            why: why.to_string(),
        }
    }

    fn compute_fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for i in 0..self.len() {
            let sample = self.sample(i);
            hash.update((sample.bytes.len() as u64).to_le_bytes());
            hash.update(sample.bytes);
            hash.update(sample.label.unwrap_or(-1).to_le_bytes());
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The splits that have shards under `folder`, sorted.
///
/// # Errors
///
/// If the folder cannot be read.
pub fn split_names(folder: &Path) -> Result<Vec<String>, DataError> {
    let mut names: Vec<String> =
        parquet_files(folder)?.iter().filter_map(|path| Some(split_of(path)?.to_owned())).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

fn split_of(path: &Path) -> Option<&str> {
    let stem = path.file_stem()?.to_str()?;
    Some(stem.split_once('-').map_or(stem, |(split, _)| split))
}

/// All Parquet files in `folder/data`, or else in `folder`, sorted.
fn parquet_files(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let list = |dir: &Path| -> Result<Vec<PathBuf>, DataError> {
        let mut files = Vec::new();
        for entry in fs::read_dir(dir).map_err(DataError::io("opening the folder", dir))? {
            let path = entry.map_err(DataError::io("listing", dir))?.path();
            if path.extension().is_some_and(|e| e == "parquet") {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    };
    let inner = folder.join("data");
    let files = if inner.is_dir() { list(&inner)? } else { Vec::new() };
    if files.is_empty() { list(folder) } else { Ok(files) }
}

fn shard_paths(folder: &Path, split: &str) -> Result<Vec<PathBuf>, DataError> {
    let all = parquet_files(folder)?;
    let paths: Vec<PathBuf> = all.iter().filter(|path| split_of(path) == Some(split)).cloned().collect();
    let none = |why: String| DataError::NoShards { path: folder.into(), split: split.into(), why };
    if paths.is_empty() {
        return Err(none(if all.is_empty() {
            format!(
                "there is no Parquet file in it or its `data` folder; expected files like \
                 data/{split}-00000-of-00001.parquet with a column `image`"
            )
        } else {
            let names = split_names(folder)?.join(", ");
            format!("the splits there are: {names}")
        }));
    }
    for (i, path) in paths.iter().enumerate() {
        let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        let numbers = stem.rsplit_once("-of-").and_then(|(head, total)| {
            Some((head.rsplit_once('-')?.1.parse::<usize>().ok()?, total.parse::<usize>().ok()?))
        });
        if let Some((number, total)) = numbers
            && (number != i || total != paths.len())
        {
            return Err(none(format!(
                "{} says that there are {total} of them, but {} are here (is one missing?)",
                path.file_name().unwrap_or_default().display(),
                paths.len()
            )));
        }
    }
    Ok(paths)
}

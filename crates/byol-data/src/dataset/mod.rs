mod cache;
mod files;
mod identity;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use self::cache::Cache;
#[cfg(feature = "ingest")]
pub(crate) use self::files::{parquet_files, split_of_name, split_of_word};
pub use self::files::{split_names, split_of_file};
use crate::block::{Block, Spare};
use crate::shard::ShardReader;
use crate::{Columns, DataError, EpochPlan, Labels, Sample, Shard};

/// How a set is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOptions {
    /// Names of its columns, where they are unusual.
    pub columns: Columns,
    /// Sets whose shards together have at most so many bytes are held in memory and
    /// permuted truly. Part of the order: runs to be compared must agree on it.
    pub in_memory: u64,
    /// Bytes of pictures that are mixed at once in larger sets. Part of the order, too.
    pub window: u64,
}

impl Default for OpenOptions {
    /// 128 MiB in memory, windows of 64 MiB.
    fn default() -> Self {
        Self { columns: Columns::default(), in_memory: 128 << 20, window: 64 << 20 }
    }
}

/// Bytes of a row group that may be read from a set that is not held in memory.
const MAX_STREAMED_GROUP: u64 = 64 << 20;
/// And from one that is: pictures may be compressed within.
const MAX_RESIDENT_GROUP: u64 = 2 << 30;
/// Row groups whose places are remembered at once: 1.5 KB each.
const MAX_FOOTERS: u64 = 32_768;
/// Different texts that a column of labels may have.
const MAX_CLASSES: usize = 100_000;

/// One split of a set of pictures, encoded: in memory if it is small, else read a row
/// group at a time, in whatever order, and forgotten.
#[derive(Debug)]
pub struct ImageDataset {
    split: String,
    labels: Labels,
    /// What texts in the label column mean, sorted; empty where they are numbers.
    texts: Vec<String>,
    /// Whether labels are texts, as far as shards have any.
    are_texts: Option<bool>,
    shards: Vec<ShardPlace>,
    groups: Vec<GroupPlace>,
    len: usize,
    fingerprint: String,
    channels: Option<usize>,
    columns: Columns,
    resident: Option<Vec<Arc<Block>>>,
    window: u64,
    blocks: Cache<Block>,
    /// Memory of blocks that were forgotten.
    spare: Option<Arc<Spare>>,
    readers: Cache<ShardReader>,
}

#[derive(Debug)]
struct ShardPlace {
    shard: Shard,
    /// Its first picture's number.
    first: usize,
    n_groups: u64,
    /// As recorded.
    fingerprint: Option<String>,
}

/// A row group: 24 bytes, of which a terabyte has a million.
#[derive(Debug, Clone, Copy)]
struct GroupPlace {
    shard: u32,
    group: u32,
    first: u64,
    rows: u32,
    bytes: u32,
}

impl ImageDataset {
    /// Opens the split of a folder of shards, as `load_dataset` finds them:
    /// `data/SPLIT-*.parquet`, `SPLIT-*.parquet`, `SPLIT/*.parquet`; or one Parquet file,
    /// whose split its name tells, else `train`.
    ///
    /// # Errors
    ///
    /// If there are none, one is missing (`-00001-of-00003`), or one is damaged.
    pub fn open(folder: &Path, split: &str) -> Result<Self, DataError> {
        Self::open_with(folder, split, &OpenOptions::default())
    }

    /// The same, with options.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), or if a row group is too large to be streamed.
    pub fn open_with(folder: &Path, split: &str, options: &OpenOptions) -> Result<Self, DataError> {
        let all = files::find(folder)?;
        let paths = files::of_split(folder, &all, split)?;
        let mut total = 0;
        for path in &paths {
            total += fs::metadata(path).map_err(DataError::io("reading", path))?.len();
        }
        let mut set = Self::empty(split, options);
        for path in &paths {
            set.add(Shard::local(path))?;
        }
        if !set.texts.is_empty() || set.labels == Labels::Numbers {
            // Classes that only another split has count all the same: both must agree.
            for found in all.iter().filter(|found| !paths.contains(&found.path)) {
                let reader = ShardReader::open_with(Shard::local(&found.path), &options.columns)?;
                set.collect(&reader)?;
            }
        }
        set.finish(total <= options.in_memory)
    }

    /// A set from shards wherever they are, held in memory.
    ///
    /// # Errors
    ///
    /// If a shard is damaged, has no rows, or its classes differ from the first's.
    pub fn from_shards(split: &str, shards: Vec<Shard>) -> Result<Self, DataError> {
        Self::from_shards_with(split, shards, &OpenOptions { in_memory: u64::MAX, ..OpenOptions::default() })
    }

    /// The same, with options.
    ///
    /// # Errors
    ///
    /// As [`from_shards`](Self::from_shards).
    pub fn from_shards_with(
        split: &str,
        shards: Vec<Shard>,
        options: &OpenOptions,
    ) -> Result<Self, DataError> {
        let mut set = Self::empty(split, options);
        for shard in shards {
            set.add(shard)?;
        }
        let total: u64 = set.groups.iter().map(|group| u64::from(group.bytes)).sum();
        set.finish(total <= options.in_memory)
    }

    fn empty(split: &str, options: &OpenOptions) -> Self {
        Self {
            split: split.to_owned(),
            labels: Labels::None,
            texts: Vec::new(),
            are_texts: None,
            shards: Vec::new(),
            groups: Vec::new(),
            len: 0,
            fingerprint: String::new(),
            channels: None,
            columns: options.columns.clone(),
            resident: None,
            window: options.window,
            blocks: Cache::new(0),
            spare: None,
            readers: Cache::new(MAX_FOOTERS),
        }
    }

    /// Looks at one more shard's footer.
    fn add(&mut self, shard: Shard) -> Result<(), DataError> {
        let reader = ShardReader::open_with(shard.clone(), &self.columns)?;
        self.collect(&reader)?;
        if self.shards.is_empty() {
            self.labels = reader.labels().clone();
            self.channels = reader.content().and_then(|content| content.channels);
        } else if self.labels != *reader.labels() {
            let why = match (&self.labels, reader.labels()) {
                (Labels::Classes(first), Labels::Classes(other)) => {
                    format!("classes {other:?} differ from the first shard's {first:?}")
                }
                (first, other) => format!("labels are {other:?}, and the first shard's are {first:?}"),
            };
            return Err(DataError::Disagree { shard: shard.name, why });
        } else {
            let channels = reader.content().and_then(|content| content.channels);
            self.channels = self.channels.zip(channels).map(|(a, b)| a.max(b));
        }
        let number = u32::try_from(self.shards.len()).unwrap_or(u32::MAX);
        let first = self.len;
        for group in 0..reader.n_groups() {
            let (rows, bytes) = reader.group_size(group);
            let (Ok(rows_u32), Ok(group)) = (u32::try_from(rows), u32::try_from(group)) else {
                let why = format!("row group {group} of {rows} rows");
                return Err(DataError::Layout { shard: shard.name, why });
            };
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX); // refused when read
            let place = GroupPlace { shard: number, group, first: self.len as u64, rows: rows_u32, bytes };
            self.groups.push(place);
            self.len += rows;
        }
        let fingerprint = reader.content().map(|content| content.fingerprint.clone());
        self.shards.push(ShardPlace { shard, first, n_groups: reader.n_groups() as u64, fingerprint });
        Ok(())
    }

    fn collect(&mut self, reader: &ShardReader) -> Result<(), DataError> {
        reader.same_kind(&mut self.are_texts)?;
        if reader.has_texts() {
            let mut names: BTreeSet<String> = self.texts.drain(..).collect();
            reader.collect_texts(&mut names, MAX_CLASSES)?;
            self.texts = names.into_iter().collect();
        }
        Ok(())
    }

    fn finish(mut self, in_memory: bool) -> Result<Self, DataError> {
        if self.len == 0 {
            let name = self.shards.first().map_or("the set", |place| place.shard.name.as_str());
            return Err(DataError::Layout { shard: name.into(), why: "no pictures in it".into() });
        }
        if !self.texts.is_empty() {
            self.labels = Labels::Classes(self.texts.clone());
        }
        if in_memory {
            let mut resident = Vec::new();
            for number in 0..self.groups.len() {
                resident.push(Arc::new(self.read(number, MAX_RESIDENT_GROUP)?));
            }
            self.resident = Some(resident);
            self.fingerprint = self.fingerprint_of_content()?;
        } else {
            let largest = self.groups.iter().max_by_key(|group| group.bytes);
            if let Some(largest) = largest.filter(|group| u64::from(group.bytes) > MAX_STREAMED_GROUP) {
                return Err(DataError::RowGroupTooLarge {
                    shard: self.shards[largest.shard as usize].shard.name.clone(),
                    group: largest.group as usize,
                    bytes: largest.bytes.into(),
                    limit: MAX_STREAMED_GROUP,
                });
            }
            let largest = largest.map_or(0, |group| u64::from(group.bytes));
            // A window, the batch that reaches into the next, and what two threads are reading.
            self.blocks = Cache::new(self.window + self.window / 8 + 2 * largest);
            self.spare = Some(Arc::default());
            self.fingerprint = self.fingerprint_of_footers()?;
        }
        Ok(self)
    }

    /// Number of pictures.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none; never true of a set that was opened.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The split's name.
    pub fn split(&self) -> &str {
        &self.split
    }

    /// Class names; empty where the set has none.
    pub fn classes(&self) -> &[String] {
        self.labels.classes()
    }

    /// Whether it is held in memory, and so permuted truly.
    pub fn in_memory(&self) -> bool {
        self.resident.is_some()
    }

    /// The most channels that a picture has, if whoever made the shards has looked.
    pub fn channels(&self) -> Option<usize> {
        self.channels
    }

    /// Labels of all pictures, if every one has one.
    ///
    /// # Errors
    ///
    /// If the set is not in memory and its labels cannot be read.
    pub fn labels(&self) -> Result<Option<Vec<usize>>, DataError> {
        let all = self.known_labels()?;
        Ok(all.into_iter().map(|label| label.and_then(|l| usize::try_from(l).ok())).collect())
    }

    /// The label of every picture, where it has one.
    ///
    /// # Errors
    ///
    /// As [`labels`](Self::labels).
    pub fn known_labels(&self) -> Result<Vec<Option<i64>>, DataError> {
        let mut labels = Vec::with_capacity(self.len);
        if let Some(blocks) = &self.resident {
            labels.extend(blocks.iter().flat_map(|block| (0..block.len()).map(|row| block.label(row))));
        } else {
            for number in 0..self.shards.len() {
                self.reader(number)?.all_labels(&self.texts, &mut labels)?;
            }
        }
        Ok(labels)
    }

    /// The same for the same pictures and labels in the same order, however they are cut
    /// into shards: 64 hexadecimal digits. Of foreign shards too large to be read when the
    /// set is opened, it is `layout-` and a hash of where their pictures lie.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Picture number `index`.
    ///
    /// # Errors
    ///
    /// If its row group cannot be read, or is damaged.
    ///
    /// # Panics
    ///
    /// If `index` is not below [`len`](Self::len).
    pub fn sample(&self, index: usize) -> Result<Sample, DataError> {
        assert!(index < self.len, "picture {index} of {}", self.len);
        let number = self.groups.partition_point(|group| group.first as usize <= index) - 1;
        let row = index - self.groups[number].first as usize;
        let block = match &self.resident {
            Some(blocks) => blocks[number].clone(),
            None => {
                let weight = u64::from(self.groups[number].bytes);
                self.blocks.get(number, weight, || self.read(number, MAX_STREAMED_GROUP))?
            }
        };
        Ok(Sample { id: index as u64, block, row })
    }

    /// The order of `epoch` in global batches of `batch`: a true permutation of a set in
    /// memory, else one of its row groups, whose pictures are mixed within windows.
    ///
    /// # Errors
    ///
    /// If `batch` is 0 or larger than the set.
    pub fn epoch(&self, seed: u64, epoch: u64, batch: usize) -> Result<EpochPlan, DataError> {
        if self.in_memory() {
            EpochPlan::new(seed, epoch, self.len, batch)
        } else {
            let groups: Vec<(u32, u32)> = self.groups.iter().map(|group| (group.rows, group.bytes)).collect();
            EpochPlan::in_windows(seed, epoch, &groups, self.window, batch)
        }
    }

    /// An error about picture number `index`, naming shard, row and path.
    pub fn picture_error(&self, index: usize, why: &dyn std::fmt::Display) -> DataError {
        let place = self.shards.iter().rfind(|place| place.first <= index);
        let (shard, row) = place
            .map_or((self.split.as_str(), index), |place| (place.shard.name.as_str(), index - place.first));
        DataError::Picture {
            shard: shard.to_owned(),
            row,
            path: self.sample(index).map_or_else(|_| String::new(), |sample| sample.path().to_owned()),
            why: why.to_string(),
        }
    }

    fn reader(&self, shard: usize) -> Result<Arc<ShardReader>, DataError> {
        let place = &self.shards[shard];
        self.readers.get(shard, place.n_groups, || {
            let reader = ShardReader::open_with(place.shard.clone(), &self.columns)?;
            if reader.n_groups() as u64 != place.n_groups {
                let why = "changed since the set was opened".into();
                return Err(DataError::Disagree { shard: place.shard.name.clone(), why });
            }
            Ok(reader)
        })
    }

    fn read(&self, number: usize, limit: u64) -> Result<Block, DataError> {
        let place = self.groups[number];
        let reader = self.reader(place.shard as usize)?;
        let block = reader.block(place.group as usize, &self.texts, limit, self.spare.as_ref())?;
        if block.len() < place.rows as usize {
            let why = "changed since the set was opened".into();
            return Err(DataError::Disagree { shard: reader.name().to_owned(), why });
        }
        Ok(block)
    }
}

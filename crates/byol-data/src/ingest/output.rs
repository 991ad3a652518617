//! The shards of a set that is being made, and how they come to their place.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use super::journal::{Done, Journal};
use crate::shard::ShardWriter;
use crate::{DataError, Labels, NewSample};

/// Name of the folder of work in progress, within the target.
pub(super) const WORK: &str = ".ingest";

/// What an ingest replaces or removes in its target.
pub(super) const OWN: [&str; 5] = ["data", "faults.csv", "duplicates.csv", "ingest.json", WORK];

pub(super) struct Output {
    pub(super) journal: Journal,
    labels: Labels,
    shard_bytes: u64,
    /// Of each split: pictures accepted, and how many of them are in shards that are done.
    accepted: BTreeMap<String, u64>,
    done: BTreeMap<String, u64>,
    open: BTreeMap<String, Open>,
}

struct Open {
    partial: PathBuf,
    path: PathBuf,
    writer: ShardWriter<BufWriter<File>>,
    channels: BTreeSet<usize>,
}

impl Output {
    pub(super) fn new(journal: Journal, labels: Labels, shard_bytes: u64) -> Self {
        let done = journal.rows_done();
        Self { journal, labels, shard_bytes, accepted: BTreeMap::new(), done, open: BTreeMap::new() }
    }

    /// How many of this split's next pictures are in shards that are done.
    pub(super) fn left(&self, split: &str) -> i64 {
        let count = |counts: &BTreeMap<String, u64>| counts.get(split).copied().unwrap_or_default() as i64;
        count(&self.done) - count(&self.accepted)
    }

    /// Counts a picture that is in a shard already.
    pub(super) fn skip(&mut self, split: &str) {
        *self.accepted.entry(split.to_owned()).or_default() += 1;
    }

    pub(super) fn write(
        &mut self,
        split: &str,
        sample: NewSample<'_>,
        channels: usize,
    ) -> Result<(), DataError> {
        let open = match self.open.get_mut(split) {
            Some(open) => open,
            None => {
                let number = self.journal.shards().iter().filter(|done| done.split == split).count();
                let path = self.journal.path(split, number);
                let partial = path.with_extension("partial");
                let file = File::create(&partial).map_err(DataError::io("writing", &partial))?;
                let out = BufWriter::with_capacity(1 << 20, file);
                let writer = ShardWriter::new(out, &partial.display().to_string(), self.labels.clone())?;
                let open = Open { partial, path, writer, channels: BTreeSet::new() };
                self.open.entry(split.to_owned()).or_insert(open)
            }
        };
        open.writer.push(sample)?;
        open.channels.insert(channels);
        let full = open.writer.n_bytes() >= self.shard_bytes;
        self.skip(split);
        if full {
            self.close(split)?;
        }
        Ok(())
    }

    fn close(&mut self, split: &str) -> Result<(), DataError> {
        let Some(Open { partial, path, mut writer, channels }) = self.open.remove(split) else {
            return Ok(());
        };
        let (rows, bytes) = (writer.len() as u64, writer.n_bytes());
        writer.set_channels(channels.last().copied().unwrap_or_default());
        let file = writer.finish()?.into_inner().map_err(|e| DataError::Io {
            action: "writing",
            path: partial.clone(),
            source: e.into_error(),
        })?;
        let placed = file.sync_all().and_then(|()| fs::rename(&partial, &path));
        placed.map_err(DataError::io("writing", &partial))?;
        self.journal.done(Done { split: split.to_owned(), rows, channels, bytes })
    }

    /// Closes what is open and gives the shards their names.
    pub(super) fn finish(mut self) -> Result<Journal, DataError> {
        let open: Vec<String> = self.open.keys().cloned().collect();
        for split in open {
            self.close(&split)?;
        }
        let journal = self.journal;
        let data = journal.folder().join("data");
        fs::create_dir_all(&data).map_err(DataError::io("making", &data))?;
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        for done in journal.shards() {
            let total = journal.shards().iter().filter(|d| d.split == done.split).count();
            let number = numbers.entry(&done.split).or_default();
            let from = journal.path(&done.split, *number);
            let to = data.join(format!("{}-{number:05}-of-{total:05}.parquet", done.split));
            *number += 1;
            // What is not there has its name already: an earlier run came this far.
            if from.exists() {
                fs::rename(&from, &to).map_err(DataError::io("writing", &to))?;
            }
        }
        Ok(journal)
    }

    /// After an error: what is not whole goes, what is whole stays for the next try.
    pub(super) fn abandon(self) {
        for open in self.open.into_values() {
            let _ = fs::remove_file(open.partial);
        }
    }
}

/// Where an ingest was killed after it had moved the old set away, and its own is no longer
/// wanted.
pub(super) fn put_back(to: &Path) -> Result<(), DataError> {
    let (data, old) = (to.join("data"), to.join(WORK).join("old"));
    if !data.exists() && old.is_dir() {
        fs::rename(&old, &data).map_err(DataError::io("writing", &data))?;
    }
    Ok(())
}

/// Refuses a target whose `data` holds anything but shards, and puts back what an ingest
/// that was killed at its end had moved away.
pub(super) fn ready(to: &Path) -> Result<(), DataError> {
    let data = to.join("data");
    if !to.join(WORK).join("data").exists() {
        put_back(to)?;
    }
    if !data.exists() {
        return Ok(());
    }
    let ours = to.join("ingest.json").is_file() || to.join(WORK).is_dir();
    for entry in fs::read_dir(&data).map_err(DataError::io("opening the folder", &data))? {
        let path = entry.map_err(DataError::io("listing", &data))?.path();
        if path.extension().is_none_or(|e| e != "parquet") {
            let why = format!(
                "it holds {}, which is no shard; the set goes to `data` in the folder that --to names, and replaces \
                 what is there",
                path.file_name().unwrap_or_default().display()
            );
            return Err(DataError::Source { path: data, why });
        }
        if !ours {
            let why = "it holds files that ingest did not write (there is no ingest.json beside it); name another \
                       folder with --to";
            return Err(DataError::Source { path: data, why: why.into() });
        }
    }
    Ok(())
}

/// Puts a finished set in its place: the old one is there until the new one is. `lists` says which of `faults.csv` and
/// `duplicates.csv` are the new one's: where it has none, those that lie there are of the set before. One that was killed
/// here may have moved some of it.
pub(super) fn place(to: &Path, lists: [bool; 2]) -> Result<(), DataError> {
    let work = to.join(WORK);
    let (new, old, data) = (work.join("data"), work.join("old"), to.join("data"));
    let moved = |from: &Path, to: &Path| fs::rename(from, to).map_err(DataError::io("writing", to));
    if new.exists() {
        if data.exists() {
            if old.exists() {
                fs::remove_dir_all(&old).map_err(DataError::io("removing", &old))?;
            }
            moved(&data, &old)?;
        }
        moved(&new, &data)?;
    }
    let [faults, duplicates] = lists;
    for (name, has) in [("faults.csv", faults), ("duplicates.csv", duplicates), ("ingest.json", true)] {
        let (from, target) = (work.join(name), to.join(name));
        if from.exists() {
            moved(&from, &target)?;
        } else if !has && target.exists() && to.join("ingest.json").exists() {
            fs::remove_file(&target).map_err(DataError::io("removing", &target))?;
        }
    }
    fs::remove_dir_all(&work).map_err(DataError::io("removing", &work))
}

//! What is done, so that an ingest that was killed goes on where it was.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{DataError, write_atomic};

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Not readable; looked at again.
    Fault,
    Written([u8; 16]),
    /// Left out: its pixels had been there, or (zeros) there were enough.
    Dropped([u8; 16]),
}

const RECORD: usize = 17;

impl Fate {
    fn record(self) -> [u8; RECORD] {
        let (kind, hash) = match self {
            Self::Fault => (0, [0; 16]),
            Self::Written(hash) => (1, hash),
            Self::Dropped(hash) => (2, hash),
        };
        let mut record = [kind; RECORD];
        record[1..].copy_from_slice(&hash);
        record
    }

    fn of_record(record: &[u8]) -> Option<Self> {
        let hash = <[u8; 16]>::try_from(record.get(1..)?).ok()?;
        match record[0] {
            0 => Some(Self::Fault),
            1 => Some(Self::Written(hash)),
            2 => Some(Self::Dropped(hash)),
            _ => None,
        }
    }
}

/// A shard that is whole and on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) split: String,
    pub(super) rows: u64,
    /// Numbers of channels that its pictures have.
    pub(super) channels: BTreeSet<usize>,
    pub(super) bytes: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    signature: String,
    shards: Vec<Done>,
    complete: bool,
}

/// The folder of work in progress, locked.
pub(super) struct Journal {
    folder: PathBuf,
    _lock: File,
    state: State,
    fates: BufWriter<File>,
    /// What became of the first items, as far as an earlier run came.
    pub(super) known: Vec<Fate>,
}

impl Journal {
    /// Takes up the work in `folder` if it is of the same source and options, else begins.
    pub(super) fn open(folder: &Path, signature: &str) -> Result<Self, DataError> {
        fs::create_dir_all(folder).map_err(DataError::io("making", folder))?;
        let path = folder.join("lock");
        let lock = File::create(&path).map_err(DataError::io("writing", &path))?;
        if lock.try_lock().is_err() {
            let why = "another ingest is at work here".into();
            return Err(DataError::Source { path: folder.into(), why });
        }
        let path = folder.join("state.json");
        let state = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<State>(&bytes).ok());
        let state = state.filter(|state| state.signature == signature);
        let fresh = state.is_none();
        let state = state.unwrap_or_else(|| State { signature: signature.to_owned(), ..State::default() });
        if fresh {
            clear(folder)?;
        }
        let fates_path = folder.join("fates.bin");
        let bytes = fs::read(&fates_path).unwrap_or_default();
        let known: Vec<Fate> = bytes.chunks_exact(RECORD).map_while(Fate::of_record).collect();
        // Gone on with after the last whole record.
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&fates_path);
        let end = (known.len() * RECORD) as u64;
        let file = file.and_then(|mut file| {
            file.set_len(end)?;
            file.seek(SeekFrom::Start(end)).map(|_| file)
        });
        let file = file.map_err(DataError::io("writing", &fates_path))?;
        let journal = Self { folder: folder.into(), _lock: lock, state, fates: BufWriter::new(file), known };
        journal.save()?;
        Ok(journal)
    }

    /// Pictures of each split that are in shards that are done.
    pub(super) fn rows_done(&self) -> BTreeMap<String, u64> {
        let mut rows = BTreeMap::new();
        for done in &self.state.shards {
            *rows.entry(done.split.clone()).or_default() += done.rows;
        }
        rows
    }

    pub(super) fn shards(&self) -> &[Done] {
        &self.state.shards
    }

    pub(super) fn is_complete(&self) -> bool {
        self.state.complete
    }

    /// The file of the `number`th shard of a split while the total is not known.
    pub(super) fn path(&self, split: &str, number: usize) -> PathBuf {
        self.folder.join(format!("{split}-{number:05}.parquet"))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What became of the item after those that are noted.
    pub(super) fn note(&mut self, fate: Fate) -> Result<(), DataError> {
        self.fates.write_all(&fate.record()).map_err(DataError::io("writing", self.folder.join("fates.bin")))
    }

    /// A shard is on disk. What became of its pictures is, too, before it counts.
    pub(super) fn done(&mut self, done: Done) -> Result<(), DataError> {
        let synced = self.fates.flush().and_then(|()| self.fates.get_ref().sync_data());
        synced.map_err(DataError::io("writing", self.folder.join("fates.bin")))?;
        self.state.shards.push(done);
        self.save()
    }

    /// All is on disk; what is left is to put it in its place.
    pub(super) fn complete(&mut self) -> Result<(), DataError> {
        self.state.complete = true;
        self.save()
    }

    fn save(&self) -> Result<(), DataError> {
        let text = serde_json::to_vec(&self.state).unwrap_or_default(); // strings and numbers always can
        write_atomic(&self.folder.join("state.json"), &text)
    }
}

/// Everything but the lock.
fn clear(folder: &Path) -> Result<(), DataError> {
    for entry in fs::read_dir(folder).map_err(DataError::io("listing", folder))? {
        let path = entry.map_err(DataError::io("listing", folder))?.path();
        let name = path.file_name().unwrap_or_default();
        // `old` is what was here before; `output` puts it back.
        if name == "lock" || name == "old" {
            continue;
        }
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(DataError::io("removing", &path))?;
    }
    Ok(())
}
